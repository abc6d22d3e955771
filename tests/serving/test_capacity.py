from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from servedeck.serving import capacity
from servedeck.serving.capacity import InsufficientResource, NodeCapacity
from servedeck.serving.node_usage import NodeUsage
from servedeck.serving.objects import manifests
from servedeck.serving.objects.records import Node, Taint
from servedeck.serving.pod_requests import PodRequests, pod_requests
from tests.serving.spec.test_validation import vllm_spec

GPU = "nvidia.com/gpu"
UIDS = itertools.count()


def node(name: str, gpus: int = 0, *, cpu: str = "16", memory: str = "64Gi", **spec: Any) -> Node:
    ready = spec.pop("ready", "True")
    allocatable = {"cpu": cpu, "memory": memory, "pods": "110", GPU: str(gpus)}
    return msgspec.convert(
        {
            "metadata": {"name": name},
            "spec": spec,
            "status": {
                "allocatable": allocatable,
                "conditions": [{"type": "Ready", "status": ready}],
            },
        },
        Node,
    )


def requesting_pod(node_name: str, phase: str = "Running", **requests: str) -> PodRequests:
    gpus = {GPU: requests.pop("gpus")} if "gpus" in requests else {}
    return msgspec.convert(
        {
            "metadata": {"name": "p", "namespace": "n", "uid": f"{next(UIDS)}"},
            "spec": {
                "nodeName": node_name,
                "containers": [{"resources": {"requests": requests, "limits": gpus}}],
            },
            "status": {"phase": phase},
        },
        PodRequests,
    )


def node_capacities(nodes: list[Node], pods: list[PodRequests]) -> list[NodeCapacity]:
    return capacity.node_capacities(nodes, NodeUsage(pods).by_node)


def scheduling_summary(
    replicas: int, nodes: list[Node], pods: list[PodRequests], **changes: Any
) -> str:
    deployment = manifests.build_manifests(vllm_spec(cpu="1", **changes))[0]
    rooms = node_capacities(nodes, pods)
    pod_spec = deployment["spec"]["template"]["spec"]
    return capacity.simulate_scheduling(pod_spec, replicas, rooms).summary


@pytest.mark.parametrize(
    ("selection", "fits"),
    [
        ({}, 2),
        ({"nodeSelector": {"pool": "a"}}, 1),
        ({"nodeSelector": {"pool": "c"}}, 0),
    ],
)
def test_only_nodes_on_which_the_pod_may_run_have_room(
    selection: dict[str, Any], fits: int
) -> None:
    rooms = [
        capacity.NodeCapacity(name, {"pods": Fraction(9)}, {"pods": Fraction(1)}, "", (), labels)
        for name, labels in (("a", {"pool": "a"}), ("b", {"pool": "b"}))
    ]
    found = capacity.simulate_scheduling({"containers": [{}], **selection}, 2, rooms)
    assert found.schedulable_replicas == fits
    if fits < 2:
        assert found.reasons == (("excluded by node selector or affinity", 2 - fits),)


def test_what_is_free_is_what_is_allocatable_less_the_requests_of_bound_pods() -> None:
    pods = [
        requesting_pod("a", gpus="2", cpu="500m"),
        requesting_pod("a", gpus="1"),
        requesting_pod("a", "Succeeded", gpus="1"),
        requesting_pod("a", "Failed", gpus="1"),
        requesting_pod("", "Pending", gpus="1"),
        requesting_pod("b", gpus="9"),
    ]
    a, b = node_capacities([node("a", 4), node("b", 4)], pods)
    assert a.free[GPU] == 1
    assert a.free["cpu"] == Fraction("15.5")
    assert a.free["pods"] == 108
    assert b.free[GPU] == 0


def test_the_supply_of_each_accelerator() -> None:
    mig = node("c")
    mig.status.allocatable["nvidia.com/mig-1g.5gb"] = 7
    nodes = [node("a", 4), node("b", 8), mig, node("d", 2, unschedulable=True)]
    gpu, slices = capacity.accelerator_capacities(
        node_capacities(nodes, [requesting_pod("a", gpus="3")])
    )
    assert (gpu.name, gpu.resource, gpu.total, gpu.free) == ("NVIDIA GPU", GPU, 14, 9)
    assert gpu.nodes == (("b", 8, 8), ("a", 1, 4), ("d", 0, 2))
    assert gpu.summary == "NVIDIA GPU: 9 of 14 free (b 8, a 1)."
    assert (slices.name, slices.free) == ("NVIDIA MIG 1g.5gb", 7)


def test_the_sentence_says_which_replica_stays_pending() -> None:
    nodes = [node(f"gpu-{at}", 1) for at in range(2)] + [node(f"cpu-{at}") for at in range(4)]
    assert scheduling_summary(3, nodes, []) == (
        "2 of 6 nodes have room for 1 NVIDIA GPU, 1 CPU, 16Gi memory now (4 without NVIDIA GPU); "
        "2 of 3 replicas fit, the rest will stay Pending."
    )
    assert scheduling_summary(2, nodes, []).endswith("all 2 replicas fit.")
    assert scheduling_summary(1, nodes, []).endswith("the replica fits.")
    assert scheduling_summary(5, nodes, []).endswith(
        "2 of 5 replicas fit, the rest will stay Pending."
    )
    assert scheduling_summary(0, nodes, []).endswith("no replica is requested.")


def test_the_reasons_of_the_nodes_add_up() -> None:
    odd = [
        node("cordoned", 1, unschedulable=True),
        node("lost", 1, ready="False"),
        node("own", 1, taints=[{"key": "own", "effect": "NoSchedule"}]),
        node("small", 1, memory="8Gi"),
    ]
    sentence = scheduling_summary(1, [*odd, node("a", 1), node("b"), node("c")], [])
    assert sentence.startswith("1 of 7 nodes has room")
    assert "(2 without NVIDIA GPU, 1 cordoned, 1 not ready and 2 more)" in sentence


@pytest.mark.parametrize(
    ("where", "pods", "reason"),
    [
        (node("a", 1, unschedulable=True), [], "1 cordoned"),
        (node("a", 1, ready="False"), [], "1 not ready"),
        (node("a", 1, ready="Unknown"), [], "1 not ready"),
        (node("a", 1, taints=[{"key": "own", "effect": "NoSchedule"}]), [], "1 tainted own"),
        (node("a"), [], "1 without NVIDIA GPU"),
        (node("a", 1), [requesting_pod("a", gpus="1")], "1 without enough free NVIDIA GPU"),
        (node("a", 1, memory="8Gi"), [], "1 with too little allocatable memory"),
        (node("a", 1), [requesting_pod("a", memory="50Gi")], "1 without enough free memory"),
        (node("a", 1), [requesting_pod("a", cpu="15500m")], "1 without enough free CPU"),
        (
            node("a", 1),
            [requesting_pod("a") for _ in range(110)],
            "1 at their maximum number of Pods",
        ),
    ],
)
def test_why_a_node_cannot_host_a_replica(
    where: Node, pods: list[PodRequests], reason: str
) -> None:
    assert scheduling_summary(1, [where], pods) == (
        f"0 of 1 node has room for 1 NVIDIA GPU, 1 CPU, 16Gi memory now ({reason}); "
        "the replica will stay Pending."
    )


def test_the_share_of_the_transformer_is_said() -> None:
    spec = {"image": "registry/pre:1", "cpu": "100m", "memory": "256Mi"}
    sentence = scheduling_summary(1, [node("a", 1)], [], transformer=spec)
    assert (
        "room for 1 NVIDIA GPU, 1100m CPU, 16640Mi memory"
        " (of which the transformer 100m CPU, 256Mi memory) now"
    ) in sentence
    assert "transformer" not in scheduling_summary(1, [node("a", 1)], [])


def test_the_taint_of_the_accelerator_is_tolerated_and_a_soft_one_counts_for_nothing() -> None:
    taints = [{"key": GPU, "effect": "NoSchedule"}, {"key": "x", "effect": "PreferNoSchedule"}]
    assert "the replica fits" in scheduling_summary(1, [node("a", 1, taints=taints)], [])


@pytest.mark.parametrize(
    ("scarce", "sentence"),
    [
        ([(GPU, 2, 3)], "b has 1 of 8 NVIDIA GPU free."),
        ([("memory", 60 * 2**30, 3)], "b has 50Gi of 64Gi memory free."),
        (
            [("furiosa.ai/rngd", 1, 3), (GPU, 8, 3)],
            "No node has Furiosa RNGD; b has 1 of 8 NVIDIA GPU free.",
        ),
        ([(GPU, 2, 2)], ""),
        ([], ""),
    ],
)
def test_the_node_that_comes_nearest_to_what_is_asked_for(
    scarce: list[tuple[str, int, int]], sentence: str
) -> None:
    nodes = [node("a", 8), node("b", 8), node("closed", 8, unschedulable=True), node("cpu-1")]
    pods = [
        requesting_pod("a", gpus="8", memory="20Gi"),
        requesting_pod("b", gpus="7", memory="14Gi"),
    ]
    pods.append(requesting_pod("cpu-1", memory="40Gi"))
    asked = [InsufficientResource(key, Fraction(amount), count) for key, amount, count in scarce]
    assert capacity.describe_closest_nodes(node_capacities(nodes, pods), asked) == sentence


def test_all_accelerators_in_use() -> None:
    rooms = node_capacities([node("a", 8), node("b")], [requesting_pod("a", gpus="8")])
    assert (
        capacity.describe_closest_nodes(rooms, [InsufficientResource(GPU, Fraction(4), 2)])
        == "No node has NVIDIA GPU free."
    )


def test_no_nodes() -> None:
    assert scheduling_summary(1, [], []) == "The cluster has no nodes, so no replica can start."


def test_init_containers_sidecars_and_overhead_are_counted_as_the_scheduler_does() -> None:
    one = msgspec.convert(
        {
            "spec": {
                "containers": [{"resources": {"requests": {"cpu": "1"}}}],
                "initContainers": [
                    {"resources": {"requests": {"cpu": "2"}}},
                    {"resources": {"requests": {"cpu": "500m"}}, "restartPolicy": "Always"},
                    {"resources": {"requests": {"cpu": "3"}}},
                ],
                "overhead": {"cpu": "100m"},
            }
        },
        PodRequests,
    )
    assert pod_requests(one) == {"cpu": Fraction("3.6")}


@pytest.mark.parametrize(
    ("toleration", "yes"),
    [
        ({"key": "k", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "k", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k"}, False),
        ({"key": "j", "operator": "Exists"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], yes: bool) -> None:
    assert capacity.tolerates([toleration], Taint("k", "v", "NoSchedule")) is yes


def test_odd_quantities_of_others_count_for_nothing() -> None:
    (room,) = node_capacities([node("a", 1, cpu="lots")], [requesting_pod("a", cpu="x", gpus="y")])
    assert room.free[GPU] == 1
    assert "cpu" not in room.free
