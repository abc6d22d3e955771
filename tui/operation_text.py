"""The text of an operation's dialog: what it does, warnings, and the equivalent command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.serving.capacity import SchedulingResult
from servedeck.serving.text import format_count
from widgets.styled_line import Line
from widgets.text_view import Paragraph

LABELS = {
    OperationKind.SCALE: "Scale",
    OperationKind.RESTART: "Restart",
    OperationKind.STOP: "Stop",
    OperationKind.START: "Start",
    OperationKind.PAUSE: "Pause rollout",
    OperationKind.RESUME: "Resume rollout",
    OperationKind.ROLLBACK: "Roll back",
    OperationKind.DELETE: "Delete",
    OperationKind.DELETE_POD: "Delete Pod",
    OperationKind.CORDON: "Cordon",
    OperationKind.UNCORDON: "Uncordon",
}
"""What the dialog's title and its first option call each operation."""

_OUTCOME_MARKS = {
    Outcome.DONE: ("✓", "ready"),
    Outcome.UNCHANGED: ("=", "muted"),
    Outcome.REJECTED: ("✗", "error"),
    Outcome.OUTDATED: ("!", "warning"),
    Outcome.UNKNOWN: ("?", "warning"),
}

MAX_DIFFERENCES = 200
"""Fields of a rollback that are listed."""


@dataclass
class TargetState:
    """One target of a dialog."""

    operation: Operation
    plan: OperationPlan | None = None
    """None while it is made."""
    error: str = ""
    """Why there is no plan, one sentence."""
    room: SchedulingResult | None = None
    """Whether the nodes have room for the new Pods now; None if that is unknown."""
    result: OperationResult | None = None
    is_running: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether it can be run."""
        return self.plan is not None and self.plan.is_possible and not self.error


def title(operations: Sequence[Operation]) -> str:
    """Title of the dialog."""
    first = operations[0]
    label = LABELS[first.kind]
    if len(operations) > 1:
        return f"{label}: {format_count(len(operations), first.resource.kind)}"
    if first.kind is OperationKind.ROLLBACK and first.revision:
        return f"{label} {first.target} to revision {first.revision}"
    target = first.target.removeprefix("Pod ") if "Pod" in label else first.target
    return f"{label} {target}"


def build_paragraphs(targets: Sequence[TargetState]) -> list[Paragraph]:
    """The text for the targets as they are now."""
    if len(targets) == 1:
        return [Paragraph(), *_single(targets[0])]
    found = [Paragraph()]
    for one in targets:
        found += _row(one)
    ready = [one for one in targets if one.is_ready]
    if len(ready) < len(targets) and all(one.plan or one.error for one in targets):
        text = f"{len(ready)} of {len(targets)} can be done; the others are left as they are."
        found += [Paragraph(), _marked("!", "warning", text)]
    return found


def _single(target: TargetState) -> Iterator[Paragraph]:
    if target.result is not None and target.result.outcome is not Outcome.DONE:
        mark, style_name = _OUTCOME_MARKS[target.result.outcome]
        yield _marked(mark, style_name, target.result.message, style_name)
        yield Paragraph()
    if target.is_running:
        yield _marked("↻", "starting", "Waiting for the API server…")
        return
    if target.error:
        yield _marked("✗", "error", target.error, "error")
        return
    plan = target.plan
    if plan is None:
        yield _marked("↻", "starting", "Asking the API server…")
        return
    if plan.blocked:
        yield _marked("✗", "error", plan.blocked, "error")
        return
    if plan.unchanged:
        yield _marked("=", "muted", plan.unchanged)
        return
    is_deletion = plan.operation.kind is OperationKind.DELETE
    if is_deletion:
        yield Paragraph((("  This deletes:", "muted"),))
    for sentence in plan.effects:
        yield Paragraph(
            (("  - " if is_deletion else "  ", "muted"), (sentence, "")), 4 if is_deletion else 2
        )
    if plan.kept:
        yield Paragraph()
        yield Paragraph((("  These stay:", "muted"),))
        for name in plan.kept:
            yield Paragraph((("  - ", "muted"), (name, "")), 4)
    yield from _warnings(plan, target.room)
    yield from _differences(plan)
    yield Paragraph()
    yield Paragraph((("  ", ""), (plan.command, "accent")), 4)


def _warnings(plan: OperationPlan, room: SchedulingResult | None) -> Iterator[Paragraph]:
    sentences = [*plan.warnings]
    if sentence := room_warning(plan, room):
        sentences.append(sentence)
    if sentences:
        yield Paragraph()
    for one in sentences:
        yield _marked("!", "warning", one, "warning")


def room_warning(plan: OperationPlan, room: SchedulingResult | None) -> str:
    """What the nodes have no room for, in a sentence; "" for nothing, or if it is unknown."""
    if room is None or room.schedulable_replicas >= plan.new_pods:
        return ""
    if plan.operation.kind in (OperationKind.RESTART, OperationKind.ROLLBACK):
        if room.schedulable_replicas or not plan.needs_room:
            return ""
        return (
            "No node has room for a new Pod beside the old ones, and maxUnavailable 0 keeps each "
            "old Pod until a new one is ready: the rollout waits until there is room."
        )
    return room.summary


def _differences(plan: OperationPlan) -> Iterator[Paragraph]:
    if not plan.differences:
        return
    yield Paragraph()
    shown = plan.differences[:MAX_DIFFERENCES]
    for one in shown:
        line: Line = (
            (f"  {one.path.lstrip('.')}  ", "muted"),
            (one.old, ""),
            (" → ", "muted"),
            (one.new, "strong"),
        )
        yield Paragraph(line, 4)
    if more := len(plan.differences) - len(shown):
        yield Paragraph(((f"  … and {more} more", "muted"),))


def _row(target: TargetState) -> Iterable[Paragraph]:
    """One of several targets."""
    mark, style_name, text = _row_text(target)
    operation = target.operation
    where = f"{operation.namespace}/" if operation.namespace else ""
    line: Line = ((f"  {mark} ", style_name), (f"{where}{operation.name}  ", "strong"), (text, ""))
    yield Paragraph(line, 6)
    if target.result is None and target.plan is not None and target.plan.is_possible:
        for one in target.plan.warnings:
            yield Paragraph((("      ", ""), (one, "warning")), 6)


def _row_text(target: TargetState) -> tuple[str, str, str]:
    """Mark, style and sentence of one of several targets."""
    if target.result is not None:
        return *_OUTCOME_MARKS[target.result.outcome], target.result.message
    if target.is_running:
        return "↻", "starting", ""
    if target.error:
        return "✗", "error", target.error
    if target.plan is None:
        return "↻", "starting", "Asking the API server…"
    if target.plan.blocked:
        return "✗", "error", target.plan.blocked
    if target.plan.unchanged:
        return "=", "muted", target.plan.unchanged
    return "·", "muted", " ".join(target.plan.effects)


def _marked(mark: str, style_name: str, text: str, text_style_name: str = "") -> Paragraph:
    return Paragraph(((f"  {mark} ", style_name), (text, text_style_name)), 4)


def summary(results: Sequence[OperationResult]) -> tuple[str, str]:
    """A sentence about the results of several targets, and its style."""
    done = sum(one.outcome is Outcome.DONE for one in results)
    failed = sum(one.outcome in (Outcome.REJECTED, Outcome.OUTDATED) for one in results)
    unknown = sum(one.outcome is Outcome.UNKNOWN for one in results)
    parts = [f"{done} of {len(results)} done"]
    if failed:
        parts.append(f"{failed} failed")
    if unknown:
        parts.append(f"of {unknown} it is not known")
    style_name = "error" if failed or unknown else "ready"
    return f"{LABELS[results[0].operation.kind]}: {', '.join(parts)}.", style_name
