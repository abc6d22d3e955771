"""What the form held before each change, so that changes can be taken back."""

from __future__ import annotations

import copy
from typing import Any

from servedeck.changes.draft import Draft

MOST = 100
"""Changes that can be taken back."""


class History:
    """States of a draft. What is typed into one field without a pause at another is one change."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._now = draft.dump()
        self._typed = ""
        """The field that the last change was typed into."""
        self._back: list[tuple[dict[str, Any], str]] = []
        self._ahead: list[tuple[dict[str, Any], str]] = []

    def note(self, path: str, *, typed: bool = False) -> None:
        """The draft may be another than before, by a change at `path`."""
        dump = self._draft.dump()
        if dump == self._now:
            return
        if not (typed and path == self._typed and self._back):
            self._back.append((self._now, path))
            del self._back[:-MOST]
        self._ahead.clear()
        self._now = dump
        self._typed = path if typed else ""

    def leave(self) -> None:
        """The field was left: what is typed there later is another change."""
        self._typed = ""

    def undo(self) -> str | None:
        """Take the last change back; returns where it was, None where there is none."""
        return self._go(self._back, self._ahead)

    def redo(self) -> str | None:
        """Do again what was taken back last; returns where, None where there is nothing."""
        return self._go(self._ahead, self._back)

    def _go(
        self, source: list[tuple[dict[str, Any], str]], other: list[tuple[dict[str, Any], str]]
    ) -> str | None:
        if not source:
            return None
        dump, path = source.pop()
        other.append((self._draft.dump(), path))
        self._draft.texts = dict(dump["texts"])
        self._draft.rows = copy.deepcopy(dump["rows"])
        self._now = self._draft.dump()
        self._typed = ""
        return path
