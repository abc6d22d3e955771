"""What the cluster cannot do, as errors and warnings at the fields of settings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from servedeck.changes.balancing_checks import NO_LOAD_BALANCER
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.setting_checks import (
    NO_CONTROLLER,
    NO_KEDA,
    check_capacity,
    check_settings,
    check_temperature,
    complete_engines,
)
from servedeck.cluster.http.errors import ApiError
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.load_balancing import policy_kind
from tests.changes.operations.fake_cluster import REFUSED, FakeCluster
from tests.serving.objects.setting_objects import (
    CRON,
    ENGINES,
    ENVOY,
    Json,
    autoscaler,
    make_serving,
    make_spec,
    scaled_object,
)

LEASE = "/apis/coordination.k8s.io/v1/namespaces/servedeck-system/leases/servedeck-controller"
FORBIDDEN = ApiError(403, "Forbidden", "forbidden")
ZERO = "With 0 replicas nothing would start the serving again"


def check(current: ImportedServing, *unlisted: str, **fields: Any) -> list[tuple[str, str, str]]:
    """Severity, field and message of what an edit of an existing serving meets."""
    wanted = current.spec.replace(**fields)
    found = check_settings(current.objects, current.spec, wanted, unlisted)
    return [(str(one.severity), one.field, one.message) for one in found]


def with_engines(current: ImportedServing, **changes: Any) -> ImportedServing:
    engines = replace(current.objects.engines, **changes)
    return replace(current, objects=replace(current.objects, engines=engines))


# -- auto scaling -------------------------------------------------------------------------------


def test_what_works_has_no_issue() -> None:
    assert check(make_serving(), auto_scaling="response-time") == []
    assert check(make_serving(auto_scaling="response-time"), max_replicas=3) == []
    assert check(make_serving(auto_scaling="response-time"), auto_scaling="off") == []
    assert check(make_serving(autoscaler()), max_replicas=3) == []
    assert check(make_serving(scaled_object(CRON)), max_replicas=3, min_replicas=1) == []


def test_what_does_not_change_is_not_checked() -> None:
    current = make_serving(autoscaler(), scaled_object(CRON), engines=Engines())
    assert check(current, "ScaledObject", "HorizontalPodAutoscaler", description="x") == []


def test_without_keda_there_is_no_auto_scaling() -> None:
    found = check(make_serving(engines=Engines()), auto_scaling="response-time")
    assert found == [("error", "auto_scaling", NO_KEDA)]


def test_without_prometheus_there_is_no_trigger() -> None:
    current = make_serving(engines=Engines(frozenset({"keda.sh"})))
    [(severity, field, message)] = check(current, auto_scaling="response-time")
    assert (severity, field) == ("error", "auto_scaling")
    assert message.startswith("No Prometheus was found")


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("response-time", "No metric of the response time is known for this template"),
        ("waiting-requests", "No metric of waiting requests is known for this template"),
    ],
)
def test_a_template_without_metrics_has_no_trigger(trigger: str, message: str) -> None:
    fields = {"template": "custom", "settings": {}, "command": ("serve",)}
    engines = replace(ENVOY, api_groups=frozenset({"keda.sh"}), prometheus_url="http://p:9090")
    [found] = check(make_serving(engines=engines, **fields), auto_scaling=trigger)
    assert found[:2] == ("error", "auto_scaling")
    assert found[2].startswith(message)
    # The same with a trigger that is there, when the template changes.
    current = make_serving(engines=engines, auto_scaling=trigger)
    assert [one[2] for one in check(current, **fields)] == [found[2]]


@pytest.mark.parametrize("kind", ["ScaledObject", "HorizontalPodAutoscaler"])
def test_autoscalers_that_may_not_be_listed_are_not_changed(kind: str) -> None:
    for current, wanted in (
        (make_serving(), "response-time"),
        (make_serving(auto_scaling="response-time"), "off"),
    ):
        [(severity, field, message)] = check(current, kind, auto_scaling=wanted)
        assert (severity, field) == ("error", "auto_scaling")
        assert message.startswith(f"Without permission to list {kind.lower()}s.")


def test_two_autoscalers_are_named() -> None:
    current = make_serving(autoscaler(), scaled_object(CRON))
    [(severity, field, message)] = check(current, max_replicas=3)
    assert (severity, field) == ("error", "auto_scaling")
    assert message.startswith(
        "HorizontalPodAutoscaler llama-hpa and ScaledObject theirs both scale this Deployment"
    )


def test_a_definition_in_git_is_a_warning() -> None:
    theirs = scaled_object(CRON)
    theirs["metadata"]["labels"] = {"argocd.argoproj.io/instance": "chat"}
    [(severity, _, message)] = check(make_serving(theirs), max_replicas=3)
    assert severity == "warning"
    assert "Argo CD application chat manages this ScaledObject" in message


@pytest.mark.parametrize("kind", ["custom", "hpa"])
def test_what_others_made_cannot_be_chosen(kind: str) -> None:
    [(severity, field, message)] = check(make_serving(), auto_scaling=kind)
    assert (severity, field) == ("error", "auto_scaling")
    assert f"{kind!r} stands for an autoscaler that somebody else made" in message


@pytest.mark.parametrize("trigger", ["response-time", "waiting-requests"])
def test_a_horizontal_pod_autoscaler_goes_before_a_scaled_object_comes(trigger: str) -> None:
    [(severity, field, message)] = check(make_serving(autoscaler()), auto_scaling=trigger)
    assert (severity, field) == ("error", "auto_scaling")
    assert message == (
        "KEDA rejects a ScaledObject while HorizontalPodAutoscaler llama-hpa scales the "
        f"Deployment; choose off and save, which deletes that, and then {trigger}."
    )


def test_the_replicas_are_not_changed_together_with_the_end_of_auto_scaling() -> None:
    current = make_serving(auto_scaling="response-time")
    assert check(current, auto_scaling="off", replicas=5) == []
    current.objects.scalers[0]["status"] = {"originalReplicaCount": 3}
    [(severity, field, message)] = check(current, auto_scaling="off", replicas=5)
    assert (severity, field) == ("error", "replicas")
    assert "KEDA puts the replicas back to 3" in message
    [(severity, field, message)] = check(current, auto_scaling="off")
    assert (severity, field) == ("warning", "auto_scaling")
    assert message.endswith(f"{current.spec.replicas} → 3.")


# -- scale to zero ------------------------------------------------------------------------------


def test_nothing_scales_to_0_that_nothing_wakes() -> None:
    for current, fields in (
        (make_serving(), {"auto_scaling": "response-time", "min_replicas": 0}),
        (make_serving(auto_scaling="response-time"), {"min_replicas": 0}),
    ):
        [(severity, field, message)] = check(current, **fields)
        assert (severity, field) == ("error", "min_replicas")
        assert message.startswith(ZERO)


def test_its_async_queue_wakes_it_for_some_requests() -> None:
    current = with_engines(make_serving(auto_scaling="response-time"), has_async_gateway=True)
    [(severity, field, message)] = check(current, min_replicas=0)
    assert (severity, field) == ("warning", "min_replicas")
    assert message.startswith("Only asynchronous requests start the serving again")


def test_a_trigger_of_others_wakes_it() -> None:
    push: Json = {"type": "external-push", "metadata": {"scalerAddress": "keda-http:9090"}}
    current = make_serving(scaled_object(push, minReplicaCount=1))
    assert check(current, min_replicas=0) == []


# -- accelerators -------------------------------------------------------------------------------


def inventory(total: int | None) -> ClusterInventory:
    known = [SimpleNamespace(resource="nvidia.com/gpu", total=total)]
    capacities = None if total is None else known
    return cast(ClusterInventory, SimpleNamespace(accelerator_capacities=lambda: capacities))


@pytest.mark.parametrize(
    ("total", "most", "count", "text"),
    [
        (8, 4, 2, ""),
        (8, 5, 2, "5 replicas need 10 of 8"),
        (0, 1, 1, "at most 0 can run"),
        (None, 99, 8, ""),
    ],
)
def test_more_replicas_than_accelerators_are_a_warning(
    total: int | None, most: int, count: int, text: str
) -> None:
    spec = make_spec(auto_scaling="response-time", max_replicas=most, accelerator_count=count)
    found = [(str(one.severity), one.field) for one in check_capacity(None, spec, inventory(total))]
    assert found == ([("warning", "max_replicas")] if text else [])
    assert all(text in one.message for one in check_capacity(None, spec, inventory(total)))


def test_without_auto_scaling_or_an_accelerator_nothing_is_counted() -> None:
    assert list(check_capacity(None, make_spec(), inventory(0))) == []
    spec = make_spec(auto_scaling="response-time", accelerator="")
    assert list(check_capacity(None, spec, inventory(0))) == []


# -- load balancing -----------------------------------------------------------------------------


def test_without_a_proxy_that_balances_there_is_no_load_balancing() -> None:
    current = make_serving(engines=Engines(frozenset({"keda.sh"})))
    assert check(current, load_balancing="random") == [
        ("error", "load_balancing", NO_LOAD_BALANCER)
    ]


@pytest.mark.parametrize(
    ("engines", "kind"), [(ENGINES, "DestinationRule"), (ENVOY, "BackendTrafficPolicy")]
)
def test_policies_that_may_not_be_listed_are_not_changed(engines: Engines, kind: str) -> None:
    current = make_serving(engines=engines)
    assert check(current, load_balancing="random") == []
    [(severity, field, message)] = check(current, kind, load_balancing="random")
    assert (severity, field) == ("error", "load_balancing")
    assert message.startswith("Without permission to list ")


def test_an_endpoint_picker_chooses_the_pod_itself() -> None:
    current = make_serving()
    pool = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "llama"}
    current.objects.routes[0]["spec"]["rules"][0]["backendRefs"] = [pool]
    [(severity, field, message)] = check(current, load_balancing="random")
    assert (severity, field) == ("error", "load_balancing")
    assert message.startswith("The route sends to InferencePool llama, whose endpoint picker")


ENVOY = Engines(frozenset({"gateway.envoyproxy.io", "networking.istio.io"}))


def routed(controller: str, *policies: Any) -> ImportedServing:
    """A serving with an HTTPRoute that a controller has accepted."""
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "llama", "namespace": "chat"},
        "spec": {"rules": [{"backendRefs": [{"name": "llama", "port": 80}]}]},
        "status": {"parents": [{"controllerName": controller}] if controller else []},
    }
    return make_serving(route, *policies, engines=ENVOY)


@pytest.mark.parametrize(
    ("controller", "kind"),
    [
        ("gateway.envoyproxy.io/gatewayclass-controller", "BackendTrafficPolicy"),
        ("istio.io/gateway-controller", "DestinationRule"),
        ("example.com/other", ""),
        ("", "BackendTrafficPolicy"),
    ],
)
def test_the_controller_of_the_route_says_who_balances(controller: str, kind: str) -> None:
    current = routed(controller)
    assert policy_kind(current.objects) == kind
    found = check(current, replicas=2, load_balancing="random")
    assert bool(found) == (not kind)


@pytest.mark.parametrize(
    "targets",
    [
        [{"kind": "HTTPRoute", "name": "llama"}, {"kind": "HTTPRoute", "name": "qwen"}],
        [{"kind": "HTTPRoute", "name": "llama", "sectionName": "r"}],
    ],
)
def test_a_policy_that_others_share_is_not_changed(targets: list[Any]) -> None:
    policy = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {"name": "shared", "namespace": "chat"},
        "spec": {"targetRefs": targets, "loadBalancer": {"type": "RoundRobin"}},
    }
    current = routed("gateway.envoyproxy.io/gatewayclass-controller", policy)
    [(severity, field, message)] = check(current, replicas=2, load_balancing="random")
    assert (severity, field) == ("error", "load_balancing")
    assert message.startswith("BackendTrafficPolicy shared is for other routes, too")


def test_one_replica_is_not_balanced() -> None:
    assert check(make_serving(replicas=1), load_balancing="random") == [
        ("warning", "load_balancing", "With one replica there is nothing to balance.")
    ]
    scaled = make_serving(replicas=1, auto_scaling="response-time")
    assert check(scaled, load_balancing="random") == []


# -- temperature policy -------------------------------------------------------------------------


def lease(age: timedelta, holder: str = "controller-1") -> Json:
    renewed = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 86_400, "renewTime": renewed}
    return {"metadata": {"name": "servedeck-controller"}, "spec": spec}


@pytest.mark.parametrize(
    ("stored", "issues"),
    [
        (lease(timedelta(0)), []),
        (None, [("error", NO_CONTROLLER)]),
        (lease(timedelta(days=2)), [("error", NO_CONTROLLER)]),
        (lease(timedelta(0), ""), [("error", NO_CONTROLLER)]),
        (
            FORBIDDEN,
            [
                (
                    "warning",
                    "It is not known whether the controller of the policy runs, without "
                    "which new Pods never become ready: The server forbids this (403): forbidden.",
                )
            ],
        ),
    ],
)
async def test_the_policy_needs_its_controller(stored: Any, issues: list[tuple[str, str]]) -> None:
    cluster = FakeCluster()
    cluster.objects |= {LEASE: stored} if stored is not None else {}
    before, wanted = make_spec(), make_spec(temperature_policy="on")
    for old in (before, None):
        found = await check_temperature(cluster.connection, old, wanted)
        assert [(str(one.severity), one.message) for one in found] == issues


@pytest.mark.parametrize(("of", "is_alive"), [("chat", True), ("other", False)])
async def test_a_controller_of_one_namespace_counts_there_alone(of: str, is_alive: bool) -> None:
    cluster = FakeCluster({f"{LEASE}-{of}": lease(timedelta(0))})
    found = await check_temperature(
        cluster.connection, make_spec(), make_spec(temperature_policy="on")
    )
    assert [one.message for one in found] == ([] if is_alive else [NO_CONTROLLER])


async def test_a_policy_that_is_on_is_tuned_and_turned_off_without_its_controller() -> None:
    connection = FakeCluster().connection
    on = make_spec(temperature_policy="on")
    tuned = on.replace(temperature_threshold=90)
    assert await check_temperature(connection, on, tuned) == []
    assert await check_temperature(connection, on, make_spec()) == []


async def test_one_replica_stays_in_traffic() -> None:
    connection = FakeCluster({LEASE: lease(timedelta(0))}).connection
    alone = make_spec(replicas=1)
    [issue] = await check_temperature(connection, alone, alone.replace(temperature_policy="on"))
    assert issue.message.startswith("With one replica the policy does nothing")


# -- the address of Prometheus ------------------------------------------------------------------


class Services(FakeCluster):
    """A cluster with one Service that looks like a Prometheus."""

    async def get(self, path: str, params: Any = ()) -> bytes:
        self.asked = True
        if self.read_error is not None:
            raise self.read_error
        return (
            b'{"items": [{"metadata": {"name": "prometheus", "namespace": "monitoring"}, '
            b'"spec": {"ports": [{"name": "web", "port": 9090}]}}]}'
        )

    asked = False


async def test_prometheus_is_looked_up_only_where_a_trigger_needs_it() -> None:
    cluster = Services()
    objects = make_serving(engines=Engines(frozenset({"keda.sh"}))).objects
    for fields in ({}, {"load_balancing": "random"}):
        await complete_engines(cluster.connection, objects, make_spec(**fields))
    assert not cluster.asked
    wanted = make_spec(auto_scaling="response-time")
    found = await complete_engines(cluster.connection, objects, wanted)
    assert found.prometheus_url == "http://prometheus.monitoring:9090"
    assert found.has_keda


async def test_the_address_in_the_trigger_or_the_settings_comes_first() -> None:
    cluster = Services()
    current = make_serving(auto_scaling="response-time")
    wanted = current.spec.replace(max_replicas=3)
    objects = with_engines(current, prometheus_url="").objects
    found = await complete_engines(cluster.connection, objects, wanted)
    assert found.prometheus_url == "http://prometheus.monitoring:9090"
    objects = with_engines(current, prometheus_url="http://mine:1").objects
    found = await complete_engines(cluster.connection, objects, wanted)
    assert found.prometheus_url == "http://prometheus.monitoring:9090"
    objects = make_serving(engines=replace(ENGINES, prometheus_url="http://mine:1")).objects
    found = await complete_engines(cluster.connection, objects, wanted)
    assert found.prometheus_url == "http://mine:1"
    assert not cluster.asked


async def test_services_that_may_not_be_listed_leave_the_address_open() -> None:
    cluster = Services()
    objects = make_serving(engines=Engines(frozenset({"keda.sh"}))).objects
    wanted = make_spec(auto_scaling="response-time")
    for error in (FORBIDDEN, REFUSED):
        cluster.read_error = error
        found = await complete_engines(cluster.connection, objects, wanted)
        assert found.prometheus_url == ""
