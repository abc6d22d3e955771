"""Records of the Routes of OpenShift, as in `records`.

Source: openshift/api, route/v1/types.go.
"""

from __future__ import annotations

from servedeck.serving.objects.records import Condition, Record, RouteMeta


class RouteTarget(Record, frozen=True):
    kind: str = "Service"
    name: str = ""
    weight: int | None = None
    """0 for none of the requests."""


class RoutePort(Record, frozen=True):
    target_port: int | str = ""


class RouteTLS(Record, frozen=True):
    termination: str = ""
    """ "edge", "passthrough" or "reencrypt"."""


class RouteSpec(Record, frozen=True):
    host: str = ""
    path: str = ""
    to: RouteTarget = RouteTarget()
    alternate_backends: tuple[RouteTarget, ...] = ()
    port: RoutePort = RoutePort()
    tls: RouteTLS = RouteTLS()


class RouteIngress(Record, frozen=True):
    """What one router says of the Route."""

    host: str = ""
    conditions: tuple[Condition, ...] = ()


class RouteStatus(Record, frozen=True):
    ingress: tuple[RouteIngress, ...] = ()


class Route(Record, frozen=True):
    """route.openshift.io/v1 Route."""

    metadata: RouteMeta = RouteMeta()
    spec: RouteSpec = RouteSpec()
    status: RouteStatus = RouteStatus()

    @property
    def targets(self) -> tuple[RouteTarget, ...]:
        """The Services that it sends to, all in its own namespace."""
        targets = (self.spec.to, *self.spec.alternate_backends)
        return tuple(one for one in targets if one.kind == "Service")

    @property
    def ingress_name(self) -> str:
        """The Ingress of its namespace that it was made from, "" for none: OpenShift serves an
        Ingress by Routes, which it owns (openshift/route-controller-manager, README)."""
        owners = self.metadata.owner_references
        return next((one.name for one in owners if one.controller and one.kind == "Ingress"), "")
