"""Reads the last lines of crashed containers whose Pods do not say why they crashed.

A container without terminationMessagePolicy FallbackToLogsOnError, or whose last 2 KiB hold only
the symptom, leaves an exit code. Its log tells the cause, in the list too, at the cost of one small
request for each crash.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import count

from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.serving.status.ended_instances import EndedInstance
from servedeck.serving.status.log_errors import find_log_error

_log = logging.getLogger(__name__)

MAX_REQUESTS = 2
"""Requests at a time."""
MAX_PODS = 3
"""Pods of one serving that are read, those that crashed last: more of them seldom differ."""
READ_TIMEOUT = 10.0
"""Timeout of one request in seconds."""
MAX_LINE_LENGTH = 2048
"""Characters of a line that are kept."""
_MAX_REMEMBERED = 4096


class CrashLogReader:
    """Reads each instance once, the newest first, and reports the line with a known error.

    A namespace in which reading logs is forbidden is left alone from then on. Any other error
    leaves the failure cause as it is. Not thread-safe.
    """

    def __init__(
        self,
        read: Callable[[EndedInstance], Awaitable[list[str]]],
        on_read: Callable[[EndedInstance, str], None],
    ) -> None:
        """`read` returns the last lines of an instance, sanitized, or raises ClusterError;
        `on_read` is given the line with the known error, "" if there is none."""
        self._read = read
        self._on_read = on_read
        self._queue: list[tuple[float, int, EndedInstance]] = []
        self._number = count()
        self._known: dict[str, None] = {}
        """Ids of the instances that were requested, the oldest first."""
        self._unread: set[str] = set()
        """Ids of the instances that were requested and are not read yet."""
        self._progress = asyncio.Event()
        """Set when an instance was read."""
        self._forbidden_namespaces: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def request(self, instances: Iterable[EndedInstance]) -> None:
        """Read those of one serving that are new; returns at once."""
        for instance in heapq.nlargest(MAX_PODS, instances, key=_finish_time):
            if instance.id in self._known or instance.namespace in self._forbidden_namespaces:
                continue
            self._known[instance.id] = None
            self._unread.add(instance.id)
            if len(self._known) > _MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
            heapq.heappush(self._queue, (-_finish_time(instance), next(self._number), instance))
        for _ in range(min(MAX_REQUESTS - len(self._tasks), len(self._queue))):
            task = asyncio.create_task(self._read_queued(), name="servedeck crash log")
            self._tasks.add(task)

    def is_reading(self, instance: EndedInstance) -> bool:
        """Whether an instance was requested and is not read yet."""
        return instance.id in self._unread

    async def wait(self, instances: Iterable[EndedInstance]) -> None:
        """Wait until those of them that were requested are read, or `stop` is called."""
        ids = {instance.id for instance in instances}
        while not self._unread.isdisjoint(ids):
            self._progress.clear()
            await self._progress.wait()

    async def stop(self) -> None:
        """Cancel all requests, and forget what was read and what is forbidden."""
        tasks = list(self._tasks)
        self._queue.clear()
        self._known.clear()
        self._unread.clear()
        self._progress.set()
        self._forbidden_namespaces.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_queued(self) -> None:
        try:
            await self._read_all()
        finally:
            # At once: `request` must not count on a task that reads nothing more.
            if (task := asyncio.current_task()) is not None:
                self._tasks.discard(task)

    async def _read_all(self) -> None:
        while self._queue:
            _, _, instance = heapq.heappop(self._queue)
            try:
                if instance.namespace not in self._forbidden_namespaces:
                    self._on_read(instance, await self._find_line(instance))
            finally:
                self._unread.discard(instance.id)
                self._progress.set()

    async def _find_line(self, instance: EndedInstance) -> str:
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                lines = await self._read(instance)
        except ApiError as error:
            if error.code == 403:
                self._forbidden_namespaces.add(instance.namespace)
            return ""
        except (ClusterError, OSError, TimeoutError) as error:
            _log.debug("log of %s/%s: %s", instance.namespace, instance.pod, error)
            return ""
        found = find_log_error(lines)
        return lines[found.line][:MAX_LINE_LENGTH] if found is not None else ""


def _finish_time(instance: EndedInstance) -> float:
    return instance.finished_at.timestamp() if instance.finished_at is not None else 0.0
