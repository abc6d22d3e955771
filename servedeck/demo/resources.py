"""The resources of the demo cluster: what discovery lists and the store can hold."""

from __future__ import annotations

from dataclasses import dataclass

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
REVIEW_VERBS = ("create",)


@dataclass(frozen=True, eq=False)
class Resource:
    """One resource of the API. `generation`: changes of the spec are counted in
    `metadata.generation`. `builtin`: part of Kubernetes, not of a CustomResourceDefinition.
    `returns_object`: DELETE returns the object instead of a Status."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    generation: bool = False
    builtin: bool = True
    returns_object: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @property
    def key(self) -> str:
        """`apps/v1/deployments`, `v1/pods`: how a saved state names the resource."""
        return f"{self.api_version}/{self.plural}"

    def __repr__(self) -> str:
        return f"Resource({self.key})"


def _core(plural: str, kind: str, *, all_category: bool = False, **more: object) -> Resource:
    categories = ("all",) if all_category else ()
    return Resource("", "v1", plural, kind, categories=categories, **more)  # type: ignore[arg-type]


NAMESPACES = _core(
    "namespaces",
    "Namespace",
    namespaced=False,
    short_names=("ns",),
    subresources=("finalize", "status"),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
)
NODES = _core(
    "nodes",
    "Node",
    namespaced=False,
    short_names=("no",),
    subresources=("proxy", "status"),
)
PODS = _core(
    "pods",
    "Pod",
    short_names=("po",),
    all_category=True,
    subresources=("exec", "log", "portforward", "proxy", "status"),
    generation=True,
    returns_object=True,
)
SERVICES = _core(
    "services",
    "Service",
    short_names=("svc",),
    all_category=True,
    subresources=("proxy", "status"),
    returns_object=True,
)
ENDPOINTS = _core("endpoints", "Endpoints", short_names=("ep",))
EVENTS = _core("events", "Event", short_names=("ev",))
CONFIGMAPS = _core("configmaps", "ConfigMap", short_names=("cm",))
SECRETS = _core("secrets", "Secret")
PERSISTENTVOLUMECLAIMS = _core(
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    short_names=("pvc",),
    subresources=("status",),
    returns_object=True,
)
PERSISTENTVOLUMES = _core(
    "persistentvolumes",
    "PersistentVolume",
    namespaced=False,
    short_names=("pv",),
    subresources=("status",),
    returns_object=True,
)
RESOURCEQUOTAS = _core(
    "resourcequotas",
    "ResourceQuota",
    short_names=("quota",),
    subresources=("status",),
    returns_object=True,
)
LIMITRANGES = _core("limitranges", "LimitRange", short_names=("limits",))
SERVICEACCOUNTS = _core(
    "serviceaccounts", "ServiceAccount", short_names=("sa",), returns_object=True
)
REPLICATIONCONTROLLERS = _core(
    "replicationcontrollers",
    "ReplicationController",
    short_names=("rc",),
    all_category=True,
    subresources=("scale", "status"),
    generation=True,
)
DEPLOYMENTS = Resource(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    short_names=("deploy",),
    categories=("all",),
    subresources=("scale", "status"),
    generation=True,
)
REPLICA_SETS = Resource(
    "apps",
    "v1",
    "replicasets",
    "ReplicaSet",
    short_names=("rs",),
    categories=("all",),
    subresources=("scale", "status"),
    generation=True,
)
STATEFULSETS = Resource(
    "apps",
    "v1",
    "statefulsets",
    "StatefulSet",
    short_names=("sts",),
    categories=("all",),
    subresources=("scale", "status"),
    generation=True,
)
DAEMONSETS = Resource(
    "apps",
    "v1",
    "daemonsets",
    "DaemonSet",
    short_names=("ds",),
    categories=("all",),
    subresources=("status",),
    generation=True,
)
JOBS = Resource(
    "batch", "v1", "jobs", "Job", categories=("all",), subresources=("status",), generation=True
)
CRONJOBS = Resource(
    "batch",
    "v1",
    "cronjobs",
    "CronJob",
    short_names=("cj",),
    categories=("all",),
    subresources=("status",),
    generation=True,
)
INGRESSES = Resource(
    "networking.k8s.io",
    "v1",
    "ingresses",
    "Ingress",
    short_names=("ing",),
    subresources=("status",),
    generation=True,
)
INGRESSCLASSES = Resource(
    "networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False, generation=True
)
NETWORK_POLICIES = Resource(
    "networking.k8s.io",
    "v1",
    "networkpolicies",
    "NetworkPolicy",
    short_names=("netpol",),
    generation=True,
)
POD_DISRUPTION_BUDGETS = Resource(
    "policy",
    "v1",
    "poddisruptionbudgets",
    "PodDisruptionBudget",
    short_names=("pdb",),
    subresources=("status",),
    generation=True,
)
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
"""Objects alone: what a user may do is in `api/access.py`."""
HORIZONTAL_POD_AUTOSCALERS = Resource(
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    short_names=("hpa",),
    categories=("all",),
    subresources=("status",),
)
ENDPOINTSLICES = Resource(
    "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", generation=True
)
EVENTS_V1 = Resource(
    "events.k8s.io",
    "v1",
    "events",
    "Event",
    short_names=("ev",),
    verbs=("get", "list", "watch"),
)
"""Has no objects of its own: the API converts those of `EVENTS`."""
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
STORAGECLASSES = Resource(
    "storage.k8s.io",
    "v1",
    "storageclasses",
    "StorageClass",
    namespaced=False,
    short_names=("sc",),
    returns_object=True,
)
CUSTOMRESOURCEDEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=("status",),
    generation=True,
)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    namespaced=False,
    verbs=REVIEW_VERBS,
)
RULES_REVIEWS = Resource(
    "authorization.k8s.io",
    "v1",
    "selfsubjectrulesreviews",
    "SelfSubjectRulesReview",
    namespaced=False,
    verbs=REVIEW_VERBS,
)
SUBJECT_REVIEWS = Resource(
    "authentication.k8s.io",
    "v1",
    "selfsubjectreviews",
    "SelfSubjectReview",
    namespaced=False,
    verbs=REVIEW_VERBS,
)
HTTP_ROUTES = Resource(
    "gateway.networking.k8s.io",
    "v1",
    "httproutes",
    "HTTPRoute",
    categories=("gateway-api",),
    subresources=("status",),
    generation=True,
    builtin=False,
)
GATEWAYS = Resource(
    "gateway.networking.k8s.io",
    "v1",
    "gateways",
    "Gateway",
    short_names=("gtw",),
    categories=("gateway-api",),
    subresources=("status",),
    generation=True,
    builtin=False,
)
BACKEND_TRAFFIC_POLICIES = Resource(
    "gateway.envoyproxy.io",
    "v1alpha1",
    "backendtrafficpolicies",
    "BackendTrafficPolicy",
    short_names=("btp",),
    categories=("envoy-gateway",),
    subresources=("status",),
    generation=True,
    builtin=False,
)
INFERENCE_POOLS = Resource(
    "inference.networking.k8s.io",
    "v1",
    "inferencepools",
    "InferencePool",
    short_names=("infpool",),
    subresources=("status",),
    generation=True,
    builtin=False,
)
SCALED_OBJECTS = Resource(
    "keda.sh",
    "v1alpha1",
    "scaledobjects",
    "ScaledObject",
    short_names=("so",),
    subresources=("status",),
    generation=True,
    builtin=False,
)
POD_METRICS = Resource(
    "metrics.k8s.io",
    "v1beta1",
    "pods",
    "PodMetrics",
    verbs=("get", "list"),
    builtin=False,
)
"""Has no objects: the API asks the nodes, as metrics-server does."""

RESOURCES: tuple[Resource, ...] = (
    CONFIGMAPS,
    ENDPOINTS,
    EVENTS,
    LIMITRANGES,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    REPLICATIONCONTROLLERS,
    RESOURCEQUOTAS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFULSETS,
    EVENTS_V1,
    SUBJECT_REVIEWS,
    ACCESS_REVIEWS,
    RULES_REVIEWS,
    HORIZONTAL_POD_AUTOSCALERS,
    CRONJOBS,
    JOBS,
    INGRESSCLASSES,
    INGRESSES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    ROLE_BINDINGS,
    ROLES,
    STORAGECLASSES,
    ENDPOINTSLICES,
    LEASES,
    BACKEND_TRAFFIC_POLICIES,
    GATEWAYS,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    SCALED_OBJECTS,
    POD_METRICS,
)

BY_PATH: dict[tuple[str, str, str], Resource] = {
    (r.group, r.version, r.plural): r for r in RESOURCES
}
BY_KEY: dict[str, Resource] = {r.key: r for r in RESOURCES}
BY_KIND: dict[tuple[str, str], Resource] = {(r.api_version, r.kind): r for r in RESOURCES}
