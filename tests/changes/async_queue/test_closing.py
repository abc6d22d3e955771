"""A serving is deleted only if its async queue has no task at the last look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servedeck.async_queue.errors import AsyncQueueError, TooOldError, UnreachableError
from servedeck.async_queue.tasks import QueueStatus, StateCounts
from servedeck.changes.async_queue import closing
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
from servedeck.cluster.http.errors import ApiError
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
        self.errors: dict[str, AsyncQueueError] = {}
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
    monkeypatch.setattr(closing, "AsyncQueueClient", made)
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
