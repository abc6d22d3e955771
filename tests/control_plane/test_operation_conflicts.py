"""Operations while somebody else changes the same Deployment, or the API server is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.lost_writes import look_again
from servedeck.changes.operations.operation import OperationKind, Outcome
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.fixtures import MakePolicy
from tests.control_plane.proxies import FaultProxy
from tests.control_plane.test_deploy import open_connection
from tests.control_plane.test_operations import NEW_IMAGE, Operator, operator
from tests.control_plane.test_rollouts import SERVER, Serving, serving

__all__ = ["operator", "serving"]

Change = Callable[[Serving], object]


def scale_by_kubectl(one: Serving) -> object:
    return one.kubectl("scale", "deployment/llama", "--replicas=4")


def scale_by_autoscaler(one: Serving) -> object:
    """As the HorizontalPodAutoscaler's controller does it, by the scale subresource."""
    scale = one.plane.request("GET", f"{one.path}/scale")
    scale["spec"]["replicas"] = 5
    return one.plane.request("PUT", f"{one.path}/scale", scale)


def apply_by_kubectl(one: Serving) -> object:
    container = {"name": SERVER, "image": NEW_IMAGE}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama", "namespace": one.namespace},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    return one.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=body)


def edit_by_kubectl(one: Serving) -> object:
    return one.kubectl("patch", "deployment/llama", "-p", '{"spec":{"minReadySeconds":1}}')


CHANGES = [scale_by_kubectl, scale_by_autoscaler, apply_by_kubectl, edit_by_kubectl]
KINDS = [
    OperationKind.SCALE,
    OperationKind.STOP,
    OperationKind.RESTART,
    OperationKind.ROLLBACK,
    OperationKind.PAUSE,
]


@pytest.fixture
def two_revisions(serving: Serving) -> Serving:
    serving.kubectl("set", "env", "deployment/llama", "LEVEL=debug")
    serving.wait_until_complete(2)
    return serving


def spec_of(one: Serving) -> Any:
    return one.deployment()["spec"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_somebody_else_changed_after_the_plan_is_not_overwritten(
    two_revisions: Serving, operator: Operator, kind: OperationKind, change: Change
) -> None:
    plan = await operator.plan(kind, 3)
    change(two_revisions)
    theirs = spec_of(two_revisions)
    result = await operator.run(plan)
    assert (result.outcome, result.message) == (
        Outcome.OUTDATED,
        f"Deployment {operator.namespace}/llama was changed by somebody else at the same time.",
    )
    assert spec_of(two_revisions) == theirs


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_somebody_else_changed_before_the_plan_is_kept(
    two_revisions: Serving, operator: Operator, kind: OperationKind, change: Change
) -> None:
    change(two_revisions)
    theirs = spec_of(two_revisions)
    plan = await operator.do(kind, 3)
    ours = spec_of(two_revisions)
    assert plan.patch is not None
    touched = set(plan.patch.patch["spec"])
    assert {key: value for key, value in ours.items() if key not in touched} == {
        key: value for key, value in theirs.items() if key not in touched
    }
    assert ours != theirs


async def test_a_label_that_somebody_else_added_after_the_plan_is_kept(
    serving: Serving, operator: Operator
) -> None:
    plan = await operator.plan(OperationKind.STOP)
    serving.kubectl("label", "deployment/llama", "mine=x")
    serving.kubectl("annotate", "deployment/llama", "mine=y")
    assert (await operator.run(plan)).outcome is Outcome.DONE
    metadata = serving.deployment()["metadata"]
    assert (metadata["labels"]["mine"], metadata["annotations"]["mine"]) == ("x", "y")


async def test_two_operators_change_one_after_the_other(
    control_plane: ControlPlane, namespace: str, serving: Serving, operator: Operator
) -> None:
    async with open_connection(control_plane, namespace=namespace) as connection:
        other = Operator(connection, namespace)
        first, second = (
            await operator.plan(OperationKind.RESTART),
            await other.plan(OperationKind.RESTART),
        )
        assert (await operator.run(first)).outcome is Outcome.DONE
        assert (await other.run(second)).outcome is Outcome.OUTDATED


async def test_a_deployment_that_was_created_again_is_not_changed_or_deleted(
    serving: Serving, operator: Operator
) -> None:
    plans = [await operator.plan(kind, 3) for kind in (OperationKind.SCALE, OperationKind.DELETE)]
    serving.kubectl("delete", "deployment/llama")
    serving.plane.create_deployment(serving.namespace, "llama", replicas=1)
    created = serving.deployment()
    for plan in plans:
        result = await operator.run(plan)
        assert result.outcome is Outcome.OUTDATED
        assert "was deleted and created again by somebody else" in result.message
    found = serving.deployment()
    assert (found["metadata"]["uid"], found["spec"]) == (
        created["metadata"]["uid"],
        created["spec"],
    )


async def test_a_deployment_that_was_deleted_is_said(serving: Serving, operator: Operator) -> None:
    plan = await operator.plan(OperationKind.SCALE, 3)
    deletion = await operator.plan(OperationKind.DELETE)
    serving.kubectl("delete", "deployment/llama")
    result = await operator.run(plan)
    assert result.outcome is Outcome.OUTDATED
    assert result.message.endswith("was deleted by somebody else.")
    assert (await operator.run(deletion)).outcome is Outcome.DONE  # nothing is left to delete


@contextlib.contextmanager
def status_written_all_the_time(one: Serving) -> Iterator[None]:
    """The status changes as fast as the API server writes it."""
    ended, written = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            condition = {"type": "Test", "status": "True", "reason": f"Number{number}"}
            with contextlib.suppress(RequestError):
                one.plane.request(
                    "PATCH",
                    f"{one.path}/status",
                    {"status": {"conditions": [condition]}},
                    content_type="application/strategic-merge-patch+json",
                )
            written.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        written.wait()
        yield
    finally:
        ended.set()
        thread.join()


async def test_a_status_that_is_written_all_the_time_does_not_prevent_a_change(
    serving: Serving, operator: Operator
) -> None:
    with status_written_all_the_time(serving):
        await operator.do(OperationKind.SCALE, 3)
        await operator.do(OperationKind.RESTART)
    assert spec_of(serving)["replicas"] == 3


# -- admission ----------------------------------------------------------------------------------


async def test_a_policy_that_denies_blocks_the_plan(operator: Operator, policy: MakePolicy) -> None:
    policy("object.spec.replicas <= 5", "Deny")
    plan = await operator.plan_until(OperationKind.SCALE, 9, lambda one: one.blocked)
    assert "at most 5 replicas" in plan.blocked
    assert (await operator.plan(OperationKind.SCALE, 4)).is_possible


async def test_a_policy_that_warns_is_in_the_plan_and_in_the_result(
    operator: Operator, policy: MakePolicy
) -> None:
    policy("object.spec.replicas <= 5", "Warn")
    plan = await operator.plan_until(OperationKind.SCALE, 9, lambda one: one.warnings)
    assert "at most 5 replicas" in plan.warnings[0]
    result = await operator.run(plan)
    assert result.outcome is Outcome.DONE
    assert result.warnings == plan.warnings


async def test_a_policy_that_denies_after_the_plan_rejects_it(
    serving: Serving, operator: Operator, policy: MakePolicy
) -> None:
    plan = await operator.plan(OperationKind.SCALE, 9)
    policy("object.spec.replicas <= 5", "Deny")
    await operator.plan_until(OperationKind.SCALE, 9, lambda one: one.blocked)
    result = await operator.run(plan)
    assert result.outcome is Outcome.REJECTED
    assert "at most 5 replicas" in result.message
    assert spec_of(serving)["replicas"] == 2


# -- the API server is lost ---------------------------------------------------------------------


class LosingProxy(FaultProxy):
    """Kills the API server when a write arrives, before or after it is executed, and resets the
    connection."""

    def __init__(self, plane: ControlPlane, *, after: bool) -> None:
        super().__init__(plane.url, plane.tokens["admin"], plane.ssl_context)
        self._plane = plane
        self._after = after
        self.writes: list[str] = []
        """Methods and paths; aiohttp repeats a DELETE, which has the uid of its object."""

    async def _handle_request(self, request: web.Request) -> web.StreamResponse:
        is_write = request.method in ("PATCH", "DELETE")
        body = await request.read()
        try:
            if not is_write or b'"dryRun"' in body or "dryRun" in request.query:
                return await super()._handle_request(request)
            self.writes.append(f"{request.method} {request.path}")
            if self._after:
                async with self._session.request(
                    request.method,
                    self._target + request.raw_path,
                    headers=self._headers | {"Content-Type": request.headers["Content-Type"]},
                    data=body,
                ) as answer:
                    await answer.read()
            self._plane.kill("kube-apiserver")
        except aiohttp.ClientError:  # it is not there
            pass
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@pytest.fixture
async def losing(
    control_plane: ControlPlane, namespace: str, serving: Serving, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[LosingProxy, Operator]]:
    proxy = LosingProxy(control_plane, after=request.param)
    async with (
        proxy.serve(),
        open_connection(control_plane, server=proxy.url, namespace=namespace) as connection,
    ):
        yield proxy, Operator(connection, namespace)
        control_plane.start()


@pytest.mark.slow
@pytest.mark.parametrize("losing", [True], indirect=True)
async def test_a_change_before_the_server_was_lost_is_found_when_it_is_back(
    control_plane: ControlPlane, serving: Serving, losing: tuple[LosingProxy, Operator]
) -> None:
    proxy, operator = losing
    generation = serving.deployment()["metadata"]["generation"]
    plan = await operator.plan(OperationKind.RESTART)
    result = await operator.run(plan)
    assert result.outcome is Outcome.UNKNOWN
    assert "It is not known whether" in result.message
    assert (await look_again(operator.connection, result)).outcome is Outcome.UNKNOWN
    control_plane.start()
    again = await look_again(operator.connection, result)
    assert again.outcome is Outcome.DONE, again.message
    assert proxy.writes == [f"PATCH {serving.path}"]
    assert serving.deployment()["metadata"]["generation"] == generation + 1


@pytest.mark.slow
@pytest.mark.parametrize("losing", [False], indirect=True)
async def test_a_change_that_never_arrived_is_not_sent_again(
    control_plane: ControlPlane, serving: Serving, losing: tuple[LosingProxy, Operator]
) -> None:
    proxy, operator = losing
    before = spec_of(serving)
    plan = await operator.plan(OperationKind.RESTART)
    result = await operator.run(plan)
    assert result.outcome is Outcome.UNKNOWN
    control_plane.start()
    again = await look_again(operator.connection, result)
    assert again.outcome in (Outcome.UNKNOWN, Outcome.REJECTED)
    assert "not change" in again.message
    assert (proxy.writes, spec_of(serving)) == ([f"PATCH {serving.path}"], before)
    # Once anything has written the object, the request cannot be executed any more.
    serving.kubectl("annotate", "deployment/llama", "mine=x")
    known = await look_again(operator.connection, again)
    assert known.outcome is Outcome.REJECTED
    assert known.message.endswith("was not changed.")


@pytest.mark.slow
@pytest.mark.parametrize("losing", [True, False], indirect=True)
async def test_a_deletion_stops_where_the_server_was_lost(
    control_plane: ControlPlane,
    namespace: str,
    serving: Serving,
    losing: tuple[LosingProxy, Operator],
) -> None:
    proxy, operator = losing
    control_plane.create(
        f"/api/v1/namespaces/{namespace}/services",
        {
            "metadata": {"name": "llama", "labels": serving.deployment()["metadata"]["labels"]},
            "spec": {"selector": {"app": "llama"}, "ports": [{"port": 80}]},
        },
    )
    plan = await operator.plan(OperationKind.DELETE)
    assert [one.target for one in plan.deletions] == ["Service llama", "Deployment llama"]
    result = await operator.run(plan)
    assert result.outcome is Outcome.UNKNOWN
    control_plane.start()
    again = await look_again(operator.connection, result)
    assert "Not deleted so far: " in again.message
    assert again.message.count("Deployment llama") == 1
    assert serving.deployment()["metadata"]["name"] == "llama"
    assert set(proxy.writes) == {f"DELETE /api/v1/namespaces/{namespace}/services/llama"}


async def test_a_server_that_is_not_there_changes_nothing(
    control_plane: ControlPlane, serving: Serving, operator: Operator
) -> None:
    plan = await operator.plan(OperationKind.RESTART)
    before = spec_of(serving)
    control_plane.kill("kube-apiserver")
    try:
        result = await run_plan(operator.connection, plan)
    finally:
        control_plane.start()
    assert result.outcome in (Outcome.REJECTED, Outcome.UNKNOWN)
    assert spec_of(serving) == before
