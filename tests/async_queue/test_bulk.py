"""Actions on many tasks, against a queue that answers, fails and changes as a script says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.bulk import PORTION, SUITABLE_STATES, BulkRun
from servedeck.async_queue.errors import (
    NotPermittedError,
    RefusedError,
    StoreUnavailableError,
    UnreachableError,
)
from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.tasks import (
    Changed,
    QueueStatus,
    StateCounts,
    TaskAction,
    TaskState,
)
from servedeck.cluster.http.errors import ReadOnlyError

RESULTS = {
    TaskAction.CANCEL: TaskState.CANCELLED,
    TaskAction.RETRY: TaskState.PENDING,
    TaskAction.FRONT: TaskState.PENDING,
}
"""The state after each action; after FORGET there is none."""


class ScriptedQueue:
    """The acting part of a queue. `events` are what happens to the requests, in their order, and
    nothing to those after them: an error before a request is done, or ("after", error)."""

    def __init__(self, states: dict[str, TaskState], page: int = 3) -> None:
        self.states = dict(states)
        self.page = page
        self.events: list[Exception | tuple[str, Exception] | None] = []
        self.asked: list[tuple[object, ...]] = []
        self.changes: Counter[str] = Counter()
        """How often each task was changed."""
        self.order: list[str] = []
        """Tasks that were moved to the front, the first one first."""
        self.refuses: Callable[[str], bool] = lambda _id: False
        self.time: float | None = 1000.0

    @property
    def api(self) -> QueueApi:
        return cast(QueueApi, self)

    async def queue_status(self) -> QueueStatus:
        return QueueStatus(
            serving="chat/llama",
            version="1",
            time=self.time,
            counts=StateCounts(),
            backlog=0,
            concurrency=0,
            pod_concurrency=4,
            max_depth=10,
        )

    async def change_tasks(
        self, action: TaskAction, ids: Sequence[str], *, is_bare: bool = False
    ) -> Changed:
        self.asked.append((action, tuple(ids), is_bare))
        return self._do(action, ids)

    async def change_matching(
        self, action: TaskAction, query: TaskQuery, *, after: str = "", is_bare: bool = False
    ) -> Changed:
        self.asked.append((action, query, after, is_bare))
        suitable = SUITABLE_STATES[action] if query.state is None else {query.state}
        ids = sorted((id for id in self.states if not after or id < after), reverse=True)
        chosen = ids[: self.page]
        following = chosen[-1] if len(ids) > self.page else ""
        found = self._do(action, [one for one in chosen if self.states[one] in suitable])
        return Changed(
            changed=found.changed, refused=found.refused, message=found.message, next=following
        )

    def _do(self, action: TaskAction, ids: Sequence[str]) -> Changed:
        event = self.events.pop(0) if self.events else None
        if isinstance(event, Exception):
            raise event
        changed = refused = missing = 0
        others: Counter[TaskState] = Counter()
        for id in sorted(ids, reverse=True):
            state = self.states.get(id)
            if state is None:
                missing += 1
            elif state not in SUITABLE_STATES[action]:
                others[state] += 1
            elif self.refuses(id):
                refused += 1
            else:
                self._change(action, id)
                changed += 1
        if event is not None:
            raise event[1]
        message = "Its credentials were deleted." if refused else ""
        return Changed(
            changed=changed, refused=refused, message=message, others=dict(others), missing=missing
        )

    def _change(self, action: TaskAction, id: str) -> None:
        self.changes[id] += 1
        if action is TaskAction.FORGET:
            del self.states[id]
        else:
            self.states[id] = RESULTS[action]
        if action is TaskAction.FRONT:
            self.order = [id, *(one for one in self.order if one != id)]


def queue(*states: TaskState) -> ScriptedQueue:
    return ScriptedQueue({f"{n:04}": state for n, state in enumerate(states)})


async def test_ids_are_asked_for_in_portions_with_progress() -> None:
    fake = queue(*[TaskState.PENDING] * (2 * PORTION + 5))
    seen: list[str] = []
    run = BulkRun(fake.api, TaskAction.CANCEL, [*fake.states, "0000"])
    run.on_progress = lambda: seen.append(run.progress())
    await run.run()
    assert seen == ["200 of 405 tasks", "400 of 405 tasks", "405 of 405 tasks"]
    assert run.is_complete and not run.has_failed
    assert run.summary() == "405 tasks cancelled."
    assert set(fake.states.values()) == {TaskState.CANCELLED}


async def test_what_was_found_otherwise_is_said_by_its_state() -> None:
    fake = queue(
        *[TaskState.PENDING] * 2, *[TaskState.COMPLETED] * 3, TaskState.FAILED, TaskState.CANCELLED
    )
    run = BulkRun(fake.api, TaskAction.CANCEL, [*fake.states, "gone"])
    await run.run()
    assert run.summary() == (
        "2 tasks cancelled; 1 was cancelled before, 3 had completed before, 1 had failed before, "
        "1 is gone."
    )
    assert not run.has_failed


async def test_a_refusal_is_said_with_its_reason() -> None:
    fake = queue(*[TaskState.FAILED] * 3, TaskState.PROCESSING)
    fake.refuses = lambda id: id < "0002"
    run = BulkRun(fake.api, TaskAction.RETRY, list(fake.states))
    await run.run()
    assert run.summary() == (
        "1 task retried; 1 is being processed, 2 could not be retried. "
        "Its credentials were deleted."
    )
    assert run.has_failed


@pytest.mark.parametrize(
    ("action", "state", "text"),
    [
        (TaskAction.CANCEL, TaskState.PROCESSING, "The task was cancelled."),
        (
            TaskAction.CANCEL,
            TaskState.COMPLETED,
            "The task was not cancelled: it had completed before.",
        ),
        (TaskAction.RETRY, TaskState.PENDING, "The task was not retried: it is pending."),
        (TaskAction.FRONT, TaskState.PENDING, "The task was moved to the front."),
        (TaskAction.FORGET, TaskState.FAILED, "The task was deleted."),
    ],
)
async def test_of_one_task_it_is_said_which_came_first(
    action: TaskAction, state: TaskState, text: str
) -> None:
    fake = queue(state)
    run = BulkRun(fake.api, action, ["0000"])
    await run.run()
    assert run.summary() == text


async def test_one_task_that_is_gone_or_refused() -> None:
    fake = queue(TaskState.FAILED)
    fake.refuses = lambda _id: True
    gone, refused = (BulkRun(fake.api, TaskAction.RETRY, [one]) for one in ("none", "0000"))
    await gone.run()
    await refused.run()
    assert gone.summary() == "The task was not retried: it is gone."
    assert refused.summary() == "The task was not retried. Its credentials were deleted."


async def test_without_credentials_if_it_is_asked_so() -> None:
    fake = queue(TaskState.FAILED)
    await BulkRun(fake.api, TaskAction.RETRY, ["0000"], is_bare=True).run()
    await BulkRun(fake.api, TaskAction.RETRY, TaskQuery(TaskState.FAILED), is_bare=True).run()
    assert [one[-1] for one in fake.asked] == [True, True]


async def test_the_oldest_of_several_portions_is_the_first_at_the_front() -> None:
    fake = queue(*[TaskState.PENDING] * (PORTION + 50))
    await BulkRun(fake.api, TaskAction.FRONT, list(fake.states)).run()
    assert fake.order == sorted(fake.states)


async def test_all_that_match_are_walked_over_with_the_ages_of_the_start() -> None:
    fake = queue(*[TaskState.FAILED] * 7)
    query = TaskQuery(TaskState.FAILED, "path:/v1 age:>10m")
    run = BulkRun(fake.api, TaskAction.RETRY, query, count=7)
    await run.run()
    assert run.summary() == "7 tasks retried."
    assert run.progress() == "7 tasks of about 7"
    texts = {one[1].text for one in fake.asked if isinstance(one[1], TaskQuery)}
    assert texts == {"path:/v1 created:<400.000"}


async def test_a_time_that_is_given_is_not_asked_for() -> None:
    fake = queue(TaskState.FAILED)
    fake.time = None
    run = BulkRun(fake.api, TaskAction.RETRY, TaskQuery(text="age:<1h"), now=4000.0)
    await run.run()
    assert fake.asked[0][1] == TaskQuery(text="created:>400.000")
    run = BulkRun(fake.api, TaskAction.RETRY, TaskQuery(text="age:<1h"))
    await run.run()
    assert "does not tell its time" in run.error


async def test_a_filter_that_cannot_be_read_is_an_error_and_nothing_is_sent() -> None:
    fake = queue(TaskState.FAILED)
    run = BulkRun(fake.api, TaskAction.RETRY, TaskQuery(text="age:soon"), now=0.0)
    await run.run()
    assert "is no age" in run.error
    assert not fake.asked
    assert not run._is_unanswered


async def test_a_stop_comes_after_the_portion() -> None:
    fake = queue(*[TaskState.PENDING] * 500)
    run = BulkRun(fake.api, TaskAction.CANCEL, list(fake.states))
    run.on_progress = run.stop
    await run.run()
    assert run.summary() == "200 tasks cancelled. Stopped: 300 were not asked for."
    run.on_progress = lambda: None
    await run.run()
    assert run.summary() == "500 tasks cancelled."


async def test_a_stop_of_a_walk() -> None:
    fake = queue(*[TaskState.PENDING] * 5)
    run = BulkRun(fake.api, TaskAction.CANCEL, TaskQuery())
    run.on_progress = run.stop
    await run.run()
    assert run.summary() == "3 tasks cancelled. Stopped: the rest was not asked for."


@pytest.mark.parametrize(
    "error", [UnreachableError("No Pod is up."), StoreUnavailableError("Valkey is down.")]
)
async def test_after_a_lost_answer_it_says_so_and_goes_on(error: Exception) -> None:
    fake = queue(*[TaskState.PENDING] * 450)
    fake.events = [None, ("after", error)]
    run = BulkRun(fake.api, TaskAction.CANCEL, list(fake.states))
    await run.run()
    assert run._is_unanswered and not run.is_complete
    assert run.summary() == (
        f"200 tasks cancelled. {error} The answer to the last request is missing: more may have "
        "been cancelled."
    )
    await run.run()
    assert run.is_complete and not run.error
    assert run.summary() == (
        "250 tasks cancelled; 200 were cancelled before. An answer was lost before: more may have "
        "been cancelled by that request."
    )


async def test_the_lost_answer_of_one_task() -> None:
    fake = queue(TaskState.PENDING)
    fake.events = [UnreachableError("No Pod is up.")]
    run = BulkRun(fake.api, TaskAction.CANCEL, ["0000"])
    await run.run()
    assert run.summary() == (
        "No Pod is up. The answer to the last request is missing: it may have been cancelled."
    )


@pytest.mark.parametrize(
    "error", [NotPermittedError("No right."), RefusedError("Not valid."), ReadOnlyError()]
)
async def test_what_is_refused_as_a_whole_was_not_done(error: Exception) -> None:
    fake = queue(*[TaskState.PENDING] * 300)
    fake.events = [None, error]
    run = BulkRun(fake.api, TaskAction.CANCEL, list(fake.states))
    await run.run()
    assert not run._is_unanswered
    assert run.summary() == f"200 tasks cancelled. {error}"


async def test_what_is_cut_off_may_have_been_done() -> None:
    fake = queue(TaskState.PENDING)
    reached = asyncio.Event()

    async def hang(*_arguments: object, **_options: object) -> Changed:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    fake.change_tasks = hang  # type: ignore[method-assign]
    run = BulkRun(fake.api, TaskAction.CANCEL, ["0000"])
    task = asyncio.create_task(run.run())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run._is_unanswered and not run.is_running


async def test_a_walk_that_does_not_move_ends() -> None:
    fake = queue(TaskState.PENDING)

    async def stay(*_arguments: object, **_options: object) -> Changed:
        fake.asked.append(())
        return Changed(changed=0, next="x")

    fake.change_matching = stay  # type: ignore[method-assign]
    run = BulkRun(fake.api, TaskAction.CANCEL, TaskQuery())
    await run.run()
    assert run.is_complete
    assert len(fake.asked) == 2


async def test_nothing_is_asked_for_no_task() -> None:
    fake = queue()
    run = BulkRun(fake.api, TaskAction.CANCEL, [])
    await run.run()
    assert not fake.asked
    assert run.summary() == "No task cancelled."


ERRORS = st.sampled_from(
    [UnreachableError("lost"), StoreUnavailableError("store"), NotPermittedError("no right")]
)
EVENTS = st.lists(
    st.one_of(st.none(), ERRORS, st.tuples(st.just("after"), ERRORS)),
    max_size=12,
)


@given(
    action=st.sampled_from(TaskAction),
    states=st.lists(st.sampled_from(TaskState), max_size=40),
    gone=st.integers(0, 3),
    by_ids=st.booleans(),
    events=EVENTS,
    refused=st.sets(st.integers(0, 39)),
)
def test_whatever_fails_all_is_done_in_the_end_and_counted_once(
    action: TaskAction,
    states: list[TaskState],
    gone: int,
    by_ids: bool,
    events: list[Exception | tuple[str, Exception] | None],
    refused: set[int],
) -> None:
    async def check() -> None:
        fake = queue(*states)
        fake.events = list(events)
        fake.refuses = lambda id: int(id) in refused
        before = dict(fake.states)
        suitable = {id for id, state in before.items() if state in SUITABLE_STATES[action]}
        wanted = {id for id in suitable if int(id) not in refused}
        ids = [*before, *(f"gone{n}" for n in range(gone))]
        run = BulkRun(fake.api, action, ids if by_ids else TaskQuery(), count=len(suitable))
        for _ in range(len(events) + 1):
            before_run = run.asked
            await run.run()
            assert run.asked >= before_run
            assert run.summary()
        assert run.is_complete and not run.error
        # Exactly those that can be changed are, and none more than once but to the front.
        assert set(fake.changes) == wanted
        if action is not TaskAction.FRONT:
            assert set(fake.changes.values()) <= {1}
        had_lost = any(isinstance(one, tuple) for one in events)
        if by_ids:
            assert run.asked == len(ids)
        if not had_lost:
            assert run.changed == len(wanted)
            assert run.refused == len(suitable - wanted)
            if by_ids:
                assert run.missing == gone
                assert run.others.total() == len(before) - len(suitable)
        else:
            assert run.changed <= len(wanted)
            if run.changed < len(wanted):
                assert run.has_lost_answer or any(
                    isinstance(one, tuple) and not isinstance(one[1], UnreachableError)
                    for one in events
                )

    asyncio.run(check())
