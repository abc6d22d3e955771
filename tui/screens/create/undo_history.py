"""Versions of the draft before each change, for undo and redo."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from servedeck.changes.draft import Draft

MAX_CHANGES = 100
"""Maximum number of changes that can be undone."""


class UndoHistory:
    """Versions of a draft. Consecutive typing into one field is one change."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._current = draft.to_dict()
        self._typing_path = ""
        """The field that the last change was typed into."""
        self._undo_stack: list[tuple[dict[str, Any], str]] = []
        self._redo_stack: list[tuple[dict[str, Any], str]] = []

    def record(self, path: str, *, typed: bool = False) -> None:
        """Record the draft if it changed at `path`."""
        dump = self._draft.to_dict()
        if dump == self._current:
            return
        if not (typed and path == self._typing_path and self._undo_stack):
            self._undo_stack.append((self._current, path))
            del self._undo_stack[:-MAX_CHANGES]
        self._redo_stack.clear()
        self._current = dump
        self._typing_path = path if typed else ""

    def rebase(self, move: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """The draft now has another base: `move` returns a version of the draft on top of it."""
        for stack in (self._undo_stack, self._redo_stack):
            stack[:] = [(move(dump), path) for dump, path in stack]
        self._current = self._draft.to_dict()
        self._typing_path = ""

    def end_typing(self) -> None:
        """The field lost the focus: later typing there is another change."""
        self._typing_path = ""

    def undo(self) -> str | None:
        """Undo the last change; returns its path, None for none."""
        return self._restore(self._undo_stack, self._redo_stack)

    def redo(self) -> str | None:
        """Redo the last undone change; returns its path, None for none."""
        return self._restore(self._redo_stack, self._undo_stack)

    def _restore(
        self, source: list[tuple[dict[str, Any], str]], opposite: list[tuple[dict[str, Any], str]]
    ) -> str | None:
        if not source:
            return None
        dump, path = source.pop()
        opposite.append((self._draft.to_dict(), path))
        self._draft.texts = dict(dump["texts"])
        self._draft.rows = copy.deepcopy(dump["rows"])
        self._current = self._draft.to_dict()
        self._typing_path = ""
        return path
