"""Auto scaling on a real API server: on, changed, off, read back; and the autoscalers of others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from servedeck.changes.edit.edit import Edit, begin_edit, plan_edit
from servedeck.changes.edit.save import SaveState, save_edit
from servedeck.changes.operations.adoption import Adoption
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import Outcome
from servedeck.changes.operations.planner import plan_operation
from servedeck.commands.apply import apply_all
from servedeck.commands.export import export_serving
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.settings_rig import (
    NAME,
    PATHS,
    PROMETHEUS,
    Rig,
    autoscaler,
    open_inventory,
    open_rig,
    scaled_object,
)
from tests.waiting import wait_until_sync


@pytest.fixture
async def rig(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(control_plane, namespace) as opened:
        yield opened


# -- auto scaling -------------------------------------------------------------------------------


async def test_auto_scaling_on_changed_and_off(rig: Rig) -> None:
    await rig.create()
    generation = rig.get("Deployment")["metadata"]["generation"]
    assert await rig.set("autoScaling=response-time", "maxReplicas=4"), rig.err
    assert rig.out[-1] == "scaledobject.keda.sh/llama created"
    made = rig.get("ScaledObject")
    assert (made["spec"]["minReplicaCount"], made["spec"]["maxReplicaCount"]) == (1, 4)
    assert [one["manager"] for one in made["metadata"]["managedFields"]] == ["servedeck"]
    spec = await rig.read()
    assert (spec.auto_scaling, spec.scale_in_delay, spec.target_response_time) == (
        "response-time",
        60,
        5000,
    )
    for text in ("minReplicas=2", "maxReplicas=8", "scaleInDelay=120", "targetResponseTime=900"):
        assert await rig.set(text), rig.err
        assert rig.out[-1] == "scaledobject.keda.sh/llama configured", text
        assert await rig.set(text), rig.err
        assert rig.out == ["deployment.apps/llama unchanged"], text
    assert await rig.set("autoScaling=waiting-requests", "targetWaiting=3"), rig.err
    changed = rig.get("ScaledObject")
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    [trigger] = changed["spec"]["triggers"]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "3")
    spec = await rig.read()
    assert (spec.min_replicas, spec.max_replicas, spec.scale_in_delay, spec.target_waiting) == (
        2,
        8,
        120,
        3,
    )
    assert await rig.set("autoScaling=off"), rig.err
    assert rig.out[-1] == "scaledobject.keda.sh/llama deleted"
    assert rig.get("ScaledObject") is None
    assert (await rig.read()).auto_scaling == "off"
    assert rig.get("Deployment")["metadata"]["generation"] == generation


async def test_what_the_api_server_rejects_is_an_error_at_the_field(rig: Rig) -> None:
    await rig.create()
    rig.plane.create(
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        {
            "metadata": {"name": rig.namespace},
            "spec": {
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": ["keda.sh"],
                            "apiVersions": ["*"],
                            "operations": ["CREATE", "UPDATE"],
                            "resources": ["scaledobjects"],
                        }
                    ],
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": rig.namespace}
                    },
                },
                "validations": [
                    {"expression": "object.spec.maxReplicaCount <= 5", "message": "at most 5"}
                ],
            },
        },
    )
    rig.plane.create(
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        {
            "metadata": {"name": rig.namespace},
            "spec": {"policyName": rig.namespace, "validationActions": ["Deny"]},
        },
    )

    def is_denied() -> bool:
        probe = scaled_object(maxReplicaCount=9, name="probe")
        try:
            rig.plane.create(f"{PATHS['ScaledObject'].format(rig.namespace)}?dryRun=All", probe)
        except RequestError:
            return True
        return False

    try:
        wait_until_sync(is_denied, "the admission policy")
        plan = await rig.plan(auto_scaling="response-time", max_replicas=9)
        [issue] = plan.errors
        assert issue.field == "auto_scaling"
        assert issue.message.startswith("ScaledObject llama: ")
        assert "at most 5" in issue.message
    finally:
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            path = f"/apis/admissionregistration.k8s.io/v1/{kind}/{rig.namespace}"
            rig.plane.request("DELETE", path)
    assert rig.get("ScaledObject") is None


async def test_the_replicas_of_a_scaled_serving_stay_as_the_autoscaler_set_them(rig: Rig) -> None:
    await rig.create()
    assert await rig.set("autoScaling=response-time"), rig.err
    rig.scale(5)
    assert await rig.set("cpu=2"), rig.err
    assert rig.replicas == 5
    assert await rig.set("maxReplicas=7", "description=x"), rig.err
    assert rig.replicas == 5
    assert not await rig.set("replicas=3")
    assert any("ScaledObject llama sets the replicas" in line for line in rig.err), rig.err
    assert rig.replicas == 5
    text = (await export_serving(rig.connection, rig.namespace, NAME)).yaml
    rig.scale(6)
    out: list[str] = []
    err: list[str] = []
    assert await apply_all(
        rig.connection,
        [from_yaml(text.replace("maxReplicas: 7", "maxReplicas: 8"))],
        PlatformSettings(),
        dry_run=False,
        stdout=out.append,
        stderr=err.append,
    ), err
    assert rig.replicas == 6
    assert (await rig.read()).max_replicas == 8
    assert [line for line in err if "sets the replicas" in line] == [
        "note: llama: spec.replicas: ScaledObject llama sets the replicas, 6 now; the 5 here are "
        "not applied."
    ]


async def test_the_replicas_of_an_adopted_serving_stay_as_the_autoscaler_set_them(rig: Rig) -> None:
    await rig.create()
    rig.make(autoscaler(minReplicas=2))
    deployment = rig.get("Deployment")
    labels = dict.fromkeys(deployment["metadata"]["labels"])
    rig.patch("Deployment", {"metadata": {"labels": labels}}, manager="helm")
    rig.scale(4)
    operation = Adoption.make(rig.namespace, NAME)
    plan = await plan_operation(rig.connection, operation)
    assert plan.is_possible, plan.blocked or plan.unchanged
    assert (await run_plan(rig.connection, plan)).outcome is Outcome.DONE
    assert rig.replicas == 4
    rig.scale(5)
    assert await rig.set("description=adopted"), rig.err
    assert await rig.set("maxReplicas=9", force=True), rig.err
    assert rig.replicas == 5


# -- autoscalers of others ----------------------------------------------------------------------


async def test_a_horizontal_pod_autoscaler_of_others_is_edited_as_one(rig: Rig) -> None:
    await rig.create()
    rig.make(autoscaler(minReplicas=2))
    spec = await rig.read()
    assert (spec.auto_scaling, spec.min_replicas, spec.max_replicas, spec.scale_in_delay) == (
        "hpa",
        2,
        6,
        300,
    )
    assert not await rig.set("maxReplicas=9")  # kubectl set it
    assert any("kubectl-create set 6, this change says 9" in line for line in rig.err), rig.err
    assert await rig.set("maxReplicas=9", "scaleInDelay=120", force=True), rig.err
    found = rig.get("HorizontalPodAutoscaler", "theirs")["spec"]
    assert (found["minReplicas"], found["maxReplicas"]) == (2, 9)
    assert found["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 120
    assert found["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert rig.get("ScaledObject") is None

    assert not await rig.set("autoScaling=response-time")
    assert any(
        "KEDA rejects a ScaledObject while HorizontalPodAutoscaler theirs scales the Deployment"
        in line
        for line in rig.err
    ), rig.err
    assert await rig.set("autoScaling=off"), rig.err
    assert rig.get("HorizontalPodAutoscaler", "theirs") is None
    assert await rig.set("autoScaling=response-time"), rig.err


async def test_the_autoscaler_that_keda_makes_is_not_edited(rig: Rig) -> None:
    await rig.create()
    assert await rig.set("autoScaling=response-time"), rig.err
    owner = rig.get("ScaledObject")
    made = autoscaler()
    made["metadata"] = {
        "name": "keda-hpa-llama",
        "ownerReferences": [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": NAME,
                "uid": owner["metadata"]["uid"],
                "controller": True,
            }
        ],
    }
    rig.make(made, "keda-operator")
    assert (await rig.read()).auto_scaling == "response-time"
    assert await rig.set("maxReplicas=3"), rig.err
    assert rig.get("HorizontalPodAutoscaler", "keda-hpa-llama")["spec"]["maxReplicas"] == 6


async def test_two_autoscalers_are_an_error_until_one_is_gone(rig: Rig) -> None:
    await rig.create()
    rig.make(autoscaler())
    rig.make(scaled_object(name="other", maxReplicaCount=5))
    assert not await rig.set("maxReplicas=4", force=True)
    [line] = [one for one in rig.err if "both scale" in one]
    assert (
        "ScaledObject other and HorizontalPodAutoscaler theirs both scale this Deployment" in line
    )
    assert await rig.set("description=x"), rig.err  # nothing else is in its way


async def test_a_scaled_object_of_that_name_for_another_target_is_left_alone(rig: Rig) -> None:
    await rig.create()
    rig.make(scaled_object("bert"))
    before = rig.get("ScaledObject")
    assert (await rig.read()).auto_scaling == "off"
    assert not await rig.set("autoScaling=response-time", force=True)
    assert any("exists already and is for something else" in line for line in rig.err), rig.err
    assert rig.get("ScaledObject") == before


async def test_one_that_somebody_creates_at_the_same_time_is_not_overwritten(rig: Rig) -> None:
    await rig.create()
    plan = await rig.plan(auto_scaling="response-time")
    request = rig.connection.request

    async def late(method: str, path: str, **options: Any) -> Any:
        is_its = method == "PATCH" and path == rig.path("ScaledObject")
        if is_its and rig.get("ScaledObject") is None:
            rig.make(scaled_object(idleReplicaCount=0))
        return await request(method, path, **options)

    rig.connection.request = late  # type: ignore[method-assign, assignment]
    async with open_inventory(rig.connection, rig.namespace) as inventory:
        result = await save_edit(rig.connection, plan, inventory)
    assert result.state is SaveState.REPLANNED
    found = rig.get("ScaledObject")
    assert [one["type"] for one in found["spec"]["triggers"]] == ["cron"]
    assert [one["manager"] for one in found["metadata"]["managedFields"]] == ["kubectl-create"]


async def test_who_changed_a_scaler_is_named_by_its_own_managers(rig: Rig) -> None:
    await rig.create()
    assert await rig.set("autoScaling=response-time"), rig.err
    edit = await begin_edit(rig.connection, rig.namespace, NAME, prometheus_url=PROMETHEUS)
    rig.patch("Deployment", {"spec": {"minReadySeconds": 1}}, manager="somebody")
    rig.patch("ScaledObject", {"spec": {"maxReplicaCount": 9}}, manager="platform-team")
    mine = Edit(edit.base, edit.wanted.replace(max_replicas=5))
    async with open_inventory(rig.connection, rig.namespace) as inventory:
        plan = await plan_edit(rig.connection, mine, inventory)
    [conflict] = plan.conflicts
    assert [one.name for one in conflict.changed_by] == ["platform-team"]
