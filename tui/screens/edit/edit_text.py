"""The text of the dialog before an edit is saved: what changes, what restarts, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from servedeck.changes.edit.edit import EditPlan
from servedeck.changes.edit.save import SaveResult, SaveState
from servedeck.cluster.apply import PreviewAction
from servedeck.serving.edit.differences import FieldDifference
from servedeck.serving.objects.field_changes import FieldConflict
from servedeck.serving.spec.issues import Issue
from servedeck.serving.text import format_count
from widgets.styled_line import Line
from widgets.text_view import Paragraph

_STATE_MARKS = {
    SaveState.REPLANNED: ("!", "warning"),
    SaveState.UNCHANGED: ("=", "muted"),
    SaveState.BLOCKED: ("✗", "error"),
    SaveState.REJECTED: ("✗", "error"),
    SaveState.NOT_SAVED: ("✗", "error"),
    SaveState.UNKNOWN: ("?", "warning"),
}
"""Marks of what happened when it was not simply saved."""


def find_conflicts(plan: EditPlan) -> tuple[FieldConflict, ...]:
    """The changed fields that other managers have set."""
    rejections = [one.rejection for one in plan.change_plan.previews if one.rejection is not None]
    return tuple(conflict for one in rejections for conflict in one.conflicts)


def needs_takeover(plan: EditPlan) -> bool:
    """Whether the plan has no other errors than fields that other managers have set, and what may
    be done all the same."""
    allowed = {one.message for one in plan.change_plan.overridable}
    allowed |= {
        one.rejection.message
        for one in plan.change_plan.previews
        if one.rejection is not None and one.rejection.conflicts
    }
    return bool(plan.errors) and all(one.message in allowed for one in plan.errors)


def build_paragraphs(
    plan: EditPlan | None,
    error: str,
    result: SaveResult | None,
    taken_over: Sequence[tuple[str, str]] = (),
    *,
    notice: str = "",
    is_writing: bool,
    has_form: bool = True,
    load: str = "",
) -> list[Paragraph]:
    """The text of the dialog: the result of the last attempt, then the plan. `taken_over` are
    labels of fields that other managers have set, each with the manager; `notice` says why the plan
    is not the first one; `load` the load of the serving at the moment."""
    found = [Paragraph()]
    if notice:
        found += [marked("!", "warning", notice, "warning"), Paragraph()]
    if result is not None and result.state in _STATE_MARKS:
        mark, style_name = _STATE_MARKS[result.state]
        found += [marked(mark, style_name, result.message, style_name), Paragraph()]
    if is_writing:
        found.append(marked("↻", "starting", "Waiting for the API server…"))
    elif error:
        found.append(
            marked("✗", "error", f"{error}{' The form is kept.' if has_form else ''}", "error")
        )
    elif plan is None:
        found.append(marked("↻", "starting", "Running the API server's dry run…"))
    else:
        found += _plan_paragraphs(plan, taken_over, load)
    return found


def _plan_paragraphs(
    plan: EditPlan, taken_over: Sequence[tuple[str, str]], load: str
) -> Iterator[Paragraph]:
    problems = [one for one in plan.issues if one.is_error]
    for one in problems:
        yield _issue(one)
    if problems:
        yield Paragraph()
    if plan.is_unchanged:
        if plan.admitted is None:
            text = "Nothing changes any more: the serving is as wanted."
        else:
            yield from (_issue(one) for one in plan.issues if not one.is_error)
            text = "Nothing would change."
        yield Paragraph(((f"  {text}", "strong"),), 2)
        return
    yield Paragraph((("  ", ""), (restart_sentence(plan), "strong")), 2)
    if load:
        yield Paragraph((("  ", ""), (load, "")), 2)
    yield Paragraph()
    is_rest = not plan.fields and bool(plan.edit.unwritten)
    if is_rest:
        yield Paragraph((("  Left of the last change:", "muted"),), 2)
    for field in plan.fields:
        yield _field(field, restarts=field.restarts and plan.marks_restarts)
    warnings = [one for one in plan.issues if not one.is_error]
    if not is_rest and (warnings or taken_over or plan.change_plan.unchecked):
        yield Paragraph()
    by_manager: dict[str, dict[str, None]] = {}
    for label, manager in taken_over:
        by_manager.setdefault(manager, {})[label] = None
    for manager, labels in by_manager.items():
        what = "it" if len(labels) == 1 else "them"
        text = f"{manager} has set {', '.join(labels)}; servedeck takes {what} over."
        yield marked("!", "warning", text, "warning")
    for one in warnings:
        yield _issue(one)
    for sentence in plan.change_plan.unchecked:
        yield marked("?", "muted", sentence, "muted")
    others = [one for one in plan.change_plan.previews if one.ref.kind != "Deployment"]
    for preview in others:
        if preview.action is PreviewAction.CREATE:
            yield marked("+", "pending", f"creates {preview.ref}")
        if preview.field_changes:
            count = format_count(len(preview.field_changes), "field")
            yield marked("~", "pending", f"changes {count} of {preview.ref}")
    for preview in plan.change_plan.previews:
        for change in preview.admission_changes:
            was = f"{change.sent} → " if change.sent else "adds "
            text = f"admission changes {change.path.lstrip('.')}: {was}{change.admitted}"
            yield marked("~", "pending", text)


def restart_sentence(plan: EditPlan) -> str:
    """Whether Pods restart, and what that means now."""
    if plan.stops_serving:
        return "It scales to 0: all Pods stop and nothing is served."
    if plan.forecast is None:
        zero = " The autoscaler may scale it to 0 from then on." if plan.allows_zero else ""
        return f"{plan.no_restart_sentence}{zero}"
    return plan.forecast.summary


def _field(field: FieldDifference, *, restarts: bool) -> Paragraph:
    line: Line = (
        ("  ", ""),
        (f"{field.label}  ", "muted"),
        (field.old, ""),
        (" → ", "muted"),
        (field.new, "strong"),
    )
    if restarts:
        line = (*line, ("  restarts Pods", "warning"))
    return Paragraph(line, 4)


def _issue(issue: Issue) -> Paragraph:
    mark, style_name = ("✗", "error") if issue.is_error else ("!", "warning")
    return marked(mark, style_name, issue.message, style_name)


def marked(mark: str, style_name: str, text: str, text_style_name: str = "") -> Paragraph:
    """A sentence with a mark before it."""
    return Paragraph(((f"  {mark} ", style_name), (text, text_style_name)), 4)
