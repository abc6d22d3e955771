"""The search in the text of a CodeView: what is typed, its hits, and which of them is current."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Sequence

from servedeck.serving.text import truncate
from widgets.code_view import CodeLine, CodeView
from widgets.search_line import SearchLine
from widgets.styled_line import Span
from widgets.text_search import MAX_HITS, Hit, display_text, find_hits

MAX_NEEDLE_WIDTH = 24
"""Cells of the searched text where the number of hits is shown."""

MAX_LINES_AT_ONCE = 2_000
MAX_WIDTH_AT_ONCE = 50_000
"""A text with more lines, or with a line of more cells, is searched by a thread."""


class TextSearch:
    """Runs the search for a pane, which passes on the messages of the input."""

    def __init__(
        self,
        code_view: Callable[[], CodeView],
        search_line: Callable[[], SearchLine],
        *,
        start_worker: Callable[[Coroutine[None, None, None], str], object],
        on_change: Callable[[], None],
    ) -> None:
        """`start_worker` runs a coroutine, replacing the one of the same group; `on_change` is
        called when hits were found or another one is current."""
        self._code_view = code_view
        self._search_line = search_line
        self._start_worker = start_worker
        self._on_change = on_change
        self.needle = ""
        """The searched text; "" for none."""
        self.is_typing = False
        """Whether keys go to the input."""
        self._origin = (0, 0)
        """First visible line and cell when the input was opened."""

    # -- the input ----------------------------------------------------------------------------

    def open(self) -> None:
        """Type a text to search."""
        view = self._code_view()
        self._origin = (view.top, view.scroll_offset.x)
        self.is_typing = True
        self._search_line().open()

    def set_needle(self, text: str) -> None:
        """Search what was typed, from where the input was opened."""
        self.needle = text
        self.find((self._origin[0], 0), moves=True)

    def close(self) -> None:
        """Hide the input; the hits stay."""
        self.is_typing = False
        self._search_line().close()

    def give_up(self) -> None:
        """Hide the input, remove the hits, and go back to where it was opened."""
        top, left = self._origin
        self.clear()
        view = self._code_view()
        view.set_hits(())
        view.scroll_to(x=left, y=top, animate=False, force=True)

    def clear(self) -> None:
        """Another text is shown: nothing is searched."""
        self.needle = ""
        self._search_line().clear()
        self.close()

    # -- the hits -----------------------------------------------------------------------------

    def find(self, anchor: tuple[int, int], *, moves: bool) -> None:
        """Search the text that is shown. The current hit is the first one from `anchor` (line,
        character) on; `moves` scrolls to it."""
        view = self._code_view()
        if not self.needle:
            self._set_hits([], anchor, moves=False)
        elif len(view.lines) <= MAX_LINES_AT_ONCE and view.virtual_size.width <= MAX_WIDTH_AT_ONCE:
            self._set_hits(_find_in(view.lines, self.needle), anchor, moves=moves)
        else:
            self._start_worker(self._find_in_thread(anchor, moves=moves), "search")

    async def _find_in_thread(self, anchor: tuple[int, int], *, moves: bool) -> None:
        lines, needle = self._code_view().lines, self.needle
        hits = await asyncio.to_thread(_find_in, lines, needle)
        if lines is self._code_view().lines and needle == self.needle:
            self._set_hits(hits, anchor, moves=moves)

    def _set_hits(self, hits: list[Hit], anchor: tuple[int, int], *, moves: bool) -> None:
        view = self._code_view()
        current = bisect_left(hits, anchor) % len(hits) if hits else None
        view.set_hits(hits, current)
        if current is not None and moves:
            view.show_hit(current)
        self._on_change()

    def move(self, step: int) -> None:
        """Go to the next (1) or the previous hit (-1), of which there is one; the first one follows
        the last one."""
        view = self._code_view()
        at = view.current_hit if view.current_hit is not None else -1
        view.show_hit((at + step) % len(view.hits))
        self._on_change()

    def count_span(self) -> Span:
        """What was searched, and the number of hits: "/vllm  3 of 17"."""
        view = self._code_view()
        needle = truncate(self.needle, MAX_NEEDLE_WIDTH)
        if not view.hits:
            return f"/{needle}  not found", "warning"
        count = f"{len(view.hits):,}{'+' if len(view.hits) == MAX_HITS else ''}"
        at = f"{view.current_hit + 1:,} of " if view.current_hit is not None else ""
        return f"/{needle}  {at}{count}", "accent"


def _find_in(lines: Sequence[CodeLine], needle: str) -> list[Hit]:
    return find_hits((display_text(line.text) for line in lines), needle)
