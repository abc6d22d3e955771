"""Desired state of a serving: `ServingSpec`, from which the objects are built and to which they are
imported.

Each attribute is the one place that defines a field: its type, how it is labeled and checked, where
it is in the objects, and whether a change restarts Pods. Forms, documents, the review, import and
export derive from it (`FIELDS`). Absent is None or empty: defaults are what the form of a new
serving suggests, never what an object is assumed to have. A spec imported from objects not created
by servedeck may be invalid and must still be shown; `servedeck.serving.spec.validation` checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic import Field as PydanticField
from pydantic_core import PydanticCustomError

from servedeck.serving.conventions import (
    DEFAULT_INFERENCE_PORT,
    DESCRIPTION_ANNOTATION,
    MODEL_CACHE_PATH,
    OBJECTIVES_ANNOTATION,
    REVISION_LABEL,
)
from servedeck.serving.spec import fields, pod_setting_rules, rules, scaling
from servedeck.serving.spec import load_balancing as balancing
from servedeck.serving.spec import temperature_policy as cooling
from servedeck.serving.spec.fields import Field, FieldValue, InputKind
from servedeck.serving.spec.issues import Issue, error
from servedeck.serving.spec.mapping.auto_scaling import AUTO_SCALING
from servedeck.serving.spec.mapping.command_line import COMMAND, SETTINGS, TEMPLATE
from servedeck.serving.spec.mapping.environment import ENV
from servedeck.serving.spec.mapping.json_values import as_int, as_str
from servedeck.serving.spec.mapping.load_balancing import (
    LOAD_BALANCING,
    LOAD_BALANCING_HEADER,
)
from servedeck.serving.spec.mapping.pod_settings import (
    LIVENESS_TIMES,
    NODE_SELECTOR,
    PULL_SECRETS,
    READINESS_TIMES,
    RESOURCE_CLAIMS,
    RUNTIME_CLASS,
    SERVICE_ACCOUNT,
    TOLERATIONS,
)
from servedeck.serving.spec.mapping.ports import INFERENCE_PORT
from servedeck.serving.spec.mapping.probes import (
    LIVENESS_PATH,
    READINESS_PATH,
    STARTUP_PATH,
    STARTUP_SECONDS,
)
from servedeck.serving.spec.mapping.resources import (
    ACCELERATOR,
    ACCELERATOR_COUNT,
    CPU,
    CPU_LIMIT,
    MEMORY,
    MEMORY_LIMIT,
)
from servedeck.serving.spec.mapping.rollout import ROLLOUT
from servedeck.serving.spec.mapping.serving_objects import (
    FieldAccess,
    container_field,
    deployment_annotation,
    deployment_field,
    deployment_label,
    read_only_field,
)
from servedeck.serving.spec.mapping.system_volumes import (
    FS_GROUP,
    MODEL_CACHE,
    SHARED_MEMORY,
    cache_env,
)
from servedeck.serving.spec.mapping.temperature import TEMPERATURE
from servedeck.serving.spec.mapping.transformer import TRANSFORMER
from servedeck.serving.spec.mapping.volumes import VOLUMES
from servedeck.serving.spec.mount_paths import normalize_path
from servedeck.serving.spec.rollouts import ROLLOUTS, parse_rollout
from servedeck.serving.spec.templates import TEMPLATES, Template, find_template
from servedeck.serving.spec.templates.base import (
    DEFAULT_SHARED_MEMORY,
    SpecLike,
    to_snake_case,
)
from servedeck.serving.spec.types import (
    Arguments,
    CpuQuantity,
    EnvVar,
    EnvVars,
    Int,
    LivenessTimes,
    MemoryQuantity,
    NodeSelector,
    OptionalInt,
    PullSecrets,
    Quantity,
    ReadinessTimes,
    ResourceClaims,
    SpecModel,
    Str,
    Tolerations,
    Transformer,
    Volume,
    as_tuple,
    model_fields,
)

_GIVEN = "given"
"""Names of the fields that were given, in the context of a validation of all."""


class Section(StrEnum):
    """A section of the form and of the review, with its title."""

    BASIC = "Basic Information"
    CONTAINER = "Container"
    TEMPLATE = "Template"
    """Its title is the template's name."""
    VOLUMES = "Data Volumes"
    ADVANCED = "Advanced Settings"
    ENVIRONMENT = "Environment Variables"
    TRANSFORMER = "Transformer"
    AUTO_SCALING = "Auto Scaling"
    TRAFFIC = "Traffic Management"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonField:
    """A field that every serving has; a template adds its own."""

    section: Section
    access: FieldAccess
    """Where it is in the objects."""
    label: str = ""
    help: str = ""
    kind: InputKind = InputKind.TEXT
    default: FieldValue = ""
    """What the form of a new serving suggests."""
    required: bool = False
    choices: tuple[str, ...] = ()
    """Of a kind of input that is chosen from values known in advance."""
    inputs: tuple[Field, ...] = ()
    """The inputs of each row, or of the parts, of a field that is no single input."""
    only_if_set: bool = False
    """The form of a new serving shows it only if it has a value, as that of a clone may have."""
    always_in_document: bool = False
    """Documents contain it even if it has its default."""
    restarts: bool = True
    """Whether a change of it replaces the Pods."""
    validate: Callable[[SpecLike], Iterable[Issue]] = lambda spec: ()

    def form_field(self, name: str) -> Field:
        """Its input."""
        advanced = self.section not in (Section.BASIC, Section.CONTAINER)
        return Field(
            name,
            self.label,
            self.help,
            self.kind,
            self.default,
            required=self.required,
            choices=self.choices,
            advanced=advanced,
        )


class ServingSpec(SpecModel):
    """A serving. Every field accepts text from a form or from YAML."""

    name: Annotated[
        Str,
        CommonField(
            section=Section.BASIC,
            label="Service Name",
            help="Lowercase letters, digits and hyphens, no hyphen at either end, up to 63 "
            "characters",
            required=True,
            access=read_only_field(lambda objects: as_str(objects.metadata.get("name"))),
            restarts=False,
            validate=rules.validate_name,
        ),
    ]
    namespace: Annotated[
        Str,
        CommonField(
            section=Section.BASIC,
            label="Namespace",
            help="Namespace of the serving",
            required=True,
            access=read_only_field(lambda objects: as_str(objects.metadata.get("namespace"))),
            restarts=False,
            validate=rules.validate_namespace,
        ),
    ] = ""
    """Namespace; "" until one is chosen."""
    description: Annotated[
        Str,
        CommonField(
            section=Section.BASIC,
            label="Description",
            help="What the serving is for; shown with it",
            access=deployment_annotation(DESCRIPTION_ANNOTATION, "description"),
            restarts=False,
            validate=rules.validate_description,
        ),
    ] = ""
    objectives: Annotated[
        Str,
        CommonField(
            section=Section.BASIC,
            label="Objectives",
            help="Targets of the P95, the time to first token and the error rate: "
            "p95=2s ttft=500ms errors=1%",
            only_if_set=True,
            access=deployment_annotation(OBJECTIVES_ANNOTATION, "objectives"),
            restarts=False,
            validate=rules.validate_objectives,
        ),
    ] = ""
    """See `servedeck.serving.objectives`."""
    revision_of: Annotated[
        Str,
        CommonField(
            section=Section.BASIC,
            label="Revision Of",
            help="Serving of the namespace that this is another revision of: it has no endpoint of "
            "its own, and gets requests by a traffic split",
            only_if_set=True,
            access=deployment_label(REVISION_LABEL, "revision_of"),
            restarts=False,
            validate=rules.validate_revision_of,
        ),
    ] = ""
    template: Annotated[
        Str,
        CommonField(
            section=Section.BASIC,
            label="Service Template",
            help="Inference framework",
            kind=InputKind.CHOICE,
            required=True,
            access=TEMPLATE,
            always_in_document=True,
        ),
    ]
    image: Annotated[
        Str,
        CommonField(
            section=Section.CONTAINER,
            label="Image",
            help="Container image, registry/name:tag",
            required=True,
            access=container_field("image", "image"),
            always_in_document=True,
            validate=rules.validate_image_field,
        ),
    ] = ""
    cpu: Annotated[
        CpuQuantity,
        CommonField(
            section=Section.CONTAINER,
            label="CPU",
            help="Number of CPU cores: 0.5, 500m, 8; empty for no request",
            kind=InputKind.QUANTITY,
            default="0.5",
            access=CPU,
            validate=rules.validate_cpu,
        ),
    ] = None
    cpu_limit: Annotated[
        CpuQuantity,
        CommonField(
            section=Section.CONTAINER,
            label="CPU Limit",
            help="Maximum number of CPU cores; empty for no limit",
            kind=InputKind.QUANTITY,
            only_if_set=True,
            access=CPU_LIMIT,
            validate=rules.validate_cpu_limit,
        ),
    ] = None
    memory: Annotated[
        MemoryQuantity,
        CommonField(
            section=Section.CONTAINER,
            label="Memory",
            help="Memory: 512Mi, 1Gi, 64Gi; empty for no request",
            kind=InputKind.QUANTITY,
            default="1Gi",
            access=MEMORY,
            validate=rules.validate_memory,
        ),
    ] = None
    memory_limit: Annotated[
        MemoryQuantity,
        CommonField(
            section=Section.CONTAINER,
            label="Memory Limit",
            help="Maximum memory; empty for the same as Memory, 0 for no limit",
            kind=InputKind.QUANTITY,
            only_if_set=True,
            access=MEMORY_LIMIT,
            validate=rules.validate_memory_limit,
        ),
    ] = None
    accelerator: Annotated[
        Str,
        CommonField(
            section=Section.CONTAINER,
            label="Accelerator",
            help="Accelerator type",
            kind=InputKind.SUGGESTION,
            access=ACCELERATOR,
            validate=rules.validate_accelerator,
        ),
    ] = ""
    """Resource key, "nvidia.com/gpu"; "" for none."""
    accelerator_count: Annotated[
        Int,
        CommonField(
            section=Section.CONTAINER,
            label="Accelerator Count",
            help="Number of accelerators of each replica",
            kind=InputKind.INTEGER,
            default=1,
            access=ACCELERATOR_COUNT,
            validate=rules.validate_accelerator_count,
        ),
    ] = 1
    """Per replica; 1 if there is no accelerator."""
    replicas: Annotated[
        Int,
        CommonField(
            section=Section.CONTAINER,
            label="Replicas",
            help="Number of service containers",
            kind=InputKind.INTEGER,
            default=1,
            access=deployment_field("replicas", "replicas", as_int),
            always_in_document=True,
            restarts=False,
            validate=rules.validate_replicas,
        ),
    ] = 1
    settings: Annotated[
        dict[str, FieldValue],
        CommonField(
            section=Section.TEMPLATE,
            access=SETTINGS,
            validate=rules.validate_settings,
        ),
    ] = PydanticField(default={}, validate_default=True)
    """The template's fields by name; complete, including defaults."""
    volumes: Annotated[
        tuple[Volume, ...],
        BeforeValidator(as_tuple),
        CommonField(
            section=Section.VOLUMES,
            inputs=model_fields(Volume),
            access=VOLUMES,
            validate=rules.validate_volumes,
        ),
    ] = ()
    inference_port: Annotated[
        OptionalInt,
        CommonField(
            section=Section.ADVANCED,
            label="Inference Port",
            help="Port that the inference server listens on",
            kind=InputKind.INTEGER,
            default=DEFAULT_INFERENCE_PORT,
            access=INFERENCE_PORT,
            validate=rules.validate_port,
        ),
    ] = None
    """None if it is unknown; see `port`."""
    command: Annotated[
        Arguments,
        CommonField(
            section=Section.ADVANCED,
            label="Command Override",
            help="Container start command instead of the template's; quoted as in a shell",
            kind=InputKind.ARGUMENTS,
            default=(),
            access=COMMAND,
            validate=rules.validate_command,
        ),
    ] = ()
    """Command Override; () for the template's command."""
    rollout: Annotated[
        str,
        BeforeValidator(parse_rollout),
        CommonField(
            section=Section.ADVANCED,
            label="Rollout",
            help="surge: a new Pod starts first and needs room beside the old ones; replace: an "
            "old Pod stops first; recreate: all stop first",
            kind=InputKind.SUGGESTION,
            choices=ROLLOUTS,
            access=ROLLOUT,
            restarts=False,
            validate=rules.validate_rollout,
        ),
    ] = ""
    """How changed Pods replace old ones, see `rollouts`; "" leaves that of an existing
    serving as it is, and is `default_rollout` in a new one."""
    readiness_path: Annotated[
        Str | None,
        CommonField(
            section=Section.ADVANCED,
            label="Readiness Endpoint",
            help="HTTP path that says whether a Pod may receive traffic, /health or /v1/models; "
            "empty for no probe",
            only_if_set=True,
            access=READINESS_PATH,
            validate=rules.validate_readiness_path,
        ),
    ] = None
    """HTTP path of the readiness probe; None for the template's default, "" for no probe."""
    liveness_path: Annotated[
        Str | None,
        CommonField(
            section=Section.ADVANCED,
            label="Liveness Endpoint",
            help="HTTP path that says whether a Pod works, /health or /healthz; repeated failures "
            "restart the container; empty for no probe",
            only_if_set=True,
            access=LIVENESS_PATH,
            validate=rules.validate_liveness_path,
        ),
    ] = None
    startup_path: Annotated[
        Str,
        CommonField(
            section=Section.ADVANCED,
            label="Start-up Endpoint",
            help="HTTP path that the start-up probe asks; empty for that of the liveness probe, "
            "else of the readiness probe",
            only_if_set=True,
            access=STARTUP_PATH,
            validate=rules.validate_startup_path,
        ),
    ] = ""
    """HTTP path of the start-up probe; "" for that of the liveness probe, else of the readiness
    probe. Not given, it leaves that of an existing serving as it is."""
    startup_seconds: Annotated[
        OptionalInt,
        CommonField(
            section=Section.ADVANCED,
            label="Start-up Time (s)",
            help="Seconds that a container may take to load before it is restarted; empty for no "
            "start-up probe",
            kind=InputKind.INTEGER,
            default=None,
            only_if_set=True,
            access=STARTUP_SECONDS,
            validate=rules.validate_startup_seconds,
        ),
    ] = None
    """Seconds from the container's start to the last failure that the start-up probe allows: its
    initialDelaySeconds + periodSeconds * failureThreshold. 0 for no start-up probe; None leaves
    that of an existing serving as it is, and is DEFAULT_STARTUP_SECONDS in a new one with an
    endpoint."""
    readiness_times: Annotated[
        ReadinessTimes,
        CommonField(
            section=Section.ADVANCED,
            label="Readiness Times",
            help="Seconds of the readiness probe: delay=0 period=5 timeout=5, and failures=3 in "
            "a row; empty for these",
            access=READINESS_TIMES,
            validate=pod_setting_rules.validate_readiness_times,
        ),
    ] = ()
    """Those that are not the default, see `pod_settings`; not given, those of an existing serving
    stay, as of all fields of the Pods below."""
    liveness_times: Annotated[
        LivenessTimes,
        CommonField(
            section=Section.ADVANCED,
            label="Liveness Times",
            help="Seconds of the liveness probe: delay=0 period=10 timeout=5, and failures=6 in "
            "a row; empty for these",
            access=LIVENESS_TIMES,
            validate=pod_setting_rules.validate_liveness_times,
        ),
    ] = ()
    shared_memory: Annotated[
        MemoryQuantity,
        CommonField(
            section=Section.ADVANCED,
            label="Shared Memory",
            help="Size of /dev/shm, part of Memory: 2Gi; empty for what the template proposes, by "
            "its number of workers",
            kind=InputKind.QUANTITY,
            access=SHARED_MEMORY,
            validate=pod_setting_rules.validate_shared_memory,
        ),
    ] = None
    """None for the size that the template proposes; see `shared_memory_limit`."""
    model_cache_path: Annotated[
        Str,
        CommonField(
            section=Section.ADVANCED,
            label="Model Cache Path",
            help=f"Where downloaded models and compiled code are kept, also the server's HOME; "
            f"empty for {MODEL_CACHE_PATH}",
            access=MODEL_CACHE,
            validate=pod_setting_rules.validate_model_cache_path,
        ),
    ] = ""
    """Path of the model cache in the container; "" for that of a new serving."""
    fs_group: Annotated[
        OptionalInt,
        CommonField(
            section=Section.ADVANCED,
            label="Volume Group",
            help="Number of the group that may write to the volumes (fsGroup), for an image whose "
            "user is not root; OpenShift sets one itself",
            kind=InputKind.INTEGER,
            default=None,
            access=FS_GROUP,
            validate=pod_setting_rules.validate_fs_group,
        ),
    ] = None
    node_selector: Annotated[
        NodeSelector,
        CommonField(
            section=Section.ADVANCED,
            label="Node Selector",
            help="Labels that a node must have: zone=eu-1 gpu.example.com/model=h100",
            access=NODE_SELECTOR,
            validate=pod_setting_rules.validate_node_selector,
        ),
    ] = ()
    """`key=value` in the order of the keys."""
    tolerations: Annotated[
        Tolerations,
        CommonField(
            section=Section.ADVANCED,
            label="Tolerations",
            help="Taints of nodes that the Pods tolerate, besides the accelerator's: "
            "team=ml:NoSchedule spot:NoExecute:300s :NoSchedule",
            access=TOLERATIONS,
            validate=pod_setting_rules.validate_tolerations,
        ),
    ] = ()
    runtime_class: Annotated[
        Str,
        CommonField(
            section=Section.ADVANCED,
            label="Runtime Class",
            help="RuntimeClass of the Pods, such as nvidia; empty for the nodes' default",
            access=RUNTIME_CLASS,
            validate=pod_setting_rules.validate_runtime_class,
        ),
    ] = ""
    image_pull_secrets: Annotated[
        PullSecrets,
        CommonField(
            section=Section.ADVANCED,
            label="Image Pull Secrets",
            help="Secrets of the namespace with which the nodes pull the images; those of the "
            "service account count, too",
            access=PULL_SECRETS,
            validate=pod_setting_rules.validate_pull_secrets,
        ),
    ] = ()
    service_account: Annotated[
        Str,
        CommonField(
            section=Section.ADVANCED,
            label="Service Account",
            help="ServiceAccount of the Pods; empty for the namespace's default",
            access=SERVICE_ACCOUNT,
            validate=pod_setting_rules.validate_service_account,
        ),
    ] = ""
    resource_claims: Annotated[
        ResourceClaims,
        CommonField(
            section=Section.ADVANCED,
            label="Resource Claims",
            help="Devices of dynamic resource allocation for the inference server: "
            "gpu=template/h100 for each Pod its own, gpu=claim/shared for one of all",
            access=RESOURCE_CLAIMS,
            validate=pod_setting_rules.validate_resource_claims,
        ),
    ] = ()
    env: Annotated[
        EnvVars,
        CommonField(
            section=Section.ENVIRONMENT,
            access=ENV,
            validate=rules.validate_env,
        ),
    ] = ()
    transformer: Annotated[
        Transformer | None,
        CommonField(
            section=Section.TRANSFORMER,
            inputs=model_fields(Transformer),
            access=TRANSFORMER,
            validate=rules.validate_transformer,
        ),
    ] = None

    auto_scaling: Annotated[
        str,
        BeforeValidator(scaling.parse_auto_scaling),
        CommonField(
            section=Section.AUTO_SCALING,
            label="Auto Scaling",
            help="Change the replicas with the load: response-time (P95 of all), or "
            "waiting-requests (per replica; it rises before the response time does)",
            kind=InputKind.CHOICE,
            default=scaling.OFF,
            choices=scaling.CHOICES,
            only_if_set=True,
            access=AUTO_SCALING["auto_scaling"],
            restarts=False,
        ),
    ] = scaling.OFF
    """See `scaling`."""
    min_replicas: Annotated[
        OptionalInt,
        CommonField(
            section=Section.AUTO_SCALING,
            label="Min Replicas",
            help="Fewest replicas; 0 stops the serving without traffic, at the price of a cold "
            "start",
            kind=InputKind.INTEGER,
            default=scaling.DEFAULT_MIN_REPLICAS,
            only_if_set=True,
            access=AUTO_SCALING["min_replicas"],
            restarts=False,
            validate=scaling.validate_min_replicas,
        ),
    ] = PydanticField(default=None, validate_default=True)
    """None while auto scaling is off, as of the fields that follow."""
    max_replicas: Annotated[
        OptionalInt,
        CommonField(
            section=Section.AUTO_SCALING,
            label="Max Replicas",
            help="Most replicas; each needs its accelerators",
            kind=InputKind.INTEGER,
            default=scaling.DEFAULT_MAX_REPLICAS,
            only_if_set=True,
            access=AUTO_SCALING["max_replicas"],
            restarts=False,
            validate=scaling.validate_max_replicas,
        ),
    ] = PydanticField(default=None, validate_default=True)
    scale_in_delay: Annotated[
        OptionalInt,
        CommonField(
            section=Section.AUTO_SCALING,
            label="Scale-in Delay (s)",
            help="Seconds that the load must stay low before replicas are removed",
            kind=InputKind.INTEGER,
            default=scaling.DEFAULT_SCALE_IN_DELAY,
            only_if_set=True,
            access=AUTO_SCALING["scale_in_delay"],
            restarts=False,
            validate=scaling.validate_scale_in_delay,
        ),
    ] = PydanticField(default=None, validate_default=True)
    target_response_time: Annotated[
        OptionalInt,
        CommonField(
            section=Section.AUTO_SCALING,
            label="Target Response Time (ms)",
            help="P95 of the response time above which replicas are added",
            kind=InputKind.INTEGER,
            default=scaling.DEFAULT_TARGET_RESPONSE_TIME,
            only_if_set=True,
            access=AUTO_SCALING["target_response_time"],
            restarts=False,
            validate=scaling.validate_target_response_time,
        ),
    ] = PydanticField(default=None, validate_default=True)
    target_waiting: Annotated[
        OptionalInt,
        CommonField(
            section=Section.AUTO_SCALING,
            label="Target Waiting Requests",
            help="Waiting requests per replica above which replicas are added",
            kind=InputKind.INTEGER,
            default=scaling.DEFAULT_TARGET_WAITING,
            only_if_set=True,
            access=AUTO_SCALING["target_waiting"],
            restarts=False,
            validate=scaling.validate_target_waiting,
        ),
    ] = PydanticField(default=None, validate_default=True)
    load_balancing: Annotated[
        str,
        BeforeValidator(balancing.parse_load_balancing),
        CommonField(
            section=Section.TRAFFIC,
            label="Load Balancing",
            help="How requests are spread over the Pods: off leaves it to the proxy; header sends "
            "those with the same value of a header to the same Pod; prefix-aware sends each to the "
            "Pod whose cache has its prompt",
            kind=InputKind.CHOICE,
            default=balancing.OFF,
            choices=balancing.CHOICES,
            only_if_set=True,
            access=LOAD_BALANCING,
            restarts=False,
            validate=balancing.validate_prefix_aware,
        ),
    ] = balancing.OFF
    """See `load_balancing`."""
    load_balancing_header: Annotated[
        Str,
        CommonField(
            section=Section.TRAFFIC,
            label="Session Header",
            help="Header whose value chooses the Pod, such as X-Session-Id",
            only_if_set=True,
            access=LOAD_BALANCING_HEADER,
            restarts=False,
            validate=balancing.validate_header,
        ),
    ] = ""
    temperature_policy: Annotated[
        str,
        BeforeValidator(cooling.parse_temperature_policy),
        CommonField(
            section=Section.TRAFFIC,
            label="Temperature Policy",
            help="Take a Pod out of traffic while its accelerator is too hot, never the last ready "
            "one; a change of on and off restarts the Pods",
            kind=InputKind.CHOICE,
            default=cooling.OFF,
            choices=cooling.CHOICES,
            only_if_set=True,
            access=TEMPERATURE["temperature_policy"],
        ),
    ] = cooling.OFF
    temperature_threshold: Annotated[
        OptionalInt,
        CommonField(
            section=Section.TRAFFIC,
            label="Temperature Threshold (°C)",
            help="Temperature from which a Pod gets no requests",
            kind=InputKind.INTEGER,
            default=cooling.DEFAULTS["temperature_threshold"],
            only_if_set=True,
            access=TEMPERATURE["temperature_threshold"],
            restarts=False,
            validate=cooling.validate_threshold,
        ),
    ] = PydanticField(default=None, validate_default=True)
    """None while the policy is off, as of the fields that follow."""
    temperature_recovery: Annotated[
        OptionalInt,
        CommonField(
            section=Section.TRAFFIC,
            label="Recovery Temperature (°C)",
            help="Temperature at which it gets requests again, or below",
            kind=InputKind.INTEGER,
            default=cooling.DEFAULTS["temperature_recovery"],
            only_if_set=True,
            access=TEMPERATURE["temperature_recovery"],
            restarts=False,
            validate=cooling.validate_recovery,
        ),
    ] = PydanticField(default=None, validate_default=True)
    temperature_seconds: Annotated[
        OptionalInt,
        CommonField(
            section=Section.TRAFFIC,
            label="Shortest Time (s)",
            help="Seconds without requests at least",
            kind=InputKind.INTEGER,
            default=cooling.DEFAULTS["temperature_seconds"],
            only_if_set=True,
            access=TEMPERATURE["temperature_seconds"],
            restarts=False,
            validate=cooling.validate_seconds,
        ),
    ] = PydanticField(default=None, validate_default=True)

    @field_validator("template")
    @classmethod
    def _validate_template(cls, name: str) -> str:
        if not name:
            raise ValueError(f"Choose a template: {fields.join_choices(tuple(TEMPLATES))}.")
        if find_template(name) is None:
            raise ValueError(
                f"There is no template {name!r}; choose {fields.join_choices(tuple(TEMPLATES))}."
            )
        return name

    @field_validator("accelerator")
    @classmethod
    def _normalize_accelerator(cls, key: str) -> str:
        return "" if key.lower() == "none" else key

    @field_validator("accelerator_count")
    @classmethod
    def _normalize_accelerator_count(cls, count: int, info: ValidationInfo) -> int:
        return count if info.data.get("accelerator", "?") else 1

    @field_validator("settings", mode="before")
    @classmethod
    def _fill_in_settings(cls, raw: object, info: ValidationInfo) -> dict[str, fields.FieldValue]:
        template = find_template(info.data.get("template", ""))
        if template is None:
            return {}
        if raw is None:
            raw = {}
        if not isinstance(raw, Mapping):
            raise ValueError("This must be a mapping, one line for each setting.")
        values, wrong = template.parse_settings(raw)
        if wrong:
            raise PydanticCustomError(
                "settings", "{first}", {"first": next(iter(wrong.values())), "by_field": wrong}
            )
        return values

    @field_validator("command")
    @classmethod
    def _normalize_command(cls, command: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        template = find_template(info.data.get("template", ""))
        return () if template is not None and command == template.command else command

    @field_validator("readiness_path", "liveness_path")
    @classmethod
    def _normalize_probe_path(cls, path: str | None, info: ValidationInfo) -> str | None:
        template = find_template(info.data.get("template", ""))
        if template is None or path is None:
            return path
        own = (
            template.readiness_path
            if info.field_name == "readiness_path"
            else template.liveness_path
        )
        return None if path == own else path

    @field_validator("shared_memory")
    @classmethod
    def _normalize_shared_memory(
        cls, size: Quantity | None, info: ValidationInfo
    ) -> Quantity | None:
        """None where it is what the template proposes."""
        proposed = _propose_shared_memory(info.data)
        return None if size is not None and size == proposed else size

    @field_validator("model_cache_path")
    @classmethod
    def _normalize_cache_path(cls, path: str) -> str:
        if path.startswith("/") and ".." not in path.split("/"):
            path = normalize_path(path)
        return "" if path == MODEL_CACHE_PATH else path

    @field_validator("startup_path")
    @classmethod
    def _normalize_startup_path(cls, path: str, info: ValidationInfo) -> str:
        """None of its own where it is that of the other probes."""
        template = find_template(info.data.get("template", ""))
        for name in ("liveness_path", "readiness_path"):
            other = info.data.get(name)
            if other is None:
                other = getattr(template, name, "")
            if other:
                return "" if other == path else path
        return path

    @field_validator(*scaling.SCALING_FIELDS[1:])
    @classmethod
    def _normalize_scaler(cls, value: int | None, info: ValidationInfo) -> int | None:
        """The default where none is given; none where the field does not apply."""
        default = scaling.field_default(str(info.field_name), info.data.get("auto_scaling", ""))
        return default if default is None or value is None else value

    @field_validator("load_balancing_header")
    @classmethod
    def _normalize_header(cls, name: str, info: ValidationInfo) -> str:
        return name if info.data.get("load_balancing") == balancing.HEADER else ""

    @field_validator(*cooling.DEFAULTS)
    @classmethod
    def _normalize_temperature(cls, value: int | None, info: ValidationInfo) -> int | None:
        """The default where none is given; none while the policy is off."""
        if info.data.get("temperature_policy") != cooling.ON:
            return None
        return cooling.DEFAULTS[str(info.field_name)] if value is None else value

    @model_validator(mode="after")
    def _drop_system_env(self, info: ValidationInfo) -> Self:
        given = self.model_fields_set if info.context is None else info.context[_GIVEN]
        if "model_cache_path" in given:
            self.__dict__["env"] = self._own_env()
        return self

    def _own_env(self) -> tuple[EnvVar, ...]:
        own = cache_env(self.effective_model_cache_path)
        return tuple(
            one
            for one in self.env
            if one.name not in own or one != EnvVar(name=one.name, value=own[one.name])
        )

    def without_system_env(self) -> Self:
        """The spec without the variables that servedeck sets, with the same values, for this path
        of the model cache. It is so by itself where the path was given; elsewhere that of the
        serving or of the platform must be filled in first."""
        env = self._own_env()
        return self if env == self.env else self.model_copy(update={"env": env})

    @property
    def template_definition(self) -> Template:
        """The template object."""
        return TEMPLATES[self.template]

    @property
    def effective_readiness_path(self) -> str:
        """Path of the readiness probe, "" for none."""
        own = self.template_definition.readiness_path
        return own if self.readiness_path is None else self.readiness_path

    @property
    def effective_liveness_path(self) -> str:
        own = self.template_definition.liveness_path
        return own if self.liveness_path is None else self.liveness_path

    @property
    def port(self) -> int:
        """The inference port; 8000 if none is known."""
        return DEFAULT_INFERENCE_PORT if self.inference_port is None else self.inference_port

    @property
    def shared_memory_limit(self) -> Quantity:
        """Size limit of /dev/shm; its contents count toward Memory."""
        proposed = _propose_shared_memory(self._field_values())
        return self.shared_memory or proposed or Quantity(DEFAULT_SHARED_MEMORY)

    @property
    def effective_model_cache_path(self) -> str:
        """Path of the model cache in the container."""
        return self.model_cache_path or MODEL_CACHE_PATH

    def replace(self, **changes: Any) -> Self:
        """A copy of the spec with some fields changed, validated again. Of `model_fields_set`, it
        has the fields that this one has, and the changed ones."""
        given = self.model_fields_set | changes.keys()
        values = {**self._field_values(), **changes}
        found = type(self).model_validate(values, context={_GIVEN: given})
        found.model_fields_set.intersection_update(given)
        return found

    def _field_values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


def _propose_shared_memory(values: Mapping[str, Any]) -> Quantity | None:
    """What the template proposes for these values of fields; None if one is missing."""
    template = find_template(values.get("template", ""))
    settings, count = values.get("settings"), values.get("accelerator_count")
    if template is None or settings is None or count is None:
        return None
    accelerators = count if values.get("accelerator") else 0
    return Quantity(template.propose_shared_memory(settings, accelerators))


FIELDS: dict[str, CommonField] = {
    name: one
    for name, info in ServingSpec.model_fields.items()
    for one in info.metadata
    if isinstance(one, CommonField)
}
"""The common fields by name, in the order of the form."""


def parse_spec(document: Mapping[str, Any]) -> tuple[ServingSpec | None, list[Issue]]:
    """Spec of a mapping of raw values, in camel or snake case; or None and the issues."""
    try:
        return ServingSpec.model_validate(document), []
    except ValidationError as exc:
        return None, issues_from_error(exc)


def issues_from_error(exc: ValidationError) -> list[Issue]:
    """One issue for each field that could not be parsed."""
    found: list[Issue] = []
    for one in exc.errors(include_url=False):
        path = ".".join(to_snake_case(str(part)) for part in one["loc"])
        if one["type"] == "settings":
            by_field: dict[str, str] = one["ctx"]["by_field"]
            found += [error(f"settings.{name}", message) for name, message in by_field.items()]
        elif one["type"] == "value_error":
            found.append(error(path, str(one["ctx"]["error"])))
        else:
            found.append(error(path, _MESSAGES_BY_ERROR_TYPE.get(one["type"], one["msg"] + ".")))
    return found


_MESSAGES_BY_ERROR_TYPE = {
    "missing": "This field is missing; add it.",
    "extra_forbidden": "There is no such field; correct its name or remove it.",
    "model_type": "This must be a mapping, one line for each field.",
    "model_attributes_type": "This must be a mapping, one line for each field.",
    "dict_type": "This must be a mapping, one line for each field.",
    "invalid_key": "A field's name must be text; correct it.",
}
