"""The values of a card beside their labels."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from widgets.card_lines import labeled_lines
from widgets.styled_line import Line, plain_text

LABEL_WIDTH = 6
BEFORE_VALUE = LABEL_WIDTH + 3
"""Cells beside the value: the indent, the label and the blank after it."""


def values(value: Line, room: int, max_lines: int) -> list[str]:
    """The value alone, as lines of at most `room` cells."""
    lines = labeled_lines("Reason", value, "key", LABEL_WIDTH, BEFORE_VALUE + room, max_lines)
    return [plain_text(one.line)[BEFORE_VALUE:] for one in lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("aaaa bbbb", ["aaaa bbbb"]),
        ("aaaa bbbb cccc dddd", ["aaaa bbbb", "cccc dddd"]),
        ("aaaa bbbb cccc dddd eeee", ["aaaa bbbb", "cccc dddd…"]),
        ("aaaa bbbb cccccccccc dddd", ["aaaa bbbb", "ccccccccc…"]),
        ("aaaa bbbb cc dd eeeeee", ["aaaa bbbb", "cc dd eee…"]),
        ("aaaa bbbb 日本語日本語", ["aaaa bbbb", "日本語日 …"]),
    ],
)
def test_a_value_that_is_cut_ends_in_an_ellipsis(text: str, expected: list[str]) -> None:
    room = 10
    lines = values(((text, ""),), room, len(expected))
    assert [line.rstrip() for line in lines] == expected
    assert all(cell_len(line) <= room for line in lines)


def test_a_value_whose_first_span_fills_the_line_ends_in_an_ellipsis_too() -> None:
    assert values((("aaaaa", ""), ("bbbbb", "muted")), 5, 1) == ["aaaa…"]
    assert values((("aaaaa", ""), ("b", "muted")), 6, 1) == ["aaaaab"]
