"""Dividing the requests of an endpoint between two servings, on a real control plane."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split.execution import run_traffic
from servedeck.changes.traffic_split.plan import (
    TrafficAction,
    TrafficOptions,
    TrafficPlan,
    TrafficResult,
)
from servedeck.changes.traffic_split.planning import plan_traffic
from servedeck.changes.traffic_split.state import OtherSide, read_state
from servedeck.cluster.http.connection import Connection
from servedeck.serving.objects.async_routes import add_async_rules, has_async_rules
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.objects.traffic_split import read_rules
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.page import open_page
from tests.control_plane.test_app import running_app
from tests.control_plane.test_deploy import grant_role, make_spec, open_connection
from tests.control_plane.test_roles import rules_of, run_apply
from tui.screens.plan_dialog import WAITING
from tui.traffic_service import ClusterTrafficService

KINDS = [RouteKind.HTTP_ROUTE, RouteKind.VIRTUAL_SERVICE]
PATHS = {
    RouteKind.HTTP_ROUTE: "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes",
    RouteKind.VIRTUAL_SERVICE: "/apis/networking.istio.io/v1/namespaces/{}/virtualservices",
    RouteKind.INGRESS: "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
}
SPLIT, PROMOTE, ABORT = TrafficAction


class Endpoint:
    """The endpoint of the serving llama, and a serving llama-2 beside it."""

    def __init__(self, plane: ControlPlane, namespace: str, connection: Connection) -> None:
        self.plane, self.namespace, self.connection = plane, namespace, connection
        self.kind = RouteKind.HTTP_ROUTE

    async def create(self, kind: RouteKind = RouteKind.HTTP_ROUTE) -> None:
        """Both servings, with a Pod each that is ready."""
        self.kind = kind
        for name in ("llama", "llama-2"):
            await self.create_serving(name)
        for name in ("llama", "llama-2"):
            self.plane.wait_until_ready(self.namespace, name, 1)

    async def create_serving(self, name: str, **texts: str) -> None:
        platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", route=self.kind)
        spec = make_spec(self.namespace, name=name, **texts)
        good, lines = await run_apply(self.connection, spec, platform)
        assert good, lines

    def options(self, action: TrafficAction, *, of: str = "llama", **more: Any) -> TrafficOptions:
        return TrafficOptions(action, self.namespace, of, **more)

    async def plan(self, action: TrafficAction, **more: Any) -> TrafficPlan:
        return await plan_traffic(self.connection, self.options(action, **more))

    async def plan_split(self, weight: int | None, other: str = "llama-2", **more: Any) -> Any:
        return await self.plan(SPLIT, other=other, weight=weight, **more)

    async def run(self, plan: TrafficPlan) -> TrafficResult:
        return await run_traffic(self.connection, plan)

    async def do(self, plan: TrafficPlan) -> TrafficPlan:
        result = await self.run(plan)
        assert result.outcome is Outcome.DONE, result.message
        return plan

    def path(self, name: str = "llama") -> str:
        return f"{PATHS[self.kind].format(self.namespace)}/{name}"

    def route(self, name: str = "llama") -> Any:
        return self.plane.request("GET", self.path(name))

    def patch_rules(self, rules: list[Any], manager: str = "kubectl-edit") -> None:
        key = "rules" if self.kind is RouteKind.HTTP_ROUTE else "http"
        path = f"{self.path()}?fieldManager={manager}"
        self.plane.request("PATCH", path, {"spec": {key: rules}})

    def rules(self, name: str = "llama") -> list[Any]:
        return list(self.route(name)["spec"]["rules" if self.is_http_route else "http"])

    @property
    def is_http_route(self) -> bool:
        return self.kind is RouteKind.HTTP_ROUTE

    def shares(self, name: str = "llama") -> list[str]:
        return [one.shares for one in read_rules(self.route(name))]

    def uids_of_pods(self) -> set[str]:
        return {one["metadata"]["uid"] for one in self.plane.list_pods(self.namespace)}


@pytest.fixture
async def endpoint(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Endpoint]:
    async with open_connection(control_plane, namespace=namespace) as connection:
        yield Endpoint(control_plane, namespace, connection)


# -- the whole of it ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_split_raise_promote_and_abort_leave_everything_else(
    endpoint: Endpoint, kind: RouteKind
) -> None:
    await endpoint.create(kind)
    before, others, pods = endpoint.route(), endpoint.route("llama-2"), endpoint.uids_of_pods()
    name = f"{endpoint.namespace}/llama"

    plan = await endpoint.plan_split(10)
    assert not plan.blocked and plan.warnings == ()
    assert plan.effects == (
        f"{kind} llama: 10 % of the requests go to llama-2 (1 of 1 replicas ready), the others to "
        "llama.",
        "The own endpoint of llama-2 stays as it is.",
        "New requests follow the weights; those in progress end where they began.",
        "Restarts no Pods.",
    )
    assert [tuple(one) for one in plan.differences] == [
        (f"{kind} llama, /{name}", "llama 100 %", "llama 90 %, llama-2 10 %")
    ]
    assert endpoint.route() == before, "a plan changes nothing"
    result = await endpoint.run(plan)
    assert (result.outcome, result.message) == (
        Outcome.DONE,
        f"llama-2 gets 10 % of the requests of {name}.",
    )
    assert endpoint.shares() == ["llama 90 %, llama-2 10 %"]
    assert (await endpoint.plan_split(10)).unchanged

    await endpoint.do(await endpoint.plan(SPLIT, weight=50))
    assert endpoint.shares() == ["llama 50 %, llama-2 50 %"]
    await endpoint.do(await endpoint.plan(SPLIT, weight=0))
    assert endpoint.shares() == ["llama 100 %, llama-2 0 %"]

    plan = await endpoint.do(await endpoint.plan(PROMOTE))
    assert any("clients change nothing" in one for one in plan.effects)
    assert endpoint.shares() == ["llama 0 %, llama-2 100 %"]
    assert (
        await endpoint.plan(PROMOTE)
    ).unchanged == f"All requests of {name} go to llama-2 already."

    await endpoint.do(await endpoint.plan(ABORT))
    assert endpoint.route()["spec"] == before["spec"]
    assert (await endpoint.plan(ABORT)).unchanged == f"All requests of {name} go to it already."
    assert endpoint.route("llama-2") == others
    assert endpoint.uids_of_pods() == pods


@pytest.mark.parametrize("kind", KINDS)
async def test_the_rules_of_an_async_queue_stay(endpoint: Endpoint, kind: RouteKind) -> None:
    await endpoint.create(kind)
    endpoint.patch_rules(
        add_async_rules(endpoint.route(), "llama")["spec"][
            "rules" if kind is RouteKind.HTTP_ROUTE else "http"
        ],
        "servedeck",
    )
    before = endpoint.route()
    plan = await endpoint.do(await endpoint.plan_split(10))
    assert any("async queue of llama, which delivers to it alone" in one for one in plan.effects)
    assert endpoint.shares() == [
        "llama-async 100 %",
        "llama-async 100 %",
        "llama 90 %, llama-2 10 %",
    ]
    assert has_async_rules(endpoint.route(), "llama")
    plan = await endpoint.plan(PROMOTE)
    assert any("still delivers to llama" in one for one in plan.warnings)
    await endpoint.do(await endpoint.plan(ABORT))
    assert endpoint.route()["spec"] == before["spec"]


async def test_the_other_side_is_shown_where_it_gets_a_share(endpoint: Endpoint) -> None:
    await endpoint.create()
    await endpoint.do(await endpoint.plan_split(10))
    state = await read_state(endpoint.connection, endpoint.namespace, "llama-2")
    assert [one.rule.shares for one in state.rules] == ["llama-2 100 %"]
    assert [one.shares for one in state.received] == ["llama 90 %, llama-2 10 %"]
    state = await read_state(endpoint.connection, endpoint.namespace, "llama")
    assert state.other is not None and state.other.name == "llama-2"
    assert (state.other.replicas, state.weights) == ("1 of 1 replicas ready", [10.0])
    endpoint.plane.request("DELETE", endpoint.path("llama-2"))
    plan = await endpoint.plan(ABORT, of="llama-2")
    assert plan.blocked.startswith(
        "llama-2 has no endpoint of its own: it gets a share of HTTPRoute"
    )


# -- routes that others wrote ---------------------------------------------------------------------


async def test_what_others_wrote_into_the_rule_stays(endpoint: Endpoint) -> None:
    await endpoint.create()
    [rule] = endpoint.rules()
    mirror = {"name": "llama-2", "port": 80}
    rule["filters"].append({"type": "RequestMirror", "requestMirror": {"backendRef": mirror}})
    rule["timeouts"] = {"request": "30s"}
    header = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}
    rule["backendRefs"][0]["filters"] = [header]
    canary = copy.deepcopy(rule)
    canary["matches"][0]["headers"] = [{"name": "x-canary", "value": "1"}]
    canary["backendRefs"] = [{"name": "llama-2", "port": 80}]
    stable = copy.deepcopy(canary)
    stable["matches"][0]["headers"][0]["name"] = "x-stable"
    stable["backendRefs"] = [{"name": "llama", "port": 80}]
    endpoint.patch_rules([canary, stable, rule], "servedeck")
    before = endpoint.rules()
    plan = await endpoint.plan_split(10)
    assert (
        "What the route does with requests to llama alone is done for llama-2, too." in plan.effects
    )
    mirrored, kept = plan.warnings[1], plan.warnings[0]
    texts = " ".join((mirrored, kept))
    assert "also mirrors requests to llama-2" in texts
    assert "for certain headers or parameters stays as it is: llama 100 %." in texts
    await endpoint.do(plan)
    after = endpoint.rules()
    assert after[:2] == before[:2], "rules for certain headers stay"
    assert {**after[2], "backendRefs": None} == {**before[2], "backendRefs": None}
    assert [one["filters"] for one in after[2]["backendRefs"]] == [[header], [header]]
    assert [one["weight"] for one in after[2]["backendRefs"]] == [90, 10]


async def test_weights_that_cannot_be_expressed_are_shown_and_kept(endpoint: Endpoint) -> None:
    await endpoint.create()
    [rule] = endpoint.rules()
    pool = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool"}
    own = {"name": "llama", "port": 80, "weight": 8}
    for backends, problem in (
        (
            [own, {"name": "a", "port": 80}, {"name": "b", "port": 80}],
            "divides requests among 3 backends (llama 80 %, a 10 %, b 10 %)",
        ),
        ([own, pool], "sends requests to InferencePool pool, which is no Service"),
        ([own, {"name": "x", "namespace": "y", "port": 80}], "sends requests to x of namespace y"),
        ([{**own, "weight": 0}], "sends requests nowhere"),
    ):
        endpoint.patch_rules([{**rule, "backendRefs": backends}])
        before = endpoint.route()
        for action in (SPLIT, PROMOTE, ABORT):
            plan = await endpoint.plan(action, other="llama-2", weight=10)
            assert problem in plan.blocked, plan.blocked
            assert (await endpoint.run(plan)).outcome is Outcome.REJECTED
        assert endpoint.route() == before
        state = await read_state(endpoint.connection, endpoint.namespace, "llama")
        assert len(state.rules) == 1


async def test_different_weights_are_refused_but_can_be_given_up(endpoint: Endpoint) -> None:
    await endpoint.create()
    [rule] = endpoint.rules()
    rules = []
    for path, weight in (("a", 10), ("b", 30)):
        one = copy.deepcopy(rule)
        one["matches"][0]["path"]["value"] = f"/{path}"
        one["backendRefs"] = [
            {"name": "llama", "port": 80, "weight": 100 - weight},
            {"name": "llama-2", "port": 80, "weight": weight},
        ]
        rules.append(one)
    endpoint.patch_rules(rules, "servedeck")
    plan = await endpoint.plan_split(20)
    assert "different weights for llama-2 (10 %, 30 %)" in plan.blocked
    assert (await endpoint.plan_split(30)).is_possible, "to end what was interrupted"
    await endpoint.do(await endpoint.plan(ABORT))
    assert endpoint.shares() == ["llama 100 %", "llama 100 %"]


async def test_a_field_of_another_manager_is_a_conflict(endpoint: Endpoint) -> None:
    await endpoint.create()
    route = endpoint.route()
    metadata = {key: route["metadata"][key] for key in ("name", "namespace", "labels")}
    theirs = {**route, "metadata": metadata}
    theirs["metadata"]["labels"] |= {"kustomize.toolkit.fluxcd.io/name": "models"}
    theirs["spec"]["rules"][0]["timeouts"] = {"request": "9s"}
    endpoint.plane.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=kustomize-controller",
        "-f",
        "-",
        input=theirs,
    )
    plan = await endpoint.plan_split(10)
    [rejected] = plan.rejections
    assert rejected.rejection is not None and plan.blocked
    assert {one.manager for one in rejected.rejection.conflicts} == {"kustomize-controller"}
    assert endpoint.shares() == ["llama 100 %"]
    plan = await endpoint.plan_split(10, force=True)
    assert any(
        "Flux Kustomization models manages this HTTPRoute" in one for one in plan.warnings
    ), plan.warnings
    await endpoint.do(plan)
    assert endpoint.shares() == ["llama 90 %, llama-2 10 %"]
    assert endpoint.rules()[0]["timeouts"] == {"request": "9s"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("force", [False, True])
async def test_a_route_that_was_changed_since_is_not_overwritten(
    endpoint: Endpoint, kind: RouteKind, force: bool
) -> None:
    await endpoint.create(kind)
    plan = await endpoint.plan_split(10, force=force)
    [rule] = endpoint.rules()
    rule["timeouts" if endpoint.is_http_route else "timeout"] = (
        {"request": "7s"} if endpoint.is_http_route else "7s"
    )
    endpoint.patch_rules([rule])
    result = await endpoint.run(plan)
    assert result.outcome is Outcome.OUTDATED
    assert result.message.endswith("was changed by somebody else meanwhile, so it was not written.")
    assert endpoint.shares() == ["llama 100 %"] and endpoint.rules() == [rule]


async def test_what_was_interrupted_between_two_routes_is_ended(endpoint: Endpoint) -> None:
    await endpoint.create()
    second = endpoint.route()
    second["metadata"] = {"name": "second", "labels": second["metadata"]["labels"]}
    endpoint.plane.create(PATHS[endpoint.kind].format(endpoint.namespace), second)
    await endpoint.do(await endpoint.plan_split(10, force=True))
    plan = await endpoint.plan_split(30)
    assert len(plan.changes) == 2
    path = endpoint.path("second")
    spec = {"hostnames": ["other.example.com"]}
    endpoint.plane.request("PATCH", f"{path}?fieldManager=kubectl-edit", {"spec": spec})
    result = await endpoint.run(plan)
    assert result.outcome is Outcome.OUTDATED
    assert result.message.endswith("Written before: HTTPRoute llama; do it again for the rest.")
    assert endpoint.shares() == ["llama 70 %, llama-2 30 %"]
    assert endpoint.shares("second") == ["llama 90 %, llama-2 10 %"]
    plan = await endpoint.do(await endpoint.plan_split(30))
    assert [one.write.ref.name for one in plan.changes] == ["second"]
    assert endpoint.shares("second") == ["llama 70 %, llama-2 30 %"]
    assert endpoint.route("second")["spec"]["hostnames"] == ["other.example.com"]


async def test_a_status_that_was_written_since_is_no_change(endpoint: Endpoint) -> None:
    await endpoint.create()
    plan = await endpoint.plan_split(10)
    condition = {
        "type": "ResolvedRefs",
        "status": "False",
        "reason": "BackendNotFound",
        "message": "Service x not found",
    }
    parents = [{"parentRef": {"name": "main"}, "conditions": [condition]}]
    endpoint.plane.request("PATCH", f"{endpoint.path()}/status", {"status": {"parents": parents}})
    await endpoint.do(plan)
    plan = await endpoint.plan(PROMOTE)
    assert (
        "Gateway main cannot resolve all of HTTPRoute llama: Service x not found." in plan.warnings
    )


# -- what is in the way ---------------------------------------------------------------------------


async def test_bad_input_gets_one_sentence(endpoint: Endpoint) -> None:
    await endpoint.create()
    where = endpoint.namespace
    for options, problem in (
        ({"weight": 101}, "from 0 to 100, not 101."),
        ({"weight": -1}, "from 0 to 100, not -1."),
        ({"weight": None}, "Say how many percent"),
        ({"weight": 0}, "Start with 1 percent or more"),
        ({"weight": 10, "other": ""}, "Say which serving of the namespace gets the share."),
        ({"weight": 10, "other": "llama"}, "llama leads to the serving itself"),
        (
            {"weight": 10, "other": "none"},
            f"no Deployment and no Service none in namespace {where}",
        ),
        ({"weight": 10, "other": "other/llama-2"}, "only with a ReferenceGrant of that namespace"),
        ({"weight": 10, "of": "none"}, f"There is no Deployment none in namespace {where}."),
    ):
        plan = await endpoint.plan(SPLIT, **{"other": "llama-2", **options})
        assert problem in plan.blocked, (options, plan.blocked)
        assert (await endpoint.run(plan)).outcome is Outcome.REJECTED
    assert "nothing to promote" in (await endpoint.plan(PROMOTE)).blocked
    assert (await endpoint.plan_split(10, f"{where}/llama-2")).is_possible
    assert endpoint.shares() == ["llama 100 %"]


async def test_an_ingress_and_no_route_are_refused(endpoint: Endpoint) -> None:
    await endpoint.create(RouteKind.INGRESS)
    plan = await endpoint.plan_split(10)
    assert "the Ingress API has no weights" in plan.blocked
    endpoint.plane.request("DELETE", endpoint.path())
    plan = await endpoint.plan_split(10)
    assert "No HTTPRoute or VirtualService of namespace" in plan.blocked


async def test_a_share_of_another_one_must_be_given_up_first(endpoint: Endpoint) -> None:
    await endpoint.create()
    await endpoint.create_serving("llama-3")
    await endpoint.do(await endpoint.plan_split(10))
    plan = await endpoint.plan_split(10, "llama-3")
    assert plan.blocked.startswith(
        "The requests are divided with llama-2 already; abort that first"
    )
    # Whoever saw llama-3 there promotes nothing else.
    shown = (await read_state(endpoint.connection, endpoint.namespace, "llama")).other_side
    assert shown == OtherSide("llama-2", "llama-2")
    assert (await endpoint.plan(PROMOTE, shown=shown)).is_possible
    plan = await endpoint.plan(PROMOTE, shown=OtherSide("llama-3", "llama-3"))
    assert "are divided with llama-2 (llama-2) now, not with llama-3 (llama-3)" in plan.blocked


async def test_an_other_without_ready_replicas_is_a_warning_and_not_promoted(
    endpoint: Endpoint,
) -> None:
    await endpoint.create()
    endpoint.plane.kubectl("scale", "deployment/llama-2", "--replicas=0", "-n", endpoint.namespace)
    endpoint.plane.wait_until_ready(endpoint.namespace, "llama-2", 0)
    plan = await endpoint.plan_split(5)
    assert any("llama-2 has no ready replica" in one for one in plan.warnings)
    await endpoint.do(plan)
    for action, weight in ((PROMOTE, None), (SPLIT, 100)):
        plan = await endpoint.plan(action, weight=weight)
        assert plan.blocked.startswith("llama-2 has no ready replica, so all requests would fail")


async def test_another_model_is_a_warning(endpoint: Endpoint) -> None:
    await endpoint.create()
    await endpoint.create_serving("other-model", **{"settings.model": "org/other"})
    plan = await endpoint.plan_split(10, "other-model")
    assert any(
        "other-model serves the model org/other, llama serves" in one for one in plan.warnings
    )


async def test_a_service_without_a_serving_gets_a_share(endpoint: Endpoint) -> None:
    """With the port that it has."""
    await endpoint.create()
    core = f"/api/v1/namespaces/{endpoint.namespace}/services"
    spec = {"selector": {"app": "elsewhere"}, "ports": [{"name": "api", "port": 9000}]}
    endpoint.plane.create(core, {"metadata": {"name": "api"}, "spec": spec})
    plan = await endpoint.plan_split(10, "api")
    assert any("No serving is known behind Service api" in one for one in plan.warnings)
    await endpoint.do(plan)
    assert endpoint.rules()[0]["backendRefs"][1]["port"] == 9000
    # It is taken out, too, where it is gone.
    endpoint.plane.request("DELETE", f"{core}/api")
    state = await read_state(endpoint.connection, endpoint.namespace, "llama")
    assert "Service api, which the requests are divided with, is not in" in state.gone
    for action in (PROMOTE, SPLIT):
        plan = await endpoint.plan(action, weight=20)
        assert "Service api, which the requests are divided with, is not in" in plan.blocked
    await endpoint.do(await endpoint.plan(ABORT))
    assert endpoint.shares() == ["llama 100 %"]


async def test_who_may_not_list_routes_is_told_so(endpoint: Endpoint) -> None:
    await endpoint.create()
    rules = [one for one in rules_of("viewer") if "httproutes" not in one["resources"]]
    grant_role(endpoint.plane, endpoint.namespace, "nobody", rules)
    async with open_connection(
        endpoint.plane, user="nobody", namespace=endpoint.namespace
    ) as clerk:
        endpoint.connection = clerk
        plan = await endpoint.plan_split(10)
    assert "may not be listed" in plan.blocked


# -- from the dashboard ---------------------------------------------------------------------------


async def test_it_is_split_from_the_page_and_follows_what_others_do(
    endpoint: Endpoint, kubeconfig: Path
) -> None:
    await endpoint.create()
    async with running_app(kubeconfig, endpoint.namespace, (120, 40)) as driver:
        driver.app.traffic_service = ClusterTrafficService(lambda: driver.live.connection)
        await open_page(driver, "llama", "Ready")
        await driver.pilot.press("K")
        await driver.wait_for_screen(lambda text: "llama 100 %" in text, "the endpoint")
        await driver.pilot.press("w")
        await driver.wait_for_screen(lambda text: "Send a share to" in text, "the servings")
        await driver.pilot.press("enter")
        await driver.wait_for_screen(lambda text: "Percent of the requests" in text, "the weight")
        await driver.pilot.press(*"20", "enter")
        await driver.wait_for_screen(
            lambda text: "Restarts no Pods." in text and WAITING not in text, "the plan"
        )
        assert endpoint.shares() == ["llama 100 %"]
        await driver.pilot.press("y")
        await driver.wait_for_screen(
            lambda text: "llama-2 gets 20 % of the requests" in text and "80 %" in text, "the share"
        )
        assert endpoint.shares() == ["llama 80 %, llama-2 20 %"]
        rules = endpoint.rules()
        rules[0]["backendRefs"][0]["weight"], rules[0]["backendRefs"][1]["weight"] = 55, 45
        endpoint.patch_rules(rules)
        await driver.wait_for_screen(lambda text: "45 %" in text, "what somebody else wrote")
