from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from servedeck.serving.text import cell_width, may_need_sanitizing, one_line, sanitize, truncate

SAFE_TEXTS = {
    "plain": "plain",
    "[red]markup[/foo] stays": "[red]markup[/foo] stays",
    "한국어 モデル модель": "한국어 モデル модель",
    "rocket 🚀": "rocket 🚀",
    "e\u0301": "e\u0301",
    "two\nlines": "two\nlines",
    "a\tb": "a    b",
    "10%\r20%": "10% 20%",
    "end\r\nnext\r": "end\nnext",
    "a\xa0b\u3000c": "a b c",
    "a\u2028b": "a\nb",
}
STRIPPED_TEXTS = {
    "color": "a\x1b[31mb\x1b[0m",
    "color with colons": "a\x1b[38:2:1:2:3mb",
    "8-bit CSI": "a\x9b2Jb",
    "clipboard": "a\x1b]52;c;aGk=\x07b",
    "clipboard, other end": "a\x1b]52;c;aGk=\x1b\\b",
    "8-bit OSC": "a\x9d0;title\x9cb",
    "device control": "a\x1bP1$q\x1b\\b",
    "application command": "a\x1b_x\x1b\\b",
    "reset": "a\x1bcb",
    "charset": "a\x1b(0b",
    "bell, backspace, delete": "a\x07\x08\x7fb",
    "right to left": "a\u202eb\u2066\u2069\u200f",
    "zero width": "a\u200b\u200c\u200d\ufeff\u2060b",
    "soft hyphen": "a\xadb",
    "lone surrogate": "a\ud83db",
    "variation selector": "a\ufe0fb",
    "tag characters": "a\U000e0041\U000e007fb",
    "Hangul filler": "a\u3164b",
    "skin tone": "a\U0001f3fdb",
    "escape at the end": "ab\x1b",
}


@pytest.mark.parametrize("text", SAFE_TEXTS)
def test_readable_text_stays_readable(text: str) -> None:
    assert sanitize(text) == SAFE_TEXTS[text]


@pytest.mark.parametrize("name", STRIPPED_TEXTS)
def test_terminal_control_sequences_are_dropped(name: str) -> None:
    assert sanitize(STRIPPED_TEXTS[name]) == "ab"


def test_a_control_string_without_an_end_hides_nothing_after_it() -> None:
    assert sanitize("\x1b]0;title and the error") == "0;title and the error"
    assert sanitize("\x1b]0;title\nerror") == "0;title\nerror"


def test_stacked_combining_marks_are_removed() -> None:
    assert len(sanitize("a" + "\u0301" * 500 + "b")) < 10


def test_the_marks_of_each_script_are_limited() -> None:
    marks = [
        char
        for char in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(char) in ("Mn", "Me") and sanitize(char) == char
    ]
    assert set("\u0301\u05b0\u064b\u0951\u0e31\u20dd\u302a\U0001d167") <= set(marks)
    for mark in marks:
        assert sanitize(f"a{mark * 1000}b") == f"a{mark * 3}b", f"{ord(mark):x}"
    mixed = "".join(marks[:40])
    assert sanitize(f"―{mixed}―{mixed}") == f"―{mixed[:3]}―{mixed[:3]}"


@pytest.mark.parametrize(
    "text",
    [
        "เกิดข้อผิดพลาดที่นี่ น้ำ ก็",
        "بِسْمِ اللَّهِ مُحَمَّدٌ",
        "בְּרֵאשִׁ֖ית",
        "अनुरोध संसाधित करते समय त्रुटि ड़्क्षि",
        "요청을 처리하는 중 ㄱㄴㄷ\u1112\u1161\u11ab",
        "Tiếng Việt e\u0302\u0301 が",
        "━━━━━━━━╸ 100% █████▏ ⠋⠙⠹⠸ →→→→ ……… ・・・・ 「『【〔",
        "🚀🔥✨🎉 ⚠⚠⚠⚠ ‰‰‰‰ ¡¡¡¡",
    ],
)
def test_text_of_any_language_stays(text: str) -> None:
    assert sanitize(text) == text


def test_emoji_lose_only_what_has_no_certain_width() -> None:
    assert sanitize("👨\u200d👩\u200d👧 ❤\ufe0f 👍🏽") == "👨👩👧 ❤ 👍"


@given(st.text(alphabet=st.characters()) | st.text("\x1b\x9b\x9d[]PX^_;\x07\\0m\nab"))
def test_sanitized_text_is_harmless_whatever_came_in(text: str) -> None:
    clean = sanitize(text)
    for char in clean:
        assert char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    assert sanitize(clean) == clean
    clean.encode()


@pytest.mark.parametrize("text", ["\x1b", "\x1b]", "\x9d", "\x1b[", "\x1b[1;", "\r", "a\u0301"])
def test_long_hostile_text_takes_linear_time(text: str) -> None:
    # A quadratic scan takes hours, and pytest-timeout would abort it.
    sanitize(text * 500_000)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_clean_json_is_what_sanitize_leaves_alone(text: str) -> None:
    for ascii_only in (True, False):
        raw = json.dumps({"name": text}, ensure_ascii=ascii_only).encode()
        if not may_need_sanitizing(raw):
            assert sanitize(text) == text


def test_ordinary_json_needs_no_sanitizing() -> None:
    raw = rb'{"f:k8s":{"k:{\"type\":\"Ready\"}":{}},"message":"two\nlines","path":"C:\\dir"}'
    assert not may_need_sanitizing(raw)
    for odd in (rb'"\u001b"', rb'"\t"', rb'"\r"', rb'"\b"', rb'"\f"', b'"\x7f"', '"é"'.encode()):
        assert may_need_sanitizing(odd)


def test_one_line_joins_lines_and_blanks() -> None:
    assert one_line("  a \n\n b\t c ") == "a b c"


@pytest.mark.parametrize(
    ("text", "width", "clipped"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("abcd", 1, "…"),
        ("abcd", 0, ""),
        ("abcd", -1, ""),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
    ],
)
def test_truncate_counts_cells(text: str, width: int, clipped: str) -> None:
    assert truncate(text, width) == clipped


@given(st.text(alphabet="aé日本🚀…e\u0301ㅎ", max_size=30), st.integers(0, 20))
def test_truncated_text_fits_by_the_screens_own_measure(text: str, width: int) -> None:
    assert cell_width(text) == cell_len(text)
    assert cell_len(truncate(text, width)) <= width
