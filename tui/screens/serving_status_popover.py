"""The status of one serving over the list: opened by a key, a click or the mouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

from textual.geometry import Region
from textual.timer import Timer

from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.capacity import InsufficientResource, describe_closest_nodes
from tui.screens.base import ActionScreen
from widgets.status_popover import CrashedContainer, LogTail, StatusPopover, find_crashed_container

if TYPE_CHECKING:
    from tui.ports.change_service import Inventory

LOG_TAIL_LINES = 20
"""Number of lines of the crashed container that are shown."""

NODES_UPDATE_SECONDS = 0.5
"""Minimum number of seconds between two updates of the free capacity."""

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
        self._crash_tail: LogTail | None = None
        self._last_placement: tuple[Region, int] | None = None
        """The last placement; None after the text changed."""
        self._node_inventory: Inventory | None = None
        """The nodes and what is in use of them, watched while a shortage is shown."""
        self._nodes_timer: Timer | None = None

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
        self._crash_tail = None
        self._watch_nodes(view)
        self._show_view(view, self._find_log_tail(view))
        if not hover_preview:
            self.focus()
        self._action_screen.update_footer()

    def close(self) -> None:
        self._hover_preview = False
        self._crash_tail = None
        self._stop_watching_nodes()
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
                self._watch_nodes(view)
                self._show_view(view, self._find_log_tail(view))
            self.reposition()  # other rows may have moved this one

    def _show_view(self, view: ServingView, tail: LogTail | None) -> None:
        self.show_status(view, tail, self._nearest_capacity(view))
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

    def _find_log_tail(self, view: ServingView) -> LogTail | None:
        """The crashed container's lines; starts to read them if they are unknown, and again after
        an error with the next change of the serving."""
        crash = find_crashed_container(view)
        if crash is None:
            self._crash_tail = None
        elif (
            self._crash_tail is None
            or self._crash_tail.container != crash
            or self._crash_tail.error
        ):
            known = (
                self._crash_tail
                if self._crash_tail and self._crash_tail.container[:3] == crash[:3]
                else None
            )
            self._crash_tail = LogTail(crash, known.lines if known else ())
            self._action_screen.start_worker(self._read_log_tail(crash), "tail")
        return self._crash_tail

    async def _read_log_tail(self, crash: CrashedContainer) -> None:
        tail = await self._action_screen.app_context.read_log_tail(crash, LOG_TAIL_LINES)
        if (
            self._crash_tail is not None
            and self._crash_tail.container == crash
            and self.view is not None
        ):
            self._crash_tail = tail
            self._show_view(self.view, self._crash_tail)

    # -- what is free on the nodes ------------------------------------------------------------

    def _watch_nodes(self, view: ServingView) -> None:
        """Watch the nodes while a shortage is shown."""
        workbench = self._action_screen.app_context.change_service
        if not _scarce_resources(view) or self._hover_preview or workbench is None:
            self._stop_watching_nodes()
        elif self._node_inventory is None:
            self._node_inventory = workbench.watch_inventory(
                view.key.namespace, self._on_nodes_changed, nodes_only=True
            )

    def _stop_watching_nodes(self) -> None:
        if self._nodes_timer is not None:
            self._nodes_timer.stop()
            self._nodes_timer = None
        if self._node_inventory is not None:
            nodes, self._node_inventory = self._node_inventory, None
            self.screen.run_worker(nodes.close(), "nodes", exit_on_error=False)

    def _on_nodes_changed(self) -> None:
        """Something on the nodes changed; several changes are shown together."""
        if self._nodes_timer is None and self._node_inventory is not None:
            self._nodes_timer = self.set_timer(NODES_UPDATE_SECONDS, self._update_nodes)

    def _update_nodes(self) -> None:
        self._nodes_timer = None
        if self.view is not None:
            self._show_view(self.view, self._crash_tail)

    def _nearest_capacity(self, view: ServingView) -> str:
        """The nodes with the most free capacity of the scarce resources; "" if unknown."""
        rooms = self._node_inventory.node_capacities() if self._node_inventory is not None else None
        return describe_closest_nodes(rooms, _scarce_resources(view)) if rooms is not None else ""


def _scarce_resources(view: ServingView) -> list[InsufficientResource]:
    """What the Pods of the serving request of the scarce resources."""
    found = {one.resource: one for pod in view.failing_pods for one in pod.insufficient_resources}
    return list(found.values())
