"""What the status of a failing serving shows beside its view: the last lines of its crashed
container, and the nodes with the most free capacity."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING

from textual.timer import Timer

from servedeck.fleet.views import ServingView
from servedeck.serving.capacity import InsufficientResource, describe_closest_nodes
from widgets.status_paragraphs import CrashedContainer, LogTail, find_crashed_container

if TYPE_CHECKING:
    from tui.ports.app_context import AppContext
    from tui.ports.change_service import Inventory

LOG_TAIL_LINES = 20
"""Number of lines of the crashed container that are shown."""

NODES_UPDATE_SECONDS = 0.5
"""Minimum number of seconds between two updates of the free capacity."""


class StatusDetails:
    """Reads and watches only while a serving is shown that needs it: `update` with its view,
    `stop` at the end."""

    def __init__(
        self,
        context: Callable[[], AppContext],
        *,
        start_worker: Callable[[Coroutine[None, None, None], str], object],
        set_timer: Callable[[float, Callable[[], None]], Timer],
        on_change: Callable[[], None],
    ) -> None:
        """`context` gives the app; `start_worker` runs a coroutine in the background, in place of
        the one before of the same name; `on_change` is called when something new was read."""
        self._context = context
        self._start_worker = start_worker
        self._set_timer = set_timer
        self._on_change = on_change
        self.log_tail: LogTail | None = None
        self._node_inventory: Inventory | None = None
        """The nodes and what is in use of them, watched while a shortage is shown."""
        self._nodes_timer: Timer | None = None

    def update(self, view: ServingView, *, watch_nodes: bool = True) -> None:
        """The serving as it is now."""
        self._update_nodes_watch(view, watch_nodes)
        self._update_log_tail(view)

    def stop(self) -> None:
        """No serving is shown any more."""
        self.log_tail = None
        self._stop_watching_nodes()

    # -- the crashed container ----------------------------------------------------------------

    def _update_log_tail(self, view: ServingView) -> None:
        """Starts to read the lines if they are unknown, and again after an error with the next
        change of the serving."""
        crash, tail = find_crashed_container(view), self.log_tail
        if crash is None:
            self.log_tail = None
        elif tail is None or tail.container != crash or tail.error:
            known = tail if tail and tail.container[:3] == crash[:3] else None
            self.log_tail = (
                LogTail(crash)
                if known is None
                else known._replace(container=crash, error="", loading=True)
            )
            self._start_worker(self._read_log_tail(crash), "tail")

    async def _read_log_tail(self, crash: CrashedContainer) -> None:
        tail = await self._context().read_log_tail(crash, LOG_TAIL_LINES)
        if self.log_tail is not None and self.log_tail.container == crash:
            self.log_tail = tail
            self._on_change()

    # -- what is free on the nodes ------------------------------------------------------------

    def _update_nodes_watch(self, view: ServingView, wanted: bool) -> None:
        """Watch the nodes while a shortage is shown."""
        changes = self._context().change_service
        if not _insufficient_resources(view) or not wanted or changes is None:
            self._stop_watching_nodes()
        elif self._node_inventory is None:
            self._node_inventory = changes.watch_inventory(
                view.key.namespace, self._on_nodes_changed, nodes_only=True
            )

    def _stop_watching_nodes(self) -> None:
        if self._nodes_timer is not None:
            self._nodes_timer.stop()
            self._nodes_timer = None
        if self._node_inventory is not None:
            nodes, self._node_inventory = self._node_inventory, None
            self._start_worker(_close(nodes.close()), "nodes")

    def _on_nodes_changed(self) -> None:
        """Something on the nodes changed; several changes are shown together."""
        if self._nodes_timer is None and self._node_inventory is not None:
            self._nodes_timer = self._set_timer(NODES_UPDATE_SECONDS, self._show_nodes)

    def _show_nodes(self) -> None:
        self._nodes_timer = None
        self._on_change()

    def capacity_hint(self, view: ServingView) -> str:
        """The nodes with the most free capacity of the insufficient resources; "" if unknown."""
        nodes = self._node_inventory.node_capacities() if self._node_inventory is not None else None
        return (
            describe_closest_nodes(nodes, _insufficient_resources(view))
            if nodes is not None
            else ""
        )


def recovery_text(view: ServingView, context: AppContext, scope: str) -> str:
    """The recovery step, with the key of the screen with that scope where one does it."""
    if not view.is_rollout_blocked:
        return view.recovery
    key = context.key_display_for(f"{scope}.unblock")
    return f"{key} lets an old Pod stop first: rollout={view.rollout_way_out}."


async def _close(closing: Awaitable[object]) -> None:
    await closing


def _insufficient_resources(view: ServingView) -> list[InsufficientResource]:
    """What the Pods of the serving request of the insufficient resources."""
    found = {one.resource: one for pod in view.failing_pods for one in pod.insufficient_resources}
    return list(found.values())
