"""Merges the lines of several streams by time.

Within a stream the order of its log holds: its key is the latest time so far, so that a clock that
is set back moves no line before an earlier one. Streams that are still reading what was written
before they were opened are merged completely: nothing is passed on that is later than what each of
them has delivered. Lines that are written meanwhile wait a short time for those of other streams.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import accumulate
from operator import itemgetter

from servedeck.logs.lines import LineBatch

MAX_BATCH_LINES = 4000
"""Maximum number of lines passed on at once: sorting them takes about 2 ms."""

_MAX_QUEUED_LINES = 16_000
"""Lines of a stream that wait; it is not read on while there are more."""
_MAX_QUEUED_BYTES = 64 << 20
"""Bytes that wait, of all streams together; each may take its share, but at least
`_MIN_QUEUED_BYTES`."""
_MIN_QUEUED_BYTES = 512 << 10
_JOIN_SECONDS = 0.02
"""Lines that arrive within this time are joined."""
_QUIET_SECONDS = 0.3
"""Time without a line of any stream that reads what was written before, after which they are taken
to have read it."""
_STALLED_SECONDS = 2.0
"""Time without a line of one stream, while others have some, after which it is taken to have read
what was written before: where many share a slow connection, each waits for the others."""
_ANSWER_SECONDS = 3.0
"""Time that other streams wait for one that has not been answered yet."""
_POLL_SECONDS = 0.02


class _Segment:
    """Lines of one stream and source, in the order of their keys."""

    __slots__ = ("arrived_at", "at", "keys", "source", "stamps", "texts")

    def __init__(
        self,
        keys: list[bytes],
        stamps: list[bytes],
        texts: list[bytes],
        source: int,
        arrived_at: float,
    ) -> None:
        self.keys = keys
        """Often the same list as `stamps`."""
        self.stamps = stamps
        self.texts = texts
        self.source = source
        self.arrived_at = arrived_at
        self.at = 0
        """Index of the first line that has not been passed on."""

    def extend(self, keys: list[bytes], stamps: list[bytes], texts: list[bytes]) -> None:
        if self.keys is self.stamps and keys is stamps:
            self.keys += keys
        else:
            self.keys = self.keys + keys
            self.stamps = self.stamps + stamps
        self.texts += texts


class Channel:
    """The lines of one stream on their way through the merger."""

    def __init__(self, merger: Merger) -> None:
        self._merger = merger
        self._segments: deque[_Segment] = deque()
        self._bytes = 0
        self._lines = 0
        self._room = asyncio.Event()
        self._is_blocked = False
        self._is_catching_up = True
        self._active_at = asyncio.get_running_loop().time()
        self._quiet_after = _ANSWER_SECONDS
        self.highest = b""
        """The latest time of a line so far."""
        self.is_closed = False

    async def put(self, stamps: list[bytes], texts: list[bytes], source: int) -> None:
        """Queue lines in the order of the log; the lists belong to the merger then. Waits while too
        many are queued."""
        if not stamps:
            return
        now = asyncio.get_running_loop().time()
        keys = _running_maximum(stamps, self.highest)
        self.highest = keys[-1]
        last = self._segments[-1] if self._segments else None
        if (
            last is not None
            and last.source == source
            and now - last.arrived_at < _JOIN_SECONDS
            and len(last.keys) < MAX_BATCH_LINES
        ):
            last.extend(keys, stamps, texts)
        else:
            self._segments.append(_Segment(keys, stamps, texts, source, now))
        self._lines += len(stamps)
        self._bytes += sum(map(len, texts))
        self._active_at, self._quiet_after = now, _QUIET_SECONDS
        if self._is_catching_up:
            self._merger.history_at = now
        self._merger.notice_lines(is_full=self.is_full)
        while self.is_full and not self.is_closed:
            self._room.clear()
            self._is_blocked = True
            try:
                await self._room.wait()
            finally:
                self._is_blocked = False
                self._active_at = asyncio.get_running_loop().time()

    def start(self) -> None:
        """The stream has sent its first request: others wait for its lines."""
        self._active_at = asyncio.get_running_loop().time()
        self._quiet_after = _ANSWER_SECONDS

    def open(self) -> None:
        """The first request is answered."""
        if self._quiet_after == _ANSWER_SECONDS:
            self.start()
            self._quiet_after = _QUIET_SECONDS

    def caught_up(self) -> None:
        """The stream has read what was written before it was opened, or cannot be read now."""
        if self._is_catching_up:
            self._is_catching_up = False
            self._merger.notice_lines(is_full=True)

    def close(self) -> None:
        """No more lines follow; those that are queued are still passed on."""
        self.is_closed = True
        self._is_catching_up = False
        self._merger.notice_lines(is_full=True)

    def discard(self) -> None:
        """Close, and forget the lines that are queued."""
        self._segments.clear()
        self._room.set()
        self.close()

    @property
    def is_full(self) -> bool:
        return (
            self._lines > _MAX_QUEUED_LINES or self._bytes > self._merger.queued_bytes_per_channel
        )

    # -- for the merger ---------------------------------------------------------------------------

    @property
    def head(self) -> _Segment | None:
        return self._segments[0] if self._segments else None

    @property
    def has_more(self) -> bool:
        """Whether lines are queued after those of `head`."""
        return len(self._segments) > 1

    def is_catching_up(self, now: float) -> bool:
        if self._is_catching_up and not self._is_blocked:
            silence = now - self._active_at
            is_busy = now - self._merger.history_at < _QUIET_SECONDS
            if silence >= (
                max(self._quiet_after, _STALLED_SECONDS) if is_busy else self._quiet_after
            ):
                self._is_catching_up = False
        return self._is_catching_up

    def due_key(self, before: float) -> bytes:
        """Key of the last line that arrived until this time; b"" if there is none."""
        if self.is_full or self.is_closed:
            return self._segments[-1].keys[-1] if self._segments else b""
        key = b""
        for segment in self._segments:
            if segment.arrived_at > before:
                break
            key = segment.keys[-1]
        return key

    def take(self, count: int) -> tuple[list[bytes], list[bytes], list[bytes], int]:
        """Keys, timestamps, texts and source of the next `count` lines of `head`."""
        segment = self._segments[0]
        start, end = segment.at, segment.at + count
        if start == 0 and end == len(segment.keys):
            keys, stamps, texts = segment.keys, segment.stamps, segment.texts
        else:
            stamps, texts = segment.stamps[start:end], segment.texts[start:end]
            keys = stamps if segment.keys is segment.stamps else segment.keys[start:end]
        segment.at = end
        if end == len(segment.keys):
            self._segments.popleft()
        self._lines -= count
        self._bytes -= sum(map(len, texts))
        if self._is_blocked and not self.is_full:
            self._room.set()
        return keys, stamps, texts, segment.source


def _running_maximum(stamps: list[bytes], highest: bytes) -> list[bytes]:
    """For each line the latest time until it; the same list if the times never decrease."""
    if stamps[0] >= highest and sorted(stamps) == stamps:
        return stamps
    return list(accumulate(stamps, max, initial=highest))[1:]


class Merger:
    """Passes the lines of all channels on, in the order of time."""

    def __init__(
        self,
        on_batch: Callable[[LineBatch], Awaitable[None]],
        *,
        window: float = 0.15,
        on_caught_up: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_batch` is awaited with each batch; meanwhile lines wait. `window` is the time in
        seconds that a new line waits for earlier ones of other streams. `on_caught_up` is called
        when `is_caught_up` has become true."""
        self._on_batch = on_batch
        self._on_caught_up = on_caught_up
        self._was_caught_up = True
        self._live_since: float | None = None
        """Since when no channel catches up; None while one does."""
        self._window = window
        self._channels: list[Channel] = []
        self._wake = asyncio.Event()
        self._waits_for_lines = False
        self.queued_bytes_per_channel = _MAX_QUEUED_BYTES
        self.history_at = 0.0
        """When the last line came of a stream that reads what was written before."""

    def open_channel(self) -> Channel:
        """A channel for one more stream."""
        channel = Channel(self)
        self._channels.append(channel)
        self._share_room()
        self._wake.set()
        return channel

    @property
    def is_empty(self) -> bool:
        """Whether no lines wait."""
        return all(channel.head is None for channel in self._channels)

    @property
    def is_caught_up(self) -> bool:
        """Whether all channels have read what was written before they were opened, and it was
        passed on."""
        now = asyncio.get_running_loop().time()
        if any(channel.is_catching_up(now) for channel in self._channels):
            self._live_since = None
            return False
        if self._live_since is None:
            self._live_since = now
        heads = (channel.head for channel in self._channels)
        return all(head is None or head.arrived_at >= self._live_since for head in heads)

    def notice_lines(self, *, is_full: bool) -> None:
        """A channel has new lines; with `is_full` they cannot wait."""
        if is_full or self._waits_for_lines or len(self._channels) == 1:
            self._wake.set()

    async def run(self) -> None:
        """Pass lines on until cancelled."""
        while True:
            self._wake.clear()
            delay = await self._pass_on()
            self._waits_for_lines = delay is None
            if delay is None and not self._check_caught_up():
                delay = _QUIET_SECONDS
            if delay is None:
                await self._wake.wait()
            elif not self._wake.is_set():
                # not wait_for(), which forgets a cancellation that comes together with the event
                # (Python 3.11)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._wake.wait()

    async def _pass_on(self) -> float | None:
        """Pass on what may be. Returns the seconds until more may be, None without queued lines."""
        loop = asyncio.get_running_loop()
        while True:
            self._remove_closed()
            now = loop.time()
            busy = [channel for channel in self._channels if channel.head is not None]
            late = [channel for channel in self._channels if channel.is_catching_up(now)]
            if not busy:
                return None
            if len(self._channels) == 1:
                limit = busy[0].highest
            elif late:
                limit = min(channel.highest for channel in late)
            else:
                limit = max(channel.due_key(now - self._window) for channel in busy)
            if not (batch := self._take_batch(busy, limit)):
                if late:
                    return _POLL_SECONDS
                arrived_at = min(head.arrived_at for one in busy if (head := one.head) is not None)
                return max(_POLL_SECONDS, arrived_at + self._window - now)
            await self._on_batch(batch)
            self._check_caught_up()
            await asyncio.sleep(0)

    def _check_caught_up(self) -> bool:
        is_caught_up = self.is_caught_up
        if is_caught_up and not self._was_caught_up:
            self._on_caught_up()
        self._was_caught_up = is_caught_up
        return is_caught_up

    def _take_batch(self, busy: list[Channel], limit: bytes) -> LineBatch | None:
        """The next lines until the key `limit`, sorted; None if there are none."""
        heads: list[tuple[Channel, _Segment]] = []
        for channel in busy:
            if (head := channel.head) is not None:
                heads.append((channel, head))
                if channel.has_more:  # what follows may come before the lines of others
                    limit = min(limit, head.keys[-1])
        ready = [
            (channel, head, count)
            for channel, head in heads
            if (count := bisect_right(head.keys, limit, head.at) - head.at)
        ]
        if not ready:
            return None
        total = sum(count for _, _, count in ready)
        quota = MAX_BATCH_LINES // len(ready) or 1
        if total > MAX_BATCH_LINES:
            ready = _shorten(ready, limit, quota)
        parts = [channel.take(count) for channel, _, count in ready]
        if len(parts) == 1:
            _, stamps, texts, source = parts[0]
            return LineBatch(stamps, texts, [source] * len(stamps))
        return _sort(parts)

    def _remove_closed(self) -> None:
        if any(channel.is_closed and channel.head is None for channel in self._channels):
            self._channels = [
                channel
                for channel in self._channels
                if not channel.is_closed or channel.head is not None
            ]
            self._share_room()

    def _share_room(self) -> None:
        share = _MAX_QUEUED_BYTES // max(1, len(self._channels))
        self.queued_bytes_per_channel = max(share, _MIN_QUEUED_BYTES)


_Ready = list[tuple[Channel, _Segment, int]]


def _shorten(ready: _Ready, limit: bytes, quota: int) -> _Ready:
    """At most `MAX_BATCH_LINES` of these lines, the earliest ones: those until the earliest line
    that is the last one of its channel's share. The share is enlarged while few lines remain, as
    where one channel has all the early ones."""
    best: _Ready = []
    while quota <= MAX_BATCH_LINES:
        until = min(
            [limit, *(head.keys[head.at + quota - 1] for _, head, count in ready if count >= quota)]
        )
        found = [
            (channel, head, part)
            for channel, head, count in ready
            # of lines with that very time a channel may have more than its share
            if (part := min(bisect_right(head.keys, until, head.at) - head.at, count, quota))
        ]
        total = sum(part for _, _, part in found)
        if best and total > MAX_BATCH_LINES:
            return best
        best = found
        if 4 * total > MAX_BATCH_LINES:
            return best
        quota *= 4
    return best


def _sort(parts: list[tuple[list[bytes], list[bytes], list[bytes], int]]) -> LineBatch:
    keys: list[bytes] = []
    stamps: list[bytes] = []
    texts: list[bytes] = []
    sources: list[int] = []
    for part_keys, part_stamps, part_texts, source in parts:
        keys += part_keys
        stamps += part_stamps
        texts += part_texts
        sources += [source] * len(part_stamps)
    # sorting is stable, so lines of one channel with the same key keep their order
    pick = itemgetter(*sorted(range(len(keys)), key=keys.__getitem__))
    return LineBatch(list(pick(stamps)), list(pick(texts)), pick(sources))
