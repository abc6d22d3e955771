"""Revisions and the rollout of a serving as plain text, for `servedeck describe`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime

from servedeck.detail.rollout import Rollouts
from servedeck.serving.duration import format_duration
from servedeck.serving.status.revisions import Revision
from servedeck.serving.status.rollout_status import RolloutPhase, RolloutStatus
from servedeck.serving.text import cell_width, truncate

NOT_RECORDED = "not recorded"
"""Who changed an earlier revision: Kubernetes keeps the managers of the current template only."""

_HEADINGS = (
    "REVISION",
    "AGE",
    "DESIRED",
    "CURRENT",
    "READY",
    "IMAGE",
    "CHANGE",
    "CHANGED BY",
    "CHANGE CAUSE",
    "ARGUMENTS",
)
_MAX_CELL_WIDTH = 60


def format_rollouts(rollouts: Rollouts, now: datetime) -> list[str]:
    """The rollout of the current revision, then a table of all revisions, one line each, with at
    most 60 cells of each value."""
    status = rollouts.status
    lines = [f"Rollout:   {status.message}", f"Pods:      {pod_counts(status)}"]
    lines.append(f"Strategy:  {status.strategy}")
    if times := rollout_times(status, now):
        lines.append(f"Times:     {times}")
    if rollouts.hold_up:
        lines.append(f"Held up:   {rollouts.hold_up}")
    lines += ["", *_format_table([_HEADINGS, *(_row(one, now) for one in rollouts.revisions)])]
    return [*lines, *rollouts.notes]


def pod_counts(status: RolloutStatus) -> str:
    """ "1 of 3 updated, 0 ready, 2 available, 2 old"."""
    text = f"{status.updated} of {status.desired} updated, {status.ready} ready"
    old = f", {status.old} old" if status.old else ""
    return f"{text}, {status.available} available{old}"


def rollout_times(status: RolloutStatus, now: datetime) -> str:
    """ "started 5m ago, 4m10s until the progress deadline"; "" for a complete rollout."""
    if status.phase is RolloutPhase.COMPLETE:
        return ""
    parts = []
    if status.started_at is not None:
        age = format_duration(max((now - status.started_at).total_seconds(), 0.0))
        parts.append(f"started {age} ago")
    if status.deadline_at is not None:
        left = (status.deadline_at - now).total_seconds()
        parts.append(
            f"{format_duration(left)} until the progress deadline"
            if left > 0
            else "progress deadline exceeded"
        )
    return ", ".join(parts)


def changed_by(revision: Revision) -> str:
    """Who changed it: the field manager and its operation, or that this is not recorded."""
    if revision.changed_by is not None:
        return str(revision.changed_by)
    return "unknown" if revision.is_current else NOT_RECORDED


def command_line(revision: Revision) -> str:
    """Command and arguments of the inference server, quoted for a shell."""
    return shlex.join((*revision.command, *revision.arguments))


def revision_label(revision: Revision) -> str:
    """ "4", "5 current"; "new" while it has no number."""
    if not revision.number:
        return "new"
    return f"{revision.number} current" if revision.is_current else str(revision.number)


def _row(one: Revision, now: datetime) -> tuple[str, ...]:
    age = ""
    if one.created is not None:
        age = format_duration(max((now - one.created).total_seconds(), 0.0))
    counts = (str(one.desired), str(one.current), str(one.ready))
    return (
        revision_label(one),
        age,
        *counts,
        one.image,
        one.change,
        changed_by(one),
        one.change_cause,
        command_line(one),
    )


def _format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with aligned columns, two spaces between them; an empty cell is "-"."""
    cut = [[truncate(cell, _MAX_CELL_WIDTH) or "-" for cell in row] for row in rows]
    widths = [max(map(cell_width, column)) for column in zip(*cut, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cut
    ]
