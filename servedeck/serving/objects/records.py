"""Records of the Kubernetes objects that servedeck watches.

Each record declares only the fields that are used, so decoding is cheap: unknown JSON fields are
skipped without building objects. Field names are the API's in snake case (`creationTimestamp` is
`creation_timestamp`). Absent fields get the default; times are aware datetimes in UTC. Records are
not modified after decoding.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Annotated

import msgspec

from servedeck.serving.conventions import (
    DESCRIPTION_ANNOTATION,
    GATEWAY_API_GROUP,
    METRICS_ANNOTATION,
    OBJECTIVES_ANNOTATION,
)

REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
MODEL_URI_ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""Where KServe's init container loads the model from (KServe 0.16, pkg/constants/constants.go)."""
REWRITE_TARGET_ANNOTATION = "nginx.ingress.kubernetes.io/rewrite-target"
"""The path that the NGINX Ingress controller sends (its documentation, Rewrite)."""
ROUTE_REWRITE_ANNOTATION = "haproxy.router.openshift.io/rewrite-target"
"""What a router of OpenShift sends in place of the path of a Route (its documentation,
Route-specific annotations)."""


# Records with equal texts share one string, and those with equal parts one record: 5,000 Pods have
# few distinct ones, and take 5 MiB less.
_set = msgspec.structs.force_setattr

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware datetime: one without a time zone is rejected, since it cannot be compared with the
others."""


class Record(msgspec.Struct, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """Base of all records. `gc=False`: records contain no cycles, and every full garbage collection
    would otherwise traverse those of 5,000 Pods."""


# -- metadata ---------------------------------------------------------------------------------


class OwnerReference(Record):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


@lru_cache(maxsize=4096)
def _intern_owners(owners: tuple[OwnerReference, ...]) -> tuple[OwnerReference, ...]:
    return owners


class ObjectMeta(Record):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: int | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _set(self, "namespace", intern(self.namespace))
        if self.owner_references:
            _set(self, "owner_references", _intern_owners(self.owner_references))


class LabeledMeta(ObjectMeta):
    labels: dict[str, str] = {}


class WholeObject(Record):
    """An object of any kind with all of its fields. Only the metadata are decoded on arrival."""

    metadata: LabeledMeta = LabeledMeta()
    json_text: str = ""
    """The JSON as the API server sent it, not sanitized; `servedeck.cluster.watch.decode` sets
    it."""


class PodTemplateAnnotations(Record):
    model_uri: str = msgspec.field(default="", name=MODEL_URI_ANNOTATION)


class PodTemplateMeta(LabeledMeta):
    annotations: PodTemplateAnnotations = PodTemplateAnnotations()


class DeploymentAnnotations(Record):
    revision: str = msgspec.field(default="", name=REVISION_ANNOTATION)
    description: str = msgspec.field(default="", name=DESCRIPTION_ANNOTATION)
    metrics: str = msgspec.field(default="", name=METRICS_ANNOTATION)
    objectives: str = msgspec.field(default="", name=OBJECTIVES_ANNOTATION)


class DeploymentMeta(LabeledMeta):
    annotations: DeploymentAnnotations = DeploymentAnnotations()


class Condition(Record):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: Time | None = None

    def __post_init__(self) -> None:
        _set(self, "type", intern(self.type))
        _set(self, "status", intern(self.status))
        _set(self, "reason", intern(self.reason))


# -- Pod --------------------------------------------------------------------------------------


class ContainerStateWaiting(Record):
    reason: str = ""
    message: str = ""


class ContainerStateRunning(Record):
    started_at: Time | None = None


class ContainerStateTerminated(Record):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: Time | None = None
    finished_at: Time | None = None
    container_id: str = msgspec.field(default="", name="containerID")


class ContainerState(Record):
    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Record):
    name: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    container_id: str = msgspec.field(default="", name="containerID")
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()

    def __post_init__(self) -> None:
        _set(self, "name", intern(self.name))


class ResourceRequirements(Record):
    requests: dict[str, str | int | float] = {}
    limits: dict[str, str | int | float] = {}


@lru_cache(maxsize=4096)
def _intern_resources(
    requests: tuple[tuple[str, str | int | float], ...],
    limits: tuple[tuple[str, str | int | float], ...],
) -> ResourceRequirements:
    return ResourceRequirements(dict(requests), dict(limits))


class Probe(Record):
    """When a startup or liveness probe kills its container; the defaults are the API's."""

    initial_delay_seconds: int = 0
    period_seconds: int = 10
    failure_threshold: int = 3


@lru_cache(maxsize=4096)
def _intern_labels(labels: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(labels)


@lru_cache(maxsize=4096)
def _intern_probe(probe: Probe) -> Probe:
    return probe


class PodContainer(Record, frozen=True):
    name: str = ""
    restart_policy: str = ""
    resources: ResourceRequirements = ResourceRequirements()
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None

    def __post_init__(self) -> None:
        _set(self, "name", intern(self.name))
        if self.startup_probe is not None:
            _set(self, "startup_probe", _intern_probe(self.startup_probe))
        if self.liveness_probe is not None:
            _set(self, "liveness_probe", _intern_probe(self.liveness_probe))
        own = self.resources
        if own.requests or own.limits:
            shared = _intern_resources(tuple(own.requests.items()), tuple(own.limits.items()))
            _set(self, "resources", shared)


class ReadinessGate(Record):
    condition_type: str = ""


class PodSpec(Record, frozen=True):
    node_name: str = ""
    containers: tuple[PodContainer, ...] = ()
    init_containers: tuple[PodContainer, ...] = ()
    node_selector: dict[str, str] = {}
    termination_grace_period_seconds: int | None = None
    readiness_gates: tuple[ReadinessGate, ...] = ()

    def __post_init__(self) -> None:
        _set(self, "node_name", intern(self.node_name))
        if self.node_selector:
            _set(self, "node_selector", _intern_labels(tuple(self.node_selector.items())))


class PodStatus(Record):
    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    qos_class: str = ""
    conditions: tuple[Condition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()

    def __post_init__(self) -> None:
        _set(self, "phase", intern(self.phase))
        _set(self, "qos_class", intern(self.qos_class))


class Pod(Record, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


# -- Deployment, ReplicaSet -------------------------------------------------------------------


class ContainerEnvVar(Record):
    name: str = ""
    value: str = ""


class ContainerPort(Record):
    name: str = ""
    container_port: int = 0
    protocol: str = ""


class HTTPGetAction(Record):
    port: int | str = 0
    path: str = ""
    scheme: str = ""


class ProbeAction(Record):
    """What a probe of a Pod template requests."""

    http_get: HTTPGetAction | None = None


class ExecAction(Record):
    command: tuple[str, ...] = ()


class LifecycleHandler(Record):
    exec: ExecAction = ExecAction()


class Lifecycle(Record):
    post_start: LifecycleHandler = LifecycleHandler()


class ContainerClaim(Record):
    name: str = ""


class ContainerResources(ResourceRequirements):
    claims: tuple[ContainerClaim, ...] = ()


class Container(Record):
    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[ContainerEnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ContainerResources = ContainerResources()
    readiness_probe: ProbeAction | None = None
    liveness_probe: ProbeAction | None = None
    startup_probe: ProbeAction | None = None
    lifecycle: Lifecycle = Lifecycle()


class InitContainer(Record):
    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[ContainerEnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str = ""
    """ "Always" for a sidecar, which runs beside the containers."""


class PodResourceClaim(Record):
    """A claim of dynamic resource allocation: the template names the claim, not the device."""

    name: str = ""
    resource_claim_name: str = ""
    resource_claim_template_name: str = ""


class PodTemplatePodSpec(Record):
    containers: tuple[Container, ...] = ()
    init_containers: tuple[InitContainer, ...] = ()
    resource_claims: tuple[PodResourceClaim, ...] = ()


class PodTemplate(Record):
    metadata: PodTemplateMeta = PodTemplateMeta()
    spec: PodTemplatePodSpec = PodTemplatePodSpec()


class RollingUpdateDeployment(Record):
    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"


class DeploymentStrategy(Record):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateDeployment = RollingUpdateDeployment()


class DeploymentSpec(Record):
    replicas: int = 1
    paused: bool = False
    template: PodTemplate = PodTemplate()
    strategy: DeploymentStrategy = DeploymentStrategy()


class DeploymentStatus(Record, frozen=True):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Workload(Record, frozen=True):
    """What a Deployment and a StatefulSet have in common; other kinds are converted to it."""

    metadata: DeploymentMeta = DeploymentMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class Deployment(Workload, frozen=True):
    """apps/v1 Deployment."""

    compressed_json: bytes = b""
    """The JSON as the API server sent it, not sanitized, compressed by zlib: a page is complete
    without another request. `servedeck.cluster.watch.decode` sets it; b"" if it is very long."""


class ReplicaSetStatus(Record):
    conditions: tuple[Condition, ...] = ()


class ReplicaSet(Record):
    metadata: DeploymentMeta = DeploymentMeta()
    status: ReplicaSetStatus = ReplicaSetStatus()


# -- Event ------------------------------------------------------------------------------------


class ObjectReference(Record):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    field_path: str = ""


class EventSeries(Record):
    count: int = 0
    last_observed_time: Time | None = None


class EventSource(Record):
    component: str = ""


class Event(Record):
    """A core/v1 Event. It has two formats: the kubelet and controllers write count and
    last_timestamp, the scheduler writes event_time and series."""

    metadata: ObjectMeta = ObjectMeta()
    involved_object: ObjectReference = ObjectReference()
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int = 0
    first_timestamp: Time | None = None
    last_timestamp: Time | None = None
    event_time: Time | None = None
    series: EventSeries | None = None
    source: EventSource = EventSource()
    reporting_component: str = ""


# -- Service and the three kinds of route -----------------------------------------------------


class ServicePort(Record):
    name: str = ""
    port: int = 0
    target_port: int | str = 0
    node_port: int = 0
    protocol: str = ""
    app_protocol: str = ""


class ServiceSpec(Record):
    type: str = ""
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    """ "None" for a headless Service."""
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()


class LoadBalancerIngress(Record):
    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Record):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Record):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Record):
    metadata: LabeledMeta = LabeledMeta()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class PathMatch(Record):
    type: str = "PathPrefix"
    value: str = "/"


class HeaderMatch(Record):
    name: str = ""
    value: str = ""


class HTTPRouteMatch(Record):
    path: PathMatch = PathMatch()
    headers: tuple[HeaderMatch, ...] = ()
    query_params: tuple[HeaderMatch, ...] = ()
    method: str = ""
    """ "" for all."""


class BackendRef(Record):
    group: str = ""
    kind: str = "Service"
    name: str = ""
    namespace: str = ""
    port: int | None = None
    weight: int | None = None
    """None for 1."""


class PathRewrite(Record):
    type: str = ""
    replace_prefix_match: str = ""


class URLRewrite(Record):
    path: PathRewrite = PathRewrite()


class HTTPRouteFilter(Record):
    type: str = ""
    url_rewrite: URLRewrite = URLRewrite()


class HTTPRouteRule(Record):
    matches: tuple[HTTPRouteMatch, ...] = ()
    filters: tuple[HTTPRouteFilter, ...] = ()
    backend_refs: tuple[BackendRef, ...] = ()


class ParentReference(Record, frozen=True):
    """What a route is attached to; the defaults are the API's."""

    group: str = GATEWAY_API_GROUP
    kind: str = "Gateway"
    namespace: str = ""
    """ "" for that of the route."""
    name: str = ""
    section_name: str = ""
    """Name of a listener, "" for all."""
    port: int = 0
    """Port of listeners, 0 for all."""


class HTTPRouteSpec(Record):
    parent_refs: tuple[ParentReference, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[HTTPRouteRule, ...] = ()


class RouteParentStatus(Record):
    parent_ref: ParentReference = ParentReference()
    conditions: tuple[Condition, ...] = ()


class HTTPRouteStatus(Record):
    parents: tuple[RouteParentStatus, ...] = ()


class HTTPRoute(Record):
    """gateway.networking.k8s.io/v1 HTTPRoute."""

    metadata: LabeledMeta = LabeledMeta()
    spec: HTTPRouteSpec = HTTPRouteSpec()
    status: HTTPRouteStatus = HTTPRouteStatus()


class StringMatch(Record):
    exact: str = ""
    prefix: str = ""
    regex: str = ""


class IstioMatch(Record):
    uri: StringMatch = StringMatch()
    headers: dict[str, StringMatch] = {}
    query_params: dict[str, StringMatch] = {}
    method: StringMatch = StringMatch()
    gateways: tuple[str, ...] = ()
    """In place of those of the VirtualService; () for those."""
    port: int = 0
    """Port of the Gateway's server, 0 for all."""


class IstioPort(Record):
    number: int = 0


class IstioDestination(Record):
    host: str = ""
    port: IstioPort = IstioPort()


class IstioRouteDestination(Record):
    destination: IstioDestination = IstioDestination()
    weight: int = 0
    """Of several destinations, 0 for none of the requests; a single one receives all."""


class IstioRewrite(Record):
    uri: str = ""
    uri_regex_rewrite: dict[str, str] = {}


class IstioHTTPRoute(Record):
    match: tuple[IstioMatch, ...] = ()
    route: tuple[IstioRouteDestination, ...] = ()
    rewrite: IstioRewrite = IstioRewrite()


class VirtualServiceSpec(Record):
    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[IstioHTTPRoute, ...] = ()


class VirtualService(Record):
    """networking.istio.io/v1 VirtualService."""

    metadata: LabeledMeta = LabeledMeta()
    spec: VirtualServiceSpec = VirtualServiceSpec()


class IngressServicePort(Record):
    number: int = 0
    name: str = ""


class IngressService(Record):
    name: str = ""
    port: IngressServicePort = IngressServicePort()


class IngressBackend(Record):
    service: IngressService = IngressService()


class IngressPath(Record):
    path: str = "/"
    path_type: str = ""
    backend: IngressBackend = IngressBackend()


class IngressHTTP(Record):
    paths: tuple[IngressPath, ...] = ()


class IngressRule(Record):
    host: str = ""
    http: IngressHTTP = IngressHTTP()


class IngressTLS(Record):
    hosts: tuple[str, ...] = ()


class IngressSpec(Record):
    default_backend: IngressBackend = IngressBackend()
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


class IngressAnnotations(Record):
    rewrite_target: str | None = msgspec.field(default=None, name=REWRITE_TARGET_ANNOTATION)


class IngressMeta(LabeledMeta):
    annotations: IngressAnnotations = IngressAnnotations()


class RouteAnnotations(Record):
    rewrite_target: str | None = msgspec.field(default=None, name=ROUTE_REWRITE_ANNOTATION)


class RouteMeta(LabeledMeta):
    """Of a Route of OpenShift."""

    annotations: RouteAnnotations = RouteAnnotations()


class Ingress(Record):
    """networking.k8s.io/v1 Ingress."""

    metadata: IngressMeta = IngressMeta()
    spec: IngressSpec = IngressSpec()
    status: ServiceStatus = ServiceStatus()


# -- scalers ----------------------------------------------------------------------------------


class ScaleTargetRef(Record):
    kind: str = "Deployment"
    name: str = ""


class ScaledObjectSpec(Record):
    scale_target_ref: ScaleTargetRef = ScaleTargetRef()
    min_replica_count: int = 0
    max_replica_count: int = 100


class ScaledObjectStatus(Record):
    conditions: tuple[Condition, ...] = ()


class ScaledObject(Record):
    """keda.sh/v1alpha1 ScaledObject."""

    metadata: LabeledMeta = LabeledMeta()
    spec: ScaledObjectSpec = ScaledObjectSpec()
    status: ScaledObjectStatus = ScaledObjectStatus()


class HorizontalPodAutoscalerSpec(Record):
    scale_target_ref: ScaleTargetRef = ScaleTargetRef()
    min_replicas: int = 1
    max_replicas: int = 1


class HorizontalPodAutoscaler(Record):
    """autoscaling/v2 HorizontalPodAutoscaler."""

    metadata: LabeledMeta = LabeledMeta()
    spec: HorizontalPodAutoscalerSpec = HorizontalPodAutoscalerSpec()


# -- where Pods can run (for the create form) --------------------------------------------------


class Taint(Record):
    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(Record):
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(Record):
    allocatable: dict[str, str | int | float] = {}
    conditions: tuple[Condition, ...] = ()


class Node(Record):
    metadata: LabeledMeta = LabeledMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Namespace(Record):
    metadata: ObjectMeta = ObjectMeta()
