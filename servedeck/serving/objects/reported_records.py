"""Records of workloads whose state is read from what their controllers report, not from their Pods:
DaemonSets, Rollouts of Argo, and the RayServices and RayClusters of KubeRay."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from servedeck.serving.objects.records import (
    Condition,
    DeploymentMeta,
    DeploymentSpec,
    DeploymentStatus,
    PodTemplate,
    Record,
    Workload,
)

CLUSTER_LABEL = "ray.io/cluster"
SERVE_LABEL = "ray.io/serve"
"""On the Pods that Ray Serve answers at: what the Service of a RayService selects (KubeRay 1.4,
ray-operator/controllers/ray/common/service.go)."""


def _with_labels(template: PodTemplate, **labels: str) -> PodTemplate:
    metadata = template.metadata
    metadata = msgspec.structs.replace(metadata, labels={**metadata.labels, **labels})
    return msgspec.structs.replace(template, metadata=metadata)


# -- DaemonSet --------------------------------------------------------------------------------


class DaemonSetSpec(Record, frozen=True):
    template: PodTemplate = PodTemplate()


class DaemonSetStatus(Record, frozen=True):
    observed_generation: int = 0
    desired_number_scheduled: int = 0
    """Number of nodes that are to run its Pod."""
    updated_number_scheduled: int = 0
    number_ready: int = 0


class DaemonSet(Record, frozen=True):
    """apps/v1 DaemonSet: one Pod for each node that it selects."""

    metadata: DeploymentMeta = DeploymentMeta()
    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()

    @property
    def is_observed(self) -> bool:
        """Whether its controller has acted on the latest change."""
        return self.metadata.generation <= self.status.observed_generation

    def to_workload(self) -> Workload:
        """The nodes that are to run it as replicas."""
        desired = self.status.desired_number_scheduled
        return Workload(self.metadata, DeploymentSpec(desired, template=self.spec.template))


# -- Rollout ----------------------------------------------------------------------------------


class WorkloadRef(Record, frozen=True):
    kind: str = ""
    name: str = ""


class RolloutSpec(Record, frozen=True):
    replicas: int = 1
    template: PodTemplate = PodTemplate()
    """Empty if `workload_ref` names the object that has it."""
    workload_ref: WorkloadRef | None = None


class RolloutStatus(Record, frozen=True):
    observed_generation: str = ""
    """A number as text; of versions before 1.0, a hash of the spec."""
    updated_replicas: int = 0
    ready_replicas: int = 0
    phase: str = ""
    """Healthy, Degraded, Progressing or Paused."""
    message: str = ""
    conditions: tuple[Condition, ...] = ()


class Rollout(Record, frozen=True):
    """argoproj.io/v1alpha1 Rollout (Argo Rollouts 1.8, pkg/apis/rollouts/v1alpha1/types.go)."""

    metadata: DeploymentMeta = DeploymentMeta()
    spec: RolloutSpec = RolloutSpec()
    status: RolloutStatus = RolloutStatus()

    @property
    def is_observed(self) -> bool:
        """Whether its controller has acted on the latest change."""
        observed = self.status.observed_generation
        if observed.isascii() and observed.isdecimal() and len(observed) < 19:
            return self.metadata.generation <= int(observed)
        return bool(observed)

    def to_workload(self) -> Workload:
        """Its Pod template and replicas."""
        spec = DeploymentSpec(self.spec.replicas, template=self.spec.template)
        return Workload(self.metadata, spec)


# -- RayCluster and RayService ----------------------------------------------------------------


class RayGroup(Record, frozen=True):
    replicas: int = 0
    """Of a group of workers."""
    num_of_hosts: int = 1
    """Pods of each replica."""
    template: PodTemplate = PodTemplate()


class RayClusterSpec(Record, frozen=True):
    head_group_spec: RayGroup = RayGroup()
    worker_group_specs: tuple[RayGroup, ...] = ()

    @property
    def groups(self) -> Iterator[tuple[int, PodTemplate]]:
        """Number and template of the Pods of each group, the head first."""
        yield 1, self.head_group_spec.template
        for group in self.worker_group_specs:
            yield group.replicas * max(1, group.num_of_hosts), group.template


class RayClusterStatus(Record, frozen=True):
    state: str = ""
    """ready, failed, suspended, or unhealthy of versions before 1.2."""
    reason: str = ""
    ready_worker_replicas: int = 0
    desired_worker_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class RayCluster(Record, frozen=True):
    """ray.io/v1 RayCluster (KubeRay 1.4, ray-operator/apis/ray/v1/raycluster_types.go)."""

    metadata: DeploymentMeta = DeploymentMeta()
    spec: RayClusterSpec = RayClusterSpec()
    status: RayClusterStatus = RayClusterStatus()

    @property
    def is_owned(self) -> bool:
        """Whether a RayService or a RayJob made it."""
        return any(one.controller for one in self.metadata.owner_references)

    def to_workload(self) -> Workload:
        """One replica, with the template of the head."""
        template = self.spec.head_group_spec.template
        template = _with_labels(template, **{CLUSTER_LABEL: self.metadata.name})
        return Workload(self.metadata, DeploymentSpec(1, template=template))


class RayApplication(Record, frozen=True):
    status: str = ""
    """RUNNING, DEPLOYING, DEPLOY_FAILED, UNHEALTHY, NOT_STARTED or DELETING."""
    message: str = ""


class RayClusterUse(Record, frozen=True):
    """A cluster of a RayService and what runs in it."""

    application_statuses: dict[str, RayApplication] = {}
    ray_cluster_name: str = ""
    ray_cluster_status: RayClusterStatus = RayClusterStatus()


class RayServiceStatus(Record, frozen=True):
    active_service_status: RayClusterUse = RayClusterUse()
    pending_service_status: RayClusterUse = RayClusterUse()
    service_status: str = ""
    """Running, or what is waited for or has failed."""
    conditions: tuple[Condition, ...] = ()
    """Of KubeRay 1.3 and later: Ready, UpgradeInProgress."""


class RayServiceSpec(Record, frozen=True):
    serve_config_v2: str = msgspec.field(default="", name="serveConfigV2")
    """YAML."""
    ray_cluster_config: RayClusterSpec = RayClusterSpec()


class RayService(Record, frozen=True):
    """ray.io/v1 RayService (KubeRay 1.4, ray-operator/apis/ray/v1/rayservice_types.go)."""

    metadata: DeploymentMeta = DeploymentMeta()
    spec: RayServiceSpec = RayServiceSpec()
    status: RayServiceStatus = RayServiceStatus()

    @property
    def models(self) -> tuple[str, str]:
        """Name of its first model in requests, and where that is loaded from, as far as the
        configuration of the applications says it ("" otherwise): Ray Serve LLM
        (https://docs.ray.io/en/latest/serve/llm), or the variable MODEL_ID."""
        text = self.spec.serve_config_v2[:_MAX_CONFIG_LENGTH]
        found = {key.lower(): value for key, value in reversed(_MODEL_PATTERN.findall(text))}
        return found.get("model_id", ""), found.get("model_source", "")

    @property
    def current(self) -> RayClusterUse:
        """The cluster that receives requests; the one that is being made while there is none."""
        active = self.status.active_service_status
        return active if active.ray_cluster_name else self.status.pending_service_status

    def to_workload(self) -> Workload:
        """Its applications as replicas, with the template of the head and the labels that its
        Service selects."""
        template = self.spec.ray_cluster_config.head_group_spec.template
        labels = {CLUSTER_LABEL: self.current.ray_cluster_name, SERVE_LABEL: "true"}
        template = _with_labels(template, **labels)
        replicas = max(1, len(self.current.application_statuses))
        spec = DeploymentSpec(replicas, template=template)
        return Workload(self.metadata, spec, DeploymentStatus())


_MAX_CONFIG_LENGTH = 100_000
_MODEL_PATTERN = re.compile(
    r"""^[ \t]*(?:-[ \t]+)?["']?(model_id|model_source|MODEL_ID)["']?:[ \t]+"""
    r"""["']?([^\s"'#{}\[\]]+)""",
    re.MULTILINE,
)
