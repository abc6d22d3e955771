"""A task's life in any order of events, against a model of plain Python."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from servedeck.async_queue.tasks import FINAL_STATES, FeedEvent, StateCounts, Task, TaskState
from servedeck.gateway.stores.store import START, Claimed, Control, SubmitOutcome
from tests.gateway.stores.cases import (
    SqliteCase,
    StoreCase,
    ValkeyCase,
    attempt_of,
    end_of,
    new_task,
    read_all,
)
from tests.waiting import WAIT_SECONDS

T = TypeVar("T")

KEEP = 1000.0
LIFETIME = 500.0
TINY = 0.001
PODS = ("p1", "p2", "p3")
POD_LIMIT, SERVING_LIMIT = 2, 5

State = TaskState


@dataclass
class Model:
    """What is expected of one task."""

    id: str
    owner: str
    urgency: int
    max_attempts: int
    deadline: float
    finish: int
    credentials: bytes
    """What it was submitted, or redriven, with."""
    had_credentials: bool
    has_callback: bool
    state: TaskState | None = State.PENDING
    attempt: int = 0
    used: int = 0
    pod: str = ""
    lease: float = 0.0
    due: float | None = None
    expires: float = 0.0
    attempts: list[int] = field(default_factory=list)
    history: list[tuple[TaskState | None, int]] = field(
        default_factory=lambda: [(State.PENDING, 0)]
    )

    def become(self, state: TaskState | None) -> None:
        self.state = state
        self.history.append((state, self.attempt))

    def end(self, state: TaskState, now: float) -> None:
        if self.state is State.PROCESSING:
            self.attempts.append(self.attempt)
        self.due = None
        self.expires = now + KEEP
        self.become(state)

    def give_back(self, due: float | None) -> None:
        self.attempts.append(self.attempt)
        self.due = due
        self.become(State.PENDING)

    @property
    def is_ready(self) -> bool:
        return self.state is State.PENDING and self.due is None


class TaskLife(RuleBasedStateMachine):
    """`attempts` holds all that were ever claimed, so that owners that are late act as well.

    On a store with a clock of its own, the model's time stands still: all durations are long,
    except in the rules where something passes before the rule ends."""

    ids = Bundle("ids")
    attempts = Bundle("attempts")

    def __init__(self, open_case: Callable[[], StoreCase]) -> None:
        super().__init__()
        self.open_case = open_case

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.case = self.run(self.make_case())
        self.tasks: dict[str, Model] = {}
        self.virtual_time = 0
        self.owner_finish: dict[tuple[str, int], int] = {}
        self.paused = False
        self.callbacks: dict[str, int] = {}
        self.claims = 0
        self.cursor = START
        self.feed: dict[str, list[tuple[TaskState | None, int]]] = {}

    def teardown(self) -> None:
        if hasattr(self, "case"):
            self.run(self.case.close())
            self.runner.close()

    async def make_case(self) -> StoreCase:
        case = self.open_case()
        await case.store.open()
        return case

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asyncio.wait_for(coroutine, WAIT_SECONDS))

    @property
    def now(self) -> float:
        return self.case.now if isinstance(self.case, SqliteCase) else 0.0

    def real(self, seconds: float) -> float:
        """Of a duration that must not pass on a clock that goes on."""
        return seconds if self.case.has_clock else 1000 * seconds

    def next_finish(self, owner: str, urgency: int) -> int:
        last = self.owner_finish.get((owner, urgency), 0)
        finish = max(self.virtual_time, last) + (1 << urgency)
        self.owner_finish[owner, urgency] = finish
        return finish

    def queue(self) -> list[Model]:
        ready = [one for one in self.tasks.values() if one.is_ready]
        return sorted(ready, key=lambda one: (one.finish, one.id))

    def end(self, task: Model, state: TaskState) -> None:
        task.end(state, self.now)
        if task.has_callback:
            self.callbacks[task.id] = 0

    # -- rules ----------------------------------------------------------------------------------

    @rule(
        target=ids,
        owner=st.sampled_from("abc"),
        urgency=st.sampled_from((0, 1, 3, 3, 7)),
        max_attempts=st.integers(1, 3),
        has_credentials=st.booleans(),
        has_callback=st.booleans(),
        lifetime=st.sampled_from((LIFETIME, LIFETIME, 15.0)),
    )
    def submit(
        self,
        owner: str,
        urgency: int,
        max_attempts: int,
        has_credentials: bool,
        has_callback: bool,
        lifetime: float,
    ) -> str:
        task = new_task(
            owner,
            urgency=urgency,
            max_attempts=max_attempts,
            credentials=b"c" if has_credentials else b"",
            has_callback=has_callback,
            lifetime=self.real(lifetime),
        )
        result = self.run(self.case.store.submit(task, 1000))
        assert (result.outcome, result.id) == (SubmitOutcome.ACCEPTED, task.id)
        model = Model(
            task.id,
            owner,
            urgency,
            max_attempts,
            self.now + lifetime,
            self.next_finish(owner, urgency),
            task.credentials,
            has_credentials,
            has_callback,
        )
        self.tasks[task.id] = model
        assert result.position == self.queue().index(model)
        assert self.run(self.case.store.submit(task, 1000)).outcome is SubmitOutcome.REPEATED
        return task.id

    @rule(target=attempts, limit=st.integers(1, 4), lease=st.sampled_from((5.0, 60.0)))
    def claim(self, limit: int, lease: float) -> list[Claimed]:
        return self.take(limit, lease)

    def take(self, limit: int, lease: float, real_lease: float = 0.0) -> list[Claimed]:
        self.claims += 1
        taken = self.run(
            self.case.store.claim(
                f"w{self.claims}",
                PODS,
                limit=limit,
                concurrency=SERVING_LIMIT,
                pod_concurrency=POD_LIMIT,
                lease=real_lease or self.real(lease),
            )
        )
        running = Counter(one.pod for one in self.tasks.values() if one.state is State.PROCESSING)
        room = 0 if self.paused else min(limit, SERVING_LIMIT - running.total())
        expected: list[Model] = []
        for task in self.queue():
            if len(expected) >= room:
                break
            self.virtual_time = max(self.virtual_time, task.finish)
            if task.deadline <= self.now:
                self.end(task, State.FAILED)
                continue
            expected.append(task)
        assert [one.id for one in taken] == [one.id for one in expected]
        for claimed, task in zip(taken, expected, strict=True):
            least = min(running[pod] for pod in PODS)
            assert running[claimed.pod] == least < POD_LIMIT
            running[claimed.pod] += 1
            task.attempt += 1
            task.used += 1
            task.pod, task.lease = claimed.pod, self.now + lease
            task.become(State.PROCESSING)
            assert claimed.attempt == task.attempt
            assert claimed.attempts_left == task.max_attempts - task.used
            assert claimed.credentials == task.credentials
        return taken

    def holds(self, claimed: Claimed) -> bool:
        task = self.tasks.get(claimed.id)
        return (
            task is not None and task.state is State.PROCESSING and task.attempt == claimed.attempt
        )

    @rule(taken=attempts, lease=st.sampled_from((5.0, 60.0)))
    def beat(self, taken: list[Claimed], lease: float) -> None:
        lost = self.run(
            self.case.store.beat([(one.id, one.attempt) for one in taken], self.real(lease))
        )
        assert lost == [one.id for one in taken if not self.holds(one)]
        for one in taken:
            if self.holds(one):
                self.tasks[one.id].lease = self.now + lease

    @rule(taken=attempts, state=st.sampled_from((State.COMPLETED, State.FAILED)))
    def finish(self, taken: list[Claimed], state: TaskState) -> None:
        for one in taken:
            expected = self.holds(one)
            done = self.run(self.case.store.finish(end_of(one, state, keep=self.real(KEEP))))
            assert done == expected
            if done:
                self.end(self.tasks[one.id], state)

    @rule(taken=attempts, delay=st.sampled_from((0.0, 10.0)), is_counted=st.booleans())
    def retry(self, taken: list[Claimed], delay: float, is_counted: bool) -> None:
        for one in taken:
            expected = self.holds(one)
            record = attempt_of(one, "busy", is_counted=is_counted)
            assert (
                self.run(self.case.store.retry(one.id, one.attempt, self.real(delay), record))
                == expected
            )
            if expected:
                task = self.tasks[one.id]
                task.used -= not is_counted
                task.give_back(self.now + delay if delay else None)

    @rule(taken=attempts)
    def append(self, taken: list[Claimed]) -> None:
        for one in taken:
            done = self.run(self.case.store.append_output(one.id, one.attempt, b"part"))
            assert done == self.holds(one)

    @rule(taken=consumes(attempts))
    def forget(self, taken: list[Claimed]) -> None:
        """A worker that is killed: its leases are left."""

    @rule(id=ids)
    def cancel(self, id: str) -> None:
        task = self.tasks[id]
        is_open = task.state in (State.PENDING, State.PROCESSING)
        change = self.run(self.case.store.cancel(id, self.real(KEEP)))
        if is_open:
            self.end(task, State.CANCELLED)
        assert (change.changed, change.state) == (is_open, task.state)

    @rule(id=ids, credentials=st.sampled_from((None, b"", b"new")))
    def redrive(self, id: str, credentials: bytes | None) -> None:
        task = self.tasks[id]
        expected = task.state is State.FAILED and not (credentials is None and task.had_credentials)
        change = self.run(self.case.store.redrive(id, self.real(LIFETIME), credentials))
        assert change.changed == expected
        assert bool(change.refusal) == (task.state is State.FAILED and not expected)
        if expected:
            task.used, task.deadline = 0, self.now + LIFETIME
            task.finish = self.next_finish(task.owner, task.urgency)
            task.credentials = credentials or b""
            task.become(State.PENDING)
            self.callbacks.pop(id, None)
        assert change.state == task.state

    @rule(id=ids)
    def front(self, id: str) -> None:
        task = self.tasks[id]
        [change] = self.run(self.case.store.move_to_front([id]))
        assert (change.changed, change.state) == (task.state is State.PENDING, task.state)
        if change.changed:
            others = [one.finish for one in self.queue() if one is not task]
            task.due = None
            task.finish = min(others) - 1 if others else task.finish
            assert self.queue()[0] is task

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.paused = paused
        self.run(self.case.store.set_control(Control(paused=paused)))

    @rule(seconds=st.sampled_from((1.0, 6.0, 11.0, 61.0, KEEP)))
    def pass_time(self, seconds: float) -> None:
        if self.case.has_clock:
            self.run(self.case.pass_time(seconds))

    @rule(target=attempts, limit=st.integers(1, 4))
    def lapse(self, limit: int) -> list[Claimed]:
        """Claimed by a worker that says nothing more."""
        taken = self.take(limit, 0.0, TINY)
        self.pass_tiny()
        return taken

    @rule(taken=attempts)
    def retry_and_wait(self, taken: list[Claimed]) -> None:
        for one in taken:
            expected = self.holds(one)
            record = attempt_of(one, "busy")
            done = self.run(self.case.store.retry(one.id, one.attempt, TINY, record))
            assert done == expected
            if expected:
                self.tasks[one.id].give_back(self.now)
        self.pass_tiny()

    @rule(id=ids)
    def cancel_and_delete(self, id: str) -> None:
        change = self.run(self.case.store.cancel(id, TINY))
        if change.changed:
            self.end(self.tasks[id], State.CANCELLED)
            self.tasks[id].expires = self.now
        self.pass_tiny()

    def pass_tiny(self) -> None:
        self.run(self.case.pass_time(TINY))
        self.sweep()

    @rule()
    def sweep(self) -> None:
        swept = self.run(self.case.store.sweep(self.real(KEEP)))
        tasks, now = list(self.tasks.values()), self.now
        lapsed = [one for one in tasks if one.state is State.PROCESSING and one.lease <= now]
        for task in sorted(lapsed, key=lambda one: one.lease):
            if task.used >= task.max_attempts:
                self.end(task, State.FAILED)
            else:
                task.give_back(None)
        expired = [
            one
            for one in tasks
            if one.state in (State.PENDING, State.PROCESSING) and one.deadline <= now
        ]
        for task in expired:
            self.end(task, State.FAILED)
        due = [one for one in tasks if one.due is not None and one.due <= now]
        for task in due:
            task.due = None
        deleted = [one for one in tasks if one.state in FINAL_STATES and one.expires <= now]
        for task in deleted:
            task.become(None)
            self.callbacks.pop(task.id, None)
        assert (swept.lapsed, swept.expired, swept.due, swept.deleted) == (
            len(lapsed),
            len(expired),
            len(due),
            len(deleted),
        )

    @rule(limit=st.integers(1, 3))
    def deliver_callbacks(self, limit: int) -> None:
        claimed = self.run(self.case.store.claim_callbacks(limit, self.real(KEEP)))
        due = [id for id, tries in self.callbacks.items() if not tries]
        assert len(claimed) == min(limit, len(due))
        for one in claimed:
            assert one.id in due
            assert one.tries == 0
            self.run(self.case.store.settle_callback(one.id, None))
            del self.callbacks[one.id]

    @rule()
    def restart(self) -> None:
        self.run(self.case.reopen())
        if not self.case.has_clock:
            return  # other processes may hold its tasks
        for task in self.tasks.values():
            if task.state is State.PROCESSING:
                task.lease = min(task.lease, self.now)

    # -- what always holds ----------------------------------------------------------------------

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        self.run(self.compare())

    async def compare(self) -> None:
        store, tasks = self.case.store, self.tasks
        placed = list(enumerate(self.queue()))[::5]
        counts, running, page, events, attempts, positions = await asyncio.gather(
            store.counts(),
            store.running(),
            store.page(None, "", 1000),
            read_all(store, self.cursor),
            asyncio.gather(*(store.read_attempts(id) for id in tasks)),
            asyncio.gather(*(store.position(task.id) for _, task in placed)),
        )
        self.compare_counts(counts, running)
        self.compare_tasks({one.id: one for one in page})
        self.compare_feed(events)
        assert positions == [position for position, _ in placed]
        for task, records in zip(tasks.values(), attempts, strict=True):
            expected = task.attempts if task.state is not None else []
            assert [one.attempt for one in records] == expected

    def compare_counts(self, counts: StateCounts, running: dict[str, int]) -> None:
        states = Counter(one.state for one in self.tasks.values() if one.state)
        delayed = sum(one.due is not None for one in self.tasks.values())
        assert counts == StateCounts(
            **{state.value: states[state] for state in State}, delayed=delayed
        )
        assert running == Counter(
            one.pod for one in self.tasks.values() if one.state is State.PROCESSING
        )
        assert all(number <= POD_LIMIT for number in running.values())

    def compare_tasks(self, page: dict[str, Task]) -> None:
        kept = {id: one for id, one in self.tasks.items() if one.state is not None}
        assert page.keys() == kept.keys()
        for id, task in kept.items():
            shown = page[id]
            assert (shown.state, shown.attempt) == (task.state, task.attempt)
            assert (shown.next_attempt is None) == (task.due is None)
            if self.case.has_clock:
                assert (shown.next_attempt, shown.deadline) == (task.due, task.deadline)
            has_ended = task.state in FINAL_STATES
            assert (shown.ended is not None, shown.expires is not None) == (has_ended, has_ended)

    def compare_feed(self, events: list[FeedEvent]) -> None:
        for event in events:
            history = self.feed.setdefault(event.id, [])
            if history:
                assert event.state in MOVES[history[-1][0]]
            history.append((event.state, event.attempt))
            self.cursor = event.cursor
        assert self.feed == {id: one.history for id, one in self.tasks.items()}


MOVES: dict[TaskState | None, set[TaskState | None]] = {
    State.PENDING: {State.PROCESSING, State.CANCELLED, State.FAILED},
    State.PROCESSING: {State.PENDING, State.COMPLETED, State.FAILED, State.CANCELLED},
    State.COMPLETED: {None},
    State.FAILED: {State.PENDING, None},
    State.CANCELLED: {None},
    None: set(),
}
"""The states that may follow each."""


@pytest.mark.timeout(1800)  # thorough, on a busy machine
def test_a_tasks_life_in_sqlite(tmp_path: Path) -> None:
    numbers = itertools.count()
    run_state_machine_as_test(
        lambda: TaskLife(lambda: SqliteCase(tmp_path / f"{next(numbers)}.db"))
    )


@pytest.mark.timeout(1800)
def test_a_tasks_life_in_valkey(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("tests.gateway.valkey_server", exc_type=ImportError)
    url = request.getfixturevalue("valkey_server").url
    numbers = itertools.count()
    run_state_machine_as_test(
        lambda: TaskLife(lambda: ValkeyCase(url, f"demo/chat-{next(numbers)}"))
    )
