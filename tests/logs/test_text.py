"""The visible text of log lines."""

from __future__ import annotations

from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.logs.ansi import COLORS, styled_text
from servedeck.logs.text import plain_block, plain_text

# Bytes of which lines with escapes, controls and broken UTF-8 are likely to consist.
_PARTS = st.sampled_from(
    [
        b"\x1b[1;36m", b"\x1b[0m", b"\x1b[", b"\x1b", b"\x1b]0;title\x07", b"\x1b]8;;", b"\x9b31m",
        b"\xc2\x9b31m", b"\r", b"\r\n"[:1], b"\t", b"\x00", b"\x07", b"\x7f", b" ", b"[31m", b"m",
        b"INFO", b"100%", b"e\xcc\x81\xcc\x81", b"\xcc\x81", "\u202e".encode(), "\u200b".encode(),
        "\u2028".encode(), "█".encode(), "한".encode(), b"\xff", b"\xe2\x82", b"\xc3",
        b"\x1b[38;5;", b"\x1b[38;2;200;0;0m", b"\x1b[K", b"\x1b\\", b"\xf0\x9f\x8f\xbb", b"\\",
        b"]",
    ]
)  # fmt: skip
_LINES = st.one_of(
    st.lists(_PARTS, max_size=12).map(b"".join),
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")),
)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"", ""),
        (b"\x1b[1;36m(APIServer pid=1)\x1b[0;0m INFO", "(APIServer pid=1) INFO"),
        (b"\x1b]0;title\x07text", "text"),
        (b"a\tb", "a    b"),
        (b"ends with CR\r", "ends with CR"),
        (b"two\r\r", "two"),
        (b"kept blanks  \r", "kept blanks  "),
        (b"\r  0%|   | 0/4\r 50%|##  | 2/4\r100%|####| 4/4", "100%|####| 4/4"),
        (b"\r100%|####| 4/4\r          \r", "100%|####| 4/4"),
        (b"(Worker_TP0 pid=7) \rLoading:   0%\rLoading: 100%\x1b[K", "Loading: 100%"),
        (b" \r \r", ""),
        (b"NUL\x00 and DEL\x7f", "NUL and DEL"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("C1 \u0090 bidi \u202e zero\u200bwidth".encode(), "C1  bidi  zerowidth"),
        ("한국어 █".encode(), "한국어 █"),
        ("line\u2028separator".encode(), "line separator"),
        (b"bell\x07", "bell"),
    ],
)
def test_visible_text(raw: bytes, text: str) -> None:
    assert plain_text(raw) == text


@given(st.lists(_LINES, min_size=1, max_size=8))
def test_a_block_is_its_lines(lines: list[bytes]) -> None:
    assert plain_block(b"\n".join(lines)).split("\n") == [plain_text(line) for line in lines]


@given(_LINES)
def test_nothing_controls_a_terminal(raw: bytes) -> None:
    text = plain_text(raw)
    # Characters of private use are kept: fonts of terminals draw them.
    assert all(char.isprintable() or category(char) == "Co" for char in text)


@given(_LINES)
def test_styles_are_of_the_visible_text(raw: bytes) -> None:
    pieces = styled_text(raw)
    assert "".join([text for text, _ in pieces]) == plain_text(raw)
    assert all(text for text, _ in pieces)
    known = {"", "bold", *COLORS, *[f"bold {color}" for color in COLORS]}
    assert {style for _, style in pieces} <= known


def test_a_huge_binary_line_keeps_its_ascii() -> None:
    raw = bytes(range(256)) * 4096 + b"marker"
    text = plain_text(raw.replace(b"\r", b"").replace(b"\n", b""))
    assert text.isprintable()
    assert text.endswith("marker")


@pytest.mark.parametrize(
    "piece",
    [
        b"\x1b]title",
        b"\x1b\x1b[0m",
        b"\x1b[31ma\x1b[0m",
        "\x1bé".encode(),
        b"\x1b[2Kx",
        b"\xff\x1b[Kx",
        b"a\rb",
    ],
)
@pytest.mark.parametrize("size", [90_000, 1 << 21])
def test_a_huge_line_of_escapes_is_the_same_in_a_block(piece: bytes, size: int) -> None:
    raw = piece * (size // len(piece)) + b"text\tmarker"
    text = plain_text(raw)
    assert text.isprintable()
    assert text.endswith("marker")
    assert plain_block(b"before\n" + raw + b"\nafter") == f"before\n{text}\nafter"
    assert "".join(text for text, _ in styled_text(raw)) == text


@pytest.mark.parametrize(
    ("raw", "pieces"),
    [
        (b"", ()),
        (b"plain", (("plain", ""),)),
        (b"\x1b[31mred\x1b[0m plain", (("red", "red"), (" plain", ""))),
        (b"\x1b[1;36m(EngineCore)\x1b[0;0m x", (("(EngineCore)", "bold cyan"), (" x", ""))),
        (b"\x1b[1mbold\x1b[22m not", (("bold", "bold"), (" not", ""))),
        (b"\x1b[91mbright\x1b[39m no", (("bright", "red"), (" no", ""))),
        (b"\x1b[38;5;208morange", (("orange", "yellow"),)),
        (b"\x1b[38;5;196mred\x1b[38;5;21mblue", (("red", "red"), ("blue", "blue"))),
        (b"\x1b[38;5;250mgray", (("gray", "white"),)),
        (b"\x1b[38;2;120;0;0mdark red", (("dark red", "red"),)),
        (b"\x1b[38:2::0:255:0mgreen", (("green", "green"),)),
        (b"\x1b[48;5;31mbackground", (("background", ""),)),
        (b"\x1b[48;2;1;31;32mbackground", (("background", ""),)),
        (b"\x1b[4;31;7mred", (("red", "red"),)),
        (b"\x1b[33m10%\r20%", (("20%", "yellow"),)),
        (b"\x1b[32mI\x1b[0m\x1b[K done", (("I", "green"), (" done", ""))),
        (b"\x1b[2;3Hmoved", (("moved", ""),)),
        (b"\x1b[38mnothing \x1b[38;7mnothing", (("nothing nothing", ""),)),
    ],
)  # fmt: skip
def test_styles(raw: bytes, pieces: tuple[tuple[str, str], ...]) -> None:
    assert styled_text(raw) == pieces
