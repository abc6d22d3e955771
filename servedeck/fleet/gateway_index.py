"""The Gateways of a cluster with their ListenerSets, and the routes that are attached to each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from servedeck.fleet.index import RecordIndex, record_uid
from servedeck.serving.gateway_listeners import http_route_gateways, virtual_service_gateways
from servedeck.serving.objects.gateway_records import (
    AnyGateway,
    Gateway,
    GatewayKey,
    Gateways,
    ListenerSet,
)
from servedeck.serving.objects.records import HTTPRoute, VirtualService


class GatewayIndex:
    """The known Gateways of the Gateway API, with their ListenerSets, and those of Istio."""

    def __init__(self) -> None:
        self._gateways: dict[GatewayKey, AnyGateway] = {}
        self._listener_sets: RecordIndex[ListenerSet, GatewayKey] = RecordIndex(
            lambda one: (one.gateway_key,)
        )
        self._http_routes: RecordIndex[HTTPRoute, GatewayKey] = RecordIndex(http_route_gateways)
        self._virtual_services: RecordIndex[VirtualService, GatewayKey] = RecordIndex(
            virtual_service_gateways
        )

    @property
    def known(self) -> Gateways:
        """The known ones by their keys. It changes with them."""
        return self._gateways

    def update_route(self, route: HTTPRoute | VirtualService, *, deleted: bool) -> None:
        """Store or delete a route."""
        if isinstance(route, HTTPRoute):
            self._http_routes.update(route, deleted=deleted)
        else:
            self._virtual_services.update(route, deleted=deleted)

    def update(
        self, gateway: AnyGateway, *, deleted: bool
    ) -> tuple[Iterable[HTTPRoute], Iterable[VirtualService]]:
        """Store or delete a Gateway or ListenerSet; returns the routes that are reached otherwise
        since. One that was created again before its deletion is reported stays."""
        if isinstance(gateway, ListenerSet):
            self._listener_sets.update(gateway, deleted=deleted)
        key = gateway.key
        before = self._gateways.get(key)
        if not deleted:
            self._gateways[key] = gateway
        elif before is not None and record_uid(before) == record_uid(gateway):
            del self._gateways[key]
        if _facts(before) == _facts(self._gateways.get(key)):
            return (), ()
        return self._attached_http_routes(key), self._virtual_services.lookup(key)

    def _attached_http_routes(self, key: GatewayKey) -> Iterator[HTTPRoute]:
        """Those of the ListenerSets of a Gateway are reached at its addresses."""
        yield from self._http_routes.lookup(key)
        for one in self._listener_sets.lookup(key):
            yield from self._http_routes.lookup(one.key)


def _facts(gateway: AnyGateway | None) -> tuple[object, ...]:
    """What routes depend on: a status changes often."""
    if gateway is None:
        return ()
    match gateway:
        case ListenerSet():
            return gateway.spec, gateway.is_rejected
        case Gateway():
            return gateway.spec, gateway.status
        case _:
            return (gateway.spec,)
