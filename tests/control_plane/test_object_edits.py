"""Edits of whole objects on a real control plane: what it stores, and what others do meanwhile."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.object_edit import ObjectEdit
from servedeck.changes.operations.operation import OperationPlan, OperationResult, Outcome
from servedeck.changes.operations.planner import plan_operation
from servedeck.cluster.http.connection import ApiResponse
from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.serving.objects.object_document import editable_part
from tests.control_plane.test_operations import NEW_IMAGE, Operator, operator
from tests.control_plane.test_rollouts import Serving, serving

__all__ = ["operator", "serving"]


class Edit:
    """An edit of an object: `wanted` is changed by the test, as in an editor."""

    def __init__(self, operator: Operator, base: Any) -> None:
        self._operator = operator
        self._base = base
        self.wanted = copy.deepcopy(editable_part(base))

    @property
    def pod(self) -> Any:
        return self.wanted["spec"]["template"]["spec"]

    async def plan(self) -> OperationPlan:
        operation = ObjectEdit.make(self._base, self.wanted)
        return await plan_operation(self._operator.connection, operation)


def edit(serving: Serving, operator: Operator) -> Edit:
    return Edit(operator, serving.deployment())


async def undo(operator: Operator, result: OperationResult) -> OperationResult:
    assert result.undo is not None
    plan = await plan_operation(operator.connection, result.undo)
    assert plan.is_possible, plan.blocked or plan.unchanged
    return await operator.run(plan)


async def test_a_label_that_somebody_else_changed_after_the_plan_is_not_overwritten(
    serving: Serving, operator: Operator
) -> None:
    mine = edit(serving, operator)
    mine.wanted["metadata"].setdefault("labels", {})["team"] = "mine"
    plan = await mine.plan()
    serving.kubectl("label", "deployment/llama", "team=theirs")
    assert (await operator.run(plan)).outcome is Outcome.OUTDATED
    assert serving.deployment()["metadata"]["labels"]["team"] == "theirs"


async def test_removing_all_annotations_keeps_those_of_others_and_is_undone(
    serving: Serving, operator: Operator
) -> None:
    serving.kubectl("create", "service", "clusterip", "llama", "--tcp=80:80")
    serving.kubectl("annotate", "service/llama", "team=x")
    path = f"/api/v1/namespaces/{serving.namespace}/services/llama"
    mine = Edit(operator, serving.plane.request("GET", path))
    del mine.wanted["metadata"]["annotations"]
    plan = await mine.plan()
    serving.kubectl("annotate", "service/llama", "theirs=new")
    result = await operator.run(plan)
    assert result.outcome is Outcome.DONE, result.message
    assert serving.plane.request("GET", path)["metadata"]["annotations"] == {"theirs": "new"}
    assert (await undo(operator, result)).outcome is Outcome.DONE
    annotations = serving.plane.request("GET", path)["metadata"]["annotations"]
    assert annotations == {"theirs": "new", "team": "x"}


async def test_a_change_whose_response_was_lost_is_found_as_it_is_stored(
    serving: Serving, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = edit(serving, operator)
    server = mine.pod["containers"][0]
    server["readinessProbe"] = {"httpGet": {"path": "/health", "port": 8000}}
    server["resources"] = {"limits": {"memory": "1024Mi"}}
    plan = await mine.plan()
    request = operator.connection.request

    async def lose_response(method: str, *args: Any, **more: Any) -> ApiResponse:
        response = await request(method, *args, **more)
        if method == "PATCH":
            raise ConnectionLostError("The connection was lost.")
        return response

    monkeypatch.setattr(operator.connection, "request", lose_response)
    result = await operator.run(plan)
    assert result.outcome is Outcome.DONE, result.message
    monkeypatch.undo()
    assert (await undo(operator, result)).outcome is Outcome.DONE
    [server] = serving.deployment()["spec"]["template"]["spec"]["containers"]
    assert "readinessProbe" not in server


async def test_replicas_that_an_autoscaler_sets_are_not_edited(
    serving: Serving, operator: Operator
) -> None:
    serving.kubectl("autoscale", "deployment/llama", "--min=2", "--max=5")
    mine = edit(serving, operator)
    mine.wanted["spec"]["replicas"] = 1
    assert "HorizontalPodAutoscaler llama sets the replicas" in (await mine.plan()).blocked


async def test_a_paused_deployment_and_a_default_restart_no_pod(
    serving: Serving, operator: Operator
) -> None:
    mine = edit(serving, operator)
    del mine.pod["dnsPolicy"]
    assert "sets the same values again" in (await mine.plan()).unchanged
    mine.wanted["metadata"]["annotations"]["note"] = "x"
    plan = await mine.plan()
    assert (plan.effects, plan.needs_confirmation) == (("No Pod restarts.",), False)
    serving.kubectl("rollout", "pause", "deployment/llama")
    mine = edit(serving, operator)
    mine.pod["containers"][0]["image"] = NEW_IMAGE
    plan = await mine.plan()
    assert plan.effects == ("No Pod restarts while its rollout is paused.",)
    assert not plan.needs_confirmation


async def test_an_order_that_was_edited_is_stored_with_what_others_changed(
    serving: Serving, operator: Operator
) -> None:
    serving.kubectl("set", "env", "deployment/llama", "A=1", "B=2")
    mine = edit(serving, operator)
    mine.pod["containers"][0]["env"].reverse()
    wanted = [one["name"] for one in mine.pod["containers"][0]["env"]]
    serving.kubectl("set", "env", "deployment/llama", "A=77")
    result = await run_plan(operator.connection, await mine.plan())
    assert result.outcome is Outcome.DONE, result.message
    [server] = serving.deployment()["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in server["env"]] == wanted
    assert {"name": "A", "value": "77"} in server["env"]
