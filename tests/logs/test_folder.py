from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from servedeck.logs.buffer import LogBuffer
from servedeck.logs.filter import LogFilter
from servedeck.logs.folder import LogFolder
from servedeck.logs.folding import fold_key
from servedeck.logs.lines import LineBatch, ns_to_stamp
from servedeck.logs.query import LineQuery

TEXTS = (
    "step 1 of 4",
    "step 2 of 4",
    "ready",
    "GET /health 200 in 3 ms",
    "GET /health 200 in 4 ms",
)
line = st.tuples(st.integers(1, 2), st.sampled_from(TEXTS))


def fold_runs(lines: list[tuple[int, str]]) -> list[tuple[int, int]]:
    """Index of the first line and number of lines of each run, found line by line."""
    keys = [(source, fold_key(text)) for source, text in lines]
    firsts = [at for at in range(len(keys)) if not at or keys[at] != keys[at - 1]]
    return [(at, end - at) for at, end in pairwise([*firsts, len(keys)])]


class Lines:
    """All lines of a buffer."""

    def __init__(self, buffer: LogBuffer) -> None:
        self.buffer = buffer

    @property
    def count(self) -> int:
        return self.buffer.end - self.buffer.first

    @property
    def end(self) -> int:
        return self.buffer.end

    def numbers(self, start: int, stop: int) -> range:
        first = self.buffer.first
        return range(first + max(start, 0), min(first + stop, self.buffer.end))

    def position(self, number: int) -> int:
        return max(0, min(number, self.buffer.end) - self.buffer.first)


def add(buffer: LogBuffer, lines: list[tuple[int, str]]) -> None:
    texts = [text.encode() for _, text in lines]
    sources = [source for source, _ in lines]
    buffer.append(LineBatch([ns_to_stamp(0)] * len(lines), texts, sources))


def finish(folder: LogFolder) -> None:
    while folder.advance():
        pass


def runs_of(folder: LogFolder) -> list[tuple[int, int]]:
    return [(number, folder.repeats(number)) for number in folder.numbers(0, folder.count)]


@settings(deadline=None)
@given(st.lists(st.lists(line, max_size=30), max_size=8))
def test_runs_are_those_of_all_lines_together(parts: list[list[tuple[int, str]]]) -> None:
    buffer = LogBuffer()
    folder, lines = LogFolder(buffer, Lines(buffer)), []
    for part in parts:
        add(buffer, part)
        lines += part
        assert sum(count for _, count in runs_of(folder)) == len(lines)  # not all compared yet
        finish(folder)
        assert runs_of(folder) == fold_runs(lines)
    for position, (start, count) in enumerate(fold_runs(lines)):
        assert folder.position(start) == position
        assert {folder.holder(number) for number in range(start, start + count)} == {position}


@settings(deadline=None)
@given(st.lists(st.lists(line, min_size=1, max_size=30), max_size=12))
def test_lines_that_are_dropped_leave_their_run(parts: list[list[tuple[int, str]]]) -> None:
    buffer = LogBuffer(memory_bytes=1_500, spill_bytes=0)
    folder, lines = LogFolder(buffer, Lines(buffer)), []
    for part in parts:
        add(buffer, part)
        lines += part
        finish(folder)
        held = fold_runs(lines[buffer.first :])
        assert runs_of(folder) == [(buffer.first + start, count) for start, count in held]


@settings(deadline=None)
@example([["step 1 of 4", "ready"], ["  in a frame", "step 1 of 4"]])
@given(st.lists(st.lists(st.sampled_from((*TEXTS, "  in a frame")), max_size=20), max_size=8))
def test_on_a_filter_whose_last_record_goes_on(parts: list[list[str]]) -> None:
    buffer = LogBuffer()
    shown = LogFilter(buffer, (LineQuery.parse("frame", inverse=True),))
    folder = LogFolder(buffer, shown)
    for part in parts:
        add(buffer, [(1, text) for text in part])
        while shown.advance():
            pass
        finish(folder)
        numbers = shown.numbers(0, shown.count)
        texts = [(1, buffer.line(number).text.decode()) for number in numbers]
        assert runs_of(folder) == [(numbers[start], count) for start, count in fold_runs(texts)]
