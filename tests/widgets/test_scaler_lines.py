"""What an autoscaler does, as lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from servedeck.detail.scaler_watch import ScalerEvent
from servedeck.serving.scaling.read_scaler import read_scaler_states
from servedeck.serving.scaling.scaler_state import ScalerState
from tests.serving.scaling.autoscalers import (
    ABLE,
    LIMITED,
    NO_METRIC,
    READY,
    SCALING,
    hpa,
    scaled_object,
)
from widgets.scaler_lines import scaler_event_lines, scaler_lines
from widgets.styled_line import Line, line_width, plain_text

NOW = datetime(2026, 7, 1, 12, 2, tzinfo=UTC)


def state(*conditions: dict[str, Any], **more: Any) -> ScalerState:
    own = hpa(conditions=conditions or (ABLE, SCALING, LIMITED), latency="7", **more)
    return read_scaler_states([scaled_object()], [own])[0]


def texts(lines: list[Line]) -> list[str]:
    return [plain_text(one).rstrip() for one in lines]


def test_a_wide_line_has_a_bar_for_each_metric() -> None:
    assert texts(scaler_lines(state(), 80, NOW)) == [
        "  3 of 1–10 replicas; scaled 2m ago",
        "  response time     7 ms against 5 ms           ██████████████ 140 %",
        "  waiting requests  2.5 against 10 per replica  ██░░░░░░░░ 25 %",
        "  cpu               35 % against 70 %           █████░░░░░ 50 %",
        "  at Max Replicas (ScalingLimited TooManyReplicas)",
        "  ScaledObject chat, HPA keda-hpa-chat",
    ]
    ascii_lines = texts(scaler_lines(state(), 80, NOW, is_utf8=False))
    assert ascii_lines[3].endswith("#####..... 50 %")


def test_a_narrow_line_loses_nothing_of_the_values() -> None:
    lines = texts(scaler_lines(state(), 20, NOW))
    joined = " ".join(" ".join(lines).split())
    assert "response time 7 ms against 5 ms" in joined
    assert "waiting requests 2.5 against 10 per replica" in joined


def test_what_is_wrong_is_marked_and_cut_after_three_lines() -> None:
    found = scaler_lines(state(ABLE, {**NO_METRIC, "message": "cannot " * 60}), 60, NOW)
    lines = texts(found)
    assert lines[0].startswith("! 3 of 1–10")
    wrong = [plain_text(one) for one in found if any(style == "error" for _, style in one)]
    assert len(wrong) == 3
    assert wrong[0].startswith("  ScalingActive False FailedGetExternalMetric: cannot")
    assert wrong[2].rstrip().endswith("…")


def test_a_trigger_that_cannot_be_read_says_how_often() -> None:
    scaled = scaled_object(conditions=(READY,))
    scaled["status"]["health"] = {"s1-prometheus": {"status": "Failing", "numberOfFailures": 4}}
    found = read_scaler_states([scaled], [hpa()])[0]
    assert any("unreadable ×4" in one for one in texts(scaler_lines(found, 100, NOW)))


@pytest.mark.parametrize("width", [1, 7, 20, 44, 45, 64, 80, 200])
def test_no_line_is_wider_than_the_room(width: int) -> None:
    for one in (state(), state(ABLE, NO_METRIC), state(current=0)):
        assert all(line_width(line) <= width for line in scaler_lines(one, width, NOW))


def test_events_have_their_age_and_the_words_of_the_autoscaler() -> None:
    events = [
        ScalerEvent(
            NOW - timedelta(seconds=130),
            "HorizontalPodAutoscaler/keda-hpa-chat",
            "Normal",
            "SuccessfulRescale",
            "New size: 3; reason: x above target",
        ),
        ScalerEvent(None, "ScaledObject/chat", "Warning", "KEDAScalerFailed", "no"),
    ]
    assert texts(scaler_event_lines(events, 80, NOW)) == [
        "   2m10s  SuccessfulRescale  New size: 3; reason: x above target",
        "!      –  KEDAScalerFailed  no",
    ]
    assert len(scaler_event_lines(events * 5, 80, NOW)) == 5
    assert all(line_width(one) <= 20 for one in scaler_event_lines(events, 20, NOW))
