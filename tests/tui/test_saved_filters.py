"""Filters and widths of columns that the settings name."""

from __future__ import annotations

from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.screens.pick import PickScreen

FILTERS = {"broken": "status:error", "big": "70b"}


async def test_a_saved_filter_is_chosen_from_the_list_and_stays_in_the_history() -> None:
    app = make_app(fakes.FakeSource().add_views(*fakes.fleet()), filters=FILTERS)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("f2")
        await wait_for_text(pilot, "Saved Filters", "broken", "status:error", "big", "70b")
        await pilot.press(*"brok", "enter")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert app.servings.filter_query.text == "status:error"
        assert app.servings.filter_line.display and app.servings.table.has_focus
        await pilot.press("escape")
        await wait_for(pilot, lambda: not app.servings.filter_line.text, "the cleared filter")
        await pilot.press("slash", "up")
        await wait_for(pilot, lambda: app.servings.filter_line.text == "status:error", "history")


async def test_the_filter_line_offers_them_and_keeps_what_is_typed_without_a_choice() -> None:
    app = make_app(fakes.FakeSource().add_views(*fakes.fleet()), filters=FILTERS)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("slash", *"emb")
        await wait_for_text(pilot, "f2 saved")
        await pilot.press("f2")
        await wait_for_text(pilot, "Saved Filters")
        assert isinstance(app.screen, PickScreen)
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert app.servings.filter_line.text == "emb"
        assert app.servings.filter_line.input.has_focus
        await pilot.press("f2", "down", "enter")
        await wait_for(pilot, lambda: app.servings.filter_query.text == "70b", "the filter")
        assert app.servings.table.has_focus


async def test_without_saved_filters_it_says_how_to_save_one() -> None:
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("colon", *"filters", "enter")
        await wait_for_text(pilot, "No filter is saved; add [filters] with lines such as")
        assert app.screen is app.servings


async def test_a_column_of_the_list_has_the_chosen_width() -> None:
    app = make_app(column_widths={"name": 11})
    async with app.run_test(size=(200, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        header, first = (
            next(line for line in screen_text(app).splitlines() if part in line)
            for part in ("NAME", "llama-70b")
        )
        assert header.index("NAMESPACE") - header.index("NAME") == 13
        assert "llama-70b-… " in first
