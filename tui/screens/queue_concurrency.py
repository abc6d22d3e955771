"""The dialog that changes how many tasks of an async queue are processed at once."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.widgets import Input

from servedeck.async_queue.errors import ChangedMeanwhileError, UnreachableError
from servedeck.async_queue.queue_api import QueueApi
from servedeck.async_queue.tasks import ControlState, QueueStatus
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.line_input import LineInput
from widgets.text_view import Paragraph, StatusLine, TextView

MAX_CONCURRENCY = 100_000
"""What the gateway takes at most."""
_FIELDS = ("of-all", "of-each")
_LABELS = {"of-all": "Of all Pods together", "of-each": "Of each Pod"}
_LEAST = {"of-all": 0, "of-each": 1}
_LOW = 12
"""Rows of a terminal below which the title makes room for what is wrong with a field."""


class ConcurrencyDialog(Overlay[str]):
    """Asks for two numbers and sets them; its result is a sentence, "" if nothing was set."""

    SCOPE = "concurrency"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("concurrency")
    text_view = query_one(TextView)

    def __init__(
        self,
        key: NamespacedName,
        api: QueueApi,
        status: QueueStatus,
        control: ControlState,
        *,
        warning: str = "",
    ) -> None:
        """`control` is what operators have set, which the fields show; `status` what is in
        force."""
        super().__init__()
        self._key = key
        self._api = api
        self._status = status
        self._control = control
        self._warning = warning
        self._notice = ""
        """Why it was not set, in sentences."""
        self._is_sending = False

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (f"Concurrency of the async queue of {self._key}", "title")))
        yield title
        present = {"of-all": self._status.concurrency, "of-each": self._status.pod_concurrency}
        for one in _FIELDS:
            line = StatusLine()
            now = _of_all(present[one]) if one == "of-all" else f"{present[one]:,}"
            line.set_lines(((" ", ""), (_LABELS[one], "strong"), (f"  now {now}", "muted")))
            yield line
            yield LineInput(">", "as the settings of the queue say", id=one)
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows
        yield text_view

    def on_mount(self) -> None:
        super().on_mount()
        for one, value in zip(_FIELDS, _values(self._control), strict=True):
            field = self._field(one).input
            field.value = "" if value is None else str(value)
            field.cursor_position = len(field.value)
        self._field("of-all").input.focus()
        self._update_text()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.query_one("#title", StatusLine).display = size.height >= _LOW

    def _field(self, name: str) -> LineInput:
        return self.query_one(f"#{name}", LineInput)

    # -- what is shown ------------------------------------------------------------------------

    def _update_text(self) -> None:
        if not self.is_attached:
            return
        found = [Paragraph()]
        if self._is_sending:
            found.append(Paragraph((("  ↻ ", "starting"), ("It is being set…", "")), 4))
        for text in filter(None, (self._notice, self._warning)):
            found.append(Paragraph((("  ! ", "warning"), (text, "warning")), 4))
        for text in (
            "An empty field takes what the settings of the queue say. 0 of all Pods sets no limit "
            "for all together; to process no task, pause the queue.",
            "What is being processed goes on: a lower number takes effect as tasks end.",
        ):
            found.append(Paragraph((("  ", ""), (text, "muted")), 2))
        self.text_view.set_paragraphs(found)

    def on_input_changed(self, event: Input.Changed) -> None:
        for one in _FIELDS:
            if self._field(one).input is event.input:
                self._field(one).show_error("")

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        return "It is being set." if self._is_sending and action.name == "save" else ""

    def do_move(self, key: str) -> None:
        if key in ("pagedown", "pageup"):
            self.text_view.scroll_pages(1 if key == "pagedown" else -1)
            return
        at = next((n for n, one in enumerate(_FIELDS) if self._field(one).input.has_focus), 0)
        step = -1 if key in ("up", "shift+tab") else 1
        self._field(_FIELDS[(at + step) % len(_FIELDS)]).input.focus()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        await self.action_do("concurrency.save")

    def do_save(self) -> None:
        typed = self._typed_values()
        if typed is None:
            return
        if typed == _values(self._control) and not self._notice:
            self.dismiss("")
            return
        self._is_sending = True
        self._update_text()
        # Keys are not queued meanwhile: what was sent cannot be taken back.
        self.start_worker(self._set(*typed), "set")

    def _typed_values(self) -> tuple[int | None, int | None] | None:
        """The numbers as typed; None if one is wrong, which is said under its field."""
        found: list[int | None] = []
        wrong: list[LineInput] = []
        for one in _FIELDS:
            field, text = self._field(one), self._field(one).text.strip()
            number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
            if text and (number is None or not _LEAST[one] <= number <= MAX_CONCURRENCY):
                field.show_error(
                    f"Enter a number from {_LEAST[one]} to {MAX_CONCURRENCY:,}, or nothing."
                )
                wrong.append(field)
            found.append(number)
        if wrong:
            wrong[0].input.focus()
            return None
        return found[0], found[1]

    async def _set(self, of_all: int | None, of_each: int | None) -> None:
        self._notice = ""
        before = self._control
        try:
            await self._api.set_concurrency(of_all, of_each, before.version)
        except ChangedMeanwhileError:
            await self._take_present((of_all, of_each))
            if _values(self._control) == _values(before) and self._control != before:
                # Something else was changed, such as that the queue is paused.
                await self._set(of_all, of_each)
                return
        except UnreachableError as error:
            await self._take_present((of_all, of_each), f"{error} It may have been set.")
        except ClusterError as error:
            self._notice = f"It was not set: {error}"
        else:
            self.dismiss(self._done(of_all, of_each))
        self._is_sending = False
        self._update_text()

    def _done(self, of_all: int | None, of_each: int | None) -> str:
        return (
            f"The concurrency of {self._key} is set: {_describe(of_all, of_each)}; it takes effect "
            "as tasks end."
        )

    async def _take_present(self, wanted: tuple[int | None, int | None], lost: str = "") -> None:
        """Somebody else has changed the control, or the answer was `lost`: look at what is set now.
        The next save is a change of that."""
        try:
            control = await self._api.control()
        except ClusterError as error:
            again = f"What is set now is not known: {error} Press enter to try again."
            self._notice = f"{lost} {again}" if lost else again
            return
        is_changed = control.version != self._control.version
        self._control = control
        if _values(control) == wanted:
            self.dismiss(self._done(*wanted))
            return
        present = f"It is set now: {_describe(*_values(control))}."
        again = "What you typed is kept; press enter again to set it."
        who = "Somebody else changed what is set meanwhile. " if is_changed else ""
        self._notice = f"{lost} {who}{present} {again}".lstrip()

    def exit_notice(self) -> str:
        if not self._is_sending:
            return ""
        return f"Whether the concurrency of {self._key} was set is not known."

    def do_close(self) -> None:
        if self._is_sending:
            self.show_message("The request was sent and cannot be canceled.", "warning")
        else:
            self.dismiss("")


def _values(control: ControlState) -> tuple[int | None, int | None]:
    return control.concurrency, control.pod_concurrency


def _describe(of_all: int | None, of_each: int | None) -> str:
    settings = "as the settings say"
    each = settings if of_each is None else f"{of_each:,}"
    return f"of all Pods {settings if of_all is None else _of_all(of_all)}, of each Pod {each}"


def _of_all(number: int) -> str:
    return f"{number:,}" if number else "no limit"
