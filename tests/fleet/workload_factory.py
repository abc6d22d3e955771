"""Records of workloads other than Deployments, and of their Pods."""

from __future__ import annotations

from typing import Any

from servedeck.serving.objects.records import (
    Condition,
    Container,
    ContainerResources,
    DeploymentMeta,
    DeploymentSpec,
    DeploymentStatus,
    OwnerReference,
    PodStatus,
    PodTemplate,
    PodTemplateMeta,
    PodTemplatePodSpec,
)
from servedeck.serving.objects.reported_records import (
    DaemonSet,
    DaemonSetSpec,
    DaemonSetStatus,
    RayApplication,
    RayCluster,
    RayClusterSpec,
    RayClusterStatus,
    RayClusterUse,
    RayGroup,
    RayService,
    RayServiceSpec,
    RayServiceStatus,
    Rollout,
    RolloutSpec,
    RolloutStatus,
)
from servedeck.serving.objects.workload_records import (
    GROUP_LABEL,
    InferenceService,
    InferenceServiceSpec,
    InferenceServiceStatus,
    LeaderWorkerSet,
    LeaderWorkerSetSpec,
    LeaderWorkerTemplate,
    ModelFormat,
    PlainPod,
    PlainPodContainer,
    PlainPodSpec,
    Predictor,
    PredictorModel,
    StatefulSet,
    StatefulSetStatus,
)
from tests.fleet.factories import START, owner_references, ready_status

VLLM = Container(
    name="vllm",
    image="vllm/vllm-openai:v1",
    args=("--model", "org/m"),
    resources=ContainerResources(limits={"nvidia.com/gpu": "2"}),
)
POSTGRES = Container(name="db", image="postgres:17")


def meta(
    name: str, uid: str, *, owner: tuple[str, str] | None = None, **fields: Any
) -> DeploymentMeta:
    """`owner` is the controller's kind and uid."""
    owners: tuple[OwnerReference, ...] = owner_references(*owner) if owner is not None else ()
    return DeploymentMeta(
        name=name,
        namespace="team-a",
        uid=uid,
        generation=1,
        creation_timestamp=START,
        owner_references=owners,
        **fields,
    )


def pod_template(container: Container = VLLM, **labels: str) -> PodTemplate:
    return PodTemplate(PodTemplateMeta(labels=labels), PodTemplatePodSpec((container,)))


def stateful_set(
    name: str = "llama",
    uid: str = "",
    *,
    replicas: int = 1,
    container: Container = VLLM,
    owner: tuple[str, str] | None = None,
    group: str = "",
    **status: Any,
) -> StatefulSet:
    """`group` is the name of the LeaderWorkerSet that it belongs to."""
    labels = {GROUP_LABEL: group} if group else {}
    return StatefulSet(
        metadata=meta(name, uid or f"sts-{name}", owner=owner, labels=labels),
        spec=DeploymentSpec(replicas=replicas, template=pod_template(container, app=name)),
        status=StatefulSetStatus(observed_generation=1, **status),
    )


def leader_worker_set(
    name: str = "big", *, replicas: int = 1, size: int = 2, leader: Container | None = None
) -> LeaderWorkerSet:
    template = LeaderWorkerTemplate(
        size=size,
        leader_template=pod_template(leader) if leader is not None else None,
        worker_template=pod_template(),
    )
    return LeaderWorkerSet(
        metadata=meta(name, f"lws-{name}"),
        spec=LeaderWorkerSetSpec(replicas=replicas, leader_worker_template=template),
        status=DeploymentStatus(),
    )


def inference_service(
    name: str = "bert", ready: str = "True", *, url: str = "", **condition: str
) -> InferenceService:
    model = PredictorModel(ModelFormat("sklearn"), storage_uri="gs://models/iris")
    return InferenceService(
        metadata=meta(name, f"isvc-{name}"),
        spec=InferenceServiceSpec(predictor=Predictor(model=model)),
        status=InferenceServiceStatus(
            conditions=(Condition(type="Ready", status=ready, **condition),) if ready else (),
            url=url,
        ),
    )


def plain_pod(
    name: str = "solo",
    status: PodStatus | None = None,
    *,
    image: str = VLLM.image,
    owner: tuple[str, str] | None = None,
) -> PlainPod:
    container = PlainPodContainer(name="vllm", image=image, args=("--model", "org/m"))
    return PlainPod(
        metadata=meta(name, f"pod-{name}", owner=owner, labels={"app": name}),
        spec=PlainPodSpec(node_name="gpu-1", containers=(container,)),
        status=ready_status() if status is None else status,
    )


def daemon_set(
    name: str = "each", *, ready: int = 3, desired: int = 3, container: Container = VLLM
) -> DaemonSet:
    status = DaemonSetStatus(1, desired, ready, ready)
    template = pod_template(container, app=name)
    return DaemonSet(meta(name, f"ds-{name}"), DaemonSetSpec(template), status)


def rollout(
    name: str = "canary", *, replicas: int = 2, container: Container = VLLM, **status: Any
) -> Rollout:
    fields = {"observed_generation": "1", "phase": "Healthy", "ready_replicas": replicas, **status}
    spec = RolloutSpec(replicas, pod_template(container, app=name))
    return Rollout(meta(name, f"rollout-{name}"), spec, RolloutStatus(**fields))


RAY_HEAD = Container(name="ray-head", image="rayproject/ray:2.46.0")
RAY_WORKER = Container(
    name="ray-worker",
    image="rayproject/ray-llm:2.46.0",
    resources=ContainerResources(limits={"nvidia.com/gpu": "4"}),
)
SERVE_CONFIG = """
applications:
- name: llms
  import_path: ray.serve.llm:build_openai_app
  args:
    llm_configs:
    - model_loading_config:
        model_id: qwen-7b
        model_source: Qwen/Qwen2.5-7B-Instruct
"""


def _ray_cluster_spec(head: Container) -> RayClusterSpec:
    workers = RayGroup(2, 2, pod_template(RAY_WORKER))
    return RayClusterSpec(RayGroup(template=pod_template(head, app="ray")), (workers,))


def ray_cluster(
    name: str = "pool",
    *,
    head: Container = VLLM,
    owner: tuple[str, str] | None = None,
    **status: Any,
) -> RayCluster:
    fields = {"state": "ready", **status}
    return RayCluster(
        meta(name, f"ray-{name}", owner=owner), _ray_cluster_spec(head), RayClusterStatus(**fields)
    )


def ray_service(
    name: str = "llms",
    *,
    config: str = SERVE_CONFIG,
    cluster: RayClusterStatus | None = None,
    applications: dict[str, str] | None = None,
    **status: Any,
) -> RayService:
    """`applications` are their statuses."""
    running = {"llms": "RUNNING"} if applications is None else applications
    use = RayClusterUse(
        {key: RayApplication(*value.partition(": ")[::2]) for key, value in running.items()},
        f"{name}-7x2kq",
        cluster or RayClusterStatus(),
    )
    return RayService(
        meta(name, f"svc-{name}"),
        RayServiceSpec(config, _ray_cluster_spec(RAY_HEAD)),
        RayServiceStatus(active_service_status=use, **status),
    )
