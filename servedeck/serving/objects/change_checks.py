"""What a change of a serving does not do, does to something else, or leaves dangling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from servedeck.serving.conventions import INFERENCE_CONTAINER
from servedeck.serving.objects.import_objects import find_container_index
from servedeck.serving.objects.port_checks import WrittenChange, check_ports
from servedeck.serving.objects.probe_text import PROBES_BY_FIELD, other_probe_text
from servedeck.serving.objects.secret_values import is_secret_variable
from servedeck.serving.spec import load_balancing, scaling
from servedeck.serving.spec.absent_defaults import find_asked_defaults
from servedeck.serving.spec.fields import format_value
from servedeck.serving.spec.issues import Issue, error, errors, warning
from servedeck.serving.spec.load_balancing import LOAD_BALANCING_FIELDS
from servedeck.serving.spec.mapping.json_values import as_str, mappings
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.mapping.system_volumes import why_path_is_fixed
from servedeck.serving.spec.scaling import SCALING_FIELDS
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.spec.temperature_policy import TEMPERATURE_FIELDS
from servedeck.serving.spec.templates.base import to_camel_case
from servedeck.serving.spec.types import EnvVar
from servedeck.serving.text import MASK, one_line, sanitize

_DETECTED_FIELDS = (
    "template",
    "image",
    "accelerator",
    "settings",
    "command",
    "env",
    "transformer",
)
"""Fields by which the inference server is found among the containers."""
_STAND_INS = frozenset({scaling.CUSTOM, scaling.HPA, load_balancing.CUSTOM})
"""Values of settings that cannot be chosen; `servedeck.changes.setting_checks` says so."""


def check_change(written: WrittenChange) -> Iterator[Issue]:
    """Errors and warnings that the change brings, at its fields."""
    yield from _check_server(written)
    yield from _check_variables(written)
    yield from _check_probes(written)
    found = list(check_ports(written))
    yield from found
    named = {one.field for one in errors(found)}
    yield from (one for one in _check_written(written) if one.field not in named)


def _check_probes(written: WrittenChange) -> Iterator[Issue]:
    """A probe that no field expresses, and that the change replaces."""
    for field in PROBES_BY_FIELD:
        text = other_probe_text(written.live.container, field)
        if text and text != other_probe_text(written.changed.container, field):
            yield warning(
                field, f"It replaces the probe that is there, {text}; undo cannot bring that back."
            )


def _check_server(written: WrittenChange) -> Iterator[Issue]:
    """Another container that would be taken for the inference server: the next change would go
    there."""
    containers = written.changed.containers
    index = find_container_index(containers)
    if index == written.changed.container_index:
        return
    server, other = (
        as_str(one.get("name")) for one in (written.changed.container, containers[index])
    )
    for field in [one for one in written.fields if one in _DETECTED_FIELDS] or written.fields:
        yield error(
            field,
            f"servedeck would then take the container {other} for the inference server; name the "
            f"container {server} {INFERENCE_CONTAINER} in the Deployment first.",
        )


def _check_variables(written: WrittenChange) -> Iterator[Issue]:
    """Variables that the change brings a second time, beside those that are no field. One that is
    there twice already does not prevent a change: the API server accepts such an update."""
    if "env" not in written.fields:
        return
    before, after = (_count_variables(one) for one in (written.live, written.changed))
    for name in sorted(one for one in after if after[one] > max(1, before[one])):
        message = f"The container has the variable {name} twice; remove one where it is defined."
        yield error("env", message)


def _count_variables(objects: ServingObjects) -> Counter[str]:
    return Counter(as_str(one.get("name")) for one in mappings(objects.container.get("env")))


def _check_written(written: WrittenChange) -> Iterator[Issue]:
    """Fields whose value is not the wanted one after writing. One that was to change is an error;
    another one (a port that a script takes from a variable) is a warning. Of a setting with an
    invalid value nothing is said: that value has its own error, and cannot be read back."""
    invalid = set(_invalid_settings(written.before, written.wanted))
    asked = find_asked_defaults(written.before, written.wanted)
    refused: set[str] = set()
    others: list[Issue] = []
    for name in FIELDS:
        if name in invalid:
            continue
        value, wanted = getattr(written.read, name), getattr(written.wanted, name)
        is_default = name in written.fields and name in asked
        if is_default and name not in written.read.model_fields_set:
            refused.add(name)
            yield error(
                name,
                "The objects have something else in this place, which servedeck cannot change; "
                "change it in the objects.",
            )
            continue
        if value == wanted or not (value or wanted):  # no start-up probe: 0 or None
            continue
        if name in written.fields:
            refused.add(name)
            yield error(
                name,
                _why_fixed(written, name)
                or "The objects set this in a way that servedeck cannot change, so it "
                f"{_describe(name, value, wanted, 'stays')}; change it in the objects.",
            )
        else:
            verb = _describe(name, value, wanted, "makes it")
            others.append(warning(name, f"Another change to this serving {verb}."))
    for one in others:
        if not refused.intersection(_CAUSES.get(one.field, ())):
            yield one


def _why_fixed(written: WrittenChange, name: str) -> str:
    """Why a field cannot be changed, if that is known; else ""."""
    if name != "model_cache_path":
        return ""
    return why_path_is_fixed(written.live, written.wanted.effective_model_cache_path)


def _describe(name: str, value: Any, wanted: Any, verb: str) -> str:
    """What a field is instead of what is wanted: "stays 9000". Of a field of many values, any of
    which may be a secret, only the names of those that differ."""
    if name in _NAMED_VALUES:
        names = _NAMED_VALUES[name]
        before, after = names(wanted), names(value)
        differing = [one for one in {**after, **before} if before.get(one) != after.get(one)]
        shown = one_line(sanitize(", ".join(differing[:_MAX_NAMES])))
        more = ", and others" if len(differing) > _MAX_NAMES else ""
        which = f" in {shown}{more}" if shown else ""
        return f"{'differs' if verb == 'stays' else 'changes it'}{which}"
    text = one_line(sanitize(format_value(value)))
    if is_secret_variable(name, text):
        text = MASK
    elif len(text) > _MAX_LENGTH:
        text = f"{text[:_MAX_LENGTH]}…"
    return f"{verb} {text or 'not set'}"


def _variable_names(variables: Iterable[EnvVar]) -> dict[str, Any]:
    return {one.name: one for one in variables}


_NAMED_VALUES: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "env": _variable_names,
    "volumes": lambda volumes: {one.mount_path: one for one in volumes},
    "settings": lambda settings: {to_camel_case(name): one for name, one in settings.items()},
    "command": lambda command: {"": command},
    "transformer": lambda transformer: (
        {} if transformer is None else {to_camel_case(name): one for name, one in transformer}
    ),
}
"""Names of the values of a field that has many, each with its value."""
_MAX_NAMES = 5
_MAX_LENGTH = 80
"""Of a value in a sentence, in characters."""
_CAUSES = {"env": ("model_cache_path",), "volumes": ("model_cache_path",)}
"""Fields that another one changes: where that one is refused, it does not."""


def _invalid_settings(before: ServingSpec, wanted: ServingSpec) -> Iterator[str]:
    """The fields of each setting that is on or off and has an invalid value, or is to become one
    that only stands for what somebody else made."""
    for group in (SCALING_FIELDS, LOAD_BALANCING_FIELDS, TEMPERATURE_FIELDS):
        was, kind = (getattr(one, group[0]) for one in (before, wanted))
        is_stand_in = kind != was and kind in _STAND_INS
        wrong = (one for name in group for one in FIELDS[name].validate(wanted))
        if is_stand_in or any(one.is_error for one in wrong):
            yield from group
