"""The async queue of one serving while somebody looks at it: its state, and the tasks that are on
the screen, kept up to date by the gateway's feed of changes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from enum import StrEnum

from servedeck.async_queue.errors import (
    AsyncQueueError,
    NotInstalledError,
    NotPermittedError,
    RefusedError,
    StoreUnavailableError,
    TooOldError,
)
from servedeck.async_queue.queue_api import (
    FeedChanges,
    FeedMessage,
    FeedReset,
    QueueApi,
    QueueChanged,
    StoreLost,
    TaskQuery,
)
from servedeck.async_queue.rates import QueueRates, RateMeter
from servedeck.async_queue.task_filter import fix_ages, parse_task_filter
from servedeck.async_queue.task_window import MAX_LOADED, PageRequest, TaskWindow
from servedeck.async_queue.tasks import MAX_READ, QueueStatus, Task
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.watch.backoff import Backoff, ReflectorConfig
from servedeck.cluster.watch.debounce import Debouncer

CHANGE_INTERVAL = 0.06
"""Seconds between two calls of `on_change`. The gateway joins changes of 50 ms; both together stay
below what is felt as a delay."""
READ_INTERVAL = 0.1
"""Seconds between two reads of changed tasks, if they are few."""
_TASKS_A_READ = 25
"""Tasks after which the next read waits longer, in proportion: so the gateway reads no more than
some hundred tasks a second for each follower, however many change."""
_BUSY_READ = 60
"""Tasks that are read at once while visible ones change: more than a screen has."""
_SEARCH_SHARE = 0.3
"""Share of the time in which a search through the whole list keeps the gateway busy."""
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


class LiveQueue:
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
        self.phase = LivePhase.CONNECTING
        self.problem = ""
        """Why the phase is not LIVE, or why a page cannot be read, one sentence."""
        self.store_problem = ""
        """Why the gateway cannot ask its store, one sentence."""
        self.lost_at: float | None = None
        """When there were last news, by the store's clock, if there are none now."""
        self.status: QueueStatus | None = None
        self.is_following = True
        """Whether new tasks are shown at the top."""
        self._api = api
        self._page_size = page_size
        self._read_interval = read_interval
        self._window = TaskWindow(TaskQuery(), parse_task_filter("", 0.0))
        self._wanted_window: TaskWindow | None = None
        """What replaces the window once its first page has come."""
        self._oldest_first = False
        self._shown_oldest_first = False
        self._query = TaskQuery()
        self.asked_at = 0.0
        """What ages in `query` refer to, by the store's clock."""
        self._reversed: tuple[Sequence[Task], Sequence[Task]] | None = None
        """The tasks that are loaded, the oldest first and the newest first."""
        self._visible: Sequence[str] = ()
        self._cursor = ""
        self._meter = RateMeter()
        self._offset: float | None = None
        """The store's clock less the loop's."""
        self._wanted: PageRequest | None = None
        self._refresh: PageRequest | None = None
        """The last page that was wanted to follow the newest tasks: a pause gives it up."""
        self._paused_high: str | None = None
        """Where the range ended when it was paused."""
        self._lock = asyncio.Lock()
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        """Set while the operator waits for a page."""
        self._retry = asyncio.Event()
        self._listeners: list[Callable[[str], None]] = []
        self._loop = asyncio.get_running_loop()
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

    # -- what it shows ------------------------------------------------------------------------

    def now(self) -> float:
        """The time by the store's clock, as far as it is known."""
        return time.time() if self._offset is None else self._loop.time() + self._offset

    def rates(self) -> QueueRates:
        """How fast tasks come and end now."""
        return self._meter.rates(self.now() if self.lost_at is None else self.lost_at)

    @property
    def query(self) -> TaskQuery:
        """What was asked for last; `tasks` are those of an earlier one until they are read."""
        return self._query

    @property
    def oldest_first(self) -> bool:
        return self._oldest_first

    @property
    def tasks(self) -> Sequence[Task]:
        """Those that are loaded, in their order, without a hole."""
        ascending = self._window.ascending()
        if self._shown_oldest_first:
            return ascending
        if self._reversed is None or self._reversed[0] is not ascending:
            self._reversed = ascending, ascending[::-1]
        return self._reversed[1]

    @property
    def newer(self) -> int:
        """Tasks that were submitted since the newest one that is loaded, while new ones are not
        followed."""
        return 0 if self.is_following and not self._oldest_first else self._window.newer

    @property
    def has_before(self) -> bool:
        """Whether there may be more tasks before the first one that is loaded."""
        window = self._window
        return window.has_older if self._shown_oldest_first else window.has_newer

    @property
    def is_paused_at_start(self) -> bool:
        """Whether the first task that is loaded is the one that was first when the list was
        paused: those before it have come since."""
        high = self._window.high
        return not self.is_following and high is not None and high == self._paused_high

    @property
    def has_after(self) -> bool:
        """Whether there may be more tasks after the last one that is loaded."""
        window = self._window
        return window.has_newer if self._shown_oldest_first else window.has_older

    @property
    def is_loading(self) -> bool:
        """Whether a page is being read."""
        return self._wanted is not None or not self._window.is_loaded

    def find(self, id: str) -> Task | None:
        """A task that is loaded."""
        return self._window.find(id)

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call it with the id of each task that has changed, loaded or not. Returns what ends
        that."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    # -- what is asked for --------------------------------------------------------------------

    def set_query(self, query: TaskQuery, *, oldest_first: bool = False) -> None:
        """Show other tasks, from the first on. Raises QueryError."""
        now = self.now()
        fixed = query._replace(text=fix_ages(query.text, now))
        task_filter = parse_task_filter(fixed.text, now)
        self.asked_at = now
        self._query, self._oldest_first, self.is_following = query, oldest_first, True
        self._wanted_window = TaskWindow(
            fixed, task_filter, keeps_oldest=oldest_first, highest=self._window.highest
        )
        self._want(PageRequest("", oldest_first, is_new_range=True))

    def set_following(self, value: bool, *, newest: str = "") -> None:
        """Whether new tasks are shown at the top. While they are not, no line moves: `newest` is
        the first task that is shown, if others have come since."""
        if value == self.is_following:
            return
        self.is_following = value
        if self._oldest_first:
            return
        if not value:
            if self._wanted is self._refresh:
                self._wanted = None
            self._window.close_at_newest(newest)
            self._paused_high = self._window.high
        elif not self._window.open_at_newest():
            self.go_to_start()
            self._refresh = self._wanted

    def set_visible(self, ids: Sequence[str]) -> None:
        """These are on the screen: they are read first when they change."""
        self._visible = ids

    def load_after(self) -> None:
        """Load the page after the last one."""
        if self.has_after and not self.is_loading:
            window = self._window
            self._want(window.page_above() if self._shown_oldest_first else window.page_below())

    def load_before(self) -> None:
        """Load the page before the first one."""
        if self.has_before and not self.is_loading:
            window = self._window
            self._want(window.page_below() if self._shown_oldest_first else window.page_above())

    def go_to_start(self) -> None:
        """Load the first page."""
        self.is_following = True
        self._want(PageRequest("", self._oldest_first, is_new_range=True))

    def go_to_end(self) -> None:
        """Load the last page."""
        self.is_following = False
        self._want(PageRequest("", not self._oldest_first, is_new_range=True))

    def retry_now(self) -> None:
        """Do not wait until it is tried again."""
        self._backoff.reset()
        self._retry.set()

    def _want(self, request: PageRequest) -> None:
        self._wanted = request
        self._work.set()
        self._hurry.set()
        self._debouncer.request()

    # -- the feed -----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
                delay = self._backoff.next_delay()
            except NotInstalledError as error:
                # Asked again, as its objects come one after the other when it is turned on.
                self._cursor, self.status, delay = "", None, _UNAVAILABLE_SECONDS
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

    def _forget_tasks(self) -> None:
        """Where the queue is off nobody has them, and one that is turned on has its own."""
        self.set_query(self._query, oldest_first=self._oldest_first)
        if self._wanted_window is not None:
            self._window, self._wanted_window = self._wanted_window, None
            self._shown_oldest_first = self._oldest_first

    def _set_phase(self, phase: LivePhase, error: Exception) -> None:
        if self.lost_at is None and self._offset is not None:
            self.lost_at = self.now()
        self.phase, self.problem = phase, str(error)
        self._debouncer.request()

    async def _follow(self) -> None:
        if not self._cursor:
            async with self._lock:
                window = self._wanted_window or self._window
                request = PageRequest("", self._oldest_first, is_new_range=True)
                if window.is_loaded:
                    request = window.page_again()
                self._wanted = request
                await self._load(request)
        async with aclosing(self._api.follow(self._cursor)) as messages:  # type: ignore[type-var]
            async for message in messages:
                self._backoff.reset()
                if self.phase is not LivePhase.LIVE:
                    self.phase, self.problem, self.lost_at = LivePhase.LIVE, "", None
                    self._work.set()
                    self._debouncer.request()
                self._handle(message)

    def _handle(self, message: FeedMessage) -> None:
        if isinstance(message, FeedChanges):
            self._cursor = message.cursor
            windows = [self._window, self._wanted_window]
            changed = [one.apply(message.events) for one in windows if one is not None]
            for listener in tuple(self._listeners):
                for event in message.events:
                    listener(event.id)
            if self._window.has_unread or self._is_behind:
                self._work.set()
            if changed[0]:
                self._debouncer.request()
        elif isinstance(message, FeedReset):
            self._cursor = message.cursor
            wanted = self._wanted
            if wanted is not None and wanted.is_new_range:
                # A page that is on its way may be of before the changes that were lost.
                self._want(wanted._replace())
            else:
                self._want(self._window.page_again())
        elif isinstance(message, QueueChanged):
            self.status, self.store_problem = message.status, ""
            self._meter.add(message.status)
            self._set_clock(message.status.time)
            self._debouncer.request()
        elif isinstance(message, StoreLost):
            self.store_problem = message.message
            self._debouncer.request()

    def _set_clock(self, store_time: float | None) -> None:
        """What came fastest is nearest to the truth; a step of a clock is followed."""
        if store_time is None:
            return
        offset = store_time - self._loop.time()
        was_known = self._offset is not None
        if self._offset is None or not self._offset - 1.0 < offset <= self._offset:
            self._offset = offset
        if not was_known and fix_ages(self._query.text, 0.0) != self._query.text:
            # Its ages were those by the clock of this machine.
            self.set_query(self._query, oldest_first=self._oldest_first)

    # -- pages and tasks ----------------------------------------------------------------------

    async def _read(self) -> None:
        """Reads what is wanted, one request after the other."""
        while True:
            await self._work.wait()
            self._work.clear()
            if not self._cursor or self.phase is not LivePhase.LIVE:
                continue  # it is set again when it is
            began = self._loop.time()
            try:
                async with self._lock:
                    pause = 0.0
                    if self._wanted is None and self._is_behind:
                        self._wanted = self._refresh = self._window.page_of_newest()
                        pause = self._pause_after(self._page_size)
                    if (request := self._wanted) is not None:
                        await self._load(request)
                        if self._search_on():
                            pause = (self._loop.time() - began) * (1 / _SEARCH_SHARE - 1)
                    else:
                        pause = self._pause_after(await self._read_tasks())
                if self.problem:
                    self.problem = ""
            except RefusedError as error:
                self._wanted, self._wanted_window, pause = None, None, 0.0
                self.problem = str(error)
            except (AsyncQueueError, ClusterError) as error:
                self.problem, pause = str(error), self._backoff.next_delay()
                self._work.set()
            self._debouncer.request()
            if self._wanted is not None or self._window.has_unread or self._is_behind:
                self._work.set()
            if pause:
                self._hurry.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._hurry.wait()

    async def _load(self, request: PageRequest) -> None:
        """Raises AsyncQueueError and ClusterError; then it is still wanted."""
        window = self._wanted_window or self._window
        oldest_first = self._oldest_first
        limit = min(max(self._page_size, request.at_least), MAX_LOADED // 2)
        window.expect_page()
        try:
            page = await self._api.list_tasks(
                window.query,
                after=request.after,
                limit=limit,
                oldest_first=request.oldest_first,
            )
        except BaseException:
            window.forget_page()
            raise
        self._set_clock(page.time)
        self._cursor = self._cursor or page.feed
        if self._wanted is not request:
            window.forget_page()  # something else is wanted by now
            return
        window.add_page(request, page)
        self._wanted, self._wanted_window = None, None
        self._window, self._shown_oldest_first = window, oldest_first
        if not self.is_following and not oldest_first and window.high is None:
            window.close_at_newest()
            self._paused_high = window.high
        window.trim(self._visible)
        self._debouncer.request()

    @property
    def _is_behind(self) -> bool:
        """Whether the newest tasks are to be shown, and are not."""
        return self.is_following and self._window.is_behind

    def _search_on(self) -> bool:
        """Ask for the next page if a search has not found a screen full yet; returns whether it
        is."""
        few = len(self._window.ascending()) < self._page_size
        if self._wanted is None and self._window.query.text and few and self.has_after:
            window = self._window
            oldest_first = self._shown_oldest_first
            self._wanted = window.page_above() if oldest_first else window.page_below()
        return self._wanted is not None and bool(self._window.query.text)

    def _pause_after(self, count: int) -> float:
        """Seconds until tasks are read again after so many were."""
        return self._read_interval * max(1.0, count / _TASKS_A_READ)

    async def _read_tasks(self) -> int:
        """Returns how many were read. Raises AsyncQueueError and ClusterError."""
        window, visible = self._window, self._visible
        limit = _BUSY_READ if window.count_urgent(visible) else MAX_READ
        asked = window.to_read(visible, limit)
        if not asked:
            return 0
        page = await self._api.read_tasks(list(asked))
        self._set_clock(page.time)
        if window.put(asked, page):
            window.trim(visible)
        for listener in tuple(self._listeners):
            for id in asked:
                listener(id)
        return len(asked)
