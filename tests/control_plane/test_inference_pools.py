"""Prefix-aware load balancing on a real API server: to an InferencePool and back, whoever made the
route; a new serving; what the roles allow; and the live picture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from servedeck.changes.live_objects import fetch_live_objects
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.commands.apply import apply_all
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import NamespacedName
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.objects.export_text import export_text
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.settings_rig import NAME, Rig, open_rig
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_roles import rules_of

GROUP, ALPHA = "inference.networking.k8s.io", "inference.networking.x-k8s.io"
ALPHA_POOLS = "/apis/inference.networking.x-k8s.io/v1alpha2/namespaces/{}/inferencepools"
Json = dict[str, Any]


@pytest.fixture
async def rig(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(control_plane, namespace) as opened:
        yield opened


def make_pool(rig: Rig, name: str = "pool", port: int = 8000, **labels: str) -> None:
    spec = {
        "selector": {"matchLabels": labels or {SERVING_LABEL: NAME}},
        "targetPorts": [{"number": port}],
        "endpointPickerRef": {"name": f"{name}-epp", "port": {"number": 9002}},
    }
    metadata = {"name": name}
    rig.make(
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "InferencePool",
            "metadata": metadata,
            "spec": spec,
        }
    )


def backends(rig: Rig) -> list[Json]:
    return [one["backendRefs"] for one in rig.get("HTTPRoute")["spec"]["rules"]]


def patch_backend(rig: Rig, **ref: Any) -> None:
    """As somebody else edits the route."""
    rules = rig.get("HTTPRoute")["spec"]["rules"]
    rules[0]["backendRefs"] = [ref]
    rig.patch("HTTPRoute", {"spec": {"rules": rules}})


def errors(rig: Rig) -> list[str]:
    return [one for one in rig.err if one.startswith("error")]


async def test_to_the_pool_and_back(rig: Rig) -> None:
    await rig.create()
    assert not await rig.set("loadBalancing=prefix-aware")
    [line] = errors(rig)
    assert f"No InferencePool of namespace {rig.namespace} selects the Pods" in line
    make_pool(rig, "other", app="other")
    make_pool(rig, "port", 9000)
    assert not await rig.set("loadBalancing=prefix-aware")
    [line] = errors(rig)
    assert "InferencePool port sends to port 9000 of the Pods" in line
    make_pool(rig)
    before, deployment = rig.get("HTTPRoute"), rig.get("Deployment")
    assert await rig.set("loadBalancing=prefix-aware"), rig.err
    assert not any("restart" in line for line in rig.out), rig.out
    assert rig.get("Deployment")["metadata"]["generation"] == deployment["metadata"]["generation"]
    pool = {"group": GROUP, "kind": "InferencePool", "name": "pool", "weight": 1}
    assert backends(rig) == [[pool]]
    assert (await rig.read()).load_balancing == "prefix-aware"
    assert await rig.set("loadBalancing=prefix-aware"), rig.err
    assert rig.out == ["deployment.apps/llama unchanged"]
    # Another value puts the Service back, and what it needs beside that.
    assert await rig.set("loadBalancing=random"), rig.err
    assert rig.get("BackendTrafficPolicy")["spec"]["loadBalancer"] == {"type": "Random"}
    assert await rig.set("loadBalancing=prefix-aware"), rig.err
    assert rig.get("BackendTrafficPolicy") is None
    assert await rig.set("loadBalancing=off"), rig.err
    assert (await rig.read()).load_balancing == "off"
    assert rig.get("HTTPRoute")["spec"] == before["spec"]
    managers = {one["manager"] for one in rig.get("HTTPRoute")["metadata"]["managedFields"]}
    assert managers == {"servedeck"}


@pytest.mark.parametrize("group", [GROUP, ALPHA])
async def test_a_route_that_somebody_else_sent_to_the_pool(rig: Rig, group: str) -> None:
    await rig.create()
    if group == GROUP:
        make_pool(rig)
    else:
        spec = {
            "selector": {SERVING_LABEL: NAME},
            "targetPortNumber": 8000,
            "extensionRef": {"name": "epp"},
        }
        pool = {
            "apiVersion": f"{ALPHA}/v1alpha2",
            "kind": "InferencePool",
            "metadata": {"name": "pool"},
            "spec": spec,
        }
        rig.plane.create(ALPHA_POOLS.format(rig.namespace), pool)
    patch_backend(rig, group=group, kind="InferencePool", name="pool", weight=3)
    assert (await rig.read()).load_balancing == "prefix-aware"
    assert await rig.set("description=x"), rig.err
    assert not await rig.set("loadBalancing=off")
    assert any("kubectl-edit" in line for line in rig.err), rig.err
    assert await rig.set("loadBalancing=off", force=True), rig.err
    service = {"group": "", "kind": "Service", "name": NAME, "port": 80, "weight": 3}
    assert backends(rig) == [[service]]


async def test_a_divided_rule_is_refused(rig: Rig) -> None:
    await rig.create()
    make_pool(rig)
    rules = rig.get("HTTPRoute")["spec"]["rules"]
    rules[0]["backendRefs"].append({"name": "next", "port": 80, "weight": 1})
    rig.patch("HTTPRoute", {"spec": {"rules": rules}})
    before = backends(rig)
    assert not await rig.set("loadBalancing=prefix-aware", force=True)
    [line] = errors(rig)
    assert "divides requests (llama 50 %, next 50 %)" in line
    assert backends(rig) == before


async def test_an_exported_serving_is_applied_unchanged_and_made_again(rig: Rig) -> None:
    await rig.create()
    make_pool(rig)
    assert await rig.set("loadBalancing=prefix-aware"), rig.err
    live = await fetch_live_objects(rig.connection, rig.namespace, NAME)
    text = export_text(live.import_serving())
    assert "loadBalancing: prefix-aware" in text
    assert "InferencePool" not in text
    spec = from_yaml(text)
    platform = PlatformSettings(
        host="ai.example.com", gateway="gateways/main", engines=live.engines
    )

    async def apply() -> list[str]:
        out: list[str] = []
        assert await apply_all(
            rig.connection, [spec], platform, dry_run=False, stdout=out.append, stderr=out.append
        ), out
        return out

    lines = await apply()
    assert all("unchanged" in line for line in lines), lines
    for kind in ("Deployment", "HTTPRoute"):
        rig.plane.request("DELETE", rig.path(kind))
    rig.plane.request("DELETE", f"/api/v1/namespaces/{rig.namespace}/services/{NAME}")
    await apply()
    assert [one[0]["kind"] for one in backends(rig)] == ["InferencePool"]
    # Another serving does not get the pool of this one.
    copy = spec.replace(name="copy")
    out: list[str] = []
    assert not await apply_all(
        rig.connection, [copy], platform, dry_run=False, stdout=out.append, stderr=out.append
    )
    assert any(f"{SERVING_LABEL}=copy." in line for line in out), out


async def test_the_roles(control_plane: ControlPlane, namespace: str) -> None:
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    rules = [
        one for one in rules_of("viewer", "operator") if one["resources"] != ["inferencepools"]
    ]
    grant_role(control_plane, namespace, "viewer", rules)
    async with open_rig(control_plane, namespace) as admin:
        await admin.create()
        make_pool(admin)
    async with open_connection(control_plane, user="viewer", namespace=namespace) as connection:
        rig = Rig(control_plane, namespace, connection)
        assert not await rig.set("loadBalancing=prefix-aware")
        [line] = errors(rig)
        assert "Without permission to list inferencepools.inference.networking.k8s.io" in line
        assert await rig.set("loadBalancing=random"), rig.err
        assert await rig.set("description=x"), rig.err
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        rig = Rig(control_plane, namespace, connection)
        assert await rig.set("loadBalancing=prefix-aware"), rig.err
        assert await rig.set("loadBalancing=off"), rig.err


async def test_the_list_follows_the_pool(rig: Rig) -> None:
    await rig.create()
    kubeconfig = rig.plane.write_kubeconfig(namespace=rig.namespace)
    session = ClusterSession(ConnectionOptions(kubeconfig=(kubeconfig,)))
    key = NamespacedName(rig.namespace, NAME)
    changed = asyncio.Event()
    session.subscribe(lambda _: changed.set())
    await session.start()

    async def wait_for(text: str, in_url: bool = False) -> None:
        async with asyncio.timeout(120):
            while True:
                changed.clear()
                view = session.fleet.view(key)
                if view is not None and text in (
                    view.endpoint.url if in_url else view.endpoint.issue
                ):
                    return
                await changed.wait()

    try:
        url = f"https://ai.example.com/{rig.namespace}/{NAME}"
        await wait_for(url, in_url=True)
        patch_backend(rig, group=GROUP, kind="InferencePool", name="pool")
        await wait_for("whether it selects the Pods of llama is not known")
        make_pool(rig)
        await wait_for(url, in_url=True)
        body = {"spec": {"selector": {"matchLabels": {SERVING_LABEL: "other"}}}}
        rig.patch("InferencePool", body, name="pool")
        await wait_for("No HTTPRoute, VirtualService or Ingress routes to Service")
    finally:
        await session.close()
