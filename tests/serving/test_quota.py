"""How many more Pods quotas allow."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.quota import find_quota_room

Json = dict[str, Any]
GPU = "requests.nvidia.com/gpu"


def pod(**spec: Any) -> Json:
    resources = {
        "requests": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "2"},
        "limits": {"memory": "2Gi", "nvidia.com/gpu": "2"},
    }
    return {"spec": {"containers": [{"name": "server", "resources": resources}], **spec}}


def quota(name: str, hard: Json, used: Json | None = None, **spec: Any) -> Json:
    status = {"hard": hard, "used": used or {}}
    return {"metadata": {"name": name}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("hard", "used", "pods", "usage"),
    [
        ({GPU: "8"}, {GPU: "3"}, 2, f"{GPU}: 3 of 8 used, 2 for each Pod"),
        ({"pods": "4"}, {"pods": "1"}, 3, "pods: 1 of 4 used, 1 for each Pod"),
        ({"count/pods": "4"}, {"count/pods": "9"}, 0, "count/pods: 9 of 4 used, 1 for each Pod"),
        ({"cpu": "2"}, {"cpu": "1"}, 2, "cpu: 1 of 2 used, 500m for each Pod"),
        ({"requests.cpu": "2"}, {}, 4, "requests.cpu: 0 of 2 used, 500m for each Pod"),
        ({"memory": "5Gi"}, {}, 5, "memory: 0 of 5Gi used, 1Gi for each Pod"),
        ({"limits.memory": "5Gi"}, {}, 2, "limits.memory: 0 of 5Gi used, 2Gi for each Pod"),
    ],
)
def test_what_one_quota_leaves(hard: Json, used: Json, pods: int, usage: str) -> None:
    assert find_quota_room(pod(), [quota("q", hard, used)]) == (pods, "q", usage)


def test_the_quota_with_the_least_room_counts() -> None:
    quotas = [quota("a", {"pods": "9", GPU: "10"}), quota("b", {GPU: "6"}), quota("c", {"cpu": 9})]
    found = find_quota_room(pod(), quotas)
    assert found is not None
    assert (found.quota, found.pods) == ("b", 3)


@pytest.mark.parametrize(
    "other",
    [
        quota("q", {"services": "1"}),
        quota("q", {"pods": "1"}, scopes=["Terminating"]),
        quota("q", {"pods": "1"}, scopes=["BestEffort"]),
        quota("q", {"pods": "1"}, scopes=["PriorityClass"]),
        quota("q", {"pods": "1"}, scopeSelector={"matchExpressions": [{"scopeName": "x"}]}),
        {},
    ],
)
def test_a_quota_that_does_not_count_the_pod_or_may_not_is_left_out(other: Json) -> None:
    assert find_quota_room(pod(), [other]) is None


def test_a_quota_of_a_scope_of_the_pod_counts() -> None:
    scopes = ["NotTerminating", "NotBestEffort"]
    found = find_quota_room(pod(), [quota("q", {"pods": "1"}, scopes=scopes)])
    assert found is not None
    ending = pod(activeDeadlineSeconds=60)
    assert find_quota_room(ending, [quota("q", {"pods": "1"}, scopes=scopes)]) is None
