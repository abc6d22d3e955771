"""The tab Async Queue on a real connection: opens it, presses keys, reads its lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from servedeck.async_queue.tasks import TaskState
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.config import Settings
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.fleet.session import ClusterSession
from tests.control_plane.async_gateway import SERVING, AsyncGateway
from tests.control_plane.page import select_serving
from tests.control_plane.test_app import AppDriver
from tests.waiting import wait_until
from tui.app import ServedeckApp
from tui.async_queue_service import ClusterAsyncQueueService
from tui.log_service import ClusterLogService
from tui.panes.queue import QueuePane
from tui.screens.serving import ServingScreen
from widgets.columns import AgeCell
from widgets.task_rows import STATE_SPANS

TAB = "4"
"""Key of the tab."""


class QueueTab(AppDriver):
    """The app on the tab of one serving."""

    async def open(self) -> None:
        await self.wait_for_row(SERVING, "Ready")
        await select_serving(self, SERVING)
        await self.press("enter", TAB)
        await self.wait_for(
            lambda: isinstance(getattr(self.app.screen, "active_pane", None), QueuePane), "the tab"
        )
        await self.wait_for(lambda: "Loading…" not in self.screen_text, "the first answer")

    @property
    def pane(self) -> QueuePane:
        page = next(one for one in self.app.screen_stack if isinstance(one, ServingScreen))
        pane = page.active_pane
        assert isinstance(pane, QueuePane)
        return pane

    @property
    def states(self) -> dict[str, TaskState]:
        """Of the tasks of the table by their ids, as the cells say, in the order of the lines."""
        return {str(row.key): _state(row.cells) for row in self.pane.table.rows}

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        await self.press(*text)

    async def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Until the condition holds, and the app has done what it is at then."""
        await wait_until(
            condition,
            what,
            interval=0.02,
            describe_state=lambda: f"on\n{self.screen_text}",
        )
        await self.pilot.pause()

    async def wait_for_text(self, *texts: str) -> None:
        """Until all the texts are on the screen, broken over lines or not."""

        def is_shown() -> bool:
            flowing = " ".join(self.screen_text.split())
            return all(text in flowing for text in texts)

        await self.wait_for(is_shown, f"{texts}")

    async def wait_for_states(self, wanted: dict[str, TaskState]) -> None:
        """Until the table has these tasks, in this order, in these states."""
        await self.wait_for(lambda: list(self.states.items()) == list(wanted.items()), f"{wanted}")

    async def wait_until_as_stored(self, gateway: AsyncGateway) -> None:
        """Until the table has what the store has; nothing else may change that."""
        stored = await gateway.stored_tasks()
        await self.wait_for_states({one.id: one.state for one in stored})


def _state(cells: Sequence[Any]) -> TaskState:
    """Of a task, by the cells of its line."""
    texts = [_cell_text(one) for one in cells]
    [state] = [
        state
        for state, (name, _) in STATE_SPANS.items()
        if any(text.startswith(name) for text in texts)
    ]
    return state


def _cell_text(cell: Any) -> str:
    """ "" for an age, which is painted by a clock."""
    if isinstance(cell, AgeCell):
        return ""
    return cell if isinstance(cell, str) else "".join(text for text, _style_name in cell)


@asynccontextmanager
async def running_tab(
    kubeconfig: Path,
    namespace: str,
    size: tuple[int, int] = (120, 40),
    *,
    clock: Callable[[], datetime] | None = None,
) -> AsyncIterator[QueueTab]:
    """The tab, as soon as it is connected or says why not. `clock` is the terminal's."""
    live = ClusterSession(
        ConnectionOptions(kubeconfig=(kubeconfig,), namespace=namespace), Settings()
    )
    app = ServedeckApp(
        live,
        ClusterLogService(lambda: live.connection),
        ClusterDetailService(lambda: live.connection),
        clock=clock or (lambda: datetime.now(UTC)),
        async_queue_service=ClusterAsyncQueueService(lambda: live.connection, Settings),
    )
    try:
        async with app.run_test(size=size) as pilot:
            tab = QueueTab(app, live, pilot)
            await tab.open()
            yield tab
    finally:
        await live.close()
