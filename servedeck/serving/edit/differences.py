"""What differs between two specs of a serving, value by value, as text with secrets masked."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from servedeck.serving.edit.entries import (
    ABSENT,
    FIELD_GROUPS,
    KEYED_WORDS,
    SWITCH_GROUPS,
    UNKNOWN,
    Path,
    list_entries,
    list_keys,
    split_spec,
)
from servedeck.serving.objects.secret_values import mask_arguments
from servedeck.serving.spec.absent_defaults import find_asked_defaults
from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.spec.fields import format_value
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.spec.templates.base import to_camel_case
from servedeck.serving.spec.types import EnvVar, KeyRef, Transformer, Volume
from servedeck.serving.text import MASK, one_line, sanitize

NONE = "none"
"""Text of a value that is not set."""


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One value that differs. Text is sanitized, on one line, and secrets are masked."""

    path: Path
    """See `entries`."""
    label: str
    """As in the form: "Image", "Environment Variable HF_HOME"."""
    old: str
    """"none" if it is not set."""
    new: str
    restarts: bool = False
    """Whether it is part of the Pod template."""

    @property
    def field(self) -> str:
        """Name of the common field."""
        return self.path[0]

    @property
    def name(self) -> str:
        """As in a document: "image", "settings.maxModelLen", "env.HF_HOME"."""
        return format_path(self.path)


def find_field_differences(before: ServingSpec, after: ServingSpec) -> tuple[FieldDifference, ...]:
    """The values that differ, in the order of the form. Each entry of a list is a value of its own;
    a list with another order, or with two entries of the same key, is one."""
    old, new = split_spec(before, after), split_spec(after, before)
    found: list[FieldDifference] = []
    for path in dict.fromkeys((*old, *new)):
        first, second = (one.get(path, ABSENT) for one in (old, new))
        if _with_default(before, path, first) == _with_default(after, path, second):
            continue
        if len(path) == 1 and path[0] in SWITCH_GROUPS:
            found += _part_differences(before, after, path[0])
            continue
        entries = _entry_differences(before, after, path, first, second)
        found += entries or [
            _difference(
                after, path, _with_default(before, path, first), _with_default(after, path, second)
            )
        ]
    order = list(FIELDS)
    return tuple(sorted(found, key=lambda one: order.index(one.field)))


def find_edit_differences(before: ServingSpec, wanted: ServingSpec) -> tuple[FieldDifference, ...]:
    """Those of an edit of the serving that was read as `before`: also a default that was given
    where the serving has nothing."""
    asked = [
        FieldDifference((name,), entry_label(wanted, (name,)), NONE, text)
        for name, text in find_asked_defaults(before, wanted).items()
    ]
    order = list(FIELDS)
    found = [*find_field_differences(before, wanted), *asked]
    return tuple(sorted(found, key=lambda one: order.index(one.field)))


def _part_differences(before: ServingSpec, after: ServingSpec, name: str) -> list[FieldDifference]:
    """Those of a setting that is on or off, and of its parts, each of its own."""
    return [
        _difference(after, (one,), getattr(before, one), getattr(after, one))
        for one in SWITCH_GROUPS[name]
        if getattr(before, one) != getattr(after, one)
    ]


def _with_default(spec: ServingSpec, path: Path, value: Any) -> Any:
    """The value that is shown of a field: of an endpoint, what the template sets if the spec does
    not."""
    match path:
        case ("readiness_path",) if value is None:
            return spec.template_definition.readiness_path
        case ("liveness_path",) if value is None:
            return spec.template_definition.liveness_path
        case ("startup_seconds",) if value == 0:
            return None  # no start-up probe
    return value


def _entry_differences(
    before: ServingSpec, after: ServingSpec, path: Path, old: Any, new: Any
) -> list[FieldDifference]:
    """Differences of a list by entry; [] if it is none or has another order."""
    old_keys, new_keys = list_keys(before, path, old), list_keys(after, path, new)
    if old_keys is None or new_keys is None:
        return []
    if [one for one in old_keys if one in new_keys] != [one for one in new_keys if one in old_keys]:
        return []
    first = dict(list_entries(before, path, old) or ())
    second = dict(list_entries(after, path, new) or ())
    return [
        _difference(after, (*path, key), first.get(key, ABSENT), second.get(key, ABSENT))
        for key in dict.fromkeys((*old_keys, *new_keys))
        if first.get(key, ABSENT) != second.get(key, ABSENT)
    ]


def _difference(spec: ServingSpec, path: Path, old: Any, new: Any) -> FieldDifference:
    # A reference and a value of the same variable differ in text, two secret values do not.
    first, second = (format_entry(path, value) for value in (old, new))
    return FieldDifference(path, entry_label(spec, path), first, second)


# -- text ---------------------------------------------------------------------------------------


def format_path(path: Path) -> str:
    """A path as `servedeck set` takes it: "image", "settings.maxModelLen", "env.HF_HOME"; of single
    arguments with their flag, "command[--port]"."""
    match path:
        case ("settings" | "transformer" as first, name, *rest):
            head = f"{first}.{to_camel_case(name)}"
        case (name, *rest):
            head = to_camel_case(name)
        case _:
            return ""
    if not rest:
        return head
    is_argument = path[-2] not in ("env", "volumes")
    key = _line(rest[-1])
    return f"{head}[{key or 0}]" if is_argument else f"{head}.{key}"


def entry_label(spec: ServingSpec, path: Path) -> str:
    """The label of a value, as in the form."""
    match path:
        case ("settings", name, *rest):
            own = {one.name: one.label for one in spec.template_definition.fields}
            label = own.get(name, name)
        case ("transformer", "env", *rest):
            label = "Transformer Variable" if rest else "Transformer Variables"
        case ("transformer", name, *rest):
            label = {one.name: one.label for one in FIELDS["transformer"].inputs}[name]
        case ("env", *rest):
            label = "Environment Variable" if rest else "Environment Variables"
        case ("volumes", *rest):
            label = "Data Volume" if rest else "Data Volumes"
        case (name, *rest):
            label = FIELDS[name].label or FIELDS[name].section.value
        case _:
            return "Serving"
    return " ".join([label, *(_line(one) for one in rest)]).rstrip()


def format_entry(path: Path, value: Any) -> str:
    """A value as text, on one line, with what looks secret masked."""
    if value is UNKNOWN:
        return "another value"
    if value is ABSENT or value is None or value in ("", ()):
        return NONE
    return _line(_format(path, value))


def format_shown(spec: ServingSpec, path: Path, value: Any) -> str:
    """A value of the spec as text, on one line: of an endpoint that the spec leaves to its
    template, what the template sets."""
    return format_entry(path, _with_default(spec, path, value))


def _format(path: Path, value: Any) -> str:
    match value:
        case EnvVar():
            return _format_variable(value, with_name=path[-1] != value.name)
        case Volume():
            mount = "" if len(path) > 1 else f" at {value.mount_path}"
            return f"PVC {value.pvc}{mount}{', read-only' if value.read_only else ''}"
        case Transformer():
            return value.image or "no image"
        case tuple() if len(path) == 1 and path[0] in FIELD_GROUPS:
            if not value[0][1]:
                return NONE  # the number of accelerators of no type means nothing
            parts = [(name, one) for name, one in value if name in FIELD_GROUPS or one is not None]
            return ", ".join(_format_part(*one) for one in parts)
        case str() if path[0] in KEYED_WORDS and len(path) > 1:
            return value.partition("=")[2] or value
        case tuple() if value and isinstance(value[0], str):
            return shlex.join(mask_arguments(value))
        case tuple():
            return ", ".join(_format(path, one) for one in value)
    text = format_value(value)
    return MASK if looks_secret(path[-1], text) and isinstance(value, str) else text


def _format_part(name: str, value: Any) -> str:
    """A value that depends on another one, "Accelerator Count 2"; the first one without a label."""
    if name in FIELD_GROUPS:
        return str(value)
    if name == "settings":
        return " ".join(
            f"{to_camel_case(key)} {format_entry((name, key), one)}"
            for key, one in value
            if one not in ("", (), None)
        )
    return f"{FIELDS[name].label} {format_entry((name,), value)}"


def _format_variable(variable: EnvVar, *, with_name: bool) -> str:
    text = MASK if looks_secret(variable.name, variable.value) else variable.value or '""'
    for kind, ref in (("Secret", variable.secret), ("ConfigMap", variable.config_map)):
        if ref is not None:
            text = _format_reference(kind, ref)
    return f"{variable.name}={text}" if with_name else text


def _format_reference(kind: str, ref: KeyRef) -> str:
    return f"{kind} {ref.name} key {ref.key}{', optional' if ref.optional else ''}"


def _line(text: str) -> str:
    return one_line(sanitize(text))
