"""What a template defines: its fields, image, probes and paths, and how its command line is built
and parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from servedeck.serving.spec.fields import Field, FieldValue, InputKind
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.templates.arguments import find_flag, parse_flags

if TYPE_CHECKING:  # imports pydantic, which must not delay the first frame
    from servedeck.serving.spec.types import EnvVar, Quantity

Settings = dict[str, FieldValue]

ADDITIONAL_ARGUMENTS = Field(
    "additional_arguments",
    "Additional Arguments",
    "Further arguments of the server, after those that the other fields make",
    InputKind.ARGUMENTS,
    default=(),
)


class SpecLike(Protocol):
    """The part of a ServingSpec that templates read; ServingSpec itself imports the templates."""

    @property
    def settings(self) -> dict[str, FieldValue]: ...
    @property
    def env(self) -> tuple[EnvVar, ...]: ...
    @property
    def inference_port(self) -> int: ...
    @property
    def accelerator(self) -> str: ...
    @property
    def accelerator_count(self) -> int: ...
    @property
    def cpu(self) -> Quantity: ...
    @property
    def memory(self) -> Quantity: ...
    @property
    def shared_memory_limit(self) -> Quantity: ...


class Template:
    """Base class of the templates. A subclass sets the attributes and overrides methods."""

    id: ClassVar[str]
    """Value of the template label and of `template` in YAML."""
    label: ClassVar[str]
    help: ClassVar[str]
    order: ClassVar[int] = 100
    """Position in the form's list of templates."""
    image: ClassVar[str] = ""
    """Default image in the form."""
    accelerator: ClassVar[str] = ""
    """Default resource key in the form."""
    fields: ClassVar[tuple[Field, ...]] = ()
    command: ClassVar[tuple[str, ...]] = ()
    """Default command of the container; () for the image's entry point."""
    readiness_path: ClassVar[str] = ""
    liveness_path: ClassVar[str] = ""
    api_paths: ClassVar[tuple[str, ...]] = ("/",)
    """API paths under the endpoint, the most used first."""
    security_context: ClassVar[Mapping[str, Any]] = {}
    """securityContext of the inference server's container."""

    def build_args(self, spec: SpecLike) -> list[str]:
        """Arguments after the command."""
        raise TypeError(f"the template {self.id} builds no arguments")

    def parse_command(
        self, command: Sequence[str], args: Sequence[str]
    ) -> tuple[tuple[str, ...], Settings, int | None] | None:
        """Command Override, settings and port parsed from a container's command and arguments; None
        if this template cannot express them. The port is None if none is set."""
        raise TypeError(f"the template {self.id} reads no arguments")

    def matches(self, image: str, argv: Sequence[str]) -> bool:
        """Whether a container without a template label matches this template."""
        return False

    def shared_memory_limit(self, spec: SpecLike) -> str:
        """Size limit of /dev/shm, a quantity."""
        return "256Mi"

    def validate(self, spec: SpecLike) -> list[Issue]:
        """Check this template's fields in combination with the others."""
        return []

    def extract_flags(
        self, args: Sequence[str], fields_by_flag: Mapping[str, str]
    ) -> tuple[Settings, int | None, dict[str, str]]:
        """Settings, port and other values of the flags in `args`, by `fields_by_flag` (flag ->
        field). Other flags, and values that are invalid for their field, become Additional
        Arguments."""
        flags = parse_flags(args, fields_by_flag)
        settings, left, others = self.default_settings(), flags.remaining, dict[str, str]()
        port: int | None = None
        for name, text in flags.values.items():
            field = self.get_field(name)
            if name == "port" and text.isascii() and text.isdigit() and 0 < int(text) <= 65535:
                port = int(text)
                continue
            if field is None and name != "port":
                others[name] = text
                continue
            try:
                if field is None:
                    raise ValueError(text)
                settings[name] = field.parse(text)
            except ValueError:
                left = (*left, f"--{name.replace('_', '-')}={text}")
        settings[ADDITIONAL_ARGUMENTS.name] = left
        return settings, port, others

    def get_field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)

    def default_settings(self) -> Settings:
        return {field.name: field.default for field in self.fields}

    def parse_settings(self, raw: Mapping[Any, object]) -> tuple[Settings, dict[str, str]]:
        """All settings, and the errors of those that could not be parsed, by field name. Names
        may be in camel case."""
        values = self.default_settings()
        wrong: dict[str, str] = {}
        for key, given in raw.items():
            name = to_snake_case(str(key))
            field = self.get_field(name)
            if field is None:
                known = ", ".join(to_camel_case(f.name) for f in self.fields) or "none"
                wrong[name] = f"The template {self.id} has no such setting; it has: {known}."
                continue
            try:
                values[name] = field.parse(given)
            except ValueError as exc:
                wrong[name] = str(exc)
        return values, wrong


def additional_arguments(spec: SpecLike) -> tuple[str, ...]:
    value = spec.settings[ADDITIONAL_ARGUMENTS.name]
    return value if isinstance(value, tuple) else ()


def validate_model(spec: SpecLike) -> list[Issue]:
    model = str(spec.settings["model"])
    if not model:
        return [error("settings.model", "The model is missing; enter its name or its path.")]
    if model.startswith("-") or any(c.isspace() for c in model):
        message = "The model must not start with a hyphen or contain spaces; correct it."
        return [error("settings.model", message)]
    if model.lower().startswith(_GATED_MODEL_PREFIXES) and not any(
        one.name in _HF_TOKEN_VARIABLES for one in spec.env
    ):
        message = (
            "This is a gated model on Hugging Face; add HF_TOKEN to the environment, unless the "
            "model is in the cache."
        )
        return [warning("settings.model", message)]
    return []


_GATED_MODEL_PREFIXES = ("meta-llama/", "google/gemma")
_HF_TOKEN_VARIABLES = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})


def validate_additional_arguments(spec: SpecLike, fields_by_flag: Mapping[str, str]) -> list[Issue]:
    """Flags in Additional Arguments that have their own field (`fields_by_flag`: flag -> field)."""
    path = f"settings.{ADDITIONAL_ARGUMENTS.name}"
    if repeated := find_flag(additional_arguments(spec), *fields_by_flag):
        message = f"{repeated} has a field of its own; set that field and remove it here."
        return [error(path, message)]
    return []


def to_snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def to_camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)
