"""Completion of the path of a local file."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.create_form import type_text
from tests.tui.helpers import make_app, post_keys, screen_text, wait_for, wait_for_text
from tui import path_completion
from tui.path_completion import complete_path
from tui.screens import file_dialog
from tui.screens.file_dialog import FileDialog


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".env").write_text("")
    (tmp_path / "models" / "llama.yaml").write_text("")
    for name in ("model-a.yaml", "model-b.yaml", ".env", "notes"):
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "text", "candidates"),
    [
        ("no", "notes", ("notes",)),
        ("mo", "model", ("model-a.yaml", "model-b.yaml", "models/")),
        ("models", "models/", ("models/",)),
        ("models/", "models/llama.yaml", ("llama.yaml",)),
        ("~", "~/", ("~/",)),
        ("~/n", "~/notes", ("notes",)),
        (".e", ".env", (".env",)),
        ("", "", ("hidden/", "model-a.yaml", "model-b.yaml", "models/", "notes")),
        ("models/..", "models/../", ("../",)),
    ],
)
def test_a_path_is_completed_as_far_as_it_is_clear(
    files: Path, typed: str, text: str, candidates: tuple[str, ...]
) -> None:
    found = complete_path(typed)
    assert (found.text, found.candidates, found.problem) == (text, candidates, "")


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("x", "Nothing begins with x in the current directory."),
        ("hidden/", "There are only hidden files, or none, in hidden/."),
        ("none/x", "none/ does not exist."),
        ("notes/x", "notes/ is not a directory."),
        ("~nobody-at-all/x", "~nobody-at-all/ cannot be read: Could not determine home directory."),
        ("a\0/x", "No file has a name with a null character."),
    ],
)
def test_why_there_is_nothing_to_complete_is_one_sentence(
    files: Path, typed: str, problem: str
) -> None:
    found = complete_path(typed)
    assert found.text == typed
    assert found.problem == problem


def test_a_name_that_cannot_be_typed_is_not_offered(files: Path) -> None:
    (files / "sub").mkdir()
    for name in (b"ok", b"esc\x1b[31m", b"two\nlines", b"raw\xff", "bidi‮".encode()):
        os.close(os.open(os.fsencode(files / "sub") + b"/" + name, os.O_CREAT))
    assert complete_path("sub/").candidates == ("ok",)


def test_a_huge_directory_is_read_in_part(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_completion, "MAX_ENTRIES", 2)
    found = complete_path("")
    assert found.has_unread
    assert found.text == ""  # what was not read may begin otherwise
    monkeypatch.setattr(path_completion, "MAX_ENTRIES", 1_000)
    monkeypatch.setattr(path_completion, "MAX_CANDIDATES", 2)
    found = complete_path("mo")
    assert (len(found.candidates), found.total, found.text) == (2, 3, "model")


@asynccontextmanager
async def run_dialog(text: str = "") -> AsyncIterator[tuple[Pilot[None], FileDialog]]:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = FileDialog("Load a file", text, for_writing=False)
        app.push_screen(dialog)
        await wait_for_text(pilot, "Load a file", "Relative paths begin at")
        yield pilot, dialog


async def test_tab_completes_and_lists_what_can_follow(files: Path) -> None:
    async with run_dialog() as (pilot, dialog):
        await type_text(pilot, "mo")
        await pilot.press("tab")
        await wait_for_text(pilot, "model-a.yaml", "model-b.yaml", "models/")
        assert dialog.line_input.text == "model"
        await type_text(pilot, "s")
        await wait_for_text(pilot, "Relative paths begin at")
        assert "model-a.yaml" not in screen_text(pilot.app)
        await pilot.press("tab")
        await wait_for(pilot, lambda: dialog.line_input.text == "models/", "the directory")
        await pilot.press("tab")
        await wait_for(pilot, lambda: dialog.line_input.text == "models/llama.yaml", "the file")


async def test_what_is_after_the_cursor_stays(files: Path) -> None:
    async with run_dialog("no-old") as (pilot, dialog):
        await pilot.press("home", "right", "right", "tab")
        await wait_for(pilot, lambda: dialog.line_input.text == "notes-old", "the completion")
        assert dialog.line_input.input.cursor_position == len("notes")


async def test_nothing_to_complete_is_said_below_the_input(files: Path) -> None:
    async with run_dialog() as (pilot, dialog):
        await type_text(pilot, "xyz")
        await pilot.press("tab")
        await wait_for_text(pilot, "! Nothing begins with xyz in the current directory.")
        assert dialog.line_input.text == "xyz"


async def test_a_directory_that_does_not_answer_blocks_nothing(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    read = path_completion.complete_path

    def wait(typed: str) -> path_completion.Completion:
        answered.wait()
        return read(typed)

    monkeypatch.setattr("tui.screens.file_dialog.complete_path", wait)
    try:
        async with run_dialog() as (pilot, dialog):
            await type_text(pilot, "~/n")
            await pilot.press("tab", "tab")
            await wait_for_text(pilot, "~ is still being read.")
            await type_text(pilot, "e")
            assert dialog.line_input.text == "~/ne"
            answered.set()
            await wait_for(pilot, lambda: not dialog._reading_path, "the answer")
            assert dialog.line_input.text == "~/ne"  # it was for another text
    finally:
        answered.set()


async def test_esc_closes_the_dialog_while_the_entered_path_does_not_answer(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    read: list[Path] = []
    is_dir = Path.is_dir

    def wait(path: Path) -> bool:
        read.append(path)
        answered.wait()
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", wait)
    try:
        async with run_dialog("notes") as (pilot, dialog):
            await pilot.press("enter")
            await wait_for_text(pilot, "notes is still being read; esc closes the dialog.")
            await pilot.press("x", "backspace")  # clears the message
            await wait_for(pilot, lambda: dialog.line_input.text == "notes", "the same path")
            await pilot.press("enter")
            await wait_for_text(pilot, "notes is still being read; esc closes the dialog.")
            assert len(read) == 1
            await pilot.press("escape")
            await wait_for(pilot, lambda: pilot.app.screen is not dialog, "the closed dialog")
    finally:
        answered.set()


async def test_a_path_that_answers_late_is_chosen_unless_another_was_typed(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {name: threading.Event() for name in ("notes", "model-a.yaml")}
    is_dir = Path.is_dir

    def wait(path: Path) -> bool:
        answers[path.name].wait()
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", wait)
    chosen: list[Path | None] = []
    app = make_app()
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            dialog = FileDialog("Load a file", "notes", for_writing=False)
            app.push_screen(dialog, chosen.append)
            await wait_for_text(pilot, "Load a file")
            await pilot.press("enter")
            await wait_for_text(pilot, "notes is still being read")
            await pilot.press("ctrl+u", *"model-a.yaml")
            answers["notes"].set()
            await wait_for(pilot, lambda: not dialog._entered_text, "the first answer")
            assert app.screen is dialog
            await pilot.press("enter")
            await wait_for_text(pilot, "model-a.yaml is still being read")
            answers["model-a.yaml"].set()
            await wait_for(pilot, lambda: chosen == [Path("model-a.yaml")], "the path")
    finally:
        for one in answers.values():
            one.set()


async def test_keys_after_enter_are_those_of_the_screen_behind_the_dialog(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_dialog, "KEY_HOLD_SECONDS", 120.0)  # however busy the machine is
    async with run_dialog("notes") as (pilot, dialog):
        post_keys(pilot, "enter", "slash", *"phi")
        await wait_for(pilot, lambda: pilot.app.screen is not dialog, "the closed dialog")
        await wait_for_text(pilot, "/ phi")
