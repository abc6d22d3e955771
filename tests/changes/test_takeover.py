"""A second revision of a serving of the demo, from its creation to what the first one takes over of
it, while others change the first one; and a serving that becomes a revision."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.edit.edit import EditPlan, begin_edit, plan_edit
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.object_writes import apply_writes
from servedeck.changes.plan import ChangePlan, make_plan
from servedeck.changes.revision_checks import _check_endpoint
from servedeck.changes.traffic_split.revisions import (
    find_takeover_obstacle,
    start_revision,
    start_takeover,
)
from servedeck.changes.traffic_split.state import read_state
from servedeck.cluster.http.connection import Connection
from servedeck.serving.conventions import REVISION_BASE_ANNOTATION
from servedeck.serving.objects import manifests
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.spec import ServingSpec
from tests.changes.setting_rig import (
    DEPLOYMENT,
    NAME,
    begin,
    open_demo,
    open_inventory,
    patch,
    read_spec,
    save,
)

CANARY = f"{NAME}-canary"
ROUTE = f"/apis/gateway.networking.k8s.io/v1/namespaces/chat/httproutes/{NAME}"


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with open_demo() as opened:
        yield opened


@pytest.fixture
async def inventory(connection: Connection) -> AsyncIterator[ClusterInventory]:
    async with open_inventory(connection) as opened:
        yield opened


async def create(
    connection: Connection, inventory: ClusterInventory, *, base: str | None = None, **fields: Any
) -> None:
    """A canary with these changes, that has a ready replica and gets all requests."""
    start = await start_revision(connection, "chat", NAME)
    plan = await make_plan(
        connection,
        start.spec.replace(**fields),
        PlatformSettings(),
        inventory,
        revision_base=start.base if base is None else base,
    )
    assert plan.can_deploy, plan.issues
    result = await apply_writes(connection, plan.writes, force=False)
    assert result.rejection is None, result.rejection
    await patch(
        connection,
        {"status": {"readyReplicas": 1, "replicas": 1}},
        f"{canary_path()}/status",
    )
    await send(connection, 100)


async def test_one_that_somebody_else_created_since_the_plan_is_not_changed(
    connection: Connection, inventory: ClusterInventory
) -> None:
    start = await start_revision(connection, "chat", NAME)
    plans = [
        await make_plan(
            connection,
            start.spec.replace(image=image),
            PlatformSettings(),
            inventory,
            revision_base=start.base,
        )
        for image in ("registry.example.com/theirs:1", "registry.example.com/mine:1")
    ]
    first, second = [await apply_writes(connection, one.writes, force=False) for one in plans]
    assert first.rejection is None and len(first.applied) == 2
    assert second.applied == () and second.rejection is not None
    assert "was created by somebody else at the same time" in second.rejection.message
    live = await connection.get_json(canary_path())
    [container] = live["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/theirs:1"


def canary_path() -> str:
    return f"{DEPLOYMENT}-canary"


async def send(connection: Connection, weight: int) -> None:
    """Send the canary a share of the requests."""
    route = await connection.get_json(ROUTE)
    for rule in route["spec"]["rules"]:
        backends = [one for one in rule["backendRefs"] if one["name"] in (NAME, CANARY)]
        if backends:
            port = backends[0]["port"]
            rule["backendRefs"] = [
                {"name": NAME, "port": port, "weight": 100 - weight},
                {"name": CANARY, "port": 80, "weight": weight},
            ]
    await patch(connection, {"spec": {"rules": route["spec"]["rules"]}}, ROUTE)


async def finish(
    connection: Connection, inventory: ClusterInventory, *, force: bool = False
) -> EditPlan:
    takeover = await start_takeover(connection, "chat", NAME, force=force)
    return await plan_edit(connection, takeover.edit, inventory)


def changes(plan: EditPlan) -> dict[str, str]:
    return {one.name: one.new for one in plan.fields}


async def test_what_others_changed_in_the_first_serving_stays(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await create(connection, inventory, objectives="p95=2s")
    await save(connection, inventory, image="vllm/vllm-openai:v2-security")
    state = await read_state(connection, "chat", NAME)
    assert state.revision is not None
    assert [one.name for one in state.revision.differences] == ["objectives"]
    plan = await finish(connection, inventory)
    assert changes(plan) == {"objectives": "p95=2s"} and plan.can_save, plan.issues


async def test_what_both_changed_is_refused_and_can_be_forced(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await create(connection, inventory, image="vllm/vllm-openai:v3", objectives="p95=2s")
    await save(connection, inventory, image="vllm/vllm-openai:v2-security")
    plan = await finish(connection, inventory)
    assert [(one.name, one.base, one.theirs, one.mine) for one in plan.conflicts] == [
        ("image", "another value", "vllm/vllm-openai:v2-security", "vllm/vllm-openai:v3")
    ]
    assert not plan.can_save and changes(plan) == {"objectives": "p95=2s"}
    forced = await finish(connection, inventory, force=True)
    assert forced.can_save, forced.issues
    assert changes(forced) == {"image": "vllm/vllm-openai:v3", "objectives": "p95=2s"}


async def test_an_earlier_revision_is_a_change_of_the_canary(
    connection: Connection, inventory: ClusterInventory
) -> None:
    """What it began from is the first serving, not the Pod template that it was given."""
    await save(connection, inventory, image="vllm/vllm-openai:v2")
    before = await start_revision(connection, "chat", NAME)
    await create(connection, inventory, base=before.base, image="vllm/vllm-openai:v1")
    assert changes(await finish(connection, inventory)) == {"image": "vllm/vllm-openai:v1"}


async def test_one_without_the_annotation_says_what_may_be_reverted(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await create(connection, inventory, objectives="p95=2s")
    annotations = {REVISION_BASE_ANNOTATION: None}
    await patch(connection, {"metadata": {"annotations": annotations}}, canary_path())
    await save(connection, inventory, image="vllm/vllm-openai:v2-security")
    takeover = await start_takeover(connection, "chat", NAME)
    assert [one.name for one in takeover.differences] == ["objectives", "image"]
    assert takeover.edit.conflicts == ()
    assert takeover.base_warning.endswith("since: objectives, image.")


async def test_one_that_is_applied_begins_from_the_serving_as_it_is(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await create(connection, inventory, base="", image="vllm/vllm-openai:v3")
    takeover = await start_takeover(connection, "chat", NAME)
    assert [one.name for one in takeover.differences] == ["image"]
    assert takeover.base_warning == ""


async def test_whether_it_still_answers_all_requests_is_asked_again(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await create(connection, inventory, objectives="p95=2s")

    async def obstacle(other: str = CANARY) -> str:
        return await find_takeover_obstacle(connection, "chat", NAME, other)

    assert await obstacle() == ""
    assert await obstacle("another") == (
        f"{CANARY} gets the requests by now, not another; begin again."
    )
    await send(connection, 90)
    assert f"{NAME} still gets a share of the requests" in await obstacle()


# -- becoming a revision --------------------------------------------------------------------------


def of_revision(plan: EditPlan | ChangePlan) -> list[str]:
    found = [one for one in plan.issues if one.field == "revision_of"]
    return [f"{one.severity}: {one.message}" for one in found]


async def test_a_serving_with_an_endpoint_is_no_revision(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, revision_of="llama-31-8b")
    [text] = of_revision(await plan_edit(connection, edit, inventory))
    assert text.startswith(f"error: It has an endpoint of its own (HTTPRoute {NAME}), which a")


def test_an_endpoint_of_its_own_may_be_a_route_of_openshift() -> None:
    spec = ServingSpec(name="a", namespace="chat", template="custom", image="i")
    built = manifests.build_manifests(spec, PlatformSettings())
    route = {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": "public", "namespace": "chat"},
        "spec": {"to": {"kind": "Service", "name": "a"}},
    }
    assert list(_check_endpoint(import_objects(built))) == []
    [issue] = _check_endpoint(import_objects([*built, route]))
    assert issue.message.startswith("It has an endpoint of its own (Route public), which a")


async def test_the_serving_that_it_is_a_revision_of_is_missing(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await create(connection, inventory)
    assert (await read_spec(connection)).revision_of == ""
    spec = (await start_revision(connection, "chat", NAME)).spec.replace(revision_of="none")
    plan = await make_plan(connection, spec, PlatformSettings(), inventory)
    [text] = of_revision(plan)
    assert text.startswith("warning: Namespace chat has no serving none, so nothing sends it")
    # The canary gets a share by the route of the first serving, which is no endpoint of its own.
    own = await canary_edit(connection, inventory, "none")
    assert of_revision(own) == [text]
    assert of_revision(await canary_edit(connection, inventory, "llama-31-8b")) == []


async def canary_edit(connection: Connection, inventory: ClusterInventory, first: str) -> EditPlan:
    edit = await begin_edit(connection, "chat", CANARY)
    wanted: ServingSpec = edit.wanted.replace(revision_of=first)
    return await plan_edit(connection, replace(edit, wanted=wanted), inventory)
