"""Turning the async queue of a serving on, changing it and turning it off, on a real control
plane."""

from __future__ import annotations

import base64
import copy
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from servedeck.changes.async_queue.execution import plan_async_queue, run_async_queue
from servedeck.changes.async_queue.plan import (
    AsyncQueueAction,
    AsyncQueueOptions,
    AsyncQueuePlan,
    AsyncQueueResult,
)
from servedeck.changes.async_queue.state import gateway_refs, read_state
from servedeck.changes.async_queue.turn_on import AsyncQueueDefaults
from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.http.connection import Connection
from servedeck.serving.async_limits import AsyncQueueSettings
from servedeck.serving.conventions import ASYNC_LABEL
from servedeck.serving.objects.async_routes import has_async_rules
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.gateway_stub import GatewayStub
from tests.control_plane.test_deploy import make_spec, open_connection
from tests.control_plane.test_roles import run_apply

DEFAULTS = AsyncQueueDefaults("servedeck-gateway:1", "valkey://valkey.test:6379", "")
KINDS = list(RouteKind)
ROUTE_PATHS = {
    RouteKind.HTTP_ROUTE: "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes/llama",
    RouteKind.VIRTUAL_SERVICE: "/apis/networking.istio.io/v1/namespaces/{}/virtualservices/llama",
    RouteKind.INGRESS: "/apis/networking.k8s.io/v1/namespaces/{}/ingresses/llama",
}


class Queue:
    """The async queue of the serving llama, and who operates it."""

    def __init__(self, plane: ControlPlane, namespace: str, connection: Connection) -> None:
        self.plane, self.namespace, self.connection = plane, namespace, connection
        self.core = f"/api/v1/namespaces/{namespace}"
        self.deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self.defaults = DEFAULTS

    async def create_serving(self, kind: RouteKind = RouteKind.HTTP_ROUTE) -> None:
        platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", route=kind)
        good, lines = await run_apply(self.connection, make_spec(self.namespace), platform)
        assert good, lines

    def options(self, action: AsyncQueueAction, **more: Any) -> AsyncQueueOptions:
        return AsyncQueueOptions(action, self.namespace, "llama", **more)

    async def plan(self, action: AsyncQueueAction, **more: Any) -> AsyncQueuePlan:
        return await plan_async_queue(self.connection, self.options(action, **more), self.defaults)

    async def run(self, plan: AsyncQueuePlan, **more: Any) -> AsyncQueueResult:
        return await run_async_queue(self.connection, plan, **more)

    async def turn_on(self, **settings: Any) -> AsyncQueuePlan:
        plan = await self.plan(AsyncQueueAction.ON, changes=tuple(settings.items()))
        result = await self.run(plan)
        assert result.outcome is Outcome.DONE, result.message
        return plan

    def route(self, kind: RouteKind = RouteKind.HTTP_ROUTE) -> Any:
        return self.plane.request("GET", ROUTE_PATHS[kind].format(self.namespace))

    def existing(self) -> list[str]:
        """The objects of the gateway that are there."""
        found = []
        for ref in gateway_refs(self.namespace, "llama"):
            try:
                self.plane.request("GET", ref.path)
            except RequestError as error:
                assert error.status == 404
            else:
                found.append(f"{ref.kind} {ref.name}")
        return found

    def settings(self) -> Any:
        found = self.plane.request("GET", f"{self.core}/configmaps/llama-async")
        return yaml.safe_load(found["data"]["gateway.yaml"])

    def uids_of_pods(self) -> set[str]:
        return {one["metadata"]["uid"] for one in self.plane.list_pods(self.namespace, "llama")}


ALL = [
    "Secret llama-async",
    "Secret llama-async-view",
    "ConfigMap llama-async",
    "ServiceAccount llama-async",
    "Role llama-async",
    "RoleBinding llama-async",
    "Deployment llama-async",
    "Service llama-async",
    "Service llama-async-admin",
    "PodDisruptionBudget llama-async",
    "NetworkPolicy llama-async",
]
ON, OFF = AsyncQueueAction.ON, AsyncQueueAction.OFF


@pytest.fixture
async def queue(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Queue]:
    async with open_connection(control_plane, namespace=namespace) as connection:
        yield Queue(control_plane, namespace, connection)


def spec_of(route: Any) -> Any:
    return copy.deepcopy(route["spec"])


# -- on and off -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_on_and_off_leave_the_serving_as_it_was(queue: Queue, kind: RouteKind) -> None:
    await queue.create_serving(kind)
    queue.plane.wait_until_ready(queue.namespace, "llama", 1)
    before, pods = queue.route(kind), queue.uids_of_pods()
    plan = await queue.plan(ON)
    assert queue.existing() == [] and not has_async_rules(queue.route(kind), "llama")
    assert "Restarts no Pods of the serving." in plan.effects
    assert {one.name: one.new for one in plan.limit_changes}["pod_concurrency"] == 4
    result = await queue.run(plan)
    assert (result.outcome, result.message) == (
        Outcome.DONE,
        f"The async queue of {queue.namespace}/llama is on.",
    )
    assert queue.existing() == ALL
    assert has_async_rules(queue.route(kind), "llama")
    state = await read_state(queue.connection, queue.namespace, "llama")
    assert state.settings == AsyncQueueSettings()
    assert (state.missing, state.foreign, state.not_available) == ([], [], "")
    assert [one["kind"] for one in state.routes_with_rules] == [kind.value]
    assert (await queue.plan(ON)).unchanged

    stub = GatewayStub(queue.plane, queue.namespace)
    with stub.serve():
        plan = await queue.plan(OFF)
        assert plan.unfinished == 0 and "No task is pending or processing." in plan.effects
        result = await queue.run(plan)
    assert result.outcome is Outcome.DONE, result.message
    assert queue.existing() == []
    after = queue.route(kind)
    assert spec_of(after) == spec_of(before)
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert queue.uids_of_pods() == pods
    assert (await queue.plan(OFF)).unchanged == "The async queue is off already."


async def test_the_secret_is_made_once_and_in_no_plan(queue: Queue) -> None:
    await queue.create_serving()
    password = base64.b64encode(b"hunter2").decode()
    body = {"metadata": {"name": "valkey"}, "data": {"password": password}}
    queue.plane.create(f"{queue.core}/secrets", body)
    queue.defaults = replace(DEFAULTS, store_secret=f"{queue.namespace}/valkey")
    plan = await queue.turn_on()
    secret = queue.plane.request("GET", f"{queue.core}/secrets/llama-async")
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert data.pop("valkey-password") == "hunter2"
    assert set(data) == {"secret", "admin-key", "view-key"}
    assert len({*data.values()}) == 3 and all(len(one) == 64 for one in data.values())
    assert not any(one in repr(plan) for one in [*data.values(), "hunter2", password])
    assert queue.settings()["store_password_file"] == "/etc/servedeck/secret/valkey-password"

    await queue.turn_on(pod_concurrency=8)
    again = queue.plane.request("GET", f"{queue.core}/secrets/llama-async")
    assert again["metadata"]["resourceVersion"] == secret["metadata"]["resourceVersion"]
    queue.plane.request(
        "PATCH",
        f"{queue.core}/secrets/valkey",
        {"data": {"password": base64.b64encode(b"other").decode()}},
    )
    [warning] = (await queue.plan(ON, changes=(("max_depth", 7),))).warnings
    assert "valkey-password in Secret llama-async is not the password" in warning


async def test_the_secret_for_viewers_is_made_again_if_its_key_is_another(queue: Queue) -> None:
    await queue.create_serving()
    plan = await queue.turn_on()
    assert (
        "Secret llama-async-view is created, with the view-key alone: it shows all but bodies."
        in plan.effects
    )
    main, view = (f"{queue.core}/secrets/{one}" for one in ("llama-async", "llama-async-view"))
    found = queue.plane.request("GET", view)
    key = queue.plane.request("GET", main)["data"]["view-key"]
    assert found["data"] == {"view-key": key}
    assert not any(one in repr(plan) for one in (key, base64.b64decode(key).decode()))

    other = base64.b64encode(b"other").decode()
    queue.plane.request("PATCH", view, {"data": {"view-key": other}})
    plan = await queue.plan(ON)
    assert plan.effects[0] == (
        "Secret llama-async-view is deleted, as its view-key is not that of Secret llama-async."
    )
    assert not plan.creates_secret and plan.writes == ()
    assert (await queue.run(plan)).outcome is Outcome.DONE
    assert queue.plane.request("GET", view)["data"] == {"view-key": key}
    assert (await queue.plan(ON)).unchanged

    queue.plane.request("DELETE", view)
    state = await read_state(queue.connection, queue.namespace, "llama")
    assert [one.name for one in state.missing] == ["llama-async-view"]
    await queue.turn_on()
    assert queue.plane.request("GET", view)["data"] == {"view-key": key}

    queue.plane.request("DELETE", main)
    await queue.turn_on()
    again = queue.plane.request("GET", main)["data"]["view-key"]
    assert again != key and queue.plane.request("GET", view)["data"] == {"view-key": again}


async def test_a_secret_for_viewers_of_somebody_else_is_not_taken(queue: Queue) -> None:
    await queue.create_serving()
    body = {"metadata": {"name": "llama-async-view"}, "data": {"view-key": "eA=="}}
    queue.plane.create(f"{queue.core}/secrets?fieldManager=platform", body)
    blocked = (await queue.plan(ON)).blocked
    assert "llama-async-view exists already" in blocked and "made by platform" in blocked
    assert queue.existing() == ["Secret llama-async-view"]


async def test_a_password_that_is_not_there_is_asked_for(queue: Queue) -> None:
    await queue.create_serving()
    queue.defaults = replace(DEFAULTS, store_secret=f"{queue.namespace}/valkey")
    plan = await queue.plan(ON)
    assert plan.blocked == (
        f"The password of Valkey should be in Secret {queue.namespace}/valkey, which does not "
        "exist; correct async_store_secret, or create it."
    )
    assert queue.existing() == []


async def test_settings_are_changed_and_kept(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on(pod_concurrency=2, lifetime=3600.0)
    before = queue.plane.request("GET", f"{queue.deployments}/llama-async")
    plan = await queue.plan(ON, changes=(("max_depth", 50),))
    assert plan.limit_changes == (("max_depth", 1000, 50),)
    assert [one.ref.kind for one in plan.writes] == ["ConfigMap", "Deployment"]
    assert plan.route_writes == () and not plan.creates_secret
    assert (await queue.run(plan)).outcome is Outcome.DONE
    settings = queue.settings()
    assert (settings["pod_concurrency"], settings["lifetime"], settings["max_depth"]) == (
        2,
        3600.0,
        50,
    )
    after = queue.plane.request("GET", f"{queue.deployments}/llama-async")
    assert after["spec"]["template"] != before["spec"]["template"], "its Pods read the settings"


async def test_what_somebody_set_of_the_gateway_is_kept(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    queue.plane.kubectl("scale", "deployment/llama-async", "--replicas=3", "-n", queue.namespace)
    await queue.turn_on(max_depth=50)
    found = queue.plane.request("GET", f"{queue.deployments}/llama-async")
    assert found["spec"]["replicas"] == 3

    text = yaml.safe_dump({**queue.settings(), "max_wait": 30, "max_depth": 9})
    queue.plane.request(
        "PATCH",
        f"{queue.core}/configmaps/llama-async?fieldManager=kubectl-edit",
        {"data": {"gateway.yaml": text}},
    )
    plan = await queue.plan(ON, changes=(("max_attempts", 5),))
    [rejected] = plan.rejections
    assert rejected.rejection is not None and plan.blocked
    assert [one.manager for one in rejected.rejection.conflicts] == ["kubectl-edit"]
    assert queue.settings()["max_depth"] == 9
    plan = await queue.plan(ON, changes=(("max_attempts", 5),), force=True)
    assert (await queue.run(plan)).outcome is Outcome.DONE
    settings = queue.settings()
    assert (settings["max_wait"], settings["max_depth"], settings["max_attempts"]) == (30, 9, 5)


# -- what is in the way ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["services", "secrets", "configmaps"])
async def test_an_object_of_others_is_not_taken(queue: Queue, kind: str) -> None:
    await queue.create_serving()
    body: dict[str, Any] = {"metadata": {"name": "llama-async"}}
    if kind == "services":
        body["spec"] = {"ports": [{"port": 80}]}
    else:
        body["data"] = {"a": "Yg=="}
    queue.plane.create(f"{queue.core}/{kind}?fieldManager=platform", body)
    plan = await queue.plan(ON)
    assert "exists already and is no part of an async queue (made by platform" in plan.blocked
    assert len(queue.existing()) == 1
    assert (await queue.run(plan)).outcome is Outcome.REJECTED
    assert (await queue.plan(OFF)).unchanged, "it is not deleted either"


async def test_a_secret_that_somebody_made_is_used_and_stays(queue: Queue) -> None:
    await queue.create_serving()
    keys = {one: base64.b64encode(one.encode()).decode() for one in ("secret", "admin-key")}
    body = {"metadata": {"name": "llama-async"}, "data": keys}
    queue.plane.create(f"{queue.core}/secrets", body)
    assert "no part of an async queue" in (await queue.plan(ON)).blocked
    queue.plane.request(
        "PATCH",
        f"{queue.core}/secrets/llama-async",
        {"data": {"view-key": base64.b64encode(b"view").decode()}},
    )
    plan = await queue.turn_on()
    assert not plan.creates_secret
    with GatewayStub(queue.plane, queue.namespace).serve():
        plan = await queue.plan(OFF)
        assert plan.kept == ("Secret llama-async, which servedeck did not make",)
        assert (await queue.run(plan)).outcome is Outcome.DONE
    assert queue.existing() == ["Secret llama-async"]


async def test_a_route_of_another_manager_is_a_conflict(queue: Queue) -> None:
    await queue.create_serving()
    route = queue.route()
    metadata = {key: route["metadata"][key] for key in ("name", "namespace", "labels")}
    theirs = {**route, "metadata": metadata}
    theirs["spec"]["hostnames"] = ["other.example.com"]
    queue.plane.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=helm",
        "-f",
        "-",
        input=theirs,
    )
    plan = await queue.plan(ON)
    [rejected] = plan.rejections
    assert rejected.ref.kind == "HTTPRoute" and rejected.rejection is not None
    assert {one.manager for one in rejected.rejection.conflicts} == {"helm"}
    assert queue.existing() == [] and not has_async_rules(queue.route(), "llama")
    plan = await queue.plan(ON, force=True)
    assert (await queue.run(plan)).outcome is Outcome.DONE
    assert has_async_rules(queue.route(), "llama")
    assert queue.route()["spec"]["hostnames"] == ["other.example.com"]


async def test_routes_are_not_changed_while_the_gateway_is_not_up(queue: Queue) -> None:
    await queue.create_serving()
    plan = await queue.plan(ON)
    # The Deployment of the gateway gets no Pods.
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "1"}}}
    queue.plane.create(f"{queue.core}/resourcequotas", quota)
    told: list[str] = []
    result = await queue.run(plan, available_seconds=0.0, on_progress=told.append)
    assert result.outcome is Outcome.REJECTED
    assert result.message.startswith("The routes were not changed, as the gateway is not up: ")
    assert result.message.endswith("Turn it on again for the rest.")
    assert not has_async_rules(queue.route(), "llama") and queue.existing() == ALL


async def test_without_a_store_or_a_service_it_says_what_to_set(queue: Queue) -> None:
    await queue.create_serving()
    queue.defaults = replace(DEFAULTS, store="")
    assert "set async_store, as in valkey://" in (await queue.plan(ON)).blocked
    queue.defaults = DEFAULTS
    queue.plane.request("DELETE", f"{queue.core}/services/llama")
    assert "No Service leads to the port" in (await queue.plan(ON)).blocked
    assert queue.existing() == []
    options = AsyncQueueOptions(ON, queue.namespace, "other")
    plan = await plan_async_queue(queue.connection, options, DEFAULTS)
    assert plan.blocked == f"There is no Deployment other in namespace {queue.namespace}."


async def test_the_labels_say_whose_they_are(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    for ref in gateway_refs(queue.namespace, "llama"):
        labels = queue.plane.request("GET", ref.path)["metadata"]["labels"]
        assert labels[ASYNC_LABEL] == "llama"


async def test_the_gateway_delivers_to_the_service_of_another_name(queue: Queue) -> None:
    """As of a serving that was adopted."""
    await queue.create_serving()
    service = queue.plane.request("GET", f"{queue.core}/services/llama")
    [port] = service["spec"]["ports"]
    spec = {
        "selector": service["spec"]["selector"],
        "ports": [{"name": "http", "port": 9000, "targetPort": port["targetPort"]}],
    }
    queue.plane.create(f"{queue.core}/services", {"metadata": {"name": "api"}, "spec": spec})
    queue.plane.request("DELETE", f"{queue.core}/services/llama")
    [rule] = queue.route()["spec"]["rules"]
    rule["backendRefs"] = [{"name": "api", "port": 9000}]
    path = ROUTE_PATHS[RouteKind.HTTP_ROUTE].format(queue.namespace)
    queue.plane.request("PATCH", f"{path}?fieldManager=helm", {"spec": {"rules": [rule]}})
    plan = await queue.plan(ON, force=True)
    assert (await queue.run(plan)).outcome is Outcome.DONE
    settings = queue.settings()
    assert settings["service"] == f"{queue.namespace}/api:9000"
    assert settings["public_path"] == f"/{queue.namespace}/llama"
    backends = [one["backendRefs"][0]["name"] for one in queue.route()["spec"]["rules"]]
    assert backends == ["llama-async", "llama-async", "api"]
    assert (await queue.plan(ON)).unchanged
