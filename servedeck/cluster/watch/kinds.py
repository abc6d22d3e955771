"""The kinds of object that servedeck watches: where each lives, and what of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from servedeck.serving.objects import records
from servedeck.serving.objects.records import Record


@dataclass(frozen=True)
class Kind:
    """One resource of the API and how it is watched."""

    plural: str
    group: str
    """API group, "" for the core."""
    version: str
    record: type[Record]
    """What one object is decoded into; its first field is `metadata`."""
    namespaced: bool = True
    label_selector: str = ""
    field_selector: str = ""
    bookmarks: bool = True
    """False where the API server sends none (Events: they are not served from its cache)."""
    optional: bool = False
    """True for a kind that a healthy cluster may not have: a custom resource."""
    older: tuple[str, ...] = ()
    """Versions to try, in this order, where `version` is not served."""
    keep: Callable[[Record], bool] | None = None
    """Objects for which it is false are dropped as they arrive."""
    most: int = 0
    """Number of objects kept at most, the longest unchanged dropped first; 0 for all."""

    @property
    def resource(self) -> str:
        """Name as RBAC and kubectl write it: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None, version: str = "") -> str:
        """Path of the collection; in all namespaces for None and for a cluster-wide kind."""
        root = f"/apis/{self.group}" if self.group else "/api"
        within = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}/{version or self.version}{within}/{self.plural}"

    def selecting(self, label_selector: str) -> Kind:
        """This kind, limited to the objects with these labels."""
        return replace(self, label_selector=label_selector)


_EVENT_SUBJECTS = frozenset({"Pod", "ReplicaSet", "Deployment"})


def _concerns_servings(record: Record) -> bool:
    return isinstance(record, records.Event) and record.involved_object.kind in _EVENT_SUBJECTS


DEPLOYMENTS = Kind("deployments", "apps", "v1", records.Deployment)
REPLICASETS = Kind("replicasets", "apps", "v1", records.ReplicaSet)
PODS = Kind("pods", "", "v1", records.Pod)
EVENTS = Kind(
    "events",
    "",
    "v1",
    records.Event,
    field_selector="type=Warning",
    bookmarks=False,
    keep=_concerns_servings,
    most=10_000,  # the server keeps an hour of them, and a broken fleet writes many a second
)
SERVICES = Kind("services", "", "v1", records.Service)
HTTPROUTES = Kind(
    "httproutes",
    "gateway.networking.k8s.io",
    "v1",
    records.HTTPRoute,
    optional=True,
    older=("v1beta1",),
)
VIRTUAL_SERVICES = Kind(
    "virtualservices",
    "networking.istio.io",
    "v1",
    records.VirtualService,
    optional=True,
    older=("v1beta1", "v1alpha3"),
)
INGRESSES = Kind("ingresses", "networking.k8s.io", "v1", records.Ingress)
SCALEDOBJECTS = Kind("scaledobjects", "keda.sh", "v1alpha1", records.ScaledObject, optional=True)
AUTOSCALERS = Kind("horizontalpodautoscalers", "autoscaling", "v2", records.HorizontalPodAutoscaler)
NODES = Kind("nodes", "", "v1", records.Node, namespaced=False)
NAMESPACES = Kind("namespaces", "", "v1", records.Namespace, namespaced=False)
