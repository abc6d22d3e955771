"""The tab Overview: why the serving is in its status, and its Pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.fleet.views import NamespacedName, PodView, ServingView
from servedeck.serving.duration import format_signed_duration
from tui.actions import Action, bindings
from tui.panes.base import Pane
from tui.ports.serving_source import SourceChanges
from tui.status_details import StatusDetails
from widgets.pod_rows import POD_COLUMNS, build_pod_row
from widgets.status_paragraphs import deployment_paragraphs, pod_paragraphs, reason_paragraphs
from widgets.table import KeyedTable
from widgets.text_view import Paragraph, TextView

MAX_POD_LINES = 5
"""Maximum number of lines about the Pod under the cursor."""


class OverviewPane(Pane):
    """Failure reason, Pods with the failing ones first, and details of the Pod under the cursor."""

    TITLE = "Overview"
    SCOPE = "overview"
    BINDINGS: ClassVar[list[BindingType]] = bindings("overview")
    failure_reason = query_one("#failure-reason", TextView)
    table = query_one("#pods", KeyedTable)
    pod_details = query_one("#pod-details", TextView)

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._details = StatusDetails(
            lambda: self.app_context,
            start_worker=self.start_worker,
            set_timer=self.set_timer,
            on_change=self._update,
        )
        self._last_view: ServingView | None = None
        """What is shown: the last state of a deleted serving stays."""

    def compose(self) -> ComposeResult:
        yield TextView(id="failure-reason")
        yield KeyedTable(POD_COLUMNS, format_age=format_signed_duration, clock=self._now, id="pods")
        yield TextView(id="pod-details")

    def on_mount(self) -> None:
        self.failure_reason.can_focus = self.pod_details.can_focus = False

    def _now(self) -> datetime:
        return self.app_context.clock() if self.is_attached else datetime.now(UTC)

    # -- start and end ------------------------------------------------------------------------

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._last_view = None
        self.table.set_rows([])
        self.table.reset_cursor()

    def activate(self) -> None:
        super().activate()
        self.table.focus()
        self._refresh()

    def deactivate(self) -> None:
        super().deactivate()
        self._details.stop()
        self.workers.cancel_group(self, "tail")

    def on_changes(self, changes: SourceChanges) -> None:
        if self.key in changes.keys:
            self._refresh()

    def _refresh(self) -> None:
        """The serving has changed, or another one is shown."""
        if (view := self.view) is not None:
            self._last_view = view
            self._details.update(view)
        else:
            self._details.stop()
        self._update()

    # -- what is shown ------------------------------------------------------------------------

    def _update(self) -> None:
        view = self._last_view
        if view is None or not self.is_active:
            return
        self.table.set_placeholder(((("  The serving has no Pods.", "muted"),),))
        self.table.set_rows([build_pod_row(pod) for pod in view.pods])
        self._update_texts()
        self.post_message(self.ActionsChanged())

    def _update_texts(self) -> None:
        view = self._last_view
        if view is None:
            return
        now, height = self._now(), self.size.height
        width = max(self.size.width - 2, 1)
        pod = self.selected_pod
        details = pod_paragraphs(pod, now, view.message) if pod is not None else []
        if pod is not None and details:
            details.insert(0, Paragraph(((f"Pod {pod.name}", "muted"),), no_wrap=True))
        self._show(self.pod_details, details, width, min(MAX_POD_LINES, height // 4))
        others = len(view.pods) + 1 + (MAX_POD_LINES if details else 0)
        room = max(height // 2, height - others)
        hint, tail = self._details.capacity_hint(view), self._details.log_tail
        paragraphs = reason_paragraphs(view, tail, capacity_hint=hint)
        paragraphs += deployment_paragraphs(view, now)
        if self.failure_reason.wrapped_height(width, paragraphs) > room:
            paragraphs = reason_paragraphs(view, tail, capacity_hint=hint, compact=True)
            paragraphs = [one for one in paragraphs if one.line]
        has_blank_start = bool(paragraphs) and not paragraphs[0].line
        self._show(self.failure_reason, paragraphs[has_blank_start:], width, room)

    @staticmethod
    def _show(text: TextView, paragraphs: list[Paragraph], width: int, room: int) -> None:
        height = min(text.wrapped_height(width, paragraphs), room)
        text.display = height > 0
        text.styles.height = height
        text.set_paragraphs(paragraphs)

    def on_resize(self) -> None:
        self.call_after_refresh(self._update_texts)

    def update_ages(self) -> None:
        self.table.update_ages()
        self._update_texts()

    @property
    def selected_pod(self) -> PodView | None:
        """The Pod under the cursor."""
        pods = self._last_view.pods if self._last_view is not None else ()
        return next((pod for pod in pods if pod.uid == self.table.cursor_key), None)

    def on_keyed_table_highlighted(self) -> None:
        self._update_texts()

    def on_keyed_table_cell_clicked(self, message: KeyedTable.CellClicked) -> None:
        message.stop()
        if message.column == "logs" or message.is_double_click:
            self.do_logs()

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name == "logs" and self.selected_pod is None:
            return "There is no Pod under the cursor."
        return ""

    def do_logs(self) -> None:
        if (pod := self.selected_pod) is not None:
            self.post_message(self.LogRequested(pod.name, pod.container))
