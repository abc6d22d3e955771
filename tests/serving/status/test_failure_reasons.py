"""Each cause with its health, reason and message."""

from __future__ import annotations

import msgspec
import pytest

from servedeck.serving.objects.records import ObjectMeta, OwnerReference, Pod
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.pod_diagnosis import diagnose
from tests.serving.factories import (
    NOW,
    condition,
    healthy,
    last_terminated,
    pod,
    running,
    terminated,
    waiting,
)
from tests.serving.status.pod_factory import (
    CREATING,
    NO_GPU,
    PULL_DENIED,
    TRACEBACK,
    crashing_pod,
    pending_pod,
    unscheduled_pod,
    with_resources,
)

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
        "inference-server was killed because memory ran out (OOMKilled); it has no memory limit"
        " (restarted 3 times)",
    ),
    "an exception": (
        crashing_pod(1, message=TRACEBACK),
        PodHealth.ERROR,
        "exit code 1",
        "inference-server exited with code 1: ValueError: bad dtype (restarted 3 times)",
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
        "inference-server was terminated by SIGSEGV, a crash in native code (exit code 139) "
        "(restarted 3 times)",
    ),
    "command not found": (
        crashing_pod(127),
        PodHealth.ERROR,
        "exit code 127",
        "inference-server exited with code 127: its command was not found (restarted 3 times)",
    ),
    "a server that just ends": (
        crashing_pod(0, "Completed"),
        PodHealth.ERROR,
        "exit code 0",
        "inference-server exited with code 0: a server must keep running (restarted 3 times)",
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
        "inference-server exited with code 1",
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
    "image rejected": (
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
        "0 of 3 nodes fit: 2 with an untolerated taint (gpu: yes), 1 at their maximum number of "
        "Pods",
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
        "Evicted: node gpu-1 was low on memory",
    ),
    "rejected by its node": (
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
        "Node gpu-1 rejected it: it requests 1 nvidia.com/gpu, but 0 are available",
    ),
    "failed without a reason": (
        pod(terminated(2, "Error"), phase="Failed"),
        PodHealth.ERROR,
        "exit code 2",
        "inference-server exited with code 2",
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
        "The Pod terminated; nothing replaces it",
    ),
    "ended well, with a controller": (
        msgspec.structs.replace(
            pod(terminated(0, "Completed"), phase="Succeeded"),
            metadata=ObjectMeta(
                owner_references=(OwnerReference(kind="StatefulSet", controller=True),)
            ),
        ),
        PodHealth.TERMINATING,
        "Completed",
        "The Pod terminated; its StatefulSet replaces it",
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
        "fetch exited with code 1",
    ),
    "a sidecar ended": (
        pending_pod(
            waiting("PodInitializing"),
            init=(terminated(0, "Completed", name="s"),),
            sidecars=("s",),
        ),
        PodHealth.ERROR,
        "exit code 0",
        "s exited with code 0: a server must keep running",
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
        "inference-server is being created on node gpu-1 (image pull, volumes, devices)",
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
        "inference-server is running but not ready yet",
    ),
    "no longer ready": (
        pod(running(ready=False)),
        PodHealth.STARTING,
        "NotReady",
        "inference-server is running but not ready yet",
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
        "Readiness gate servedeck.dev/cool is not met: the condition is not set",
    ),
    "all ready, the Pod not": (
        pod(running(), conditions=(condition("Ready", "False"),)),
        PodHealth.STARTING,
        "NotReady",
        "All containers are ready but the Pod is not: its node may not respond",
    ),
    "a crash of a moment ago counts more than another's image": (
        pending_pod(
            waiting("ImagePullBackOff", name="transformer"),
            running(ready=False, restartCount=1, lastState=last_terminated(1)),
        ),
        PodHealth.ERROR,
        "exit code 1",
        "inference-server exited with code 1 (restarted once)",
    ),
    "a crash counts more than another's image": (
        pending_pod(
            waiting("ImagePullBackOff", name="transformer"),
            waiting("CrashLoopBackOff", lastState=last_terminated(1)),
        ),
        PodHealth.ERROR,
        "exit code 1",
        "inference-server exited with code 1",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_failure_reason(name: str) -> None:
    given, health, reason, message = CASES[name]
    found = diagnose(given, (), NOW)
    assert (found.health, found.reason, found.message) == (health, reason, message)
