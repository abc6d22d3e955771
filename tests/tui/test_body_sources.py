"""The lines that a body is shown as."""

from __future__ import annotations

import pytest

from servedeck.async_queue.body_text import BodyBytes, read_body_text
from servedeck.async_queue.queue_api import Side
from tui.task_view import body_sources
from tui.task_view.body_sources import BodyView, body_source

LAST = "Only the first 3 lines are shown."


@pytest.fixture(autouse=True)
def few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_sources, "MAX_LINES", 3)


def shown(body: bytes, view: BodyView) -> list[str]:
    text = read_body_text(BodyBytes(body, len(body)), Side.REQUEST)
    source = body_source(text, view, ())
    return [source.text(index) for index in source.shown()]


def test_a_text_with_more_lines_than_are_shown_says_so() -> None:
    assert shown(b"a\nb\nc", BodyView.RAW) == ["a", "b", "c"]
    assert shown(b"a\nb\nc\n", BodyView.RAW) == ["a", "b", "c", LAST]
    assert shown(b"\n" * 5000, BodyView.RAW) == ["", "", "", LAST]


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b'{"prompt": "a"}', ["prompt", "  a"]),
        (b'{"prompt": "a\\nb"}', ["prompt", "  a", "  b"]),
        (b'{"prompt": "a\\nb\\nc\\nd"}', ["prompt", "  a", "  b", LAST]),
        (b'{"prompt": ["a", "b", "c"]}', ["prompt", "  a", "", LAST]),
        (b'{"prompt": "a", "seed": 1}', ["seed 1", "", "prompt", LAST]),
    ],
)
def test_so_does_a_conversation(body: bytes, lines: list[str]) -> None:
    assert shown(body, BodyView.CHAT) == lines
