"""The page of a serving: its header, tabs, panes and keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from textual.app import ComposeResult
from textual.renderables.blank import Blank
from textual.widgets import TabbedContent, TabPane, Tabs

from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.status import Status
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app, post_keys, screen_text, wait_for, wait_for_text
from tests.tui.test_log import shown_log
from tests.waiting import wait_until
from tui.action_tables.action import TAB_COUNT
from tui.actions import actions_in_scope
from tui.panes.events import EventsPane
from tui.panes.logs import LogsPane
from tui.panes.metrics import MetricsPane
from tui.panes.overview import OverviewPane
from tui.screens import base as screen_base
from tui.screens import serving as serving_screen
from tui.screens.serving import PANES, ServingScreen

LLAMA = NamespacedName("team-a", "llama-70b-chat")
FIRST_POD = "llama-70b-chat-6b8f-9qk2x"
SECOND_POD = "llama-70b-chat-6b8f-vv7tz"


async def open_page(pilot, app, *keys: str) -> None:
    await pilot.press(*keys, "enter")
    await wait_for(
        pilot,
        lambda: isinstance(app.screen, ServingScreen) and app.screen.active_pane is not None,
        "the page",
    )


async def test_enter_shows_the_failure_reason_the_last_lines_and_the_pods():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(
            pilot,
            "team-a/llama-70b-chat  ✗ Error  OOMKilled  0/2 ready  2 failing",
            "was killed for using more memory than its limit of 80Gi (exit code 137).",
            "Check the failure reason and the logs of the failing Pods.",
            "RuntimeError: DataLoader worker (pid 412) is killed by signal: Killed.",
            FIRST_POD,
            SECOND_POD,
            "CrashLoopBackOff",
            "Basic Information",
        )


async def test_esc_returns_to_the_row():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert app.servings.table.cursor_key == LLAMA


async def test_keys_in_the_same_packet_go_to_the_page():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, "llama-70b-chat")
        post_keys(pilot, "j", "enter", "j", "l")
        await wait_for_text(pilot, SECOND_POD, "1 of 2 Pods")
        assert shown_log(app) is not None


async def test_the_log_of_the_pod_under_the_cursor():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await pilot.press("j", "l")
        await wait_for_text(pilot, SECOND_POD, "1 of 2 Pods")
        await pilot.press("1")
        await wait_for_text(pilot, FIRST_POD, "STATUS")


async def test_a_tab_is_empty_until_its_pane_is_mounted():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        empty = [one for one in app.screen.query(TabPane) if not one.children]
        assert len(empty) == len(PANES) - 1
        assert all(isinstance(one.render(), Blank) for one in empty)


async def test_events_while_the_pane_of_a_tab_is_mounted(monkeypatch):
    may_mount = asyncio.Event()
    mount = TabPane.mount

    async def mount_later(tab, pane):
        await may_mount.wait()
        await mount(tab, pane)

    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        page = app.screen
        monkeypatch.setattr(TabPane, "mount", mount_later)
        post_keys(pilot, "6")
        while not isinstance(page.active_pane, EventsPane):
            await asyncio.sleep(0)
        try:
            page._tick()
            page.update_footer()
            await page.on_tabbed_content_tab_activated(
                TabbedContent.TabActivated(page.tabs, page.tabs.get_tab("tab-5"))
            )
        finally:
            may_mount.set()
        await wait_for_text(pilot, "0 Events", "No Events in the last hour.", "W Warnings")


async def test_tabs_by_digit_and_by_tab():
    app = make_app()
    last = len(PANES) - 1
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        keys = (("2", 1), ("1", 0), ("tab", 1), ("shift+tab", 0), ("shift+tab", last), ("tab", 0))
        for key, pane in keys:
            await pilot.press(key)
            await wait_for(
                pilot,
                lambda pane=pane: isinstance(app.screen.active_pane, PANES[pane]),
                f"tab {pane} after {key}",
            )
        await pilot.press("9")
        await wait_for_text(pilot, f"9: there are {len(PANES)} tabs.")


async def test_a_click_on_a_tab():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await pilot.click("Tab#--content-tab-tab-2")
        await wait_for(pilot, lambda: shown_log(app) is not None, "the log")


async def test_late_messages_of_a_tab_that_was_left_do_not_show_it_again():
    """On a busy machine, those of the first tab come after the key of another one."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        page = app.screen
        await pilot.press("6")
        await wait_for(pilot, lambda: isinstance(page.active_pane, EventsPane), "the events")
        activations: list[str] = []
        page.active_pane.activate = lambda: activations.append("again")
        first = page.tabs.get_pane("tab-0")
        bar = page.query_one(Tabs)
        bar.post_message(Tabs.TabActivated(bar, page.tabs.get_tab(first)))
        first.post_message(TabPane.Focused(first))
        page.tabs.post_message(TabbedContent.TabActivated(page.tabs, page.tabs.get_tab(first)))
        for _ in range(10):
            await pilot.pause()
        assert isinstance(page.active_pane, EventsPane) and page.tabs.active == "tab-5"
        assert not activations


async def test_a_hidden_pane_requests_nothing():
    logs = fakes.FakeLogService()
    app = make_app(log_service=logs)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        pane = app.screen.active_pane
        assert isinstance(pane, OverviewPane)
        assert not logs.open_streams_now
        await pilot.press("3")
        await wait_for(pilot, lambda: len(logs.open_streams_now) == 2, "the stream")
        assert not pane.is_active
        await pilot.press("1")
        await wait_for(pilot, lambda: not logs.open_streams_now, "the stream to end")
        await pilot.press("3")
        await wait_for(pilot, lambda: len(logs.open_streams_now) == 2, "the stream again")
        await pilot.press("escape")
        await wait_for(pilot, lambda: not logs.open_streams_now, "the stream to end with the page")


async def test_the_page_is_live_and_keeps_what_a_deleted_serving_was():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        view = source.fleet.view(LLAMA)
        source.add_views(replace(view, message="It ran out of GPU memory.", ready=1))
        await wait_for_text(pilot, "It ran out of GPU memory.", "1/2 ready")
        source.remove_view(LLAMA)
        await wait_for_text(pilot, "deleted at", "It ran out of GPU memory.", FIRST_POD)
        source.add_views(replace(view, uid="new", message="", status=Status.READY, ready=2))
        await wait_for_text(pilot, "✓ Ready", "2/2 ready")
        assert "deleted at" not in screen_text(app)


async def test_the_next_and_the_previous_serving_of_the_list():
    source = fakes.FakeSource().add_views(fakes.serving("a-first"), fakes.serving("b-second"))
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "b-second")
        await open_page(pilot, app)
        await wait_for_text(pilot, "team-a/a-first")
        await pilot.press("left_square_bracket")
        await wait_for_text(pilot, "The list has no serving before this one.")
        await pilot.press("right_square_bracket")
        await wait_for_text(pilot, "team-a/b-second")
        await pilot.press("3")
        await wait_for_text(pilot, "following")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert app.servings.table.cursor_key == NamespacedName("team-a", "b-second")


async def test_the_next_serving_after_its_log_was_opened_first():
    """The other tabs were not shown yet."""
    source = fakes.FakeSource().add_views(fakes.serving("a-first"), fakes.serving("b-second"))
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "b-second")
        await pilot.press("l")
        await wait_for_text(pilot, "following")
        await pilot.press("right_square_bracket")
        await wait_for_text(pilot, "team-a/b-second", "2 Pods  inference-server", "following")
        await pilot.press("1")
        await wait_for_text(pilot, "STATUS", "b-second-7d9c-b8k2m")


async def test_a_change_while_the_page_opens_does_not_close_it(monkeypatch: pytest.MonkeyPatch):
    source = fakes.FakeSource().add_views(*fakes.fleet())
    compose = TabbedContent.compose

    def compose_during_a_change(self: TabbedContent) -> ComposeResult:
        source.notify_changed([LLAMA])
        return compose(self)

    monkeypatch.setattr(TabbedContent, "compose", compose_during_a_change)
    app = make_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, "team-a/llama-70b-chat  ✗ Error", "1 Overview")


def test_the_keys_of_the_tabs_are_counted_as_the_page_has_them() -> None:
    assert len(PANES) == TAB_COUNT


async def test_the_footer_has_the_keys_of_the_pane_and_its_reasons():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(
            pilot, "esc close  enter open  l logs  p all Pods  e edit  y YAML  1-8 tab"
        )
        await pilot.press("3")
        screen = await wait_for_text(pilot, "p previous  o container  i Pods")
        assert "l logs" not in screen.splitlines()[-1]
        await pilot.press("o")
        await wait_for_text(pilot, "The Pods have no other container.")


async def test_a_serving_without_pods_has_no_log_until_it_has_one():
    source = fakes.FakeSource().add_views(fakes.serving("empty", pods=()))
    logs = fakes.FakeLogService()
    app = make_app(source, logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "empty")
        await open_page(pilot, app)
        await wait_for_text(pilot, "The serving has no Pods.")
        await pilot.press("l")
        await wait_for_text(pilot, "The serving has no Pods.")
        await pilot.press("3")
        await wait_for_text(pilot, "The serving has no Pods.")
        logs.lines["team-a", "empty-1", fakes.CRASHED_CONTAINER, False] = ["a line"]
        source.add_views(fakes.serving("empty", pods=(fakes.pod("empty-1"),)))
        await wait_for_text(pilot, "a line", "empty-1")


async def test_a_change_while_the_page_is_mounted_does_not_close_it():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, LLAMA.name)
        page = ServingScreen(source.fleet.view(LLAMA), find_neighbor=lambda _key, _step: None)
        app.push_screen(page)
        while not page.children:
            await asyncio.sleep(0)
        source.notify_changed([LLAMA])
        await wait_for(pilot, lambda: page.active_pane is not None, "the page")
        assert app.screen is page


async def test_changes_of_the_shown_serving_are_prioritized():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        assert source.prioritized == [LLAMA]
        await pilot.press("]")
        assert source.prioritized[1:] == [app.screen.key] and app.screen.key != LLAMA
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert source.prioritized[2:] == [None]
        await open_page(pilot, app)
        assert source.prioritized[3:] == [app.screen.key]


async def test_another_context_closes_the_page():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        source.context = "staging"
        source.notify_changed([])
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")


async def test_another_context_under_an_overlay_closes_the_page_after_it():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await pilot.press("c")
        await wait_for_text(pilot, "Connect to")
        source.context = "staging"
        source.notify_changed([])
        await pilot.pause()
        assert "Connect to" in screen_text(app)
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")


def test_no_pane_takes_a_key_of_the_page_or_of_the_app():
    def keys(scope: str) -> set[str]:
        return {key for action in actions_in_scope(scope) for key in action.keys.split(",")}

    # In a log, they go to errors; edit is a key of every other tab. q is short for a query.
    allowed = {LogsPane: {"e", "E"}, MetricsPane: {"q"}}
    for pane in PANES:
        taken = keys(pane.SCOPE) & (keys("serving") | keys("app"))
        assert taken == allowed.get(pane, set()), pane.SCOPE


async def test_a_double_click_on_a_pod_opens_it():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        lines = (await wait_for_text(pilot, SECOND_POD)).splitlines()
        y = next(at for at, line in enumerate(lines) if SECOND_POD in line)
        await pilot.click(offset=(3, y), times=2)
        await wait_for_text(pilot, f"Pod team-a/{SECOND_POD}")


async def test_connect_from_the_page():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("c")
        await wait_for_text(pilot, "Connect to search/embed-large")
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")


async def test_it_fits_any_terminal():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        for size in ((60, 20), (20, 10), (10, 3), (200, 60), (80, 24)):
            await pilot.resize_terminal(*size)
        await wait_for_text(pilot, "llama-70b-chat", "CrashLoopBackOff", "esc close")


async def test_the_next_serving_is_shown_on_the_same_screen_without_what_was_chosen_before():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        page = app.screen
        await pilot.press("p")
        await wait_for(pilot, lambda: page.active_pane.table.display, "the Pods at full size")
        await pilot.press("6")
        await wait_for_text(pilot, "No Events in the last hour.")
        await pilot.press("slash", *"oom", "enter", "9")
        await wait_for_text(pilot, "oom", f"9: there are {len(PANES)} tabs.")
        before = page.active_pane
        page._close()
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        await open_page(pilot, app, "home")
        assert app.screen is page
        lines = screen_text(app)
        assert "search/embed-large" in lines
        assert "llama-70b-chat" not in lines
        assert "there are" not in lines
        assert not page.active_pane.table.display
        await pilot.press("6")
        await wait_for_text(pilot, "No Events in the last hour.")
        assert "oom" not in screen_text(app)
        assert page.active_pane is not before
        await wait_for(pilot, lambda: not before.is_attached, "the former tab to be removed")


@pytest.mark.parametrize("key", ["enter", "right_square_bracket"])
@pytest.mark.parametrize("wait", [3600.0, 0.01])
async def test_the_first_paint_of_the_next_serving_waits_for_its_data_a_moment(
    monkeypatch: pytest.MonkeyPatch, key: str, wait: float
):
    detail_service = FakeDetailService()
    app = make_app(detail_service=detail_service)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        page = app.screen
        page._ticker.pause()  # it would paint the ages before the key
        await pilot.pause()
        if key == "enter":
            await pilot.press("escape")
            await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        paints = []
        monkeypatch.setattr(screen_base, "paint_now", paints.append)
        monkeypatch.setattr(screen_base, "PAINT_INTERVAL", 0.0)  # else a timer paints
        monkeypatch.setattr(serving_screen, "OPENING_SECONDS", wait)
        detail_service.is_loading = True
        shown = len(detail_service.watches)
        post_keys(pilot, key)  # a pilot paints after each key
        await wait_until(lambda: len(detail_service.watches) > shown, "the watch")
        if wait > 1:
            assert page not in paints
            assert not page.can_paint()
            detail_service.is_loading = False
            detail_service.notify()
        await wait_until(lambda: page in paints, "the paint")


@pytest.mark.parametrize("tab", ["2", "3", "4", "5", "6", "7"])
async def test_a_page_that_was_closed_on_another_tab_starts_with_the_first(tab: str):
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        page = app.screen
        await pilot.press(tab)
        await wait_for(
            pilot,
            lambda: isinstance(page.active_pane, PANES[int(tab) - 1]) and page._mounted_pane,
            "the tab",
        )
        page._close()
        await open_page(pilot, app, "j")
        assert isinstance(page.active_pane, OverviewPane)
        await wait_for_text(pilot, "Basic Information", "Ready Replicas")
        await pilot.press("l")
        await wait_for(pilot, lambda: isinstance(page.active_pane, PANES[2]), "the log")
        await wait_for_text(pilot, "3 Logs")


async def test_a_closed_page_does_nothing(monkeypatch):
    service = FakeDetailService()
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, detail_service=service)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        page = app.screen
        await wait_for(pilot, lambda: service.open_watches, "its watches")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        await wait_for(pilot, lambda: not service.open_watches, "the watches to close")
        assert not page._ticker._active.is_set()
        monkeypatch.setattr(page, "update_header", lambda: pytest.fail("it was updated"))
        monkeypatch.setattr(page._panes[0], "update_cards", lambda: pytest.fail("it was updated"))
        source.notify_changed([LLAMA])
        await pilot.pause()


async def test_the_list_under_the_page_draws_nothing_and_is_up_to_date_when_it_is_shown_again(
    monkeypatch: pytest.MonkeyPatch,
):
    source = fakes.FakeSource().add_views(*map(fakes.serving, ("a", "c", "d")))
    app = make_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, "team-a", "3 servings")
        await open_page(pilot, app)
        table, calls = app.servings.table, []
        with monkeypatch.context() as patches:
            for name in ("set_rows", "update_rows", "update_ages", "refresh"):
                patches.setattr(table, name, lambda *_, name=name: calls.append(name))
            a = source.fleet.view(NamespacedName("team-a", "a"))
            source.add_views(replace(a, restarts=77))
            source.add_views(fakes.serving("b"))
            app.servings._tick()
            await pilot.press("right_square_bracket")
            await wait_for_text(pilot, "team-a/b")
            source.remove_view(NamespacedName("team-a", "c"))
            await pilot.press("right_square_bracket")
            await wait_for_text(pilot, "team-a/d")
            assert not app.servings.is_current
            assert calls == []
        await pilot.press("escape")
        lines = (await wait_for_text(pilot, "3 servings", "77")).splitlines()
        names = [line.split()[0] for line in lines if " team-a " in line]
        assert names == ["a", "b", "d"]
        assert table.cursor_key == NamespacedName("team-a", "d")


async def test_esc_and_enter_in_the_same_packet():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        page = app.screen
        for _ in range(3):
            post_keys(pilot, "escape", "k", "enter", "6", "escape", "j", "enter")
        await wait_for(
            pilot,
            lambda: app.screen is page and page.key == LLAMA and page._mounted_pane is not None,
            "the page",
        )
        await wait_for_text(pilot, "team-a/llama-70b-chat", "Ready Replicas")


async def test_the_log_of_the_next_serving_is_not_shown_under_the_cards_of_the_former_one():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        page = app.screen
        await wait_for_text(pilot, FIRST_POD)
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        embed = app.source.fleet.view(NamespacedName("search", "embed-large"))
        page.reopen(embed, pane=PANES[2], log=None)
        assert page.tabs.active == "tab-2"
        assert not page._panes[0].cards.lines


async def test_a_terminal_that_is_resized_while_the_page_is_closed():
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await open_page(pilot, app, "j")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        await pilot.resize_terminal(60, 12)
        await open_page(pilot, app, "j")
        page = app.screen
        await wait_for(pilot, lambda: page.title_view.styles.height.value == 1, "one line")
        await wait_for(pilot, lambda: page._panes[0].cards.size.width == 60, "the new width")
        assert all(len(line) <= 60 for line in screen_text(app).splitlines())


async def test_closed_tabs_and_screens_are_noted_for_the_garbage_collection(monkeypatch):
    app = make_app()
    noted = []
    monkeypatch.setattr(app._idle_collector, "note_removed", lambda: noted.append(1))
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await pilot.press("t")
        await wait_for_text(pilot, "Timeline of")
        await pilot.press("escape")
        await wait_for(pilot, lambda: len(noted) == 1, "the closed screen")
        await pilot.press("3")
        await wait_for(pilot, lambda: app.screen._mounted_pane is app.screen._panes[2], "the log")
        app.screen._close()
        await wait_for(pilot, lambda: len(noted) == 2, "the closed tab")
