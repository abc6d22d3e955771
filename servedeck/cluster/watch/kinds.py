"""The kinds of object that servedeck watches: where each lives, and what of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from servedeck.cluster import resources
from servedeck.cluster.resources import Resource
from servedeck.serving.objects import records
from servedeck.serving.objects.records import Record


@dataclass(frozen=True)
class ResourceKind:
    """One resource of the API and how it is watched."""

    resource: Resource
    record_type: type[Record]
    """What one object is decoded into; its first field is `metadata`."""
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
    def plural(self) -> str:
        return self.resource.plural

    @property
    def group(self) -> str:
        return self.resource.group

    @property
    def version(self) -> str:
        return self.resource.version

    @property
    def namespaced(self) -> bool:
        return self.resource.namespaced

    @property
    def resource_name(self) -> str:
        """Name as RBAC and kubectl write it: "pods", "deployments.apps"."""
        return self.resource.resource_name

    def list_path(self, namespace: str | None, version: str = "") -> str:
        """Path of the collection; in all namespaces for None and for a cluster-wide kind."""
        return self.resource.collection_path(namespace, version)

    def with_label_selector(self, label_selector: str) -> ResourceKind:
        """This kind, limited to the objects with these labels."""
        return replace(self, label_selector=label_selector)


_EVENT_OBJECT_KINDS = frozenset({"Pod", "ReplicaSet", "Deployment"})


def _is_serving_event(record: Record) -> bool:
    return isinstance(record, records.Event) and record.involved_object.kind in _EVENT_OBJECT_KINDS


DEPLOYMENTS = ResourceKind(resources.DEPLOYMENT, records.Deployment)
REPLICASETS = ResourceKind(resources.REPLICA_SET, records.ReplicaSet)
PODS = ResourceKind(resources.POD, records.Pod)
EVENTS = ResourceKind(
    resources.EVENT,
    records.Event,
    field_selector="type=Warning",
    has_bookmarks=False,
    record_filter=_is_serving_event,
    max_records=10_000,  # the server keeps an hour of them, and a broken fleet writes many a second
)
SERVICES = ResourceKind(resources.SERVICE, records.Service)
HTTPROUTES = ResourceKind(
    resources.HTTP_ROUTE, records.HTTPRoute, optional=True, fallback_versions=("v1beta1",)
)
VIRTUAL_SERVICES = ResourceKind(
    resources.VIRTUAL_SERVICE,
    records.VirtualService,
    optional=True,
    fallback_versions=("v1beta1", "v1alpha3"),
)
INGRESSES = ResourceKind(resources.INGRESS, records.Ingress)
SCALEDOBJECTS = ResourceKind(resources.SCALED_OBJECT, records.ScaledObject, optional=True)
AUTOSCALERS = ResourceKind(resources.HORIZONTAL_POD_AUTOSCALER, records.HorizontalPodAutoscaler)
NODES = ResourceKind(resources.NODE, records.Node)
NAMESPACES = ResourceKind(resources.NAMESPACE, records.Namespace)
