"""A serving is deleted only if its async queue has no task at the last look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from servedeck.async_queue.errors import TooOldError, UnreachableError
from servedeck.async_queue.tasks import QueueStatus, StateCounts, TaskState
from servedeck.changes.async_queue import closing, execution
from servedeck.changes.async_queue.plan import AsyncQueueAction, AsyncQueueOptions, AsyncQueuePlan
from servedeck.changes.operations.deletion_plans import plan_serving_deletion
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.lost_writes import look_again
from servedeck.changes.operations.operation import (
    ObjectDeletion,
    Operation,
    OperationKind,
    OperationPlan,
    Outcome,
)
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import ApiResponse
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.write_log import WriteLog, track_write
from tests.changes.operations.factories import PATH, deployment, service
from tests.changes.operations.fake_cluster import FakeCluster, lose_request, respond

SERVICE_PATH = "/api/v1/namespaces/chat/services/llama"
GATEWAY = ObjectRef("apps/v1", "Deployment", "chat", "llama-async")
AWAY = UnreachableError("No Pod answers.")
OLD = TooOldError("It is too old.")
CLOSED = (
    "Its async queue may be closed, so that it accepts no task: servedeck async-queue on chat/llama"
    " opens it."
)


class Gateway:
    """In place of the client of one."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: dict[str, BaseException] = {}
        self.backlog = 0

    def __call__(self, *_: object) -> Gateway:
        return self

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.errors:
            raise self.errors[name]

    async def close_queue(self) -> None:
        self._call("close")

    async def open_queue(self) -> None:
        self._call("open")

    async def forget_tasks(self) -> int:
        self._call("forget")
        return 0

    async def cancel_tasks(self, state: TaskState) -> int:
        self._call(f"cancel {state}")
        count, self.backlog = self.backlog, 0
        return count

    async def queue_status(self) -> QueueStatus:
        self._call("count")
        return QueueStatus(
            serving="chat/llama",
            version="1",
            counts=StateCounts(pending=self.backlog),
            backlog=self.backlog,
            concurrency=0,
            pod_concurrency=1,
            max_depth=1,
        )


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    made = Gateway()
    for module in (closing, execution):
        monkeypatch.setattr(module, "AsyncQueueClient", made)
    return made


@pytest.fixture
def cluster() -> FakeCluster:
    gateway = {"metadata": {"name": "llama-async", "namespace": "chat", "uid": "uid-3"}}
    return FakeCluster({PATH: deployment(3), SERVICE_PATH: service(), GATEWAY.path: gateway})


def deletion(*, queue_counted: bool | None = True) -> OperationPlan:
    operation = Operation(OperationKind.DELETE, "chat", "llama")
    plan = plan_serving_deletion(operation, [deployment(3), service()])
    *first, last = plan.deletions
    gateway = ObjectDeletion(GATEWAY, "Deployment llama-async", "uid-3")
    return replace(plan, deletions=(*first, gateway, last), queue_counted=queue_counted)


async def test_a_serving_without_a_gateway_asks_none(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    result = await run_plan(cluster.connection, deletion(queue_counted=None))
    assert (result.outcome, gateway.calls) == (Outcome.DONE, [])


async def test_it_is_closed_before_it_is_counted(gateway: Gateway, cluster: FakeCluster) -> None:
    cluster.before_write = lambda: gateway.calls.append("delete")
    result = await run_plan(cluster.connection, deletion())
    assert (result.outcome, result.warnings) == (Outcome.DONE, ())
    assert gateway.calls == ["close", "count", "delete", "forget", "delete", "delete"]


async def test_a_task_that_came_meanwhile_keeps_it(gateway: Gateway, cluster: FakeCluster) -> None:
    gateway.backlog = 2
    result = await run_plan(cluster.connection, deletion())
    assert result.outcome is Outcome.REJECTED
    assert "has 2 tasks that came meanwhile; turn it off first" in result.message
    assert gateway.calls == ["close", "count", "open"] and not cluster.requests
    assert CLOSED not in result.message
    gateway.errors["open"] = AWAY
    result = await run_plan(cluster.connection, deletion())
    assert result.message.endswith(CLOSED)


@pytest.mark.parametrize("call", ["close", "count"])
async def test_tasks_that_cannot_be_counted_again(
    gateway: Gateway, cluster: FakeCluster, call: str
) -> None:
    gateway.errors[call] = AWAY
    result = await run_plan(cluster.connection, deletion())
    assert result.outcome is Outcome.REJECTED and not cluster.requests
    said = "The tasks of its async queue could not be counted again: No Pod answers."
    assert result.message == said and gateway.calls[-1] == "open"
    # it was said in the plan that they are not known
    result = await run_plan(cluster.connection, deletion(queue_counted=False))
    assert result.outcome is Outcome.DONE


async def test_tasks_that_were_not_known_are_counted_now(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    gateway.backlog = 1
    result = await run_plan(cluster.connection, deletion(queue_counted=False))
    assert result.outcome is Outcome.REJECTED and not cluster.requests


async def test_an_earlier_gateway_is_counted_without_being_closed(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    gateway.errors |= {"close": OLD, "forget": OLD}
    gateway.backlog = 1
    assert (await run_plan(cluster.connection, deletion())).outcome is Outcome.REJECTED
    gateway.backlog = 0
    result = await run_plan(cluster.connection, deletion())
    assert result.outcome is Outcome.DONE
    [warning] = result.warnings
    assert warning.startswith("What is stored of the tasks of its async queue was not deleted")
    assert "open" not in gateway.calls


async def test_a_deletion_that_fails_opens_it_again(gateway: Gateway, cluster: FakeCluster) -> None:
    refusal: Any = respond(ApiError(403, "Forbidden", "no"))
    cluster.faults = [refusal]
    result = await run_plan(cluster.connection, deletion())
    assert result.outcome is Outcome.REJECTED
    assert gateway.calls == ["close", "count", "open"]  # and results can still be fetched
    assert CLOSED not in result.message


async def test_a_lost_answer_leaves_it_closed_and_says_so(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    cluster.faults = [lose_request]
    result = await run_plan(cluster.connection, deletion())
    assert result.outcome is Outcome.UNKNOWN and "open" not in gateway.calls
    assert CLOSED in result.message
    again = await look_again(cluster.connection, result)
    assert CLOSED in again.message


# -- what an interrupted command says ------------------------------------------------------------

NOTHING = "Interrupted; nothing was written."
OPENS = "so that it accepts no task: servedeck async-queue on chat/llama opens it."
MAY_BE_CLOSED = f"The async queue of chat/llama may be closed, {OPENS}"
IS_CLOSED = f"The async queue of chat/llama is closed, {OPENS}"


def execute(write: Callable[[], ApiResponse]) -> ApiResponse:
    return write()


async def interrupted(gateway: Gateway, cluster: FakeCluster, *calls: str) -> str:
    """The summary when the command is canceled during one of these calls, or at its end."""
    log = WriteLog()
    log.begin()
    gateway.errors |= dict.fromkeys(calls, asyncio.CancelledError())
    try:
        await run_plan(cluster.connection, deletion())
    except asyncio.CancelledError:
        assert calls
    return log.summary()


@pytest.mark.parametrize(
    ("call", "note"), [("close", MAY_BE_CLOSED), ("count", IS_CLOSED), ("forget", IS_CLOSED)]
)
async def test_an_interrupted_deletion_says_that_the_queue_is_closed(
    gateway: Gateway, cluster: FakeCluster, call: str, note: str
) -> None:
    summary = await interrupted(gateway, cluster, call)
    assert note in summary and "nothing was written" not in summary
    assert ("may be deleted" in summary) is (call == "forget")


async def test_an_interruption_after_it_was_opened_again_says_nothing_of_it(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    gateway.backlog = 1
    assert await interrupted(gateway, cluster, "open") == f"Interrupted. {IS_CLOSED}"
    del gateway.errors["open"]
    assert await interrupted(gateway, cluster) == NOTHING
    gateway.errors["open"] = AWAY
    assert IS_CLOSED in await interrupted(gateway, cluster)


async def test_a_gateway_that_cannot_be_closed_is_not_said_to_be(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    gateway.errors["close"] = OLD
    assert await interrupted(gateway, cluster, "count") == NOTHING


async def test_a_gateway_that_was_deleted_is_not_said_to_be_closed(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    cluster.faults = [execute, execute, lose_request]  # the last one is that of the serving
    log = WriteLog()
    log.begin()
    await run_plan(cluster.connection, deletion())
    assert IS_CLOSED in log.summary()
    with track_write("DELETE", GATEWAY.path, None):
        pass
    assert "closed" not in log.summary()
    assert "What was stored of ended tasks of the async queue of chat/llama is" in log.summary()


async def test_after_the_deletion_nothing_is_said_of_the_queue(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    summary = await interrupted(gateway, cluster)
    assert summary.startswith(f"{NOTHING} Not done: "), "this cluster logs no writes"
    assert "queue" not in summary


def turning_off(backlog: int) -> AsyncQueuePlan:
    options = AsyncQueueOptions(AsyncQueueAction.OFF, "chat", "llama")
    gateway = ObjectDeletion(GATEWAY, "Deployment llama-async", "uid-3")
    return AsyncQueuePlan(options, deletions=(gateway,), unfinished=backlog)


async def interrupted_off(gateway: Gateway, cluster: FakeCluster, *calls: str) -> str:
    log = WriteLog()
    log.begin()
    gateway.backlog = 2
    gateway.errors |= dict.fromkeys(calls, asyncio.CancelledError())
    try:
        await execution.run_async_queue(cluster.connection, turning_off(2), may_cancel=True)
    except asyncio.CancelledError:
        assert calls
    return log.summary()


CANCELLED = "Cancelled: 2 tasks of the async queue of chat/llama."
REST = "Not done: Deployment chat/llama-async. Run the command again for the rest."


@pytest.mark.parametrize(
    ("call", "notes"),
    [
        ("close", MAY_BE_CLOSED),
        ("count", IS_CLOSED),
        ("cancel pending", f"{IS_CLOSED} Tasks of the async queue of chat/llama may be cancelled."),
        (
            "cancel processing",
            f"{IS_CLOSED} Tasks of the async queue of chat/llama may be cancelled.",
        ),
        (
            "forget",
            f"{IS_CLOSED} {CANCELLED} What was stored of ended tasks of the async queue of"
            " chat/llama may be deleted.",
        ),
    ],
)
async def test_an_interrupted_turning_off_says_what_it_did_to_the_queue(
    gateway: Gateway, cluster: FakeCluster, call: str, notes: str
) -> None:
    summary = await interrupted_off(gateway, cluster, call)
    assert summary == f"Interrupted. {notes} {REST}"


async def test_after_turning_off_nothing_is_said_of_the_queue(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    summary = await interrupted_off(gateway, cluster)
    assert summary == f"{NOTHING} Not done: Deployment chat/llama-async."
    assert gateway.calls[-1] == "forget"


async def test_an_earlier_gateway_that_is_turned_off_is_not_said_to_be_closed(
    gateway: Gateway, cluster: FakeCluster
) -> None:
    gateway.errors |= {"forget": OLD, "close": OLD}
    gateway.backlog = 0
    log = WriteLog()
    log.begin()
    cluster.faults = [lose_request]
    await execution.run_async_queue(cluster.connection, turning_off(0))
    assert log.summary() == f"{NOTHING} Not done: Deployment chat/llama-async."
