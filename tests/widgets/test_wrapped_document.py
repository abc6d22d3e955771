"""Long texts wrapped to a width, and where their lines are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from servedeck.serving.text import sanitize
from widgets.document_view import JoinedDocument, LineList, Place
from widgets.styled_line import Span, line_width, plain_text
from widgets.wrapped_document import MARK_WIDTH, WrappedDocument, wrap_positions

TEXTS = st.text(st.sampled_from("ab  é안😀-\u0301"), max_size=60).map(sanitize)


class Source:
    """Lines in two styles; the second one is not shown."""

    hanging = 2

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def shown(self) -> list[int]:
        return [at for at in range(len(self.texts)) if at != 1]

    def text(self, index: int) -> str:
        return self.texts[index]

    def spans(self, index: int, text: str) -> list[tuple[int, str]]:
        return [(len(text) // 2, "strong"), (len(text), "")]

    def mark(self, index: int) -> Span:
        return ("+", "muted")


@given(TEXTS, st.integers(1, 30), st.integers(0, 4))
def test_lines_fit_and_nothing_but_a_blank_between_them_is_lost(text, width, hanging):
    positions = wrap_positions(text, width, min(hanging, width - 1))
    at = 0
    for number, (start, end) in enumerate(positions):
        assert text[at:start] in ("", " ")
        room = width if not number else width - min(hanging, width - 1)
        assert cell_len(text[start:end]) <= max(room, 2 if end - start == 1 else 0)
        assert end > start or len(positions) == 1
        at = end
    assert text[at:] in ("", " ")


@given(st.lists(TEXTS, max_size=6), st.integers(4, 40))
def test_each_line_is_found_again(texts, width):
    document = JoinedDocument(
        [
            LineList([[(("a", ""),), (("b", ""),)], [(("c", ""),)]]),
            WrappedDocument(Source(texts), width),
        ]
    )
    for index in range(len(document)):
        assert document.find(document.place(index)) == index
        assert line_width(document.line(index)) <= max(width, MARK_WIDTH + 2)


@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(4, 40), st.integers(4, 40))
def test_a_place_is_on_the_same_text_in_another_width(texts, width, other):
    first, second = (WrappedDocument(Source(texts), one) for one in (width, other))
    for index in range(len(first)):
        place = first.place(index)
        assert second.place(second.find(place)).item == place.item


def test_marks_styles_and_hanging_lines():
    document = WrappedDocument(Source(["aaaa bbbb cccc"]), 8)
    assert [document.line(index) for index in range(len(document))] == [
        (("+ ", "muted"), ("aaaa", "strong")),
        (("    ", ""), ("bb", "strong"), ("bb", "")),
        (("    ", ""), ("cccc", "")),
    ]


def test_what_is_hidden_is_found_where_it_begins():
    document = WrappedDocument(Source(["first", "hidden", "last"]), 40)
    assert document.find(Place(0, 1, 0)) == 0
    assert plain_text(document.line(document.find(Place(0, 9, 0)))) == "+ last"
    assert WrappedDocument(Source([]), 40).find(Place(0, 3, 0)) == 0
    assert LineList().find(Place(0, 3, 0)) == 0
