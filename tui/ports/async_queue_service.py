"""What the screens need of the async queues of servings; tests bring their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from servedeck.async_queue.queue_api import QueueApi
    from servedeck.changes.async_queue.plan import AsyncQueuePlan, AsyncQueueResult
    from servedeck.changes.async_queue.state import CurrentLimits
    from servedeck.fleet.views import NamespacedName
    from servedeck.serving.async_limits import AsyncQueueSettings

LimitValues = tuple[tuple[str, Any], ...]
"""Names of AsyncQueueSettings and their values."""


class AsyncQueueService(Protocol):
    def queue_api(self, key: NamespacedName) -> QueueApi:
        """What the async queue of a serving can be asked, through the present connection. Raises
        ClusterError without one, and for settings that cannot be used."""

    def disabled_reason(self, key: NamespacedName) -> str:
        """Which permission to turn it on, or to change its limits, is missing, in a sentence; "" if
        none is, as far as known without a request."""

    async def refresh_permissions(self, key: NamespacedName) -> None:
        """Fetch the permissions that `disabled_reason` reports on. Raises ClusterError."""

    async def read_limits(self, key: NamespacedName) -> CurrentLimits | None:
        """The limits now; None while it is off. Raises ClusterError."""

    async def plan_on(
        self,
        key: NamespacedName,
        *,
        force: bool = False,
        changes: LimitValues = (),
        seen: AsyncQueueSettings | None = None,
    ) -> AsyncQueuePlan:
        """What turning it on, or on again, would do now, with `changes` of its limits; with `seen`
        it is a change of these limits (AsyncQueueOptions). `force` overwrites fields that other
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
