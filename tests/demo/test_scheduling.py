"""The scheduler's decisions and messages, and quotas."""

from __future__ import annotations

from typing import Any

from servedeck.demo.resources import (
    NODES,
    PERSISTENTVOLUMECLAIMS,
    RESOURCEQUOTAS,
)
from tests.demo.cluster_fixture import ClusterFixture, started_cluster

Json = dict[str, Any]


def test_the_scheduler_counts_why_no_node_fits() -> None:
    cluster = ClusterFixture()
    cluster.node("full", gpus=1)
    cluster.node("cordoned", unschedulable=True)
    cluster.node("tainted", taints=[{"key": "maintenance", "effect": "NoSchedule"}])
    cluster.node("cpu", gpus=0)
    cluster.deploy("first")
    cluster.until(lambda: cluster.ready("first"))
    cluster.deploy("llm")
    cluster.until(lambda: bool(cluster.events("FailedScheduling")))
    message = (
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were "
        "unschedulable, 2 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: "
        "0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is "
        "not helpful for scheduling."
    )
    (event,) = cluster.events("FailedScheduling")
    assert event["message"] == message
    assert event["reportingComponent"] == "default-scheduler" and event["lastTimestamp"] is None
    pod = next(p for p in cluster.pods() if p["metadata"]["labels"]["app"] == "llm")
    scheduled = cluster.condition("PodScheduled", pod)
    assert scheduled is not None
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert scheduled["message"] == message
    cluster.store.mutate(NODES, "", "cordoned", lambda node: node.update(spec={}))
    cluster.until(cluster.ready)


def test_a_node_selector_and_a_toleration() -> None:
    cluster = ClusterFixture()
    cluster.node("gpu", taints=[{"key": "nvidia.com/gpu", "value": "x", "effect": "NoSchedule"}])

    def change(spec: Json) -> None:
        cluster.edit(lambda obj: obj["spec"]["template"]["spec"].update(spec))

    cluster.deploy(strategy={"type": "Recreate"})
    change({"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-B200"}})
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    change({"tolerations": tolerations})
    cluster.until(lambda: bool(cluster.events("FailedScheduling")))
    cluster.advance(60)
    assert "1 node(s) didn't match Pod's node affinity/selector" in str(cluster.pod()["status"])
    change({"nodeSelector": None})
    cluster.advance(0)
    cluster.until(cluster.ready)


def test_a_freed_accelerator_is_given_to_the_pending_pod() -> None:
    cluster = ClusterFixture()
    cluster.node(gpus=1)
    cluster.deploy("first")
    cluster.until(lambda: cluster.ready("first"))
    cluster.deploy("llm")
    cluster.advance(60)
    assert not cluster.ready()
    cluster.edit(lambda obj: obj["spec"].update(replicas=0), "first")
    cluster.until(cluster.ready, limit=200)


def test_a_missing_pvc() -> None:
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "nope"}}
    cluster = started_cluster(volumes=[claim])
    cluster.until(lambda: bool(cluster.events("FailedScheduling")))
    assert 'persistentvolumeclaim "nope" not found' in cluster.messages("FailedScheduling")[0]
    cluster.create(
        PERSISTENTVOLUMECLAIMS,
        {
            "metadata": {"namespace": "lab", "name": "nope"},
            "spec": {"accessModes": ["ReadWriteOnce"]},
            "status": {"phase": "Bound"},
        },
    )
    cluster.until(cluster.ready)


def test_a_quota_rejects_pods_and_the_deployment_reports_it() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.create(
        RESOURCEQUOTAS,
        {
            "metadata": {"namespace": "lab", "name": "accelerators"},
            "spec": {"hard": {"requests.nvidia.com/gpu": "2", "pods": "10"}},
        },
    )
    cluster.deploy(replicas=3)
    cluster.advance(120)
    assert len(cluster.pods()) == 2
    failure = cluster.condition("ReplicaFailure")
    assert failure is not None
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
    words = (
        "is forbidden: exceeded quota: accelerators, requested: requests.nvidia.com/gpu=1, "
        "used: requests.nvidia.com/gpu=2, limited: requests.nvidia.com/gpu=2"
    )
    assert failure["message"].startswith('pods "llm-') and failure["message"].endswith(words)
    created = cluster.events("FailedCreate", kind="ReplicaSet")
    assert created and created[0]["message"].startswith('Error creating: pods "llm-')
    quota = cluster.store.get(RESOURCEQUOTAS, "lab", "accelerators")
    assert quota["status"]["used"] == {"pods": "2", "requests.nvidia.com/gpu": "2"}
    hard = {"requests.nvidia.com/gpu": "4"}
    cluster.store.mutate(
        RESOURCEQUOTAS, "lab", "accelerators", lambda obj: obj["spec"].update(hard=hard)
    )
    cluster.until(cluster.ready, limit=1200)
    assert cluster.condition("ReplicaFailure") is None
