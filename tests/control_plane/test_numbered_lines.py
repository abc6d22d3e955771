"""The lines with numbers, and their count; needs no control plane."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.logs.lines import normalize_stamp, stamp_to_ns
from tests.control_plane.numbered_lines import LineCheck, LineCounts, NumberedLines

NOW = 1_764_504_000 * 10**9


def texts_of(lines: NumberedLines, chunks: int) -> list[bytes]:
    texts: list[bytes] = []
    for _ in range(chunks):
        data = lines.next_chunk(NOW).data
        texts.extend(line.partition(b" ")[2] for line in data.splitlines())
    return texts


@pytest.mark.parametrize("chunk_lines", [10, 100, 1000])
def test_lines_are_numbered_and_each_has_a_later_time(chunk_lines: int) -> None:
    lines = NumberedLines("llama-0", 2, chunk_lines)
    chunks = [lines.next_chunk(NOW), lines.next_chunk(NOW)]
    entries = [entry for chunk in chunks for entry in chunk.entries()]
    assert [int(entry.split()[-1]) for entry in entries] == list(range(2 * chunk_lines))
    assert entries[-1].split()[-3:-1] == [b"llama-0", b"2"]
    stamps = [entry.partition(b" ")[0] for entry in entries]
    assert stamps == sorted(set(stamps))
    assert normalize_stamp(stamps[-1]) == stamps[-1] and stamp_to_ns(stamps[0]) == NOW
    assert (chunks[0].oldest, chunks[0].newest) == (stamps[0], stamps[chunk_lines - 1])
    assert lines.count == 2 * chunk_lines == sum(chunk.count for chunk in chunks)


def test_a_number_of_lines_that_has_other_digits() -> None:
    with pytest.raises(ValueError):
        NumberedLines("llama-0", 0, 50)


@given(st.lists(st.sampled_from(range(20)), max_size=40))
def test_lines_that_are_lost_doubled_or_out_of_order_are_counted(order: list[int]) -> None:
    texts = texts_of(NumberedLines("llama-0", 0, 10), 2)
    check = LineCheck()
    check.add(texts[number] for number in order)
    firsts = list(dict.fromkeys(order))
    late = sum(number < max(firsts[:at]) for at, number in enumerate(firsts) if at)
    assert check.compare({("llama-0", 0): 20}) == LineCounts(
        written=20,
        received=len(order),
        lost=20 - len(firsts),
        doubled=len(order) - len(firsts),
        out_of_order=late,
    )


def test_instances_are_counted_apart() -> None:
    first, second = NumberedLines("llama-0", 0, 10), NumberedLines("llama-0", 1, 10)
    ones, twos = texts_of(first, 1), texts_of(second, 1)
    check = LineCheck()
    check.add([text for pair in zip(ones, twos, strict=True) for text in pair])
    check.add([b"llama-0 restarted, exit 137"])
    assert check.compare({first.key: 10, second.key: 10}).is_exact
    assert check.other == [b"llama-0 restarted, exit 137"]
    assert not check.compare({first.key: 10}).is_exact
    assert check.compare({first.key: 10, second.key: 10, ("llama-1", 0): 5}).lost == 5
