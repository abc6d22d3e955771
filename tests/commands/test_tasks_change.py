"""`servedeck tasks cancel` and `retry`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from servedeck.async_queue.errors import UnreachableError
from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.tasks import (
    Changed,
    TaskAction,
    TaskState,
)
from tests.async_queue.fake_queue import FakeQueueApi
from tests.commands.tasks_rig import Rig
from tests.waiting import with_timeout


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_tasks_are_cancelled_by_their_ids(rig: Rig) -> None:
    first, second = rig.queue.submit().id, rig.queue.submit().id
    assert await rig.change(TaskAction.CANCEL, [first, second]) == 1
    assert "add -y to cancel them" in rig.err.lines[0]
    assert await rig.change(TaskAction.CANCEL, [first, second], "n") == 1
    assert rig.prompt.asked == ["Cancel 2 tasks? [y/N]"]
    assert rig.queue.counts().pending == 2
    assert await rig.change(TaskAction.CANCEL, [first, second], "y") == 0
    assert rig.out.lines == ["2 tasks cancelled."]
    assert await rig.change(TaskAction.CANCEL, [first]) == 1, "it is asked for nothing"
    assert rig.out.lines[1] == "The task was not cancelled: it was cancelled before."


async def test_all_that_match_are_cancelled(rig: Rig) -> None:
    queue = rig.queue
    for count in range(7):
        id = queue.submit(model="llama" if count < 5 else "mistral").id
        if count < 2:
            queue.claim(id)
    query = TaskQuery(None, "model:llama")
    assert await rig.change(TaskAction.CANCEL, query, dry_run=True) == 0
    assert rig.out.lines == ["5 tasks (3 pending, 2 processing) would be cancelled."]
    assert await rig.change(TaskAction.CANCEL, query, "y") == 0
    assert rig.prompt.asked == ["Cancel 5 tasks (3 pending, 2 processing)? [y/N]"]
    assert rig.out.lines[1] == "5 tasks cancelled."
    assert await rig.change(TaskAction.CANCEL, TaskQuery(), assume_yes=True) == 0
    assert rig.out.lines[2] == "2 tasks cancelled."
    assert await rig.change(TaskAction.CANCEL, TaskQuery()) == 0
    assert rig.out.lines[3] == "No task matches that can be cancelled."


async def test_a_filter_of_more_tasks_than_are_counted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.commands.tasks_change.MAX_COUNTED", 500)
    for _ in range(1200):
        rig.queue.submit()
    rig.fake.portion = 700
    assert await rig.change(TaskAction.CANCEL, TaskQuery(None, "model:llama"), "y") == 0
    assert rig.prompt.asked == ["Cancel more than 500 tasks? [y/N]"]
    assert rig.out.lines == ["1,200 tasks cancelled."]


async def test_failed_tasks_are_retried(rig: Rig) -> None:
    queue = rig.queue
    ids = [queue.submit().id for _ in range(3)]
    for id in ids:
        queue.claim(id)
    for id in ids[:2]:
        queue.end(id, TaskState.FAILED)
    query = TaskQuery(TaskState.FAILED)
    options = {"assume_yes": True, "as_json": True, "is_bare": True}
    assert await rig.change(TaskAction.RETRY, query, **options) == 0
    found = json.loads(rig.out.getvalue())
    assert (found["action"], found["changed"], found["isComplete"]) == ("retry", 2, True)
    [call] = [one for one in rig.fake.calls if one[0] == "change_matching"]
    assert True in call, "without credentials"
    rig.out.clear()
    assert await rig.change(TaskAction.RETRY, [*ids, "gone"], **options) == 1
    found = json.loads(rig.out.getvalue())
    assert (found["changed"], found["missing"]) == (0, 1)
    assert sum(found["others"].values()) == 3


async def test_a_retry_that_is_refused_without_credentials(rig: Rig) -> None:
    class Refusing(FakeQueueApi):
        async def change_tasks(self, *_: Any, is_bare: bool = False, **__: Any) -> Changed:
            if is_bare:
                return Changed(changed=1)
            return Changed(changed=0, refused=1, message="Its credentials were deleted.")

    id = rig.queue.submit().id
    rig.queue.end(id, TaskState.FAILED)
    rig.api = cast(QueueApi, Refusing(rig.queue))
    assert await rig.change(TaskAction.RETRY, [id], assume_yes=True) == 1
    assert rig.err.lines == [
        "servedeck: The task was not retried. Its credentials were deleted.",
        "  To send them without credentials, use --no-credentials.",
    ]
    assert await rig.change(TaskAction.RETRY, [id], assume_yes=True, is_bare=True) == 0


async def test_an_action_that_is_not_answered(rig: Rig) -> None:
    id = rig.queue.submit().id

    class Unanswered(FakeQueueApi):
        async def change_tasks(self, *_: Any, **__: Any) -> Changed:
            raise UnreachableError("No gateway answers.")

    rig.api = cast(QueueApi, Unanswered(rig.queue))
    assert await rig.change(TaskAction.CANCEL, [id], assume_yes=True) == 1
    [line] = rig.err.lines
    assert "No gateway answers." in line and "may have been cancelled" in line


async def test_what_was_done_before_an_interruption_is_told(rig: Rig) -> None:
    ids = [rig.queue.submit().id for _ in range(300)]
    waits = asyncio.Event()

    class Hanging(FakeQueueApi):
        """Does not answer the second request."""

        async def change_tasks(
            self, action: TaskAction, ids: Sequence[str], *, is_bare: bool = False
        ) -> Changed:
            if any(one[0] == "change_tasks" for one in self.calls):
                waits.set()
                await asyncio.Event().wait()
            return await super().change_tasks(action, ids, is_bare=is_bare)

    rig.api = cast(QueueApi, Hanging(rig.queue))
    running = asyncio.create_task(rig.change(TaskAction.CANCEL, ids, assume_yes=True))
    await with_timeout(waits.wait())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert rig.err.lines[-1].startswith("servedeck: 200 tasks cancelled.")
    assert "may have been cancelled" in rig.err.lines[-1]
