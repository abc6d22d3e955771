"""Pods in random states, printed by a real API server and by servedeck."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from servedeck.serving.objects.records import Pod
from servedeck.serving.status.pods import format_restarts, pod_columns
from tests.control_plane.control_plane import ControlPlane

TABLE_MEDIA_TYPE = "application/json;as=Table;v=v1;g=meta.k8s.io"
HOLD_FINALIZER = "servedeck.dev/hold"
POD_COUNT = 300
TERMINATED_REASONS = ("", "Error", "Completed", "OOMKilled", "ContainerCannotRun", "StartError")
WAITING_REASONS = (
    "",
    "PodInitializing",
    "ContainerCreating",
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "CreateContainerConfigError",
)
PHASES = ("Pending", "Running", "Running", "Running", "Succeeded", "Failed", "Unknown")
POD_REASONS = ("",) * 8 + ("Evicted", "NodeLost", "UnexpectedAdmissionError")


def chance(rng: random.Random, probability: float = 0.5) -> bool:
    return rng.random() < probability


def random_past_time(rng: random.Random) -> str:
    """A time whose formatted age mostly does not change within the test's few seconds."""
    when = datetime.now(UTC) - timedelta(minutes=rng.randint(11, 60 * 24 * 30), seconds=20)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def random_terminated_state(rng: random.Random) -> dict[str, Any]:
    state: dict[str, Any] = {
        "exitCode": rng.choice((0, 0, 1, 2, 137, 255)),
        "reason": rng.choice(TERMINATED_REASONS),
        "finishedAt": random_past_time(rng),
    }
    if chance(rng, 0.2):
        state["signal"] = rng.choice((9, 15))
    return state


def random_container_status(rng: random.Random, name: str) -> dict[str, Any]:
    state: dict[str, Any]
    match rng.randrange(8):
        case 0:
            state = {}
        case 1 | 2:
            state = {"waiting": {"reason": rng.choice(WAITING_REASONS), "message": "because"}}
        case 3 | 4:
            state = {"terminated": random_terminated_state(rng)}
        case _:
            state = {"running": {"startedAt": random_past_time(rng)}}
    status: dict[str, Any] = {
        "name": name,
        "image": "example/server:1",
        "imageID": "",
        "ready": chance(rng, 0.7),
        "restartCount": rng.choice((0, 0, 0, 1, 3, 40)),
        "state": state,
        "lastState": {"terminated": random_terminated_state(rng)} if chance(rng) else {},
    }
    if chance(rng, 0.7):
        status["started"] = chance(rng, 0.7)
    return status


def random_init_status(rng: random.Random, name: str) -> dict[str, Any]:
    status = random_container_status(rng, name)
    if chance(rng, 0.6):
        done = {"exitCode": 0, "reason": "Completed", "finishedAt": random_past_time(rng)}
        status["state"] = {"terminated": done}
    return status


def random_pod(rng: random.Random, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Pod to create, and its status."""
    containers = [f"c{index}" for index in range(rng.choice((1, 1, 2, 3)))]
    inits = [f"i{index}" for index in range(rng.choice((0, 0, 1, 2, 3)))]
    body = {
        "metadata": {"name": name, "finalizers": [HOLD_FINALIZER]},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{"name": each, "image": "example/server:1"} for each in containers],
            "initContainers": [
                {"name": each, "image": "example/init:1"}
                | ({"restartPolicy": "Always"} if chance(rng) else {})
                for each in inits
            ],
        },
    }
    conditions = [
        {"type": kind, "status": rng.choice(("True", "True", "False", "Unknown"))}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        if chance(rng, 0.7)
    ]
    if chance(rng, 0.05):
        conditions.append({"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"})
    status = {
        "phase": rng.choice(PHASES),
        "reason": rng.choice(POD_REASONS),
        "conditions": conditions,
        "initContainerStatuses": [
            random_init_status(rng, each) for each in inits if chance(rng, 0.95)
        ],
        "containerStatuses": [
            random_container_status(rng, each) for each in containers if chance(rng, 0.95)
        ],
    }
    return body, status


def test_the_columns_are_those_of_the_api_servers_table(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    rng = random.Random(20260301)
    for number in range(POD_COUNT):
        name = f"pod-{number}"
        body, status = random_pod(rng, name)
        control_plane.create(path, body)
        patch = {"status": status}
        control_plane.request("PATCH", f"{path}/{name}/status", patch)
        if chance(rng, 0.15):
            control_plane.request("DELETE", f"{path}/{name}")

    try:
        before = datetime.now(UTC)
        # Rows with their objects, so that both have the same resource version.
        table = control_plane.request(
            "GET", f"{path}?includeObject=Object", accept=TABLE_MEDIA_TYPE
        )
        after = datetime.now(UTC)
    finally:
        for number in range(POD_COUNT):
            release = {"metadata": {"finalizers": None}}
            control_plane.request("PATCH", f"{path}/pod-{number}", release)

    pods = msgspec.convert([row["object"] for row in table["rows"]], list[Pod])
    at = {column["name"]: index for index, column in enumerate(table["columnDefinitions"])}
    printed = {
        row["cells"][at["Name"]]: tuple(
            row["cells"][at[name]] for name in ("Ready", "Status", "Restarts")
        )
        for row in table["rows"]
    }
    assert len(printed) == len(pods) == POD_COUNT
    for pod in pods:
        ours = pod_columns(pod)
        ready, status, restarts = printed[pod.metadata.name]
        assert (ours.ready, ours.status) == (ready, status), msgspec.to_builtins(pod)
        # Time passed on the server while it printed.
        assert restarts in {format_restarts(ours, moment) for moment in (before, after)}
    assert len({status for _, status, _ in printed.values()}) > 30
    assert any("ago" in restarts for _, _, restarts in printed.values())
