"""Log lines that carry a number, and a count of what a reader received of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.control_plane.kubelet_log_files import LogChunk, format_stamp

LINE_START = b'INFO:     10.42.3.17:51234 - "POST /v1/chat/completions HTTP/1.1" 200 OK'
"""What each line begins with, after its time."""
_STAMP_MARK = b"<microseconds-of-the-line>"
"""As long as a timestamp without its last three digits and the Z."""
_BLOCK_MARK = b"<block >"

Instance = tuple[str, int]
"""Name of a Pod, and number of the instance of its container."""


class NumberedLines:
    """Encodes the lines of one container instance, as fast as `bytes.replace`: a line ends with
    the Pod, the instance and the line's number, from 0, and has a time of its own.

    `chunk_lines`: lines of each chunk, 10, 100 or 1000.
    """

    def __init__(self, pod: str, instance: int, chunk_lines: int = 100) -> None:
        if chunk_lines not in (10, 100, 1000):
            raise ValueError(f"{chunk_lines} lines cannot be numbered by their digits")
        self.key: Instance = pod, instance
        self.count = 0
        """Lines encoded so far."""
        self._chunk_lines = chunk_lines
        digits = len(str(chunk_lines)) - 1
        tail = f" {pod} {instance} ".encode()
        self._template = b"".join(
            b"%b%03dZ %b%b%b%0*d\n" % (_STAMP_MARK, n, LINE_START, tail, _BLOCK_MARK, digits, n)
            for n in range(chunk_lines)
        )
        self._last_microsecond = 0

    def next_chunk(self, ns: int) -> LogChunk:
        """The next lines, written at this time (nanoseconds of Unix time), or one microsecond after
        the lines before if that is later."""
        microsecond = max(ns // 1000, self._last_microsecond + 1)
        self._last_microsecond = microsecond
        prefix = format_stamp(microsecond * 1000)[:26]
        block = b"%08d" % (self.count // self._chunk_lines)
        data = self._template.replace(_STAMP_MARK, prefix).replace(_BLOCK_MARK, block)
        self.count += self._chunk_lines
        newest = b"%b%03dZ" % (prefix, self._chunk_lines - 1)
        return LogChunk(data, self._chunk_lines, prefix + b"000Z", newest)


@dataclass
class _Received:
    count: int = 0
    expected: int = 0
    """One more than the highest number so far."""
    missing: set[int] = field(default_factory=set)
    doubled: int = 0
    out_of_order: int = 0


@dataclass(frozen=True)
class LineCounts:
    """What became of the lines; all 0 but the first two if each arrived once and in order."""

    written: int
    received: int
    lost: int
    doubled: int
    out_of_order: int

    @property
    def is_exact(self) -> bool:
        return not (self.lost or self.doubled or self.out_of_order)


class LineCheck:
    """Counts the lines of `NumberedLines` that a reader received, for each container instance."""

    def __init__(self) -> None:
        self._received: dict[Instance, _Received] = {}
        self.other: list[bytes] = []
        """Lines of another kind, such as notices."""

    @property
    def count(self) -> int:
        return sum(each.count for each in self._received.values())

    @property
    def instances(self) -> list[Instance]:
        """Those of which lines were received."""
        return list(self._received)

    def add(self, texts: Iterable[bytes]) -> None:
        """Lines in the order in which the reader got them."""
        key, current = b"", _Received()
        for text in texts:
            head, _, digits = text.rpartition(b" ")
            if head[: len(LINE_START)] != LINE_START or not digits.isdigit():
                self.other.append(text)
                continue
            if head != key:
                key, current = head, self._find(head)
            number = int(digits)
            current.count += 1
            if number == current.expected:
                current.expected += 1
            elif number > current.expected:
                current.missing.update(range(current.expected, number))
                current.expected = number + 1
            elif number in current.missing:
                current.missing.remove(number)
                current.out_of_order += 1
            else:
                current.doubled += 1

    def _find(self, head: bytes) -> _Received:
        _, pod, instance = head.rsplit(b" ", 2)
        return self._received.setdefault((pod.decode(), int(instance)), _Received())

    def compare(self, written: Mapping[Instance, int]) -> LineCounts:
        """Counts against the number of lines that each instance wrote. A line of an instance that
        wrote none, or fewer, counts as doubled."""
        each = self.compare_each(written).values()
        return LineCounts(
            written=sum(counts.written for counts in each),
            received=sum(counts.received for counts in each),
            lost=sum(counts.lost for counts in each),
            doubled=sum(counts.doubled for counts in each),
            out_of_order=sum(counts.out_of_order for counts in each),
        )

    def compare_each(self, written: Mapping[Instance, int]) -> dict[Instance, LineCounts]:
        """The same for each container instance."""
        found: dict[Instance, LineCounts] = {}
        for key in sorted(written.keys() | self._received.keys()):
            count = written.get(key, 0)
            each = self._received.get(key, _Received())
            found[key] = LineCounts(
                written=count,
                received=each.count,
                lost=len(each.missing) + max(0, count - each.expected),
                doubled=each.doubled + max(0, each.expected - count),
                out_of_order=each.out_of_order,
            )
        return found
