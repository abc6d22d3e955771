"""The theme picker, the picture of the screen, and earlier filters."""

from __future__ import annotations

import importlib
import pkgutil
import stat
from pathlib import Path

import pytest

import tui.screens
from styles.themes import DARK, LIGHT
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.screens.base import ActionScreen
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.theme import ThemePicker, theme_choices


async def test_a_theme_is_previewed_chosen_and_given_back() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *"theme", "enter")
        await wait_for_text(pilot, "servedeck-light", "the terminal's own colors")
        picker = app.screen
        assert isinstance(picker, ThemePicker)
        assert picker.table.cursor_key == DARK.name
        await pilot.press("down")
        await wait_for(pilot, lambda: app.theme == LIGHT.name, "the preview")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert app.theme == DARK.name
        await pilot.press("f9", *"light", "enter")
        await wait_for_text(pilot, 'theme = "servedeck-light" in the settings keeps it')
        assert app.theme == LIGHT.name
        assert app.servings.table.styles.background.hex.lower() in (
            LIGHT.background,
            "#00000000",
        )


async def test_a_screen_that_was_not_shown_gets_the_theme_when_it_is() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.screen is not app.servings, "the page")
        await pilot.press("f9", *"light", "enter")
        await wait_for(pilot, lambda: app.theme == LIGHT.name, "the theme")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert app.servings.styles.background.hex.lower() == LIGHT.background
        assert app.servings.key_footer.styles.background.hex.lower() == LIGHT.panel


async def test_without_colors_there_is_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f9")
        await wait_for_text(pilot, "NO_COLOR is set, so there are no colors to choose.")


def test_the_own_themes_are_first() -> None:
    app = make_app()
    names = [one.key for one in theme_choices(list(app.available_themes.values()))]
    assert names[:3] == ["servedeck-dark", "servedeck-light", "servedeck-ansi"]
    assert names[3:] == sorted(names[3:])
    assert set(names) == set(app.available_themes)


async def test_the_screen_is_saved_as_a_picture_that_others_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "llama-70b")
        await pilot.press("f12")
        await wait_for_text(pilot, "Save the screen as an SVG picture")
        await pilot.press("ctrl+u", *"now.svg", "enter")
        await wait_for_text(pilot, "Saved the screen as now.svg.")
    file = tmp_path / "now.svg"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    picture = file.read_text()
    assert picture.startswith("<svg")
    assert "llama-70b" in picture
    assert "Save&#160;the&#160;screen" not in picture


async def test_a_picture_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f12")
        await wait_for_text(pilot, "Save the screen as an SVG picture")
        await pilot.press("ctrl+u", *str(tmp_path / "none" / "now.svg"), "enter")
        await wait_for_text(pilot, "does not exist; create it first")


async def test_an_earlier_filter_comes_back_with_up() -> None:
    app = make_app(fakes.FakeSource().add_views(*fakes.fleet()))
    async with app.run_test(size=(80, 24)) as pilot:
        line = app.servings.filter_line
        for text in ("llama", "status:error"):
            await pilot.press("slash", *text, "enter")
            await pilot.press("escape")
            await wait_for(pilot, lambda: not line.text, "the cleared filter")
        await pilot.press("slash", *"emb", "up")
        await wait_for(pilot, lambda: line.text == "status:error", "the last filter")
        assert "status:error" in screen_text(app)
        await pilot.press("up", "up")
        assert line.text == "llama"
        assert str(app.servings.filter_query.text) == "llama"
        await pilot.press("down", "down", "down")
        assert line.text == "emb"


async def test_a_filter_that_was_cleared_comes_back_from_the_newest() -> None:
    app = make_app(fakes.FakeSource().add_views(*fakes.fleet()))
    async with app.run_test(size=(80, 24)) as pilot:
        line = app.servings.filter_line
        for text in ("ready", "pending"):
            await pilot.press("slash", *text, "enter", "escape")
            await wait_for(pilot, lambda: not line.text, "the cleared filter")
        await pilot.press("slash", "up", "up")
        await wait_for(pilot, lambda: line.text == "ready", "the first filter")
        await pilot.press("escape")
        await wait_for(pilot, lambda: not line.text, "the cleared filter")
        await pilot.press("slash", "up")
        await wait_for(pilot, lambda: line.text == "pending", "the newest filter")
        await pilot.press("up", "x", "up")
        await wait_for(pilot, lambda: line.text == "pending", "the newest after what was typed")
        await pilot.press("down")
        await wait_for(pilot, lambda: line.text == "readyx", "what was typed")


SCREENS = [
    one
    for found in pkgutil.walk_packages(tui.screens.__path__, "tui.screens.")
    for one in vars(importlib.import_module(found.name)).values()
    if isinstance(one, type) and issubclass(one, ActionScreen) and one.__module__ == found.name
]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda one: one.__name__)
def test_each_screen_has_the_keys_of_theme_and_picture(screen: type[ActionScreen[object]]) -> None:
    keys = screen._merge_bindings().key_to_bindings
    ids = {key: [one.id for one in keys.get(key, ())] for key in ("f9", "f12", "ctrl+l")}
    assert ids == {"f9": ["app.theme"], "f12": ["app.screenshot"], "ctrl+l": ["app.redraw"]}


async def test_a_dialog_takes_a_theme_and_a_picture_and_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app()
    answers: list[str | None] = []
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = ConfirmDialog("Delete it?", ["It is gone."], [DialogOption("y", "Delete")])
        app.push_screen(dialog, answers.append)
        await wait_for_text(pilot, "Delete it?")
        await pilot.press("f9", *"light", "enter")
        await wait_for_text(pilot, "Delete it?", 'theme = "servedeck-light" in the settings')
        assert dialog.styles.background.hex.lower() == LIGHT.background
        await pilot.press("f12", "ctrl+u", *"now.svg", "enter")
        await wait_for_text(pilot, "Delete it?", "Saved the screen as now.svg.")
        assert "Delete&#160;it?" in (tmp_path / "now.svg").read_text()
        assert answers == []
        await pilot.press("y")
        await wait_for(pilot, lambda: answers == ["y"], "the answer")


async def test_a_picture_is_saved_of_a_screen_that_closes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = ConfirmDialog("Delete it?", ["It is gone."], [DialogOption("y", "Delete")])
        app.push_screen(dialog)
        await wait_for_text(pilot, "Delete it?")
        await pilot.press("f12", "ctrl+u", *"now.svg")
        dialog.dismiss("")  # as a dialog whose work has ended
        await pilot.press("enter")
        await wait_for_text(pilot, "Saved the screen as now.svg.")
        assert app.screen is app.servings
        assert "Delete&#160;it?" in (tmp_path / "now.svg").read_text()


async def test_neither_the_themes_nor_the_name_of_a_picture_are_asked_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "llama-70b")
        await pilot.press("f9", "f9")
        await wait_for_text(pilot, "The list of themes is open already.")
        await pilot.press("down")
        await wait_for(pilot, lambda: app.theme == LIGHT.name, "the preview")
        await pilot.press("f12", "f12")
        await wait_for_text(pilot, "A picture is being saved already; name its file first.")
        await pilot.press("f9")
        await wait_for_text(pilot, "The list of themes is open already.")
        assert len(app.screen_stack) == 3
        await pilot.press("ctrl+u", *"now.svg", "enter")
        await wait_for_text(pilot, "Saved the screen as now.svg.", "servedeck-light")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert app.theme == DARK.name
