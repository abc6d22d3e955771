"""The address of the gateway of a live demo in the objects that name one."""

from __future__ import annotations

from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE
from servedeck.demo.resources import CONFIGMAPS, GATEWAYS, HTTP_ROUTES
from servedeck.demo.scenario.cluster_objects import GATEWAY, HOST
from servedeck.demo.store.objects import Json, key_of
from servedeck.demo.store.store import ObjectStore

LIVE_HOST = "localhost"
"""Every resolver knows it, other than names below it."""
_LISTENER = "http"
_REPLACED_LISTENERS = ("https", _LISTENER)
"""That of the scenario, and that of a demo whose saved state is resumed."""


def publish(store: ObjectStore, port: int) -> None:
    """Make the endpoints those of the gateway at `port` of this machine: the listener of the
    Gateway, the host of the routes that have the scenario's, and of new ones."""
    if store.find(GATEWAYS, *GATEWAY) is not None:
        store.mutate(GATEWAYS, *GATEWAY, lambda gateway: _set_listener(gateway, port))
        store.mutate(GATEWAYS, *GATEWAY, _set_address, "status")
    for route in store.list(HTTP_ROUTES):
        if HOST in (route["spec"].get("hostnames") or ()):
            store.mutate(HTTP_ROUTES, *key_of(route), _set_host)
    place = (PLATFORM_NAMESPACE, PLATFORM_CONFIGMAP)
    settings = store.find(CONFIGMAPS, *place)
    if settings is not None and (settings.get("data") or {}).get("endpoint_host") == HOST:
        store.mutate(CONFIGMAPS, *place, _set_settings)


def _set_listener(gateway: Json, port: int) -> None:
    listeners = gateway["spec"].get("listeners") or ()
    others = [one for one in listeners if one.get("name") not in _REPLACED_LISTENERS]
    own = {
        "name": _LISTENER,
        "port": port,
        "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    gateway["spec"]["listeners"] = [own, *others]


def _set_address(gateway: Json) -> None:
    status = gateway.setdefault("status", {})
    status["addresses"] = [{"type": "Hostname", "value": LIVE_HOST}]


def _set_host(route: Json) -> None:
    hosts = [LIVE_HOST if one == HOST else one for one in route["spec"]["hostnames"]]
    route["spec"]["hostnames"] = list(dict.fromkeys(hosts))


def _set_settings(settings: Json) -> None:
    settings["data"]["endpoint_host"] = LIVE_HOST
