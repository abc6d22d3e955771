"""Records of the workloads other than Deployments that can be servings, and the common shape
(`Workload`) that their status and their server are read from."""

from __future__ import annotations

import msgspec

from servedeck.serving.objects.records import (
    Condition,
    Container,
    ContainerEnvVar,
    ContainerPort,
    ContainerResources,
    DeploymentMeta,
    DeploymentSpec,
    DeploymentStatus,
    Lifecycle,
    Pod,
    PodContainer,
    PodResourceClaim,
    PodSpec,
    PodTemplate,
    PodTemplateMeta,
    PodTemplatePodSpec,
    ProbeAction,
    Record,
    Workload,
)

GROUP_LABEL = "leaderworkerset.sigs.k8s.io/name"
"""On the StatefulSets and Pods of a LeaderWorkerSet: its name (LWS 0.7,
api/leaderworkerset/v1/leaderworkerset_types.go)."""
_WORKER_INDEX_LABEL = "leaderworkerset.sigs.k8s.io/worker-index"


# -- StatefulSet ------------------------------------------------------------------------------


class StatefulSetStatus(DeploymentStatus, frozen=True):
    current_revision: str = ""
    update_revision: str = ""


class StatefulSet(Workload, frozen=True):
    """apps/v1 StatefulSet."""

    status: StatefulSetStatus = StatefulSetStatus()


# -- LeaderWorkerSet --------------------------------------------------------------------------


class LeaderWorkerTemplate(Record, frozen=True):
    size: int = 1
    """Pods of one group, with the leader."""
    leader_template: PodTemplate | None = None
    """None if the leader is a Pod like the others."""
    worker_template: PodTemplate = PodTemplate()


class LeaderWorkerSetSpec(Record, frozen=True):
    replicas: int = 1
    """Number of groups."""
    leader_worker_template: LeaderWorkerTemplate = LeaderWorkerTemplate()


class LeaderWorkerSet(Record, frozen=True):
    """leaderworkerset.x-k8s.io/v1 LeaderWorkerSet: groups of Pods, each of which is one replica.

    It owns the StatefulSet of the leaders; each leader owns the StatefulSet of its workers
    (LWS 0.7, pkg/controllers).
    """

    metadata: DeploymentMeta = DeploymentMeta()
    spec: LeaderWorkerSetSpec = LeaderWorkerSetSpec()
    status: DeploymentStatus = DeploymentStatus()

    @property
    def leader_template(self) -> PodTemplate:
        """Template of the leaders."""
        template = self.spec.leader_worker_template
        return template.leader_template or template.worker_template

    def to_workload(self) -> Workload:
        """Its groups as replicas, with the template of the leaders, which receive the requests, and
        the labels that their Pods get."""
        template = self.leader_template
        labels = {
            **template.metadata.labels,
            GROUP_LABEL: self.metadata.name,
            _WORKER_INDEX_LABEL: "0",
        }
        replace = msgspec.structs.replace
        template = replace(template, metadata=replace(template.metadata, labels=labels))
        status = self.status
        if not status.observed_generation:  # LWS 0.7 does not report it
            status = replace(status, observed_generation=self.metadata.generation)
        spec = DeploymentSpec(replicas=self.spec.replicas, template=template)
        return Workload(self.metadata, spec, status)


# -- InferenceService -------------------------------------------------------------------------


class ModelFormat(Record, frozen=True):
    name: str = ""


class PredictorModel(Record, frozen=True):
    model_format: ModelFormat = ModelFormat()
    storage_uri: str = ""
    runtime: str = ""
    image: str = ""
    resources: ContainerResources = ContainerResources()


class Predictor(Record, frozen=True):
    """Either a model, for which KServe chooses the container, or containers."""

    min_replicas: int = 1
    model: PredictorModel | None = None
    containers: tuple[Container, ...] = ()


class InferenceServiceSpec(Record, frozen=True):
    predictor: Predictor = Predictor()


class ModelFailure(Record, frozen=True):
    reason: str = ""
    message: str = ""


class ModelStatus(Record, frozen=True):
    last_failure_info: ModelFailure = ModelFailure()


class InferenceServiceStatus(Record, frozen=True):
    conditions: tuple[Condition, ...] = ()
    url: str = ""
    model_status: ModelStatus = ModelStatus()


class InferenceService(Record, frozen=True):
    """serving.kserve.io/v1beta1 InferenceService (KServe 0.16, pkg/apis/serving/v1beta1)."""

    metadata: DeploymentMeta = DeploymentMeta()
    spec: InferenceServiceSpec = InferenceServiceSpec()
    status: InferenceServiceStatus = InferenceServiceStatus()

    def to_workload(self) -> Workload:
        """Its predictor as a Deployment."""
        predictor = self.spec.predictor
        containers = predictor.containers
        if predictor.model is not None:
            model = predictor.model
            container = Container("kserve-container", model.image, resources=model.resources)
            containers = (container, *containers)
        template = PodTemplate(spec=PodTemplatePodSpec(containers))
        return Workload(self.metadata, DeploymentSpec(predictor.min_replicas, template=template))


# -- Pod without a controller -----------------------------------------------------------------


class PlainPodContainer(PodContainer, frozen=True):
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[ContainerEnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ContainerResources = ContainerResources()
    readiness_probe: ProbeAction | None = None
    lifecycle: Lifecycle = Lifecycle()

    def __post_init__(self) -> None:
        """Nothing is shared: there are few of them."""


class PlainPodSpec(PodSpec, frozen=True):
    containers: tuple[PlainPodContainer, ...] = ()
    resource_claims: tuple[PodResourceClaim, ...] = ()


class PlainPod(Pod, frozen=True):
    """A Pod with what says which server it runs. `Pod` lacks it: there are thousands of those."""

    metadata: DeploymentMeta = DeploymentMeta()
    spec: PlainPodSpec = PlainPodSpec()

    @property
    def template(self) -> PodTemplate:
        """The Pod as a template."""
        containers = tuple(
            Container(
                name=one.name,
                image=one.image,
                command=one.command,
                args=one.args,
                env=one.env,
                ports=one.ports,
                resources=one.resources,
                readiness_probe=one.readiness_probe,
                lifecycle=one.lifecycle,
            )
            for one in self.spec.containers
        )
        return PodTemplate(
            PodTemplateMeta(labels=self.metadata.labels),
            PodTemplatePodSpec(containers, resource_claims=self.spec.resource_claims),
        )

    def to_workload(self) -> Workload:
        """The Pod as one replica."""
        spec = DeploymentSpec(replicas=1, template=self.template)
        status = DeploymentStatus(observed_generation=self.metadata.generation)
        return Workload(self.metadata, spec, status)
