"""What the screens need of the async queues of servings; tests bring their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servedeck.async_queue.queue_api import QueueApi
    from servedeck.changes.async_queue.plan import AsyncQueuePlan, AsyncQueueResult
    from servedeck.fleet.views import NamespacedName


class AsyncQueueService(Protocol):
    def queue_api(self, key: NamespacedName) -> QueueApi:
        """What the async queue of a serving can be asked, through the present connection. Raises
        ClusterError without one, and for settings that cannot be used."""

    async def plan_on(self, key: NamespacedName, *, force: bool = False) -> AsyncQueuePlan:
        """What turning it on, or on again, would do now. `force` overwrites fields that other
        managers have set. Raises ClusterError."""

    async def run_on(
        self, plan: AsyncQueuePlan, on_progress: Callable[[str], None]
    ) -> AsyncQueueResult:
        """Do what the plan says; `on_progress` takes sentences. Raises ClusterError if there is no
        connection to do it with."""

    async def look_again(self, result: AsyncQueueResult) -> AsyncQueueResult:
        """The result after a lost response, as far as the objects show it now. Raises ClusterError
        if there is no connection."""

    async def close(self) -> None:
        """Close all connections of its own."""
