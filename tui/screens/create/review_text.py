"""The third step as text: what the dry run said, everything by section, and the YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from servedeck.changes.draft import Draft
from servedeck.changes.plan import Review
from servedeck.cluster.apply import Action, Made, Preview
from servedeck.serving.capacity import Fit
from servedeck.serving.objects import manifests
from servedeck.serving.objects.manifests import SystemVolume
from servedeck.serving.objects.routes import Platform
from servedeck.serving.spec.document import to_yaml
from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.spec.fields import as_text
from servedeck.serving.spec.issues import Problem
from servedeck.serving.spec.spec import EnvVar, ServingSpec
from tui.screens.create.field_options import is_choice, shown
from tui.screens.create.steps import fields, sections
from widgets.form import SOURCES
from widgets.form import shown as flat
from widgets.review_list import Entry
from widgets.styled_line import Line

MASK = "••••••••"
WIDTH = 23
"""Cells of a field's label."""

VIEWS = ("review", "objects", "document")
"""What y shows one after the other."""

_DOES = {
    Action.CREATE: ("+", "ready", "create"),
    Action.CHANGE: ("~", "pending", "change"),
    Action.UNCHANGED: ("=", "muted", "leave as it is:"),
}


@dataclass(frozen=True)
class Result:
    """How far the questions to the cluster are."""

    asking: bool = False
    problem: str = ""
    """Why they could not be asked."""
    review: Review | None = None
    fit: Fit | None = None
    """Whether the nodes could host it this moment."""


@dataclass(frozen=True)
class Deployment:
    """How far deploying is."""

    running: bool = False
    made: tuple[Made, ...] = ()
    refusal: str = ""
    failed: str = ""
    """The object that was refused."""


def result_entries(
    result: Result, deployment: Deployment, problems: Sequence[Problem], left: Sequence[str]
) -> list[Entry]:
    """What the cluster says, the most pressing first. `problems` are those of the draft."""
    found: list[Entry] = []
    if deployment.running or deployment.refusal:
        found += [*_deployment(deployment), Entry()]
    review = result.review
    if result.asking:
        found.append(_line("↻", "starting", "Asking the API server what it would do…"))
    if result.problem:
        found.append(_line("✗", "error", f"{result.problem} Nothing that you typed is lost."))
        found.append(Entry(((" r", "key"), ("  asks again", "muted"))))
    told = review.problems if review is not None else tuple(problems)
    found += [_problem(one) for one in told if one.is_error]
    if review is not None:
        if not deployment.made:  # else it tells what was before
            found += _previews(review.previews, review.can_deploy)
        if result.fit is not None:
            enough = result.fit.fitting >= result.fit.replicas
            mark, tone = ("✓", "ready") if enough else ("!", "warning")
            found.append(_line(mark, tone, result.fit.sentence, "" if enough else tone))
        elif review.capacity:
            found.append(_line("✓", "ready", review.capacity))
    found += [_problem(one) for one in told if not one.is_error]
    if review is not None:
        found += [_line("?", "muted", sentence, "muted") for sentence in review.unknown]
    found += [_line("!", "warning", sentence, "muted") for sentence in left]
    return found


def _line(mark: str, tone: str, text: str, text_tone: str = "") -> Entry:
    return Entry(((f" {mark} ", tone), (text, text_tone)), 3)


def _problem(problem: Problem) -> Entry:
    mark, tone = ("✗", "error") if problem.is_error else ("!", "warning")
    return Entry(((f" {mark} ", tone), (problem.message, tone)), 3, problem.field)


def _previews(previews: Sequence[Preview], good: bool) -> list[Entry]:
    found: list[Entry] = []
    if good and previews:
        found.append(_line("✓", "ready", "The API server accepts it. Deploying will:"))
    for one in previews:
        if one.action is None:
            continue
        mark, tone, verb = _DOES[one.action]
        found.append(Entry(((f"   {mark} ", tone), (f"{verb} ", "muted"), (str(one.place), "")), 5))
        for change in one.admission:
            was = f"{change.sent} → " if change.sent else "adds "
            text = f"{change.path.lstrip('.')}: {was}{change.stored}"
            head = (("       admission changes ", "pending"), (text, "muted"))
            found.append(Entry(head, 9))
    return found


def _deployment(deployment: Deployment) -> list[Entry]:
    found = [_line("✓", "ready", f"{one.place} was created.") for one in deployment.made]
    if deployment.running:
        found.append(_line("↻", "starting", "Deploying…"))
    if deployment.refusal:
        what = f"{deployment.failed}: " if deployment.failed else ""
        found.insert(0, _line("✗", "error", f"{what}{deployment.refusal}", "error"))
        if deployment.made:
            keys: Line = ((" ctrl+s", "key"), ("  goes on where it stopped;  ", "muted"))
            keys += (("u", "key"), ("  removes what was created", "muted"))
        else:
            keys = ((" ctrl+s", "key"), ("  tries again; nothing was created", "muted"))
        found.append(Entry(keys))
    return found


# -- everything by section ----------------------------------------------------------------------


def section_entries(
    draft: Draft,
    system: Sequence[SystemVolume],
    problems: Sequence[Problem],
    *,
    reveal: bool,
    width: int,
) -> list[Entry]:
    """Every field with its value; digits lead to the sections."""
    found: list[Entry] = []
    by_field = {one.field: one for one in sorted(problems, key=lambda one: one.is_error)}
    for number, section in enumerate(sections(draft), 1):
        rule = "─" * max(0, width - len(section.title) - 13)
        head: Line = ((f" {number} ", "key"), (f"{section.title} ", "title"), (rule, "muted"))
        found += [Entry(), Entry((*head, (f" {number} Edit", "muted")), section=str(number))]
        for path in section.paths:
            if path == "volumes":
                found += _volumes(draft, system, by_field)
            elif path in draft.rows:
                found += _variables(draft, path, by_field, reveal)
            else:
                found.append(_field(draft, path, by_field.get(path)))
    return found


def _field(draft: Draft, path: str, problem: Problem | None) -> Entry:
    field = fields(draft)[path]
    text = draft.texts[path]
    value = " ".join(filter(None, shown(path, text))) if is_choice(path, draft) else flat(text)
    if path == "accelerator":
        value = "  ".join(filter(None, shown(path, text)))
    if path == "template":
        value = shown(path, text)[0]
    default = text == as_text(field.default)
    tone = "muted" if default or not text else ""
    return _valued(field.label, value or "–", tone, path, problem)


def _valued(label: str, value: str, tone: str, path: str, problem: Problem | None) -> Entry:
    mark: Line = ()
    if problem is not None:
        mark = (("  ✗", "error"),) if problem.is_error else (("  !", "warning"),)
    line = ((f"   {label:<{WIDTH}} ", "muted"), (value, tone), *mark)
    return Entry(line, WIDTH + 4, path)


def _volumes(
    draft: Draft, system: Sequence[SystemVolume], by_field: dict[str, Problem]
) -> list[Entry]:
    found = [
        Entry(
            (
                (f"   {one.name:<{WIDTH}} ", "muted"),
                (f"{one.mount_path}  system default: {one.source}", "muted"),
            ),
            WIDTH + 4,
        )
        for one in system
    ]
    for at, row in enumerate(draft.rows["volumes"]):
        path = f"volumes.{at}"
        how = "read-only" if row["read_only"] == "true" else "read and write"
        problem = next((one for key, one in by_field.items() if key.startswith(path + ".")), None)
        value = f"{flat(row['mount_path']) or '–'}  {how}"
        found.append(_valued(row["claim"] or "–", value, "", f"{path}.claim", problem))
    return found


def _variables(draft: Draft, path: str, by_field: dict[str, Problem], reveal: bool) -> list[Entry]:
    found = []
    for at, row in enumerate(draft.rows[path]):
        here = f"{path}.{at}"
        problem = next(
            (one for key, one in by_field.items() if f"{key}.".startswith(here + ".")), None
        )
        if row["source"] in SOURCES:
            value = f"from {SOURCES[row['source']]} {row['ref']}, key {row['key']}"
        else:
            hidden = masked(row) and not reveal
            value = MASK if hidden else flat(row["value"])
        found.append(_valued(row["name"] or "–", value, "", f"{here}.name", problem))
    return found or [Entry(((f"   {'none':<{WIDTH}}", "muted"),), path=f"add.{path}")]


def masked(row: dict[str, str]) -> bool:
    """Whether the value of a variable is shown as dots until it is asked for."""
    if row["source"] == "line":
        name, _, value = row["value"].partition("=")
        return looks_secret(name.removeprefix("export ").strip(), value.strip(" \t'\""))
    return looks_secret(row["name"], row["value"])


def any_masked(draft: Draft) -> bool:
    return any(
        masked(row) and row["value"]
        for path in ("env", "transformer.env")
        for row in draft.rows[path]
    )


# -- YAML ---------------------------------------------------------------------------------------


def yaml_entries(spec: ServingSpec, platform: Platform, view: str, *, reveal: bool) -> list[Entry]:
    """The objects, or the document that is saved."""
    shown_spec = spec if reveal else without_secrets(spec)
    if view == "document":
        text, title = to_yaml(shown_spec), "The serving as a file (ctrl+y saves it)"
    else:
        built = manifests.build(shown_spec, platform)
        text = "---\n".join(
            yaml.safe_dump(one, sort_keys=False, allow_unicode=True, width=100) for one in built
        )
        title = "The objects that are applied"
    entries = [Entry(((f" {title}", "title"),)), Entry()]
    return entries + [Entry(_coloured(line), 8) for line in text.splitlines()]


def _coloured(line: str) -> Line:
    key, colon, value = line.partition(":")
    if colon and (not value or value.startswith(" ")) and '"' not in key:
        return ((f" {key}{colon}", "accent"), (value, ""))
    return ((f" {line}", "muted" if line == "---" else ""),)


def without_secrets(spec: ServingSpec) -> ServingSpec:
    """The spec with dots in place of values that look secret."""

    def hidden(variables: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
        return tuple(
            one.model_copy(update={"value": MASK})
            if one.value and looks_secret(one.name, one.value)
            else one
            for one in variables
        )

    changes: dict[str, object] = {"env": hidden(spec.env)}
    if spec.transformer is not None:
        env = hidden(spec.transformer.env)
        changes["transformer"] = spec.transformer.model_copy(update={"env": env})
    return spec.model_copy(update=changes)
