"""The demo's KEDA and its autoscaler, on queries whose values a test chooses."""

from __future__ import annotations

import pytest

from servedeck.demo.api.status import StatusError
from servedeck.demo.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, SCALED_OBJECTS
from tests.demo.autoscaling_fixture import BUSY, CALM, HPA, NAME, SELECTOR, AutoscalingFixture


def test_a_scaled_object_gets_an_autoscaler_that_adds_replicas() -> None:
    cluster = AutoscalingFixture()
    scaled = cluster.scale_with(BUSY)
    cluster.until(lambda: cluster.wanted == 3)
    autoscaler = cluster.autoscaler()
    (owner,) = autoscaler["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("ScaledObject", scaled["metadata"]["uid"])
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (1, 4)
    (metric,) = autoscaler["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == "s0-prometheus"
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "3"}
    assert autoscaler["status"]["currentMetrics"][0]["external"]["current"] == {"averageValue": "9"}
    assert cluster.autoscaler_condition("AbleToScale") == (
        "True",
        "SucceededRescale",
        "the HPA controller was able to update the target scale to 3",
    )
    assert cluster.autoscaler_condition("ScalingActive")[:2] == ("True", "ValidMetricFound")
    assert cluster.told("SuccessfulRescale") == {
        f"New size: 3; reason: external metric s0-prometheus({SELECTOR}) above target"
    }
    cluster.until(lambda: cluster.autoscaler()["status"]["desiredReplicas"] == 3)
    assert cluster.autoscaler()["status"]["lastScaleTime"] <= cluster.clock.timestamp()
    assert cluster.scaled_condition("Ready")[:2] == ("True", "ScaledObjectReady")
    assert cluster.scaled_condition("Active")[:2] == ("True", "ScalerActive")


def test_the_replicas_belong_to_the_scale_subresource_of_the_controller_manager() -> None:
    cluster = AutoscalingFixture()
    generation = cluster.deployment(NAME)["metadata"]["generation"]
    cluster.scale_with(BUSY)
    cluster.until(lambda: cluster.wanted == 3)
    meta = cluster.deployment(NAME)["metadata"]
    (entry,) = [one for one in meta["managedFields"] if one.get("subresource") == "scale"]
    assert (entry["manager"], entry["operation"]) == ("kube-controller-manager", "Update")
    assert entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert meta["generation"] == generation + 1


def test_a_value_is_not_divided_by_the_replicas() -> None:
    cluster = AutoscalingFixture(replicas=2)
    cluster.scale_with("vector(3.2)", metric_type="Value")
    cluster.advance(60)
    assert cluster.wanted == 2, "within the tolerance of a tenth"
    cluster.set_query("vector(4)")
    cluster.until(lambda: cluster.wanted == 3)
    current = cluster.autoscaler()["status"]["currentMetrics"][0]["external"]["current"]
    assert current == {"value": "4"}


def test_replicas_are_removed_after_the_stabilization_window_and_by_the_policy() -> None:
    cluster = AutoscalingFixture(replicas=3)
    rules = {
        "stabilizationWindowSeconds": 120,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
    }
    config = {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": rules}}}
    cluster.scale_with(BUSY, advanced=config)
    cluster.advance(60)
    begin = cluster.clock.time()
    cluster.set_query(CALM)
    cluster.until(lambda: cluster.autoscaler_condition("AbleToScale")[1] == "ScaleDownStabilized")
    cluster.until(lambda: cluster.wanted == 2)
    assert cluster.clock.time() - begin >= 105
    assert cluster.autoscaler_condition("ScalingLimited")[:2] == ("True", "ScaleDownLimit")
    first = cluster.clock.time()
    cluster.until(lambda: cluster.wanted == 1)
    assert cluster.clock.time() - first >= 60
    assert cluster.told("SuccessfulRescale") == {
        "New size: 2; reason: All metrics below target",
        "New size: 1; reason: All metrics below target",
    }


def test_the_bounds_hold() -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with("vector(300)")
    cluster.until(lambda: cluster.wanted == 4)
    cluster.until(lambda: cluster.autoscaler_condition("ScalingLimited")[1] == "TooManyReplicas")

    def write(obj: dict[str, object]) -> None:
        spec = obj["spec"]
        assert isinstance(spec, dict)
        spec |= {"minReplicaCount": 1, "maxReplicaCount": 2}

    cluster.store.mutate(SCALED_OBJECTS, "lab", NAME, write)
    cluster.until(lambda: cluster.wanted == 2)
    assert "New size: 2; reason: Current number of replicas above Spec.MaxReplicas" in cluster.told(
        "SuccessfulRescale"
    )


def test_zero_replicas_after_the_cooldown_and_one_when_a_trigger_is_active() -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with(BUSY, minReplicaCount=0, maxReplicaCount=1, cooldownPeriod=90)
    cluster.until(lambda: cluster.scaled_condition("Active")[1] == "ScalerActive")
    cluster.set_query("vector(0)")
    cluster.until(lambda: cluster.scaled_condition("Active")[1] == "ScalerCooldown")
    begin = cluster.clock.time()
    cluster.until(lambda: cluster.wanted == 0)
    assert cluster.clock.time() - begin >= 60
    assert cluster.told("KEDAScaleTargetDeactivated") == {
        "Deactivated apps/v1.Deployment lab/llm from 1 to 0"
    }
    cluster.until(lambda: cluster.autoscaler_condition("ScalingActive")[1] == "ScalingDisabled")
    cluster.set_query(BUSY)
    cluster.until(lambda: cluster.wanted == 1)
    assert cluster.told("KEDAScaleTargetActivated") == {
        "Scaled apps/v1.Deployment lab/llm from 0 to 1, triggered by s0-prometheus"
    }


def test_an_idle_histogram_counts_as_zero_if_nulls_are_ignored() -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with("histogram_quantile(0.95, sum by (le)(rate(no_bucket[2m])))")
    cluster.until(lambda: cluster.scaled_condition("Active")[1] == "ScalerNotActive")
    cluster.until(lambda: cluster.autoscaler_condition("ScalingActive")[0] == "True")
    current = cluster.autoscaler()["status"]["currentMetrics"][0]["external"]["current"]
    assert current == {"averageValue": "0"}
    cluster.set_query("vector(0) / vector(0)")
    cluster.advance(60)
    assert cluster.scaled_condition("Ready")[0] == "True"
    assert cluster.autoscaler_condition("ScalingActive")[1] == "ValidMetricFound"


def test_a_trigger_that_cannot_be_measured_is_told() -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with(CALM, metadata={"serverAddress": "http://nowhere.monitoring:9090"})
    cluster.until(lambda: cluster.scaled_condition("Ready")[1] == "TriggerError")
    assert cluster.told("KEDAScalerFailed") == {
        'Get "http://nowhere.monitoring:9090": dial tcp: lookup nowhere.monitoring: no such host'
    }
    cluster.until(
        lambda: cluster.autoscaler_condition("ScalingActive")[1] == "FailedGetExternalMetric"
    )
    reason = (
        f"unable to get external metric lab/s0-prometheus/{SELECTOR}: unable to fetch metrics from "
        "external metrics API: rpc error: code = Unknown desc = error when getting metric values "
        "no matching metrics found for s0-prometheus"
    )
    assert cluster.told("FailedGetExternalMetric") == {reason}
    assert cluster.told("FailedComputeMetricsReplicas") == {
        "invalid metrics (1 invalid out of 1), first error is: failed to get s0-prometheus "
        f"external metric: {reason}"
    }


def test_a_fallback_sets_its_replicas_after_some_failures() -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with(
        CALM,
        metadata={"serverAddress": "http://nowhere.monitoring:9090"},
        fallback={"failureThreshold": 2, "replicas": 3},
    )
    cluster.until(lambda: cluster.wanted == 3)
    assert cluster.scaled_condition("Fallback")[:2] == ("True", "FallbackExists")
    scaled = cluster.store.get(SCALED_OBJECTS, "lab", NAME)
    assert scaled["status"]["health"]["s0-prometheus"]["status"] == "Failing"


@pytest.mark.parametrize("metric_type", ["AverageValue", "Value"])
def test_a_paused_scaled_object_has_no_autoscaler(metric_type: str) -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with(CALM, metric_type=metric_type)
    cluster.until(lambda: cluster.scaled_condition("Active")[0] == "True")
    cluster.annotate(paused_replicas="2")
    cluster.until(lambda: cluster.wanted == 2)
    cluster.until(lambda: cluster.scaled_condition("Paused")[1] == "ScaledObjectPaused")
    assert cluster.store.find(HORIZONTAL_POD_AUTOSCALERS, "lab", HPA) is None
    cluster.set_query(BUSY)
    cluster.advance(120)
    assert cluster.wanted == 2
    cluster.annotate()
    cluster.until(lambda: cluster.wanted > 2)
    assert cluster.scaled_condition("Paused")[:2] == ("False", "ScaledObjectUnpaused")


def test_scaling_in_can_be_paused_alone() -> None:
    cluster = AutoscalingFixture(replicas=2)
    cluster.scale_with(CALM)
    cluster.annotate(paused_scale_in="true")
    cluster.advance(900)
    assert cluster.wanted == 2
    cluster.annotate()
    cluster.until(lambda: cluster.wanted == 1)


def test_without_its_scaled_object_the_serving_gets_its_replicas_back() -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with(BUSY, advanced={"restoreToOriginalReplicaCount": True})
    cluster.until(lambda: cluster.wanted == 3)
    cluster.store.delete(SCALED_OBJECTS, "lab", NAME)
    cluster.until(
        lambda: (
            cluster.store.find(HORIZONTAL_POD_AUTOSCALERS, "lab", HPA) is None
            and cluster.wanted == 1
        )
    )
    cluster.advance(120)
    assert cluster.wanted == 1


def test_a_missing_target_is_told_and_found_when_it_comes() -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with(BUSY, scaleTargetRef={"name": "later"})
    cluster.until(lambda: cluster.scaled_condition("Ready")[1] == "ScaledObjectCheckFailed")
    assert cluster.told("ScaledObjectCheckFailed") == {
        "ScaledObject doesn't have correct scaleTargetRef specification"
    }
    cluster.deploy("later")
    cluster.until(lambda: cluster.deployment("later")["spec"]["replicas"] == 3)


def test_a_trigger_of_another_type_is_told() -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with(triggers=[{"type": "kafka", "metadata": {}}])
    cluster.until(lambda: cluster.told("KEDAScalerFailed") == {"no scaler found for type: kafka"})
    assert cluster.scaled_condition("Ready")[1] == "ScaledObjectCheckFailed"


def test_two_autoscalers_for_one_deployment_are_refused() -> None:
    cluster = AutoscalingFixture()
    cluster.scale_with()
    spec = {"scaleTargetRef": {"name": NAME}, "triggers": []}
    other = {"metadata": {"namespace": "lab", "name": "other"}, "spec": spec}
    with pytest.raises(StatusError) as refused:
        cluster.create(SCALED_OBJECTS, other)
    assert str(refused.value) == (
        "admission webhook \"vscaledobject.kb.io\" denied the request: the workload 'llm' of type "
        "'apps/v1.Deployment' is already managed by the ScaledObject 'llm'"
    )
    assert refused.value.code == 403
    cluster.store.delete(SCALED_OBJECTS, "lab", NAME)
    cluster.advance(5)
    plain = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}}
    cluster.create(
        HORIZONTAL_POD_AUTOSCALERS,
        {"metadata": {"namespace": "lab", "name": "own"}, "spec": {**plain, "maxReplicas": 2}},
    )
    with pytest.raises(StatusError, match="is already managed by the hpa 'own'"):
        cluster.create(SCALED_OBJECTS, other)


def test_an_autoscaler_of_the_cpu_acts_on_what_the_pods_use() -> None:
    cluster = AutoscalingFixture()
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}}
    cluster.create(
        HORIZONTAL_POD_AUTOSCALERS,
        {
            "metadata": {"namespace": "lab", "name": "own"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
                "maxReplicas": 3,
                "metrics": [{"type": "Resource", "resource": metric}],
            },
        },
    )
    cluster.until(lambda: cluster.wanted > 1)
    (current,) = cluster.autoscaler("own")["status"]["currentMetrics"]
    assert current["resource"]["current"]["averageUtilization"] > 5
    assert cluster.told("SuccessfulRescale") == {
        f"New size: {cluster.wanted}; reason: cpu resource utilization (percentage of request) "
        "above target"
    }
    cluster.edit(lambda obj: obj["spec"].update(replicas=0), NAME)
    cluster.until(lambda: not cluster.pods())
    cluster.until(
        lambda: cluster.autoscaler_condition("ScalingActive", "own")[1] == "ScalingDisabled"
    )


def test_an_autoscaler_without_its_target_is_told() -> None:
    cluster = AutoscalingFixture()
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone"}
    spec = {"scaleTargetRef": reference, "maxReplicas": 3}
    cluster.create(
        HORIZONTAL_POD_AUTOSCALERS,
        {"metadata": {"namespace": "lab", "name": "own"}, "spec": spec},
    )
    cluster.until(lambda: cluster.told("FailedGetScale") != set())
    assert cluster.told("FailedGetScale") == {'deployments.apps "gone" not found'}
    assert cluster.store.find(DEPLOYMENTS, "lab", "gone") is None
