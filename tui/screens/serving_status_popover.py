"""The status of one serving over the list: opened by a key, a click or the mouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast

from textual.geometry import Region
from textual.timer import Timer

from servedeck.fleet.views import NamespacedName, ServingView
from tui.screens.base import ActionScreen
from tui.status_details import StatusDetails, recovery_text
from widgets.status_popover import StatusPopover

HOVER_DELAY_SECONDS = 0.35
"""Seconds that the mouse rests on a status before it is shown."""


class ServingStatusPopover(StatusPopover):
    """The status popover of the serving list: it follows its serving and stays at its row."""

    def __init__(
        self,
        pod_keys: Sequence[str],
        now: Callable[[], datetime],
        *,
        row_position: Callable[[NamespacedName], tuple[Region, int]],
        focus_list: Callable[[], object],
    ) -> None:
        """`row_position` gives the region of the list's rows and the line of a serving in it;
        `focus_list` gives the focus back when the popover closes."""
        super().__init__(pod_keys, now)
        self._row_position = row_position
        self._focus_list = focus_list
        self._hover_timer: Timer | None = None
        self._hover_preview = False
        self._details = StatusDetails(
            lambda: self._action_screen.app_context,
            start_worker=lambda work, name: self._action_screen.start_worker(work, name),
            set_timer=self.set_timer,
            on_change=self._show_details,
        )
        self._last_placement: tuple[Region, int] | None = None
        """The last placement; None after the text changed."""

    @property
    def _action_screen(self) -> ActionScreen[None]:
        return cast("ActionScreen[None]", self.screen)

    @property
    def accepts_keys(self) -> bool:
        """Whether it takes keys; not if it is open because of the mouse only."""
        return self.is_open and not self._hover_preview

    def open(self, view: ServingView, *, hover_preview: bool = False) -> None:
        """Show the status of a serving; `hover_preview` leaves the keys to the list."""
        self._hover_preview = hover_preview
        self._details.stop()
        self._details.update(view, watch_nodes=not hover_preview)
        self._show_view(view)
        if not hover_preview:
            self.focus()
        self._action_screen.update_footer()

    def close(self) -> None:
        self._hover_preview = False
        self._details.stop()
        self.hide()
        self._focus_list()
        self._action_screen.update_footer()

    def update_status(self) -> None:
        """Update the popover."""
        if self.view is None:
            return
        key = self.view.key
        view = self._find_view(key)
        if view is None:
            self.close()
            self._action_screen.show_message(f"{key} was deleted.", "warning")
        else:
            if view is not self.view:
                self._details.update(view, watch_nodes=not self._hover_preview)
                self._show_view(view)
            self.reposition()  # other rows may have moved this one

    def _show_details(self) -> None:
        if self.view is not None:
            self._show_view(self.view)

    def _show_view(self, view: ServingView) -> None:
        self.show_status(
            view,
            self._details.log_tail,
            self._details.capacity_hint(view),
            recovery_text(view, self._action_screen.app_context, "servings"),
        )
        self._last_placement = None
        self.reposition()

    def reposition(self) -> None:
        """Below or above the serving's row, at its edge where the row was scrolled out of
        sight; column labels and row stay in sight."""
        view = self.view
        if view is not None:
            rows, line = self._row_position(view.key)
            placed = (rows, line)
            if placed != self._last_placement:
                self._last_placement = placed
                self.place(rows, line)

    def handle_hover(self, key: NamespacedName | None) -> None:
        """The mouse is on the status of a serving, or on none."""
        if self._hover_timer is not None:
            self._hover_timer.stop()
        if key is not None or self._hover_preview:
            self._hover_timer = self.set_timer(
                HOVER_DELAY_SECONDS, lambda: self._update_hover_preview(key)
            )

    def _update_hover_preview(self, key: NamespacedName | None) -> None:
        """Show the status under the mouse while the mouse stays there or on what is shown."""
        view = self._find_view(key) if key is not None else None
        if view is not None and not self.accepts_keys:
            self.open(view, hover_preview=True)
        elif self._hover_preview and self.app.mouse_over is not self:
            self.close()

    def _find_view(self, key: NamespacedName) -> ServingView | None:
        return self._action_screen.app_context.source.fleet.view(key)
