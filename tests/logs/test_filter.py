"""A filter shows the records that a look at every line shows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servedeck.logs.buffer import LogBlock, LogBuffer
from servedeck.logs.filter import LogFilter
from servedeck.logs.lines import NOTICE_SOURCE
from servedeck.logs.query import LineQuery
from servedeck.logs.records import is_continuation
from servedeck.logs.text import plain_text
from tests.logs.buffer_setup import SMALL, SPILLING, append_all


class Line(NamedTuple):
    number: int
    source: int
    text: str


SOURCE_AND_TEXT = st.tuples(
    st.sampled_from([NOTICE_SOURCE, 1, 1, 1, 2, 3]),
    st.sampled_from(
        [b"start a", b"start b", b"start", b"  more a", b"  more b", b"  more", b"", b"\ta \xff"]
    ),
)
ONE_SOURCE = st.tuples(st.just(1), st.sampled_from([b"start a", b"start b", b"start", b"  more a"]))
BATCHES = st.lists(
    st.tuples(
        st.one_of(st.lists(SOURCE_AND_TEXT, max_size=9), st.lists(ONE_SOURCE, max_size=9)),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=25,
)
QUERIES = st.lists(
    st.builds(LineQuery, st.sampled_from(["a", "b", r"mo.e\sa", "start"]), st.booleans()),
    max_size=3,
).map(tuple)


def keep_even(block: LogBlock) -> list[int]:
    return [index for index, text in enumerate(block.texts()) if len(text) % 2 == 0]


KEEPS = st.sampled_from([None, keep_even])


def expected_numbers(
    lines: Iterable[Line],
    queries: Sequence[LineQuery],
    keep: Callable[[LogBlock], Sequence[int]] | None,
) -> list[int]:
    """The numbers of the lines shown, by a look at each."""
    shown = []
    records: dict[int, list[list[Line]]] = {}
    for line in lines:
        if line.source == NOTICE_SOURCE:
            shown.append(line.number)
            continue
        of_source = records.setdefault(line.source, [])
        if of_source and is_continuation(line.text):
            of_source[-1].append(line)
        else:
            of_source.append([line])
    for record in (record for of_source in records.values() for record in of_source):
        meets_queries = all(
            any(query.matches(line.text) for line in record) != query.inverse for query in queries
        )
        if meets_queries and (keep is None or any(len(line.text) % 2 == 0 for line in record)):
            shown += [line.number for line in record]
    return sorted(shown)


def finish(shown: LogFilter) -> None:
    while shown.advance(0):
        pass
    assert shown.complete


def assert_shows(shown: LogFilter, numbers: list[int], end: int) -> None:
    """All that a filter answers, against the list of the lines that it shows."""
    assert shown.count == len(numbers)
    assert shown.numbers(0, end + 1) == numbers
    assert shown.numbers(2, 5) == numbers[2:5]
    assert shown.numbers(-5, 2) == numbers[:2]
    for number in range(-1, end + 2):
        assert shown.position(max(0, number)) == bisect_left(numbers, max(0, number))


async def append_lines(
    buffer: LogBuffer, lines: list[tuple[int, bytes]], model: list[Line]
) -> None:
    model += [
        Line(len(model) + at, source, plain_text(raw)) for at, (source, raw) in enumerate(lines)
    ]
    await append_all(buffer, [raw for _, raw in lines], [source for source, _ in lines])


@pytest.mark.parametrize("limits", [SPILLING, {}])
@settings(max_examples=150, deadline=None)
@given(batches=BATCHES, queries=QUERIES, keep=KEEPS, start_after=st.integers(0, 25))
async def test_it_shows_the_records_that_meet_the_queries(
    limits: dict[str, Any],
    batches: list[tuple[list[tuple[int, bytes]], int]],
    queries: tuple[LineQuery, ...],
    keep: Callable[[LogBlock], Sequence[int]] | None,
    start_after: int,
) -> None:
    buffer, model = LogBuffer(**limits), list[Line]()
    try:
        for lines, _ in batches[:start_after]:
            await append_lines(buffer, lines, model)
        shown = LogFilter(buffer, queries, keep=keep)
        for lines, steps in batches[start_after:]:
            await append_lines(buffer, lines, model)
            for _ in range(steps):
                shown.advance(0)
            if shown.complete:
                numbers = expected_numbers(model, queries, keep)
                assert_shows(shown, numbers, len(model))
        finish(shown)
        assert_shows(shown, expected_numbers(model, queries, keep), len(model))
    finally:
        buffer.close()


@settings(max_examples=100, deadline=None)
@given(batches=BATCHES, queries=QUERIES, keep=KEEPS)
async def test_lines_that_are_dropped_leave_it(
    batches: list[tuple[list[tuple[int, bytes]], int]],
    queries: tuple[LineQuery, ...],
    keep: Callable[[LogBlock], Sequence[int]] | None,
) -> None:
    buffer, model = LogBuffer(**SMALL), list[Line]()
    try:
        shown = LogFilter(buffer, queries, keep=keep)
        for lines, _ in batches * 4:
            await append_lines(buffer, lines, model)
            finish(shown)
            first = buffer.first
            numbers = [n for n in expected_numbers(model, queries, keep) if n >= first]
            assert_shows(shown, numbers, len(model))
    finally:
        buffer.close()


@settings(max_examples=60, deadline=None)
@given(batches=BATCHES, queries=QUERIES)
async def test_it_starts_with_the_oldest_line_held(
    batches: list[tuple[list[tuple[int, bytes]], int]], queries: tuple[LineQuery, ...]
) -> None:
    buffer, model = LogBuffer(memory_bytes=1_500, spill_bytes=0), list[Line]()
    shown = LogFilter(buffer, queries)
    for lines, _ in batches * 4:
        await append_lines(buffer, lines, model)
    finish(shown)
    assert_shows(shown, expected_numbers(model[buffer.first :], queries, None), len(model))


async def test_a_traceback_among_the_lines_of_others_is_shown_whole() -> None:
    buffer = LogBuffer()
    lines = [
        (1, b"Traceback (most recent call last):"),
        (2, b"GET /health"),
        (1, b'  File "engine.py", line 1'),
        (NOTICE_SOURCE, b"chat-1 restarted"),
        (2, b"  its header"),
        (1, b"  CUDA out of memory"),
        (2, b"GET /health"),
        (1, b"INFO next"),
    ]
    await append_lines(buffer, lines, [])
    shown = LogFilter(buffer, (LineQuery.parse("out of memory"),))
    finish(shown)
    assert shown.numbers(0, 10) == [0, 2, 3, 5]
    hidden = LogFilter(buffer, (LineQuery.parse("out of memory", inverse=True),))
    finish(hidden)
    assert hidden.numbers(0, 10) == [1, 3, 4, 6, 7]


async def test_a_record_is_shown_and_hidden_by_what_comes_later() -> None:
    buffer = LogBuffer()
    shown = LogFilter(buffer, (LineQuery.parse("memory"), LineQuery.parse("retry", inverse=True)))
    seen = []
    for raw in (b"Error:", b"  in engine", b"  out of memory", b"  File x", b"  retry", b"  more"):
        await append_lines(buffer, [(1, raw), (2, b"memory")], [])
        finish(shown)
        seen.append([number for number in shown.numbers(0, 99) if number % 2 == 0])
    assert seen == [[], [], [0, 2, 4], [0, 2, 4, 6], [], []]
    assert shown.count == 6


async def test_without_a_query_everything_is_shown() -> None:
    buffer = LogBuffer()
    await append_all(buffer, [b"a", b"  b", b""] * 20)
    shown = LogFilter(buffer, ())
    finish(shown)
    assert shown.numbers(0, 99) == list(range(60))


async def test_a_block_that_is_dropped_while_it_is_searched() -> None:
    buffer, model = LogBuffer(memory_bytes=4_000, spill_bytes=0), list[Line]()
    await append_lines(buffer, [(1, b"1" * 50), (1, b"  a")] * 20, model)
    paused = []

    class SlowQuery:
        inverse = False

        def steps(self, block: LogBlock) -> Any:
            paused.append(block.first)
            yield
            return LineQuery("a").find_lines(block)

    shown = LogFilter(buffer, (SlowQuery(),))  # type: ignore[arg-type]
    assert shown.advance(0)
    assert paused == [0]
    await append_lines(buffer, [(1, b"1" * 50), (1, b"  a")] * 60, model)
    assert buffer.first > 40
    finish(shown)
    assert shown.numbers(0, 999) == list(range(buffer.first, buffer.end))
