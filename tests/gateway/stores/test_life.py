"""A task's life in any order of events, against a model of plain Python."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from servedeck.async_queue.tasks import FINAL_STATES, StateCounts, TaskState
from servedeck.gateway.stores.store import Claimed, Control, SubmitOutcome
from tests.gateway.stores.cases import (
    SqliteCase,
    attempt_of,
    end_of,
    new_task,
    read_all,
)
from tests.waiting import WAIT_SECONDS

T = TypeVar("T")

KEEP = 1000.0
LIFETIME = 500.0
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
    """`attempts` holds all that were ever claimed, so that owners that are late act as well."""

    ids = Bundle("ids")
    attempts = Bundle("attempts")

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.case = SqliteCase(Path(self.folder.name) / "tasks.db")
        self.run(self.case.store.open())
        self.tasks: dict[str, Model] = {}
        self.virtual_time = 0
        self.owner_finish: dict[tuple[str, int], int] = {}
        self.paused = False
        self.callbacks: dict[str, int] = {}
        self.claims = 0

    def teardown(self) -> None:
        if hasattr(self, "case"):
            self.run(self.case.close())
            self.runner.close()
            self.folder.cleanup()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asyncio.wait_for(coroutine, WAIT_SECONDS))

    @property
    def now(self) -> float:
        return self.case.now

    def next_finish(self, owner: str, urgency: int) -> int:
        last = self.owner_finish.get((owner, urgency), 0)
        finish = max(self.virtual_time, last) + 2**urgency
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
            lifetime=lifetime,
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
        self.claims += 1
        taken = self.run(
            self.case.store.claim(
                f"w{self.claims}",
                PODS,
                limit=limit,
                concurrency=SERVING_LIMIT,
                pod_concurrency=POD_LIMIT,
                lease=lease,
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
        lost = self.run(self.case.store.beat([(one.id, one.attempt) for one in taken], lease))
        assert lost == [one.id for one in taken if not self.holds(one)]
        for one in taken:
            if self.holds(one):
                self.tasks[one.id].lease = self.now + lease

    @rule(taken=attempts, state=st.sampled_from((State.COMPLETED, State.FAILED)))
    def finish(self, taken: list[Claimed], state: TaskState) -> None:
        for one in taken:
            expected = self.holds(one)
            done = self.run(self.case.store.finish(end_of(one, state, keep=KEEP)))
            assert done == expected
            if done:
                self.end(self.tasks[one.id], state)

    @rule(taken=attempts, delay=st.sampled_from((0.0, 10.0)), is_counted=st.booleans())
    def retry(self, taken: list[Claimed], delay: float, is_counted: bool) -> None:
        for one in taken:
            expected = self.holds(one)
            record = attempt_of(one, "busy", is_counted=is_counted)
            assert self.run(self.case.store.retry(one.id, one.attempt, delay, record)) == expected
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
        change = self.run(self.case.store.cancel(id, KEEP))
        if is_open:
            self.end(task, State.CANCELLED)
        assert (change.changed, change.state) == (is_open, task.state)

    @rule(id=ids, credentials=st.sampled_from((None, b"", b"new")))
    def redrive(self, id: str, credentials: bytes | None) -> None:
        task = self.tasks[id]
        expected = task.state is State.FAILED and not (credentials is None and task.had_credentials)
        change = self.run(self.case.store.redrive(id, LIFETIME, credentials))
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
        change = self.run(self.case.store.move_to_front(id))
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
        self.case.now += seconds

    @rule()
    def sweep(self) -> None:
        swept = self.run(self.case.store.sweep(KEEP))
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
        claimed = self.run(self.case.store.claim_callbacks(limit, KEEP))
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
        for task in self.tasks.values():
            if task.state is State.PROCESSING:
                task.lease = min(task.lease, self.now)

    # -- what always holds ----------------------------------------------------------------------

    @invariant()
    def counts_are_those_of_the_tasks(self) -> None:
        states = Counter(one.state for one in self.tasks.values() if one.state)
        delayed = sum(one.due is not None for one in self.tasks.values())
        assert self.run(self.case.store.counts()) == StateCounts(
            **{state.value: states[state] for state in State}, delayed=delayed
        )
        running = Counter(one.pod for one in self.tasks.values() if one.state is State.PROCESSING)
        assert self.run(self.case.store.running()) == running
        assert all(number <= POD_LIMIT for number in running.values())

    @invariant()
    def every_task_is_as_expected(self) -> None:
        page = {one.id: one for one in self.run(self.case.store.page(None, "", 1000))}
        kept = {id: one for id, one in self.tasks.items() if one.state is not None}
        assert page.keys() == kept.keys()
        for id, task in kept.items():
            shown = page[id]
            assert (shown.state, shown.attempt, shown.next_attempt, shown.deadline) == (
                task.state,
                task.attempt,
                task.due,
                task.deadline,
            )
            assert (
                (shown.ended is not None)
                == (shown.expires is not None)
                == (task.state in FINAL_STATES)
            )

    @invariant()
    def the_queue_is_in_order(self) -> None:
        for position, task in itertools.islice(enumerate(self.queue()), 0, None, 5):
            assert self.run(self.case.store.position(task.id)) == position

    @invariant()
    def the_feed_is_the_history_of_each_task(self) -> None:
        by_id: dict[str, list[tuple[TaskState | None, int]]] = {id: [] for id in self.tasks}
        for event in self.run(read_all(self.case.store)):
            by_id[event.id].append((event.state, event.attempt))
        assert by_id == {id: one.history for id, one in self.tasks.items()}
        for events in by_id.values():
            for (before, _), (after, _) in itertools.pairwise(events):
                assert after in MOVES[before]

    @invariant()
    def each_attempt_ended_once(self) -> None:
        for id, task in self.tasks.items():
            records = self.run(self.case.store.read_attempts(id))
            expected = task.attempts if task.state is not None else []
            assert [one.attempt for one in records] == expected


MOVES: dict[TaskState | None, set[TaskState | None]] = {
    State.PENDING: {State.PROCESSING, State.CANCELLED, State.FAILED},
    State.PROCESSING: {State.PENDING, State.COMPLETED, State.FAILED, State.CANCELLED},
    State.COMPLETED: {None},
    State.FAILED: {State.PENDING, None},
    State.CANCELLED: {None},
    None: set(),
}
"""The states that may follow each."""

TestTaskLife = TaskLife.TestCase
