"""The status of one serving in front of the list: opened by key, click or mouse, kept true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Region
from textual.timer import Timer

from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.capacity import InsufficientResource, describe_closest_nodes
from widgets.status_popover import CrashedContainer, LogTail, StatusPopover, find_crashed_container

if TYPE_CHECKING:
    from tui.ports.change_service import Inventory
    from tui.screens.servings import ServingsScreen

LOG_TAIL_LINES = 20
"""Lines of the crashed container that are shown."""

NODES_UPDATE_SECONDS = 0.5
"""Seconds between two looks at what is free on the nodes, while that changes all the time."""

HOVER_DELAY_SECONDS = 0.35
"""Seconds that the mouse rests on a status before it is shown."""


class StatusPopoverController:
    """Keeps the popover of the serving list where it belongs and true."""

    def __init__(self, screen: ServingsScreen) -> None:
        self._screen = screen
        self._hover_timer: Timer | None = None
        self._hover_preview = False
        self._log_tail: LogTail | None = None
        self._last_placement: tuple[Region, int] | None = None
        """Where it was placed last; None where that was of another text."""
        self._node_inventory: Inventory | None = None
        """The nodes and what is in use of them, watched while a shortage is shown."""
        self._nodes_timer: Timer | None = None

    @property
    def popover(self) -> StatusPopover:
        return self._screen.popover

    @property
    def is_open(self) -> bool:
        return self.popover.is_open

    @property
    def accepts_keys(self) -> bool:
        """Whether keys are meant for it; not where the mouse alone shows it."""
        return self.is_open and not self._hover_preview

    def open(self, view: ServingView, *, hover_preview: bool = False) -> None:
        """Show the status of a serving; `peeking` leaves the keys to the list."""
        self._hover_preview = hover_preview
        self._log_tail = None
        self._watch_nodes(view)
        self._show(view, self._log_tail_for(view))
        if not hover_preview:
            self.popover.focus()
        self._screen.update_footer()

    def close(self) -> None:
        self._hover_preview = False
        self._log_tail = None
        self._stop_watching_nodes()
        self.popover.hide()
        self._screen.table.focus()
        self._screen.update_footer()

    def update(self) -> None:
        """Bring what is open up to date."""
        if self.popover.view is None:
            return
        key = self.popover.view.key
        view = self._find_view(key)
        if view is None:
            self.close()
            self._screen.show_message(f"{key} was deleted.", "warning")
        else:
            if view is not self.popover.view:
                self._watch_nodes(view)
                self._show(view, self._log_tail_for(view))
            self.place()  # other rows may have moved this one

    def _show(self, view: ServingView, tail: LogTail | None) -> None:
        self.popover.show_status(view, tail, self._nearest_capacity(view))
        self._last_placement = None
        self.place()

    def place(self) -> None:
        """Below or above the serving's row, at its edge where the row was scrolled out of
        sight; column labels and row stay in sight."""
        view = self.popover.view
        if view is not None:
            rows, line = self._screen.table.row_position(view.key)
            placed = (rows, line)
            if placed != self._last_placement:
                self._last_placement = placed
                self.popover.place(rows, line)

    def handle_hover(self, key: NamespacedName | None) -> None:
        """The mouse is on the status of a serving, or on none."""
        if self._hover_timer is not None:
            self._hover_timer.stop()
        if key is not None or self._hover_preview:
            self._hover_timer = self._screen.set_timer(
                HOVER_DELAY_SECONDS, lambda: self._update_hover_preview(key)
            )

    def _update_hover_preview(self, key: NamespacedName | None) -> None:
        """Show the status under the mouse while the mouse stays there or on what is shown."""
        view = self._find_view(key) if key is not None else None
        if view is not None and not self.accepts_keys:
            self.open(view, hover_preview=True)
        elif self._hover_preview and self._screen.app.mouse_over is not self.popover:
            self.close()

    def _find_view(self, key: NamespacedName) -> ServingView | None:
        return self._screen.app_context.source.fleet.view(key)

    def _log_tail_for(self, view: ServingView) -> LogTail | None:
        """The crashed container's lines; begins to read them where they are not known, and again
        where that failed, with the next change of the serving."""
        crash = find_crashed_container(view)
        if crash is None:
            self._log_tail = None
        elif self._log_tail is None or self._log_tail.container != crash or self._log_tail.error:
            known = (
                self._log_tail
                if self._log_tail and self._log_tail.container[:3] == crash[:3]
                else None
            )
            self._log_tail = LogTail(crash, known.lines if known else ())
            self._screen.start_worker(self._read_log_tail(crash), "tail")
        return self._log_tail

    async def _read_log_tail(self, crash: CrashedContainer) -> None:
        tail = await self._screen.app_context.read_log_tail(crash, LOG_TAIL_LINES)
        if (
            self._log_tail is not None
            and self._log_tail.container == crash
            and self.popover.view is not None
        ):
            self._log_tail = tail
            self._show(self.popover.view, self._log_tail)

    # -- what is free on the nodes ------------------------------------------------------------

    def _watch_nodes(self, view: ServingView) -> None:
        """Watch the nodes while they can say something about what is shown."""
        workbench = self._screen.app_context.change_service
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
            self._screen.run_worker(nodes.close(), "nodes", exit_on_error=False)

    def _on_nodes_changed(self) -> None:
        """Something on the nodes changed; many changes at once are shown as one."""
        if self._nodes_timer is None and self._node_inventory is not None:
            self._nodes_timer = self._screen.set_timer(NODES_UPDATE_SECONDS, self._update_nodes)

    def _update_nodes(self) -> None:
        self._nodes_timer = None
        if self.popover.view is not None:
            self._show(self.popover.view, self._log_tail)

    def _nearest_capacity(self, view: ServingView) -> str:
        """Where the most is free of what is scarce; "" where that is not known."""
        rooms = self._node_inventory.node_capacities() if self._node_inventory is not None else None
        return describe_closest_nodes(rooms, _scarce_resources(view)) if rooms is not None else ""


def _scarce_resources(view: ServingView) -> list[InsufficientResource]:
    """What the Pods of the serving ask for of the resources that are scarce."""
    found = {one.resource: one for pod in view.failing_pods for one in pod.insufficient_resources}
    return list(found.values())
