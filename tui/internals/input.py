"""What comes from the terminal, as keys, pastes and mouse events, however it is cut into packets.

What is pasted reaches the app as one text, whatever stands in it, also from a terminal that does
not mark it as pasted. Escape sequences that mean nothing here press no keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache
from time import monotonic

from textual import events
from textual._xterm_parser import XTermParser
from textual.message import Message

from tui.internals.sequences import ESC, end_of_sequence, patience

START, END = "\x1b[200~", "\x1b[201~"
"""Between them the terminal sends what was pasted."""

BURST = 64
"""Characters that come at once, without a key among them that is no text: more than anybody types
ahead, so they were pasted."""

HELD = 4
"""Different characters in what comes at once where keys are held down: over a line that stalls,
their repetitions come by the hundred."""

PAUSE = 0.15
"""Seconds without a character that end what was pasted without marks."""

STALLED = 1.0
"""Seconds without a character after which what has come of a paste is handed on, and a key that
ends things (`_LEAVES`) ends the paste too: its mark may never come."""

MOST = 4_000_000
"""Characters of a paste that are kept; no field takes as many, and the field says so."""

_PLAIN = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")
"""Text with its tabs and line breaks."""

_LEAVES = re.compile(r"[\x03\x11\x1b\x1c]|\x1b\[(?:27|(?:99|113|92);5)u")
"""ctrl+c, ctrl+q, esc and ctrl+backslash, as all terminals send them and in kitty's way."""

_MOUSE = re.compile(r"\x1b\[<\d+;-?\d+;-?\d+[mM]")

_NUMBERED = re.compile(r"\x1b\[(\d+)[;:\d]*~")
LAST_NUMBERED = 34
"""Number of the last function key that terminals have in this way (F20)."""

_Events = Generator[Message, None, str]
"""The events of the beginning of a text; returns the rest of it."""


@lru_cache(maxsize=512)
def _means(sequence: str) -> bool:
    """Whether Textual makes an event of a whole escape sequence. Of one that it does not know it
    makes the keys of its characters, a while later: `9` of a key that sends `ESC [ 99 ~`."""
    if sequence[1] in "]P_":
        return False  # an answer to what nobody here asked
    if (key := _NUMBERED.fullmatch(sequence)) and int(key[1][:3]) > LAST_NUMBERED:
        return False  # Textual takes the number for that of a character
    return any(True for _event in XTermParser().feed(sequence))


def _is_paste(data: str) -> bool:
    return len(data) > BURST and not _is_held(data) and _PLAIN.fullmatch(data) is not None


def _is_held(data: str) -> bool:
    """Whether a few keys make up all of it, which were held down."""
    return len(set(data)) <= HELD and not ("\r" in data or "\n" in data)


def _overlap(text: str) -> int:
    """How many characters at the end of `text` may be the beginning of END."""
    return next((n for n in range(len(END) - 1, 0, -1) if text.endswith(END[:n])), 0)


class InputParser(XTermParser):
    """Textual takes for keys what it does not know of a sequence, or what has not come of it within
    a tenth of a second, and looks for sequences in what is pasted too. Here it sees whole sequences
    that mean something, and characters."""

    def __init__(self, debug: bool = False, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(debug)
        self._clock = clock
        self._last = 0.0
        """When something came last."""
        self._sequence = ""
        """The beginning of an escape sequence."""
        self._burst: list[str] | None = None
        """What has come of a paste without marks; None outside of one."""
        self._pasted: list[str] | None = None
        """What has come of a paste with marks and was not handed on; None outside of one."""
        self._handed_on = False
        """Whether the beginning of that paste was."""
        self._tail = ""
        """The end of what came last of it, which may be the beginning of its mark."""

    def feed(self, data: str) -> Iterable[Message]:
        if not data:
            yield from self.flush()
        else:
            yield from self.tick()
        quiet = self._clock() - self._last
        self._last = self._clock()
        if self._pasted is not None and quiet > STALLED and _LEAVES.fullmatch(data):
            yield from self._end_paste()
        if self._burst is None and self._pasted is None and not self._sequence and _is_paste(data):
            self._burst = []
        while data:
            if self._pasted is not None:
                data = yield from self._in_paste(self._pasted, data)
            elif self._burst is not None:
                data = yield from self._in_burst(self._burst, data)
            else:
                data = yield from self._in_keys(data)

    def due(self) -> float | None:
        """Seconds until `tick` has something to do, should nothing come until then; None for
        never."""
        wait = None
        if self._sequence:
            wait = patience(self._sequence)
        elif self._burst is not None:
            wait = PAUSE
        elif self._pasted:  # and something of it was not handed on
            wait = STALLED
        return None if wait is None else max(0.0, self._last + wait - self._clock())

    def tick(self) -> Iterable[Message]:
        """What there is now, since nothing more has come for a while."""
        if self.due() == 0:
            if self._pasted is not None:
                yield events.Paste(self._take_paste(self._pasted))
                self._handed_on = True
            else:
                yield from self.flush()

    def flush(self) -> Iterable[Message]:
        """What there is now, since nothing more comes."""
        if self._sequence:
            sequence, self._sequence = self._sequence, ""
            if len(sequence) <= 2:
                yield events.Key("escape", ESC)
                for character in sequence[1:]:
                    yield from super().feed(character)
        yield from self._end_burst()
        yield from self._end_paste()

    # -- keys -------------------------------------------------------------------------------------

    def _in_keys(self, data: str) -> _Events:
        text, self._sequence = self._sequence + data, ""
        at = 0
        while at < len(text):
            if text[at] != ESC:
                until = text.find(ESC, at)
                end = until if until >= 0 else len(text)
                yield from super().feed(text[at:end])
            elif (end := end_of_sequence(text, at)) < 0:
                self._sequence = text[at:]
                return ""
            elif (sequence := text[at:end]) == START:
                self._pasted, self._handed_on = [], False
                return text[end:]
            elif sequence == ESC:
                yield events.Key("escape", ESC)
            elif _MOUSE.fullmatch(sequence) or _means(sequence):
                yield from super().feed(sequence)
            at = end
        return ""

    # -- pastes without marks ----------------------------------------------------------------------

    def _in_burst(self, burst: list[str], data: str) -> _Events:
        """What is no text ends it where it comes as keys do, a few characters at once."""
        plain = _PLAIN.match(data)
        end = len(data) if len(data) > BURST else plain.end() if plain else 0
        if sum(map(len, burst)) < MOST:
            burst.append(data[:end])
        if end < len(data):
            yield from self._end_burst()
        return data[end:]

    def _end_burst(self) -> Iterable[Message]:
        if self._burst is not None:
            text, self._burst = "".join(self._burst), None
            yield events.Paste(text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))

    # -- pastes with marks -------------------------------------------------------------------------

    def _in_paste(self, pasted: list[str], data: str) -> _Events:
        text = self._tail + data
        at = text.find(END)
        end = at if at >= 0 else len(text) - _overlap(text)
        if end and sum(map(len, pasted)) < MOST:
            pasted.append(text[:end])
        self._tail = "" if at >= 0 else text[end:]
        if at < 0:
            return ""
        yield from self._end_paste()
        return text[at + len(END) :]

    def _end_paste(self) -> Iterable[Message]:
        if self._pasted is not None:
            self._pasted.append(self._tail)
            self._tail = ""
            text = self._take_paste(self._pasted)
            self._pasted = None
            if text or not self._handed_on:
                yield events.Paste(text)

    @staticmethod
    def _take_paste(pasted: list[str]) -> str:
        text = "".join(pasted).replace("\0", "")
        pasted.clear()
        return text
