"""What is remembered of the starts of a serving's Pods."""

from __future__ import annotations

from datetime import timedelta

import pytest

from servedeck.fleet import start_recorder
from servedeck.fleet.start_recorder import StartRecorder
from servedeck.fleet.views import ContainerView, PodView
from servedeck.serving.status.start_times import Start
from tests.fleet.factories import START, pod_view


def started(name: str, minute: int, seconds: int | None, container: str = "server") -> PodView:
    start = None if seconds is None else Start(START + timedelta(minutes=minute), seconds)
    view = ContainerView(container, "Running", True, 0, False, False, "id", start=start)
    return pod_view(name, containers=(view,))


def test_starts_of_ended_pods_stay() -> None:
    recorder = StartRecorder()
    recorder.record("llama", "server", [started("a", 1, 100), started("b", 2, None)])
    recorder.record("llama", "server", [started("b", 2, 200)])
    recorder.record("qwen", "server", [started("c", 3, 300)])
    assert recorder.durations("llama") == (200, 100)
    assert recorder.durations("qwen") == (300,)
    assert recorder.durations("other") == ()


def test_a_pod_that_is_ready_again_has_not_started_again() -> None:
    recorder = StartRecorder()
    recorder.record("llama", "server", [started("a", 1, 100)])
    recorder.record("llama", "server", [started("a", 1, 1500)])
    assert recorder.durations("llama") == (100,)


def test_the_last_five_are_kept_by_the_time_of_their_start() -> None:
    recorder = StartRecorder()
    recorder.record("llama", "server", [started(f"p{at}", at, at) for at in range(1, 8)])
    recorder.record("llama", "server", [started("p1", 1, 1700)])  # one of before, ready again
    assert recorder.durations("llama") == (7, 6, 5, 4, 3)


def test_only_the_inference_server_counts() -> None:
    recorder = StartRecorder()
    recorder.record("llama", "server", [started("a", 1, 100, "transformer")])
    assert recorder.durations("llama") == ()


def test_a_bounded_number_of_servings_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_recorder, "MAX_SERVINGS", 2)
    recorder = StartRecorder()
    for uid in ("one", "two", "three"):
        recorder.record(uid, "server", [started("a", 1, 100)])
    assert [recorder.durations(uid) for uid in ("one", "two", "three")] == [(), (100,), (100,)]
