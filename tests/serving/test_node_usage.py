"""The sums of what Pods request by node, kept up to date Pod by Pod."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.node_usage import NodeUsage
from servedeck.serving.pod_requests import PodRequests


def pod(uid: str, node: str, cpu: str = "1", phase: str = "Running") -> PodRequests:
    return msgspec.convert(
        {
            "metadata": {"uid": uid},
            "spec": {
                "nodeName": node,
                "containers": [{"resources": {"requests": {"cpu": cpu}}}],
            },
            "status": {"phase": phase},
        },
        PodRequests,
    )


PODS = st.builds(
    pod,
    st.sampled_from("abcd"),
    st.sampled_from(["", "gpu-1", "gpu-2"]),
    st.sampled_from(["1", "500m", "odd"]),
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
)


def amounts(usage: NodeUsage) -> dict[tuple[str, str], float]:
    """What is not 0."""
    return {
        (node, name): float(amount)
        for node, used in usage.by_node.items()
        for name, amount in used.items()
        if amount
    }


@given(st.lists(st.tuples(st.booleans(), PODS)))
def test_after_any_changes_the_sums_are_those_of_the_pods_that_are_left(
    changes: list[tuple[bool, PodRequests]],
) -> None:
    usage = NodeUsage()
    left: dict[str, PodRequests] = {}
    for is_deleted, one in changes:
        before = amounts(usage)
        changed = usage.remove(one) if is_deleted else usage.put(one)
        left.pop(one.metadata.uid, None)
        if not is_deleted:
            left[one.metadata.uid] = one
        expected = amounts(NodeUsage(left.values()))
        assert amounts(usage) == expected
        assert changed or before == expected


def test_a_change_of_the_status_changes_no_sum() -> None:
    usage = NodeUsage([pod("a", "gpu-1", phase="Pending")])
    assert not usage.put(pod("a", "gpu-1", phase="Running"))
    assert usage.put(pod("a", "gpu-1", phase="Succeeded"))
    assert not usage.remove(pod("a", "gpu-1"))
