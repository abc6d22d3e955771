"""The index of errors and times against the lines themselves, while the buffer grows and drops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servedeck.logs.buffer import LogBuffer
from servedeck.logs.level_index import LevelIndex
from servedeck.logs.levels import Level, level_of
from servedeck.logs.lines import LineBatch, ns_to_stamp, stamp_to_ns
from servedeck.logs.records import is_continuation
from servedeck.logs.text import plain_text
from servedeck.logs.time_counts import TimeCounts

_START = 1_795_912_923_000_000_000
_SECOND = 10**9

_TEXTS = [
    b"INFO:     Application startup complete.",
    b"WARNING:  slow",
    b"ERROR:    Exception in ASGI application",
    b"Traceback (most recent call last):",
    b'  File "x.py", line 1',
    b"ValueError: bad",
    b"plain",
    b"\x1b[31mERROR\x1b[0m:    red",
    b"",
]

_Line = tuple[int, bytes, int]
"""Source, text, and nanoseconds since the line before."""


@pytest.fixture
def buffer() -> Iterator[LogBuffer]:
    log = LogBuffer()
    yield log
    log.close()


def _batch(lines: list[_Line], at: int = _START) -> LineBatch:
    stamps = []
    for _, _, passed in lines:
        at += passed
        stamps.append(ns_to_stamp(at))
    return LineBatch(stamps, [text for _, text, _ in lines], [source for source, _, _ in lines])


def _finish(index: LevelIndex) -> None:
    while index.advance(0.0):
        pass
    assert index.complete


def _errors(lines: list[tuple[int, str]], first: int = 0) -> list[int]:
    """The first line of each error, the plain way."""
    within: dict[int, bool] = {}
    found = []
    for number, (source, text) in enumerate(lines, first):
        if source == 0:
            continue
        if level_of(text) >= Level.ERROR:
            if not within.get(source):
                found.append(number)
            within[source] = True
        elif not is_continuation(text):
            within[source] = False
    return found


def _held(buffer: LogBuffer) -> list[tuple[int, str]]:
    return [(line.source, plain_text(line.text)) for line in buffer.lines(buffer.first, buffer.end)]


_LINES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(_TEXTS),
        st.sampled_from([0, 1, _SECOND // 3, _SECOND, 70 * _SECOND, 4000 * _SECOND]),
    ),
    max_size=60,
)
_NO_LIMIT = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_NO_LIMIT
@given(_LINES, _LINES, st.integers(0, 8))
def test_against_the_lines_themselves(old: list[_Line], new: list[_Line], steps: int) -> None:
    # With such limits blocks have 64 bytes, so errors and records go over their ends.
    buffer = LogBuffer(memory_bytes=1024, spill_bytes=0)
    small = LogBuffer(memory_bytes=1024)
    try:
        for log in (small, buffer):
            log.append(_batch(old))
            index = LevelIndex(log)
            for _ in range(steps):
                index.advance(0.0)
            log.append(_batch(new, _START + 10**6 * _SECOND))
            for _ in range(steps):
                index.advance(0.0)
            log.append(_batch(new, _START + 2 * 10**6 * _SECOND))
            _finish(index)
            errors = list(index.errors)
            everything = [(s, plain_text(t)) for s, t, _ in old + new + new]
            expected = [number for number in _errors(everything) if number >= log.first]
            if log is small:
                assert log.first == 0
                assert errors == expected
            else:
                # Of an error whose beginning was dropped, a later line may be taken for the first.
                assert set(expected) <= set(errors)
                assert set(errors) <= set(_errors(_held(log), log.first))
            _check_histogram(index, log, exact=log is small)
    finally:
        buffer.close()
        small.close()


def _check_histogram(index: LevelIndex, buffer: LogBuffer, *, exact: bool) -> None:
    lines = [line for line in buffer.lines(buffer.first, buffer.end) if line.source != 0]
    for count in (1, 7, 100):
        buckets = index.histogram(count)
        assert len(buckets) <= count
        assert bool(buckets) is bool(lines)
        for before, after in pairwise(buckets):
            assert before.end_ns == after.start_ns
        for bucket in buckets:
            inside = [
                line for line in lines if bucket.start_ns <= stamp_to_ns(line.stamp) < bucket.end_ns
            ]
            levels = Counter(_kind(plain_text(line.text)) for line in inside)
            shown = (bucket.errors, bucket.warnings, bucket.others)
            wanted = (levels["error"], levels["warning"], levels["other"])
            if exact:
                assert shown == wanted
            else:
                assert sum(shown) >= sum(wanted)
            if inside and exact:
                assert bucket.first_line == inside[0].number
            elif inside:
                assert buffer.first <= bucket.first_line <= inside[0].number


def _kind(text: str) -> str:
    level = level_of(text)
    return "error" if level >= Level.ERROR else "warning" if level == Level.WARNING else "other"


def test_next_and_previous_error(buffer: LogBuffer) -> None:
    buffer.append(
        _batch(
            [
                (1, b"INFO:     a", 0),
                (1, b"ERROR:    b", 0),
                (1, b"Traceback (most recent call last):", 0),
                (2, b"INFO:     between", 0),
                (1, b"ValueError: c", 0),
                (1, b"INFO:     d", 0),
                (2, b"ERROR:    e", 0),
                (0, b"ERROR: a notice", 0),
            ]
        )
    )
    index = LevelIndex(buffer)
    assert index.next_error(0) is None
    assert not index.complete
    _finish(index)
    assert list(index.errors) == [1, 6]
    assert [index.next_error(after) for after in (-1, 1, 6)] == [1, 6, None]
    assert [index.previous_error(before) for before in (1, 2, 8)] == [None, 1, 6]
    assert not index.advance()


def test_the_newest_lines_come_first(buffer: LogBuffer) -> None:
    for _ in range(40):
        buffer.append(_batch([(1, b"ERROR:    a", 0), *[(1, b"INFO:     b" * 50, 0)] * 500]))
    index = LevelIndex(buffer)
    assert index.advance(0.0)
    found = list(index.errors) or [index.previous_error(buffer.end)]
    while found == [None]:
        index.advance(0.0)
        found = list(index.errors) or [None]
    assert min(number for number in found if number is not None) > buffer.end // 2
    _finish(index)
    assert list(index.errors) == list(range(0, buffer.end, 501))


def test_the_line_at_a_time(buffer: LogBuffer) -> None:
    buffer.append(_batch([(1, b"INFO:     a", _SECOND // 2)] * 5000))
    index = LevelIndex(buffer)
    unfinished = [index.line_at_time(_START + after * _SECOND) for after in (-5, 1, 1000, 10**5)]
    _finish(index)
    assert unfinished == [0, 1, 1999, 5000]
    assert [
        index.line_at_time(_START + after * _SECOND) for after in (-5, 1, 1000, 10**5)
    ] == unfinished
    assert index.line_at_time(_START + 1) == 0
    assert index.line_at_time(_START + _SECOND // 2 + 1) == 1
    buffer.append(_batch([(1, b"INFO:     b", 0)], _START + 10**4 * _SECOND))
    assert index.line_at_time(_START + 9000 * _SECOND) == 5000
    _finish(index)
    assert index.line_at_time(_START + 9000 * _SECOND) == 5000
    assert index.line_at_time(_START + 10**5 * _SECOND) == 5001


@pytest.mark.parametrize("steps", [0, 1, 3, 1000])
def test_dropped_lines_leave_the_index(steps: int) -> None:
    buffer = LogBuffer(memory_bytes=64 << 10, spill_bytes=0)
    try:
        index = LevelIndex(buffer)
        for batch in range(50):
            at = _START + batch * 100 * _SECOND
            buffer.append(_batch([(1, b"ERROR:    a", 0), (1, b"INFO:     b" * 100, 1)] * 6, at))
            for _ in range(steps):
                index.advance(0.0)
            assert all(number >= buffer.first for number in index.errors)
            if index.complete:
                assert _total(index) == buffer.end - buffer.first
                assert index.histogram(1000)[0].first_line == buffer.first
        _finish(index)
        assert buffer.first > 0
        assert list(index.errors) == [n for n in range(buffer.first, buffer.end) if n % 2 == 0]
        buckets = index.histogram(1000)
        assert buckets[0].first_line == buffer.first
        assert _total(index) == buffer.end - buffer.first
        assert index.line_at_time(0) == buffer.first
    finally:
        buffer.close()


def test_a_block_is_dropped_while_it_is_looked_at() -> None:
    buffer = LogBuffer(memory_bytes=1 << 20, spill_bytes=0)
    try:
        buffer.append(_batch([(1, b"ERROR: a", 1), (1, b"INFO: b", 1)] * 1500))
        while buffer.memory_used < 1 << 19:
            buffer.append(_batch([(1, b"INFO: c" * 1000, 0)] * 50, _START + 10 * _SECOND))
        index = LevelIndex(buffer)
        index.advance(0.0)
        while not index.errors and not index.histogram(10)[0].errors:
            index.advance(0.0)
        assert 0 < index.histogram(10)[0].errors < 1500
        while buffer.first == 0:
            buffer.append(_batch([(1, b"INFO: c" * 1000, 0)] * 50, _START + 10 * _SECOND))
        _finish(index)
        assert _total(index) == buffer.end - buffer.first
        assert all(number >= buffer.first for number in index.errors)
    finally:
        buffer.close()


def _total(index: LevelIndex) -> int:
    return sum(bucket.errors + bucket.warnings + bucket.others for bucket in index.histogram(1000))


def test_an_error_goes_on_after_blocks_of_another_source() -> None:
    buffer = LogBuffer(memory_bytes=1024)
    try:
        index = LevelIndex(buffer)
        buffer.append(_batch([(1, b"ERROR:    a", 0), (2, b"INFO:     b" * 9, 0)]))
        buffer.append(_batch([(2, b"INFO:     b" * 9, 0)] * 20))
        buffer.append(_batch([(1, b"ValueError: a", 0), (2, b"ERROR:    c", 0)]))
        _finish(index)
        assert list(index.errors) == [0, 23]
        backwards = LevelIndex(buffer)
        _finish(backwards)
        assert list(backwards.errors) == [0, 23]
    finally:
        buffer.close()


def test_lines_of_one_second_that_arrive_at_different_times(buffer: LogBuffer) -> None:
    index = LevelIndex(buffer)
    for part in range(3):
        buffer.append(_batch([(1, b"INFO:     a", 1)] * 10, _START + part * 100))
        _finish(index)
    assert index.line_at_time(_START + 205) == 24
    assert index.line_at_time(_START + 211) == 30


def test_a_long_time_takes_little_memory() -> None:
    counts = TimeCounts()
    for hour in range(24 * 40):
        stamps = b"".join(
            ns_to_stamp(_START + (hour * 3600 + minute * 60) * _SECOND) for minute in range(60)
        )
        counts.add(hour * 60, stamps, [1] * 60, [(3, Level.ERROR)])
    assert counts.resolution_seconds > 1
    buckets = counts.histogram(200)
    assert sum(bucket.errors for bucket in buckets) == 24 * 40
    assert sum(bucket.errors + bucket.others for bucket in buckets) == 24 * 40 * 60
    assert [bucket.first_line for bucket in buckets] == sorted(
        bucket.first_line for bucket in buckets
    )


def test_a_timestamp_that_is_none_is_counted_somewhere() -> None:
    counts = TimeCounts()
    counts.add(0, b"2026-99-99T01:02:03.000000000Z", [1], [])
    assert sum(bucket.others for bucket in counts.histogram(10)) == 1
    assert counts.histogram(0) == []
    assert TimeCounts().histogram(10) == []
