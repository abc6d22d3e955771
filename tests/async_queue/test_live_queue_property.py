"""A LiveQueue shows what the store has, whatever changes in whatever order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servedeck.async_queue import task_window
from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.tasks import TaskState
from tests.async_queue.fake_queue import FakeQueue, FakeQueueApi
from tests.async_queue.live_queues import expected, matching, opened, settle

STATES = st.sampled_from([None, *TaskState])
TEXTS = st.sampled_from(["", "llama", "!llama", "attempts:>1", "path:chat", "error:503"])
Step = tuple[str, int, int]
NAMES = (
    "submit",
    "submit",
    "submit many",
    "claim",
    "claim",
    "complete",
    "fail",
    "give back",
    "redrive",
    "cancel",
    "delete",
    "query",
    "after",
    "after",
    "after",
    "before",
    "before",
    "start",
    "end",
    "follow",
    "pause",
    "cut",
    "trim",
    "wait",
    "wait",
    "visible",
)
TURNS = (0, 1, 2, 5, 20)
"""How often others run after a step."""
STEPS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 40), st.sampled_from(TURNS)), max_size=60
)
_FROM = {
    "claim": {TaskState.PENDING},
    "complete": {TaskState.PROCESSING},
    "fail": {TaskState.PROCESSING, TaskState.PENDING},
    "give back": {TaskState.PROCESSING},
    "redrive": {TaskState.FAILED},
    "cancel": {TaskState.PENDING, TaskState.PROCESSING},
    "delete": {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED},
}


def change(queue: FakeQueue, name: str, number: int) -> None:
    """One change of the store, if there is a task that it can be made to."""
    if name == "submit":
        queue.submit(model=("llama", "qwen")[number % 2])
    elif name == "submit many":
        for at in range(number):
            queue.submit(model=("llama", "qwen")[at % 2])
    elif ids := [id for id, task in queue.tasks.items() if task.state in _FROM[name]]:
        id = ids[number % len(ids)]
        if name == "claim":
            queue.claim(id)
        elif name == "complete":
            queue.end(id, completion_tokens=number)
        elif name == "fail":
            queue.end(id, TaskState.FAILED, reason="exhausted", message="It answered 503.")
        elif name == "give back":
            queue.give_back(id)
        elif name == "redrive":
            queue.redrive(id)
        elif name == "cancel":
            queue.end(id, TaskState.CANCELLED)
        else:
            queue.delete(id)


async def run_steps(
    steps: list[Step], query: tuple[TaskState | None, str], *, oldest_first: bool, slow: bool
) -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    gates: list[asyncio.Future[None]] = []

    def gate() -> asyncio.Future[None] | None:
        """Answers come later than they were read."""
        if not slow:
            return None
        gates.append(asyncio.get_running_loop().create_future())
        return gates[-1]

    def release() -> None:
        for one in gates:
            if not one.done():
                one.set_result(None)
        gates.clear()

    api.before_answer = gate
    with pytest.MonkeyPatch.context() as patch:
        if len(steps) % 3 == 0:
            patch.setattr(task_window, "MAX_ARRIVING", 8)  # so that some are a flood
        await _run_steps(steps, query, queue, api, release, oldest_first=oldest_first)


async def _run_steps(
    steps: list[Step],
    query: tuple[TaskState | None, str],
    queue: FakeQueue,
    api: FakeQueueApi,
    release: Callable[[], None],
    *,
    oldest_first: bool,
) -> None:
    async with opened(queue, api, page_size=5) as live:
        live._backoff.next_delay = lambda: 0.0  # type: ignore[method-assign]
        for at in range(20):
            queue.submit(model=("llama", "qwen")[at % 2])
        live.set_query(TaskQuery(*query), oldest_first=oldest_first)
        for _ in range(30):
            release()
            await asyncio.sleep(0)
        for name, number, turns in steps:
            if name == "query":
                states = [None, *TaskState]
                live.set_query(
                    TaskQuery(states[number % 6], query[1] if number % 2 else ""),
                    oldest_first=number % 3 == 0,
                )
            elif name == "after":
                live.load_after()
            elif name == "before":
                live.load_before()
            elif name == "start":
                live.go_to_start()
            elif name == "end":
                live.go_to_end()
            elif name in ("follow", "pause"):
                live.set_following(name == "follow")
            elif name == "cut":
                api.cut.set()
            elif name == "trim":
                queue.trim_feed()
            elif name == "visible":
                ids = [task.id for task in live.tasks[number : number + 3]]
                live.visible = lambda ids=ids: ids  # type: ignore[misc]
            elif name == "wait":
                release()
            else:
                change(queue, name, number)
            for _ in range(turns):
                await asyncio.sleep(0)
        api.before_answer = lambda: None
        release()
        if len(steps) % 2:
            queue.submit()  # after the last cut it has to be found, too
        await settle(live, queue)
        assert list(live.tasks) == expected(live, queue)
        window = live._window
        # What it does not load it says.
        assert window.has_older or window.low == ""
        high = window.high
        assert window.has_newer or high is None or all(id <= high for id in matching(live, queue))


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "late"])
@given(steps=STEPS, query=st.tuples(STATES, TEXTS), oldest_first=st.booleans())
@example(steps=[("pause", 0, 0)], query=(None, "llama"), oldest_first=False)
def test_it_shows_what_the_store_has(
    steps: list[Step], query: tuple[TaskState | None, str], oldest_first: bool, slow: bool
) -> None:
    asyncio.run(run_steps(steps, query, oldest_first=oldest_first, slow=slow))


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("seed", range(40))
def test_it_shows_what_the_store_has_after_many_changes(seed: int, slow: bool) -> None:
    rng = random.Random(seed)
    steps = [
        (rng.choice(NAMES), rng.randrange(40), rng.choice(TURNS)) for _ in range(300 + seed % 3)
    ]
    query = (rng.choice([None, None, *TaskState]), rng.choice(["", "", "llama", "attempts:>1"]))
    asyncio.run(run_steps(steps, query, oldest_first=seed % 3 == 0, slow=slow))


@given(steps=STEPS, state=STATES, oldest_first=st.booleans())
def test_walking_by_pages_meets_every_task(
    steps: list[Step], state: TaskState | None, oldest_first: bool
) -> None:
    """Pages one after the other have every task that is in the list all the time, once."""

    async def walk() -> None:
        queue = FakeQueue()
        for name, number, _ in steps:
            if name in _FROM or name.startswith("submit"):
                change(queue, name, number)
        async with opened(queue, page_size=4) as live:
            live.set_query(TaskQuery(state), oldest_first=oldest_first)
            await settle(live, queue)
            live.set_following(False)
            seen = [task.id for task in live.tasks]
            while live.has_after:
                live.load_after()
                await settle(live, queue)
                seen += [task.id for task in live.tasks if task.id not in seen]
        wanted = [id for id, task in queue.tasks.items() if state in (None, task.state)]
        assert seen == sorted(wanted, reverse=not oldest_first)

    asyncio.run(walk())
