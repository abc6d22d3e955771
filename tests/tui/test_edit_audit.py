"""Random keys in edit mode write nothing that was not confirmed."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.tui.helpers import screen_text
from tests.tui.test_operation_audit import Auditor, Recorder, audited_app
from tui.screens.confirm_dialog import ConfirmDialog
from tui.screens.edit.edit_dialog import EditDialog
from tui.screens.edit.edit_screen import EditScreen

SEQUENCES = 10 * int(os.environ.get("SERVEDECK_AUDIT_CLUSTERS", "1"))
KEYS_PER_SEQUENCE = 16

LIST_KEYS = ("e", "e", "e", "U", "u", "j", "k", "down", "G", "enter", "escape", "y")
FORM_KEYS = (
    *("x", "1", "0", "y", "space", "backspace", "ctrl+k", "tab", "down", "up", "left", "right"),
    *("pagedown", "pageup", "enter", "ctrl+o", "ctrl+z", "ctrl+x", "ctrl+r", "ctrl+t", "ctrl+g"),
    *("ctrl+s", "ctrl+s", "ctrl+s", "ctrl+s", "escape"),
)
SAVE_KEYS = ("y", "n", "r", "enter", "enter", "down", "up", "pagedown", "escape", "ctrl+s")
CONFIRM_KEYS = ("k", "s", "d", "c", "n", "m", "t", "y", "enter", "down", "escape")


class EditAuditor:
    """Presses keys, and compares what was written with what was confirmed."""

    def __init__(self, auditor: Auditor, recorder: Recorder) -> None:
        self._auditor, self._recorder = auditor, recorder
        self._is_confirmed = False
        """Whether a key has confirmed a plan since the last write."""

    async def press(self, *keys: str) -> None:
        for key in keys:
            app, before = self._auditor.app, len(self._recorder.writes)
            if isinstance(app.screen, EditDialog):
                chosen = key == "enter" and "▌ y  " in screen_text(app)
                self._is_confirmed |= key == "y" or chosen
            await self._auditor.press(key)
            if written := self._recorder.writes[before:]:
                log = " ".join(self._auditor.log)
                assert self._is_confirmed, f"not confirmed: {written}; keys: {log}"
                self._is_confirmed = isinstance(app.screen, EditDialog)  # still being saved

    async def press_any(self, chance: random.Random) -> None:
        """Press a key that may have a meaning on the screen that is shown."""
        match self._auditor.app.screen:
            case ConfirmDialog():
                keys = CONFIRM_KEYS
            case EditDialog():
                keys = SAVE_KEYS
            case EditScreen():
                keys = FORM_KEYS
            case _:
                keys = LIST_KEYS
        await self.press(chance.choice(keys))

    async def return_to_list(self) -> None:
        for _ in range(20):
            if self._auditor.app.screen is self._auditor.app.servings:
                return
            asks = isinstance(self._auditor.app.screen, ConfirmDialog)
            await self.press(*(("d", "escape") if asks else ("escape",)))
        raise AssertionError(f"esc does not lead to the list:\n{screen_text(self._auditor.app)}")


async def test_random_keys_in_edit_mode_write_nothing_that_was_not_confirmed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    chance = random.Random(0)
    async with audited_app(monkeypatch, is_production=False) as (auditor, recorder):
        keys = EditAuditor(auditor, recorder)
        await keys.press("e", "x", "ctrl+s", "y")
        assert len(recorder.writes) == 1, screen_text(auditor.app)
        await keys.return_to_list()
        for _ in range(SEQUENCES):
            for _ in range(KEYS_PER_SEQUENCE):
                await keys.press_any(chance)
            await keys.return_to_list()
    assert len(recorder.writes) > 1  # some were confirmed
