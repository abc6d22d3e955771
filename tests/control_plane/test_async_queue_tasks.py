"""Tasks are accounted for before an async queue is turned off, with its serving or without; what
else happens to a serving keeps its queue; and who may do it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import (
    AsyncQueueError,
    NotInstalledError,
    NotPermittedError,
    TooOldError,
    UnreachableError,
)
from servedeck.changes.async_queue.execution import (
    look_again,
    plan_async_queue,
    run_async_queue,
)
from servedeck.changes.async_queue.plan import AsyncQueueOptions, AsyncQueuePlan
from servedeck.changes.operations.adoption import Adoption
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import Operation, OperationKind, Outcome
from servedeck.changes.operations.planner import plan_operation
from servedeck.cluster.http.errors import ApiError, ConnectionLostError
from servedeck.commands.async_queue_text import read_report, report_json, report_lines
from servedeck.commands.export import export_serving
from servedeck.commands.set import SetOptions, set_fields
from servedeck.config import Settings
from servedeck.fleet.views import NamespacedName
from servedeck.serving.edit.assignments import parse_assignment
from servedeck.serving.objects.async_routes import has_async_rules
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.document import from_yaml
from tests.control_plane.assertions import started_session, wait_for_view
from tests.control_plane.control_plane import wait_for
from tests.control_plane.gateway_stub import GatewayStub
from tests.control_plane.test_async_queue import (
    ALL,
    DEFAULTS,
    KINDS,
    OFF,
    ON,
    ROUTE_PATHS,
    Queue,
    queue,
    spec_of,
)
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_roles import rules_of, run_apply
from tests.waiting import WAIT_SECONDS

__all__ = ["queue"]


def stub_of(queue: Queue, **counts: Any) -> GatewayStub:
    return GatewayStub(queue.plane, queue.namespace, **counts)


# -- tasks ----------------------------------------------------------------------------------------


async def test_tasks_are_cancelled_only_when_that_is_confirmed(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    stub = stub_of(queue, pending=3, processing=1, completed=2)
    with stub.serve():
        plan = await queue.plan(OFF)
        assert plan.unfinished == 4 and plan.needs_cancellation
        assert "Cancelled: 4 tasks (3 pending, 1 processing)." in plan.effects
        assert "2 results can no longer be fetched." in plan.effects
        assert any(one.startswith("What is stored of its tasks is deleted") for one in plan.effects)
        result = await queue.run(plan)
        assert result.outcome is Outcome.REJECTED
        assert result.message.startswith("4 tasks would be cancelled; confirm that")
        assert queue.existing() == ALL and has_async_rules(queue.route(), "llama")
        assert not any(one.startswith("POST") for one in stub.calls)
        result = await queue.run(plan, may_cancel=True)
        assert result.outcome is Outcome.DONE, result.message
        assert [one for one in stub.calls if one.startswith("POST")] == [
            "POST /-/async/queue/close",
            "POST /-/async/queue/purge?state=pending",
            "POST /-/async/queue/purge?state=processing",
            "POST /-/async/queue/forget",
        ]
        assert stub.forgotten == 2
    assert queue.existing() == [] and not has_async_rules(queue.route(), "llama")


async def test_tasks_that_come_after_the_plan_are_not_lost(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    stub = stub_of(queue)
    with stub.serve():
        plan = await queue.plan(OFF)
        assert not plan.needs_cancellation
        stub.pending = 1
        result = await queue.run(plan)
        assert result.outcome is Outcome.REJECTED
        assert result.message.startswith("1 task would be cancelled")
        assert "Deleted before: Service llama-async." in result.message
        closed = "Its queue is closed: it accepts no task until it is turned on again."
        assert closed in result.message and stub.closed
        lines = list(
            report_lines(await read_report(queue.connection, queue.namespace, "llama", Settings()))
        )
        assert "  it is closed: no task is accepted until it is turned on again" in lines
        # No task is accepted any more, and the gateway goes on with what it has.
        assert queue.existing() == [one for one in ALL if one != "Service llama-async"]
        stub.pending = 0
        plan = await queue.plan(OFF)
        assert (await queue.run(plan)).outcome is Outcome.DONE
    assert queue.existing() == []


async def test_a_queue_that_was_closed_is_opened_when_it_is_turned_on(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    stub = stub_of(queue)
    with stub.serve():
        plan = await queue.plan(OFF)
        stub.pending = 1
        assert (await queue.run(plan)).outcome is Outcome.REJECTED
        assert stub.closed
        plan = await queue.plan(ON)
        assert plan.closed and any("is opened" in one for one in plan.effects)
        assert (await queue.run(plan)).outcome is Outcome.DONE
        assert queue.existing() == ALL
        assert [one for one in stub.calls if one.startswith("POST")] == [
            "POST /-/async/queue/close",
            "POST /-/async/queue/open",
        ]


async def test_an_earlier_gateway_that_cannot_be_closed_is_turned_off(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    stub = stub_of(queue, pending=1, is_old=True)
    progress: list[str] = []
    with stub.serve():
        plan = await queue.plan(OFF)
        result = await queue.run(plan, may_cancel=True, on_progress=progress.append)
    assert result.outcome is Outcome.DONE, result.message
    assert "Its gateway is of an earlier version, which cannot be closed." in progress
    assert "which cannot delete what is stored of its tasks: that stays" in result.message
    assert queue.existing() == []


async def test_what_is_stored_and_cannot_be_deleted_is_told(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    stub = stub_of(queue, completed=1, forget_status=503)
    with stub.serve():
        plan = await queue.plan(OFF)
        result = await queue.run(plan)
        assert result.outcome is Outcome.REJECTED
        said = "What is stored of tasks that ended could not be deleted: The async gateway failed"
        assert result.message.startswith(said)
        assert "Deployment llama-async" in queue.existing()
        result = await queue.run(await queue.plan(OFF), may_cancel=True)
        assert result.outcome is Outcome.DONE and said in result.message
    assert queue.existing() == []


async def test_a_gateway_that_cannot_be_reached_needs_the_same_confirmation(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    queue.plane.kubectl("scale", "deployment/llama-async", "--replicas=0", "-n", queue.namespace)
    client = AsyncQueueClient(queue.connection, queue.namespace, "llama")

    def gone() -> bool:
        pods = queue.plane.request("GET", f"{queue.core}/pods")["items"]
        return not [one for one in pods if one["metadata"]["name"].startswith("llama-async")]

    wait_for(gone, "the gateway to have no Pods")

    async def is_known() -> bool:
        try:
            await client.queue_status()
        except UnreachableError as error:
            return "leads to no Pod of the async gateway that is up" in str(error)
        return False

    async with asyncio.timeout(WAIT_SECONDS):
        while not await is_known():  # the endpoints follow by a watch
            await asyncio.sleep(0.05)
    plan = await queue.plan(OFF)
    assert plan.unfinished is None and plan.needs_cancellation
    assert any(one.startswith("What is stored of its tasks stays") for one in plan.effects)
    assert any("It is not known whether tasks wait: " in one for one in plan.effects)
    assert (await queue.run(plan)).outcome is Outcome.REJECTED
    assert queue.existing() == ALL
    result = await queue.run(plan, may_cancel=True)
    assert result.outcome is Outcome.DONE, result.message
    assert queue.existing() == []


async def test_each_failure_of_the_client_has_its_type(queue: Queue) -> None:
    client = AsyncQueueClient(queue.connection, queue.namespace, "llama")

    async def failure() -> AsyncQueueError:
        with pytest.raises(AsyncQueueError) as caught:
            await client.queue_status()
        return caught.value

    await queue.create_serving()
    assert type(await failure()) is NotInstalledError
    await queue.turn_on()
    stub = stub_of(queue, pending=2)
    with stub.serve():
        assert (await client.queue_status()).counts.pending == 2
        keys, stub.keys = stub.keys, {"admin-key": "other", "view-key": "another"}
        error = await failure()
        assert type(error) is NotPermittedError and "does not accept the key" in str(error)
        stub.keys = keys
        stub.status, stub.body = 503, b'{"title": "No store", "detail": "Valkey is away."}'
        error = await failure()
        assert type(error) is UnreachableError and "(503): Valkey is away." in str(error)
        stub.status = 404
        assert type(await failure()) is TooOldError
        stub.status, stub.body = 200, b'{"depth": 3}'
        assert type(await failure()) is TooOldError
    queue.plane.request("DELETE", f"{queue.core}/services/llama-async-admin")
    assert type(await failure()) is NotInstalledError


async def test_the_state_is_printed(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on(lifetime=7200.0)
    stub = stub_of(queue, pending=3, processing=1)
    with stub.serve():
        report = await read_report(queue.connection, queue.namespace, "llama", Settings())
        lines = list(report_lines(report))
        assert lines[:4] == [
            f"{queue.namespace}/llama: the async queue is on",
            "  gateway: available",
            "  HTTPRoute llama sends asynchronous requests to it",
            "  queue: 3 pending, 1 processing, 0 completed, 0 failed, 0 cancelled",
        ]
        assert "  Task Lifetime: 2h" in lines
        found = report_json(report)
        assert (found["state"], found["available"], found["missing"]) == ("on", True, [])
        assert found["queue"]["counts"]["pending"] == 3 and found["queueProblem"] == ""
        assert not any(key in repr((lines, found)) for key in stub.keys.values())
    for kind in ("services/llama-async-admin", "configmaps/llama-async"):
        queue.plane.request("DELETE", f"{queue.core}/{kind}")
    report = await read_report(queue.connection, queue.namespace, "llama", Settings())
    lines = list(report_lines(report))
    assert lines[0].endswith("is partly on")
    assert "  Service llama-async-admin is missing" in lines
    assert f"  queue: {report.problem}" in lines and "the async queue is off" in report.problem
    await queue.turn_on()
    assert queue.existing() == ALL


# -- the serving ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_changes_of_the_serving_keep_the_rules(queue: Queue, kind: RouteKind) -> None:
    platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", route=kind)
    await queue.create_serving(kind)
    plain = (await export_serving(queue.connection, queue.namespace, "llama")).yaml
    await queue.turn_on()
    with_rules = spec_of(queue.route(kind))
    exported = (await export_serving(queue.connection, queue.namespace, "llama")).yaml
    assert exported == plain
    good, lines = await run_apply(queue.connection, from_yaml(exported), platform)
    assert good and sum(one.endswith(" unchanged") for one in lines) == 3, lines
    lines = []
    assert await set_fields(
        queue.connection,
        queue.namespace,
        "llama",
        [parse_assignment("description=other"), parse_assignment("inferencePort=9000")],
        SetOptions(assume_yes=True),
        stdout=lines.append,
        stderr=lines.append,
    ), lines
    assert spec_of(queue.route(kind)) == with_rules
    kubeconfig = queue.plane.write_kubeconfig(namespace=queue.namespace)
    async with started_session(kubeconfig, queue.namespace) as live:
        name = NamespacedName(queue.namespace, "llama")
        view = await wait_for_view(live, name, lambda one: one.endpoint.url)
        assert [one.key for one in live.fleet.views()] == [view.key]
        assert view.endpoint.url == f"https://ai.example.com/{queue.namespace}/llama"
        assert not [one for one in view.pods if "async" in one.name]
    plan = await plan_operation(
        queue.connection, Adoption.make(queue.namespace, "llama-async"), platform=platform
    )
    assert plan.blocked == "It is the async gateway of serving llama."


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deleted_serving_takes_its_queue_with_it(queue: Queue, kind: RouteKind) -> None:
    await queue.create_serving(kind)
    await queue.turn_on()
    operation = Operation(OperationKind.DELETE, queue.namespace, "llama")
    stub = stub_of(queue, pending=2, completed=1)
    with stub.serve():
        plan = await plan_operation(queue.connection, operation)
        assert plan.blocked == (
            "Its async queue has 2 tasks that did not end yet; turn it off first, which cancels "
            f"them: servedeck async-queue off {queue.namespace}/llama."
        )
        stub.pending = 0
        plan = await plan_operation(queue.connection, operation)
        assert plan.is_possible, plan.blocked
        stub.pending = 1
        result = await run_plan(queue.connection, plan)
        assert result.outcome is Outcome.REJECTED
        assert result.message == (
            "Its async queue has 1 task that came meanwhile; turn it off first, which cancels "
            f"them: servedeck async-queue off {queue.namespace}/llama."
        )
        assert not stub.closed and queue.existing() == ALL
        stub.pending = 0
        stub.calls.clear()
        result = await run_plan(queue.connection, plan)
        assert result.outcome is Outcome.DONE, result.message
        assert stub.closed and stub.forgotten == 1
        assert stub.calls == [
            "POST /-/async/queue/close",
            "GET /-/async/queue",
            "POST /-/async/queue/forget",
        ]
    assert "1 result can no longer be fetched." in plan.effects
    [effect] = [one for one in plan.effects if one.startswith("Its async queue: ")]
    assert "Deployment llama-async" in effect and effect.endswith("Secret llama-async.")
    assert queue.existing() == []
    items = ROUTE_PATHS[kind].format(queue.namespace).rpartition("/")[0]
    assert queue.plane.request("GET", items)["items"] == []


# -- lost answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("executes", [True, False])
async def test_a_lost_answer_is_found_out_at_each_write(queue: Queue, executes: bool) -> None:
    """Each write of turning it on, and then of turning it off, loses its answer once."""
    await queue.create_serving()
    request = queue.connection.request
    lost: list[str] = []
    armed = [True]

    async def losing(method: str, path: str, **options: Any) -> Any:
        is_dry_run = ("dryRun", "All") in options.get("params", ()) or (
            method == "DELETE" and "dryRun" in options["body"]
        )
        key = f"{method} {path}"
        if method == "POST" and path.endswith("/secrets"):
            key += f"/{options['body']['metadata']['name']}"
        if method == "GET" or is_dry_run or "/proxy/" in path or not armed[0] or key in lost:
            return await request(method, path, **options)
        lost.append(key)
        armed[0] = False
        if executes:
            await request(method, path, **options)
        raise ConnectionLostError("The connection was lost.")

    queue.connection.request = losing  # type: ignore[method-assign]
    stub = stub_of(queue)

    async def repeat(action: Any) -> None:
        for _ in range(40):
            armed[0] = True
            plan = await queue.plan(action)
            if plan.unchanged:
                return
            result = await queue.run(plan)
            if result.outcome is Outcome.DONE:
                continue
            assert result.outcome is Outcome.UNKNOWN, result.message
            assert "The connection was lost" in result.message
            again = await look_again(queue.connection, result, DEFAULTS)
            if not executes:
                assert again.outcome is Outcome.UNKNOWN, "it may still be executed"
            else:
                assert again.outcome in (Outcome.REJECTED, Outcome.DONE)
        raise AssertionError("it does not end")

    await repeat(ON)
    assert queue.existing() == ALL and has_async_rules(queue.route(), "llama")
    assert len(lost) == len(ALL) + 1, "each object, and the route"
    lost.clear()
    with stub.serve():
        lost.clear()
        await repeat(OFF)
    assert queue.existing() == [] and not has_async_rules(queue.route(), "llama")
    assert len(lost) == len(ALL) + 1


# -- permissions ----------------------------------------------------------------------------------


async def test_the_role_permits_what_it_says_and_no_other_does(queue: Queue) -> None:
    await queue.create_serving()
    plane, namespace = queue.plane, queue.namespace
    options = AsyncQueueOptions(ON, namespace, "llama")
    grant_role(plane, namespace, "viewer", rules_of("viewer"))
    async with open_connection(plane, user="viewer", namespace=namespace) as connection:
        plan = await plan_async_queue(connection, options, DEFAULTS)
        assert "secrets" in plan.blocked and "403" in plan.blocked
    grant_role(plane, namespace, "member", rules_of("viewer", "async"))
    async with open_connection(plane, user="member", namespace=namespace) as connection:
        plan = await plan_async_queue(connection, options, DEFAULTS)
        assert plan.is_possible, plan.blocked
        result = await run_async_queue(connection, plan)
        assert result.outcome is Outcome.DONE, result.message
        assert queue.existing() == ALL and has_async_rules(queue.route(), "llama")
        with stub_of(queue, pending=1).serve():
            off = AsyncQueueOptions(OFF, namespace, "llama")
            plan = await plan_async_queue(connection, off, DEFAULTS)
            result = await run_async_queue(connection, plan, may_cancel=True)
            assert result.outcome is Outcome.DONE, result.message
    assert queue.existing() == []


# -- the server is lost ---------------------------------------------------------------------------


async def plan_when_served(queue: Queue) -> AsyncQueuePlan:
    """The plan, once the API server has filled its caches: until then it answers 429."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                return await queue.plan(ON)
            except ApiError as error:
                assert error.code == 429, error
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", ["deployments", "httproutes"])
async def test_a_server_that_dies_on_the_way_leaves_the_rest_for_later(
    queue: Queue, kind: str
) -> None:
    """It is killed before the gateway's Deployment is created, or the route changed."""
    await queue.create_serving()
    plan = await queue.plan(ON)
    request = queue.connection.request

    async def killing(method: str, path: str, **options: Any) -> Any:
        if method == "PATCH" and f"/{kind}/" in path:
            await asyncio.to_thread(queue.plane.kill, "kube-apiserver")
        return await request(method, path, **options)

    queue.connection.request = killing  # type: ignore[method-assign]
    result = await queue.run(plan)
    assert result.outcome in (Outcome.UNKNOWN, Outcome.REJECTED), result.message
    written = "Secret llama-async, Secret llama-async-view, ConfigMap llama-async"
    assert f"Written before: {written}" in result.message
    assert result.message.endswith("Turn it on again for the rest.")
    queue.connection.request = request  # type: ignore[method-assign]
    assert (await look_again(queue.connection, result, DEFAULTS)).outcome is result.outcome
    await asyncio.to_thread(queue.plane.restart)
    await asyncio.to_thread(queue.plane.restart_waiting_controllers)
    path = ROUTE_PATHS[RouteKind.HTTP_ROUTE].format(queue.namespace)
    await asyncio.to_thread(
        wait_for, lambda: queue.plane.request("GET", path), "the API server to be back"
    )
    assert not has_async_rules(queue.route(), "llama")
    again = await plan_when_served(queue)
    assert not again.creates_secret and len(again.writes) < len(plan.writes)
    result = await queue.run(again)
    assert result.outcome is Outcome.DONE, result.message
    assert queue.existing() == ALL and has_async_rules(queue.route(), "llama")
