"""The cards and the objects of a serving that is no Deployment."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.cluster import resources
from servedeck.detail.cards import Card
from servedeck.detail.overview import setting_cards
from servedeck.detail.serving_object_refs import list_object_refs, object_queries
from servedeck.detail.workloads import as_deployment, workload_resource
from servedeck.fleet.views import NamespacedName
from tests.detail.objects import deployment, live
from tests.detail.workload_objects import (
    daemon_set,
    inference_service,
    leader_worker_set,
    plain_pod,
    ray_cluster,
    ray_service,
    rollout,
    stateful_set,
)
from tests.tui import fakes

ALL = (
    stateful_set(),
    leader_worker_set(),
    inference_service(),
    plain_pod(),
    daemon_set(),
    rollout(),
    ray_cluster(),
    ray_service(),
)


def key_of(workload: dict[str, Any]) -> NamespacedName:
    return NamespacedName("team-a", workload["metadata"]["name"], workload["kind"])


def cards(workload: dict[str, Any], **view: Any) -> dict[str, dict[str, str]]:
    """Values of the cards by key and label."""
    fields = {"managed": False, **view}
    made = fakes.serving("any", key=key_of(workload), **fields)
    return {card.key: values(card) for card in setting_cards(made, workload)}


def values(card: Card) -> dict[str, str]:
    return {row.label: ", ".join(filter(None, (row.value, row.note))) for row in card.rows}


@pytest.mark.parametrize("workload", ALL, ids=lambda one: one["kind"])
def test_the_first_card_has_the_kind_and_says_that_it_is_read_only(workload: dict[str, Any]):
    basic = cards(workload)["basic"]
    assert next(iter(basic.items())) == ("Kind", f"{workload['kind']}, shown read-only")
    assert basic["Service Name"] == workload["metadata"]["name"]
    # The same before it has been read.
    view = fakes.serving("any", key=key_of(workload), managed=False)
    [card, *_] = setting_cards(view, None)
    assert values(card)["Kind"] == f"{workload['kind']}, shown read-only"


def test_the_cards_of_a_stateful_set_are_those_of_its_template():
    found = cards(stateful_set())
    assert found["container"]["Image"] == "vllm/vllm-openai:v0.11.0"
    assert found["resources"]["Accelerator Count"] == "2"
    assert found["resources"]["Replicas"] == "2"
    assert found["command"]["Command"] == "vllm serve org/m"
    assert found["volumes"] == {"cache": "PVC cache-llama-<ordinal>, /cache"}
    assert "transformer" not in found


def test_a_leader_worker_set_has_the_leader_and_its_workers():
    found = cards(leader_worker_set())
    assert found["container"]["Container"] == "leader"
    assert found["resources"]["Replicas"] == "2"
    assert found["workload"] == {
        "Group Size": "4 Pods",
        "Worker": "worker, vllm/vllm-openai:v0.11.0",
        "Worker Command": "ray start",
    }


def test_an_inference_service_has_its_model_and_its_conditions():
    found = cards(inference_service())
    assert found["workload"] == {
        "Model Format": "sklearn",
        "Storage URI": "gs://models/iris",
        "Serving Runtime": "sklearnserver",
        "Deployment Mode": "Serverless",
        "PredictorReady": "False, no runtime",
    }
    assert found["resources"]["Memory"] == "2Gi"
    assert found["resources"]["Replicas"] == "0"


def test_a_plain_pod_has_its_own_spec():
    found = cards(plain_pod())
    assert found["container"]["Container"] == "vllm"
    assert found["resources"]["Replicas"] == "1"


def test_a_daemon_set_and_a_rollout_have_the_cards_of_their_template():
    for workload in (daemon_set(), rollout()):
        found = cards(workload)
        assert found["container"]["Image"] == "vllm/vllm-openai:v0.11.0"
        assert found["command"]["Command"] == "vllm serve org/m"
    assert found["workload"] == {
        "Strategy": "Canary",
        "Phase": "Paused",
        "Step": "1",
        "Paused": "True, Rollout is paused",
    }


def test_a_ray_service_has_its_applications_and_its_workers():
    found = cards(ray_service())
    assert found["container"]["Container"] == "ray-head"
    assert found["workload"] == {
        "RayCluster": "llms-7x2kq",
        "Application llms": "UNHEALTHY, replica died",
        "Workers gpu": "4 Pods",
        "Worker": "ray-worker, vllm/vllm-openai:v0.11.0",
        "Worker Command": "ray start",
    }
    assert cards(ray_cluster())["workload"]["Workers gpu"] == "4 Pods"


READONLY_KINDS = [one.kind for one in resources.READONLY_WORKLOADS]


@pytest.mark.parametrize("kind", READONLY_KINDS)
def test_an_object_of_any_shape_has_cards(kind: str):
    odd = {"template": "x", "leaderWorkerTemplate": 3, "predictor": [1], "strategy": 1}
    ray = {"headGroupSpec": 1, "workerGroupSpecs": [2, {"replicas": "x", "template": []}]}
    for spec in (None, [], odd, ray, {"rayClusterConfig": ray}):
        status = {"conditions": 1, "activeServiceStatus": {"applicationStatuses": {"a": 1}}}
        workload = {"kind": kind, "metadata": {"name": "a"}, "spec": spec, "status": status}
        assert "basic" in cards(workload)


def test_a_foreign_deployment_says_who_owns_it_and_what_is_not_known():
    foreign = deployment()
    foreign["metadata"]["annotations"] = {"meta.helm.sh/release-name": "chat"}
    found = cards(
        foreign, owner="InferenceService llama", template="custom", model="", managed=False
    )["basic"]
    assert found["Owner"] == "InferenceService llama, its controller reverts changes"
    assert found["Created by"] == "Helm release chat"
    assert found["Not recognized"] == "which inference server it runs and its model"
    assert "Kind" not in found
    known = cards(foreign, template="vllm", model="org/m", managed=False)["basic"]
    assert "Not recognized" not in known
    assert "Owner" not in known
    foreign["metadata"] = {"name": "x", "labels": {"app.kubernetes.io/managed-by": "argo"}}
    assert cards(foreign, managed=False)["basic"]["Created by"] == "argo, not servedeck"


# -- its objects ------------------------------------------------------------------------------


def titles(workload: dict[str, Any], *objects: dict[str, Any], pods: tuple[str, ...] = ()) -> Any:
    key = key_of(workload)
    found: dict[Any, Any] = {}
    for one in objects:
        found.setdefault(resources.RESOURCES_BY_KIND[one["kind"]], []).append(live(one))
    view = fakes.serving("any", key=key, pods=tuple(map(fakes.pod, pods)))
    return [ref.title for ref in list_object_refs(key, view, as_deployment(workload), found)]


def autoscaler(kind: str, name: str) -> dict[str, Any]:
    spec = {"scaleTargetRef": {"kind": kind, "name": name}}
    metadata = {"name": f"{kind}-{name}".lower(), "namespace": "team-a"}
    return {"kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def test_the_objects_of_a_stateful_set():
    assert titles(
        stateful_set(),
        autoscaler("StatefulSet", "llama"),
        autoscaler("Deployment", "llama"),
        {
            "kind": "Service",
            "metadata": {"name": "front", "namespace": "team-a"},
            "spec": {"selector": {"app": "llama"}},
        },
        pods=("llama-0", "llama-1"),
    ) == [
        "StatefulSet/llama",
        "Service/front",
        "HorizontalPodAutoscaler/statefulset-llama",
        "Pod/llama-0",
        "Pod/llama-1",
        "PersistentVolumeClaim/cache-llama-0",
        "PersistentVolumeClaim/cache-llama-1",
    ]


def test_the_stateful_sets_of_a_leader_worker_set_are_sought_by_its_label():
    key = key_of(leader_worker_set())
    queries = object_queries(key, as_deployment(leader_worker_set()))
    [query] = [one for one in queries if one.resource == resources.STATEFUL_SET]
    assert query.label_selector == "leaderworkerset.sigs.k8s.io/name=big"
    assert titles(leader_worker_set(), stateful_set("big-0"), pods=("big-0",)) == [
        "LeaderWorkerSet/big",
        "StatefulSet/big-0",
        "Pod/big-0",
    ]


def test_the_service_of_ray_serve_is_found_by_the_labels_that_kuberay_gives():
    selector = {"ray.io/cluster": "llms-7x2kq", "ray.io/serve": "true"}
    service = {
        "kind": "Service",
        "metadata": {"name": "llms-serve-svc", "namespace": "team-a"},
        "spec": {"selector": selector},
    }
    assert titles(ray_service(), service) == ["RayService/llms", "Service/llms-serve-svc"]


def test_a_plain_pod_is_listed_once():
    assert titles(plain_pod(), pods=("solo",)) == ["Pod/solo"]


@pytest.mark.parametrize("workload", ALL, ids=lambda one: one["kind"])
def test_its_own_object_is_watched(workload: dict[str, Any]):
    assert workload_resource(key_of(workload)).kind == workload["kind"]
    assert workload_resource(key_of(workload)).api_version == workload["apiVersion"]
