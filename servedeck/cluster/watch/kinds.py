"""The kinds of object that servedeck watches: where each lives, and what of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from servedeck.serving.objects import records
from servedeck.serving.objects.records import Record


@dataclass(frozen=True)
class ResourceKind:
    """One resource of the API and how it is watched."""

    plural: str
    group: str
    """API group, "" for the core."""
    version: str
    record_type: type[Record]
    """What one object is decoded into; its first field is `metadata`."""
    namespaced: bool = True
    label_selector: str = ""
    field_selector: str = ""
    has_bookmarks: bool = True
    """False where the API server sends none (Events: they are not served from its cache)."""
    optional: bool = False
    """True for a kind that a healthy cluster may not have: a custom resource."""
    fallback_versions: tuple[str, ...] = ()
    """Versions to try, in this order, where `version` is not served."""
    record_filter: Callable[[Record], bool] | None = None
    """Objects for which it is false are dropped as they arrive."""
    max_records: int = 0
    """Number of objects kept at most, the longest unchanged dropped first; 0 for all."""

    @property
    def resource_name(self) -> str:
        """Name as RBAC and kubectl write it: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def list_path(self, namespace: str | None, version: str = "") -> str:
        """Path of the collection; in all namespaces for None and for a cluster-wide kind."""
        root = f"/apis/{self.group}" if self.group else "/api"
        within = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}/{version or self.version}{within}/{self.plural}"

    def with_label_selector(self, label_selector: str) -> ResourceKind:
        """This kind, limited to the objects with these labels."""
        return replace(self, label_selector=label_selector)


_EVENT_OBJECT_KINDS = frozenset({"Pod", "ReplicaSet", "Deployment"})


def _is_serving_event(record: Record) -> bool:
    return isinstance(record, records.Event) and record.involved_object.kind in _EVENT_OBJECT_KINDS


DEPLOYMENTS = ResourceKind("deployments", "apps", "v1", records.Deployment)
REPLICASETS = ResourceKind("replicasets", "apps", "v1", records.ReplicaSet)
PODS = ResourceKind("pods", "", "v1", records.Pod)
EVENTS = ResourceKind(
    "events",
    "",
    "v1",
    records.Event,
    field_selector="type=Warning",
    has_bookmarks=False,
    record_filter=_is_serving_event,
    max_records=10_000,  # the server keeps an hour of them, and a broken fleet writes many a second
)
SERVICES = ResourceKind("services", "", "v1", records.Service)
HTTPROUTES = ResourceKind(
    "httproutes",
    "gateway.networking.k8s.io",
    "v1",
    records.HTTPRoute,
    optional=True,
    fallback_versions=("v1beta1",),
)
VIRTUAL_SERVICES = ResourceKind(
    "virtualservices",
    "networking.istio.io",
    "v1",
    records.VirtualService,
    optional=True,
    fallback_versions=("v1beta1", "v1alpha3"),
)
INGRESSES = ResourceKind("ingresses", "networking.k8s.io", "v1", records.Ingress)
SCALEDOBJECTS = ResourceKind(
    "scaledobjects", "keda.sh", "v1alpha1", records.ScaledObject, optional=True
)
AUTOSCALERS = ResourceKind(
    "horizontalpodautoscalers", "autoscaling", "v2", records.HorizontalPodAutoscaler
)
NODES = ResourceKind("nodes", "", "v1", records.Node, namespaced=False)
NAMESPACES = ResourceKind("namespaces", "", "v1", records.Namespace, namespaced=False)
