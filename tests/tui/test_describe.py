"""Everything about a serving as one text."""

from __future__ import annotations

from dataclasses import replace

from servedeck.cluster.watch.debounce import Debouncer
from servedeck.fleet.views import NamespacedName
from tests.detail.objects import deployment
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.test_serving_page import open_page
from tui.screens.describe import DescribeScreen
from tui.screens.serving import ServingScreen

LLAMA = NamespacedName("team-a", "llama-70b-chat")


async def test_from_the_list_and_back():
    app = make_app(detail_service=FakeDetailService(deployment()))
    async with app.run_test(size=(120, 60)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        await pilot.press("j", "d")
        await wait_for_text(pilot, "Name:       llama-70b-chat", "Image:", "Rollouts")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")


async def test_on_the_page_it_is_live_and_watches_nothing_after_it_was_closed():
    service = FakeDetailService(deployment())
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, detail_service=service)
    async with app.run_test(size=(120, 60)) as pilot:
        await open_page(pilot, app, "j")
        await pilot.press("d")
        await wait_for_text(pilot, "Name:       llama-70b-chat")
        source.add_views(replace(source.fleet.view(LLAMA), message="Another reason."))
        await wait_for_text(pilot, "Another reason.")
        source.remove_view(LLAMA)
        await wait_for_text(pilot, "Another reason.")
        await pilot.press("d")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")
        await pilot.press("escape")
        await wait_for(pilot, lambda: not service.open_watches, "every watch to close")


async def test_changes_in_quick_succession_are_shown_together():
    """Of a serving with thousands of Pods one always changes, and each has a line."""
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, detail_service=FakeDetailService(deployment()))
    async with app.run_test(size=(120, 60)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        await pilot.press("j", "d")
        await wait_for_text(pilot, "Name:       llama-70b-chat")
        app.screen._debouncer.close()
        debouncer = app.screen._debouncer = Debouncer(app.screen._update, 600.0)
        source.add_views(replace(source.fleet.view(LLAMA), message="The first change."))
        await wait_for_text(pilot, "The first change.")
        for number in range(5):
            source.add_views(replace(source.fleet.view(LLAMA), message=f"Change {number}."))
        await pilot.pause()
        assert "The first change." in screen_text(app)
        assert debouncer._flush_handle is not None
        debouncer._flush_handle.cancel()
        debouncer._run_flush()  # as after the time
        await wait_for_text(pilot, "Change 4.")


async def test_it_says_that_it_loads():
    service = FakeDetailService(deployment())
    service.is_loading = True
    app = make_app(detail_service=service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        await pilot.press("j", "d")
        await wait_for_text(pilot, "Loading…")
        await pilot.press("C")
        await wait_for_text(pilot, "The description is still loading.")
        service.is_loading = False
        service.notify()
        await wait_for_text(pilot, "Name:       llama-70b-chat")


async def test_it_is_copied():
    app = make_app(detail_service=FakeDetailService(deployment()))
    async with app.run_test(size=(120, 60)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        await pilot.press("j", "d")
        await wait_for_text(pilot, "Name:       llama-70b-chat")
        await pilot.press("C")
        await wait_for_text(pilot, "Copied")
        assert isinstance(app.screen, DescribeScreen)
        assert "llama" in screen_text(app)
