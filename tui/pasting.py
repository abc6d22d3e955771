"""What is pasted reaches the app as one text, whatever stands in it, also from a terminal that does
not mark it as pasted. Escape sequences that mean nothing here press no keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from time import monotonic

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.message import Message

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

MOST = 4_000_000
"""Characters of a paste that are kept; no field takes as many, and the field says so."""

_PLAIN = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")
"""Text with its tabs and line breaks."""

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences
    r"|\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)"  # answers of the terminal
)

_NUMBERED = re.compile(r"\x1b\[(\d+)[;:\d]*~")
LAST_NUMBERED = 34
"""Number of the last function key that terminals have in this way (F20)."""


@lru_cache(maxsize=512)
def _means(sequence: str) -> bool:
    """Whether Textual makes an event of a whole escape sequence. Of one that it does not know it
    makes the keys of its characters, a while later: `9` of a key that sends `ESC [ 99 ~`."""
    if (key := _NUMBERED.fullmatch(sequence)) and int(key[1][:3]) > LAST_NUMBERED:
        return False  # Textual takes the number for that of a character
    return any(True for _event in XTermParser().feed(sequence))


def _meant(text: str) -> str:
    """`text` without the escape sequences that mean nothing."""

    def kept(match: re.Match[str]) -> str:
        sequence = match[0]
        known = sequence in (START, END) or sequence.startswith(("\x1b[<", "\x1b[M"))
        return sequence if known or (sequence[1] == "[" and _means(sequence)) else ""

    return _SEQUENCE.sub(kept, text) if "\x1b" in text else text


def _is_held(data: str) -> bool:
    """Whether a few keys make up all of it, which were held down."""
    return len(set(data)) <= HELD and not ("\r" in data or "\n" in data)


class PasteParser(XTermParser):
    """Textual looks for escape sequences in what is pasted too, and takes for keys what it does
    not know: a copied escape and the letters after it would press these letters, and one near the
    end would hide that end. tmux lets escapes through. Here Textual sees the two marks only."""

    def __init__(self, debug: bool = False, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(debug)
        self._clock = clock
        self._burst: list[str] = []
        """What has come of a paste without marks."""
        self._burst_at = 0.0
        self._pasted: list[str] | None = None
        """What has come of a paste; None outside of one."""
        self._tail = ""
        """The end of what came last, which may be the beginning of a mark."""

    def feed(self, data: str) -> Iterable[Message]:
        if not data:
            yield from self._end_burst()
            yield from super().feed(data)
        elif self._burst and self._clock() - self._burst_at > PAUSE:
            yield from self._end_burst()
        if self._pasted is None and START not in data:
            plain = len(data) > BURST and not _is_held(data) and _PLAIN.fullmatch(data)
            if plain or self._burst:
                if sum(map(len, self._burst)) < MOST:
                    self._burst.append(data)
                self._burst_at = self._clock()
                return
        else:
            yield from self._end_burst()
        while data:
            known = len(self._tail)
            text = self._tail + data
            if self._pasted is None:
                # Keys are handed on at once, also those that may be the beginning of a mark.
                at = text.find(START)
                end = at + len(START) if at >= 0 else len(text)
                self._tail = "" if at >= 0 else text[1 - len(START) :]
                if keys := _meant(text[known:end]):
                    yield from super().feed(keys)
                self._pasted = [] if at >= 0 else None
            else:
                at = text.find(END)
                end = at + len(END) if at >= 0 else len(text)
                self._tail = "" if at >= 0 else text[1 - len(END) :]
                if sum(map(len, self._pasted)) < MOST:
                    self._pasted.append(text[: at if at >= 0 else end - len(self._tail)])
                if at >= 0:
                    pasted, self._pasted = "".join(self._pasted), None
                    for event in super().feed(END):
                        empty = isinstance(event, events.Paste)
                        yield events.Paste(pasted.replace("\0", "")) if empty else event
            data = text[end:]

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        # Terminals send the same for alt+d and for escape with a d behind it, which come in one
        # packet over a slow line. No key here has alt, save those that move by words (alt+f and
        # alt+b, as in a shell).
        if len(sequence) == 2 and isinstance(ANSI_SEQUENCES_KEYS.get(sequence), str):
            alt, sequence = True, sequence[1]
        if alt:
            yield events.Key("escape", "\x1b")
        yield from super()._sequence_to_key_events(sequence)

    def tick(self) -> Iterable[Message]:
        """Called where nothing more has come for a while, and after each read."""
        if self._burst and self._clock() - self._burst_at > PAUSE:
            yield from self._end_burst()
        yield from super().tick()

    def _end_burst(self) -> Iterable[Message]:
        if self._burst:
            text, self._burst = "".join(self._burst), []
            yield events.Paste(text.replace("\r\n", "\n").replace("\r", "\n"))


def guard() -> None:
    """Have the terminal read with it."""
    vars(linux_driver)["XTermParser"] = PasteParser
