"""Follows one task: reads it when it has changed, and again when it could not be read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from servedeck.async_queue.live_queue import LivePhase, LiveQueue
from servedeck.async_queue.queue_api import QueueApi
from servedeck.async_queue.tasks import Task, TaskState
from servedeck.cluster.watch.debounce import Debouncer
from tui.task_view.reader import TaskReader
from widgets.table import TICK_SECONDS

READ_SECONDS = 0.5
"""Seconds between two reads of a task that changes."""
RETRY_SECONDS = 5
"""Seconds after which a task is read again that could not be."""
PLACE_SECONDS = 5.0
"""Seconds after which a task that waits is read again: nothing says that others were taken before
it."""


class TaskFollower:
    """Call `start` in the running event loop, `tick` every TICK_SECONDS, and `close` at the end."""

    def __init__(
        self,
        live: LiveQueue,
        api: QueueApi,
        task: Task,
        *,
        on_change: Callable[[], None],
        start_worker: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        """`on_change` is called when something of the task is known that was not. `start_worker`
        runs a coroutine in place of the one before."""
        self._live = live
        self._api = api
        self._on_change = on_change
        self._start_worker = start_worker
        self.reader = TaskReader(api, task, on_change)
        self._debouncer: Debouncer | None = None
        self._is_reading = False
        self._reads_again = False
        self._failed_ticks = 0
        self._began_reading = 0.0
        """When the task was read last, by the loop's clock."""
        self._seen: tuple[object, ...] = ()
        """Phase and problems of the queue at the last tick."""
        self._stop_listening: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Read the task, and again after each change."""
        self._debouncer = Debouncer(self._start_reading, READ_SECONDS)
        self._stop_listening = self._live.listen(self._on_task_changed)
        self._seen = self._live_state()
        self.read_again()

    def close(self) -> None:
        self._stop_listening()
        if self._debouncer is not None:
            self._debouncer.close()

    def show(self, task: Task) -> None:
        """Follow another task from now on."""
        self.reader = TaskReader(self._api, task, self._on_change)
        self._is_reading = self._reads_again = False
        self._failed_ticks = 0
        self._start_reading()

    def read_again(self) -> None:
        """Read the task soon."""
        if self._debouncer is not None:
            self._debouncer.request()

    def tick(self, *, is_shown: bool = True) -> bool:
        """Read again what could not be read, and while it `is_shown` the place of a task that
        waits; returns whether the state of the queue is another one."""
        state = self._live_state()
        has_changed = state != self._seen
        self._seen = state
        if has_changed and self._live.phase is LivePhase.LIVE and not self._live.store_problem:
            self.read_again()
        self._failed_ticks = self._failed_ticks + 1 if self.reader.problem else 0
        if self._failed_ticks * TICK_SECONDS >= RETRY_SECONDS:
            self._failed_ticks = 0
            self.read_again()
        elif is_shown and self._has_old_place() and not self._is_reading:
            self._start(task_alone=True)
        return has_changed

    def _has_old_place(self) -> bool:
        """Whether the place of the task among those that wait may be another one by now."""
        reader, task, live = self.reader, self.reader.task, self._live
        if task.state is not TaskState.PENDING or reader.is_deleted:
            return False
        if reader.detail is None or reader.problem:
            return False  # it is read again for that
        if live.phase is not LivePhase.LIVE or live.store_problem:
            return False
        if task.next_attempt is not None and task.next_attempt > live.now():
            return False
        return asyncio.get_running_loop().time() - self._began_reading >= PLACE_SECONDS

    def _live_state(self) -> tuple[object, ...]:
        return self._live.phase, self._live.problem, self._live.store_problem

    def _on_task_changed(self, id: str) -> None:
        """The feed has news of a task."""
        if id != self.reader.task.id:
            return
        if (found := self._live.find(id)) is not None:
            self.reader.note(found)
            self._on_change()
        self.read_again()

    def _start_reading(self) -> bool:
        if self._is_reading:
            self._reads_again = True
        else:
            self._start()
        return True

    def _start(self, *, task_alone: bool = False) -> None:
        self._is_reading, self._reads_again = True, False
        self._began_reading = asyncio.get_running_loop().time()
        self._start_worker(self._read(self.reader, task_alone=task_alone))

    async def _read(self, reader: TaskReader, *, task_alone: bool) -> None:
        read: Callable[[], Awaitable[object]] = reader.read_task if task_alone else reader.read
        try:
            while True:
                await read()
                if not self._reads_again or reader is not self.reader:
                    return
                self._reads_again = False
                read = reader.read
        finally:
            if reader is self.reader:
                self._is_reading = False
