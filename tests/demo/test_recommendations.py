"""How many replicas an autoscaler of the demo sets, against what the HPA controller does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from servedeck.demo.controllers.autoscaling.recommendations import (
    READY_TO_SCALE,
    STABILIZED_DOWN,
    STABILIZED_UP,
    ReplicaLimits,
    ScalingPast,
)

START = 1_800_000_000.0
SYNC = 15.0
LIMITS = ReplicaLimits(1, 10)
Json = dict[str, Any]


def behavior(up_window: int = 0, down_window: int = 0) -> Json:
    """With the policies of the ScaledObjects that servedeck writes."""

    def rules(window: int, value: int) -> Json:
        policy = {"type": "Pods", "value": value, "periodSeconds": 60}
        return {
            "stabilizationWindowSeconds": window,
            "selectPolicy": "Max",
            "policies": [policy],
        }

    return {"scaleUp": rules(up_window, 2), "scaleDown": rules(down_window, 1)}


def counts(recommended: Sequence[int], rules: Json | None, start: int = 1) -> list[int]:
    """The replicas after each recommendation, one every 15 s."""
    past, current = ScalingPast(), start
    past.begin(current, START)
    found = []
    for number, one in enumerate(recommended):
        now = START + number * SYNC
        replicas = past.decide(rules, current, one, LIMITS, now).replicas
        if replicas != current:
            past.changed(current, replicas, now)
        current = replicas
        found.append(current)
    return found


def test_a_peak_that_was_cut_by_a_policy_adds_nothing_when_it_is_over() -> None:
    found = counts([20] + [1] * 24, behavior(down_window=300))
    assert found == [3] * 20 + [2, 2, 2, 2, 1]


def test_without_a_behavior_the_highest_of_five_minutes_is_set() -> None:
    # 4 at first, or twice as many as there are
    assert counts([20] + [1] * 20, None) == [4, 8] + [10] * 18 + [1]


def test_the_policies_of_each_direction_count_the_changes_of_both() -> None:
    assert counts([20] + [1] * 5, behavior(), start=3) == [5, 2, 2, 2, 2, 1]
    # 3 at the begin of the minute: up to 5 after a removal, too
    assert counts([1, 20, 20, 20, 20, 20], behavior(), start=3) == [2, 5, 5, 5, 5, 7]


@pytest.mark.parametrize(
    ("recommended", "replicas", "able"),
    [(5, 3, STABILIZED_UP), (1, 3, STABILIZED_DOWN), (3, 3, READY_TO_SCALE)],
)
def test_the_windows_keep_what_there_is(
    recommended: int, replicas: int, able: tuple[str, str]
) -> None:
    past = ScalingPast()
    past.begin(3, START)
    found = past.decide(behavior(60, 60), 3, recommended, LIMITS, START + SYNC)
    assert (found.replicas, found.able) == (replicas, able)
