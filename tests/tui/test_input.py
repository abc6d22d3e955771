from __future__ import annotations

import os
import sys
from time import monotonic

import pytest
from textual import events
from textual.message import Message

from tests.tui.terminal import PtyTerminal
from tui.internals.driver import TerminalDriver
from tui.internals.input import MAX_PASTE_CHARS, PASTE_END, PASTE_START, InputParser

HOSTILE = "one\r\ntwo\x1bnq\x1b[31mred\x1b]0;title\x07\x1b[20\x1b[A 모델 " + "x" * 5000 + "\x1bq"


def parse_in_chunks(data: str, size: int) -> list[str]:
    """The keys and pastes of `data` that comes in pieces of `size`."""
    parser = InputParser()
    found = []
    for at in range(0, len(data), size):
        for event in parser.feed(data[at : at + size]):
            assert isinstance(event, (events.Key, events.Paste)), event
            found.append(event.key if isinstance(event, events.Key) else f"paste {event.text}")
    return found


@pytest.mark.parametrize("size", [1, 2, 5, 7, 4096, 100_000])
def test_what_is_pasted_is_one_text_and_presses_no_key(size: int) -> None:
    data = (
        f"a\x1b[A{PASTE_START}{HOSTILE}{PASTE_END}b"
        f"{PASTE_START}{PASTE_END}{PASTE_START}c\0d{PASTE_END}\x1b[Be"
    )
    assert parse_in_chunks(data, size) == [
        *("a", "up", f"paste {HOSTILE}", "b", "paste ", "paste cd", "down", "e"),
    ]


def test_a_paste_of_a_megabyte_is_read_at_once() -> None:
    assert parse_in_chunks(f"{PASTE_START}{'llama ' * 170_000}{PASTE_END}", 4096) == [
        "paste " + "llama " * 170_000
    ]


def test_an_escape_key_is_not_held_back() -> None:
    parser = InputParser()
    assert list(parser.feed("\x1b")) == []
    assert [event.key for event in parser.feed("\x1b[A") if isinstance(event, events.Key)] == [
        "escape",
        "up",
    ]


def test_the_app_takes_what_is_pasted_for_text() -> None:
    code = "from tests.tui import terminal_app; terminal_app.main('fleet')"
    terminal = PtyTerminal([sys.executable, "-c", code], (100, 30))
    try:
        terminal.wait(lambda: "servings" in terminal.text, "the list")
        terminal.press("/")
        terminal.wait(lambda: "enter apply" in terminal.text, "the filter")
        terminal.press(f"{PASTE_START}lla\0ma\r\x1b[31m \x1b]0;t\x07 -\x1b\x11\x1bqwen{PASTE_END}")
        terminal.wait(lambda: "/ llama -wen" in terminal.text, "what was pasted")
    finally:
        terminal.close()


def test_a_paste_that_a_line_cuts_within_a_character_stays_one() -> None:
    reads = [bytes([byte]) for byte in f"{PASTE_START}é모b{PASTE_END}".encode()]
    reader, writer = os.pipe()
    wake, waker = os.pipe()
    found: list[Message] = []

    class Cut(TerminalDriver):
        def __init__(self) -> None:
            self._debug, self.fileno = False, reader

        def _read_chunk(self) -> bytes | None:
            if len(reads) == 1:
                os.close(waker)
            return reads.pop(0) if reads else None

        def process_message(self, message: Message) -> None:
            found.append(message)

    os.write(writer, b"x")  # there is always something to read
    driver = Cut()
    before = monotonic()
    driver._read_input(wake)
    assert before <= driver.last_input_at <= monotonic()
    for descriptor in (reader, writer, wake):
        os.close(descriptor)
    assert [one.text for one in found if isinstance(one, events.Paste)] == ["é모b"]
    assert len(found) == 1


class TimedParser:
    """A parser, the reads that come to it, and the time between them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.parser = InputParser(clock=lambda: self.now)

    def read(self, data: str, after: float = 0.0) -> list[str]:
        self.now += after
        found = [*(self.parser.feed(data) if data else ()), *self.parser.tick()]
        return [
            one.key if isinstance(one, events.Key) else f"paste {one.text}"
            for one in found
            if isinstance(one, (events.Key, events.Paste))
        ]

    def wait(self) -> list[str]:
        self.now += 0.2
        return [f"paste {event.text}" for event in self.parser.tick()]  # type: ignore[attr-defined]


def test_what_is_pasted_without_marks_is_one_text_up_to_a_pause() -> None:
    reads = TimedParser()
    text = "q1\r\n" * 1000
    assert reads.read(text) == []
    assert reads.read(text, 0.01) == []
    assert reads.read("qq\r", 0.01) == []
    assert reads.wait() == ["paste " + "q1\n" * 2000 + "qq\n"]
    assert reads.wait() == []
    assert reads.read("q") == ["q"]


def test_a_key_after_a_paste_without_marks_is_a_key() -> None:
    reads = TimedParser()
    assert reads.read("abcde" * 40) == []
    assert reads.read("q", 1.0) == ["paste " + "abcde" * 40, "q"]


def test_keys_typed_ahead_stay_keys() -> None:
    reads = TimedParser()
    typed = "/llama\r" + "j" * 30
    assert len(reads.read(typed)) == len(typed)
    assert reads.wait() == []


@pytest.mark.parametrize("key", ["d", "7", "/", "Z", " ", "="])
def test_escape_and_the_key_after_it_in_one_packet_are_two_keys(key: str) -> None:
    reads = TimedParser()
    pressed = [*reads.read(f"\x1b{key}"), *reads.read("")]
    assert pressed == ["escape", *TimedParser().read(key)]


def test_a_key_that_is_held_down_stays_a_key() -> None:
    reads = TimedParser()
    assert reads.read("j" * 400 + "k" * 20 + "?") == [*"j" * 400, *"k" * 20, "question_mark"]
    assert reads.wait() == []


def test_a_paste_without_marks_takes_bounded_memory() -> None:
    reads = TimedParser()
    for _ in range(3000):
        assert reads.read("abcdefgh" * 512) == []
    (pasted,) = reads.wait()
    assert len(pasted) <= MAX_PASTE_CHARS + 5000


@pytest.mark.parametrize(
    "sequence",
    ["\x1b[99~", "\x1b[?99z", "\x1b[1;2;3;4z", "\x1b]11;rgb:1e1e/1e1e/1e1e\x07", "\x1bP1+r\x1b\\"],
)
def test_an_unknown_escape_sequence_presses_no_key(sequence: str) -> None:
    reads = TimedParser()
    assert reads.read(f"a{sequence}b") == ["a", "b"]
    assert reads.read("\x1b[A\x1b[15~\x1b[1;5C") == ["up", "f5", "ctrl+right"]


CUT_SEQUENCES = [
    ("\x1b[1;5C", ["ctrl+right"]),
    ("\x1b[A", ["up"]),
    ("\x1b[[A", ["f1"]),
    ("\x1b[7$", ["shift+home"]),
    ("\x1b[99~", []),
    ("\x1b[<35;10;6Z", []),
    ("\x1b]11;rgb:1e1e/1e1e/1e1e\x07", []),
    ("\x1bP1$r0m\x1b\\", []),
    ("\x1b[?62;4c", []),
    ("\x1b[8;24;80t", []),
    ("\x1b[5n", []),
    ("\x1bOA", ["up"]),
    (f"{PASTE_START}20~a{PASTE_END}", ["paste 20~a"]),
]


@pytest.mark.parametrize(("sequence", "pressed"), CUT_SEQUENCES)
@pytest.mark.parametrize("at", range(2, 6))
def test_a_sequence_that_a_slow_line_cuts_is_one(
    sequence: str, pressed: list[str], at: int
) -> None:
    reads = TimedParser()
    begun = reads.read("a" + sequence[:at])
    assert [*begun, *reads.read(sequence[at:] + "b", 0.4)] == ["a", *pressed, "b"]


def test_the_beginning_of_a_sequence_whose_rest_never_comes_is_nothing() -> None:
    reads = TimedParser()
    assert reads.read("\x1b[1;5") == []
    assert reads.read("q", 10.0) == ["q"]
    assert reads.read("\x1b[1;5\x03") == ["ctrl+c"]
    assert reads.read("\x1b[1;5") == []
    assert reads.read("\x1b[B", 0.01) == ["down"]


@pytest.mark.parametrize("key", ["[", "O", "]", "P"])
def test_escape_and_a_key_that_may_begin_a_sequence_are_two_keys_after_a_while(key: str) -> None:
    reads = TimedParser()
    assert reads.read(f"\x1b{key}") == []
    assert reads.parser.seconds_until_tick() == pytest.approx(0.5)
    assert reads.read("j", 0.6) == ["escape", *TimedParser().read(key), "j"]


@pytest.mark.parametrize(
    "behind", ["\x1b[B", f"{PASTE_START}x{PASTE_END}", "\x1b[<35;10;10M", "\x1b"]
)
def test_escape_and_a_key_are_two_keys_whatever_follows(behind: str) -> None:
    reads = TimedParser()
    assert reads.read(f"\x1bj{behind}")[:2] == ["escape", "j"]


def test_a_paste_whose_end_does_not_come_is_handed_on_and_lets_go() -> None:
    reads = TimedParser()
    assert reads.read(f"{PASTE_START}cdef") == []
    assert reads.read("", 0.5) == []
    assert reads.read("gh", 1.1) == ["paste cdef"]
    assert reads.read("\x03", 0.1) == [], "which may have been pasted"
    assert reads.read("\x03", 1.5) == ["paste gh\x03", "ctrl+c"]
    assert reads.read("q") == ["q"]


def test_a_stalled_paste_remains_one_paste() -> None:
    reads = TimedParser()
    assert reads.read(f"{PASTE_START}ab") == []
    assert reads.read("q\r", 2.0) == ["paste ab"]
    assert reads.read(f"z{PASTE_END}", 2.0) == ["paste q\r", "paste z"]
    assert reads.parser.seconds_until_tick() is None


def test_a_key_behind_a_paste_without_marks_ends_it() -> None:
    reads = TimedParser()
    assert reads.read("abcdefghi" * 8) == []
    assert reads.read("\x03", 0.05) == ["paste " + "abcdefghi" * 8, "ctrl+c"]
    assert reads.read("abcdefghi" * 8) == []
    assert reads.read("\x1b", 0.05) == ["paste " + "abcdefghi" * 8]
    assert reads.read("q", 0.3) == ["escape", "q"]
