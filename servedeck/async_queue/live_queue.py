"""The async queue of one serving while somebody looks at it: its state, and the tasks that are on
the screen, kept up to date by the gateway's feed of changes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from enum import StrEnum

from servedeck.async_queue.errors import (
    NotInstalledError,
    NotPermittedError,
    StoreUnavailableError,
    TooOldError,
)
from servedeck.async_queue.live_tasks import READ_INTERVAL, LiveTasks
from servedeck.async_queue.queue_api import (
    FeedChanges,
    FeedMessage,
    FeedReset,
    QueueApi,
    QueueChanged,
    StoreLost,
)
from servedeck.async_queue.rates import QueueRates, RateMeter
from servedeck.async_queue.task_filter import fix_ages
from servedeck.async_queue.tasks import QueueStatus
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.watch.backoff import Backoff, ReflectorConfig
from servedeck.cluster.watch.debounce import Debouncer
from servedeck.serving.moment import MAX_SECONDS

CHANGE_INTERVAL = 0.06
"""Seconds between two calls of `on_change`. The gateway joins changes of 50 ms; both together stay
below what is felt as a delay."""
_UNAVAILABLE_SECONDS = 60.0
"""After which it asks again where there was no gateway, or it was not allowed to, or not
understood."""
_RETRIES = ReflectorConfig(retry_delay=(0.25, 5.0))


class LivePhase(StrEnum):
    CONNECTING = "connecting"
    LIVE = "live"
    RETRYING = "retrying"
    """The gateway cannot be reached; what is shown is as of `lost_at`."""
    OFF = "off"
    """The serving has no async gateway."""
    FORBIDDEN = "forbidden"
    TOO_OLD = "too old"
    """The gateway is of a version without what is needed."""


class LiveQueue(LiveTasks):
    """Call `start` in the running event loop, and `close` at the end; the other methods return at
    once."""

    def __init__(
        self,
        api: QueueApi,
        on_change: Callable[[], None],
        *,
        page_size: int = 100,
        is_held: Callable[[], bool] = lambda: False,
        read_interval: float = READ_INTERVAL,
    ) -> None:
        """`on_change` is called when something that is shown has changed, the first time at once
        and then at most every CHANGE_INTERVAL; while `is_held` it waits for a moment."""
        super().__init__(api, page_size, read_interval)
        self.phase = LivePhase.CONNECTING
        self.store_problem = ""
        """Why the gateway cannot ask its store, one sentence."""
        self.lost_at: float | None = None
        """When there were last news, by the store's clock, if there are none now."""
        self.status: QueueStatus | None = None
        self._meter = RateMeter()
        self._offset: float | None = None
        """The store's clock less the loop's."""
        self._retry = asyncio.Event()
        self._debouncer = Debouncer(self._publish(on_change), CHANGE_INTERVAL, is_held=is_held)
        self._backoff = Backoff(_RETRIES, random.Random(), self._loop.time)  # noqa: S311 - jitter
        self._tasks: list[asyncio.Task[None]] = []

    @staticmethod
    def _publish(on_change: Callable[[], None]) -> Callable[[], bool]:
        def flush() -> bool:
            on_change()
            return True

        return flush

    def start(self) -> None:
        """Connect."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._read())]
        for one in self._tasks:
            one.add_done_callback(self._report)

    def _report(self, ended: asyncio.Task[None]) -> None:
        """None of them ends by itself: an error in servedeck must not look like a quiet queue."""
        if not ended.cancelled() and (error := ended.exception()) is not None:
            self._loop.call_exception_handler({"message": "A LiveQueue failed", "exception": error})
            self.phase, self.problem = LivePhase.RETRYING, f"An error in servedeck: {error!r}."
            self._debouncer.request()

    async def close(self) -> None:
        """End all requests; nothing is called after this."""
        self._debouncer.close()
        self._listeners.clear()
        for one in self._tasks:
            one.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def now(self) -> float:
        return time.time() if self._offset is None else self._loop.time() + self._offset

    def rates(self) -> QueueRates:
        """How fast tasks come and end now."""
        return self._meter.rates(self.now() if self.lost_at is None else self.lost_at)

    def retry_now(self) -> None:
        """Do not wait until it is tried again."""
        self._backoff.reset()
        self._retry.set()

    def _request_change(self) -> None:
        self._debouncer.request()

    def _next_delay(self) -> float:
        return self._backoff.next_delay()

    @property
    def _is_live(self) -> bool:
        return self.phase is LivePhase.LIVE

    # -- the feed -----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
                delay = self._backoff.next_delay()
            except NotInstalledError as error:
                # Asked again, as its objects come one after the other when it is turned on.
                self.status, delay = None, _UNAVAILABLE_SECONDS
                self._forget_tasks()
                self._set_phase(LivePhase.OFF, error)
            except NotPermittedError as error:
                delay = _UNAVAILABLE_SECONDS
                self._set_phase(LivePhase.FORBIDDEN, error)
            except TooOldError as error:
                delay = _UNAVAILABLE_SECONDS
                self._set_phase(LivePhase.TOO_OLD, error)
            except ClusterError as error:
                delay = self._backoff.next_delay()
                if isinstance(error, StoreUnavailableError):
                    self.store_problem = str(error)
                self._set_phase(LivePhase.RETRYING, error)
            self._retry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._retry.wait()

    def _set_phase(self, phase: LivePhase, error: Exception) -> None:
        self.phase, self.problem = phase, str(error)
        self._note_lost()

    def _note_lost(self) -> None:
        if self.lost_at is None and self._offset is not None:
            self.lost_at = self.now()
        self._request_change()

    async def _follow(self) -> None:
        if not self._cursor:
            await self._read_first()
        async with aclosing(self._api.follow(self._cursor)) as messages:  # type: ignore[type-var]
            async for message in messages:
                self._backoff.reset()
                if self.phase is not LivePhase.LIVE:
                    self.phase, self.problem, self.lost_at = LivePhase.LIVE, "", None
                    self._ask_again()
                    self._request_change()
                self._handle(message)

    def _handle(self, message: FeedMessage) -> None:
        if isinstance(message, FeedChanges):
            self._cursor = message.cursor
            self._apply(message.events)
        elif isinstance(message, FeedReset):
            self._cursor = message.cursor
            self._read_again()
        elif isinstance(message, QueueChanged):
            self.status, self.store_problem, self.lost_at = message.status, "", None
            self._meter.add(message.status)
            self._set_clock(message.status.time)
            self._request_change()
        elif isinstance(message, StoreLost):
            self.store_problem = message.message
            self._note_lost()

    def _set_clock(self, store_time: float | None) -> None:
        """What came fastest is nearest to the truth; a step of a clock is followed."""
        if store_time is None or not 0.0 < store_time < MAX_SECONDS:
            return
        offset = store_time - self._loop.time()
        was_known = self._offset is not None
        if self._offset is None or not self._offset - 1.0 < offset <= self._offset:
            self._offset = offset
        if not was_known and fix_ages(self._query.text, 0.0) != self._query.text:
            # Its ages were those by the clock of this machine.
            self.set_query(self._query, oldest_first=self._oldest_first)
