"""`servedeck tasks watch`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest
from msgspec.structs import replace

from servedeck.async_queue.errors import NoSuchTaskError, UnreachableError
from servedeck.async_queue.queue_api import QueueApi, Side
from servedeck.async_queue.tasks import TaskPage, TaskState
from servedeck.commands.tasks import wait_for_response
from tests.async_queue.fake_queue import FakeQueueApi
from tests.commands.tasks_rig import Rig
from tests.waiting import wait_until, with_timeout


@pytest.fixture
def rig() -> Rig:
    return Rig()


def on_sleep(action: Callable[[], object]) -> Callable[[float], Any]:
    async def sleep(_: float) -> None:
        action()

    return sleep


async def test_changes_are_printed_until_all_have_ended(rig: Rig) -> None:
    queue = rig.queue
    first, second, other = (queue.submit().id for _ in range(3))
    steps: Iterator[Callable[[], object]] = iter(
        [
            lambda: queue.claim(first),
            lambda: queue.end(first),
            lambda: queue.claim(other),
            lambda: queue.claim(second),
            lambda: queue.end(second, TaskState.FAILED),
        ]
    )

    class Stepping(FakeQueueApi):
        """Does the next step when what happened before was followed."""

        async def follow(self, after: str) -> Any:
            async for message in super().follow(after):
                yield message
                next(steps, lambda: None)()

    rig.api = cast(QueueApi, Stepping(queue))
    watch = rig.watch([first, second])
    assert await with_timeout(watch.run_for(0))
    assert not watch.all_completed
    assert [one.split()[1:3] for one in rig.out.lines] == [
        [first, "pending"],
        [second, "pending"],
        [first, "processing"],
        [first, "completed"],
        [second, "processing"],
        [second, "failed"],
    ]


async def test_changes_that_were_read_already_are_not_printed_again(rig: Rig) -> None:
    """The feed is followed from before the tasks were read."""
    queue = rig.queue
    first, second = queue.submit().id, queue.submit().id

    class Late(FakeQueueApi):
        async def read_tasks(self, ids: Sequence[str]) -> TaskPage:
            before = queue.cursor
            queue.claim(first)
            queue.end(first)
            return replace(await super().read_tasks(ids), feed=before)

    rig.api = cast(QueueApi, Late(queue))
    watch = rig.watch([first, second])
    running = asyncio.create_task(watch.run_for(0))
    await wait_until(lambda: len(rig.out.lines) == 2)
    queue.claim(second)
    queue.end(second)
    assert await with_timeout(running)
    assert [one.split()[1:3] for one in rig.out.lines] == [
        [first, "completed"],
        [second, "pending"],
        [second, "processing"],
        [second, "completed"],
    ]


async def test_tasks_that_have_ended_before_are_not_waited_for(rig: Rig) -> None:
    id = rig.queue.submit().id
    rig.queue.claim(id)
    rig.queue.end(id)
    watch = rig.watch([id, id], as_json=True)
    assert await with_timeout(watch.run_for(0))
    assert watch.all_completed
    [line] = rig.out.lines
    found = json.loads(line)
    assert (found["id"], found["state"], found["attempts"]) == (id, "completed", 1)


async def test_a_watch_goes_on_after_the_connection_was_lost(rig: Rig) -> None:
    queue, fake = rig.queue, rig.fake
    id = queue.submit().id
    tries = 0

    def come_back() -> None:
        """What happens while nothing is followed, and at the third try the gateway is back."""
        nonlocal tries
        tries += 1
        if tries == 1:
            queue.claim(id)
        elif tries == 3:
            queue.end(id)
            fake.failure = None

    class Lost(FakeQueueApi):
        async def follow(self, after: str) -> Any:
            if fake.failure is not None:
                raise fake.failure
            async for message in super().follow(after):
                yield message

    lost = Lost(queue)
    rig.api = cast(QueueApi, lost)
    fake.failure = UnreachableError("No gateway answers.")
    watch = rig.watch([id], sleep=on_sleep(come_back))
    assert await with_timeout(watch.run_for(0))
    assert [one.split()[2] for one in rig.out.lines] == ["pending", "processing", "completed"]
    assert rig.err.lines == ["servedeck: No gateway answers. Retrying."]


async def test_changes_that_are_no_longer_kept_are_read_again(rig: Rig) -> None:
    queue = rig.queue
    first, second = queue.submit().id, queue.submit().id

    class Trimmed(FakeQueueApi):
        """Two tasks end, and one is deleted, between the first look and the feed."""

        is_first = True

        async def follow(self, after: str) -> Any:
            if self.is_first:
                self.is_first = False
                for id in (first, second):
                    queue.claim(id)
                    queue.end(id)
                queue.delete(second)
                queue.trim_feed()
            async for message in super().follow(after):
                yield message

    rig.api = cast(QueueApi, Trimmed(queue))
    watch = rig.watch([first, second])
    assert await with_timeout(watch.run_for(0))
    assert [one.split()[1:3] for one in rig.out.lines[2:]] == [
        [first, "completed"],
        [second, "deleted"],
    ]
    assert not watch.all_completed, "it is not known how the second one ended"


async def test_a_watch_of_all_ends_after_its_time(rig: Rig) -> None:
    rig.queue.submit()
    assert not await with_timeout(rig.watch().run_for(0.01))
    assert rig.out.lines == []


async def test_a_task_that_is_not_stored_cannot_be_watched(rig: Rig) -> None:
    with pytest.raises(NoSuchTaskError, match="There is no task unknown"):
        await rig.watch(["unknown"]).run()


async def test_the_response_is_printed_when_the_task_has_ended(rig: Rig) -> None:
    done = rig.queue.submit().id
    rig.queue.claim(done)
    rig.queue.end(done)
    rig.fake.bodies[done, Side.RESPONSE] = b'{"answer": 1}'
    assert await wait_for_response(rig.api, done, 0, rig.out, rig.err) == 0
    assert rig.out.buffer.getvalue() == b'{"answer": 1}' and rig.err.lines == []
    cancelled = rig.queue.submit().id
    rig.queue.end(cancelled, TaskState.CANCELLED)
    assert await wait_for_response(rig.api, cancelled, 0, rig.out, rig.err) == 1
    assert rig.err.lines == [f"servedeck: task {cancelled} is cancelled: no reason given"]
    waiting = rig.queue.submit().id
    assert await wait_for_response(rig.api, waiting, 0.01, rig.out, rig.err) == 1
    assert "has not ended yet" in rig.err.lines[-1]
