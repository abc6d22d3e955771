"""The log that a pane shows: the streams that read it, the lines that they brought, and what is
found in these."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servedeck.cluster.watch.debounce import wait_while_held
from servedeck.fleet.views import PodView
from servedeck.logs.buffer import LogBuffer
from servedeck.logs.instances import LogSelection
from servedeck.logs.lines import NOTICE_SOURCE, LineBatch, LogLine, LogSource, stamp_to_ns
from servedeck.logs.streams import LogSince, StreamsState
from tui.logs.scan import LogScan
from tui.ports.log_service import LogService, LogStreamsPort


class LogFeed:
    """One log, from its first line until it is closed."""

    def __init__(
        self,
        memory_bytes: int,
        *,
        on_lines: Callable[[], None],
        on_found: Callable[[], None],
        on_state: Callable[[], None],
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        """`on_lines` is called when there are more lines, `on_found` when more was found in them,
        `on_state` when the state of the streams has changed; none of them after `close`. While
        `is_held` returns true, new lines and the search wait a moment."""
        self.buffer = LogBuffer(memory_bytes=memory_bytes)
        self.scan = LogScan(self.buffer, on_found, is_held)
        self._on_lines, self._on_state = on_lines, on_state
        self._is_held = is_held
        self._streams: LogStreamsPort | None = None
        self._pods: Sequence[PodView] | None = None
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether the streams could be opened."""
        return self._streams is not None

    @property
    def state(self) -> StreamsState | None:
        """Whether new lines arrive; None while there are no streams."""
        return self._streams.state if self._streams is not None else None

    @property
    def sources(self) -> Sequence[LogSource]:
        """What the lines are from, by number."""
        return self._streams.sources if self._streams is not None else ()

    def update(
        self,
        service: LogService,
        since: LogSince,
        pods: Sequence[PodView],
        selection: LogSelection,
    ) -> None:
        """Open the streams, or tell them of the Pods as they are now. Raises ClusterError if there
        is no connection."""
        if self._streams is None:
            self._streams = service.open_streams(since, self._take, self._report_state)
        elif pods is self._pods:
            return
        self._pods = pods
        self._streams.update(pods, selection)

    async def _take(self, batch: LineBatch) -> None:
        await wait_while_held(self._is_held)
        await self.buffer.wait_for_room()
        if not self._closed:
            self.buffer.append(batch)
            self.scan.wake()
            self._on_lines()

    def _report_state(self) -> None:
        if not self._closed:
            self.scan.wake()
            self._on_state()

    def line(self, number: int) -> LogLine:
        """A line; an empty one if it is no longer held."""
        try:
            return self.buffer.line(number)
        except IndexError:
            return LogLine(number, b"", b"", NOTICE_SOURCE)

    def time_ns(self, number: int | None) -> int | None:
        """Unix time of a line in nanoseconds; None if it is not held."""
        if number is None:
            return None
        try:
            return stamp_to_ns(self.line(number).stamp)
        except ValueError:
            return None

    async def close(self) -> None:
        """End the streams and forget the lines."""
        self._closed = True
        if self._streams is not None:
            await self._streams.close()
        self.buffer.close()
