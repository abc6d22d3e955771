"""Load balancing and the temperature policy on a real API server: on, changed, off and read back;
policies of others; deletion; and what the roles allow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from servedeck.changes.edit.save import SaveState, save_edit
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import Operation, OperationKind, Outcome
from servedeck.changes.operations.planner import plan_operation
from servedeck.changes.setting_checks import NO_CONTROLLER
from servedeck.cluster.lease import CONTROLLER_LEASE
from servedeck.config import PLATFORM_NAMESPACE
from servedeck.serving.objects.routes import RouteKind
from servedeck.serving.temperature import TEMPERATURE_ANNOTATION, TEMPERATURE_GATE
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.settings_rig import (
    NAME,
    Rig,
    autoscaler,
    open_inventory,
    open_rig,
)
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_roles import rules_of


@pytest.fixture
async def rig(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(control_plane, namespace) as opened:
        yield opened


# -- load balancing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        (RouteKind.VIRTUAL_SERVICE, "DestinationRule"),
        (RouteKind.HTTP_ROUTE, "BackendTrafficPolicy"),
    ],
)
async def test_load_balancing_on_changed_and_off(rig: Rig, route: RouteKind, kind: str) -> None:
    await rig.create(route)
    for value in ("round-robin", "least-requests", "header", "random"):
        header = ["loadBalancingHeader=X-Session-Id"] if value == "header" else []
        assert await rig.set(f"loadBalancing={value}", *header), rig.err
        spec = await rig.read()
        assert (spec.load_balancing, spec.load_balancing_header) == (
            value,
            "X-Session-Id" if header else "",
        )
        assert await rig.set(f"loadBalancing={value}", *header), rig.err
        assert rig.out == ["deployment.apps/llama unchanged"], value
    assert [one["manager"] for one in rig.get(kind)["metadata"]["managedFields"]] == ["servedeck"]
    assert await rig.set("loadBalancing=off"), rig.err
    assert rig.out[-1].endswith("/llama deleted")
    assert rig.get(kind) is None
    assert not await rig.set("loadBalancing=header")
    assert any("The header of the session affinity is missing" in line for line in rig.err)


async def test_one_that_somebody_creates_at_the_same_time_is_not_changed(rig: Rig) -> None:
    await rig.create(RouteKind.VIRTUAL_SERVICE)
    # It has no field that differs from those of servedeck, so that a server-side apply, which
    # changes an object that is there, meets no conflict.
    outliers = {"outlierDetection": {"consecutive5xxErrors": 5}}
    other = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": NAME},
        "spec": {"host": f"{NAME}.{rig.namespace}.svc.cluster.local", "trafficPolicy": outliers},
    }
    request = rig.connection.request

    async def late(method: str, path: str, **options: Any) -> Any:
        is_dry_run = ("dryRun", "All") in options.get("params", ())
        is_its = method == "PATCH" and path == rig.path("DestinationRule") and not is_dry_run
        if is_its and rig.get("DestinationRule") is None:
            rig.make(other)
        return await request(method, path, **options)

    async with open_inventory(rig.connection, rig.namespace) as inventory:
        plan = await rig.plan(load_balancing="random")
        rig.connection.request = late  # type: ignore[method-assign, assignment]
        result = await save_edit(rig.connection, plan, inventory)
        assert result.state is SaveState.REPLANNED
        found = rig.get("DestinationRule")
        assert [one["manager"] for one in found["metadata"]["managedFields"]] == ["kubectl-create"]
        assert found["spec"]["trafficPolicy"] == outliers
        # Now that it is known, it is changed, and keeps what it has.
        result = await save_edit(rig.connection, result.plan, inventory)
    assert result.state is SaveState.SAVED
    balanced = {**outliers, "loadBalancer": {"simple": "RANDOM"}}
    assert rig.get("DestinationRule")["spec"]["trafficPolicy"] == balanced


async def test_a_new_rule_has_the_settings_of_a_wildcard_until_it_is_off(rig: Rig) -> None:
    await rig.create(RouteKind.VIRTUAL_SERVICE)
    wildcard = f"*.{rig.namespace}.svc.cluster.local"
    tls = {"tls": {"mode": "ISTIO_MUTUAL"}}
    rig.make(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "default"},
            "spec": {"host": wildcard, "trafficPolicy": tls},
        }
    )
    assert (await rig.read()).load_balancing == "off"
    assert await rig.set("loadBalancing=random"), rig.err
    assert any(f"DestinationRule default of {wildcard} does not apply" in line for line in rig.err)
    found = rig.get("DestinationRule")["spec"]["trafficPolicy"]
    assert found == {**tls, "loadBalancer": {"simple": "RANDOM"}}
    assert await rig.set("loadBalancing=off"), rig.err
    assert rig.get("DestinationRule") is None
    assert rig.get("DestinationRule", "default")["spec"]["trafficPolicy"] == tls


async def test_a_destination_rule_of_others_keeps_what_it_has(rig: Rig) -> None:
    await rig.create(RouteKind.VIRTUAL_SERVICE)
    outliers = {"consecutive5xxErrors": 5}
    policy = {"loadBalancer": {"simple": "RANDOM"}, "outlierDetection": outliers}
    rig.make(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "theirs"},
            "spec": {"host": NAME, "trafficPolicy": policy},
        }
    )
    assert (await rig.read()).load_balancing == "random"
    header = ("loadBalancing=header", "loadBalancingHeader=X-User")
    assert not await rig.set(*header)
    assert any("kubectl-create" in line for line in rig.err), rig.err
    assert await rig.set(*header, force=True), rig.err
    found = rig.get("DestinationRule", "theirs")["spec"]["trafficPolicy"]
    assert found == {
        "loadBalancer": {"consistentHash": {"httpHeaderName": "X-User"}},
        "outlierDetection": outliers,
    }
    assert await rig.set("loadBalancing=off", force=True), rig.err
    found = rig.get("DestinationRule", "theirs")["spec"]["trafficPolicy"]
    assert found["outlierDetection"] == outliers
    assert not found.get("loadBalancer")


# -- temperature policy -------------------------------------------------------------------------


@pytest.fixture
def controller(control_plane: ControlPlane) -> Iterator[None]:
    """The Lease of a controller that runs."""
    with suppress(RequestError):
        namespace = {"metadata": {"name": PLATFORM_NAMESPACE}}
        control_plane.create("/api/v1/namespaces", namespace)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{PLATFORM_NAMESPACE}/leases"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "controller-1", "leaseDurationSeconds": 86_400, "renewTime": now}
    control_plane.create(path, {"metadata": {"name": CONTROLLER_LEASE}, "spec": spec})
    yield
    control_plane.request("DELETE", f"{path}/{CONTROLLER_LEASE}")


@pytest.mark.usefixtures("controller")
async def test_the_temperature_policy_on_tuned_and_off(rig: Rig) -> None:
    await rig.create()
    assert await rig.set("temperaturePolicy=on"), rig.err
    assert any("(restarts Pods)" in line for line in rig.out), rig.out
    deployment = rig.get("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["readinessGates"] == [{"conditionType": TEMPERATURE_GATE}]
    assert (await rig.read()).temperature_threshold == 85
    template = deployment["spec"]["template"]
    assert await rig.set("temperatureThreshold=90", "temperatureSeconds=0"), rig.err
    deployment = rig.get("Deployment")
    annotation = deployment["metadata"]["annotations"][TEMPERATURE_ANNOTATION]
    assert annotation == "threshold=90,recovery=75,seconds=0"
    assert deployment["spec"]["template"] == template  # nothing restarts
    assert await rig.set("temperaturePolicy=off"), rig.err
    deployment = rig.get("Deployment")
    assert TEMPERATURE_ANNOTATION not in deployment["metadata"].get("annotations", {})
    assert "readinessGates" not in deployment["spec"]["template"]["spec"]


async def test_without_its_controller_the_policy_is_not_turned_on(rig: Rig) -> None:
    await rig.create()
    assert not await rig.set("temperaturePolicy=on")
    assert [one for one in rig.err if one.startswith("error")] == [
        f"error: llama: temperaturePolicy: {NO_CONTROLLER}"
    ]
    assert "readinessGates" not in rig.get("Deployment")["spec"]["template"]["spec"]


# -- deletion and permissions -------------------------------------------------------------------


async def test_deleting_a_serving_deletes_its_own_settings_and_no_others(rig: Rig) -> None:
    await rig.create(RouteKind.VIRTUAL_SERVICE)
    assert await rig.set("autoScaling=response-time", "loadBalancing=random"), rig.err
    rule = {"metadata": {"name": "theirs"}, "spec": {"host": NAME}}
    rig.make({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", **rule})
    plan = await plan_operation(
        rig.connection, Operation(OperationKind.DELETE, rig.namespace, NAME)
    )
    assert {one.target for one in plan.deletions} >= {"ScaledObject llama", "DestinationRule llama"}
    assert "DestinationRule theirs" in plan.kept
    assert (await run_plan(rig.connection, plan)).outcome is Outcome.DONE
    assert rig.get("ScaledObject") is None
    assert rig.get("DestinationRule") is None
    assert rig.get("DestinationRule", "theirs") is not None


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("route", [RouteKind.VIRTUAL_SERVICE, RouteKind.HTTP_ROUTE])
async def test_the_role_of_an_operator_allows_every_setting(
    control_plane: ControlPlane, namespace: str, route: RouteKind
) -> None:
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        rig = Rig(control_plane, namespace, connection)
        await rig.create(route)
        assert await rig.set("autoScaling=response-time", "loadBalancing=random"), rig.err
        assert await rig.set("maxReplicas=3", "loadBalancing=round-robin"), rig.err
        for kind in ("ScaledObject", "DestinationRule", "BackendTrafficPolicy"):
            if rig.get(kind) is not None:  # also by an update, which removes fields of others
                rig.patch(kind, {"metadata": {"labels": {"theirs": "x"}}})
        assert await rig.set("autoScaling=off", "loadBalancing=off"), rig.err
        rig.make(autoscaler())
        assert await rig.set("maxReplicas=3", force=True), rig.err
        assert await rig.set("autoScaling=off"), rig.err
        # The Lease is in another namespace, which this role does not reach.
        assert await rig.set("temperaturePolicy=on"), rig.err
        assert any("It is not known whether the controller" in line for line in rig.err), rig.err


async def test_without_permission_to_list_autoscalers_they_are_not_changed(
    control_plane: ControlPlane, namespace: str
) -> None:
    kinds = {"scaledobjects", "destinationrules", "backendtrafficpolicies"}
    rules = [
        one for one in rules_of("viewer", "operator") if not kinds.intersection(one["resources"])
    ]
    grant_role(control_plane, namespace, "member", rules)
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        rig = Rig(control_plane, namespace, connection)
        await rig.create(RouteKind.VIRTUAL_SERVICE)
        assert not await rig.set("autoScaling=response-time")
        assert [one for one in rig.err if one.startswith("error")] == [
            "error: llama: autoScaling: Without permission to list scaledobjects.keda.sh, it is "
            "not known whether an autoscaler scales it, so this cannot be changed; ask for the "
            "role servedeck-operator."
        ]
        assert not await rig.set("loadBalancing=random")
        assert any(
            "Without permission to list destinationrules.networking.istio.io" in line
            for line in rig.err
        ), rig.err
        assert await rig.set("description=x"), rig.err
