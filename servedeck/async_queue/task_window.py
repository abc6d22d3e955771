"""The tasks of a long list that are loaded: all that match within a range of ids, without a hole.

Ids sort by the time of submission, so a range of ids is a part of the list, whatever ends in it
meanwhile. No I/O: the caller reads the pages and tasks that are named here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.task_filter import TaskFilter
from servedeck.async_queue.tasks import FeedEvent, Task, TaskPage, TaskState

MAX_LOADED = 1000
"""Tasks that are loaded at most; about 1 KB each."""
MAX_ARRIVING = 200
"""New tasks that wait to be read while the newest are shown. If more come, the newest page is read
in their place, and those between are left out of the range: nobody could read lines that pass so
fast."""

_LAST, _FIRST = "z", "0"
"""With them appended to it, a bound is just above an id: ids are hexadecimal and of one length."""

_MAX_CURSOR = 100
"""Characters of a cursor of the feed; int() refuses numbers of thousands of digits."""

Order = tuple[int, ...]
"""Place in the feed."""


def feed_order(cursor: str) -> Order:
    """Cursors of the feed are numbers, joined by "-", that grow."""
    return tuple(int(one) for one in cursor[:_MAX_CURSOR].split("-") if one.isdecimal())


class PageRequest(NamedTuple):
    """A page to read, by the arguments of `QueueApi.list_tasks`."""

    after: str
    oldest_first: bool
    is_new_range: bool = False
    """Whether it replaces what is loaded."""
    at_least: int = 0
    """Tasks that it has at least, if there are so many."""


class TaskWindow:
    """The tasks that match a query, with ids from `low` to `high`, both included."""

    def __init__(
        self,
        query: TaskQuery,
        task_filter: TaskFilter,
        *,
        keeps_oldest: bool = False,
        highest: str = "",
    ) -> None:
        """`keeps_oldest`: where more tasks come than are loaded, the newest are left out, not the
        oldest. `highest` is that of an earlier window."""
        self.query = query
        self.low: str | None = None
        """"" if the oldest is loaded; None before anything is."""
        self.high: str | None = None
        """None if all that are submitted from now on are in the range, too."""
        self.newer = 0
        """Tasks that were submitted since `high` was the newest."""
        self._filter = task_filter
        self._keeps_oldest = keeps_oldest
        self._is_cut_above = False
        """Whether there may be tasks above `high` that no event has named."""
        self.highest = highest
        """The highest id that an event has named."""
        self._tasks: dict[str, Task] = {}
        self._sorted: list[Task] | None = []
        self._orders: dict[str, Order] = {}
        """What is known of a task includes the events up to this place."""
        self._unread: dict[str, int] = {}
        """Tasks of the range whose fields are to be read, with the number of the last event."""
        self._arriving: dict[str, FeedEvent] = {}
        """The last event of those of them that are not loaded."""
        self._is_behind = False
        self._event_count = 0
        self._since_request: dict[str, FeedEvent] | None = None
        """The last event of each task since a page was asked for."""

    # -- what is loaded -----------------------------------------------------------------------

    @property
    def is_loaded(self) -> bool:
        """Whether a first page was read."""
        return self.low is not None

    @property
    def has_older(self) -> bool:
        return bool(self.low)

    @property
    def has_newer(self) -> bool:
        """Whether there may be tasks above the range."""
        return self.high is not None and (self._is_cut_above or self.highest > self.high)

    @property
    def is_behind(self) -> bool:
        """Whether more new tasks came than could be read, so that the range no longer has them."""
        return self._is_behind and self.high is not None

    @property
    def has_unread(self) -> bool:
        return bool(self._unread)

    def ascending(self) -> Sequence[Task]:
        """The loaded tasks, the oldest first."""
        if self._sorted is None:
            self._sorted = sorted(self._tasks.values(), key=lambda task: task.id)
        return self._sorted

    def find(self, id: str) -> Task | None:
        return self._tasks.get(id)

    def _is_in_range(self, id: str) -> bool:
        return self.low is not None and self.low <= id and (self.high is None or id <= self.high)

    # -- range --------------------------------------------------------------------------------

    def close_at_newest(self, newest: str = "") -> None:
        """Tasks that are submitted from now on are counted, not loaded, nor are those that would
        come above `newest`, or if it is not loaded, above the newest one that is."""
        loaded = newest if newest in self._tasks else max(self._tasks, default="")
        above = sum(1 for one in (*self._tasks, *self._arriving) if one > loaded)
        if loaded and above and (self.high is None or loaded == newest):
            self._lower_high(loaded)
            self.newer += above
            return
        last = max(self.highest, *self._tasks, *self._unread, self.low or "")
        if self.high is None and self.low is not None and last:
            self.high, self._is_cut_above, self.newer = last, False, 0

    def open_at_newest(self) -> bool:
        """Load what is submitted from now on; False if that would leave a hole, so that the newest
        page is to be read again."""
        if self.has_newer or not self.is_loaded:
            return False
        self.high, self.newer = None, 0
        return True

    def trim(self, visible: Collection[str], limit: int = MAX_LOADED) -> None:
        """Leave out all tasks but `limit`, at the end that is farther from those that are
        visible."""
        excess = len(self._tasks) - limit
        if excess <= 0:
            return
        order = self.ascending()
        shown = [at for at, task in enumerate(order) if task.id in visible]
        default = 0 if self._keeps_oldest else len(order)
        below = shown[0] if shown else default
        above = len(order) - 1 - shown[-1] if shown else len(order) - default
        if not (below or above):
            return
        if below >= above:
            self._raise_low(order[min(excess, below) - 1].id + _FIRST)
        else:
            self._lower_high(order[len(order) - 1 - min(excess, above)].id)

    def _raise_low(self, low: str) -> None:
        self.low = low
        self._drop([one for one in (*self._tasks, *self._arriving) if one < low])

    def _lower_high(self, high: str) -> None:
        self.high, self._is_cut_above = high, True
        self._drop([one for one in (*self._tasks, *self._arriving) if one > high])

    def _drop(self, ids: Iterable[str]) -> None:
        for id in ids:
            self._remove(id)

    # -- events -------------------------------------------------------------------------------

    def apply(self, events: Iterable[FeedEvent]) -> bool:
        """Note changes; returns whether what is shown has changed."""
        has_changed = False
        for event in events:
            self._event_count += 1
            self.highest = max(self.highest, event.id)
            if self._since_request is not None:
                self._since_request[event.id] = event
            if self.high is not None and event.id > self.high and _is_submission(event):
                self.newer += 1
                has_changed = True
            has_changed |= self._apply(event)
        return has_changed

    def _apply(self, event: FeedEvent) -> bool:
        id, state = event.id, event.state
        task = self._tasks.get(id)
        if not self._is_in_range(id) or (task and feed_order(event.cursor) <= self._orders[id]):
            return False
        if state is None or self.query.state not in (None, state):
            return self._remove(id)
        self._unread[id] = self._event_count
        if task is not None:
            self._set(_advance(task, event), self._orders[id])
            return True
        self._arriving[id] = event
        if len(self._arriving) > MAX_ARRIVING and self.high is None:
            if self._keeps_oldest:
                self._lower_high(sorted(self._arriving)[MAX_ARRIVING // 2 - 1])
            else:
                self._fall_behind()
        return False

    def _fall_behind(self) -> None:
        """Leave out new tasks; what is shown stays until the newest page is read."""
        count, self._is_behind = len(self._arriving), True
        self._lower_high(max(self._tasks, default=min(self._arriving)))
        self.newer = count - len(self._arriving)

    # -- reading tasks ------------------------------------------------------------------------

    def to_read(self, visible: Collection[str], limit: int) -> Mapping[str, int]:
        """Tasks to read, at most so many: new ones and visible ones before others. The result is
        for `put`."""
        if len(self._unread) <= limit:
            return dict(self._unread)
        first = self._arriving.keys() | (self._unread.keys() & set(visible))
        found = {id: self._unread[id] for id in sorted(first, reverse=True)[:limit]}
        for id, number in self._unread.items():
            if len(found) >= limit:
                break
            found[id] = number
        return found

    def count_urgent(self, visible: Collection[str]) -> int:
        """Tasks to read that are new or visible."""
        return len(self._arriving) + sum(1 for id in visible if id in self._unread)

    def put(self, asked: Mapping[str, int], page: TaskPage) -> bool:
        """Note what was read of the tasks that `to_read` gave, which are those in the page that are
        still stored; returns whether what is shown has changed."""
        order = feed_order(page.feed)
        found = {task.id: task for task in page.items}
        has_changed = False
        for id, number in asked.items():
            task = found.get(id)
            if task is not None and not self._matches(task):
                task = None
            if self._unread.get(id) != number:
                # It left the range, or has changed meanwhile and is read again. One that is not
                # loaded yet is shown already: it may change again before each read.
                event = self._arriving.get(id)
                if task is not None and event is not None:
                    is_newer = feed_order(event.cursor) > order
                    self._set(_advance(task, event) if is_newer else task, order)
                    has_changed = True
            elif task is not None:
                has_changed |= self._tasks.get(id) != task
                self._set(task, order)
                del self._unread[id]
            else:
                has_changed |= self._remove(id)
        return has_changed

    # -- reading pages ------------------------------------------------------------------------

    def page_above(self) -> PageRequest:
        """The tasks next to the newest that is loaded."""
        return PageRequest(self.high or "", oldest_first=True)

    def page_below(self) -> PageRequest:
        """The tasks next to the oldest that is loaded."""
        return PageRequest(self.low or "", oldest_first=False)

    def page_of_newest(self) -> PageRequest:
        """What is read once the window is behind: the newest tasks, or of a search, whose hits may
        be few and far between, those that follow."""
        return self.page_above() if self.query.text else PageRequest("", False, is_new_range=True)

    def page_again(self) -> PageRequest:
        """What is loaded, from its end that is shown first."""
        count = len(self._tasks)
        if self._keeps_oldest:
            # A shorter text is below all that begin with it, so that the lowest is read, too.
            return PageRequest((self.low or "")[:-2], True, is_new_range=True, at_least=count)
        after = self.high + _LAST if self.high else ""
        return PageRequest(after, oldest_first=False, is_new_range=True, at_least=count)

    def expect_page(self) -> None:
        """A page is asked for now: the events until it comes may concern it."""
        self._since_request = {}

    def forget_page(self) -> None:
        """The page will not come."""
        self._since_request = None

    def add_page(self, request: PageRequest, page: TaskPage) -> None:
        """Extend the range by a page that was asked for, or replace it. Without a next page the
        range is open, if it was read upwards."""
        events, self._since_request = self._since_request or {}, None
        if request.is_new_range:
            self._drop([*self._tasks, *self._arriving])
            self._set_range(request, page.next)
        elif request.oldest_first:
            self.high, self._is_cut_above, self.newer = page.next or None, True, 0
        else:
            self.low = page.next
        self._is_behind &= self.high is not None and not request.is_new_range
        order = feed_order(page.feed)
        for task in page.items:
            known = self._tasks.get(task.id)
            if self._is_in_range(task.id) and known is None and self._matches(task):
                self._set(task, order)
        for event in events.values():
            if feed_order(event.cursor) > order:
                self._event_count += 1
                self._apply(event)

    def _set_range(self, request: PageRequest, next_page: str) -> None:
        if request.oldest_first:
            self.low = request.after + _FIRST if request.after else ""
            self.high = next_page or None
            self._is_cut_above = True
        else:
            self.low = next_page
            if not request.after:
                self.high = None
            else:
                self._is_cut_above = True  # nothing is known of what is above
        self.newer = 0 if self.high is None else self.newer

    # -- tasks --------------------------------------------------------------------------------

    def _matches(self, task: Task) -> bool:
        return self.query.state in (None, task.state) and self._filter.matches(task)

    def _set(self, task: Task, order: Order) -> None:
        self._tasks[task.id] = task
        self._orders[task.id] = order
        self._arriving.pop(task.id, None)
        self._sorted = None

    def _remove(self, id: str) -> bool:
        self._unread.pop(id, None)
        self._arriving.pop(id, None)
        self._orders.pop(id, None)
        if self._tasks.pop(id, None) is None:
            return False
        self._sorted = None
        return True


def _is_submission(event: FeedEvent) -> bool:
    return event.state is TaskState.PENDING and not event.attempt


def _advance(task: Task, event: FeedEvent) -> Task:
    """The task after an event, as far as that says it; the rest is read."""
    state = event.state or task.state
    was_pending = task.state is TaskState.PENDING
    task = replace(task, state=state, attempt=event.attempt, ended=None)
    if state is TaskState.PROCESSING:
        return replace(task, started=event.time, message="", next_attempt=None)
    if not state.is_final:
        return task
    started = None if was_pending else task.started
    return replace(task, started=started, ended=event.time, next_attempt=None)
