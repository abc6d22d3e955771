"""Which of a probe and the server itself ended an instance."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.objects.records import Event, Pod
from servedeck.serving.status.pod_diagnosis import diagnose
from tests.serving.factories import NOW, ago, event, last_terminated, pod, waiting

SERVER = "inference-server"
PROBE = {"initialDelaySeconds": 10, "periodSeconds": 10, "failureThreshold": 6}
"""It kills after a minute."""
REFUSED = 'Get "http://10.0.0.9:8000/health": dial tcp 10.0.0.9:8000: connect: connection refused'


def crashed(exit_code: int = 1, reason: str = "Error", *, ran: int, **probes: Any) -> Pod:
    """An instance that ended a minute ago, after `ran` seconds."""
    last = last_terminated(exit_code, reason, minutes=1)
    last["terminated"]["startedAt"] = ago(seconds=60 + ran)
    return pod(
        waiting("CrashLoopBackOff", restartCount=3, lastState=last),
        spec={
            "containers": [{"name": SERVER, **probes}],
            "terminationGracePeriodSeconds": 30,
        },
    )


def unhealthy(kind: str, seconds_ago: float = 65, **fields: Any) -> Event:
    message = f"{kind} probe failed: {REFUSED}"
    return event("Unhealthy", message, SERVER, when=ago(seconds=seconds_ago), **fields)


def reason_of(given: Pod, *events: Event) -> str:
    return diagnose(given, events, NOW).reason


@pytest.mark.parametrize("exit_code", [0, 1, 3, 137, 143])
def test_a_startup_probe_kills_whatever_the_exit_code(exit_code: int) -> None:
    given = crashed(exit_code, ran=62, startupProbe=PROBE)
    found = diagnose(given, (unhealthy("Startup"),), NOW)
    assert found.reason == "startup probe failed"
    assert found.message == (
        "inference-server was killed because its startup probe failed: 10.0.0.9:8000: connection "
        "refused; it allows 60s for the start (restarted 3 times)"
    )


@pytest.mark.parametrize("ran", [20, 50, 300])
def test_a_server_that_ends_by_itself_while_its_startup_probe_fails_was_not_killed(
    ran: int,
) -> None:
    """Before the probe gives up, and long after it must have succeeded."""
    assert reason_of(crashed(ran=ran, startupProbe=PROBE), unhealthy("Startup")) == "exit code 1"


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [(137, "OOMKilled"), (128, "StartError"), (128, "ContainerCannotRun")],
)
def test_out_of_memory_and_start_errors_are_no_kill_of_a_probe(exit_code: int, reason: str) -> None:
    given = crashed(exit_code, reason, ran=62, startupProbe=PROBE)
    assert reason_of(given, unhealthy("Startup")) == reason


def test_a_liveness_probe_kills_after_its_threshold_only() -> None:
    for exit_code in (0, 1, 137, 143):
        given = crashed(exit_code, ran=600, livenessProbe=PROBE)
        assert reason_of(given, unhealthy("Liveness", count=6)) == "liveness probe failed"
    by_itself = crashed(1, ran=600, livenessProbe=PROBE)
    assert reason_of(by_itself, unhealthy("Liveness", count=2)) == "exit code 1"
    assert reason_of(by_itself, unhealthy("Liveness", 300, count=9)) == "exit code 1"
    short = crashed(137, ran=30, livenessProbe=PROBE)
    assert reason_of(short, unhealthy("Liveness", count=9)) == "exit code 137"


def test_a_liveness_kill_whose_event_the_kubelet_dropped() -> None:
    """The kubelet writes one Event in five minutes after the first 25."""
    elder = unhealthy("Liveness", 300, count=25)
    assert reason_of(crashed(143, ran=120, livenessProbe=PROBE), elder) == "liveness probe failed"
    assert reason_of(crashed(1, ran=120, livenessProbe=PROBE), elder) == "exit code 1"
    history = unhealthy("Liveness", 1200, count=25)
    assert reason_of(crashed(143, ran=120, livenessProbe=PROBE), history) == "exit code 143"


def test_the_kubelets_own_word_counts_most() -> None:
    def killing(message: str) -> Event:
        return event("Killing", message, SERVER, when=ago(seconds=65), type="Normal")

    given = crashed(1, ran=20, startupProbe=PROBE, livenessProbe=PROBE)
    killed = killing(f"Container {SERVER} failed liveness probe, will be restarted")
    assert reason_of(given, killed) == "liveness probe failed"
    found = diagnose(given, (killed, unhealthy("Startup"), unhealthy("Liveness")), NOW)
    assert found.message.startswith(
        "inference-server was killed because its liveness probe failed: 10.0.0.9:8000"
    )
    assert reason_of(given, killing("Stopping container")) == "exit code 1"
    elder = event("Killing", killed.message, SERVER, when=ago(minutes=9), type="Normal")
    assert reason_of(given, elder) == "exit code 1", "of an earlier instance"


def test_where_little_is_known_the_probe_is_blamed() -> None:
    given = pod(waiting("CrashLoopBackOff", lastState=last_terminated(0, "Completed")))
    assert reason_of(given, unhealthy("Startup")) == "startup probe failed"
    assert reason_of(given, unhealthy("Readiness")) == "exit code 0"
    other = event("Unhealthy", "Startup probe failed: x", "transformer", when=ago(seconds=65))
    assert reason_of(given, other) == "exit code 0"
    assert reason_of(given, unhealthy("Startup", 0)) == "exit code 0", "of the next instance"
    assert reason_of(given, unhealthy("Startup", 3000)) == "exit code 0"


def test_absurd_numbers_are_no_error() -> None:
    huge = {"initialDelaySeconds": 2**62, "periodSeconds": 2**62, "failureThreshold": 2**62}
    given = crashed(ran=62, startupProbe=huge, livenessProbe=huge)
    assert reason_of(given, unhealthy("Startup"), unhealthy("Liveness")) == "exit code 1"
