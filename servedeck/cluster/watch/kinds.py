"""Resource kinds that servedeck watches, with their selectors and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from servedeck.cluster import resources
from servedeck.cluster.resources import Resource
from servedeck.serving.objects import (
    detection,
    gateway_records,
    openshift_records,
    pool_records,
    records,
    reported_records,
    workload_records,
)
from servedeck.serving.objects.records import Record


@dataclass(frozen=True)
class ResourceKind:
    """One API resource and how it is watched."""

    resource: Resource
    record_type: type[Record]
    """Type that an object is decoded into; its first field is `metadata`."""
    label_selector: str = ""
    field_selector: str = ""
    has_bookmarks: bool = True
    """False if the API server sends none (Events are not served from the watch cache)."""
    optional: bool = False
    """True for a custom resource, which a healthy cluster may not have."""
    fallback_versions: tuple[str, ...] = ()
    """Versions to try, in this order, if `version` is not served."""
    record_filter: Callable[[Record], bool] | None = None
    """Objects for which it returns false are dropped on arrival."""
    max_records: int = 0
    """Maximum number of objects stored; the least recently changed are evicted first. 0 for no
    limit."""
    first_list_from_cache: bool = False
    """Whether the first list may come from the API server's watch cache (resourceVersion=0, not
    paged), as client-go's informers request it. The most recent state takes up to 100 ms longer
    while other kinds of objects change; the watch reports what the cache has missed."""

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
        """Name as written in RBAC rules and by kubectl, such as "pods" or "deployments.apps"."""
        return self.resource.resource_name

    def list_path(self, namespace: str | None, version: str = "") -> str:
        """Path of the collection. For None and for cluster-scoped kinds: across all namespaces."""
        return self.resource.collection_path(namespace, version)

    def with_label_selector(self, label_selector: str) -> ResourceKind:
        """This kind, restricted by a label selector."""
        return replace(self, label_selector=label_selector)


_EVENT_OBJECT_KINDS = frozenset(
    {"Pod", "ReplicaSet", "Deployment", *(one.kind for one in resources.READONLY_WORKLOADS)}
)


def _is_serving_event(record: Record) -> bool:
    return isinstance(record, records.Event) and record.involved_object.kind in _EVENT_OBJECT_KINDS


_LISTED_CONTROLLERS = frozenset(
    {"ReplicaSet", "StatefulSet", "DaemonSet", "RayCluster", "Job", "CronJob"}
)
"""Controllers whose Pods belong to a workload that is listed itself, or to one that ends."""


def _is_plain_serving(record: Record) -> bool:
    """Whether a Pod is a serving, and has no controller or one of another project (a RoleSet of
    AIBrix, a PodClique of Grove, a Model of KubeAI), whose kind is not listed."""
    return (
        isinstance(record, workload_records.PlainPod)
        and not any(
            owner.controller and owner.kind in _LISTED_CONTROLLERS
            for owner in record.metadata.owner_references
        )
        and detection.is_serving_template(record.metadata.labels, record.template)
    )


DEPLOYMENTS = ResourceKind(resources.DEPLOYMENT, records.Deployment)
REPLICA_SETS = ResourceKind(resources.REPLICA_SET, records.ReplicaSet)
PODS = ResourceKind(resources.POD, records.Pod)
EVENTS = ResourceKind(
    resources.EVENT,
    records.Event,
    field_selector="type=Warning",
    has_bookmarks=False,
    record_filter=_is_serving_event,
    max_records=10_000,  # the server stores an hour of Events; a failing fleet emits many a second
)
SERVICES = ResourceKind(resources.SERVICE, records.Service)
HTTP_ROUTES = ResourceKind(
    resources.HTTP_ROUTE, records.HTTPRoute, optional=True, fallback_versions=("v1beta1",)
)
INFERENCE_POOLS = ResourceKind(resources.INFERENCE_POOL, pool_records.InferencePool, optional=True)
ALPHA_INFERENCE_POOLS = ResourceKind(
    resources.ALPHA_INFERENCE_POOL, pool_records.AlphaInferencePool, optional=True
)
VIRTUAL_SERVICES = ResourceKind(
    resources.VIRTUAL_SERVICE,
    records.VirtualService,
    optional=True,
    fallback_versions=("v1beta1", "v1alpha3"),
)
GATEWAYS = ResourceKind(
    resources.GATEWAY, gateway_records.Gateway, optional=True, fallback_versions=("v1beta1",)
)
LISTENER_SETS = ResourceKind(resources.LISTENER_SET, gateway_records.ListenerSet, optional=True)
ISTIO_GATEWAYS = ResourceKind(
    resources.ISTIO_GATEWAY,
    gateway_records.IstioGateway,
    optional=True,
    fallback_versions=("v1beta1", "v1alpha3"),
)
OPENSHIFT_ROUTES = ResourceKind(resources.OPENSHIFT_ROUTE, openshift_records.Route, optional=True)
INGRESSES = ResourceKind(resources.INGRESS, records.Ingress)
SCALED_OBJECTS = ResourceKind(resources.SCALED_OBJECT, records.ScaledObject, optional=True)
HORIZONTAL_POD_AUTOSCALERS = ResourceKind(
    resources.HORIZONTAL_POD_AUTOSCALER, records.HorizontalPodAutoscaler
)
NODES = ResourceKind(resources.NODE, records.Node)
NAMESPACES = ResourceKind(resources.NAMESPACE, records.Namespace)
STATEFUL_SETS = ResourceKind(resources.STATEFUL_SET, workload_records.StatefulSet)
STATEFUL_SET_PODS = PODS.with_label_selector("statefulset.kubernetes.io/pod-name")
"""The Pods of all StatefulSets, which have this label (Kubernetes 1.9 and later)."""
LEADER_WORKER_SETS = ResourceKind(
    resources.LEADER_WORKER_SET, workload_records.LeaderWorkerSet, optional=True
)
INFERENCE_SERVICES = ResourceKind(
    resources.INFERENCE_SERVICE, workload_records.InferenceService, optional=True
)
DAEMON_SETS = ResourceKind(resources.DAEMON_SET, reported_records.DaemonSet)
ROLLOUTS = ResourceKind(resources.ROLLOUT, reported_records.Rollout, optional=True)
RAY_SERVICES = ResourceKind(
    resources.RAY_SERVICE,
    reported_records.RayService,
    optional=True,
    fallback_versions=("v1alpha1",),
)
RAY_CLUSTERS = ResourceKind(
    resources.RAY_CLUSTER,
    reported_records.RayCluster,
    optional=True,
    fallback_versions=("v1alpha1",),
)
PLAIN_PODS = ResourceKind(
    resources.POD,
    workload_records.PlainPod,
    # Pods without the labels that the controllers of Deployments, DaemonSets, StatefulSets and Jobs
    # give theirs: few, and the API server sends no others.
    label_selector=(
        "!pod-template-hash,!controller-revision-hash,!job-name,!batch.kubernetes.io/job-name"
    ),
    record_filter=_is_plain_serving,
)
"""Pods that are servings, without a controller or with one of a kind that is not listed."""
