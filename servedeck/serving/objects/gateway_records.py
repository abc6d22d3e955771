"""Records of what routes are attached to: the Gateways and ListenerSets of the Gateway API, and the
Gateways of Istio.

Sources: Gateway API v1, gateway_types.go, listenerset_types.go and shared_types.go; Istio,
networking/v1/gateway.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from servedeck.serving.conventions import GATEWAY_API_GROUP, ISTIO_GROUP
from servedeck.serving.objects.records import Condition, ObjectMeta, ParentReference, Record

LISTENER_SET = "ListenerSet"


class GatewayKey(NamedTuple):
    """Which Gateway or ListenerSet a route is attached to."""

    namespace: str
    group: str
    name: str
    kind: str = "Gateway"


# -- Gateway API ------------------------------------------------------------------------------


class RouteNamespaces(Record, frozen=True):
    from_namespaces: str = msgspec.field(default="Same", name="from")
    """ "Same" (that of the Gateway), "All", "Selector" or "None"."""


class RouteGroupKind(Record, frozen=True):
    kind: str = ""


class AllowedRoutes(Record, frozen=True):
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: tuple[RouteGroupKind, ...] = ()
    """() for those of the listener's protocol."""


class Listener(Record, frozen=True):
    name: str = ""
    hostname: str = ""
    """ "" for all hosts; "*.example.com" for all below example.com."""
    port: int = 0
    protocol: str = ""
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewaySpec(Record, frozen=True):
    listeners: tuple[Listener, ...] = ()


class GatewayAddress(Record, frozen=True):
    type: str = "IPAddress"
    value: str = ""


class GatewayStatus(Record, frozen=True):
    addresses: tuple[GatewayAddress, ...] = ()


class Gateway(Record, frozen=True):
    """gateway.networking.k8s.io/v1 Gateway."""

    metadata: ObjectMeta = ObjectMeta()
    spec: GatewaySpec = GatewaySpec()
    status: GatewayStatus = GatewayStatus()

    @property
    def key(self) -> GatewayKey:
        """Which one it is."""
        return GatewayKey(self.metadata.namespace, GATEWAY_API_GROUP, self.metadata.name)


class ListenerSetSpec(Record, frozen=True):
    parent_ref: ParentReference = ParentReference()
    listeners: tuple[Listener, ...] = ()


class ListenerSetStatus(Record, frozen=True):
    conditions: tuple[Condition, ...] = ()


class ListenerSet(Record, frozen=True):
    """gateway.networking.k8s.io/v1 ListenerSet: listeners of a Gateway that are defined apart."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ListenerSetSpec = ListenerSetSpec()
    status: ListenerSetStatus = ListenerSetStatus()

    @property
    def key(self) -> GatewayKey:
        """Which one it is."""
        name = self.metadata.name
        return GatewayKey(self.metadata.namespace, GATEWAY_API_GROUP, name, LISTENER_SET)

    @property
    def gateway_key(self) -> GatewayKey:
        """The Gateway that has the listeners."""
        parent = self.spec.parent_ref
        namespace = parent.namespace or self.metadata.namespace
        return GatewayKey(namespace, parent.group, parent.name, parent.kind)

    @property
    def is_rejected(self) -> bool:
        """Whether the Gateway does not have the listeners: it allows none of others by default."""
        return any(
            one.type == "Accepted" and one.status == "False" for one in self.status.conditions
        )


# -- Istio ------------------------------------------------------------------------------------


class IstioServerPort(Record, frozen=True):
    number: int = 0
    protocol: str = ""


class IstioServerTLS(Record, frozen=True):
    https_redirect: bool = False
    mode: str = ""


class IstioServer(Record, frozen=True):
    port: IstioServerPort = IstioServerPort()
    hosts: tuple[str, ...] = ()
    """Each with the namespace of the VirtualServices that it is for in front of it, "team-a/*"."""
    tls: IstioServerTLS = IstioServerTLS()


class IstioGatewaySpec(Record, frozen=True):
    servers: tuple[IstioServer, ...] = ()


class IstioGateway(Record, frozen=True):
    """networking.istio.io/v1 Gateway."""

    metadata: ObjectMeta = ObjectMeta()
    spec: IstioGatewaySpec = IstioGatewaySpec()

    @property
    def key(self) -> GatewayKey:
        """Which one it is."""
        return GatewayKey(self.metadata.namespace, ISTIO_GROUP, self.metadata.name)


AnyGateway = Gateway | ListenerSet | IstioGateway
Gateways = Mapping[GatewayKey, AnyGateway]
"""The known Gateways and ListenerSets."""
