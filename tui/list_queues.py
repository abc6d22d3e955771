"""The async queues of the rows of the list, followed while these are on the screen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from widgets.serving_rows import QueueFigures

if TYPE_CHECKING:
    from servedeck.async_queue.queue_api import QueueChanged, StoreLost
    from tui.ports.async_queue_service import AsyncQueueService

MAX_FOLLOWED = 20
"""Each takes a connection."""
RETRY_SECONDS, MAX_RETRY_SECONDS = 30.0, 300.0
"""After which a queue that cannot be followed is tried again: at first, and at most."""
RESUME_SECONDS = 1.0
"""After which a queue that was followed is: a proxy may cut a connection that works."""

_log = logging.getLogger(__name__)


class ListQueues:
    """What is known of the queues. A queue that may not be asked, or does not answer, is not
    known: its tab says why."""

    def __init__(
        self,
        service: Callable[[], AsyncQueueService | None],
        on_update: Callable[[Collection[NamespacedName]], None],
    ) -> None:
        """`on_update` is called with the servings whose figures have changed."""
        self._service = service
        self._on_update = on_update
        self._known: dict[NamespacedName, QueueFigures] = {}
        self._followers: dict[NamespacedName, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def find(self, key: NamespacedName) -> QueueFigures | None:
        """What the row of a serving shows; None if nothing is known of its queue."""
        return self._known.get(key)

    def follow(self, wanted: Iterable[NamespacedName]) -> None:
        """Follow the queues of these servings, the first MAX_FOLLOWED, and no others."""
        service = self._service()
        keys = dict.fromkeys(islice(wanted, MAX_FOLLOWED)) if service is not None else {}
        for key in (self._followers.keys() | self._known.keys()) - keys.keys():
            if key in self._followers:  # after a pause none is
                self._end(key)
            self._set(key, None)
        for key in keys:
            if service is not None and key not in self._followers:
                work = self._follow(service, key)
                self._followers[key] = asyncio.create_task(work, name=f"queue of {key}")

    def pause(self) -> None:
        """Follow none until `follow` is called; what is known is kept until then."""
        for key in list(self._followers):
            self._end(key)

    def clear(self) -> None:
        """Forget everything: names are those of another cluster."""
        self.pause()
        self._known.clear()

    async def close(self) -> None:
        """End all connections."""
        self.pause()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _end(self, key: NamespacedName) -> None:
        task = self._followers.pop(key)
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _set(self, key: NamespacedName, figures: QueueFigures | None) -> None:
        if figures == self._known.get(key):
            return
        if figures is None:
            del self._known[key]
        else:
            self._known[key] = figures
        self._on_update({key})

    async def _follow(self, service: AsyncQueueService, key: NamespacedName) -> None:
        delay = RETRY_SECONDS
        while True:
            has_answered = False
            try:
                # In a thread: the first one imports its modules.
                api = await asyncio.to_thread(service.queue_api, key)
                async with aclosing(api.follow_queue()) as messages:
                    async for message in messages:
                        has_answered = True
                        self._set(key, _figures(message))
            except ClusterError:
                pass
            except Exception:  # whatever it was, the list goes on without
                _log.exception("the queue of %s could not be followed", key)
            if has_answered:
                delay = RETRY_SECONDS
                await asyncio.sleep(RESUME_SECONDS)
            else:
                self._set(key, None)
                await asyncio.sleep(delay)
                delay = min(2 * delay, MAX_RETRY_SECONDS)


def _figures(message: QueueChanged | StoreLost) -> QueueFigures | None:
    """None without a store: what it had is not what it has."""
    from servedeck.async_queue.queue_api import QueueChanged

    if not isinstance(message, QueueChanged):
        return None
    status = message.status
    return QueueFigures(status.counts.pending, is_blocked=bool(status.blocked_by))
