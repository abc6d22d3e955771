"""The app's private methods that servedeck replaces, behind methods with public names."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rich.console import RenderableType
from rich.control import Control
from textual import events
from textual.app import App
from textual.driver import Driver
from textual.screen import Screen

from tui.internals.driver import TerminalDriver
from tui.internals.screen_diff import ScreenBuffer, is_partial_update
from tui.internals.textual_private import (
    SYNC_END,
    SYNC_START,
    free_painted_strips,
    is_batching,
    is_pump_closed,
)


class TerminalApp(App[None]):
    """Sends only the cells that differ from what the terminal shows; its subclass decides what
    happens with a key that nothing handles, and after an internal error."""

    def __init__(
        self, *, driver_class: type[Driver] | None = None, ansi_color: bool | None = None
    ) -> None:
        super().__init__(driver_class=driver_class, ansi_color=ansi_color)
        free_painted_strips()
        self.screen_buffer = ScreenBuffer()
        # Textual mounts two more widgets with each screen for them; servedeck shows neither.
        self._disable_tooltips = self._disable_notifications = True

    @property
    def terminal_driver(self) -> Driver | None:
        """The driver; None before the app runs."""
        return self._driver

    def last_input_at(self) -> float:
        """When the terminal sent input last, on the monotonic clock; 0 for never."""
        driver = self._driver
        return driver.last_input_at if isinstance(driver, TerminalDriver) else 0.0

    # -- for the subclass -------------------------------------------------------------------------

    def on_unbound_key(self, event: events.Key) -> None:
        """A key that no screen, widget or binding handled."""

    def report_crash(self, error: Exception | None) -> Iterable[RenderableType]:
        """Log an internal error; returns what is printed once the terminal is restored."""
        return (str(error),)

    def ignores_error(self, error: Exception) -> bool:
        """Whether the program does not end because of an internal error."""
        return False

    # -- private methods of Textual ---------------------------------------------------------------

    def _handle_exception(self, error: Exception) -> None:
        if not self.ignores_error(error):
            super()._handle_exception(error)

    async def _on_key(self, event: events.Key) -> None:
        event.prevent_default()
        if not await self._check_bindings(event.key):
            self.on_unbound_key(event)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Send only the cells that differ from what the terminal shows."""
        driver = self._driver
        sends = self._running and not (
            is_pump_closed(self) or self.is_headless or is_batching(self)
        )
        if sends and isinstance(driver, TerminalDriver) and driver.is_output_full():
            self.post_display_hook()  # the driver requests a full redraw later
            return
        if not (sends and driver is not None and is_partial_update(renderable)):
            super()._display(screen, renderable)
            return
        patch = self.screen_buffer.make_patch(renderable, screen.outer_size)
        if patch.runs:
            # One write: each one wakes the writer thread, which then waits for the interpreter.
            sequence = (
                patch.render_segments(self.console)
                + Control.move_to(
                    *screen.outer_size.clamp_offset(self.cursor_position)
                ).segment.text
            )
            if self._sync_available:
                sequence = f"{SYNC_START}{sequence}{SYNC_END}"
            driver.write(sequence)
        self.post_display_hook()

    def _fatal_error(self) -> None:
        """Exit after an internal error. Textual's traceback shows the values of all variables,
        including secrets."""
        self.bell()
        self.panic(*self.report_crash(self._exception))

    def _print_error_renderables(self) -> None:
        try:
            for renderable in self._exit_renderables:
                self.error_console.print(renderable)
        except OSError:
            # The terminal is closed. Python would flush once more at exit and change the exit code.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        self._exit_renderables.clear()
