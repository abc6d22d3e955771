"""Routes of OpenShift as endpoints of servings, on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.changes.operations.planner import plan_operation
from servedeck.cluster import resources
from servedeck.fleet.views import NamespacedName
from servedeck.serving.conventions import FIELD_MANAGER, MANAGED_BY_LABEL, SERVING_LABEL
from tests.control_plane import objects
from tests.control_plane.assertions import (
    assert_matches_cluster,
    started_session,
    wait_for_view,
)
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_roles import rules_of

Json = dict[str, Any]
HOST = "llama.apps.example.com"


class Objects:
    """A serving with a Service of its name."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        self.key = NamespacedName(namespace, "llama")
        plane.create(
            f"/apis/apps/v1/namespaces/{namespace}/deployments",
            objects.deployment("llama", replicas=0),
        )
        plane.create(f"/api/v1/namespaces/{namespace}/services", objects.service("llama"))

    def path(self, name: str) -> str:
        return resources.OPENSHIFT_ROUTE.object_path(self.namespace, name)

    def make_route(self, name: str = "public", metadata: Json | None = None, **spec: Any) -> None:
        body = {
            "apiVersion": "route.openshift.io/v1",
            "kind": "Route",
            "metadata": {"name": name, **(metadata or {})},
            "spec": {"host": HOST, "to": {"kind": "Service", "name": "llama"}, **spec},
        }
        place = resources.OPENSHIFT_ROUTE.collection_path(self.namespace)
        assert self.plane.create(place, body) is not None

    def answer(self, status: str, reason: str = "", name: str = "public") -> None:
        """As a router writes what it has decided."""
        condition = {"type": "Admitted", "status": status, "reason": reason}
        routers = [{"host": HOST, "routerName": "default", "conditions": [condition]}]
        body = {"status": {"ingress": routers}}
        self.plane.request("PATCH", f"{self.path(name)}/status", body)


@pytest.fixture
def made(control_plane: ControlPlane, namespace: str) -> Objects:
    return Objects(control_plane, namespace)


@pytest.mark.parametrize("is_one_namespace", [True, False])
async def test_the_endpoint_follows_a_route(
    made: Objects, kubeconfig: Path, is_one_namespace: bool
) -> None:
    shown = made.namespace if is_one_namespace else None
    source = f"Route {made.namespace}/public"
    async with started_session(kubeconfig, shown) as live:
        await wait_for_view(live, made.key, lambda view: view.endpoint.issue)
        made.make_route(tls={"termination": "edge"}, port={"targetPort": "http"})
        view = await wait_for_view(live, made.key, lambda view: view.endpoint.url)
        assert (view.endpoint.url, view.endpoint.source) == (f"https://{HOST}", source)
        assert view.endpoint.issue == f"{source} has not been admitted by a router yet"
        made.answer("False", "HostAlreadyClaimed")
        issue = f"{source} is not admitted: HostAlreadyClaimed"
        await wait_for_view(live, made.key, lambda view: view.endpoint.issue == issue)
        made.answer("True")
        await wait_for_view(live, made.key, lambda view: not view.endpoint.issue)
        await assert_matches_cluster(live, made.plane, shown)
        made.plane.request("PATCH", made.path("public"), {"spec": {"tls": None, "path": "/llm"}})
        url = f"http://{HOST}/llm"
        await wait_for_view(live, made.key, lambda view: view.endpoint.url == url)
        made.plane.request("DELETE", made.path("public"))
        await wait_for_view(live, made.key, lambda view: not view.endpoint.url)
        await assert_matches_cluster(live, made.plane, shown)


async def test_a_viewer_may_read_routes_and_who_may_not_is_told(made: Objects) -> None:
    made.make_route()
    made.answer("True")
    rules = rules_of("viewer")
    hidden = [one for one in rules if "routes" not in one.get("resources", ())]
    assert len(hidden) == len(rules) - 1
    for name, given in (("viewer", rules), ("member", hidden)):
        grant_role(made.plane, made.namespace, name, given)
        kubeconfig = made.plane.write_kubeconfig(name, namespace=made.namespace)
        async with started_session(kubeconfig, made.namespace) as live:
            view = await wait_for_view(live, made.key, lambda view: view.endpoint.cluster_url)
            missing = " ".join(live.state.missing_permissions)
            if name == "viewer":
                assert (view.endpoint.url, missing) == (f"http://{HOST}", "")
            else:
                assert view.endpoint.url == ""
                assert "routes.route.openshift.io" in missing


async def test_a_deletion_names_routes_and_leaves_them(made: Objects) -> None:
    """Also one with servedeck's labels; one that OpenShift has made from an Ingress goes with
    that."""
    labels = {SERVING_LABEL: "llama", MANAGED_BY_LABEL: FIELD_MANAGER}
    made.make_route()
    made.make_route("labeled", {"labels": labels})
    place = f"/apis/networking.k8s.io/v1/namespaces/{made.namespace}/ingresses"
    body = objects.ingress(made.namespace, "llama")
    ingress = made.plane.create(place, {**body, "metadata": {"name": "llama", "labels": labels}})
    assert ingress is not None
    owner = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "name": "llama",
        "uid": ingress["metadata"]["uid"],
        "controller": True,
    }
    made.make_route("llama-x2k4p", {"labels": labels, "ownerReferences": [owner]})
    async with open_connection(made.plane, namespace=made.namespace) as connection:
        operation = Operation(OperationKind.DELETE, made.namespace, "llama")
        plan = await plan_operation(connection, operation)
        assert {"Route labeled", "Route public"} <= set(plan.kept)
        assert [one.target for one in plan.deletions] == ["Ingress llama", "Deployment llama"]
        assert "x2k4p" not in json.dumps([*plan.kept, *plan.effects])
        await run_plan(connection, plan)
    assert made.plane.request("GET", made.path("public"))["spec"]["host"] == HOST
    assert made.plane.request("GET", made.path("labeled"))["spec"]["host"] == HOST
