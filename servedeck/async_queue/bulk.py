"""An action on many tasks: in portions, with progress, stopped between two of them, and gone on
with after an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from servedeck.async_queue.errors import TooOldError, UnreachableError
from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.task_filter import fix_ages
from servedeck.async_queue.tasks import Changed, TaskAction, TaskState
from servedeck.cluster.http.errors import ClusterError
from servedeck.serving.query_terms import QueryError
from servedeck.serving.text import format_count, one_line, sanitize

PORTION = 200
"""Tasks that are asked for at once by their ids: about a tenth of a second of the store, so that a
stop has its effect soon."""

DONE_WORDS: Mapping[TaskAction, str] = MappingProxyType(
    {
        TaskAction.CANCEL: "cancelled",
        TaskAction.RETRY: "retried",
        TaskAction.FRONT: "moved to the front",
        TaskAction.FORGET: "deleted",
    }
)
"""What was done to a task."""

SUITABLE_STATES: Mapping[TaskAction, frozenset[TaskState]] = MappingProxyType(
    {
        TaskAction.CANCEL: frozenset({TaskState.PENDING, TaskState.PROCESSING}),
        TaskAction.RETRY: frozenset({TaskState.FAILED}),
        TaskAction.FRONT: frozenset({TaskState.PENDING}),
        TaskAction.FORGET: frozenset(
            {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED},
        ),
    }
)
"""States of the tasks that an action is possible for."""

_OTHERS: Mapping[TaskState, tuple[str, str]] = MappingProxyType(
    {
        TaskState.PENDING: ("is pending", "are pending"),
        TaskState.PROCESSING: ("is being processed", "are being processed"),
        TaskState.COMPLETED: ("had completed before", "had completed before"),
        TaskState.FAILED: ("had failed before", "had failed before"),
        TaskState.CANCELLED: ("was cancelled before", "were cancelled before"),
    }
)
"""What is said of one task, and of several, that the action found in that state."""


def suitable_words(action: TaskAction) -> str:
    """The states that an action is possible for: "pending or processing"."""
    return " or ".join(one for one in TaskState if one in SUITABLE_STATES[action])


def unsuitable_reason(
    action: TaskAction, states: Sequence[TaskState | None], *, who: str = ""
) -> str:
    """Why the action is possible for none of the tasks in these states, in a sentence; "" if it is
    for one. None is a state that is not known: the gateway tells whether it was possible. `who`
    names the tasks, with a verb."""
    if not states or any(one is None or one in SUITABLE_STATES[action] for one in states):
        return ""
    found = " and ".join(one for one in TaskState if one in states)
    who = who or ("this one is" if len(states) == 1 else "these are")
    return f"Only {suitable_words(action)} tasks can be {DONE_WORDS[action]}; {who} {found}."


def unchanged_text(action: TaskAction, state: TaskState) -> str:
    """What is said of one task that the action found in another state."""
    return f"The task was not {DONE_WORDS[action]}: it {_OTHERS[state][0]}."


class BulkRun:
    """One action on the tasks of these ids, or on all that match.

    `run` goes on where the last call of it has ended; what is counted is of all calls.
    """

    def __init__(
        self,
        api: QueueApi,
        action: TaskAction,
        targets: Sequence[str] | TaskQuery,
        *,
        now: float | None = None,
        is_bare: bool = False,
        count: int | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """`now` is the time by the store's clock, which ages in a filter are of; None asks the
        gateway for it. `is_bare`: a retry sends the tasks without credentials, even if they had
        some. `count` is how many match, as far as that is known. `on_progress` is called after each
        portion."""
        self._api = api
        self.action = action
        self.is_bare = is_bare
        self.on_progress = on_progress
        self._query: TaskQuery | None = None
        self._ids: Sequence[str] = ()
        if isinstance(targets, TaskQuery):
            self._query = targets
            self.total = count
            """Tasks that it is done to; None if that is not known."""
        else:
            # The oldest last, so that of tasks moved to the front it is the first one: ids sort by
            # age, and each portion is put before the one that was moved before it.
            self._ids = sorted(dict.fromkeys(targets), reverse=True)
            self.total = len(self._ids)
        self._now = now
        self._has_fixed_ages = False
        self._after = ""
        self._at = 0
        self._is_complete = not (self._query or self._ids)
        self._is_stopping = False
        self._is_unanswered = False
        """Whether the last request that was sent has no answer."""
        self.has_lost_answer = False
        """Whether the answer to a request was lost, so that what is found changed already may have
        been changed by it."""
        self.is_running = False
        self.error = ""
        """Why the last call of `run` ended before the end, one sentence; "" if it did not."""
        self.changed = 0
        self.refused = 0
        self.refusal = ""
        """Why the first of them was refused, one sentence."""
        self.others: Counter[TaskState] = Counter()
        """Tasks that were in another state by then."""
        self.missing = 0
        """Tasks that are no longer stored."""

    @property
    def asked(self) -> int:
        """Tasks that the answers are about."""
        return self.changed + self.refused + self.others.total() + self.missing

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to ask for."""
        return self._is_complete

    def stop(self) -> None:
        """Send no more; what was sent is waited for."""
        self._is_stopping = True

    async def run(self) -> None:
        """Until all is done, it is stopped or a request fails; why it failed is in `error`."""
        self._is_stopping, self.error, self.is_running = False, "", True
        try:
            while not (self._is_complete or self._is_stopping):
                await self._ask_next()
                self.on_progress()
        except UnreachableError as error:
            self.has_lost_answer = self.has_lost_answer or self._is_unanswered
            self.error = str(error)
        except (ClusterError, QueryError) as error:
            self._is_unanswered = False  # the gateway, or the way to it, refused it
            self.error = one_line(sanitize(str(error)))
        finally:
            self.is_running = False

    async def _ask_next(self) -> None:
        if self._query is None:
            ids = self._ids[self._at : self._at + PORTION]
            self._is_unanswered = True
            answer = await self._api.change_tasks(self.action, ids, is_bare=self.is_bare)
            self._at += len(ids)
            self._is_complete = self._at >= len(self._ids)
        else:
            query = await self._fixed_query(self._query)
            self._is_unanswered = True
            answer = await self._api.change_matching(
                self.action, query, after=self._after, is_bare=self.is_bare
            )
            self._is_complete = answer.next in ("", self._after)
            self._after = answer.next
        self._is_unanswered = False
        self._count(answer)

    async def _fixed_query(self, query: TaskQuery) -> TaskQuery:
        """The query with times in place of ages: those at the start, however long it takes."""
        if self._has_fixed_ages or not query.text:
            return query
        if self._now is None:
            self._now = (await self._api.queue_status()).time
        if self._now is None:
            raise TooOldError(
                "The async gateway does not tell its time; turn the async queue on again to update"
                " it."
            )
        fixed = query._replace(text=fix_ages(query.text, self._now))
        self._query, self._has_fixed_ages = fixed, True
        return fixed

    def _count(self, answer: Changed) -> None:
        self.changed += answer.changed
        self.refused += answer.refused
        self.refusal = self.refusal or one_line(sanitize(answer.message))
        self.others.update(answer.others)
        self.missing += answer.missing

    # -- in words -------------------------------------------------------------------------------

    @property
    def has_failed(self) -> bool:
        """Whether it ended with an error, or some tasks were refused."""
        return bool(self.error or self.refused)

    def progress(self) -> str:
        """How far it is, a few words."""
        if self.total is not None and self._query is None:
            return f"{self.asked:,} of {format_count(self.total, 'task')}"
        about = f" of about {self.total:,}" if self.total is not None else ""
        return f"{format_count(self.asked, 'task')}{about}"

    def summary(self) -> str:
        """What was done, in sentences: "12 tasks cancelled; 3 had completed before, 1 is gone."."""
        found = self._describe_one() if self._is_of_one else self._describe_many()
        return " ".join(filter(None, (found, *self._interruption())))

    @property
    def _is_of_one(self) -> bool:
        return self._query is None and self.total == 1

    def _describe_one(self) -> str:
        done = DONE_WORDS[self.action]
        if self.changed:
            return f"The task was {done}."
        if not self.asked:
            return "" if self._is_unanswered else f"The task was not {done}."
        if self.refused:
            return f"The task was not {done}. {self.refusal}".rstrip()
        for state in self.others:
            return unchanged_text(self.action, state)
        return f"The task was not {done}: it is gone."

    def _describe_many(self) -> str:
        done = DONE_WORDS[self.action]
        number = format_count(self.changed, "task") if self.changed else "No task"
        rest = [f"{n:,} {_OTHERS[state][n != 1]}" for state, n in sorted(self.others.items()) if n]
        if self.missing:
            rest.append(f"{self.missing:,} {'is' if self.missing == 1 else 'are'} gone")
        if self.refused:
            rest.append(f"{self.refused:,} could not be {done}")
        text = f"{number} {done}{'; ' if rest else ''}{', '.join(rest)}."
        return f"{text} {self.refusal.rstrip('.')}." if self.refused and self.refusal else text

    def _interruption(self) -> list[str]:
        """Why there may be more to it, in sentences."""
        found = [self.error] if self.error else []
        done, what = DONE_WORDS[self.action], "it" if self._is_of_one else "more"
        if self._is_unanswered and not self.is_running:
            found.append(f"The answer to the last request is missing: {what} may have been {done}.")
        elif self.has_lost_answer:
            found.append(f"An answer was lost before: {what} may have been {done} by that request.")
        if not (self._is_complete or self.error or self.is_running):
            is_counted = self.total is not None and self._query is None
            left = f"{(self.total or 0) - self.asked:,} were" if is_counted else "the rest was"
            found.append(f"Stopped: {left} not asked for.")
        return found
