"""Which quota has no room for all new Pods."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.quota_room import quota_shortage

POD: dict[str, Any] = {
    "containers": [
        {
            "resources": {
                "requests": {"cpu": "2", "memory": "16Gi", "nvidia.com/gpu": "1"},
                "limits": {"memory": "32Gi", "nvidia.com/gpu": "1"},
            }
        }
    ]
}


def quota(name: str, **amounts: tuple[str, str]) -> dict[str, Any]:
    """A quota with what is used and what is allowed of each resource."""
    return {
        "metadata": {"name": name},
        "status": {
            "used": {resource: used for resource, (used, _) in amounts.items()},
            "hard": {resource: hard for resource, (_, hard) in amounts.items()},
        },
    }


@pytest.mark.parametrize(
    ("resource", "used", "hard", "room", "reason"),
    [
        ("requests.nvidia.com/gpu", "1", "2", 1, "used 1 of 2"),
        ("requests.memory", "16Gi", "40Gi", 1, "used 16Gi of 40Gi"),
        ("memory", "0", "40Gi", 2, "used 0 of 40Gi"),
        ("limits.memory", "0", "40Gi", 1, "used 0 of 40Gi"),
        ("cpu", "500m", "2", 0, "used 500m of 2"),
        ("pods", "8", "10", 2, "used 8 of 10"),
        ("count/pods", "12", "10", 0, "used 12 of 10"),
    ],
)
def test_the_quota_without_room_is_named(
    resource: str, used: str, hard: str, room: int, reason: str
) -> None:
    assert quota_shortage([quota("gpus", **{resource: (used, hard)})], POD, 3) == (
        f"The quota has room for {room} of 3 new Pods now: quota gpus, {resource} {reason}."
    )


def test_the_tightest_quota_counts() -> None:
    quotas = [quota("a", pods=("8", "10")), quota("b", cpu=("0", "2"), memory=("0", "1Ti"))]
    assert "room for 1 of 3 new Pods now: quota b, cpu" in quota_shortage(quotas, POD, 3)


@pytest.mark.parametrize(
    "one",
    [
        quota("enough", pods=("1", "4"), **{"requests.nvidia.com/gpu": ("1", "4")}),
        quota("other", services=("1", "1"), **{"requests.storage": ("1", "1")}),
        {**quota("scoped", pods=("1", "1")), "spec": {"scopes": ["BestEffort"]}},
        {**quota("scoped", pods=("1", "1")), "spec": {"scopeSelector": {"matchExpressions": []}}},
        {"metadata": {"name": "new"}, "spec": {"hard": {"pods": "1"}}},
    ],
    ids=["room", "other resources", "a scope", "a scope selector", "not counted yet"],
)
def test_no_quota_is_named_that_has_room_or_may_not_count_the_pods(one: dict[str, Any]) -> None:
    assert quota_shortage([one], POD, 3) == ""
