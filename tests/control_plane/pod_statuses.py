"""Statuses of Pods, as a kubelet reports them."""

from __future__ import annotations

from tests.control_plane.objects import JsonObject, timestamp


def conditions(ready: bool, *, initialized: bool = True) -> list[JsonObject]:
    states = {"Initialized": initialized, "ContainersReady": ready, "Ready": ready}
    return [
        {"type": name, "status": str(value), "lastTransitionTime": timestamp()}
        for name, value in states.items()
    ]


def container_status(
    state: JsonObject,
    *,
    ready: bool = False,
    restarts: int = 0,
    last: JsonObject | None = None,
    name: str = "inference-server",
    started: bool | None = None,
) -> JsonObject:
    result = {
        "name": name,
        "image": "vllm/vllm-openai:v0.10.0",
        "imageID": "",
        "ready": ready,
        "started": ready if started is None else started,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }
    if restarts or "running" in state:
        result["containerID"] = f"containerd://{name}-{restarts}"
    return result


def waiting_state(reason: str, message: str = "") -> JsonObject:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def terminated_state(
    code: int, reason: str = "Error", message: str = "", ago: float = 20
) -> JsonObject:
    body = {
        "exitCode": code,
        "reason": reason,
        "startedAt": timestamp(ago + 30),
        "finishedAt": timestamp(ago),
        "containerID": "containerd://previous",
    }
    return {"terminated": body | ({"message": message} if message else {})}


def running_state(ago: float = 0) -> JsonObject:
    return {"running": {"startedAt": timestamp(ago)}}


def pod_status(
    phase: str, *containers: JsonObject, ready: bool = False, init: JsonObject | None = None
) -> JsonObject:
    """Status of a Pod that its node has accepted; with `init`, still initializing."""
    body: JsonObject = {
        "phase": phase,
        "conditions": conditions(ready, initialized=init is None),
        "containerStatuses": list(containers),
        "startTime": timestamp(60),
    }
    if init is not None:
        body["initContainerStatuses"] = [init]
    return body


BACK_OFF_MESSAGE = "back-off 5m0s restarting failed container=inference-server"
POD_INITIALIZING = "PodInitializing"


def ready_status() -> JsonObject:
    return pod_status("Running", container_status(running_state(), ready=True), ready=True)


def model_loading() -> JsonObject:
    """Running, with the model still loading."""
    return pod_status("Running", container_status(running_state(5), started=False))


def crash_loop_oom() -> JsonObject:
    last = terminated_state(137, "OOMKilled")
    state = waiting_state("CrashLoopBackOff", BACK_OFF_MESSAGE)
    return pod_status("Running", container_status(state, restarts=4, last=last))


def crash_loop(code: int = 1, message: str = "") -> JsonObject:
    last = terminated_state(code, "Error", message)
    state = waiting_state("CrashLoopBackOff", BACK_OFF_MESSAGE)
    return pod_status("Running", container_status(state, restarts=7, last=last))


def oom_killed() -> JsonObject:
    return pod_status(
        "Running", container_status(terminated_state(137, "OOMKilled", ago=1), restarts=1)
    )


def image_pull_error(reason: str = "ImagePullBackOff") -> JsonObject:
    message = {
        "ErrImagePull": "failed to pull and unpack image: not found",
        "ImagePullBackOff": 'Back-off pulling image "vllm/vllm-openai:nope"',
        "InvalidImageName": 'Failed to apply default image tag "VLLM:": invalid reference format',
    }[reason]
    return pod_status("Pending", container_status(waiting_state(reason, message)))


def config_error() -> JsonObject:
    message = 'secret "hf-token" not found'
    return pod_status(
        "Pending", container_status(waiting_state("CreateContainerConfigError", message))
    )


def run_error() -> JsonObject:
    message = "failed to create containerd task: exec: vllm: executable file not found in $PATH"
    last = terminated_state(128, "StartError", message)
    state = waiting_state("RunContainerError", message)
    return pod_status("Running", container_status(state, restarts=2, last=last))


def init_error() -> JsonObject:
    last = terminated_state(1, "Error")
    state = waiting_state("CrashLoopBackOff", "back-off 40s restarting failed container=download")
    init = container_status(state, name="download", restarts=3, last=last)
    return pod_status("Pending", container_status(waiting_state(POD_INITIALIZING)), init=init)


def init_failed() -> JsonObject:
    init = container_status(terminated_state(2, "Error"), name="download")
    return pod_status("Pending", container_status(waiting_state(POD_INITIALIZING)), init=init)


def evicted() -> JsonObject:
    message = "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi."
    return {"phase": "Failed", "reason": "Evicted", "message": message, "startTime": timestamp(90)}


def admission_error() -> JsonObject:
    message = (
        "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. "
        "Requested: 1, Available: 0, which is unexpected"
    )
    return {
        "phase": "Failed",
        "reason": "UnexpectedAdmissionError",
        "message": message,
        "startTime": timestamp(90),
    }


def container_creating() -> JsonObject:
    return pod_status("Pending", container_status(waiting_state("ContainerCreating")))


def event(
    pod: JsonObject, reason: str, message: str, *, type: str = "Warning", count: int = 1
) -> JsonObject:
    """An Event about a Pod or another object, as written by the kubelet and the controllers."""
    meta = pod["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta['name']}."},
        "involvedObject": {
            "apiVersion": pod.get("apiVersion", "v1"),
            "kind": pod.get("kind", "Pod"),
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        },
        "type": type,
        "reason": reason,
        "message": message,
        "count": count,
        "firstTimestamp": timestamp(30),
        "lastTimestamp": timestamp(),
        "source": {"component": "kubelet"},
        "reportingComponent": "kubelet",
    }
