"""Views and records for the tests of the fleet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from msgspec.structs import replace

from servedeck.cluster.watch.kinds import PODS, REPLICA_SETS, ResourceKind
from servedeck.cluster.watch.reflector import RecordChange
from servedeck.fleet.fleet import UNLABELED_SELECTOR
from servedeck.fleet.views import NamespacedName, PodView, ServingView
from servedeck.serving.conventions import ASYNC_LABEL, MANAGED_BY_LABEL, SERVING_LABEL
from servedeck.serving.endpoint import Endpoint
from servedeck.serving.objects.gateway_records import (
    AllowedRoutes,
    Gateway,
    GatewaySpec,
    IstioGateway,
    IstioGatewaySpec,
    IstioServer,
    IstioServerPort,
    Listener,
    ListenerSet,
    ListenerSetSpec,
    RouteNamespaces,
)
from servedeck.serving.objects.openshift_records import (
    Route,
    RouteIngress,
    RouteSpec,
    RouteStatus,
    RouteTarget,
)
from servedeck.serving.objects.records import (
    BackendRef,
    Condition,
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Deployment,
    DeploymentAnnotations,
    DeploymentMeta,
    DeploymentSpec,
    DeploymentStatus,
    Event,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
    HTTPRouteStatus,
    Ingress,
    IngressBackend,
    IngressHTTP,
    IngressMeta,
    IngressPath,
    IngressRule,
    IngressService,
    IngressSpec,
    IstioDestination,
    IstioHTTPRoute,
    IstioRouteDestination,
    LabeledMeta,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    ParentReference,
    PathMatch,
    Pod,
    PodContainer,
    PodSpec,
    PodStatus,
    PodTemplate,
    PodTemplateMeta,
    PodTemplatePodSpec,
    Record,
    ReplicaSet,
    RouteMeta,
    RouteParentStatus,
    ScaledObject,
    ScaledObjectSpec,
    ScaleTargetRef,
    Service,
    ServicePort,
    ServiceSpec,
    VirtualService,
    VirtualServiceSpec,
)
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.status import Status
from tests.cluster.all_kinds import ALL_KINDS

START = datetime(2026, 1, 1, tzinfo=UTC)


def pod_view(name: str = "pod", **fields: Any) -> PodView:
    defaults: dict[str, Any] = {
        "name": name,
        "namespace": "team-a",
        "uid": f"uid-{name}",
        "status": "Running",
        "ready": "1/1",
        "is_ready": True,
        "restarts": 0,
        "last_finished_at": None,
        "node": "",
        "created": START,
        "health": PodHealth.OK,
        "reason": "",
        "message": "",
        "container": "",
        "old_revision": False,
        "containers": (),
        "events": (),
    }
    return PodView(**defaults | fields)


def serving_view(path: str = "team-a/llama", **fields: Any) -> ServingView:
    namespace, name = path.split("/")
    defaults: dict[str, Any] = {
        "key": NamespacedName(namespace, name),
        "uid": f"uid-{path}",
        "status": Status.READY,
        "reason": "",
        "message": "",
        "failing": 0,
        "rollout": "",
        "ready": 1,
        "desired": 1,
        "template": "",
        "model": "",
        "accelerator": "",
        "accelerator_resource": "",
        "accelerator_count": 0,
        "restarts": 0,
        "endpoint": Endpoint(),
        "autoscaler": "",
        "image": "",
        "server_container": "",
        "created": START,
        "labels": {},
        "description": "",
        "managed": True,
        "pods": (),
        "events": (),
    }
    return ServingView(**defaults | fields)


# -- records ----------------------------------------------------------------------------------


ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


def change(
    record: Record, change_type: ChangeType = "MODIFIED", *, kind: ResourceKind | None = None
) -> RecordChange:
    """The change reported by the reflector of the record's kind; `kind` overrides the default."""
    return RecordChange(kind or KIND_BY_RECORD[type(record)], change_type, record)


UNLABELED_PODS = PODS.with_label_selector(UNLABELED_SELECTOR)
UNLABELED_REPLICA_SETS = REPLICA_SETS.with_label_selector(UNLABELED_SELECTOR)
KIND_BY_RECORD: dict[type[Record], ResourceKind] = {
    kind.record_type: kind for kind in ALL_KINDS
} | {
    Pod: PODS.with_label_selector(SERVING_LABEL),
    ReplicaSet: REPLICA_SETS.with_label_selector(SERVING_LABEL),
}


def owner_references(kind: str, uid: str) -> tuple[OwnerReference, ...]:
    return (OwnerReference(kind=kind, name=uid, uid=uid, controller=True),) if uid else ()


SERVER_CONTAINERS = (Container(name="inference-server", image="vllm/vllm-openai:v1"),)


def deployment(
    name: str = "llama",
    uid: str = "",
    *,
    namespace: str = "team-a",
    replicas: int = 1,
    revision: str = "1",
    labeled: bool = True,
    labels: dict[str, str] | None = None,
    created: datetime = START,
    status_replicas: int = 0,
    containers: tuple[Container, ...] = SERVER_CONTAINERS,
    **status: Any,
) -> Deployment:
    label = {SERVING_LABEL: name} if labeled else {}
    return Deployment(
        metadata=DeploymentMeta(
            name=name,
            namespace=namespace,
            uid=uid or f"d-{name}",
            generation=1,
            creation_timestamp=created,
            labels={SERVING_LABEL: name},
            annotations=DeploymentAnnotations(revision=revision),
        ),
        spec=DeploymentSpec(
            replicas=replicas,
            template=PodTemplate(
                metadata=PodTemplateMeta(labels=label | (labels or {})),
                spec=PodTemplatePodSpec(containers=containers),
            ),
        ),
        status=DeploymentStatus(observed_generation=1, replicas=status_replicas, **status),
    )


def async_gateway(
    serving: str = "llama", *, name: str = "", namespace: str = "team-a", manager: str = "servedeck"
) -> Deployment:
    """The Deployment of a serving's async gateway."""
    name = name or f"{serving}-async"
    return Deployment(
        metadata=DeploymentMeta(
            name=name,
            namespace=namespace,
            uid=f"g-{namespace}-{name}-{serving}",
            labels={ASYNC_LABEL: serving, MANAGED_BY_LABEL: manager},
        )
    )


def replicaset(
    uid: str = "r-llama", owner_uid: str = "d-llama", *, revision: str = "1"
) -> ReplicaSet:
    return ReplicaSet(
        metadata=DeploymentMeta(
            name=uid,
            namespace="team-a",
            uid=uid,
            owner_references=owner_references("Deployment", owner_uid),
            annotations=DeploymentAnnotations(revision=revision),
        )
    )


def ready_status(restarts: int = 0, finished: datetime | None = None) -> PodStatus:
    last = ContainerState(terminated=ContainerStateTerminated(exit_code=137, finished_at=finished))
    return PodStatus(
        phase="Running",
        conditions=(
            Condition(type="PodScheduled", status="True"),
            Condition(type="Ready", status="True", last_transition_time=START),
        ),
        container_statuses=(
            ContainerStatus(
                name="inference-server",
                ready=True,
                started=True,
                restart_count=restarts,
                state=ContainerState(running=ContainerStateRunning(started_at=START)),
                last_state=last if finished else ContainerState(),
            ),
        ),
    )


def crashing_status(finished: datetime = START, *, waiting: bool = True) -> PodStatus:
    """OOMKilled; in CrashLoopBackOff, or running again and not ready."""
    state = (
        ContainerState(waiting=ContainerStateWaiting(reason="CrashLoopBackOff"))
        if waiting
        else ContainerState(running=ContainerStateRunning(started_at=finished))
    )
    ended = ContainerStateTerminated(exit_code=137, reason="OOMKilled", finished_at=finished)
    return PodStatus(
        phase="Running",
        conditions=(
            Condition(type="PodScheduled", status="True"),
            Condition(type="Ready", status="False"),
        ),
        container_statuses=(
            ContainerStatus(
                name="inference-server",
                restart_count=3,
                started=not waiting,
                state=state,
                last_state=ContainerState(terminated=ended),
            ),
        ),
    )


def exited_status(container_id: str, finished: datetime = START) -> PodStatus:
    """In CrashLoopBackOff; of the instance that ended only the exit code is known."""
    status = crashing_status()
    (container,) = status.container_statuses
    end = ContainerStateTerminated(
        exit_code=1, reason="Error", finished_at=finished, container_id=container_id
    )
    changed = replace(container, last_state=ContainerState(terminated=end))
    return replace(status, container_statuses=(changed,))


PENDING_STATUS = PodStatus(
    phase="Pending",
    conditions=(
        Condition(
            type="PodScheduled",
            status="False",
            reason="Unschedulable",
            message="0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
        ),
    ),
)


def pod(
    uid: str = "p-llama", owner_uid: str = "r-llama", status: PodStatus | None = None, **meta: Any
) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=uid,
            namespace="team-a",
            uid=uid,
            creation_timestamp=START,
            owner_references=owner_references("ReplicaSet", owner_uid),
            **meta,
        ),
        spec=PodSpec(node_name="gpu-1", containers=(PodContainer(name="inference-server"),)),
        status=ready_status() if status is None else status,
    )


def event(
    involved_uid: str, uid: str = "e", *, kind: str = "Pod", reason: str = "BackOff", **fields: Any
) -> Event:
    times: dict[str, Any] = {"last_timestamp": START, **fields}
    return Event(
        metadata=ObjectMeta(name=uid, namespace="team-a", uid=uid),
        involved_object=ObjectReference(kind=kind, namespace="team-a", uid=involved_uid),
        type="Warning",
        reason=reason,
        message=f"{reason} happened",
        count=1,
        **times,
    )


def service(name: str = "llama", selector: dict[str, str] | None = None, uid: str = "") -> Service:
    return Service(
        metadata=LabeledMeta(name=name, namespace="team-a", uid=uid or f"s-{name}"),
        spec=ServiceSpec(
            selector={SERVING_LABEL: name} if selector is None else selector,
            ports=(ServicePort(name="http", port=80),),
        ),
    )


def http_route(
    name: str = "llama",
    service_name: str = "llama",
    *,
    namespace: str = "team-a",
    host: str = "ai.example",
    gateway_name: str = "main",
    parent_kind: str = "Gateway",
) -> HTTPRoute:
    accepted = RouteParentStatus(conditions=(Condition(type="Accepted", status="True"),))
    return HTTPRoute(
        metadata=LabeledMeta(name=name, namespace=namespace, uid=f"h-{namespace}-{name}"),
        spec=HTTPRouteSpec(
            parent_refs=(
                ParentReference(namespace="gateways", name=gateway_name, kind=parent_kind),
            ),
            hostnames=(host,),
            rules=(
                HTTPRouteRule(
                    matches=(HTTPRouteMatch(path=PathMatch(value=f"/team-a/{service_name}")),),
                    backend_refs=(BackendRef(name=service_name, namespace="team-a", port=80),),
                ),
            ),
        ),
        status=HTTPRouteStatus(parents=(accepted,)),
    )


def gateway(
    protocol: str = "HTTP", port: int = 8080, *, name: str = "main", uid: str = "", host: str = ""
) -> Gateway:
    """One with a listener for routes of all namespaces."""
    allowed = AllowedRoutes(namespaces=RouteNamespaces(from_namespaces="All"))
    listener = Listener("web", host, port, protocol, allowed)
    return Gateway(
        metadata=ObjectMeta(name=name, namespace="gateways", uid=uid or f"g-{name}"),
        spec=GatewaySpec(listeners=(listener,)),
    )


def listener_set(
    protocol: str = "HTTP", port: int = 8080, *, name: str = "main", host: str = ""
) -> ListenerSet:
    """One of the Gateway main, in its namespace, for routes of all namespaces."""
    allowed = AllowedRoutes(namespaces=RouteNamespaces(from_namespaces="All"))
    return ListenerSet(
        metadata=ObjectMeta(name=name, namespace="gateways", uid=f"ls-{name}"),
        spec=ListenerSetSpec(
            parent_ref=ParentReference(name="main"),
            listeners=(Listener("web", host, port, protocol, allowed),),
        ),
    )


def istio_gateway(protocol: str = "HTTP", port: int = 8080, name: str = "main") -> IstioGateway:
    server = IstioServer(port=IstioServerPort(port, protocol), hosts=("*",))
    return IstioGateway(
        metadata=ObjectMeta(name=name, namespace="istio-system", uid=f"ig-{name}"),
        spec=IstioGatewaySpec(servers=(server,)),
    )


def virtual_service(name: str, host: str, namespace: str = "istio-system") -> VirtualService:
    return VirtualService(
        metadata=LabeledMeta(name=name, namespace=namespace, uid=f"v-{name}"),
        spec=VirtualServiceSpec(
            hosts=("mesh.example",),
            gateways=("main",),
            http=(
                IstioHTTPRoute(
                    route=(IstioRouteDestination(destination=IstioDestination(host=host)),)
                ),
            ),
        ),
    )


def openshift_route(name: str, service_name: str, *, ingress_name: str = "") -> Route:
    """One that is admitted; it is made from an Ingress if that is named."""
    admitted = RouteIngress("os.example", (Condition(type="Admitted", status="True"),))
    return Route(
        metadata=RouteMeta(
            name=name,
            namespace="team-a",
            uid=f"o-{name}",
            owner_references=owner_references("Ingress", ingress_name),
        ),
        spec=RouteSpec(host="os.example", to=RouteTarget(name=service_name)),
        status=RouteStatus(ingress=(admitted,)),
    )


def ingress(name: str, service_name: str) -> Ingress:
    path = IngressPath(
        path=f"/{service_name}", backend=IngressBackend(service=IngressService(name=service_name))
    )
    return Ingress(
        metadata=IngressMeta(name=name, namespace="team-a", uid=f"i-{name}"),
        spec=IngressSpec(rules=(IngressRule(host="in.example", http=IngressHTTP(paths=(path,))),)),
    )


def scaled_object(target: str, max_replicas: int = 10) -> ScaledObject:
    return ScaledObject(
        metadata=LabeledMeta(name=target, namespace="team-a", uid=f"k-{target}"),
        spec=ScaledObjectSpec(
            scale_target_ref=ScaleTargetRef(name=target),
            min_replica_count=1,
            max_replica_count=max_replicas,
        ),
    )


def autoscaler(target: str, name: str = "") -> HorizontalPodAutoscaler:
    return HorizontalPodAutoscaler(
        metadata=LabeledMeta(name=name or target, namespace="team-a", uid=f"a-{name or target}"),
        spec=HorizontalPodAutoscalerSpec(
            scale_target_ref=ScaleTargetRef(kind="Deployment", name=target), max_replicas=4
        ),
    )
