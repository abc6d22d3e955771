"""The private parts of Textual (and one of Rich) that servedeck reads or calls.

A release of Textual may change any of them. The others are those that `app_hooks.py` and
`driver.py` override. tests/tui/test_textual_private.py tests each, and tests/test_architecture.py
that no other module uses one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.cells import cached_cell_len
from rich.color import ColorSystem
from rich.console import Console
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS, SYNC_END, SYNC_START
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual._styles_cache import StylesCache
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.color import Color
from textual.css.styles import StylesBase
from textual.geometry import Size
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import Worker

__all__ = [
    "ANSI_SEQUENCES_KEYS",
    "SYNC_END",
    "SYNC_START",
    "ChopsUpdate",
    "CompositorUpdate",
    "LayoutUpdate",
    "XTermParser",
]

# -- painting -------------------------------------------------------------------------------------


def needs_paint(screen: Screen[Any]) -> bool:
    """Whether the screen has a layout, a repaint or a scroll to do at its next frame."""
    return bool(
        screen._layout_required
        or screen._repaint_required
        or screen._scroll_required
        or screen._dirty_widgets
    )


def needs_layout(screen: Screen[Any]) -> bool:
    """Whether the screen has a layout, or a callback after it, to do at its next frame."""
    return bool(screen._layout_required or screen._callbacks)


def paint_now(screen: Screen[Any]) -> None:
    """Do what Textual does at the screen's next frame: lay out, paint, call back. Textual paints
    after the layout and, where the whole screen is to be repainted, once more; this paints once."""
    size = screen.outer_size
    if screen._layout_required and screen._repaint_required and screen._compositor.size == size:
        screen._repaint_required = False
        screen._compositor._dirty_regions.add(size.region)
    screen._on_timer_update()


def is_batching(app: App[Any]) -> bool:
    """Whether painting waits for the end of `App.batch_update`."""
    return app._batch_count > 0


def free_drawn_lines() -> None:
    """Empty the caches of drawn text: the lines of the last 1,024 widgets, including those of
    closed screens (14 MiB after 400 screens), and the texts whose width was measured last."""
    StylesCache.get_inner_outer.cache_clear()
    cached_cell_len.cache_clear()


class _PlainStylesCache(StylesCache):
    """The drawn lines of a widget without borders and effects: Textual's own looks these up for
    each line again, which is half of the time of a paint."""

    _is_plain = False

    def render(self, styles: StylesBase, *args: Any, **options: Any) -> list[Strip]:
        has_effects = options.get("opacity", 1.0) != 1.0 or any(map(styles.has_rule, _LINE_EFFECTS))
        self._is_plain = not (has_effects or styles.gutter)
        return super().render(styles, *args, **options)

    def render_line(
        self,
        styles: StylesBase,
        y: int,
        size: Size,
        content_size: Size,
        padding: Any,
        base_background: Color,
        background: Color,
        render_content_line: Callable[[int], Strip],
        *others: Any,
    ) -> Strip:
        if not self._is_plain:
            return super().render_line(
                *(styles, y, size, content_size, padding, base_background, background),
                *(render_content_line, *others),
            )
        style = self.get_inner_outer(base_background, background)[0].rich_style
        if y >= content_size.height:
            return Strip.blank(size.width, style)
        return render_content_line(y).adjust_cell_length(size.width, style)


_LINE_EFFECTS = (
    *("outline_top", "outline_right", "outline_bottom", "outline_left"),
    *("tint", "hatch", "text_opacity"),
)


_divide = Strip.divide


def _divide_without_cycle(self: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
    """As Textual's own, which keeps what it has divided: a strip that is not cut would keep itself.
    Then only a collection of garbage frees the lines that were painted before: 75 KiB for each
    time that eight charts are drawn again, which soon are too old for the collections of new
    objects."""
    cuts = list(cuts)
    return [self] if cuts == [self.cell_length] else _divide(self, cuts)


def free_painted_strips() -> None:
    """Have each painted line freed as soon as another one is in its place."""
    Strip.divide = _divide_without_cycle  # type: ignore[method-assign]


def draw_lines_plainly(widget: Widget) -> None:
    """Draw the lines of a widget in less time, as long as it has neither a border nor effects."""
    widget._styles_cache = _PlainStylesCache()


def get_color_system(console: Console) -> ColorSystem:
    """The colors of the console as Rich's enum; its public property is only a name."""
    return console._color_system or ColorSystem.TRUECOLOR


# -- message pumps --------------------------------------------------------------------------------


def get_message_pumps(app: App[Any]) -> Iterable[MessagePump]:
    """All widgets and screens of the app that handle messages."""
    return app._registry


async def mount_ahead(app: App[Any], screen: Screen[Any]) -> None:
    """Mount an installed screen that is shown later, and lay it out in the size of the terminal;
    Textual's own API does that when it is pushed."""
    _, mounted = app._get_screen(screen)
    await mounted
    if screen not in app.screen_stack:
        screen._refresh_layout(app.size)


def get_pump_task(pump: MessagePump) -> asyncio.Task[None] | None:
    """The task that handles its messages; None before it starts, and for the app itself."""
    return pump._task


def has_messages(pump: MessagePump) -> bool:
    """Whether messages are left besides the one that it handles now."""
    return pump._pending_message is not None or not pump._message_queue.empty()


def is_waiting_for_messages(pump: MessagePump) -> bool:
    """Whether it waits for a message, so that all earlier ones are handled."""
    ready: asyncio.Event = pump._message_queue.ready_event
    # It waits on its queue only while it handles nothing.
    return bool(ready._waiters) and not ready.is_set()


def is_pump_closing(pump: MessagePump) -> bool:
    """Whether it has begun to close, or has closed."""
    return pump._closing or pump._closed


def is_pump_closed(pump: MessagePump) -> bool:
    """Whether it has closed."""
    return pump._closed


# -- workers --------------------------------------------------------------------------------------


def get_worker_task(worker: Worker[Any]) -> asyncio.Task[Any] | None:
    """The task of a worker; None before it starts."""
    return worker._task
