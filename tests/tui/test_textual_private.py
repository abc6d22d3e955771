"""The private parts of Textual still are what servedeck takes them for. A failure here, after an
update of Textual, names the part to adapt in tui/internals."""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import textwrap
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.text import Text
from textual import events
from textual._styles_cache import StylesCache
from textual.app import App, ComposeResult
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from tui.internals import driver as driver_module
from tui.internals import textual_private as private
from tui.internals.app_hooks import TerminalApp
from tui.internals.screen_diff import ScreenBuffer, is_partial_update


class SmallApp(TerminalApp):
    def __init__(self) -> None:
        super().__init__()
        self.unbound: list[str] = []
        self.crashes: list[Exception | None] = []

    def compose(self) -> ComposeResult:
        yield Static("text")

    def on_unbound_key(self, event: events.Key) -> None:
        self.unbound.append(event.key)

    def report_crash(self, error: Exception | None) -> tuple[Text]:
        self.crashes.append(error)
        return (Text("reported"),)


@asynccontextmanager
async def running() -> AsyncIterator[tuple[SmallApp, Any]]:
    app = SmallApp()
    async with app.run_test(size=(20, 4)) as pilot:
        await pilot.pause()
        yield app, pilot


# -- painting -------------------------------------------------------------------------------------


class ReferredStrip(Strip):
    """One that a weak reference can name."""


def test_a_painted_line_is_freed_without_a_collection() -> None:
    gc.disable()
    try:
        private.free_painted_strips()
        strip = ReferredStrip([Segment("text")])
        texts = [[one.text for one in strip.divide(cuts)] for cuts in ([4], [1, 4])]
        painted = weakref.ref(strip)
        del strip
        assert painted() is None
        assert texts == [["text"], ["t", "ext"]]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "request_paint",
    [
        lambda app: app.screen.refresh(),
        lambda app: app.screen.refresh(layout=True),
        lambda app: app.screen._dirty_widgets.add(app.query_one(Static)),
    ],
)
async def test_a_screen_says_that_it_has_to_paint(
    request_paint: Callable[[SmallApp], object],
) -> None:
    async with running() as (app, _):
        assert not private.needs_paint(app.screen)
        request_paint(app)
        assert private.needs_paint(app.screen)
        private.paint_now(app.screen)
        assert not private.needs_paint(app.screen)


async def test_a_screen_says_that_it_has_to_lay_out_or_to_call_back() -> None:
    async with running() as (app, _):
        assert not private.needs_layout(app.screen)
        app.screen.refresh(layout=True)
        assert private.needs_layout(app.screen)
        private.paint_now(app.screen)
        called: list[str] = []
        app.screen._invoke_later(lambda: called.append("back"), app)
        assert private.needs_layout(app.screen)
        private.paint_now(app.screen)
        await asyncio.sleep(0)
        assert not private.needs_layout(app.screen)


async def test_an_app_says_that_it_batches_updates() -> None:
    async with running() as (app, _):
        assert not private.is_batching(app)
        with app.batch_update():
            assert private.is_batching(app)
        assert not private.is_batching(app)


async def test_the_drawn_lines_are_freed() -> None:
    async with running():
        private.free_drawn_lines()
        assert StylesCache.get_inner_outer.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("style", "value"),
    [("height", 2), ("border", ("round", "red")), ("padding", (0, 1)), ("opacity", 0.5)],
)
async def test_plainly_drawn_lines_are_those_of_textual(style: str, value: object) -> None:
    async with running() as (app, pilot):
        widget = app.query_one(Static)
        setattr(widget.styles, style, value)
        await pilot.pause()
        expected = widget.render_lines(widget.size.region)
        private.draw_lines_plainly(widget)
        assert widget.render_lines(widget.size.region) == expected


async def test_a_screen_is_mounted_and_laid_out_ahead() -> None:
    async with running() as (app, _):
        screen: Screen[None] = Screen()
        app.install_screen(screen, "ahead")
        await private.mount_ahead(app, screen)
        assert screen.is_mounted
        assert screen.size == app.size
        assert screen not in app.screen_stack


def test_the_colors_of_a_console() -> None:
    console = Console(color_system="256", force_terminal=True)
    assert private.get_color_system(console) is ColorSystem.EIGHT_BIT
    assert private.get_color_system(Console(color_system=None)) is ColorSystem.TRUECOLOR


async def test_the_updates_of_a_screen_can_be_read() -> None:
    class RecordingApp(SmallApp):
        def _display(self, screen: Any, renderable: Any) -> None:
            seen.append(renderable)

    seen: list[Any] = []
    app = RecordingApp()
    async with app.run_test(size=(20, 4)) as pilot:
        await pilot.pause()
        app.query_one(Static).update("other")
        await pilot.pause()
    updates = [each for each in seen if is_partial_update(each)]
    assert {type(each) for each in updates} == {private.LayoutUpdate, private.ChopsUpdate}
    for update in updates:
        assert ScreenBuffer().make_patch(update, Size(20, 4)).runs
    made = private.LayoutUpdate([[Strip([])]], Region(0, 0, 1, 1))
    assert (made.strips, made.region) == ([[Strip([])]], Region(0, 0, 1, 1))


# -- message pumps and workers --------------------------------------------------------------------


async def test_the_message_pumps_of_an_app() -> None:
    async with running() as (app, _):
        found = set(private.get_message_pumps(app))
        assert {app.screen, app.query_one(Static)} <= found


async def test_a_pump_has_a_task_once_it_runs() -> None:
    async with running() as (app, _):
        assert isinstance(private.get_pump_task(app.query_one(Static)), asyncio.Task)
        assert private.get_pump_task(Static("not mounted")) is None


async def test_a_pump_says_whether_it_waits_for_messages() -> None:
    async with running() as (app, _):
        widget = app.query_one(Static)
        assert private.is_waiting_for_messages(widget)
        assert not private.has_messages(widget)
        widget.call_later(lambda: None)
        assert private.has_messages(widget)
        assert not private.is_waiting_for_messages(widget)


async def test_is_pump_closing() -> None:
    async with running() as (app, _):
        widget = app.query_one(Static)
        assert not private.is_pump_closing(widget)
        assert not private.is_pump_closed(widget)
        await widget.remove()
        assert private.is_pump_closing(widget)
        assert private.is_pump_closed(widget)


async def test_a_worker_has_a_task() -> None:
    async with running() as (app, _):
        end = asyncio.Event()
        worker = app.run_worker(end.wait())
        assert isinstance(private.get_worker_task(worker), asyncio.Task)
        end.set()
        await worker.wait()


# -- input ----------------------------------------------------------------------------------------


def test_the_known_key_sequences() -> None:
    assert isinstance(private.ANSI_SEQUENCES_KEYS["\x1b[A"], tuple)
    assert (private.SYNC_START, private.SYNC_END) == ("\x1b[?2026h", "\x1b[?2026l")


def test_the_parser_of_the_terminals_input() -> None:
    assert [event.key for event in private.XTermParser().feed("\x1b[A")] == ["up"]
    assert {"feed", "tick"} <= set(dir(private.XTermParser))


# -- what the app and the driver override ---------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["_on_key", "_display", "_fatal_error", "_print_error_renderables", "_check_bindings"]
)
def test_the_app_has_the_method_that_is_replaced(name: str) -> None:
    assert callable(getattr(App, name, None)), f"textual.app.App.{name} is gone: see app_hooks.py"


async def test_a_key_without_a_binding_reaches_the_app() -> None:
    async with running() as (app, pilot):
        await pilot.press("x", "ctrl+q")
        assert app.unbound == ["x"]  # ctrl+q is bound by Textual


async def test_an_internal_error_is_reported_by_the_app() -> None:
    app = SmallApp()
    with pytest.raises(ZeroDivisionError):
        async with app.run_test() as pilot:
            app.call_later(lambda: 1 / 0)
            await pilot.pause()
    assert [type(error) for error in app.crashes] == [ZeroDivisionError]


async def test_the_attributes_of_the_app_exist() -> None:
    async with running() as (app, _):
        assert app.terminal_driver is not None
        assert (app._running, app._closed, app._sync_available) == (True, False, False)
        assert (app._exit_renderables, app._exception) == ([], None)


def private_names(source: str) -> set[str]:
    """Private attributes of `self` that a text of a class uses or defines."""
    tree = ast.parse(textwrap.dedent(source))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {name for name in used | defined if name.startswith("_") and not name.startswith("__")}


def test_the_driver_has_the_parts_that_are_used() -> None:
    ours = {
        "_app",
        "_debug",
        "_key_thread",
        "_loop",
        "_patch_iflag",
        "_patch_lflag",
        "_request_terminal_sync_mode_support",
        "_run_input_thread",
        "_size",
    }
    theirs = private_names(inspect.getsource(Driver)) | private_names(
        inspect.getsource(LinuxDriver)
    )
    assert ours - theirs == set(), "textual.drivers.linux_driver changed: see driver.py"
    used = private_names(inspect.getsource(driver_module.TerminalDriver)) & theirs
    assert used - {"_get_terminal_size", "_process_messages"} <= ours
    assert callable(getattr(App, "_handle_exception", None))


def test_a_handler_of_a_subclass_is_called_before_textuals_private_one() -> None:
    # PlainInput.on_key and on_paste rely on it; Input has _on_key and _on_paste
    class Probe(Widget):
        def on_key(self, event: events.Key) -> None: ...

    class Sub(Probe):
        def on_key(self, event: events.Key) -> None: ...

    event = events.Key("x", "x")
    found = [cls for cls, _ in cast(Any, Sub())._get_dispatch_methods("on_key", event)]
    assert found[:2] == [Sub, Probe]
