from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from servedeck.serving.objects.records import Pod, ResourceRequirements
from servedeck.serving.status.container_failures import RECENT_RESTART_WINDOW
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.pod_diagnosis import diagnose
from tests.serving.factories import (
    NOW,
    ago,
    condition,
    event,
    healthy,
    last_terminated,
    pod,
    running,
    terminated,
    waiting,
)

CREATING = waiting("ContainerCreating")
PULL_DENIED = (
    'rpc error: code = Unknown desc = failed to pull and unpack image "docker.io/acme/llm:1": '
    'failed to resolve reference "docker.io/acme/llm:1": pull access denied, repository does not '
    "exist or may require authorization"
)
NO_GPU = (
    "0/6 nodes are available: 1 node(s) were unschedulable, 5 Insufficient nvidia.com/gpu. no new "
    "claims to deallocate, preemption: 0/6 nodes are available: 6 Preemption is not helpful for "
    "scheduling."
)
TRACEBACK = "Traceback (most recent call last):\n  File x\nValueError: bad dtype\n\n"


def pending_pod(*statuses: dict[str, Any], **fields: Any) -> Pod:
    return pod(*statuses, phase="Pending", **fields)


def unscheduled_pod(message: str, reason: str = "Unschedulable") -> Pod:
    return pending_pod(node="", conditions=(condition("PodScheduled", "False", reason, message),))


def crashing_pod(exit_code: int, reason: str = "Error", message: str = "", **status: Any) -> Pod:
    return pod(
        waiting(
            "CrashLoopBackOff",
            "back-off 5m0s restarting failed container",
            restartCount=3,
            lastState=last_terminated(exit_code, reason, message),
            **status,
        )
    )


def with_resources(given: Pod, **resources: dict[str, str]) -> Pod:
    """The Pod with these resources in its first container."""
    first, *others = given.spec.containers
    own = replace(first, resources=ResourceRequirements(**resources))
    return replace(given, spec=replace(given.spec, containers=(own, *others)))


CASES: dict[str, tuple[Pod, PodHealth, str, str]] = {
    "healthy": (healthy(), PodHealth.OK, "", ""),
    "out of memory": (
        with_resources(crashing_pod(137, "OOMKilled"), limits={"memory": "1Gi"}),
        PodHealth.ERROR,
        "OOMKilled",
        "inference-server exceeded its memory limit of 1Gi and was killed (OOMKilled)"
        " (restarted 3 times)",
    ),
    "out of memory without a limit": (
        with_resources(crashing_pod(137, "OOMKilled"), requests={"memory": "1Gi"}),
        PodHealth.ERROR,
        "OOMKilled",
        "inference-server was killed for lack of memory and has no limit of its own (OOMKilled)"
        " (restarted 3 times)",
    ),
    "an exception": (
        crashing_pod(1, message=TRACEBACK),
        PodHealth.ERROR,
        "exit code 1",
        "inference-server ended with exit code 1: ValueError: bad dtype (restarted 3 times)",
    ),
    "killed by the system": (
        crashing_pod(137),
        PodHealth.ERROR,
        "exit code 137",
        "inference-server was killed (exit code 137, SIGKILL): its node ran out of memory, or it "
        "did not stop within its grace period (restarted 3 times)",
    ),
    "a crash in native code": (
        crashing_pod(139),
        PodHealth.ERROR,
        "exit code 139",
        "inference-server was ended by SIGSEGV, a crash in native code (exit code 139) "
        "(restarted 3 times)",
    ),
    "command not found": (
        crashing_pod(127),
        PodHealth.ERROR,
        "exit code 127",
        "inference-server ended with exit code 127: its command was not found (restarted 3 times)",
    ),
    "a server that just ends": (
        crashing_pod(0, "Completed"),
        PodHealth.ERROR,
        "exit code 0",
        "inference-server ended with exit code 0: ended by itself, but a server must keep running "
        "(restarted 3 times)",
    ),
    "crashing, and nothing known of the last instance": (
        pod(waiting("CrashLoopBackOff", "back-off 40s restarting failed container")),
        PodHealth.ERROR,
        "CrashLoopBackOff",
        "inference-server keeps crashing: back-off 40s restarting failed container",
    ),
    "between two attempts": (
        pod(terminated(1, "Error")),
        PodHealth.ERROR,
        "exit code 1",
        "inference-server ended with exit code 1",
    ),
    "no executable": (
        crashing_pod(
            128,
            "StartError",
            "failed to create containerd task: failed to create shim task: OCI runtime create "
            "failed: runc create failed: unable to start container process: exec: "
            '"vlm": executable file not found in $PATH: unknown',
        ),
        PodHealth.ERROR,
        "StartError",
        'inference-server could not start: exec: "vlm": executable file not found in $PATH '
        "(restarted 3 times)",
    ),
    "RunContainerError": (
        pod(waiting("RunContainerError", "context deadline exceeded")),
        PodHealth.ERROR,
        "RunContainerError",
        "inference-server cannot be started: context deadline exceeded",
    ),
    "a secret is missing": (
        pending_pod(waiting("CreateContainerConfigError", 'secret "hf-token" not found')),
        PodHealth.ERROR,
        "CreateContainerConfigError",
        'inference-server cannot be created: secret "hf-token" not found',
    ),
    "a hook of a newer kubelet": (
        pending_pod(waiting("PreCreateHookError")),
        PodHealth.ERROR,
        "PreCreateHookError",
        "inference-server cannot be created: PreCreateHookError",
    ),
    "image refused": (
        pending_pod(waiting("ErrImagePull", PULL_DENIED)),
        PodHealth.PENDING,
        "ImagePullBackOff",
        "Image docker.io/acme/llm:1 of inference-server cannot be pulled: pull access denied, "
        "repository does not exist or may require authorization",
    ),
    "image backing off, with its cause": (
        pending_pod(
            waiting(
                "ImagePullBackOff",
                f'Back-off pulling image "acme/llm:1": ErrImagePull: {PULL_DENIED}',
            )
        ),
        PodHealth.PENDING,
        "ImagePullBackOff",
        "Image acme/llm:1 of inference-server cannot be pulled: pull access denied, "
        "repository does not exist or may require authorization",
    ),
    "image backing off, nothing else": (
        pending_pod(waiting("ImagePullBackOff", 'Back-off pulling image "acme/llm:1"')),
        PodHealth.PENDING,
        "ImagePullBackOff",
        "Image acme/llm:1 of inference-server cannot be pulled",
    ),
    "image not found": (
        pending_pod(
            waiting(
                "ErrImagePull",
                'rpc error: code = NotFound desc = failed to pull and unpack image "r.io/a:9": '
                'failed to resolve reference "r.io/a:9": r.io/a:9: not found',
            )
        ),
        PodHealth.PENDING,
        "ImagePullBackOff",
        "Image r.io/a:9 of inference-server cannot be pulled: not found in the registry",
    ),
    "a wrong image name": (
        pending_pod(
            waiting(
                "InvalidImageName",
                'Failed to apply default image tag "VLLM": couldn\'t parse image name "VLLM": '
                "invalid reference format: repository name must be lowercase",
            )
        ),
        PodHealth.PENDING,
        "InvalidImageName",
        "Image VLLM of inference-server cannot be pulled: invalid reference format: "
        "repository name must be lowercase",
    ),
    "no accelerator is free": (
        unscheduled_pod(NO_GPU),
        PodHealth.PENDING,
        "Unschedulable",
        "0 of 6 nodes fit: 5 without enough free nvidia.com/gpu, 1 cordoned",
    ),
    "what is asked for is named where it is scarce": (
        with_resources(
            unscheduled_pod(NO_GPU.replace("5 Insuff", "2 Insufficient memory, 5 Insuff")),
            requests={"cpu": "2", "memory": "64Gi"},
            limits={"nvidia.com/gpu": "8", "memory": "80Gi"},
        ),
        PodHealth.PENDING,
        "Unschedulable",
        "0 of 6 nodes fit: 2 without enough free memory, 5 without enough free"
        " nvidia.com/gpu, 1 cordoned; it requests 8 NVIDIA GPU, 64Gi memory on one node",
    ),
    "what is asked for is no news where it is not scarce": (
        with_resources(
            unscheduled_pod("0/1 nodes are available: 1 node(s) were unschedulable."),
            requests={"cpu": "2"},
        ),
        PodHealth.PENDING,
        "Unschedulable",
        "0 of 1 nodes fit: 1 cordoned",
    ),
    "a taint of an older scheduler": (
        unscheduled_pod(
            "0/3 nodes are available: 2 node(s) had untolerated taint {gpu: yes}, 1 Too many pods. "
            "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ),
        PodHealth.PENDING,
        "Unschedulable",
        "0 of 3 nodes fit: 2 with an untolerated taint (gpu: yes), 1 with no room for another Pod",
    ),
    "a claim is missing": (
        unscheduled_pod(
            '0/4 nodes are available: persistentvolumeclaim "nope" not found. not found'
        ),
        PodHealth.PENDING,
        "Unschedulable",
        'It cannot be scheduled: persistentvolumeclaim "nope" not found',
    ),
    "a text of another scheduler": (
        unscheduled_pod("the queue is full"),
        PodHealth.PENDING,
        "Unschedulable",
        "the queue is full",
    ),
    "gated": (
        unscheduled_pod(
            "Scheduling is blocked due to non-empty scheduling gates", "SchedulingGated"
        ),
        PodHealth.PENDING,
        "SchedulingGated",
        "Blocked by a scheduling gate: Scheduling is blocked due to non-empty scheduling gates",
    ),
    "just created": (
        pending_pod(node="", conditions=()),
        PodHealth.PENDING,
        "Unscheduled",
        "Not scheduled yet",
    ),
    "evicted": (
        pod(
            phase="Failed",
            status={"reason": "Evicted", "message": "The node was low on resource: memory."},
        ),
        PodHealth.ERROR,
        "Evicted",
        "The node was low on resource: memory.",
    ),
    "refused by its node": (
        pod(
            phase="Failed",
            status={
                "reason": "UnexpectedAdmissionError",
                "message": "Allocate failed due to requested number of devices unavailable for "
                "nvidia.com/gpu. Requested: 1, Available: 0, which is unexpected",
            },
        ),
        PodHealth.ERROR,
        "UnexpectedAdmissionError",
        "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. "
        "Requested: 1, Available: 0, which is unexpected",
    ),
    "failed without a reason": (
        pod(terminated(2, "Error"), phase="Failed"),
        PodHealth.ERROR,
        "exit code 2",
        "inference-server ended with exit code 2",
    ),
    "failed without anything": (
        pod(phase="Failed"),
        PodHealth.ERROR,
        "Failed",
        "The Pod failed: Failed",
    ),
    "ended well": (
        pod(terminated(0, "Completed"), phase="Succeeded"),
        PodHealth.TERMINATING,
        "Completed",
        "It ended; its ReplicaSet replaces it",
    ),
    "lost with its node": (
        pod(running(), status={"reason": "NodeLost"}),
        PodHealth.ERROR,
        "NodeLost",
        "Its node gpu-1 does not respond",
    ),
    "an init container fails": (
        pending_pod(waiting("PodInitializing"), init=(terminated(1, "Error", name="fetch"),)),
        PodHealth.ERROR,
        "exit code 1",
        "fetch ended with exit code 1",
    ),
    "a sidecar ended": (
        pending_pod(
            waiting("PodInitializing"),
            init=(terminated(0, "Completed", name="s"),),
            sidecars=("s",),
        ),
        PodHealth.ERROR,
        "exit code 0",
        "s ended with exit code 0: ended by itself, but a server must keep running",
    ),
    "an init container runs": (
        pending_pod(
            waiting("PodInitializing"),
            init=(terminated(0, "Completed", name="a"), running("fetch", False, started=None)),
        ),
        PodHealth.STARTING,
        "Init:1/2",
        "Init container fetch is running, 1 of 2 are done",
    ),
    "being created": (
        pending_pod(CREATING),
        PodHealth.STARTING,
        "ContainerCreating",
        "inference-server is being created on node gpu-1: image, volumes, devices",
    ),
    "nothing from its node yet": (
        pod(phase="Pending", status={"containerStatuses": []}),
        PodHealth.STARTING,
        "Starting",
        "Node gpu-1 has not started its containers yet",
    ),
    "loading the model": (
        pod(running(ready=False, started=False)),
        PodHealth.STARTING,
        "Starting",
        "inference-server runs and is not ready yet",
    ),
    "no longer ready": (
        pod(running(ready=False)),
        PodHealth.STARTING,
        "NotReady",
        "inference-server runs and is not ready yet",
    ),
    "a readiness gate": (
        pod(
            running(),
            gates=("servedeck.dev/cool",),
            conditions=(condition("servedeck.dev/cool", "False", message="GPU is at 92 C"),),
        ),
        PodHealth.STARTING,
        "ReadinessGate",
        "Readiness gate servedeck.dev/cool is not met: GPU is at 92 C",
    ),
    "a readiness gate that nobody set": (
        pod(running(), gates=("servedeck.dev/cool",)),
        PodHealth.STARTING,
        "ReadinessGate",
        "Readiness gate servedeck.dev/cool is not met: nothing has set it yet",
    ),
    "all ready, the Pod not": (
        pod(running(), conditions=(condition("Ready", "False"),)),
        PodHealth.STARTING,
        "NotReady",
        "All containers are ready and the Pod is not: its node may not respond",
    ),
    "a crash of a moment ago counts more than another's image": (
        pending_pod(
            waiting("ImagePullBackOff", name="transformer"),
            running(ready=False, restartCount=1, lastState=last_terminated(1)),
        ),
        PodHealth.ERROR,
        "exit code 1",
        "inference-server ended with exit code 1 (restarted once)",
    ),
    "a crash counts more than another's image": (
        pending_pod(
            waiting("ImagePullBackOff", name="transformer"),
            waiting("CrashLoopBackOff", lastState=last_terminated(1)),
        ),
        PodHealth.ERROR,
        "exit code 1",
        "inference-server ended with exit code 1",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_cause(name: str) -> None:
    given, health, reason, message = CASES[name]
    found = diagnose(given, (), NOW)
    assert (found.health, found.reason, found.message) == (health, reason, message)


def diagnose_pod(given: Pod, *events: Any) -> Diagnosis:
    return diagnose(given, events, NOW)


def test_the_raw_text_stays_available() -> None:
    assert diagnose_pod(unscheduled_pod(NO_GPU)).raw_message == NO_GPU
    assert (
        diagnose_pod(pending_pod(waiting("ErrImagePull", PULL_DENIED))).raw_message == PULL_DENIED
    )
    assert diagnose_pod(crashing_pod(1, message=TRACEBACK)).raw_message == TRACEBACK


def test_a_finding_names_what_is_scarce() -> None:
    asked = with_resources(unscheduled_pod(NO_GPU), limits={"nvidia.com/gpu": "8"})
    assert diagnose_pod(asked).insufficient_resources == (("nvidia.com/gpu", 8, 5),)
    assert diagnose_pod(unscheduled_pod(NO_GPU)).insufficient_resources == ()


def test_containers_that_ask_for_the_same_share_one_record() -> None:
    raw = (
        b'{"spec": {"containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "2"}}}'
        b', {"name": "b"}]}}'
    )
    one, other = (msgspec.json.decode(raw, type=Pod) for _ in range(2))
    assert one.spec.containers[0].resources is other.spec.containers[0].resources
    assert one.spec.containers[0].resources.limits == {"nvidia.com/gpu": "2"}


def test_a_finding_names_the_container_that_it_lies_in() -> None:
    given = pod(
        running(), waiting("CrashLoopBackOff", name="transformer", lastState=last_terminated(1))
    )
    assert diagnose_pod(given).container == "transformer"


def test_the_registrys_answer_is_found_in_the_event_where_the_status_lacks_it() -> None:
    given = pending_pod(waiting("ImagePullBackOff", 'Back-off pulling image "acme/llm:1"'))
    pulled = event("Failed", f'Failed to pull image "acme/llm:1": {PULL_DENIED}')
    assert diagnose_pod(given, event("Failed", "Error: ErrImagePull"), pulled).message == (
        "Image acme/llm:1 of inference-server cannot be pulled: pull access denied, "
        "repository does not exist or may require authorization"
    )


def test_the_reason_does_not_change_with_every_pull() -> None:
    reasons = {
        diagnose_pod(pending_pod(waiting(reason, PULL_DENIED))).reason
        for reason in ("ErrImagePull", "ImagePullBackOff")
    }
    assert len(reasons) == 1


def restarted_pod(**when: float) -> Pod:
    return pod(
        running(
            ready=False,
            started=False,
            restartCount=2,
            started_at=ago(**when),
            lastState=last_terminated(137, "OOMKilled", "", **when),
        )
    )


def test_a_pod_that_restarted_lately_keeps_its_error_until_ten_minutes_passed() -> None:
    given = restarted_pod(minutes=4)
    first = diagnose(given, (), NOW)
    assert (first.health, first.reason) == (PodHealth.ERROR, "OOMKilled")
    assert first.reevaluate_at == NOW + timedelta(minutes=6)
    just_before = diagnose(given, (), first.reevaluate_at - timedelta(seconds=1))
    assert just_before == first
    after = diagnose(given, (), first.reevaluate_at)
    assert (after.health, after.reevaluate_at) == (PodHealth.STARTING, None)
    assert after.message == (
        "inference-server runs and is not ready yet (restarted 2 times, last: OOMKilled)"
    )


def test_the_ten_minutes_count_from_the_restart_not_from_the_crash_before_the_back_off() -> None:
    given = pod(
        running(
            ready=False,
            restartCount=9,
            started_at=ago(minutes=6),
            lastState=last_terminated(1, minutes=11),
        )
    )
    assert diagnose_pod(given).reevaluate_at == NOW - timedelta(minutes=6) + RECENT_RESTART_WINDOW


def test_a_ready_pod_that_restarted_lately_is_healthy_and_says_so() -> None:
    given = pod(
        running(restartCount=1, started_at=ago(minutes=5), lastState=last_terminated(1, minutes=5)),
        conditions=(condition("Ready"),),
    )
    first = diagnose(given, (), NOW)
    assert (first.health, first.reason) == (PodHealth.OK, "")
    assert first.message == ("Ready again, restarted once: inference-server ended with exit code 1")
    assert first.reevaluate_at == NOW + timedelta(minutes=5)
    assert diagnose(given, (), first.reevaluate_at) == Diagnosis(PodHealth.OK)


def test_a_failed_mount_explains_a_pod_that_does_not_start() -> None:
    mount = event(
        "FailedMount", 'MountVolume.SetUp failed for volume "cache" : secret "s3" not found'
    )
    got = diagnose_pod(pending_pod(CREATING), mount)
    assert (got.health, got.reason) == (PodHealth.PENDING, "FailedMount")
    assert got.message == 'A volume cannot be mounted: volume "cache": secret "s3" not found'
    assert got.reevaluate_at == NOW - timedelta(seconds=30) + timedelta(minutes=5)


def test_a_mount_that_failed_long_ago_or_before_the_container_ran_is_over() -> None:
    old = event("FailedMount", "timed out", when=ago(minutes=6))
    assert diagnose_pod(pending_pod(CREATING), old).health is PodHealth.STARTING
    fresh = event("FailedMount", "timed out")
    assert diagnose_pod(pod(running(ready=False)), fresh).health is PodHealth.STARTING


def test_the_probe_says_why_a_running_pod_is_not_ready() -> None:
    events = (
        event(
            "Unhealthy", "Readiness probe failed: too old", "inference-server", when=ago(hours=2)
        ),
        event("Unhealthy", "Readiness probe failed: not mine", "transformer"),
        event(
            "Unhealthy",
            'Readiness probe failed: Get "http://10.0.0.9:8000/health": dial tcp 10.0.0.9:8000: '
            "connect: connection refused",
            "inference-server",
        ),
    )
    got = diagnose_pod(pod(running(ready=False)), *events)
    assert got.message == (
        "inference-server is not ready: readiness probe failed: 10.0.0.9:8000: connection refused"
    )
    status = event("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503")
    got = diagnose_pod(pod(running(ready=False, started=False)), status)
    assert got.message == "inference-server is not ready: startup probe failed: HTTP status 503"


def test_a_probe_of_an_earlier_instance_does_not_speak_for_the_running_one() -> None:
    old = event("Unhealthy", "Readiness probe failed: x", "inference-server", when=ago(hours=2))
    assert "probe" not in diagnose_pod(pod(running(ready=False)), old).message


def test_a_container_killed_by_its_liveness_probe_says_so() -> None:
    killed = event(
        "Unhealthy",
        "Liveness probe failed: HTTP probe failed with statuscode: 500",
        "inference-server",
        when=ago(minutes=2),
    )
    got = diagnose_pod(crashing_pod(137), killed)
    assert got.reason == "liveness probe failed"
    assert got.message == (
        "inference-server was killed because its liveness probe failed: HTTP status 500 "
        "(restarted 3 times)"
    )
    assert diagnose_pod(crashing_pod(1), killed).reason == "exit code 1"
    unready = event("Unhealthy", "Readiness probe failed: x", when=ago(minutes=2))
    assert diagnose_pod(crashing_pod(137), unready).reason == "exit code 137"
    assert diagnose_pod(crashing_pod(137, "OOMKilled"), killed).reason == "OOMKilled"


def test_a_node_that_is_not_ready_is_an_error_of_its_pods() -> None:
    given = pod(running(), conditions=(condition("Ready", "False"),))
    got = diagnose_pod(given, event("NodeNotReady", "Node is not ready"))
    assert (got.health, got.reason) == (PodHealth.ERROR, "NodeNotReady")


def test_a_pod_that_does_not_end_is_stuck() -> None:
    ending = pod(running(), deletionTimestamp=ago(seconds=-10))
    first = diagnose_pod(ending)
    assert (first.health, first.reason) == (PodHealth.TERMINATING, "Terminating")
    assert first.reevaluate_at == NOW + timedelta(seconds=40)
    stuck = diagnose(ending, (), first.reevaluate_at)
    assert (stuck.health, stuck.reason, stuck.reevaluate_at) == (
        PodHealth.TERMINATING,
        "Stuck terminating",
        None,
    )
    assert stuck.message.endswith("UTC: node gpu-1 has not confirmed its deletion")
    held = pod(running(), deletionTimestamp=ago(hours=1), finalizers=["acme.io/hold"])
    assert diagnose_pod(held).message == (
        "Stuck while being deleted since 2026-03-01 11:00 UTC: waits for finalizer acme.io/hold"
    )


def test_messages_are_one_line_of_bounded_length() -> None:
    for reason in ("ErrImagePull", "CreateContainerError", "ContainerCreating"):
        got = diagnose_pod(pending_pod(waiting(reason, "long\nlong " * 5000)))
        assert "\n" not in got.message
        assert len(got.message) < 500
