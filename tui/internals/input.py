"""Parses terminal input into keys, pastes and mouse events, however it is split into packets.

A paste reaches the app as one text, whatever it contains, even from a terminal without bracketed
paste. Unknown escape sequences produce no keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache
from time import monotonic

from textual import events
from textual.message import Message

from tui.internals.sequences import ESC, find_sequence_end, sequence_timeout
from tui.internals.textual_private import XTermParser

PASTE_START, PASTE_END = "\x1b[200~", "\x1b[201~"
"""The terminal sends pasted text between them."""

BURST_CHARS = 64
"""A read of more characters than this, all of them text, is a paste: it is more than anyone types
ahead."""

MAX_REPEATED_KEYS = 4
"""Maximum number of different characters in a read of held keys: over a stalled connection,
hundreds of key repeats arrive at once."""

BURST_END_SECONDS = 0.15
"""Seconds without input that end an unbracketed paste."""

PASTE_STALL_SECONDS = 1.0
"""Seconds without input after which the received part of a paste is passed on, and an exit key
(`_EXIT_KEYS`) ends the paste too: PASTE_END may never arrive."""

MAX_PASTE_CHARS = 4_000_000
"""Maximum number of characters of a paste; no field accepts as many, and the field reports it."""

_PLAIN_TEXT = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")
"""Text, including tabs and line breaks."""

_EXIT_KEYS = re.compile(r"[\x03\x11\x1b\x1c]|\x1b\[(?:27|(?:99|113|92);5)u")
"""ctrl+c, ctrl+q, esc and ctrl+backslash, as all terminals send them and in kitty's protocol."""

_MOUSE_REPORT = re.compile(r"\x1b\[<\d+;-?\d+;-?\d+[mM]")

_NUMBERED_KEY = re.compile(r"\x1b\[(\d+)[;:\d]*~")
MAX_NUMBERED_KEY = 34
"""Number of the last function key that terminals send in this form (F20)."""

_MessageGenerator = Generator[Message, None, str]
"""Yields the messages for the beginning of a text; returns the rest of it."""


@lru_cache(maxsize=512)
def _is_known_sequence(sequence: str) -> bool:
    """Whether Textual has an event for a whole escape sequence. For an unknown one it produces the
    keys of its characters after a delay: `9` for a key that sends `ESC [ 99 ~`."""
    if sequence[1] in "]P_":
        return False  # a response that was not requested
    if (key := _NUMBERED_KEY.fullmatch(sequence)) and int(key[1][:3]) > MAX_NUMBERED_KEY:
        return False  # Textual reads the number as a character code
    return any(True for _event in XTermParser().feed(sequence))


def _is_unmarked_paste(data: str) -> bool:
    return (
        len(data) > BURST_CHARS
        and not _is_key_repeat(data)
        and _PLAIN_TEXT.fullmatch(data) is not None
    )


def _is_key_repeat(data: str) -> bool:
    """Whether all of it comes from a few held keys."""
    return len(set(data)) <= MAX_REPEATED_KEYS and not ("\r" in data or "\n" in data)


def _partial_end_length(text: str) -> int:
    """Number of characters at the end of `text` that may be the beginning of PASTE_END."""
    return next((n for n in range(len(PASTE_END) - 1, 0, -1) if text.endswith(PASTE_END[:n])), 0)


class InputParser(XTermParser):
    """Textual reads sequences that are unknown, or incomplete after a tenth of a second, as keys,
    and parses sequences in pasted text too. This class passes it only whole, known sequences and
    characters."""

    def __init__(self, debug: bool = False, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(debug)
        self._clock = clock
        self._last_input_at = 0.0
        """Time of the last input."""
        self._partial_sequence = ""
        """The beginning of an incomplete escape sequence."""
        self._burst_parts: list[str] | None = None
        """Received parts of an unbracketed paste; None outside of one."""
        self._paste_parts: list[str] | None = None
        """Received parts of a bracketed paste that were not passed on; None outside of one."""
        self._paste_partly_emitted = False
        """Whether the beginning of that paste was passed on."""
        self._paste_tail = ""
        """The end of its last input, which may be the beginning of PASTE_END."""

    def feed(self, data: str) -> Iterable[Message]:
        if not data:
            yield from self.flush()
        else:
            yield from self.tick()
        quiet = self._clock() - self._last_input_at
        self._last_input_at = self._clock()
        if (
            self._paste_parts is not None
            and quiet > PASTE_STALL_SECONDS
            and _EXIT_KEYS.fullmatch(data)
        ):
            yield from self._end_paste()
        if (
            self._burst_parts is None
            and self._paste_parts is None
            and not self._partial_sequence
            and _is_unmarked_paste(data)
        ):
            self._burst_parts = []
        while data:
            if self._paste_parts is not None:
                data = yield from self._parse_paste(self._paste_parts, data)
            elif self._burst_parts is not None:
                data = yield from self._parse_burst(self._burst_parts, data)
            else:
                data = yield from self._parse_keys(data)

    def seconds_until_tick(self) -> float | None:
        """Seconds until `tick` must be called if no input arrives before; None for never."""
        wait = None
        if self._partial_sequence:
            wait = sequence_timeout(self._partial_sequence)
        elif self._burst_parts is not None:
            wait = BURST_END_SECONDS
        elif self._paste_parts:  # a part of it was not passed on
            wait = PASTE_STALL_SECONDS
        return None if wait is None else max(0.0, self._last_input_at + wait - self._clock())

    def tick(self) -> Iterable[Message]:
        """The messages that are due because no more input has arrived for a while."""
        if self.seconds_until_tick() == 0:
            if self._paste_parts is not None:
                yield events.Paste(self._pop_paste(self._paste_parts))
                self._paste_partly_emitted = True
            else:
                yield from self.flush()

    def flush(self) -> Iterable[Message]:
        """The messages for the remaining input, since no more follows."""
        if self._partial_sequence:
            sequence, self._partial_sequence = self._partial_sequence, ""
            if len(sequence) <= 2:
                yield events.Key("escape", ESC)
                for character in sequence[1:]:
                    yield from super().feed(character)
        yield from self._end_burst()
        yield from self._end_paste()

    # -- keys -------------------------------------------------------------------------------------

    def _parse_keys(self, data: str) -> _MessageGenerator:
        text, self._partial_sequence = self._partial_sequence + data, ""
        at = 0
        while at < len(text):
            if text[at] != ESC:
                until = text.find(ESC, at)
                end = until if until >= 0 else len(text)
                yield from super().feed(text[at:end])
            elif (end := find_sequence_end(text, at)) < 0:
                self._partial_sequence = text[at:]
                return ""
            elif (sequence := text[at:end]) == PASTE_START:
                self._paste_parts, self._paste_partly_emitted = [], False
                return text[end:]
            elif sequence == ESC:
                yield events.Key("escape", ESC)
            elif _MOUSE_REPORT.fullmatch(sequence) or _is_known_sequence(sequence):
                yield from super().feed(sequence)
            at = end
        return ""

    # -- unbracketed pastes ------------------------------------------------------------------------

    def _parse_burst(self, burst: list[str], data: str) -> _MessageGenerator:
        """Input other than text ends it if it arrives like keys, a few characters at once."""
        plain = _PLAIN_TEXT.match(data)
        end = len(data) if len(data) > BURST_CHARS else plain.end() if plain else 0
        if sum(map(len, burst)) < MAX_PASTE_CHARS:
            burst.append(data[:end])
        if end < len(data):
            yield from self._end_burst()
        return data[end:]

    def _end_burst(self) -> Iterable[Message]:
        if self._burst_parts is not None:
            text, self._burst_parts = "".join(self._burst_parts), None
            yield events.Paste(text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))

    # -- bracketed pastes --------------------------------------------------------------------------

    def _parse_paste(self, pasted: list[str], data: str) -> _MessageGenerator:
        text = self._paste_tail + data
        at = text.find(PASTE_END)
        end = at if at >= 0 else len(text) - _partial_end_length(text)
        if end and sum(map(len, pasted)) < MAX_PASTE_CHARS:
            pasted.append(text[:end])
        self._paste_tail = "" if at >= 0 else text[end:]
        if at < 0:
            return ""
        yield from self._end_paste()
        return text[at + len(PASTE_END) :]

    def _end_paste(self) -> Iterable[Message]:
        if self._paste_parts is not None:
            self._paste_parts.append(self._paste_tail)
            self._paste_tail = ""
            text = self._pop_paste(self._paste_parts)
            self._paste_parts = None
            if text or not self._paste_partly_emitted:
                yield events.Paste(text)

    @staticmethod
    def _pop_paste(pasted: list[str]) -> str:
        text = "".join(pasted).replace("\0", "")
        pasted.clear()
        return text
