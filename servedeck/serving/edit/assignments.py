"""Changes of fields as `servedeck set` takes them: FIELD=VALUE, and FIELD- to remove an entry.

The names of the fields are those of a document (`image`, `settings.maxModelLen`), also in snake
case. Entries of lists have their own names: `env.NAME`, `volumes.PATH`, `transformer.env.NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from servedeck.serving.spec.fields import join_choices
from servedeck.serving.spec.issues import Issue, error
from servedeck.serving.spec.load_balancing import HEADER, LOAD_BALANCING_FIELDS
from servedeck.serving.spec.mount_paths import normalize_path
from servedeck.serving.spec.names import validate_env_name
from servedeck.serving.spec.rollouts import ROLLOUTS
from servedeck.serving.spec.scaling import SCALING_FIELDS, TARGET_FIELDS, TRIGGERS
from servedeck.serving.spec.spec import FIELDS, ServingSpec, issues_from_error
from servedeck.serving.spec.temperature_policy import TEMPERATURE_FIELDS
from servedeck.serving.spec.templates import find_template
from servedeck.serving.spec.templates.base import to_camel_case
from servedeck.serving.spec.types import EnvVar, Transformer, Volume
from servedeck.serving.text import one_line, sanitize

_UNCHANGEABLE = ("name", "namespace")
_REFERENCES = {".secret": "secret", ".configMap": "config_map"}
_READ_ONLY = ":ro"


class AssignmentError(ValueError):
    """An assignment that no serving has; str() is one sentence."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A new value of a field or of an entry of a list."""

    path: str
    """As written, "settings.maxModelLen"."""
    value: str | None
    """None to remove an entry; "" clears a field."""


def parse_assignment(text: str) -> Assignment:
    """Raises AssignmentError."""
    path, equals, value = text.partition("=")
    path = path.removeprefix("spec.")
    if equals and path:
        return Assignment(path, value)
    if not equals and len(text) > 1 and text.endswith("-"):
        return Assignment(path.removesuffix("-"), None)
    raise AssignmentError(
        f"{_quote(text)} is not FIELD=VALUE; enter one such as image=NAME, or env.NAME- to remove "
        "a variable."
    )


def assign(
    spec: ServingSpec, assignments: Iterable[Assignment]
) -> tuple[ServingSpec | None, list[Issue]]:
    """The spec with the assigned values; or None and what is wrong with them, at the paths of the
    assignments. Raises AssignmentError for a field or an entry that there is not."""
    assignments = tuple(assignments)
    changes: dict[str, Any] = {}

    def current(name: str) -> Any:
        return changes.get(name, getattr(spec, name))

    found: list[Issue] = []
    # A template says which settings there are.
    for one in sorted(assignments, key=lambda one: one.path != "template"):
        try:
            _assign(one, current, changes, spec)
        except ValidationError as exc:
            found += [error(one.path, problem.message) for problem in issues_from_error(exc)]
    if changes.get("rollout") == "":  # every Deployment has one
        found.append(error("rollout", f"A rollout is missing; choose {join_choices(ROLLOUTS)}."))
    if found:
        return None, found
    try:
        wanted = spec.replace(**changes)
        issues = list(_without_effect(assignments, wanted))
        return (None, issues) if issues else (wanted, [])
    except ValidationError as exc:
        paths = [one.path for one in assignments]
        return None, [
            replace(one, field=_assignment_path(one.field, current, paths))
            for one in issues_from_error(exc)
        ]


def _without_effect(assignments: Iterable[Assignment], wanted: ServingSpec) -> Iterator[Issue]:
    """Assignments of a setting's parts that do not apply, because it is off or of another kind."""
    for one in assignments:
        name, _ = _find_field(one, wanted, wanted.template)
        if not one.value or getattr(wanted, name) not in (None, ""):
            continue
        if name in SCALING_FIELDS:
            kinds = [kind for kind, (field, _) in TARGET_FIELDS.items() if field == name]
            needed = " or ".join(f"autoScaling={kind}" for kind in kinds or TRIGGERS)
        elif name in LOAD_BALANCING_FIELDS:
            needed = f"loadBalancing={HEADER}"
        elif name in TEMPERATURE_FIELDS:
            needed = "temperaturePolicy=on"
        else:
            continue
        yield error(one.path, f"This applies only with {needed}; add it.")


def assignment_path(field: str, spec: ServingSpec, paths: Iterable[str] = ()) -> str:
    """The path of an issue's field as an assignment names it: "env.NAME" for "env.2.value",
    "volumes./data" for "volumes.0.mount_path", "settings.maxModelLen"; of those of the
    assignments, if it is one of them, as it is written."""
    return _assignment_path(field, lambda name: getattr(spec, name), paths)


def _assignment_path(field: str, current: Callable[[str], Any], paths: Iterable[str]) -> str:
    """See `assignment_path`; `current` has the value of a field of the spec."""
    prefix, entry = field, ""
    match field.split("."):
        case ("env", row, *_) if (found := _entry_at(current("env"), row)) is not None:
            prefix, entry = "env", found.name
        case ("volumes", row, *_) if (found := _entry_at(current("volumes"), row)) is not None:
            prefix, entry = "volumes", normalize_path(found.mount_path)
        case ("transformer", "env", row, *_) if (
            transformer := current("transformer")
        ) is not None and (found := _entry_at(getattr(transformer, "env", ()), row)) is not None:
            prefix, entry = "transformer.env", found.name
    for path in paths:
        if not entry and _normalize(path) == _normalize(field):
            return path
        if entry and path.startswith(f"{prefix}.") and _names_entry(path, prefix, entry):
            return path
    if entry:
        return f"{prefix}.{entry}"
    return ".".join(to_camel_case(part) for part in field.split("."))


def _entry_at(entries: Sequence[Any], row: str) -> Any:
    """The entry in the row with this number; None if there is none."""
    return entries[int(row)] if row.isdecimal() and int(row) < len(entries) else None


def _names_entry(path: str, prefix: str, entry: str) -> bool:
    """Whether the path of an assignment names this entry of a list."""
    name = path.removeprefix(f"{prefix}.")
    if prefix == "volumes":
        return normalize_path(name) == entry
    return name in (entry, *(f"{entry}{suffix}" for suffix in _REFERENCES))


def _assign(
    one: Assignment, current: Callable[[str], Any], changes: dict[str, Any], spec: ServingSpec
) -> None:
    name, rest = _find_field(one, spec, changes.get("template", spec.template))
    if name == "env":
        changes[name] = _set_variable(one, current(name), rest)
    elif name == "volumes":
        changes[name] = _set_volume(one, current(name), rest)
    elif name == "transformer":
        changes[name] = _set_transformer(one, current(name), rest)
    elif one.value is None:
        raise AssignmentError(
            f"{_text(one.path)} is no entry of a list; write {_text(one.path)}= to clear it."
        )
    elif name == "settings":
        settings = dict(current(name))
        if one.value:
            settings[rest] = one.value
        else:
            settings.pop(rest, None)  # its default
        changes[name] = settings
    elif name in ("readiness_path", "liveness_path"):
        changes[name] = one.value
    elif name == "startup_seconds":
        changes[name] = one.value or 0  # absent, it would stay as it is
    else:
        default = ServingSpec.model_fields[name].get_default()
        is_optional = default in (None, "", ()) and not FIELDS[name].required
        changes[name] = default if is_optional and not one.value else one.value
        if name == "template":
            changes.setdefault("settings", {})


# -- names --------------------------------------------------------------------------------------


def _find_field(one: Assignment, spec: ServingSpec, template: str) -> tuple[str, str]:
    """Name of the common field, and what of it: a setting, or the rest of the path as written.
    Raises AssignmentError."""
    first, dot, rest = one.path.partition(".")
    names = {_normalize(name): name for name in FIELDS}
    name = names.get(_normalize(first), "")
    if name in _UNCHANGEABLE:
        raise AssignmentError(f"The {name} of a serving cannot be changed; clone it instead.")
    if name in ("env", "volumes") and not rest:
        example = "env.NAME=VALUE" if name == "env" else "volumes.PATH=PVC"
        raise AssignmentError(f"{name} is a list; change one entry, {example}.")
    if name == "settings":
        definition = find_template(template) or spec.template_definition
        own = {_normalize(field.name): field.name for field in definition.fields}
        if rest and (setting := own.get(_normalize(rest))):
            return name, setting
    elif name and (not dot or name in ("env", "volumes", "transformer")):
        return name, rest
    raise AssignmentError(_describe_unknown(one.path, spec))


def _describe_unknown(path: str, spec: ServingSpec) -> str:
    settings = [to_camel_case(one.name) for one in spec.template_definition.fields]
    names = [
        *(to_camel_case(one) for one in FIELDS if one not in (*_UNCHANGEABLE, "settings")),
        *(f"settings.{one}" for one in settings),
        *(f"transformer.{one}" for one in ("image", "port", "cpu", "memory", "command")),
    ]
    by_key = {_normalize(one): one for one in names}
    by_last = {_normalize(one): f"settings.{one}" for one in settings}
    key = _normalize(path)
    close = [by_last[one] for one in get_close_matches(key, by_last, n=1, cutoff=0.8)]
    close += [by_key[one] for one in get_close_matches(key, by_key, n=3, cutoff=0.6)]
    close = list(dict.fromkeys(close))[:3]
    hint = f"use {join_choices(tuple(close))}" if close else "servedeck export prints the fields"
    return f"There is no field {_text(path)}; {hint}."


def _normalize(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


# -- lists --------------------------------------------------------------------------------------


def _set_variable(one: Assignment, env: Sequence[EnvVar], name: str) -> tuple[EnvVar, ...]:
    """NAME=VALUE, NAME.secret=SECRET/KEY, NAME.configMap=CONFIGMAP/KEY; a variable of the whole
    name comes first."""
    names = [variable.name for variable in env]
    values: dict[str, Any] = {"value": one.value}
    for suffix, part in _REFERENCES.items():
        if name.endswith(suffix) and name not in names and one.value is not None:
            name = name.removesuffix(suffix)
            values = {part: _parse_reference(one)}
    if one.value is None:
        if name not in names:
            raise AssignmentError(f"There is no variable {_text(name)} to remove.")
        return tuple(variable for variable in env if variable.name != name)
    if name not in names and (message := validate_env_name(name)):
        raise AssignmentError(message)
    if names.count(name) > 1:
        raise AssignmentError(
            f"The container has the variable {_text(name)} twice; remove it first."
        )
    return _replace_entry(env, names, name, EnvVar.model_validate({"name": name, **values}))


def _parse_reference(one: Assignment) -> Mapping[str, str]:
    name, slash, key = (one.value or "").partition("/")
    if not (slash and name and key):
        raise AssignmentError(f"The value of {_text(one.path)} is a name and a key, NAME/KEY.")
    return {"name": name, "key": key}


def _set_volume(one: Assignment, volumes: Sequence[Volume], path: str) -> tuple[Volume, ...]:
    """PATH=PVC, read-only with PATH=PVC:ro."""
    wanted = normalize_path(path)
    paths = [normalize_path(volume.mount_path) for volume in volumes]
    if one.value is None:
        if wanted not in paths:
            raise AssignmentError(f"There is no volume at {_text(path)} to remove.")
        return tuple(volume for volume, at in zip(volumes, paths, strict=True) if at != wanted)
    mount = volumes[paths.index(wanted)].mount_path if wanted in paths else path
    values = {
        "pvc": one.value.removesuffix(_READ_ONLY),
        "mount_path": mount,
        "read_only": one.value.endswith(_READ_ONLY),
    }
    return _replace_entry(volumes, paths, wanted, Volume.model_validate(values))


def _replace_entry(
    entries: Sequence[Any], keys: Sequence[str], key: str, entry: Any
) -> tuple[Any, ...]:
    if key not in keys:
        return (*entries, entry)
    return tuple(entry if at == key else old for old, at in zip(entries, keys, strict=True))


def _set_transformer(
    one: Assignment, transformer: Transformer | None, path: str
) -> Transformer | None:
    """transformer.image=NAME adds one; transformer= and transformer- remove it."""
    part, _, name = path.partition(".")
    if not path:
        if one.value:
            raise AssignmentError("The transformer has parts; write transformer.image=NAME.")
        return None
    parts = ("image", "port", "cpu", "memory", "command") if not name else ("env",)
    if part not in parts:
        raise AssignmentError(
            f"There is no field {_text(one.path)}; use transformer.image, transformer.port, "
            "transformer.cpu, transformer.memory, transformer.command or transformer.env.NAME."
        )
    if transformer is None and part != "image":
        raise AssignmentError("The serving has no transformer; add transformer.image=NAME first.")
    values: dict[str, Any] = {} if transformer is None else dict(transformer)
    if part == "env":
        values["env"] = _set_variable(one, values.get("env", ()), name)
    elif one.value is None:
        raise AssignmentError(f"{_text(one.path)} is no entry of a list.")
    else:
        values[part] = one.value
    return Transformer.model_validate(values)


def _text(value: str) -> str:
    return one_line(sanitize(value))


def _quote(value: str) -> str:
    return repr(_text(value))
