"""What is pasted reaches the app as one text, whatever stands in it."""

from __future__ import annotations

from collections.abc import Iterable

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.message import Message

START, END = "\x1b[200~", "\x1b[201~"
"""Between them the terminal sends what was pasted."""


class PasteParser(XTermParser):
    """Textual looks for escape sequences in what is pasted too, and takes for keys what it does
    not know: a copied escape and the letters after it would press these letters, and one near the
    end would hide that end. tmux lets escapes through. Here Textual sees the two marks only."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._pasted: list[str] | None = None
        """What has come of a paste; None outside of one."""
        self._tail = ""
        """The end of what came last, which may be the beginning of a mark."""

    def feed(self, data: str) -> Iterable[Message]:
        if not data:
            yield from super().feed(data)
        while data:
            known = len(self._tail)
            text = self._tail + data
            if self._pasted is None:
                # Keys are handed on at once, also those that may be the beginning of a mark.
                at = text.find(START)
                end = at + len(START) if at >= 0 else len(text)
                self._tail = "" if at >= 0 else text[1 - len(START) :]
                yield from super().feed(text[known:end])
                self._pasted = [] if at >= 0 else None
            else:
                at = text.find(END)
                end = at + len(END) if at >= 0 else len(text)
                self._tail = "" if at >= 0 else text[1 - len(END) :]
                self._pasted.append(text[: at if at >= 0 else end - len(self._tail)])
                if at >= 0:
                    pasted, self._pasted = "".join(self._pasted), None
                    for event in super().feed(END):
                        empty = isinstance(event, events.Paste)
                        yield events.Paste(pasted.replace("\0", "")) if empty else event
            data = text[end:]


def guard() -> None:
    """Have the terminal read with it."""
    vars(linux_driver)["XTermParser"] = PasteParser
