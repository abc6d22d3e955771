"""Saving an incident bundle: its progress, and what is missing in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.cluster.http.errors import describe_error
from servedeck.fleet.views import ServingView
from servedeck.serving.text import format_count
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.ports.bundle_service import BundleService
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll_by_key
from tui.workers import Worker
from widgets.text_view import Paragraph, StatusLine, TextView

if TYPE_CHECKING:
    from servedeck.bundle.bundle import BundleProgress, BundleResult

MAX_PROBLEMS = 100
"""Missing parts that are listed; the bundle's index has all."""


class BundleScreen(Overlay[None]):
    """Makes the bundle while it is open; closing it before the end leaves no file."""

    SCOPE = "bundle"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("bundle")
    text_view = query_one(TextView)

    def __init__(self, service: BundleService, view: ServingView, path: Path) -> None:
        super().__init__()
        self._service = service
        self._view = view
        self._path = path
        self._worker: Worker[None] | None = None
        self._result: BundleResult | None = None
        self._error = ""
        self._progress = ""

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (f"Incident bundle of {self._view.key}", "title")))
        yield title
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        self.text_view.focus()
        self._worker = self.start_worker(self._make(), "bundle")
        self._update()

    async def _make(self) -> None:
        try:
            self._result = await self._service.save(self._view, self._path, self._show_progress)
        except Exception as error:  # any error: the operator must know that there is no file
            reason = getattr(error, "strerror", None) or describe_error(error)
            self._error = f"{self._path} was not saved: {str(reason).rstrip('.')}."
        self._update()

    def _show_progress(self, progress: BundleProgress) -> None:
        parts = f" {progress.done} of {progress.total}" if progress.total else ""
        self._progress = f"{progress.step}{parts}"
        self._update()

    def _update(self) -> None:
        if not self.is_attached:
            return
        self.text_view.set_paragraphs(self._paragraphs())
        self.update_footer()

    def _paragraphs(self) -> list[Paragraph]:
        if self._error:
            return [Paragraph(), Paragraph((("  ✗ ", "error"), (self._error, "error")), 4)]
        result = self._result
        if result is None:
            estimate = self._service.estimate(self._view)
            return [
                Paragraph(),
                Paragraph((("  ", ""), (estimate, "muted")), 2),
                Paragraph(),
                Paragraph((("  ↻ ", "starting"), (f"{self._progress or 'Starting'}…", ""))),
            ]
        count = format_count(len(result.files), "file")
        redacted = format_count(result.redacted_count, "value")
        found = [
            Paragraph(),
            Paragraph((("  ✓ ", "ready"), (f"Saved as {self._path}", "strong")), 4),
            Paragraph((("    ", ""), (f"{count}; {redacted} redacted.", "muted")), 4),
        ]
        if result.lost:
            text = f"The API server was lost: {result.lost}"
            found.append(Paragraph((("  ! ", "warning"), (text, "warning")), 4))
        if result.problems:
            found += [Paragraph(), Paragraph((("  Missing:", "muted"),))]
        for what, reason in result.problems[:MAX_PROBLEMS]:
            found.append(Paragraph((("  - ", "muted"), (f"{what}: {reason}", "")), 4))
        if (more := len(result.problems) - MAX_PROBLEMS) > 0:
            found.append(Paragraph(((f"  … and {more} more", "muted"),)))
        return found

    # -- actions ------------------------------------------------------------------------------

    @property
    def _is_running(self) -> bool:
        return self._result is None and not self._error

    def label_for(self, action: Action) -> str:
        return "cancel" if action.name == "close" and self._is_running else action.label

    def disabled_reason(self, action: Action) -> str:
        if action.name == "copy" and self._result is None:
            return "There is no file yet."
        return ""

    async def do_copy(self) -> None:
        path = str(self._path.absolute())
        self.show_message(*await copy_with_message(path, self.app_context.write_to_terminal, path))

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)

    def do_close(self) -> None:
        if self._is_running and self._worker is not None:
            self._worker.cancel()
        self.dismiss(None)
