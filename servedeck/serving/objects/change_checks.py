"""What a change of a serving does not do, does to something else, or leaves dangling."""

from __future__ import annotations

from collections.abc import Iterator

from servedeck.serving.conventions import INFERENCE_CONTAINER
from servedeck.serving.objects.import_objects import find_container_index
from servedeck.serving.objects.port_checks import WrittenChange, check_ports
from servedeck.serving.spec.fields import format_value
from servedeck.serving.spec.issues import Issue, error, errors, warning
from servedeck.serving.spec.mapping.json_values import as_str, mappings
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import FIELDS

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


def check_change(edit: WrittenChange) -> Iterator[Issue]:
    """Errors and warnings that the edit brings, at its fields."""
    yield from _check_server(edit)
    yield from _check_variables(edit)
    found = list(check_ports(edit))
    yield from found
    named = {one.field for one in errors(found)}
    yield from (one for one in _check_written(edit) if one.field not in named)


def _check_server(edit: WrittenChange) -> Iterator[Issue]:
    """Another container that would be taken for the inference server: the next change would go
    there."""
    containers = edit.changed.containers
    index = find_container_index(containers)
    if index == edit.changed.container_index:
        return
    server, other = (as_str(one.get("name")) for one in (edit.changed.container, containers[index]))
    for field in [one for one in edit.fields if one in _DETECTED_FIELDS] or edit.fields:
        yield error(
            field,
            f"servedeck would then take the container {other} for the inference server; name the "
            f"container {server} {INFERENCE_CONTAINER} in the Deployment first.",
        )


def _check_variables(edit: WrittenChange) -> Iterator[Issue]:
    """Variables that are there twice, which server-side apply does not accept."""
    if "env" not in edit.fields:
        return
    for name in sorted(_repeated_variables(edit.changed)):
        message = f"The container has the variable {name} twice; remove one where it is defined."
        yield error("env", message)


def _repeated_variables(objects: ServingObjects) -> set[str]:
    names = [str(one.get("name")) for one in mappings(objects.container.get("env"))]
    return {one for one in names if names.count(one) > 1}


def _check_written(edit: WrittenChange) -> Iterator[Issue]:
    """Fields whose value is not the wanted one after writing. One that was to change is an error;
    another one (a port that a script takes from a variable) is a warning."""
    for name in FIELDS:
        value = getattr(edit.read, name)
        if value == getattr(edit.wanted, name):
            continue
        shown = format_value(value) or "not set"
        if name in edit.fields:
            yield error(
                name,
                "The objects set this in a way that servedeck cannot change, so it stays "
                f"{shown}; change it in the objects.",
            )
        else:
            yield warning(name, f"Another change to this serving makes it {shown}.")
