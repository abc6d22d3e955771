"""Template, settings and Command Override: the command and arguments of the inference server."""

from __future__ import annotations

from typing import Any, NamedTuple

from servedeck.serving.conventions import TEMPLATE_LABEL
from servedeck.serving.spec.mapping.json_values import (
    as_mapping,
    as_str,
    as_str_tuple,
    child_mapping,
    mappings,
    set_or_remove,
)
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.templates import TEMPLATES, Template, TemplateSettings, find_template
from servedeck.serving.spec.templates.base import SpecLike


class ParsedCommandLine(NamedTuple):
    template: Template
    override: tuple[str, ...]
    """Command Override, () for the template's command."""
    settings: TemplateSettings
    port: int | None
    """Value of the flag for the port, None if there is none."""


def parse_command_line(objects: ServingObjects) -> ParsedCommandLine:
    """Template, and what it parses from command and arguments. If it cannot express them (such as a
    shell script), custom is used, which keeps them unchanged."""
    main = objects.container
    command, args = as_str_tuple(main.get("command")), as_str_tuple(main.get("args"))
    labels = (as_mapping(objects.metadata, "labels"), objects.pod_labels)
    names = (objects.template, *(as_str(one.get(TEMPLATE_LABEL)) for one in labels))
    labeled = next((t for name in names if (t := find_template(name))), None)
    image = as_str(main.get("image"))
    guessed = (t for t in TEMPLATES.values() if t.matches(image, command, args))
    for template in (labeled,) if labeled else guessed:
        if found := template.parse_command(command, args):
            return ParsedCommandLine(template, *found)
    custom = TEMPLATES["custom"]
    settings = {**custom.default_settings(), "arguments": args}
    return ParsedCommandLine(custom, command, settings, None)


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    container = objects.writable_container
    template = wanted.template_definition
    if current is None:
        command = list(wanted.command or template.command)
        args = template.build_args(wanted)
    else:
        command, args = template.edit_command(
            as_str_tuple(container.get("command")),
            as_str_tuple(container.get("args")),
            current,
            wanted,
        )
    set_or_remove(container, "command", command)
    set_or_remove(container, "args", args)


def _write_template(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    _write(objects, current, wanted)
    labeled: list[Any] = [as_mapping(one, "metadata", "labels") for one in objects.all]
    if not _selects_by_template(objects):
        labeled.append(objects.pod_labels)
    elif TEMPLATE_LABEL in objects.pod_labels:
        # The Pods would leave their Deployment or Service; its own label counts before theirs.
        metadata = child_mapping(objects.deployment, "metadata")
        child_mapping(metadata, "labels")[TEMPLATE_LABEL] = wanted.template
    for labels in labeled:
        if TEMPLATE_LABEL in labels:
            labels[TEMPLATE_LABEL] = wanted.template


def _selects_by_template(objects: ServingObjects) -> bool:
    """Whether the Deployment or a Service finds its Pods by the template's label."""
    selector = as_mapping(objects.deployment, "spec", "selector")
    keys = {one.get("key") for one in mappings(selector.get("matchExpressions"))}
    by_label = (
        as_mapping(selector, "matchLabels"),
        *(as_mapping(one, "spec", "selector") for one in objects.services),
    )
    return TEMPLATE_LABEL in keys or any(TEMPLATE_LABEL in one for one in by_label)


def _read_settings(objects: ServingObjects) -> Any:
    return parse_command_line(objects).settings


TEMPLATE = FieldAccess(lambda objects: parse_command_line(objects).template.id, _write_template)
SETTINGS = FieldAccess(_read_settings, _write)
COMMAND = FieldAccess(lambda objects: parse_command_line(objects).override, _write)
write_command_line = _write
