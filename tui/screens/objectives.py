"""The dialog that changes the objectives of a serving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.widgets import Input

from servedeck.changes.edit.edit import Edit, EditPlan
from servedeck.changes.edit.save import SaveResult
from servedeck.fleet.views import NamespacedName
from servedeck.metrics.objective_status import format_objective_value
from servedeck.serving.conventions import OBJECTIVES_ANNOTATION
from servedeck.serving.objectives import (
    ObjectiveError,
    ObjectiveKind,
    Objectives,
    format_objectives,
    objective_texts,
    parse_objectives,
    parse_target,
)
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.text import one_line, sanitize, truncate
from tui.actions import bindings
from tui.ports.change_service import ChangeService
from tui.ports.serving_source import SourceChanges
from tui.screens.base import Overlay
from tui.screens.edit.edit_dialog import EditDialog
from widgets.line_input import LineInput
from widgets.text_view import Paragraph, StatusLine, TextView

_LABELS: Mapping[ObjectiveKind, tuple[str, str]] = {
    ObjectiveKind.P95: ("P95 of the time of a request", "none; such as 2s"),
    ObjectiveKind.TTFT: ("P95 of the time to first token", "none; such as 500ms"),
    ObjectiveKind.ERRORS: ("Error rate: failed requests (5xx)", "none; such as 1%"),
}
"""The label of each field, and what it shows while it is empty."""
_MAX_TEXT = 200
"""Characters of an annotation in a sentence."""


class ObjectivesDialog(Overlay[SaveResult | None]):
    """Asks for the objectives, and saves them once their plan is confirmed; its result is that of
    saving, None if nothing was saved."""

    SCOPE = "objectives"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("objectives")
    text_view = query_one(TextView)

    def __init__(
        self,
        key: NamespacedName,
        read: ImportedServing,
        change_service: ChangeService,
        values: Mapping[ObjectiveKind, float | None],
    ) -> None:
        """`read` is the serving as it is; `values` are what the objectives limit, at the moment."""
        super().__init__()
        self._key = key
        self._read = read
        self._change_service = change_service
        self._values = values
        self._notice = ""
        """What others have changed meanwhile, in sentences."""

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (f"Objectives of {self._key}", "title")))
        yield title
        for kind, (label, placeholder) in _LABELS.items():
            value = self._values.get(kind)
            now = f"  now {format_objective_value(kind, value)}" if value is not None else ""
            line = StatusLine()
            line.set_lines(((" ", ""), (label, "strong"), (now, "muted")))
            yield line
            yield LineInput(">", placeholder, id=kind)
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows
        yield text_view

    def on_mount(self) -> None:
        super().on_mount()
        for kind, text in objective_texts(self._read.spec.objectives).items():
            self._show_text(kind, text)
        self._input(ObjectiveKind.P95).input.focus()
        self._update_text()

    def _input(self, kind: ObjectiveKind) -> LineInput:
        return self.query_one(f"#{kind}", LineInput)

    def _show_text(self, kind: ObjectiveKind, text: str) -> None:
        field = self._input(kind).input
        field.value = text
        field.cursor_position = len(text)

    # -- what is shown ------------------------------------------------------------------------

    def on_changes(self, changes: SourceChanges) -> None:
        if self._key not in changes.keys:
            return
        now = self.app_context.source.fleet.deployment(self._key)
        if now is None:
            self._notice = f"{self._key} does not exist any more."
        elif now.metadata.annotations.objectives != sanitize(self._read.spec.objectives):
            text = _shorten(now.metadata.annotations.objectives)
            self._notice = f"Somebody changed the objectives meanwhile: {text} now."
        self._update_text()

    def _update_text(self) -> None:
        if not self.is_attached:
            return
        found = [Paragraph()]
        for warning in filter(None, (self._notice, self._production_text)):
            found.append(Paragraph((("  ! ", "warning"), (warning, "warning")), 4))
        text = (
            f"An empty field is no objective. They are in the annotation {OBJECTIVES_ANNOTATION} "
            "of the Deployment: no Pod restarts when they change."
        )
        found.append(Paragraph((("  ", ""), (text, "muted")), 2))
        if others := self._others:
            text = f"Other entries of the annotation are kept: {_shorten(' '.join(others))}."
            found.append(Paragraph((("  ", ""), (text, "muted")), 2))
        self.text_view.set_paragraphs(found)

    @property
    def _production_text(self) -> str:
        app = self.app_context
        return f"{app.source.context} is a production context." if app.is_production else ""

    @property
    def _others(self) -> tuple[str, ...]:
        return parse_objectives(self._read.spec.objectives)[0].others

    def on_input_changed(self, event: Input.Changed) -> None:
        for kind in ObjectiveKind:
            if self._input(kind).input is event.input:
                self._input(kind).show_error("")

    # -- actions ------------------------------------------------------------------------------

    def do_move(self, key: str) -> None:
        kinds = list(ObjectiveKind)
        at = next((n for n, one in enumerate(kinds) if self._input(one).input.has_focus), 0)
        step = -1 if key in ("up", "shift+tab") else 1
        self._input(kinds[(at + step) % len(kinds)]).input.focus()

    def on_input_submitted(self) -> None:
        self.do_save()

    def do_save(self) -> None:
        wanted = self._typed_objectives()
        if wanted is None:
            return
        text = self._read.spec.objectives
        present, problems = parse_objectives(text)
        if wanted == present and len(problems) == len(present.others):
            self.dismiss(None)
            return
        spec = self._read.spec.replace(objectives=format_objectives(wanted))
        self._open_plan(Edit(self._read, spec))

    def _typed_objectives(self) -> Objectives | None:
        """The objectives as typed; None if one is wrong, which is said under its field."""
        found: dict[ObjectiveKind, float] = {}
        wrong: list[LineInput] = []
        for kind in ObjectiveKind:
            field = self._input(kind)
            try:
                if text := field.text.strip():
                    found[kind] = parse_target(kind, text)
            except ObjectiveError as error:
                field.show_error(str(error))
                wrong.append(field)
        if wrong:
            wrong[0].input.focus()
            return None
        return Objectives(
            found.get(ObjectiveKind.P95),
            found.get(ObjectiveKind.TTFT),
            found.get(ObjectiveKind.ERRORS),
            self._others,
        )

    def _open_plan(self, edit: Edit) -> None:
        inventory = self._change_service.watch_inventory(self._key.namespace, lambda: None)
        if inventory is None:
            self.show_message("Not connected to the API server.", "warning")
            return
        dialog = EditDialog(
            self._key,
            edit,
            self._change_service,
            inventory,
            title=f"Save the objectives of {self._key}",
            save_label="Save Objectives",
        )

        async def closed(result: SaveResult | EditPlan | None) -> None:
            await inventory.close()
            if isinstance(result, EditPlan):
                self._show_conflict(result)
            elif isinstance(result, SaveResult):
                self.dismiss(result)
            await dialog.quit_if_requested()

        self.app.push_screen(dialog, closed)

    def _show_conflict(self, plan: EditPlan) -> None:
        """Others have changed the objectives: their values where nothing else was typed, and what
        was typed elsewhere. The next save is a change of theirs."""
        before, theirs = (
            objective_texts(one.spec.objectives) for one in (self._read, plan.current)
        )
        for kind in ObjectiveKind:
            if self._input(kind).text.strip() == before.get(kind, ""):
                self._show_text(kind, theirs.get(kind, ""))
        who = ", ".join(one.name for each in plan.conflicts for one in each.changed_by)
        old, new = (_shorten(one.spec.objectives) for one in (self._read, plan.current))
        self._notice = (
            f"{who or 'Somebody else'} changed the objectives meanwhile, from {old} to {new}. What "
            "you typed is kept: save it again to put it in place of theirs."
        )
        self._read = plan.current
        self._update_text()

    def do_close(self) -> None:
        self.dismiss(None)


def _shorten(text: str) -> str:
    """The objectives of an annotation in a sentence."""
    return truncate(one_line(sanitize(text)), _MAX_TEXT) or "none"
