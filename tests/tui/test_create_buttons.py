"""The buttons of the review: Edit and Deploy, beside the keys."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from servedeck.serving.spec.issues import error
from tests.tui.create_form import (
    footer_of,
    form_of,
    go_to_step,
    run_form,
    wait_until_deployed,
)
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import screen_text, wait_for, wait_for_text

SIZES = [(80, 24), (200, 50), (40, 10)]


async def click_text(pilot: Pilot[None], text: str) -> None:
    """Click the text where it is first on the screen."""
    lines = list(enumerate(screen_text(pilot.app).splitlines()))
    x, y = next((line.index(text), y) for y, line in lines if text in line)
    await pilot.click(offset=(x + 2, y))


@pytest.mark.parametrize("size", SIZES)
async def test_deploy_is_at_the_bottom_right_and_is_clicked(
    change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    async with run_form(change_service, size) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "[ Edit ] [ Deploy ]")
        bar = form_of(pilot).button_bar.region
        assert bar.right == size[0]
        assert bar.bottom in (size[1] - 1, size[1] - 2)  # above message line and footer
        await click_text(pilot, "[ Deploy ]")
        await wait_until_deployed(pilot, change_service)


async def test_the_buttons_fit_into_twenty_columns(change_service: FakeChangeService) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await pilot.resize_terminal(20, 10)
        await wait_for_text(pilot, "[ Deploy ]")
        assert "[ Edit ]" in screen_text(pilot.app)


async def test_edit_goes_to_the_line_under_the_cursor_or_to_the_last_step(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "[ Edit ] [ Deploy ]")
        await click_text(pilot, "[ Edit ] [ Deploy ]")
        await wait_for(pilot, lambda: form_of(pilot).step == 2, "the second step")
        assert "[ Deploy ]" not in screen_text(pilot.app)
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")
        form_of(pilot).plan_view.focus()
        while form_of(pilot).plan_view.path != "name":
            await pilot.press("down")
        await click_text(pilot, "[ Edit ] [ Deploy ]")
        await wait_for(pilot, lambda: form_of(pilot).form.path == "name", "the field")


async def test_the_head_of_a_section_is_clicked_to_edit_it(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service, (120, 60)) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, " 2 Container ")
        await click_text(pilot, " 2 Container ")
        await wait_for(pilot, lambda: form_of(pilot).form.path == "image", "the section")


async def test_the_buttons_are_reached_by_tab_and_left_by_it(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "The API server accepts it")
        form = form_of(pilot)
        await pilot.press("tab", "tab")
        assert form.button_bar.has_focus
        await pilot.press("tab")
        assert form.plan_view.has_focus
        await pilot.press("shift+tab", "up")
        assert form.plan_view.has_focus
        await pilot.press("tab", "right", "enter")
        await wait_until_deployed(pilot, change_service)


async def test_a_button_that_cannot_be_pressed_says_why(
    change_service: FakeChangeService,
) -> None:
    change_service.dry_run_issues = [error("image", "The registry has no such image.")]
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "The registry has no such image.")
        form = form_of(pilot)
        assert [one.disabled for one in form.button_bar.buttons] == [False, True]
        await click_text(pilot, "[ Deploy ]")
        await wait_for_text(pilot, "Cannot deploy, 1 error: The registry has no such image.")
        assert change_service.applied_objects == {}


async def test_footer_and_help_say_what_enter_does_on_a_button(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service, (160, 40)) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "The API server accepts it", "Enter on a line")
        assert "enter edit" in footer_of(pilot)
        await pilot.press("tab")
        await wait_for_text(pilot, "Enter goes back to step 2. Left and right choose a button")
        assert "enter edit" in footer_of(pilot)
        await pilot.press("right")
        await wait_for_text(pilot, "Enter deploys. Left and right choose a button")
        assert "enter deploy" in footer_of(pilot)
        assert "enter edit" not in footer_of(pilot)
        await pilot.press("tab")
        await wait_for_text(pilot, "Enter on a line")
        assert "enter edit" in footer_of(pilot)
        await pilot.press("j", "tab")
        await wait_for_text(pilot, "Enter goes to the field of the line under the cursor.")
        await pilot.press("tab")
        await wait_for_text(pilot, "Enter deploys.")
        footer = screen_text(pilot.app).splitlines()
        await pilot.click(offset=(footer[-1].index("enter deploy") + 1, len(footer) - 1))
        await wait_until_deployed(pilot, change_service)


async def test_the_help_of_a_button_says_why_it_cannot_be_pressed(
    change_service: FakeChangeService,
) -> None:
    change_service.dry_run_issues = [error("image", "The registry has no such image.")]
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "The registry has no such image.")
        await pilot.press("shift+tab")
        reason = "Cannot deploy, 1 error: The registry has no such image. Left and right choose"
        await wait_for_text(pilot, reason)
        change_service.dry_run_issues = []
        await pilot.press("r")
        await wait_for_text(pilot, "The API server accepts it", "Enter deploys.")


@pytest.mark.parametrize(
    ("key", "is_end"), [("pagedown", False), ("G", True), ("end", True), ("g", False)]
)
async def test_keys_of_the_review_are_passed_on_from_the_buttons(
    change_service: FakeChangeService, key: str, is_end: bool
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "The API server accepts it")
        view = form_of(pilot).plan_view
        if key == "g":
            await pilot.press("G")
            await wait_for(pilot, lambda: view.scroll_offset.y > 0, "the end")
        await pilot.press("tab", key)
        await wait_for(pilot, lambda: view.has_focus, "the focus on the review")
        if key == "g":
            await wait_for(pilot, lambda: view.scroll_offset.y == 0, "the top")
        else:
            await wait_for(pilot, lambda: view.scroll_offset.y > 0, "the scrolled review")
            assert (view.scroll_offset.y == view.max_scroll_y) is is_end
        assert "no action here" not in screen_text(pilot.app)


async def test_a_key_of_the_cursor_moves_it_from_the_buttons(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "The API server accepts it")
        view = form_of(pilot).plan_view
        await pilot.press("j")
        first = view.path
        assert first
        await pilot.press("tab", "j")
        await wait_for(pilot, lambda: view.has_focus and view.path not in ("", first), "the next")
        await pilot.press("tab", "k")
        await wait_for(pilot, lambda: view.has_focus and view.path == first, "the line before")
