"""The tasks of an async queue that are on the screen: pages are read as they are asked for, and
kept up to date by the changes of the feed."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from servedeck.async_queue.errors import AsyncQueueError, RefusedError
from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.task_filter import fix_ages, parse_task_filter
from servedeck.async_queue.task_window import MAX_LOADED, PageRequest, TaskWindow
from servedeck.async_queue.tasks import MAX_READ, FeedEvent, Task
from servedeck.cluster.http.errors import ClusterError

READ_INTERVAL = 0.1
"""Seconds between two reads of changed tasks, if they are few."""
_TASKS_A_READ = 25
"""Tasks after which the next read waits longer, in proportion: so the gateway reads no more than
some hundred tasks a second for each follower, however many change."""
_BUSY_READ = 60
"""Tasks that are read at once while visible ones change: more than a screen has."""
_SEARCH_SHARE = 0.3
"""Share of the time in which a search through the whole list keeps the gateway busy."""


class LiveTasks(ABC):
    """The half of a LiveQueue that has its tasks; the other half follows the feed. `_read` reads
    what is wanted, one request after the other."""

    def __init__(self, api: QueueApi, page_size: int, read_interval: float) -> None:
        self.problem = ""
        """Why there are no news, or why a page cannot be read, one sentence."""
        self.is_following = True
        """Whether new tasks are shown at the top."""
        self.visible: Callable[[], Sequence[str]] = lambda: ()
        """Gives the ids of the tasks that are on the screen now: they are read first when they
        change, and kept where others are left out."""
        self.asked_at = 0.0
        """What ages in `query` refer to, by the store's clock."""
        self._api = api
        self._page_size = page_size
        self._read_interval = read_interval
        self._window = TaskWindow(TaskQuery(), parse_task_filter("", 0.0))
        self._wanted_window: TaskWindow | None = None
        """What replaces the window once its first page has come."""
        self._oldest_first = False
        self._shown_oldest_first = False
        self._query = TaskQuery()
        self._reversed: tuple[Sequence[Task], Sequence[Task]] | None = None
        """The tasks that are loaded, the oldest first and the newest first."""
        self._cursor = ""
        """Of the feed; "" before the first page."""
        self._wanted: PageRequest | None = None
        self._refresh: PageRequest | None = None
        """The last page that was wanted to follow the newest tasks: a pause gives it up."""
        self._paused_high: str | None = None
        """Where the range ended when it was paused."""
        self._is_refused = False
        """Whether the gateway has refused the query."""
        self._lock = asyncio.Lock()
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        """Set while the operator waits for a page."""
        self._listeners: list[Callable[[str], None]] = []
        self._loop = asyncio.get_running_loop()

    @abstractmethod
    def now(self) -> float:
        """The time by the store's clock, as far as it is known."""

    @abstractmethod
    def _set_clock(self, store_time: float | None) -> None:
        """Note what an answer says of the store's clock."""

    @abstractmethod
    def _request_change(self) -> None:
        """Something that is shown has changed."""

    @abstractmethod
    def _next_delay(self) -> float:
        """Seconds until a read that failed is tried again."""

    @property
    @abstractmethod
    def _is_live(self) -> bool:
        """Whether the feed is followed."""

    # -- what it shows ------------------------------------------------------------------------

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
        return self._wanted is not None or not (self._window.is_loaded or self._is_refused)

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

    def _want(self, request: PageRequest) -> None:
        self._wanted, self._is_refused = request, False
        self._work.set()
        self._hurry.set()
        self._request_change()

    # -- changes ------------------------------------------------------------------------------

    def _apply(self, events: Sequence[FeedEvent]) -> None:
        windows = [self._window, self._wanted_window]
        changed = [one.apply(events) for one in windows if one is not None]
        for listener in tuple(self._listeners):
            for event in events:
                listener(event.id)
        if self._window.has_unread or self._is_behind:
            self._work.set()
        if changed[0]:
            self._request_change()

    def _ask_again(self) -> None:
        """The gateway is there again, and may be another one."""
        self._work.set()
        if self._is_refused:
            self.go_to_start()

    def _read_again(self) -> None:
        """Changes were lost."""
        wanted = self._wanted
        if wanted is not None and wanted.is_new_range:
            # A page that is on its way may be of before the changes that were lost.
            self._want(wanted._replace())
        else:
            self._want(self._window.page_again())

    async def _read_first(self) -> None:
        """What is shown, or is to be, from before the feed is followed. Raises AsyncQueueError and
        ClusterError."""
        async with self._lock:
            window = self._wanted_window or self._window
            request = PageRequest("", self._oldest_first, is_new_range=True)
            if window.is_loaded:
                request = window.page_again()
            self._wanted = request
            await self._load(request)

    def _forget_tasks(self) -> None:
        """Where the queue is off nobody has them, and one that is turned on has its own."""
        self._cursor = ""
        self.set_query(self._query, oldest_first=self._oldest_first)
        if self._wanted_window is not None:
            self._window, self._wanted_window = self._wanted_window, None
            self._shown_oldest_first = self._oldest_first

    # -- pages and tasks ----------------------------------------------------------------------

    async def _read(self) -> None:
        """Reads what is wanted, one request after the other."""
        while True:
            await self._work.wait()
            self._work.clear()
            if not self._cursor or not self._is_live:
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
                self.problem = ""
            except RefusedError as error:
                # It would be refused again. Tasks of an earlier query are not what was asked for.
                self._window = self._wanted_window or self._window
                self._is_refused = not self._window.is_loaded
                self._wanted, self._wanted_window = None, None
                self.problem, pause = str(error), self._next_delay()
            except (AsyncQueueError, ClusterError) as error:
                self.problem, pause = str(error), self._next_delay()
                self._work.set()
            self._request_change()
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
        window.trim(self.visible())
        self._request_change()

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
        window, visible = self._window, self.visible()
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
