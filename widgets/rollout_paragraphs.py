"""The rollout of a serving, one of its revisions, and the difference between two, as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from servedeck.detail.rollout import Rollouts
from servedeck.detail.rollout_text import (
    changed_by,
    command_line,
    pod_counts,
    rollout_times,
)
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.objects.field_changes import FieldChange
from servedeck.serving.status.revisions import Revision
from servedeck.serving.status.rollout_status import RolloutPhase
from servedeck.serving.text import MASK
from widgets.styled_line import Line, Span
from widgets.text_view import Paragraph

_PHASE_DISPLAY = {
    RolloutPhase.COMPLETE: ("✓", "ready", "is rolled out"),
    RolloutPhase.IN_PROGRESS: ("↻", "starting", "is being rolled out"),
    RolloutPhase.PAUSED: ("!", "pending", "is paused"),
    RolloutPhase.FAILED: ("✗", "error", "exceeded its progress deadline"),
    RolloutPhase.NOT_OBSERVED: ("↻", "starting", "is not observed yet"),
}

CONTEXT_LENGTH = 30
"""Characters around the part that differs of two long values."""
LONG_VALUE_LENGTH = 100
"""Longer values are cut to the part that differs."""


def rollout_paragraphs(rollouts: Rollouts, now: datetime) -> list[Paragraph]:
    """The rollout of the current revision: its progress, what holds it up, its strategy."""
    status, current = rollouts.status, rollouts.current
    mark, style_name, words = _PHASE_DISPLAY[status.phase]
    name = current.name[0].upper() + current.name[1:]
    spans: list[Span] = [(f"{mark} ", style_name), (f"{name} {words}", style_name)]
    spans += [("  ", ""), (pod_counts(status), "")]
    if times := rollout_times(status, now):
        spans += [("  ", ""), (times, "muted")]
    found = [Paragraph(tuple(spans), indent=2, keep_spans=True)]
    if rollouts.hold_up:
        found.append(Paragraph((("! ", "warning"), (rollouts.hold_up, "warning")), indent=2))
    elif status.phase is not RolloutPhase.COMPLETE:
        found.append(Paragraph((("  ", ""), (status.message, "")), indent=2))
    found.append(Paragraph((("  ", ""), (str(status.strategy), "muted")), indent=2))
    found += [
        Paragraph((("! ", "pending"), (note, "pending")), indent=2) for note in rollouts.notes
    ]
    return found


def revision_paragraphs(revision: Revision, now: datetime) -> list[Paragraph]:
    """A revision in full: image, arguments, who changed it and why."""
    head: list[Span] = [(revision.name[0].upper() + revision.name[1:], "strong")]
    if revision.replicaset:
        head += [("  ReplicaSet ", "muted"), (revision.replicaset, "")]
    if revision.previous_numbers:
        numbers = ", ".join(map(str, revision.previous_numbers))
        head += [("  formerly revision ", "muted"), (numbers, "")]
    found = [Paragraph(tuple(head), indent=2)]
    who: list[Span] = [(changed_by(revision), "" if revision.changed_by else "muted")]
    if revision.changed_by is not None and revision.changed_by.time is not None:
        age = format_signed_duration((now - revision.changed_by.time).total_seconds())
        who.append((f"  {age} ago", "muted"))
    found.append(_labeled("Changed by", *who))
    if revision.change_cause:
        cause: list[Span] = [(revision.change_cause, "")]
        if revision.repeats_change_cause:
            same = f"  same as revision {revision.previous_number}, may not have been updated"
            cause.append((same, "muted"))
        found.append(_labeled("Change cause", *cause))
    if revision.change:
        found.append(_labeled("Change", (revision.change, "")))
    found.append(_labeled("Image", (revision.image, "")))
    if text := command_line(revision):
        found.append(_labeled("Arguments" if not revision.command else "Command", (text, "")))
    return found


_LABEL_WIDTH = 14


def _labeled(label: str, *spans: Span) -> Paragraph:
    return Paragraph(((f"{label:<{_LABEL_WIDTH}}", "muted"), *spans), indent=_LABEL_WIDTH)


# -- difference ---------------------------------------------------------------------------------


def difference_paragraphs(title: str, changes: Sequence[FieldChange]) -> list[Paragraph]:
    """The fields that differ between two revisions, each with its old and its new value."""
    found = [Paragraph(((title, "title"),), indent=2), Paragraph()]
    if not changes:
        found.append(Paragraph((("The Pod templates are equal.", "muted"),)))
    for path, group in groupby(changes, key=lambda one: _list_path(one.path)):
        found.append(Paragraph(((path, "key"),), indent=4))
        for change in group:
            index = change.path.removeprefix(".").removeprefix(path)
            found += [Paragraph(line, indent=4) for line in _value_lines(change, index)]
        found.append(Paragraph())
    return found


def _list_path(path: str) -> str:
    """The path without the index of a word of a list, so that changed arguments are together."""
    return re.sub(r"\[\d+\]$", "", path.removeprefix("."))


def _value_lines(change: FieldChange, index: str) -> list[Line]:
    """The old and the new value; `index` is that of a word of a list, "" for others."""
    at: Line = ((f"{index} ", "muted"),) if index else ()
    if change.old == change.new:
        what = "the masked value differs" if MASK in change.old else "only white space differs"
        return [(("  ~ ", "pending"), *at, (change.new, ""), (f"  ({what})", "muted"))]
    old, new = focus_difference(change.old, change.new)
    lines: list[Line] = []
    if change.old != "none":
        lines.append((("  - ", "error"), *at, (old, "")))
    if change.new != "none":
        lines.append((("  + ", "ready"), *at, (new, "")))
    return lines


def focus_difference(old: str, new: str) -> tuple[str, str]:
    """Two values, of which the equal start and end are left out if they are long."""
    if max(len(old), len(new)) <= LONG_VALUE_LENGTH or min(len(old), len(new)) <= CONTEXT_LENGTH:
        return old, new
    shorter = min(len(old), len(new))
    start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    end = next(
        (at for at in range(shorter - start) if old[-1 - at] != new[-1 - at]), shorter - start
    )

    def cut(text: str) -> str:
        first, last = (
            max(start - CONTEXT_LENGTH, 0),
            min(len(text), len(text) - end + CONTEXT_LENGTH),
        )
        head, tail = "…" if first else "", "…" if last < len(text) else ""
        return f"{head}{text[first:last]}{tail}"

    return cut(old), cut(new)


def difference_text(title: str, changes: Sequence[FieldChange]) -> str:
    """The same as plain text, to be copied; whole values."""
    lines = [title]
    for change in changes:
        lines.append(change.path.removeprefix("."))
        lines += [f"  - {change.old}"] if change.old != "none" else []
        lines += [f"  + {change.new}"] if change.new != "none" else []
    return "\n".join(lines)
