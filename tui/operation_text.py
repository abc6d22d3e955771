"""The text of an operation's dialog: what it does, warnings, and the equivalent command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.cluster.write_log import WriteLog
from servedeck.serving.text import format_count
from servedeck.serving.yaml_text import object_lines
from tui.operation_targets import OperationTarget
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
    OperationKind.ADOPT: "Adopt",
    OperationKind.RELEASE: "Take back the adoption of",
    OperationKind.EDIT: "Change",
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
"""Fields that are listed."""


UNDO_LABEL = "Undo"


def title(operations: Sequence[Operation], *, is_undo: bool = False) -> str:
    """Title of the dialog."""
    first = operations[0]
    if len(operations) > 1:
        label = UNDO_LABEL if is_undo else LABELS[first.kind]
        return f"{label}: {format_count(len(operations), first.resource.kind)}"
    label = LABELS[first.kind]
    if is_undo:
        label = f"{UNDO_LABEL}: {label.lower()}"
    if first.kind is OperationKind.ROLLBACK and first.revision:
        return f"{label} {first.target} to revision {first.revision}"
    target = first.target.removeprefix("Pod ") if "Pod" in label else first.target
    return f"{label} {target}"


def changed_notice(targets: Sequence[OperationTarget]) -> str:
    """That the plans that were shown are made again, in a sentence."""
    if len(targets) > 1:
        return "One of them was changed meanwhile; the plans were made again."
    kind = targets[0].operation.resource.kind
    what = "serving" if kind == "Deployment" else kind
    return f"The {what} was changed meanwhile; the plan was made again."


def build_paragraphs(targets: Sequence[OperationTarget], notice: str = "") -> list[Paragraph]:
    """The text for the targets as they are now; `notice` says why the plan is not the first one."""
    found = [Paragraph()]
    if notice:
        found += [_marked("!", "warning", notice, "warning"), Paragraph()]
    if len(targets) == 1:
        return [*found, *_single(targets[0])]
    if all(one.plan or one.error for one in targets) and not any(
        one.result or one.is_running for one in targets
    ):
        possible = sum(one.is_possible for one in targets)
        if 0 < possible < len(targets):
            text = f"Possible for {possible} of {len(targets)}; the others stay as they are."
            found += [_marked("!", "warning", text, "warning"), Paragraph()]
    for one in targets:
        found += _row(one)
    return found


def _single(target: OperationTarget) -> Iterator[Paragraph]:
    if target.result is not None:
        mark, style_name = _OUTCOME_MARKS[target.result.outcome]
        yield _marked(mark, style_name, target.result.message, style_name)
        for one in target.result.warnings:
            yield _marked("!", "warning", one, "warning")
        if target.is_done:
            return
        yield Paragraph()
    if target.is_running:
        yield _marked("↻", "starting", "Waiting for the API server…")
    elif target.is_planning:
        yield _marked("↻", "starting", "Asking the API server what this changes…")
    elif target.error:
        yield _marked("✗", "error", target.error, "error")
    elif target.plan is not None and target.plan.blocked:
        yield _marked("✗", "error", target.plan.blocked, "error")
    elif target.plan is not None and target.plan.unchanged:
        yield _marked("=", "muted", target.plan.unchanged)
    elif target.plan is not None:
        yield from _plan(target.plan, target.room_warnings, target.load)


def _plan(plan: OperationPlan, room_warnings: Sequence[str], load: str) -> Iterator[Paragraph]:
    """What would be done."""
    is_deletion = plan.operation.kind is OperationKind.DELETE
    if is_deletion:
        yield Paragraph((("  This deletes:", "muted"),))
    for sentence in plan.effects:
        yield Paragraph(
            (("  - " if is_deletion else "  ", "muted"), (sentence, "")), 4 if is_deletion else 2
        )
    if load:
        if is_deletion:
            yield Paragraph()  # it is not one of what is deleted
        yield Paragraph((("  ", ""), (load, "")), 2)
    if plan.kept:
        yield Paragraph()
        yield Paragraph((("  These stay:", "muted"),))
        for name in plan.kept:
            yield Paragraph((("  - ", "muted"), (name, "")), 4)
    yield from _warnings((*plan.warnings, *room_warnings))
    yield from _differences(plan)
    yield from _creations(plan)
    yield Paragraph()
    yield Paragraph((("  ", ""), (plan.command, "accent")), 4)


def _warnings(sentences: Sequence[str]) -> Iterator[Paragraph]:
    if sentences:
        yield Paragraph()
    for one in sentences:
        yield _marked("!", "warning", one, "warning")


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


def _creations(plan: OperationPlan) -> Iterator[Paragraph]:
    """The whole YAML of what is created, as the added lines of a difference."""
    for creation in plan.creations:
        yield Paragraph()
        yield Paragraph((("  new ", "muted"), (creation.target, "strong")), 4)
        for line in object_lines(creation.manifest):
            indent = len(line.text) - len(line.text.lstrip(" "))
            yield Paragraph((("  + ", "ready"), (line.text, "")), 6 + indent)


def _row(target: OperationTarget) -> Iterable[Paragraph]:
    """One of several targets."""
    mark, style_name, text = _row_text(target)
    operation = target.operation
    where = f"{operation.namespace}/" if operation.namespace else ""
    line: Line = ((f"  {mark} ", style_name), (f"{where}{operation.name}  ", "strong"), (text, ""))
    yield Paragraph(line, 6)
    warnings: Sequence[str] = ()
    if target.result is not None:
        warnings = target.result.warnings
    elif target.plan is not None and target.plan.is_possible:
        warnings = (*target.plan.warnings, *target.room_warnings)
    if target.load and target.result is None:
        yield Paragraph((("      ", ""), (target.load, "muted")), 6)
    for one in warnings:
        yield Paragraph((("      ", ""), (one, "warning")), 6)
    if target.result is None and target.plan is not None and target.plan.kept:
        yield Paragraph((("      stay: ", "muted"), (", ".join(target.plan.kept), "")), 6)


def _row_text(target: OperationTarget) -> tuple[str, str, str]:
    """Mark, style and sentence of one of several targets."""
    if target.result is not None:
        # The row has the name already.
        text = target.result.message.removeprefix(f"{target.operation.target} ")
        return *_OUTCOME_MARKS[target.result.outcome], text
    if target.is_running:
        return "↻", "starting", "Waiting for the API server…"
    if target.is_planning:
        return "↻", "starting", "Asking the API server…"
    if target.error or target.plan is None:
        return "✗" if target.error else "·", "error" if target.error else "muted", target.error
    if target.plan.blocked:
        return "✗", "error", target.plan.blocked
    if target.plan.unchanged:
        return "=", "muted", target.plan.unchanged
    return "·", "muted", " ".join(target.plan.effects)


def _marked(mark: str, style_name: str, text: str, text_style_name: str = "") -> Paragraph:
    return Paragraph(((f"  {mark} ", style_name), (text, text_style_name)), 4)


def summary(results: Sequence[OperationResult], label: str) -> tuple[str, str]:
    """A sentence about the results of several targets, and its style."""
    outcomes = [one.outcome for one in results]
    failed = outcomes.count(Outcome.REJECTED) + outcomes.count(Outcome.OUTDATED)
    unknown, unchanged = outcomes.count(Outcome.UNKNOWN), outcomes.count(Outcome.UNCHANGED)
    parts = [f"{outcomes.count(Outcome.DONE)} of {len(results)} done"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{unknown} unknown"] if unknown else []
    parts += [f"{unchanged} not changed"] if unchanged else []
    return f"{label}: {', '.join(parts)}.", "error" if failed or unknown else "ready"


def exit_notice(
    targets: Sequence[OperationTarget],
    results: Sequence[OperationResult],
    label: str,
    write_log: WriteLog,
) -> str:
    """What the operator must know when the program exits with or before the last response; "" for
    nothing. `write_log` is that of the operation that is run."""
    sentences = [
        write_log.notice(
            f"{label} {one.operation.target}",
            f"{label} {one.operation.target}: sent, but the API server had not answered; it is not "
            "known whether it was done.",
        )
        for one in targets
        if one.is_running
    ]
    if len(targets) > 1 and results:
        sentences.append(summary(results, label)[0])
    return "\n".join(sentences)
