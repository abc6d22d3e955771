"""A search finds in the end what a look at every line finds, wherever it starts."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servedeck.logs.buffer import LogBuffer
from servedeck.logs.query import LineQuery
from servedeck.logs.search import LogSearch
from tests.logs.buffer_setup import SMALL, SPILLING, append_all

LINES = st.lists(st.sampled_from([b"a hit", b"A HIT", b"none", b"", b"\xff\x1b[1mhit", b"a"]))
QUERIES = ["hit", "HIT", r"a\s.it", "^$"]


def finish(search: LogSearch) -> None:
    while search.advance(0):
        pass
    assert search.complete


def expected_hits(buffer: LogBuffer, query: LineQuery) -> list[int]:
    found = []
    for number in range(buffer.first, buffer.end):
        block = buffer.block_at(number)
        if query.matches(block.texts()[number - block.first]):
            found.append(number)
    return found


def assert_has(search: LogSearch, hits: list[int], end: int) -> None:
    """All that a search answers, against the list of its hits."""
    assert search.count == len(hits)
    for number in range(-2, end + 2):
        at = bisect_right(hits, number)
        assert search.next_hit(number) == (hits[at] if at < len(hits) else None)
        before = bisect_left(hits, number) - 1
        assert search.previous_hit(number) == (hits[before] if before >= 0 else None)
        assert search.rank(number) == at
        assert search.is_hit(number) == (number in hits)


@pytest.mark.parametrize("limits", [SMALL, SPILLING, {}])
@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.tuples(LINES, st.integers(0, 3)), min_size=1, max_size=30),
    start_after=st.integers(0, 30),
    near=st.integers(-5, 400),
    text=st.sampled_from(QUERIES),
)
async def test_it_finds_every_hit_while_lines_come_and_go(
    limits: dict[str, Any],
    batches: list[tuple[list[bytes], int]],
    start_after: int,
    near: int,
    text: str,
) -> None:
    buffer, query = LogBuffer(**limits), LineQuery.parse(text)
    try:
        for lines, _ in batches[:start_after]:
            await append_all(buffer, lines)
        search = LogSearch(buffer, query, near=near)
        for lines, steps in batches[start_after:]:
            await append_all(buffer, lines)
            for _ in range(steps):
                search.advance(0)
            hits = expected_hits(buffer, query)
            known = [number for number in range(buffer.first, buffer.end) if search.is_hit(number)]
            assert set(known) <= set(hits)
            assert search.count == len(known)
        finish(search)
        assert_has(search, expected_hits(buffer, query), buffer.end)
    finally:
        buffer.close()


async def test_the_lines_around_the_place_are_searched_first() -> None:
    buffer = LogBuffer(**SPILLING)
    for _ in range(500):
        await append_all(buffer, [b"hit"])
    search = LogSearch(buffer, LineQuery.parse("hit"), near=250)
    block = buffer.block_at(250)
    assert search.advance(0)
    assert (search.previous_hit(buffer.end), search.next_hit(-1)) == (block.end - 1, block.first)
    for _ in range(6):
        assert search.advance(0)
    first, last = search.next_hit(-1), search.previous_hit(buffer.end)
    assert first is not None
    assert last is not None
    assert abs((250 - first) - (last - 250)) < 2 * block.count
    assert not search.complete
    finish(search)
    assert search.count == 500
    buffer.close()


async def test_it_goes_on_with_lines_that_appear() -> None:
    buffer = LogBuffer()
    search = LogSearch(buffer, LineQuery.parse("hit"), near=0)
    assert not search.advance()
    for number in range(1, 50):
        await append_all(buffer, [b"no", b"hit"])
        assert not search.complete
        finish(search)
        assert search.count == number
        assert search.rank(buffer.end - 1) == number


async def test_a_search_that_ends_in_a_block_that_was_dropped_meanwhile() -> None:
    buffer = LogBuffer(memory_bytes=4_000, spill_bytes=0)
    for _ in range(30):
        await append_all(buffer, [b"1" * 100 + b"xms", b"1 ms"])
    search = LogSearch(buffer, LineQuery.parse(r"\d+ ?ms"), near=0)
    slow = LineQuery.parse(r"\d+ ?ms")

    def steps_with_pause(block: Any) -> Any:
        yield
        return slow.find_lines(block)

    class SlowQuery:
        steps = staticmethod(steps_with_pause)

    search.query = SlowQuery()  # type: ignore[assignment]
    assert search.advance(0)  # it has read the block, and not searched it yet
    for _ in range(60):
        await append_all(buffer, [b"1" * 100 + b"xms", b"1 ms"])
    finish(search)
    assert_has(search, expected_hits(buffer, slow), buffer.end)


async def test_nothing_is_held_any_more() -> None:
    buffer = LogBuffer()
    await append_all(buffer, [b"hit"] * 5)
    search = LogSearch(buffer, LineQuery.parse("hit"), near=3)
    finish(search)
    assert search.count == 5
    buffer.close()
    assert not search.advance()
    assert_has(search, [], 5)
