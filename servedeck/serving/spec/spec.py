"""Desired state of a serving: `ServingSpec`, from which the objects are built and to which they are
imported.

The models define the type and default of each field. Values, alone and in combination, are checked
by `servedeck.serving.spec.validation`: a spec imported from objects not created by servedeck may be
invalid and must still be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from servedeck.serving.spec import fields
from servedeck.serving.spec.issues import Issue, error
from servedeck.serving.spec.templates import TEMPLATES, Template, find_template
from servedeck.serving.spec.templates.base import to_snake_case
from servedeck.serving.spec.types import (
    Arguments,
    CpuQuantity,
    EnvVar,
    Int,
    MemoryQuantity,
    Quantity,
    SpecModel,
    Str,
    Transformer,
    Volume,
    as_tuple,
)

MODEL_CACHE_VOLUME = "model-cache"
MODEL_CACHE_PATH = "/root/.cache/huggingface"
SHARED_MEMORY_VOLUME = "dshm"
SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108 -- a mount in the container, not a file of ours
SYSTEM_ENV = {"HF_HOME": MODEL_CACHE_PATH}
"""Default variables of every inference server; the operator can override them."""
PREDICTOR_URL_ENV = "PREDICTOR_URL"
"""Variable with the inference server's URL, for a transformer."""


class ServingSpec(SpecModel):
    """A serving. Every field accepts text from a form or from YAML."""

    name: Str
    namespace: Str = ""
    """Namespace; "" until one is chosen."""
    description: Str = ""
    template: Str
    image: Str = ""
    cpu: CpuQuantity = Quantity("0.5")
    memory: MemoryQuantity = Quantity("1Gi")
    accelerator: Str = ""
    """Resource key, "nvidia.com/gpu"; "" for none."""
    accelerator_count: Int = 1
    """Per replica; 1 if there is no accelerator."""
    replicas: Int = 1
    settings: dict[str, fields.FieldValue] = Field(default={}, validate_default=True)
    """The template's fields by name; complete, including defaults."""
    volumes: Annotated[tuple[Volume, ...], BeforeValidator(as_tuple)] = ()
    inference_port: Int = 8000
    command: Arguments = ()
    """Command Override; () for the template's command."""
    env: Annotated[tuple[EnvVar, ...], BeforeValidator(as_tuple)] = ()
    transformer: Transformer | None = None
    readiness_path: Str | None = None
    """HTTP path of the readiness probe; None for the template's default, "" for no probe."""
    liveness_path: Str | None = None

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

    @field_validator("env")
    @classmethod
    def _drop_system_env(cls, env: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
        return tuple(
            one
            for one in env
            if one.name not in SYSTEM_ENV
            or one != EnvVar(name=one.name, value=SYSTEM_ENV[one.name])
        )

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
    def shared_memory_limit(self) -> Quantity:
        """Size limit of /dev/shm; its contents count toward Memory."""
        return Quantity(self.template_definition.shared_memory_limit(self))

    def replace(self, **changes: Any) -> Self:
        """A copy of the spec with some fields changed, validated again."""
        return type(self).model_validate({**self._field_values(), **changes})

    def _field_values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


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
