"""Values of a serving's document that look secret: where they are, and a document without them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from servedeck.serving.edit.differences import format_path
from servedeck.serving.objects.secret_values import (
    has_secret,
    is_secret_variable,
    mask_arguments,
)
from servedeck.serving.spec.env_file import contains_secret, looks_secret
from servedeck.serving.spec.fields import FieldValue
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.types import EnvVar
from servedeck.serving.text import MASK


def find_secret_values(spec: ServingSpec) -> Iterator[str]:
    """Paths, as `servedeck set` takes them, of the values that look secret: "env.HF_TOKEN"."""
    for prefix, variables, command in _parts(spec):
        for one in variables:
            if is_secret_variable(one.name, one.value):
                yield f"{prefix}env.{one.name}"
        if _has_secret_words(command):
            yield f"{prefix}command"
    for name, value in spec.settings.items():
        if _is_secret(name, value):
            yield format_path(("settings", name))


def redact_secrets(spec: ServingSpec) -> ServingSpec:
    """The spec with MASK in place of the values that look secret. `find_masked_values` finds
    them."""
    changes = _redact_part(spec.env, spec.command)
    if spec.transformer is not None and (
        inner := _redact_part(spec.transformer.env, spec.transformer.command)
    ):
        changes["transformer"] = spec.transformer.model_copy(update=inner)
    settings = {
        name: _redact_setting(value) if _is_secret(name, value) else value
        for name, value in spec.settings.items()
    }
    if settings != spec.settings:
        changes["settings"] = settings
    return spec.model_copy(update=changes)


def find_masked_values(spec: ServingSpec) -> Iterator[str]:
    """Paths, as in a document without their position, of the values that contain MASK."""
    for prefix, variables, command in _parts(spec):
        yield from (f"{prefix}env.{one.name}" for one in variables if MASK in one.value)
        if any(MASK in word for word in command):
            yield f"{prefix}command"
    for name, value in spec.settings.items():
        if any(MASK in word for word in (value if isinstance(value, tuple) else [str(value)])):
            yield format_path(("settings", name))


def _parts(spec: ServingSpec) -> Iterator[tuple[str, tuple[EnvVar, ...], tuple[str, ...]]]:
    yield "", spec.env, spec.command
    if spec.transformer is not None:
        yield "transformer.", spec.transformer.env, spec.transformer.command


def _is_secret(name: str, value: FieldValue) -> bool:
    if isinstance(value, tuple):
        return _has_secret_words(value) or looks_secret(name, shlex.join(value))
    return has_secret(str(value)) or looks_secret(name, str(value))


def _has_secret_words(words: tuple[str, ...]) -> bool:
    return contains_secret(shlex.join(words)) or _mask_words(words) != words


def _mask_words(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(str, mask_arguments(words)))


def _redact_part(env: tuple[EnvVar, ...], command: tuple[str, ...]) -> dict[str, Any]:
    """The fields that change: no other one counts as set in the document."""
    redacted = {"env": _redact_variables(env), "command": _redact_words(command)}
    before = {"env": env, "command": command}
    return {name: value for name, value in redacted.items() if value != before[name]}


def _redact_variables(variables: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
    return tuple(
        one.model_copy(update={"value": MASK}) if is_secret_variable(one.name, one.value) else one
        for one in variables
    )


def _redact_words(words: tuple[str, ...]) -> tuple[str, ...]:
    masked = _mask_words(words)
    # A word that may be part of the secret is not printed either.
    return (MASK,) if _has_secret_words(masked) else masked


def _redact_setting(value: FieldValue) -> FieldValue:
    return (_redact_words(value) or (MASK,)) if isinstance(value, tuple) else MASK
