"""A request that is edited and submitted as a task of an async queue."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.widget import Widget
from textual.widgets import Input, TextArea

from servedeck.async_queue.errors import UnreachableError
from servedeck.async_queue.queue_api import QueueApi, TestRequest
from servedeck.async_queue.request_text import (
    MAX_BODY,
    RequestError,
    RequestText,
    read_body,
    read_headers,
    read_line,
)
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.line_input import LineInput
from widgets.text_editor import TextEditor
from widgets.text_view import StatusLine

_MAX_HEADERS = 8 << 10
_LOW = 16
"""Rows of a terminal below which the headers have one line, and no field a label."""


class RequestEditorScreen(Overlay[str]):
    """Its result is the id of the task, "" if nothing was sent. What was typed stays after an
    error."""

    SCOPE = "test_request"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("test_request")
    line_input = query_one(LineInput)
    headers = query_one("#headers", TextEditor)
    body = query_one("#body", TextEditor)

    def __init__(
        self, key: NamespacedName, api: QueueApi, text: RequestText, *, note: str = ""
    ) -> None:
        """`text` is proposed; `note` says what it is, in sentences."""
        super().__init__()
        self._key = key
        self._api = api
        self._proposed = text
        self._note = note
        self._is_sending = False
        self._is_leaving = False
        """Whether esc was pressed once although something was typed."""

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (f"Test request to {self._key}", "title")))
        yield title
        yield StatusLine(id="note")
        yield _label("Method and path")
        yield LineInput(">", "POST /v1/chat/completions")
        yield _label("Headers")
        yield TextEditor(self._proposed.headers, id="headers", length_limit=_MAX_HEADERS)
        yield StatusLine(id="headers-problem")
        yield _label("Body")
        yield TextEditor(self._proposed.body, id="body", length_limit=MAX_BODY)
        yield StatusLine(id="body-problem")

    def on_mount(self) -> None:
        super().on_mount()
        self.line_input.input.value = self._proposed.line
        self.line_input.input.cursor_position = len(self._proposed.line)
        for one in ("headers", "body"):
            self._show_problem(one, "")
        self._proposed = self._typed
        self.body.focus()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        is_low = size.height < _LOW
        for label in self.query(".field-label"):
            label.display = not is_low
        self.headers.styles.height = 1 if is_low else 3
        note: str = "" if is_low else self._note
        line = ((" ", ""), (note, "muted")) if note else ()
        self.query_one("#note", StatusLine).set_text(line, max(size.height // 6, 1), 1)

    @property
    def _typed(self) -> RequestText:
        return RequestText(self.line_input.text, self.headers.text, self.body.text)

    def _show_problem(self, name: str, message: str) -> None:
        """Show the sentence under a field of several lines; "" shows none."""
        line = ((" ! ", "warning"), (message, "warning")) if message else ()
        self.query_one(f"#{name}-problem", StatusLine).set_text(line, 3, 3)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._is_leaving = False
        self.line_input.show_error("")

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._is_leaving = False
        self._show_problem(str(event.text_area.id), "")

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name == "send" and self._is_sending:
            return "The request was sent; waiting for the gateway."
        return ""

    @property
    def _fields(self) -> tuple[Widget, ...]:
        return self.line_input.input, self.headers, self.body

    def do_move(self, key: str) -> None:
        fields = self._fields
        at = next((n for n, one in enumerate(fields) if one.has_focus), 0)
        fields[(at + (-1 if key in ("up", "shift+tab") else 1)) % len(fields)].focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.do_move("tab")

    def do_send(self) -> None:
        request = self._read()
        if request is None:
            return
        self._is_sending, self._is_leaving = True, False
        self.show_message("The request was sent; waiting for the gateway.", seconds=60)
        self.update_footer()
        # Keys are not queued meanwhile: what was sent cannot be taken back.
        self.start_worker(self._send(request), "send")

    def _read(self) -> TestRequest | None:
        """The request as typed; None if something of it is wrong, which is said under its field."""
        wrong: list[Widget] = []
        typed = self._typed
        method, path = "", ""
        headers: list[tuple[str, str]] = []
        data = b""
        try:
            method, path = read_line(typed.line)
        except RequestError as error:
            self.line_input.show_error(str(error))
            wrong.append(self.line_input.input)
        try:
            headers = read_headers(typed.headers)
        except RequestError as error:
            self._show_problem("headers", str(error))
            wrong.append(self.headers)
        try:
            data = read_body(typed.body, headers)
        except RequestError as error:
            self._show_problem("body", str(error))
            wrong.append(self.body)
        if wrong:
            wrong[0].focus()
            return None
        return TestRequest(method, path, headers, data)

    async def _send(self, request: TestRequest) -> None:
        try:
            id = await self._api.submit(request)
        except UnreachableError as error:
            self._fail(
                f"{error} It may have been stored: look at the list before you send it again."
            )
        except ClusterError as error:
            self._fail(f"Nothing was stored: {error}")
        else:
            self.dismiss(id)
        finally:
            self._is_sending = False

    def _fail(self, text: str) -> None:
        self.show_message(text, "error", 60)
        self.call_later(self.update_footer)

    def exit_notice(self) -> str:
        if not self._is_sending:
            return ""
        return f"Whether the test request to {self._key} was stored is not known."

    def do_close(self) -> None:
        if self._is_sending:
            self.show_message("The request was sent and cannot be canceled.", "warning")
        elif self._typed != self._proposed and not self._is_leaving:
            self._is_leaving = True
            self.show_message(
                "What you typed is not sent; press esc again to discard it.", "warning"
            )
        else:
            self.dismiss("")


def _label(text: str) -> StatusLine:
    label = StatusLine()
    label.add_class("field-label")
    label.set_lines(((f" {text}", "muted"),))
    return label
