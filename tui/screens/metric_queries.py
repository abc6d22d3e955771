"""The queries behind a graph, to copy them into another program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.serving.text import one_line
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll_by_key
from widgets.text_view import Paragraph, TextView


class MetricQueriesScreen(Overlay[None]):
    """PromQL, one paragraph for each line of the graph."""

    SCOPE = "query"
    BINDINGS: ClassVar[list[BindingType]] = bindings("query", "app")
    text_view = query_one(TextView)

    def __init__(self, title: str, queries: Sequence[str], link: str) -> None:
        """`link` is that of a dashboard, "" for none."""
        super().__init__()
        self._title = title
        self._queries = tuple(queries)
        self._link = link

    def compose_body(self) -> ComposeResult:
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        paragraphs = [Paragraph(((f"PromQL of {self._title}", "title"),))]
        for one in self._queries:
            paragraphs += [Paragraph(), Paragraph(((one_line(one), ""),))]
        if self._link:
            paragraphs += [
                Paragraph(),
                Paragraph((("Dashboard: ", "muted"), (one_line(self._link), ""))),
            ]
        self.text_view.set_paragraphs(paragraphs)
        self.text_view.focus()

    def disabled_reason(self, action: Action) -> str:
        if action.name == "link" and not self._link:
            return "The settings name no dashboard; set grafana_url."
        return super().disabled_reason(action)

    async def do_copy(self) -> None:
        await self._copy("\n\n".join(self._queries))

    async def do_link(self) -> None:
        await self._copy(self._link)

    async def _copy(self, text: str) -> None:
        self.show_message(*await copy_with_message(text, self.app_context.write_to_terminal))

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)

    def do_close(self) -> None:
        self.dismiss(None)
