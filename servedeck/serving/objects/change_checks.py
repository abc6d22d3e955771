"""What a change of a serving does not do, does to something else, or leaves dangling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from servedeck.serving.conventions import INFERENCE_CONTAINER
from servedeck.serving.objects.import_objects import find_container_index
from servedeck.serving.objects.port_checks import WrittenChange, check_ports
from servedeck.serving.objects.probe_text import PROBES_BY_FIELD, other_probe_text
from servedeck.serving.spec import load_balancing, scaling
from servedeck.serving.spec.fields import format_value
from servedeck.serving.spec.issues import Issue, error, errors, warning
from servedeck.serving.spec.load_balancing import LOAD_BALANCING_FIELDS
from servedeck.serving.spec.mapping.json_values import as_str, mappings
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.scaling import SCALING_FIELDS
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.spec.temperature_policy import TEMPERATURE_FIELDS

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
    for name in FIELDS:
        if name in invalid:
            continue
        value, wanted = getattr(written.read, name), getattr(written.wanted, name)
        if value == wanted or not (value or wanted):  # no start-up probe: 0 or None
            continue
        shown = format_value(value) or "not set"
        if name in written.fields:
            yield error(
                name,
                "The objects set this in a way that servedeck cannot change, so it stays "
                f"{shown}; change it in the objects.",
            )
        else:
            yield warning(name, f"Another change to this serving makes it {shown}.")


def _invalid_settings(before: ServingSpec, wanted: ServingSpec) -> Iterator[str]:
    """The fields of each setting that is on or off and has an invalid value, or is to become one
    that only stands for what somebody else made."""
    for group in (SCALING_FIELDS, LOAD_BALANCING_FIELDS, TEMPERATURE_FIELDS):
        was, kind = (getattr(one, group[0]) for one in (before, wanted))
        is_stand_in = kind != was and kind in _STAND_INS
        wrong = (one for name in group for one in FIELDS[name].validate(wanted))
        if is_stand_in or any(one.is_error for one in wrong):
            yield from group
