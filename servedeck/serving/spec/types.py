"""The value types of a spec: quantities, variables, volumes, the transformer.

Each accepts the text of a form or of YAML.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from servedeck.serving.conventions import (
    DEFAULT_TRANSFORMER_CPU,
    DEFAULT_TRANSFORMER_MEMORY,
    DEFAULT_TRANSFORMER_PORT,
)
from servedeck.serving.quantity import parse_quantity
from servedeck.serving.spec import fields, pod_settings
from servedeck.serving.spec.fields import Field, InputKind


class Quantity:
    """A Kubernetes quantity: stores the text, compares by value (`500m` equals `0.5`)."""

    __slots__ = ("text", "value")

    def __init__(self, text: str) -> None:
        """Raises ValueError with a sentence if `text` is not a quantity."""
        self.text = text.strip()
        self.value = parse_quantity(self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Quantity({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Quantity) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _validate(cls, raw: object) -> Quantity:
        return raw if isinstance(raw, cls) else cls(fields.parse_quantity_text(raw))


def _quantity_validator(examples: str) -> BeforeValidator:
    """Parses a quantity; the error contains examples that suit the field."""

    def parse(raw: object) -> Quantity | None:
        if isinstance(raw, Quantity) or raw is None or (isinstance(raw, str) and not raw.strip()):
            return raw if isinstance(raw, Quantity) else None
        return Quantity(fields.parse_quantity_text(raw, examples))

    return BeforeValidator(parse)


def _strip_text(raw: object) -> str:
    return fields.parse_text(raw).strip()


def _parse_optional_int(raw: object) -> int | None:
    is_blank = raw is None or (isinstance(raw, str) and not raw.strip())
    return None if is_blank else fields.parse_int(raw)


def as_tuple(raw: object) -> object:
    """A list as a tuple, None as (). Raises ValueError."""
    if raw is None:
        return ()
    if isinstance(raw, (list, tuple)):
        return tuple(raw)
    raise ValueError("This must be a list.")


Str = Annotated[str, BeforeValidator(_strip_text)]
RawStr = Annotated[str, BeforeValidator(fields.parse_text)]
CpuQuantity = Annotated[Quantity | None, _quantity_validator("0.5, 500m or 8")]
"""None or blank text: not set."""
MemoryQuantity = Annotated[Quantity | None, _quantity_validator("512Mi, 1Gi or 64Gi")]
"""None or blank text: not set."""
Int = Annotated[int, BeforeValidator(fields.parse_int)]
OptionalInt = Annotated[int | None, BeforeValidator(_parse_optional_int)]
"""None or blank text: not set."""
Bool = Annotated[bool, BeforeValidator(fields.parse_bool)]
Arguments = Annotated[tuple[str, ...], BeforeValidator(fields.parse_arguments)]
PullSecrets = Annotated[tuple[str, ...], BeforeValidator(pod_settings.split_words)]
NodeSelector = Annotated[tuple[str, ...], BeforeValidator(pod_settings.parse_node_selector)]
Tolerations = Annotated[tuple[str, ...], BeforeValidator(pod_settings.parse_tolerations)]
ResourceClaims = Annotated[tuple[str, ...], BeforeValidator(pod_settings.split_words)]
ReadinessTimes = Annotated[
    tuple[str, ...], BeforeValidator(pod_settings.parse_probe_times("readiness_times"))
]
LivenessTimes = Annotated[
    tuple[str, ...], BeforeValidator(pod_settings.parse_probe_times("liveness_times"))
]


class SpecModel(BaseModel):
    """Base of the spec and its parts: frozen values; camel case in YAML."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class KeyRef(SpecModel):
    """One key of a Secret or a ConfigMap of the serving's namespace."""

    name: Str = ""
    key: Str = ""
    optional: Bool = False
    """Whether the Pods start without it."""


class EnvVar(SpecModel):
    """A variable: a literal value, or a reference to a Secret or a ConfigMap."""

    name: Str
    value: RawStr = ""
    secret: KeyRef | None = None
    config_map: KeyRef | None = None


EnvVars = Annotated[tuple[EnvVar, ...], BeforeValidator(as_tuple)]


class Volume(SpecModel):
    """A PersistentVolumeClaim of the namespace, mounted in the inference server."""

    pvc: Annotated[
        Str,
        Field(
            "pvc",
            "PVC",
            "PersistentVolumeClaim of the namespace; space lists them",
            InputKind.SUGGESTION,
            required=True,
        ),
    ]
    mount_path: Annotated[
        Str,
        Field(
            "mount_path",
            "Mount Path",
            "Absolute path in the container, such as /data; ctrl+r removes the volume",
            required=True,
        ),
    ]
    read_only: Annotated[
        Bool,
        Field(
            "read_only",
            "Read-only",
            "Mount it read-only; left and right change it",
            InputKind.CHOICE,
            choices=("false", "true"),
        ),
    ] = False


class Transformer(SpecModel):
    """A container that receives requests before the inference server."""

    image: Annotated[
        Str,
        Field(
            "image",
            "Transformer Image",
            "Image of a container that gets requests before the inference server; empty, with its "
            "command and variables, for none",
            advanced=True,
        ),
    ]
    port: Annotated[
        OptionalInt,
        Field(
            "port",
            "Transformer Port",
            "Port that the transformer listens on",
            InputKind.INTEGER,
            default=DEFAULT_TRANSFORMER_PORT,
            advanced=True,
        ),
    ] = None
    """None if it is unknown, or the default for a new transformer."""
    cpu: Annotated[
        CpuQuantity,
        Field(
            "cpu",
            "Transformer CPU",
            "Number of CPU cores that it requests: 0.5, 500m, 2; empty for no request",
            InputKind.QUANTITY,
            default=DEFAULT_TRANSFORMER_CPU,
            advanced=True,
        ),
    ] = Quantity(DEFAULT_TRANSFORMER_CPU)
    memory: Annotated[
        MemoryQuantity,
        Field(
            "memory",
            "Transformer Memory",
            "Memory that it requests: 256Mi, 1Gi; empty for no request",
            InputKind.QUANTITY,
            default=DEFAULT_TRANSFORMER_MEMORY,
            advanced=True,
        ),
    ] = Quantity(DEFAULT_TRANSFORMER_MEMORY)
    command: Annotated[
        Arguments,
        Field(
            "command",
            "Transformer Command",
            "Start command of the transformer; empty for the image's own",
            InputKind.ARGUMENTS,
            default=(),
            advanced=True,
        ),
    ] = ()
    env: EnvVars = ()


def model_fields(model: type[BaseModel]) -> tuple[Field, ...]:
    """The inputs of a part of the spec, in order."""
    return tuple(
        one
        for info in model.model_fields.values()
        for one in info.metadata
        if isinstance(one, Field)
    )
