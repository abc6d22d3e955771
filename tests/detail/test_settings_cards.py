"""The cards of the tab Settings, from objects of every origin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from servedeck.detail.cards import Card
from servedeck.detail.overview import endpoint_text
from servedeck.detail.settings_cards import KeyHints, edited_path, settings_cards
from servedeck.detail.settings_watch import ServingSettings, SettingsWatch
from servedeck.fleet.views import NamespacedName
from servedeck.serving.async_limits import AsyncQueueSettings, summarize_limits
from servedeck.serving.conventions import ALPHA_POOL_GROUP, ASYNC_LABEL, POOL_GROUP
from servedeck.serving.objects.async_gateway import AsyncPlatform, build_async_gateway
from servedeck.serving.objects.probe_text import PROBES_BY_FIELD
from servedeck.serving.spec.spec import FIELDS, Section
from servedeck.serving.temperature import TEMPERATURE_GATE
from servedeck.serving.text import MASK
from tests.detail.objects import deployment, live
from tests.tui.fake_detail_service import FakeDetailService

NAME, NAMESPACE = "llama-70b-chat", "team-a"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
Json = dict[str, Any]


def metadata(kind: str, name: str = NAME, **more: Any) -> Json:
    return {"name": name, "namespace": NAMESPACE, "uid": f"uid-{kind}-{name}", **more}


def scaled_object(name: str = NAME, trigger: str = "response-time", **more: Any) -> Json:
    own = {"type": "prometheus", "name": trigger, "metadata": {"threshold": "4000"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata("ScaledObject", name, **more),
        "spec": {
            "scaleTargetRef": {"name": NAME},
            "minReplicaCount": 2,
            "maxReplicaCount": 7,
            "cooldownPeriod": 90,
            "triggers": [own],
        },
    }


def hpa(name: str = "by-cpu", **more: Any) -> Json:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata("HorizontalPodAutoscaler", name, **more),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "minReplicas": 1,
            "maxReplicas": 4,
        },
    }


def service() -> Json:
    labels = {"servedeck.dev/serving": NAME, "servedeck.dev/template": "vllm"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata("Service"),
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]},
    }


def route(*backends: Json) -> Json:
    match = {"path": {"type": "PathPrefix", "value": f"/{NAMESPACE}/{NAME}"}}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata("HTTPRoute"),
        "spec": {"rules": [{"matches": [match], "backendRefs": list(backends)}]},
    }


def lease(renewed: datetime, holder: str = "controller-1") -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "servedeck-controller",
            "namespace": "servedeck-system",
            "uid": "uid-lease",
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 15,
            "renewTime": f"{renewed:%Y-%m-%dT%H:%M:%S.%fZ}",
        },
    }


def read(
    *objects: Json,
    groups: frozenset[str] | None = frozenset(),
    missing_kinds: tuple[str, ...] = (),
    forbidden: tuple[str, ...] = (),
    workload: Json | None = None,
) -> ServingSettings:
    service = FakeDetailService(*objects)
    service.missing_kinds = set(missing_kinds)
    service.missing_permissions = {one: f"Listing {one} is not allowed." for one in forbidden}
    watch = SettingsWatch(service, NamespacedName(NAMESPACE, NAME), lambda: None)
    return watch.read(live(workload or deployment()), groups)


def rows(
    settings: ServingSettings, card: str, now: datetime = NOW, hints: KeyHints | None = None
) -> dict[str, str]:
    """Value and note of each row, by key."""
    found = find_card(settings_cards(settings, now, hints), card)
    return {one.key: "  ".join(filter(None, (one.value, one.note))) for one in found.rows}


def find_card(cards: tuple[Card, ...], key: str) -> Card:
    return next(one for one in cards if one.key == key)


def test_every_field_of_both_sections_has_a_row_while_it_applies():
    spec = {"threshold": "85", "recovery": "75", "seconds": "60"}
    changed = deployment(pod_spec={"readinessGates": [{"conditionType": TEMPERATURE_GATE}]})
    changed["metadata"]["annotations"]["servedeck.dev/temperature-policy"] = ",".join(
        f"{name}={value}" for name, value in spec.items()
    )
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": metadata("DestinationRule"),
        "spec": {
            "host": f"{NAME}.{NAMESPACE}.svc.cluster.local",
            "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpHeaderName": "X-User"}}},
        },
    }
    found = read(service(), rule, scaled_object(), lease(NOW), workload=changed)
    shown = {*rows(found, "scaling"), *rows(found, "traffic")}
    fields = {
        name
        for name, one in FIELDS.items()
        if one.section in (Section.AUTO_SCALING, Section.TRAFFIC)
    }
    assert fields - shown == {"target_waiting"}  # the target of the other trigger
    assert rows(found, "traffic")["load_balancing_header"] == "X-User"
    assert rows(found, "scaling") | {
        "min_replicas": "2",
        "max_replicas": "7",
        "scale_in_delay": "90",
        "target_response_time": "4000",
    } == rows(found, "scaling")
    assert rows(found, "server")["replicas"] == f"2  set by ScaledObject {NAME}"


def test_what_is_off_has_one_row():
    found = read(service(), route({"name": NAME, "port": 80}), lease(NOW))
    assert rows(found, "scaling") == {"auto_scaling": "off"}
    assert rows(found, "traffic", hints=KeyHints("o", "K"))["async_queue"] == "off  o turns it on"
    assert rows(found, "traffic")["temperature_policy"] == "off"
    assert rows(found, "traffic")["traffic_split"] == "off"
    assert "queue" not in {one.key for one in settings_cards(found, NOW)}
    assert rows(found, "transformer") == {"image": "no transformer"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"missing_kinds": ("scaledobjects.keda.sh",)}, "KEDA is not installed in this cluster"),
        # Its definition was deleted after the groups were read.
        (
            {"missing_kinds": ("scaledobjects.keda.sh",), "groups": frozenset({"keda.sh"})},
            "KEDA is not installed in this cluster",
        ),
        # The API server also forbids what does not exist.
        ({"forbidden": ("scaledobjects.keda.sh",)}, "KEDA is not installed in this cluster"),
        (
            {
                "forbidden": ("scaledobjects.keda.sh",),
                "groups": frozenset({"keda.sh"}),
            },
            "Listing scaledobjects.keda.sh is not allowed.",
        ),
        (
            {"forbidden": ("horizontalpodautoscalers.autoscaling",), "groups": None},
            "Listing horizontalpodautoscalers.autoscaling is not allowed.",
        ),
    ],
)
def test_what_stands_in_the_way_of_auto_scaling_is_said(options: Json, text: str):
    value = rows(read(service(), **options), "scaling")["auto_scaling"]
    assert value.startswith(f"not available: {text}")


def test_nothing_is_said_of_keda_before_it_is_known():
    service = FakeDetailService()
    service.is_loading = True
    watch = SettingsWatch(service, NamespacedName(NAMESPACE, NAME), lambda: None)
    found = watch.read(live(deployment()), None)
    assert rows(found, "scaling") == {"auto_scaling": "off"}
    assert rows(found, "traffic")["temperature_policy"] == "off"


def test_an_autoscaler_of_somebody_else_is_named_with_who_made_it():
    made = hpa(managedFields=[{"manager": "kubectl-client-side-apply"}])
    found = rows(read(service(), made), "scaling")
    assert found["auto_scaling"] == (
        "HorizontalPodAutoscaler by-cpu  made by kubectl-client-side-apply"
    )
    assert "can be changed here" in found["kept_metrics"]
    assert (found["min_replicas"], found["max_replicas"]) == ("1", "4")

    flux = hpa(labels={"kustomize.toolkit.fluxcd.io/name": "apps"})
    found = rows(read(service(), flux), "scaling")
    assert found["auto_scaling"].endswith("made by Flux Kustomization apps")
    assert "reverts the change" in found["scaler_owner"]


def test_who_changed_an_autoscaler_here_has_not_made_it():
    fields = {"f:spec": {"f:maxReplicas": {}, "f:scaleTargetRef": {}}}
    made = hpa(
        managedFields=[
            # The API server puts the entries of apply first.
            {"manager": "servedeck", "fieldsV1": {"f:spec": {"f:maxReplicas": {}}}},
            {"manager": "patcher", "fieldsV1": {"f:spec": {"f:minReplicas": {}}}},
            {"manager": "kubectl-create", "fieldsV1": fields},
        ]
    )
    found = rows(read(service(), made), "scaling")
    assert found["auto_scaling"].endswith("made by kubectl-create")


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        ({"exec": {"command": ["cat", "/tmp/is ready"]}}, "command cat '/tmp/is ready'"),
        ({"exec": {"command": ["ask", "--api-key=hunter2"]}}, f"command ask '--api-key={MASK}'"),
        ({"tcpSocket": {"port": "http"}}, "TCP port http"),
        ({"grpc": {"port": 8001}}, "gRPC port 8001"),
        ({"httpGet": {"path": "/ready", "port": 8000}}, "/ready"),
    ],
)
def test_a_probe_that_is_no_http_request_is_not_shown_as_the_path_of_the_template(
    probe: Json, text: str
):
    made = deployment()
    container = made["spec"]["template"]["spec"]["containers"][0]
    container |= {"readinessProbe": probe, "livenessProbe": probe, "startupProbe": probe}
    settings = read(service(), workload=made)
    found = rows(settings, "server")
    assert (found["readiness_path"], found["liveness_path"]) == (text, text)
    # a path that another probe asks too is not the start-up probe's own
    assert found.get("startup_path") == (None if "httpGet" in probe else text)
    shown = {endpoint_text(settings.imported, one) for one in PROBES_BY_FIELD}
    assert shown - {""} == {text}


def test_a_scaled_object_with_other_triggers_is_somebody_elses():
    found = rows(read(service(), scaled_object(trigger="queue-lag")), "scaling")
    assert found["auto_scaling"] == f"ScaledObject {NAME}"
    assert "target_response_time" not in found


def test_two_autoscalers_are_a_conflict():
    found = rows(read(service(), scaled_object(), hpa()), "scaling")
    assert "both scale this Deployment" in found["scalers"]
    owner = [{"kind": "ScaledObject", "name": NAME, "uid": "u", "controller": True}]
    found = rows(read(service(), scaled_object(), hpa(ownerReferences=owner)), "scaling")
    assert "scalers" not in found  # KEDA's own


def test_the_controller_is_alive_as_long_as_its_lease():
    settings = read(service(), lease(NOW - timedelta(seconds=14)))
    assert rows(settings, "traffic")["temperature_policy"] == "off"
    later = NOW + timedelta(seconds=2)
    text = rows(settings, "traffic", later)["temperature_policy"]
    assert text.startswith("not available: The controller of the temperature policy does not run")
    assert "does not run" in rows(read(service()), "traffic")["temperature_policy"]
    unknown = read(service(), forbidden=("leases.coordination.k8s.io",))
    assert rows(unknown, "traffic")["temperature_policy"] == "off"


def test_a_policy_that_cannot_be_read_is_said():
    changed = deployment()
    changed["metadata"]["annotations"]["servedeck.dev/temperature-policy"] = "threshold=hot"
    found = rows(read(service(), lease(NOW), workload=changed), "traffic")
    assert "threshold must be a whole number" in found["temperature_annotation"]


def test_the_async_queue_has_a_card_with_its_settings():
    made = AsyncQueueSettings(pod_concurrency=6, keep_failed=3600.0, max_body_bytes=3 << 20)
    platform = AsyncPlatform(image="servedeck:1", store="valkey://valkey:6379")
    objects = build_async_gateway(NAMESPACE, NAME, platform, made)
    for at, one in enumerate(objects):
        one["metadata"]["uid"] = f"uid-gateway-{at}"
    kept = [one for one in objects if one["kind"] in ("ConfigMap", "Deployment")]
    settings = read(service(), *kept)
    found = rows(settings, "queue")
    assert len(found) == 9
    assert found["pod_concurrency"] == "6  tasks that one Pod processes at once"
    assert found["keep_failed"].startswith("1h  ")
    assert found["max_body_bytes"].startswith("3Mi  ")
    summary = f"on: {summarize_limits(made)}  Deployment {NAME}-async"
    assert rows(settings, "traffic")["async_queue"] == summary
    hinted = rows(settings, "traffic", hints=KeyHints("o", "K", "L"))["async_queue"]
    assert hinted == f"{summary}, L changes the limits"
    hidden = [one for one in kept if one["kind"] == "Deployment"]
    assert rows(read(service(), *hidden), "traffic")["async_queue"].startswith("on  Deployment")
    assert rows(settings, "traffic")["gateway"].endswith("has no available Pod yet.")

    kept[0]["data"]["gateway.yaml"] = f"max_depth: {'9' * 5000}\nlifetime: 90"
    found = rows(read(service(), *kept), "queue")
    assert found["max_depth"].startswith("Max Queue Depth in its ConfigMap cannot be read: ")
    assert found["lifetime"].startswith("90s  ")
    summary = rows(read(service(), *kept), "traffic")["async_queue"]
    assert summary.startswith("on: settings that cannot be read")
    kept[0]["data"]["gateway.yaml"] = "[" * 3000
    assert rows(read(service(), *kept), "queue") == {
        "queue_settings": "The settings in its ConfigMap cannot be read: it is nested too deeply."
    }

    kept[1]["metadata"]["labels"][ASYNC_LABEL] = "another"
    assert rows(read(service(), *kept), "traffic")["async_queue"] == "off"


def test_the_traffic_split_is_shown():
    divided = route(
        {"name": NAME, "port": 80, "weight": 90}, {"name": "canary", "port": 80, "weight": 10}
    )
    found = rows(read(service(), divided), "traffic", hints=KeyHints("", "K"))
    assert found["traffic_split"] == f"{NAME} 90 %, canary 10 %  K changes it"
    found = rows(read(service()), "traffic")
    assert found["traffic_split"].startswith("not available: No HTTPRoute or VirtualService")


def test_kinds_that_may_not_be_listed_are_said():
    settings = read(service(), forbidden=("httproutes.gateway.networking.k8s.io",), groups=None)
    found = rows(settings, "traffic")
    assert found["unlisted.HTTPRoute"] == (
        "Listing httproutes.gateway.networking.k8s.io is not allowed."
    )
    settings = read(service(), forbidden=("httproutes.gateway.networking.k8s.io",))
    assert "unlisted.HTTPRoute" not in rows(settings, "traffic")  # there is no such kind


def test_names_from_the_cluster_are_one_harmless_line():
    made = hpa(managedFields=[{"manager": "evil\x1b[31m\nname"}])
    for card in settings_cards(read(service(), made), NOW):
        for row in card.rows:
            assert "\x1b" not in row.value + row.note
            assert "\n" not in row.note


def test_the_requests_of_the_transformer():
    workload = deployment()
    transformer: Json = {
        "name": "transformer",
        "image": "acme/pre:1",
        "ports": [{"containerPort": 9090}],
        "resources": {"requests": {"memory": "512Mi"}},
    }
    workload["spec"]["template"]["spec"]["containers"].append(transformer)
    found = rows(read(service(), workload=workload), "transformer")
    assert list(found) == ["image", "port", "cpu", "memory", "command"]
    assert (found["cpu"], found["memory"]) == ("no request", "512Mi")


@pytest.mark.parametrize(
    ("card", "row", "path"),
    [
        ("scaling", "min_replicas", "min_replicas"),
        ("traffic", "async_queue", ""),
        ("transformer", "image", "transformer.image"),
        ("transformer", "memory", "transformer.memory"),
        ("transformer", "env.WORKERS", "transformer.env"),
        ("queue", "max_depth", ""),
    ],
)
def test_the_field_of_a_row(card: str, row: str, path: str):
    assert edited_path(card, row) == path


def test_what_has_not_changed_is_read_once():
    service_ = FakeDetailService(service(), scaled_object())
    watch = SettingsWatch(service_, NamespacedName(NAMESPACE, NAME), lambda: None)
    workload = live(deployment())
    first = watch.read(workload, None)
    assert watch.read(workload, None) is first
    changed = scaled_object()
    changed["spec"]["minReplicaCount"] = 3
    service_.put(changed)
    assert watch.read(workload, None).imported.spec.min_replicas == 3


async def test_close_ends_every_watch():
    service_ = FakeDetailService(service(), scaled_object())
    watch = SettingsWatch(service_, NamespacedName(NAMESPACE, NAME), lambda: None)
    assert len(service_.open_watches) >= 11
    await watch.close()
    assert service_.open_watches == []


def inference_pool(group: str, **selector: str) -> Json:
    version = "v1" if group == POOL_GROUP else "v1alpha2"
    labels = selector or {"servedeck.dev/serving": NAME}
    spec = {"targetPorts": [{"number": 8000}], "endpointPickerRef": {"name": "epp"}}
    alpha = {"targetPortNumber": 8000, "extensionRef": {"name": "epp"}, "selector": labels}
    return {
        "apiVersion": f"{group}/{version}",
        "kind": "InferencePool",
        "metadata": metadata("InferencePool", "pool"),
        "spec": alpha if version != "v1" else {**spec, "selector": {"matchLabels": labels}},
    }


@pytest.mark.parametrize("group", [POOL_GROUP, ALPHA_POOL_GROUP])
def test_the_pool_that_the_route_sends_to_is_shown(group: str):
    backend = {"group": group, "kind": "InferencePool", "name": "pool"}
    found = read(service(), route(backend), inference_pool(group), lease(NOW))
    shown = rows(found, "traffic")
    assert shown["load_balancing"].startswith("prefix-aware  the Pod whose cache has the prompt")
    assert shown["pool"] == "InferencePool pool  endpoint picker epp"
    assert shown["traffic_split"] == (
        f"not available: HTTPRoute {NAME} sends to InferencePool pool, whose endpoint picker "
        "chooses the Pods; choose another load balancing to split the traffic."
    )
    # A route of any name is found by that of the pool.
    front = route(backend)
    front["metadata"]["name"] = "front"
    assert "pool" in rows(read(service(), front, inference_pool(group)), "traffic")
    other = inference_pool(group, app="other")
    shown = rows(read(service(), route(backend), other, lease(NOW)), "traffic")
    assert "pool" not in shown
    assert shown["load_balancing"] == "off"


def test_a_pool_of_some_rules_is_shown_and_the_others_can_be_changed():
    backend = {"group": POOL_GROUP, "kind": "InferencePool", "name": "pool"}
    sent = route(backend)
    sent["spec"]["rules"].append({"backendRefs": [{"name": NAME, "port": 80}]})
    shown = rows(read(service(), sent, inference_pool(POOL_GROUP), lease(NOW)), "traffic")
    assert shown["load_balancing"] == "off"
    assert shown["pool"] == "1 of 2 rules send to InferencePool pool  endpoint picker epp"


def test_what_a_gateway_says_against_a_route_to_a_pool_is_shown():
    backend = {"group": POOL_GROUP, "kind": "InferencePool", "name": "pool"}
    sent = route(backend)
    condition = {"type": "ResolvedRefs", "status": "False", "message": "Unsupported kind."}
    parent = {"parentRef": {"name": "main"}, "conditions": [condition]}
    sent["status"] = {"parents": [parent]}
    found = rows(read(service(), sent, inference_pool(POOL_GROUP)), "traffic")
    assert found["route0"] == (
        f"Gateway main cannot resolve all of HTTPRoute {NAME}: Unsupported kind."
    )


def test_load_balancing_is_available_where_only_a_pool_is():
    plain = route({"name": NAME, "port": 80})
    kinds = (
        "destinationrules.networking.istio.io",
        "virtualservices.networking.istio.io",
        "backendtrafficpolicies.gateway.envoyproxy.io",
    )
    found = read(service(), plain, inference_pool(POOL_GROUP), missing_kinds=kinds)
    assert rows(found, "traffic")["load_balancing"] == "off"
    found = read(service(), plain, missing_kinds=kinds)
    assert rows(found, "traffic")["load_balancing"].startswith("not available: Neither Istio")


def test_pools_that_may_not_be_listed_are_said():
    name = "inferencepools.inference.networking.k8s.io"
    found = read(service(), forbidden=(name,), groups=frozenset({POOL_GROUP}))
    assert found.live.related.unlisted_kinds == {"InferencePool"}
    assert rows(found, "traffic")["unlisted.InferencePool"] == f"Listing {name} is not allowed."
    assert found.live.engines.hidden_pool_groups == {POOL_GROUP}
    # The API server also forbids what does not exist.
    assert not read(service(), forbidden=(name,)).unlisted
    older = "inferencepools.inference.networking.x-k8s.io"
    found = read(service(), forbidden=(older,), groups=frozenset({ALPHA_POOL_GROUP}))
    assert found.live.engines.hidden_pool_groups == {ALPHA_POOL_GROUP}
