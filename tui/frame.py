"""What the terminal shows, so that only what differs from it is sent.

Textual's compositor sends every cell of a dirty region, and a change of focus or a widget that
comes or goes makes most of the screen dirty, several times over: opening the status cost 104 kB at
120x40, and costs 6 kB so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Size
from textual.strip import Strip

Piece = tuple[int, int, Strip]
"""Column and line where a strip stands."""


class Patch(CompositorUpdate):
    """Strips to be written at places of the screen."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces

    def render_segments(self, console: Console) -> str:
        """Escape sequences and text, to be written to the terminal."""
        return "".join(
            Control.move_to(x, y).segment.text + strip.render(console)
            for x, y, strip in self.pieces
        )


class Frame:
    """The lines that were sent last."""

    def __init__(self) -> None:
        self._lines: list[Strip | None] = []
        self._size = Size(0, 0)
        self._unknown = Strip([])

    def forget(self) -> None:
        """The terminal may show anything by now; all will be sent."""
        self._lines = []

    def patch(self, update: CompositorUpdate, size: Size) -> Patch:
        """What of the update is not on the screen yet; remembers it as shown."""
        if size != self._size or not self._lines:
            self._size = size
            self._lines = [None] * size.height
            # Nothing that is drawn is equal to these, so nothing of such a line counts as shown.
            self._unknown = Strip([Segment("\ue000" * size.width)], size.width)
        pieces: list[Piece] = []
        for x, y, strip in _pieces(update):
            if 0 <= y < size.height:
                pieces += self._differing(x, y, strip)
        return Patch(pieces)

    def _differing(self, x: int, y: int, strip: Strip) -> list[Piece]:
        width = strip.cell_length
        known = self._lines[y]
        if known is None:
            known = self._unknown
        shown = known.crop(x, x + width)
        strip = strip.simplify()
        if shown == strip:
            return []
        self._lines[y] = Strip.join(
            [known.crop(0, x), strip, known.crop(x + width, self._size.width)]
        ).simplify()
        start, end = _span(list(_characters(shown)), list(_characters(strip)))
        if start >= width - end:
            return []
        return [(x + start, y, strip.crop(start, width - end))]


def is_update(renderable: object) -> TypeGuard[CompositorUpdate]:
    """Whether it is an update of which `Frame` knows the pieces."""
    return isinstance(renderable, LayoutUpdate | ChopsUpdate)


def _pieces(update: CompositorUpdate) -> Iterator[Piece]:
    """The strips of an update and where each stands."""
    if isinstance(update, LayoutUpdate):
        for y, strips in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in strips:
                yield x, y, strip
                x += strip.cell_length
    elif isinstance(update, ChopsUpdate):
        for y, start, stop in update.spans:
            for end, (x, chop) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if chop is None or x >= stop or end <= start:
                    continue
                left, right = max(x, start), min(end, stop)
                yield left, y, chop.crop(left - x, right - x)


def _characters(strip: Strip) -> Iterator[tuple[str, Style | None]]:
    for text, style, _control in strip:
        for character in text:
            yield character, style


def _span(
    old: list[tuple[str, Style | None]], new: list[tuple[str, Style | None]]
) -> tuple[int, int]:
    """Cells at the start and at the end that are the same in both."""
    least = min(len(old), len(new))
    same = 0
    while same < least and old[same] == new[same]:
        same += 1
    start = sum(cell_len(character) for character, _style in new[:same])
    tail = 0
    while tail < least - same and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return start, sum(cell_len(character) for character, _style in new[len(new) - tail :])
