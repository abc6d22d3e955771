"""What the screens need of the async queues of servings; tests bring their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servedeck.async_queue.queue_api import QueueApi
    from servedeck.fleet.views import NamespacedName


class AsyncQueueService(Protocol):
    def queue_api(self, key: NamespacedName) -> QueueApi:
        """What the async queue of a serving can be asked, through the present connection. Raises
        ClusterError without one."""
