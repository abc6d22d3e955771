"""What stands in the steps of the create form, in order: headings, fields, rows, buttons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from servedeck.changes.draft import Draft
from servedeck.changes.form import ADVANCED, BASIC, RESOURCES, TRANSFORMER
from servedeck.serving.objects.manifests import SystemVolume
from servedeck.serving.spec.fields import Field, Kind
from widgets.styled_line import Line

STEPS = ("Basic Information", "Detailed Settings", "Review & Deploy")

_PROBES = (
    Field(
        "readiness_path",
        "Readiness Path",
        "HTTP path that says whether requests may come; empty for no probe",
    ),
    Field("liveness_path", "Liveness Path", "HTTP path whose failure restarts the container"),
)
"""Shown where a serving that was read has others than its template's."""

CLAIM = Field(
    "claim",
    "PVC",
    "PersistentVolumeClaim of the namespace; space lists those there are",
    Kind.SUGGESTION,
    required=True,
)
MOUNT_PATH = Field(
    "mount_path",
    "Mount Path",
    "Absolute path in the container, such as /data; ctrl+r removes the volume",
    required=True,
)
READ_ONLY = Field(
    "read_only",
    "Read-only",
    "Mount it without the right to write; left and right change it",
    Kind.CHOICE,
    choices=("false", "true"),
)
VOLUME_FIELDS = (CLAIM, MOUNT_PATH, READ_ONLY)

VARIABLE_HELP = {
    "name": "Name of the variable; = goes on to its value. Many lines can be pasted at once; "
    "ctrl+r removes the row",
    "value": "Its value. ctrl+t takes it from a Secret's or a ConfigMap's key; ctrl+g shows it",
    "ref": "Name of the object that holds the value; ctrl+t changes where it comes from",
    "key": "Key of it that holds the value",
    "line": "This line could not be read: mend it, or remove it with ctrl+r",
}


@dataclass(frozen=True, slots=True)
class Title:
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    path: str
    field: Field


@dataclass(frozen=True, slots=True)
class Variable:
    path: str
    """"env.2"."""


@dataclass(frozen=True, slots=True)
class Button:
    path: str
    label: str
    help: str


@dataclass(frozen=True, slots=True)
class Info:
    """Lines that nobody can change."""

    name: str
    lines: tuple[Line, ...]


Item = Title | Input | Variable | Button | Info


class Section(NamedTuple):
    """Fields of the review that belong together."""

    title: str
    step: int
    paths: tuple[str, ...]


def items(step: int, draft: Draft, system: Sequence[SystemVolume]) -> list[Item]:
    """What the step (1 or 2) shows for a draft."""
    return list(_basic()) if step == 1 else list(_detailed(draft, system))


def _basic() -> Iterator[Item]:
    yield Title(STEPS[0])
    for field in BASIC:
        yield Input(field.name, field)


def _detailed(draft: Draft, system: Sequence[SystemVolume]) -> Iterator[Item]:
    own = draft.template.fields
    yield Title("Container")
    yield from (Input(field.name, field) for field in RESOURCES)
    if any(not field.advanced for field in own):
        yield Title(draft.template.label)
        yield from (Input(f"settings.{one.name}", one) for one in own if not one.advanced)
    yield Title("Data Volumes", "optional")
    yield Info("system", system_lines(system))
    for at in range(len(draft.rows["volumes"])):
        for field in VOLUME_FIELDS:
            yield Input(f"volumes.{at}.{field.name}", field)
    yield Button(
        "add.volumes", "+ Add Volume", "Mount one of the namespace's PVCs; enter adds a row for it"
    )
    yield Title("Advanced Settings", "optional")
    yield from (Input(field.name, field) for field in ADVANCED)
    yield from (Input(f"settings.{one.name}", one) for one in own if one.advanced)
    yield from (Input(field.name, field) for field in _PROBES if field.name in draft.texts)
    yield from _variables(draft, "env", "Environment Variables")
    yield Title("Transformer", "optional: a sidecar that requests pass first")
    yield from (Input(field.name, field) for field in TRANSFORMER)
    yield from _variables(draft, "transformer.env", "Transformer Environment Variables")


def _variables(draft: Draft, path: str, title: str) -> Iterator[Item]:
    yield Title(title, "optional")
    yield from (Variable(f"{path}.{at}") for at in range(len(draft.rows[path])))
    yield Button(
        f"add.{path}", "+ Add Variable", "Enter adds a row; pasted lines KEY=VALUE become rows"
    )
    yield Button(f"load.{path}", "+ Load Env File", "Read variables from a file of lines KEY=VALUE")


def system_lines(system: Sequence[SystemVolume]) -> tuple[Line, ...]:
    """The volumes that every serving has, two lines for each."""
    lines: list[Line] = []
    for volume in system:
        place = (f" {volume.name:<24}", ""), (volume.mount_path, "")
        lines.append((*place, ("  system default, read-only", "muted")))
        lines.append(((" " * 25, ""), (volume.source, "muted")))
    return tuple(lines)


def sections(draft: Draft) -> list[Section]:
    """The review's sections with the paths of their fields."""
    own = [(f"settings.{field.name}", field.advanced) for field in draft.template.fields]
    probes = [field.name for field in _PROBES if field.name in draft.texts]
    advanced = [field.name for field in ADVANCED]
    advanced += [path for path, is_advanced in own if is_advanced] + probes
    found = [
        Section(STEPS[0], 1, tuple(field.name for field in BASIC)),
        Section("Container", 2, tuple(field.name for field in RESOURCES)),
    ]
    if settings := tuple(path for path, is_advanced in own if not is_advanced):
        found.append(Section(draft.template.label, 2, settings))
    return [
        *found,
        Section("Data Volumes", 2, ("volumes",)),
        Section("Advanced Settings", 2, tuple(advanced)),
        Section("Environment Variables", 2, ("env",)),
        Section("Transformer", 2, (*(field.name for field in TRANSFORMER), "transformer.env")),
    ]


def fields(draft: Draft) -> dict[str, Field]:
    """The fields with texts of their own by path."""
    every = (*BASIC, *RESOURCES, *ADVANCED, *_PROBES, *TRANSFORMER)
    found = {field.name: field for field in every}
    return found | {f"settings.{field.name}": field for field in draft.template.fields}


def step_of(path: str) -> int:
    """The step that the field of a problem stands in."""
    return 1 if path in {field.name for field in BASIC} else 2


def help_of(path: str, draft: Draft) -> str:
    """What the line at the bottom says of the field that has the focus."""
    if found := fields(draft).get(path):
        hint = " (space lists, left and right choose)" if _chosen(found) else ""
        return f"{found.help}{hint}"
    head, _, last = path.rpartition(".")
    if path.startswith("volumes."):
        return next((field.help for field in VOLUME_FIELDS if field.name == last), "")
    rows, _, at = head.rpartition(".")
    if rows in draft.rows and at.isdigit() and int(at) < len(draft.rows[rows]):
        is_line = draft.rows[rows][int(at)]["source"] == "line"
        return VARIABLE_HELP.get("line" if is_line else last, "")
    return ""


def _chosen(field: Field) -> bool:
    return field.kind in (Kind.CHOICE, Kind.SUGGESTION) or field.name == "project"
