"""The content of the steps of the create form, in order: headings, fields, rows, buttons."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from servedeck.changes.draft import Draft
from servedeck.changes.edit_draft import READ_ONLY_FIELDS
from servedeck.changes.form_fields import COMMON_FIELDS, FIELDS_BY_SECTION, visible_fields
from servedeck.serving.objects.manifests import SystemVolume
from servedeck.serving.servers.recognition import ContainerFacts, recognize
from servedeck.serving.spec.fields import Field, InputKind, parse_arguments
from servedeck.serving.spec.spec import FIELDS, Section
from widgets.styled_line import Line

STEP_TITLES = ("Basic Information", "Detailed Settings", "Review & Deploy")

EDIT_STEP = 4
"""In place of a step: all fields of an existing serving that can be changed, on one form."""

_SETTINGS_SECTIONS = {
    Section.AUTO_SCALING: "changes the replicas with the load",
    Section.TRAFFIC: "how requests reach the Pods",
}
"""Those that a new serving gets only from a clone or a file."""

VOLUME_FIELDS = FIELDS["volumes"].inputs

VARIABLE_HELP = {
    "name": "Name of the variable; = moves to its value. Several lines can be pasted at once; "
    "ctrl+r removes the row",
    "value": "Its value. f2 takes it from a Secret's key, ctrl+t changes the source, ctrl+g shows "
    "it",
    "ref": "Name of the object that holds the value; f2 lists them, ctrl+t changes the source",
    "key": "Key that holds the value; f2 lists the keys of the object",
    "line": "This line could not be read: fix it, or remove it with ctrl+r",
}


@dataclass(frozen=True, slots=True)
class TitleItem:
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FieldItem:
    path: str
    field: Field


@dataclass(frozen=True, slots=True)
class VariableItem:
    path: str
    """"env.2"."""


@dataclass(frozen=True, slots=True)
class ButtonItem:
    path: str
    label: str
    help_text: str


@dataclass(frozen=True, slots=True)
class InfoItem:
    """Read-only lines."""

    name: str
    lines: tuple[Line, ...]


FormItem = TitleItem | FieldItem | VariableItem | ButtonItem | InfoItem


class ReviewSection(NamedTuple):
    """One section of the review."""

    title: str
    step: int
    paths: tuple[str, ...]


def form_items(step: int, draft: Draft, system_volumes: Sequence[SystemVolume]) -> list[FormItem]:
    """The content of the step (1, 2 or EDIT_STEP) for a draft."""
    if step == 1:
        return list(_basic_items(draft))
    if step == EDIT_STEP:
        return [*_basic_items(draft, READ_ONLY_FIELDS), *_detailed_items(draft, ())]
    return list(_detailed_items(draft, system_volumes))


def _basic_items(draft: Draft, without: Collection[str] = ()) -> Iterator[FormItem]:
    yield TitleItem(STEP_TITLES[0])
    for field in visible_fields(Section.BASIC, draft.texts):
        if field.name not in without:
            yield FieldItem(field.name, field)


def _detailed_items(draft: Draft, system_volumes: Sequence[SystemVolume]) -> Iterator[FormItem]:
    own = draft.template.fields
    yield TitleItem(Section.CONTAINER)
    yield from _field_items(Section.CONTAINER, draft)
    if any(not field.advanced for field in own):
        yield TitleItem(draft.template.label)
        yield from (FieldItem(f"settings.{one.name}", one) for one in own if not one.advanced)
    yield TitleItem(Section.VOLUMES, "optional")
    if system_volumes:
        yield InfoItem("system", system_volume_lines(system_volumes))
    for at in range(len(draft.rows["volumes"])):
        for field in VOLUME_FIELDS:
            yield FieldItem(f"volumes.{at}.{field.name}", field)
    yield ButtonItem(
        "add.volumes", "+ Add Volume", "Mount one of the namespace's PVCs; enter adds a row for it"
    )
    yield TitleItem(Section.ADVANCED, "optional")
    yield from _field_items(Section.ADVANCED, draft)
    yield from (FieldItem(f"settings.{one.name}", one) for one in own if one.advanced)
    yield from _variable_items(draft, "env", Section.ENVIRONMENT)
    yield TitleItem(Section.TRANSFORMER, "optional: a container that receives requests first")
    yield from _field_items(Section.TRANSFORMER, draft)
    yield from _variable_items(draft, "transformer.env", "Transformer Environment Variables")
    for section, detail in _SETTINGS_SECTIONS.items():
        if items := list(_field_items(section, draft)):
            yield TitleItem(section, detail)
            yield from items


def _field_items(section: Section, draft: Draft) -> Iterator[FormItem]:
    return (FieldItem(one.name, one) for one in visible_fields(section, draft.texts))


def _variable_items(draft: Draft, path: str, title: str) -> Iterator[FormItem]:
    yield TitleItem(title, "optional")
    yield from (VariableItem(f"{path}.{at}") for at in range(len(draft.rows[path])))
    yield ButtonItem(
        f"add.{path}", "+ Add Variable", "Enter adds a row; pasted lines KEY=VALUE become rows"
    )
    yield ButtonItem(
        f"load.{path}", "+ Load Env File", "Read variables from a file of lines KEY=VALUE"
    )


def system_volume_lines(system_volumes: Sequence[SystemVolume]) -> tuple[Line, ...]:
    """The volumes that every serving has, two lines for each."""
    lines: list[Line] = []
    for volume in system_volumes:
        place = (f" {volume.name:<24}", ""), (volume.mount_path, "")
        lines.append((*place, ("  system default, read-only", "muted")))
        lines.append(((" " * 25, ""), (volume.description, "muted")))
    return tuple(lines)


def review_sections(draft: Draft) -> list[ReviewSection]:
    """The review's sections with the paths of their fields."""
    own = [(f"settings.{field.name}", field.advanced) for field in draft.template.fields]
    paths = {
        section: tuple(field.name for field in visible_fields(section, draft.texts))
        for section in Section
    }
    advanced = (*paths[Section.ADVANCED], *(path for path, is_advanced in own if is_advanced))
    found = [
        ReviewSection(Section.BASIC, 1, paths[Section.BASIC]),
        ReviewSection(Section.CONTAINER, 2, paths[Section.CONTAINER]),
    ]
    if settings := tuple(path for path, is_advanced in own if not is_advanced):
        found.append(ReviewSection(draft.template.label, 2, settings))
    return [
        *found,
        ReviewSection(Section.VOLUMES, 2, ("volumes",)),
        ReviewSection(Section.ADVANCED, 2, advanced),
        ReviewSection(Section.ENVIRONMENT, 2, ("env",)),
        ReviewSection(Section.TRANSFORMER, 2, (*paths[Section.TRANSFORMER], "transformer.env")),
        *(ReviewSection(one, 2, paths[one]) for one in _SETTINGS_SECTIONS if paths[one]),
    ]


def fields_by_path(draft: Draft) -> dict[str, Field]:
    """The fields with text, by path."""
    found = {field.name: field for field in COMMON_FIELDS}
    return found | {f"settings.{field.name}": field for field in draft.template.fields}


_COMMAND_FIELDS = ("command", "settings.arguments")
_MAX_SCRIPT_LENGTH = 8192
"""Characters of a script that is read while its field has the focus: longer ones take too long."""


def _server_of_script(draft: Draft) -> str:
    """The inference server that a custom serving starts by a shell script, "" if none is known."""
    texts = [draft.texts.get(path, "") for path in _COMMAND_FIELDS]
    if sum(map(len, texts)) > _MAX_SCRIPT_LENGTH:
        return ""
    try:
        words = [parse_arguments(text) for text in texts]
    except ValueError:
        return ""
    # Not through the cache: what is typed may have a token in it.
    facts = ContainerFacts(draft.texts["image"], words[0], words[1], (), ())
    server = recognize.__wrapped__(facts)
    if server.kind is None or server.program_end is not None or not server.is_started_directly:
        return ""
    return server.kind.template


def step_of(path: str) -> int:
    """The step of the field that an issue belongs to."""
    return 1 if path in {field.name for field in FIELDS_BY_SECTION[Section.BASIC]} else 2


def field_help(path: str, draft: Draft) -> str:
    """The help of the focused field, shown at the bottom."""
    if path in _COMMAND_FIELDS and (server := _server_of_script(draft)):
        return (
            f"A shell script starts {server}: its flags are part of this line, and have no fields "
            "of their own"
        )
    if found := fields_by_path(draft).get(path):
        hint = " (space lists, left and right choose)" if _is_choice_field(found) else ""
        return f"{found.help}{hint}"
    head, _, last = path.rpartition(".")
    if path.startswith("volumes."):
        return next((field.help for field in VOLUME_FIELDS if field.name == last), "")
    rows, _, at = head.rpartition(".")
    if rows in draft.rows and at.isdigit() and int(at) < len(draft.rows[rows]):
        is_line = draft.rows[rows][int(at)]["source"] == "line"
        return VARIABLE_HELP.get("line" if is_line else last, "")
    return ""


def _is_choice_field(field: Field) -> bool:
    return field.kind in (InputKind.CHOICE, InputKind.SUGGESTION) or field.name == "namespace"
