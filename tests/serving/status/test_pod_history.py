"""What happened to a Pod, in order of time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from servedeck.serving.objects.records import Event, Pod
from servedeck.serving.status.pod_history import next_restart, parse_go_duration, pod_history
from tests.serving.factories import NOW, ago, condition, event, pod, running, waiting
from tests.serving.status.pod_factory import NO_GPU, unscheduled_pod


def texts(given: Pod, *events: Event) -> list[str]:
    return [step.text for step in pod_history(given, events, NOW)]


def oom_pod() -> Pod:
    return pod(
        waiting(
            "CrashLoopBackOff",
            "back-off 5m0s restarting failed container=inference-server pod=llama-1_a(uid)",
            restartCount=7,
            lastState={
                "terminated": {
                    "exitCode": 137,
                    "reason": "OOMKilled",
                    "startedAt": ago(minutes=2, seconds=58),
                    "finishedAt": ago(minutes=2, seconds=20),
                }
            },
        ),
        conditions=(
            {**condition("PodScheduled", "True"), "lastTransitionTime": ago(hours=1)},
            {**condition("Initialized", "True"), "lastTransitionTime": ago(hours=1)},
            {**condition("Ready", "False"), "lastTransitionTime": ago(hours=1)},
        ),
        node="gpu-a",
        spec={
            "nodeName": "gpu-a",
            "containers": [
                {"name": "inference-server", "resources": {"limits": {"memory": "16Gi"}}}
            ],
        },
    )


def test_the_chain_of_a_container_that_runs_out_of_memory():
    pulled = event(
        "Pulled",
        'Successfully pulled image "vllm/vllm-openai:v1" in 4m10.2s (4m12s including waiting).'
        " Image size: 9000000000 bytes.",
        type="Normal",
        when=ago(minutes=55),
    )
    assert texts(oom_pod(), pulled) == [
        "created",
        "scheduled to node gpu-a",
        "image vllm/vllm-openai:v1 pulled in 4m10s",
        "inference-server started",
        "inference-server exceeded its memory limit of 16Gi and was killed (OOMKilled) after 38s,"
        " exit code 137; 7 restarts until now",
        "next start of inference-server in 2m40s",
    ]


def test_the_steps_are_in_order_of_time_and_failures_are_marked():
    steps = pod_history(oom_pod(), (), NOW)
    times = [step.time for step in steps if step.time is not None]
    assert times == sorted(times)
    assert [step.text.split()[1] for step in steps if step.is_failure] == ["exceeded"]


def test_the_next_start_is_due_when_the_back_off_has_passed():
    steps = pod_history(oom_pod(), (), NOW + timedelta(minutes=3))
    assert steps[-1].text == "next start of inference-server due"


def test_the_scheduler_and_the_probes_are_steps():
    assert "not scheduled (Unschedulable): 0 of 6 nodes fit" in " ".join(
        texts(unscheduled_pod(NO_GPU))
    )
    failed = event(
        "Unhealthy",
        'Startup probe failed: Get "http://10.0.0.1:8000/health": dial tcp 10.0.0.1:8000: connect:'
        " connection refused",
        count=22,
        firstTimestamp=ago(minutes=50),
        when=ago(minutes=1),
    )
    assert "startup probe failed (22 times): 10.0.0.1:8000: connection refused" in texts(
        oom_pod(), failed
    )


def test_a_pod_that_was_ready_says_since_when_it_is_not():
    given = pod(
        running(ready=False),
        conditions=(
            {**condition("Initialized", "True"), "lastTransitionTime": ago(hours=2)},
            {**condition("Ready", "False"), "lastTransitionTime": ago(minutes=4)},
        ),
    )
    assert texts(given)[-1] == "no longer ready"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4m10.2s", 250.2),
        ("10s", 10),
        ("1h0m0s", 3600),
        ("850ms", 0.85),
        ("soon", None),
        ("", None),
    ],
)
def test_durations_of_go(text, seconds):
    assert parse_go_duration(text) == seconds


@pytest.mark.parametrize(
    "status",
    [
        running(),
        waiting("ContainerCreating"),
        waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container"),
        waiting("CrashLoopBackOff", "something else", lastState={"terminated": {"exitCode": 1}}),
    ],
)
def test_without_a_back_off_there_is_no_next_start(status):
    assert next_restart(pod(status).status.container_statuses[0]) is None


def test_a_pod_without_a_status_has_a_history():
    assert [step.text for step in pod_history(Pod(), (), NOW)] == ["created"]
