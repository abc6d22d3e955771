"""A test request to the inference server of a serving: does it answer, through which way, how
fast?"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.widgets import Input

from servedeck.detail.inference_answer import InferenceAnswer
from servedeck.detail.inference_client import InferenceClient
from servedeck.detail.inference_ways import (
    READONLY_REASON,
    Way,
    WayKind,
    find_ways,
    no_way_reason,
)
from servedeck.fleet.views import ServingView
from servedeck.serving.inference_request import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_PROMPT,
    MAX_TOKENS_PROBLEM,
    InferenceRequest,
    inference_path,
    make_inference_request,
    path_problem,
    prompt_problem,
    read_max_tokens,
    takes_max_tokens,
    takes_prompt,
    token_problem,
)
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.forwarded_urls import forwarded_urls
from tui.ports.serving_source import SourceChanges
from tui.screens.base import Overlay
from tui.screens.inference_text import SentRequest, request_paragraphs
from tui.screens.value import ValueScreen
from tui.workers import Worker
from widgets.labeled_input import LabeledInput
from widgets.table import TICK_SECONDS
from widgets.text_view import StatusLine, TextView

_LABELS = {
    "path": ("Path", "Path"),
    "prompt": ("Prompt", "Prompt"),
    "max-tokens": ("Max tokens", "Max"),
    "token": ("API token", "Token"),
}
_WIDE_LABELS = 32
"""Cells of a terminal below which labels are short."""
_LOW = 16
"""Rows of a terminal below which the title makes room, and the figures come first."""
_UPDATE_SECONDS = 0.1
"""Seconds between two updates of an answer that comes in: its text is laid out again each time."""
_CANCELED = "Canceled; the connection was closed."


class InferenceRequestScreen(Overlay[None]):
    """Sends requests while it is open. What was typed stays after an error; the API token is in its
    field alone."""

    SCOPE = "inference"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("inference")
    text_view = query_one(TextView)

    def __init__(self, view: ServingView) -> None:
        super().__init__()
        self._view = view
        path = inference_path(view.template, view.model)
        self._fields = ["path"]
        if takes_prompt(path):
            self._fields = ["prompt"]
            if takes_max_tokens(view.template, view.model):
                self._fields.append("max-tokens")
        self._fields.append("token")
        self._first_path = path
        self._ways: list[Way] = []
        self._way: Way | None = None
        self._client: InferenceClient | None = None
        self._worker: Worker[None] | None = None
        """The request that is not answered yet."""
        self._sent: SentRequest | None = None
        """The last one."""
        self._update_is_due = False

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (f"Test request to {self._view.key}", "title")))
        yield title
        for name in self._fields:
            yield LabeledInput(*_LABELS[name], id=name)
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows
        yield text_view

    def on_mount(self) -> None:
        super().on_mount()
        proposed = {
            "path": self._first_path,
            "prompt": DEFAULT_PROMPT,
            "max-tokens": str(DEFAULT_MAX_TOKENS),
        }
        for name in self._fields:
            self._field(name).show_text(proposed.get(name, ""))
        token = self._field("token").input
        token.password = True
        token.placeholder = "none"
        self._field(self._fields[0]).input.focus()
        self._find_ways()
        self.set_interval(TICK_SECONDS, self._tick)

    async def on_unmount(self) -> None:
        await super().on_unmount()
        if self._client is not None:
            await self._client.close()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.query_one("#title", StatusLine).display = size.height >= _LOW
        is_short = size.width < _WIDE_LABELS
        for name in self._fields:
            self._field(name).show_label(8 if is_short else 12, is_short=is_short)
        self.call_after_refresh(self._update_text)

    def _field(self, name: str) -> LabeledInput:
        return self.query_one(f"#{name}", LabeledInput)

    # -- the ways ---------------------------------------------------------------------------------

    def on_changes(self, changes: SourceChanges) -> None:
        view = self.app_context.source.fleet.view(self._view.key)
        if view is not None and view is not self._view:
            self._view = view
            self._find_ways()

    def on_port_forwards_changed(self) -> None:
        self._find_ways()

    def _find_ways(self) -> None:
        """The ways that there are now; the chosen one stays while it exists."""
        view = self._view
        urls = forwarded_urls(self.app_context, view)
        self._ways = find_ways(view.endpoint, view.key.namespace, urls)
        if self._way not in self._ways:
            self._way = next(iter(self._ways), None)
        self._update_text()
        self.update_footer()

    def do_way(self) -> None:
        if self._way is None:
            return
        at = self._ways.index(self._way)
        self._way = self._ways[(at + 1) % len(self._ways)]
        self._update_text()
        self.update_footer()
        if self._sent is not None:
            self.show_message(f"The next request goes through {self._way.name}.")

    # -- sending ----------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        for name in self._fields:
            if self._field(name).input is event.input:
                self._field(name).show_error("")
        self._update_text()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        await self.action_do("inference.send")

    def do_send(self) -> None:
        request, way = self._read(), self._way
        if request is None or way is None:
            return
        if self._client is None:
            self._client = self.app_context.detail_service.open_inference_client()
        sent = self._sent = SentRequest(way, request, monotonic())
        token = self._field("token").text.strip() if way.passes_token else ""
        self._worker = self.start_worker(self._send(self._client, sent, token), "inference")
        self.text_view.scroll_to(y=0, animate=False)
        self._update_text()
        self.update_footer()

    def _read(self) -> InferenceRequest | None:
        """The request as typed; None if something of it is wrong, which is said under its field."""
        texts = {name: self._field(name).text for name in self._fields}
        max_tokens = read_max_tokens(texts.get("max-tokens", str(DEFAULT_MAX_TOKENS)))
        problems = {
            "path": path_problem(texts["path"].strip()) if "path" in texts else "",
            "prompt": prompt_problem(texts["prompt"]) if "prompt" in texts else "",
            "max-tokens": MAX_TOKENS_PROBLEM if max_tokens is None else "",
            "token": token_problem(texts["token"].strip()),
        }
        wrong = [name for name in self._fields if problems[name]]
        for name in wrong:
            self._field(name).show_error(problems[name])
        if wrong:
            self._field(wrong[0]).input.focus()
            return None
        return make_inference_request(
            self._view.template,
            self._view.endpoint.model or self._view.model,
            texts.get("prompt", ""),
            max_tokens or DEFAULT_MAX_TOKENS,
            path=texts.get("path", "").strip(),
        )

    async def _send(self, client: InferenceClient, sent: SentRequest, token: str) -> None:
        def note(answer: InferenceAnswer) -> None:
            sent.answer = answer
            self._update_soon()

        try:
            sent.answer = await client.send(sent.way, sent.request, token=token, on_change=note)
            sent.ended_at = monotonic()
        finally:
            if self._sent is sent and self.is_attached:
                self._worker = None
                self._update_text()
                self.update_footer()

    def _update_soon(self) -> None:
        if not self._update_is_due and self.is_attached:
            self._update_is_due = True
            self.set_timer(_UPDATE_SECONDS, self._update_text)

    # -- what is shown ----------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._worker is not None and self.is_current:
            self._update_text()

    def _update_text(self) -> None:
        self._update_is_due = False
        if not self.is_attached or not self.is_mounted:
            return
        self.text_view.set_paragraphs(
            request_paragraphs(
                self._view,
                self._ways,
                self._way,
                self._shown_request(),
                self._sent,
                has_token=bool(self._field("token").text.strip()),
                way_key=self.app_context.key_display_for("inference.way"),
                is_low=self.app.size.height < _LOW,
            )
        )

    def _shown_request(self) -> str:
        """Method and path of the request that would be sent now."""
        if "path" not in self._fields:
            return f"POST {self._first_path}"
        return f"GET {self._field('path').text.strip()}"

    # -- actions ----------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        match action.name:
            case "send":
                return self._send_reason()
            case "way":
                if self._way is None:
                    return no_way_reason(self._view.endpoint)
                only = f"There is no other way to it than {self._way.name}."
                return only if len(self._ways) == 1 else ""
            case "raw" | "copy":
                answer = self._sent.answer if self._sent is not None else None
                if answer is None or answer.status is None:
                    return "There is no answer yet." if answer is None else "There is no answer."
        return ""

    def _send_reason(self) -> str:
        if self._worker is not None:
            return "The request is sent; esc cancels it."
        way = self._way
        if way is None:
            return no_way_reason(self._view.endpoint)
        is_write = way.kind is WayKind.API_SERVER and "path" not in self._fields
        return READONLY_REASON if is_write and self.app_context.readonly else ""

    def label_for(self, action: Action) -> str:
        return "cancel" if action.name == "close" and self._worker is not None else action.label

    def do_move(self, key: str) -> None:
        if key in ("pagedown", "pageup"):
            self.text_view.scroll_pages(1 if key == "pagedown" else -1)
            return
        inputs = [self._field(name).input for name in self._fields]
        at = next((n for n, one in enumerate(inputs) if one.has_focus), 0)
        inputs[(at + (-1 if key in ("up", "shift+tab") else 1)) % len(inputs)].focus()

    async def _raw_text(self) -> str:
        answer = self._sent.answer if self._sent is not None else None
        return await asyncio.to_thread(lambda: answer.raw_text) if answer is not None else ""

    async def do_raw(self) -> None:
        self.app.push_screen(ValueScreen("Raw answer", await self._raw_text()))

    async def do_copy(self) -> None:
        text = await self._raw_text()
        self.show_message(*await copy_with_message(text, self.app_context.write_to_terminal))

    def do_close(self) -> None:
        if self._worker is None or self._sent is None:
            self.dismiss(None)
            return
        self._worker.cancel()
        self._worker = None
        self._sent.cancel(_CANCELED)
        self._update_text()
        self.update_footer()
