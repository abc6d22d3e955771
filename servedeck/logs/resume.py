"""Where a log that broke off goes on, exactly: with neither gap nor repetition.

The API server passes `sinceTime` on in whole seconds (metav1.Time), and the kubelet answers with
every line of the current file whose time is that or later, in the order of the file (kubernetes
cri-client pkg/logs/logs.go). What was received is one contiguous part of the file, or of those of
its lines that are that late, so a position in the response is where the log goes on:

- normally the number of lines received with such a time, which is counted by second. That the
  response begins with the line with which it should, and that the last line received is at that
  position, proves it;
- otherwise (earlier lines of that second are unknown because only the last ones were requested, or
  the file was rotated) the last lines received are sought in the response. If they are not in it,
  the whole response is new, and lines before it may be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum

from servedeck.logs.line_splitter import ParsedLines
from servedeck.logs.lines import ns_to_stamp, stamp_to_ns

_SECOND_BYTES = 19
"""Length of a timestamp's date and second."""
_OVERLAP_NS = 10**9
"""Nanoseconds before the last line that are requested again: the lines of stdout and stderr may be
slightly out of order, and a clock may be set back a little."""
_RECENT_LINES = 64
"""How many of the last lines are compared where the position is sought."""
_MAX_SECONDS = 4096
"""Seconds with lines whose number is kept: more than an hour of a busy log."""
_MAX_HELD_BYTES = 64 << 20
"""Bytes of a response that are held while the position is sought in it."""
_MARGIN_NS = 10**9
"""How much later than the last line received lines of an unknown part may be."""


class ResumeMismatchError(Exception):
    """The log does not go on where the number of lines says: request it again, and seek the last
    lines (`ResumePoint.begin`, `seek`)."""


class ResumePoint:
    """Follows what was received of one instance's log. Memory is bounded: a few numbers for each of
    the last `_MAX_SECONDS` seconds with lines, and hashes of the last lines."""

    def __init__(self, *, since: bytes = b"", is_tail: bool = False) -> None:
        """`since` is the second (as in a timestamp) since which the log was requested, b"" for its
        begin; `is_tail` says that only the last lines were requested."""
        self._since = since
        self._is_tail = is_tail
        self._seconds: dict[bytes, list[int]] = {}
        """Of each second: number of lines, number of lines received before the first one, and the
        hash of that one."""
        self._unknown_until = b""
        """The number of lines since this second or an earlier one is not known."""
        self._recent: list[int] = []
        """Hashes of the last lines."""
        self._recent_stamps: list[bytes] = []
        self.received = 0
        """Number of lines with a time."""
        self.first_stamp = b""
        self.last_stamp = b""
        self.highest_stamp = b""

    def record(self, lines: ParsedLines) -> None:
        """Take note of received lines."""
        own = lines.without_unstamped()
        stamps, raw = own.stamps, own.raw
        if not raw:
            return
        low, high = min(stamps), max(stamps)
        if not self.received:
            self.first_stamp = stamps[0]
            if self._is_tail:
                self._unknown_until = stamps[0][:_SECOND_BYTES]
        second = low[:_SECOND_BYTES]
        if second == high[:_SECOND_BYTES]:
            entry = self._seconds.get(second)
            if entry is None:
                self._add_second(second, [len(raw), self.received, hash(raw[0])])
            else:
                entry[0] += len(raw)
        else:
            self._record_seconds(raw, [stamp[:_SECOND_BYTES] for stamp in stamps])
        self.received += len(raw)
        self.last_stamp = stamps[-1]
        if high > self.highest_stamp:
            self.highest_stamp = high
        if len(raw) < _RECENT_LINES:
            self._recent += map(hash, raw)
            self._recent_stamps += stamps
            del self._recent[:-_RECENT_LINES], self._recent_stamps[:-_RECENT_LINES]
        else:
            self._recent = list(map(hash, raw[-_RECENT_LINES:]))
            self._recent_stamps = stamps[-_RECENT_LINES:]

    def _record_seconds(self, raw: list[bytes], seconds: list[bytes]) -> None:
        for second, count in Counter(seconds).items():  # in the order in which they begin
            entry = self._seconds.get(second)
            if entry is None:
                at = seconds.index(second)
                self._add_second(second, [count, self.received + at, hash(raw[at])])
            else:
                entry[0] += count

    def _add_second(self, second: bytes, entry: list[int]) -> None:
        self._seconds[second] = entry
        if len(self._seconds) > _MAX_SECONDS:
            oldest = next(iter(self._seconds))
            del self._seconds[oldest]
            self._unknown_until = max(self._unknown_until, oldest)

    def begin(self, *, seek: bool = False) -> ResumeCut:
        """How the next request goes on. With `seek`, without relying on the number of lines.
        Raises ValueError if nothing was received."""
        if not self.received:
            raise ValueError("nothing was received to go on from")
        second = ns_to_stamp(stamp_to_ns(self.last_stamp) - _OVERLAP_NS)[:_SECOND_BYTES]
        second = max(second, self._since)
        entries = [entry for at, entry in self._seconds.items() if at >= second]
        is_known = second > self._unknown_until
        limit = self.highest_stamp
        if not is_known:
            limit = ns_to_stamp(stamp_to_ns(limit) + _MARGIN_NS)
        count = sum(entry[0] for entry in entries)
        recent = [
            line
            for line, stamp in zip(self._recent, self._recent_stamps, strict=True)
            if stamp[:_SECOND_BYTES] >= second
        ]
        if self._is_tail and 1 < self.received <= len(recent):
            # the first of the last lines may be the rest of a long line, which comes as a whole now
            del recent[0]
        return ResumeCut(
            since=second,
            count=count if is_known and not seek else 0,
            first_hash=min(entries, key=_order)[2],
            recent=recent,
            limit=limit,
        )


def _order(entry: list[int]) -> int:
    return entry[1]


class _Phase(Enum):
    BEGIN = 0
    COUNT = 1
    SEEK = 2
    DONE = 3


class ResumeCut:
    """Finds the new lines of one resumed response."""

    def __init__(
        self, *, since: bytes, count: int, first_hash: int, recent: list[int], limit: bytes
    ) -> None:
        """See `ResumePoint.begin`. `count` is 0 if it is not known; a line later than `limit` was
        not received."""
        self.since_time = f"{since.decode()}Z"
        """The `sinceTime` to request."""
        self.is_found = False
        """Whether the last line received is in the response, which proves that it is the log of the
        same instance."""
        self._count = count
        self._first_hash = first_hash
        self._recent = recent
        self._limit = limit
        self._phase = _Phase.BEGIN if count else _Phase.SEEK
        self._has_stamped = False
        self._held: list[ParsedLines] = []
        self._held_bytes = 0
        self._hashes: list[int] = []
        """Hashes of the lines with a time that came, while the position is sought."""
        self._best = (0, -1)
        """The line that is most likely the last one received, while not all compared lines agree:
        how many do, and its index in `_hashes`."""
        self._dropped = 0
        """Number of lines with a time that are held no more."""

    @property
    def is_decided(self) -> bool:
        """Whether it is known which lines are new."""
        return self._phase is _Phase.DONE

    @property
    def held_lines(self) -> int:
        """Number of lines that are held until it is known whether they are new."""
        return sum(len(lines.raw) for lines in self._held)

    def feed(self, lines: ParsedLines) -> list[ParsedLines]:
        """The new ones of these lines, and of those before that were held. Raises
        ResumeMismatchError."""
        if self._phase is _Phase.DONE:
            return [lines] if lines.raw else []
        if not self._has_stamped:
            # the rest of a line whose begin is older, which was received as a whole
            start = 0
            while start in lines.unstamped:
                start += 1
            if start == len(lines.raw):
                self._held.append(lines)
                return []
            self._has_stamped = True
            if self._phase is _Phase.BEGIN:
                is_expected = hash(lines.raw[start]) == self._first_hash
                self._phase = _Phase.COUNT if is_expected else _Phase.SEEK
            self._held.clear()
            lines = lines.since(start)
        return self._skip(lines) if self._phase is _Phase.COUNT else self._seek(lines)

    def finish(self, *, is_final: bool = False) -> list[ParsedLines]:
        """The new lines that were held until the end of the response: messages of the kubelet
        instead of a log. With `is_final`, also all other held lines: this is the end of the log,
        and the last line received is not in it."""
        if self._has_stamped and (self._phase is not _Phase.SEEK or not is_final):
            return []  # broken off before the position
        return self._held_rest() if self._has_stamped else self._held

    def _skip(self, lines: ParsedLines) -> list[ParsedLines]:
        kept = _stamped_indices(lines)
        if len(kept) < self._count:
            self._count -= len(kept)
            return []
        last = kept[self._count - 1]
        if hash(lines.raw[last]) != self._recent[-1]:
            raise ResumeMismatchError
        self._phase, self.is_found = _Phase.DONE, True
        rest = lines.since(last + 1)
        return [rest] if rest.raw else []

    def _seek(self, lines: ParsedLines) -> list[ParsedLines]:
        kept = _stamped_indices(lines)
        before = len(self._hashes)
        self._hashes += [hash(lines.raw[at]) for at in kept]
        at = self._find(before)
        if at >= 0:
            self._finish_seek()
            self.is_found = True
            rest = lines.since(kept[at - before] + 1)
            return [rest] if rest.raw else []
        self._held.append(lines)
        self._held_bytes += sum(map(len, lines.raw))
        if kept and max(lines.stamps) > self._limit:
            new = self._held_rest()
            self._finish_seek()
            return new
        while self._held_bytes > _MAX_HELD_BYTES and len(self._held) > 1:
            oldest = self._held.pop(0)
            self._held_bytes -= sum(map(len, oldest.raw))
            self._dropped += len(oldest.raw) - len(oldest.unstamped)
        return []

    def _held_rest(self) -> list[ParsedLines]:
        """The held lines after the one that is most likely the last one received; all of them if
        that is not in the response."""
        agreeing, last = self._best
        if not agreeing:
            return self._held
        self.is_found = True
        rest: list[ParsedLines] = []
        before = self._dropped
        for lines in self._held:
            kept = _stamped_indices(lines)
            if last < before:
                rest.append(lines)
            elif last < before + len(kept) and (part := lines.since(kept[last - before] + 1)).raw:
                rest.append(part)
            before += len(kept)
        return rest

    def _find(self, start: int) -> int:
        """Index of the last line received among the lines of the response since `start`; -1 if it
        is not there."""
        hashes, recent = self._hashes, self._recent
        at = start - 1
        try:
            while True:
                at = hashes.index(recent[-1], at + 1)
                begin = max(0, at + 1 - len(recent))
                if hashes[begin : at + 1] == recent[begin - at - 1 :]:
                    return at
                agreeing = 1
                while hashes[at - agreeing] == recent[-1 - agreeing]:
                    agreeing += 1
                self._best = max(self._best, (agreeing, at))
        except ValueError:
            return -1

    def _finish_seek(self) -> None:
        self._phase = _Phase.DONE
        self._held, self._hashes = [], []


def _stamped_indices(lines: ParsedLines) -> Sequence[int]:
    everything = range(len(lines.raw))
    if not lines.unstamped:
        return everything
    left_out = frozenset(lines.unstamped)
    return [at for at in everything if at not in left_out]
