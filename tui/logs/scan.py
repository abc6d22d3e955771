"""What is found in the log that is shown: levels, hits of the search, lines of the filter. It is
found in short steps between other work, also in lines that are still to come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from servedeck.cluster.watch.debounce import wait_while_held
from servedeck.logs.buffer import LogBuffer
from servedeck.logs.filter import LogFilter
from servedeck.logs.folder import LogFolder
from servedeck.logs.level_index import LevelIndex
from servedeck.logs.query import LineMatcher, LineQuery
from servedeck.logs.search import LogSearch

STEP_SECONDS = 0.003
"""Seconds of one step, which delays a key at most."""

PROGRESS_SECONDS = 0.1
"""Seconds between two reports while there is more to find."""


class AllLines:
    """All lines that a buffer holds, as a filter gives some of them."""

    def __init__(self, buffer: LogBuffer) -> None:
        self._buffer = buffer

    @property
    def count(self) -> int:
        """How many there are."""
        return self._buffer.end - self._buffer.first

    @property
    def end(self) -> int:
        """The number after the last line."""
        return self._buffer.end

    def numbers(self, start: int, stop: int) -> range:
        """The numbers of the lines at these positions."""
        first = self._buffer.first
        return range(first + max(start, 0), min(first + stop, self._buffer.end))

    def position(self, number: int) -> int:
        """The position of the first line with this or a higher number."""
        return max(0, min(number, self._buffer.end) - self._buffer.first)

    def holder(self, number: int) -> int:
        """As `position`: no line is folded."""
        return self.position(number)


class LogScan:
    """Searches one buffer until it is replaced by another."""

    def __init__(
        self,
        buffer: LogBuffer,
        on_progress: Callable[[], None],
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        """`on_progress` is called when more was found, at most ten times a second. While `is_held`
        returns true, the search waits a moment."""
        self._buffer = buffer
        self._is_held = is_held
        self._on_progress = on_progress
        self.levels = LevelIndex(buffer)
        self.search: LogSearch | None = None
        self.filter: LogFilter | None = None
        self.folder: LogFolder | None = None
        self.all_lines = AllLines(buffer)
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def lines(self) -> AllLines | LogFilter | LogFolder:
        """The lines that are shown."""
        return self.folder or self._unfolded

    @property
    def _unfolded(self) -> AllLines | LogFilter:
        return self.filter or self.all_lines

    def wake(self) -> None:
        """There are more lines."""
        self._wake.set()

    def start_search(self, query: LineQuery | None, near: int) -> None:
        """Search another text, first near a line; None for none. The first step is done at once, so
        that what is on the screen is marked with the key that was typed."""
        self.search = None if query is None else LogSearch(self._buffer, query, near=near)
        if self.search is not None:
            self.search.advance(STEP_SECONDS)
        self._wake.set()

    def start_filter(self, queries: tuple[LineMatcher, ...]) -> None:
        """Show only the lines that match; all without queries."""
        self.filter = LogFilter(self._buffer, queries) if queries else None
        if self.filter is not None:
            self.filter.advance(STEP_SECONDS)
        self.fold(is_folded=self.folder is not None)

    def fold(self, *, is_folded: bool) -> None:
        """Show repeated lines once, or each of them."""
        self.folder = LogFolder(self._buffer, self._unfolded) if is_folded else None
        if self.folder is not None:
            self.folder.advance(STEP_SECONDS)
        self._wake.set()

    async def run(self) -> None:
        """Find what there is to find, for ever."""
        loop = asyncio.get_running_loop()
        reported_at = 0.0
        while True:
            self._wake.clear()
            while self._advance():
                if loop.time() - reported_at > PROGRESS_SECONDS:
                    self._on_progress()
                    reported_at = loop.time()
                await asyncio.sleep(0)
                await wait_while_held(self._is_held)
            await asyncio.sleep(max(0.0, reported_at + PROGRESS_SECONDS - loop.time()))
            self._on_progress()
            reported_at = loop.time()
            await self._wake.wait()

    def _advance(self) -> bool:
        """One step of what is needed first: what was asked for, then the levels."""
        if self.search is not None and self.search.advance(STEP_SECONDS):
            return True
        if self.filter is not None and self.filter.advance(STEP_SECONDS):
            return True
        if self.folder is not None and self.folder.advance(STEP_SECONDS):
            return True
        return self.levels.advance(STEP_SECONDS)
