from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.logs.line_splitter import MAX_LINE_BYTES, LineSplitter, StampParser
from servedeck.logs.lines import normalize_stamp


def split(data: bytes, size: int, **options: int) -> list[bytes]:
    splitter = LineSplitter(**options)
    lines: list[bytes] = []
    for at in range(0, len(data), size):
        lines += splitter.feed(data[at : at + size])
    rest = splitter.finish()
    return [*lines, rest] if rest else lines


@given(st.binary(max_size=200), st.integers(min_value=1, max_value=50))
def test_lines_are_the_same_however_they_arrive(data: bytes, size: int) -> None:
    lines = data.split(b"\n")
    assert split(data, size) == (lines if lines[-1] else lines[:-1])


def test_lines_are_split_at_every_byte() -> None:
    data = b"one\n\ntwo \xe2\x82\xac\nlast"
    for at in range(len(data) + 1):
        splitter = LineSplitter()
        lines = splitter.feed(data[:at]) + splitter.feed(data[at:])
        assert [*lines, splitter.finish()] == data.split(b"\n")


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_what_is_beyond_the_limit_is_counted(size: int) -> None:
    data = b"short\n" + b"x" * 1234 + b"\nnext\n" + b"y" * 1000 + b"\n" + b"z" * 1001
    cut = " … [{} more bytes]"
    assert split(data, size, max_line_bytes=1000) == [
        b"short",
        b"x" * 1000 + cut.format(234).encode(),
        b"next",
        b"y" * 1000,
        b"z" * 1000 + cut.format(1).encode(),
    ]


def test_a_long_line_is_kept_whole() -> None:
    line = b"x" * (MAX_LINE_BYTES - 1)
    assert split(b"a\n" + line + b"\nb", 32 << 10) == [b"a", line, b"b"]


STAMP = b"2026-11-29T01:02:03.123456789Z"


@given(st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\n", b""))))
def test_times_and_texts_are_separated(texts: list[bytes]) -> None:
    lines = [STAMP + b" " + text for text in texts]
    parsed = StampParser().parse(lines)
    assert (parsed.raw, parsed.stamps, parsed.texts) == (lines, [STAMP] * len(texts), texts)
    assert parsed.unstamped == ()


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60).map(lambda text: text.replace(b"\n", b"")),
            st.sampled_from(
                [
                    STAMP,
                    STAMP + b" ",
                    STAMP + b" x",
                    STAMP[:-1] + b"+09:00 east",
                    STAMP[:-1] + b"-03:30 west",
                    b"2026-11-29T01:02:03Z short",
                    b"2026-99-29T01:02:03.123456789+09:00 no date",
                    b"2026-99-99T01:02:03.123456789Z no date either",
                    b"2026-W01-1T01:02:03.123456789Z a week",
                    b"2026-11-29T01:02:03.12345678xZ no digits",
                    b"2026-11-29T01:02:03.123456789Zx no zone",
                    b"unable to retrieve container logs for containerd://0123",
                ]
            ),
        ),
        max_size=8,
    )
)
def test_lines_of_any_form_are_read_as_each_alone(lines: list[bytes]) -> None:
    last = b""
    stamps: list[bytes] = []
    texts: list[bytes] = []
    unstamped: list[int] = []
    for at, line in enumerate(lines):
        word, space, rest = line.partition(b" ")
        stamp = normalize_stamp(word) if space else None
        if stamp is None:
            unstamped.append(at)
        last = stamp or last
        stamps.append(last)
        texts.append(line if stamp is None else rest)
    parsed = StampParser().parse(lines)
    assert (parsed.stamps, parsed.texts, list(parsed.unstamped)) == (stamps, texts, unstamped)


def test_times_of_another_zone_become_utc() -> None:
    parsed = StampParser().parse([b"2026-11-29T01:02:03.123456789+09:00 x"])
    assert parsed.stamps == [b"2026-11-28T16:02:03.123456789Z"]
    assert parsed.texts == [b"x"]


def test_lines_without_a_time_get_that_of_the_line_before() -> None:
    parser = StampParser()
    first = parser.parse([b"no time", STAMP + b" x", b"still none"])
    assert first.stamps == [b"", STAMP, STAMP]
    assert first.unstamped == (0, 2)
    assert parser.parse([b"nor here"]).stamps == [STAMP]
    rest = first.since(1)
    assert (rest.texts, rest.unstamped) == ([b"x", b"still none"], (1,))
    assert first.without_unstamped().texts == [b"x"]
