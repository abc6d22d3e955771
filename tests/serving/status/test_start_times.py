"""How long starts took, and the start-up time that is proposed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from servedeck.serving.objects.records import (
    Condition,
    ContainerState,
    ContainerStateRunning,
    ContainerStatus,
    Pod,
    PodContainer,
    PodSpec,
    PodStatus,
    Probe,
)
from servedeck.serving.status.start_times import (
    Start,
    describe_starts,
    find_start,
    latest_starts,
    propose_startup_seconds,
    startup_seconds_issue,
)

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def ready(kind: str, seconds: int, status: str = "True") -> Condition:
    time = STARTED + timedelta(seconds=seconds)
    return Condition(type=kind, status=status, last_transition_time=time)


def start_of(*conditions: Condition, probe: Probe | None = None, **status: Any) -> Start | None:
    spec = PodContainer(name="server", startup_probe=probe)
    running = ContainerState(running=ContainerStateRunning(started_at=STARTED))
    defaults: dict[str, Any] = {"name": "server", "ready": True, "state": running}
    container = ContainerStatus(**defaults | status)
    pod = Pod(
        spec=PodSpec(containers=(spec,)),
        status=PodStatus(conditions=conditions, container_statuses=(container,)),
    )
    return find_start(pod, spec, container)


def test_a_start_is_from_the_container_to_its_readiness() -> None:
    assert start_of(ready("Ready", 220)) == Start(STARTED, 220)


def test_a_readiness_gate_does_not_count() -> None:
    found = start_of(ready("Ready", 900), ready("ContainersReady", 220))
    assert found == Start(STARTED, 220)


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ((ready("Ready", 220, "False"),), {}),
        ((), {}),
        ((Condition(type="Ready", status="True"),), {}),
        ((ready("Ready", 220),), {"restart_count": 1}),
        ((ready("Ready", 220),), {"ready": False}),
        ((ready("Ready", 220),), {"state": ContainerState()}),
        ((ready("Ready", -1),), {}),  # clocks differ
        ((ready("Ready", 2 * 86_400),), {}),
    ],
)
def test_what_is_no_start(conditions: tuple[Condition, ...], status: dict[str, Any]) -> None:
    assert start_of(*conditions, **status) is None


def test_later_than_the_startup_probe_allows_it_was_ready_before() -> None:
    probe = Probe(initial_delay_seconds=20, period_seconds=10, failure_threshold=58)
    assert start_of(ready("Ready", 650), probe=probe) == Start(STARTED, 650)
    assert start_of(ready("Ready", 700), probe=probe) is None
    assert start_of(ready("Ready", 700)) == Start(STARTED, 700)


def test_the_last_five_count_the_newest_first() -> None:
    starts = [Start(STARTED + timedelta(hours=at), at) for at in (3, 1, 6, 2, 5, 4)]
    assert latest_starts(starts) == (6, 5, 4, 3, 2)
    assert latest_starts(()) == ()


@pytest.mark.parametrize(
    ("starts", "text", "proposed"),
    [
        ((), "", 0),
        ((220,), "The last start took 3m40s.", 660),
        ((30, 220, 40, 41, 42), "The last 5 starts took 3m40s at most.", 660),
        ((30, 40), "The last 2 starts took 40s at most.", 600),
        ((201,), "The last start took 3m21s.", 660),
        ((200,), "The last start took 3m20s.", 600),
        ((86_000,), "The last start took 23h.", 86_400),
    ],
)
def test_the_sentence_and_the_proposal(starts: tuple[int, ...], text: str, proposed: int) -> None:
    assert describe_starts(starts) == text
    assert propose_startup_seconds(starts) == proposed


def test_a_shorter_time_is_warned_about() -> None:
    found = startup_seconds_issue(120, (30, 220))
    assert found is not None
    assert not found.is_error
    assert found.message == (
        "The last starts took up to 3m40s; Pods that take longer than 2m are restarted."
    )
    for seconds, starts in ((220, (220,)), (0, (220,)), (None, (220,)), (120, ())):
        assert startup_seconds_issue(seconds, starts) is None
