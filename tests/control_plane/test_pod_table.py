"""READY, STATUS and RESTARTS against the table that the API server itself prints."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec

from servedeck.serving.objects import Pod
from servedeck.serving.pods import columns, restarts_text
from tests.control_plane import objects
from tests.control_plane.plane import ControlPlane

COUNT = 400
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
NODE = "no-kubelet"
KEEP = "tests.servedeck.dev/keep"
"""Finalizer: the API server removes Pods that have ended at once otherwise."""

WAITING = (
    "",
    "ContainerCreating",
    "PodInitializing",
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "CreateContainerConfigError",
    "RunContainerError",
)
TERMINATED = ("", "Completed", "Error", "OOMKilled", "ContainerCannotRun")


def random_state(dice: random.Random) -> dict[str, Any]:
    match dice.randrange(4):
        case 0:
            reason = dice.choice(WAITING)
            return {"waiting": {"reason": reason} if reason else {}}
        case 1:
            code = dice.choice((0, 0, 1, 137))
            signal = dice.choice((0, 0, 9))
            ended = {"exitCode": code, "signal": signal, "reason": dice.choice(TERMINATED)}
            return {"terminated": ended}
        case 2:
            return {"running": {"startedAt": objects.stamp(600)}}
    return {}


def random_container(dice: random.Random, name: str) -> dict[str, Any]:
    state = random_state(dice)
    restarts = dice.choice((0, 0, 1, 3, 250))
    last: dict[str, Any] = {}
    if restarts and dice.random() < 0.8:
        last = objects.terminated(dice.choice((0, 1, 137)), ago=dice.uniform(200, 200_000))
    status = objects.container(state, name=name, restarts=restarts, last=last)
    status["ready"] = dice.random() < 0.5
    status["started"] = dice.choice((None, True, False))
    return status


def random_pod(dice: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """A Pod, its status, and whether it is to be deleted."""
    main = [f"main-{n}" for n in range(dice.randint(1, 3))]
    init = [f"init-{n}" for n in range(dice.choice((0, 0, 1, 2, 3)))]
    spec: dict[str, Any] = {
        "nodeName": dice.choice((NODE, NODE, NODE, "")),
        "containers": [{"name": name, "image": "x"} for name in main],
        "initContainers": [
            {"name": name, "image": "x"}
            | ({"restartPolicy": "Always"} if dice.random() < 0.4 else {})
            for name in init
        ],
    }
    phase = dice.choice(("Pending", "Running", "Running", "Succeeded", "Failed", "Unknown"))
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": [
            {"type": kind, "status": dice.choice(("True", "False"))}
            for kind in ("Initialized", "Ready", "ContainersReady")
            if dice.random() < 0.7
        ],
        "containerStatuses": [random_container(dice, name) for name in main],
        "initContainerStatuses": [random_container(dice, name) for name in init],
    }
    if dice.random() < 0.1:
        status["reason"] = dice.choice(("Evicted", "NodeLost", "UnexpectedAdmissionError"))
    if dice.random() < 0.05:
        gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
        status["conditions"].append(gated)
    body: dict[str, Any] = {
        "metadata": {"name": f"pod-{number:03}"},
        "spec": spec | {"schedulerName": "nobody", "terminationGracePeriodSeconds": 600},
    }
    deleted = dice.random() < 0.15
    if deleted:
        body["metadata"]["finalizers"] = [KEEP]
    return body, status, deleted


def test_columns_equal_those_of_the_api_server(control_plane: ControlPlane, namespace: str) -> None:
    dice = random.Random(36)
    control_plane.create("/api/v1/nodes", objects.node(NODE, managed=False))
    path = f"/api/v1/namespaces/{namespace}/pods"

    def make(case: tuple[dict[str, Any], dict[str, Any], bool]) -> None:
        body, status, deleted = case
        pod = control_plane.request("POST", path, body)
        control_plane.set_pod_status(pod, status)
        if deleted:
            control_plane.request("DELETE", f"{path}/{pod['metadata']['name']}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, [random_pod(dice, number) for number in range(COUNT)]))
    before = datetime.now(UTC)
    table = control_plane.request("GET", path, accept=TABLE)
    pods = control_plane.request("GET", path)["items"]
    after = datetime.now(UTC)
    names = [column["name"] for column in table["columnDefinitions"]]
    wanted = {
        row["object"]["metadata"]["name"]: dict(zip(names, row["cells"], strict=True))
        for row in table["rows"]
    }
    assert len(wanted) == len(pods) == COUNT
    wrong: list[object] = []
    statuses = set()
    for item in pods:
        pod = msgspec.convert(item, Pod)
        row, mine = wanted[pod.metadata.name], columns(pod)
        statuses.add(mine.status)
        restarts = {restarts_text(mine, now) for now in (before, after)}
        if (row["Ready"], row["Status"]) != (mine.ready, mine.status):
            wrong.append((row, mine, item["status"]))
        elif str(row["Restarts"]) not in restarts:
            wrong.append((row["Restarts"], restarts, item["status"]))
    release(control_plane, path)
    assert not wrong, wrong[:3]
    assert len(statuses) >= 20, "too few different statuses to mean anything"


def release(control_plane: ControlPlane, path: str) -> None:
    """Delete the Pods, those with a finalizer too, so that the namespace can go."""
    control_plane.request("DELETE", f"{path}?gracePeriodSeconds=0")
    for pod in control_plane.request("GET", path)["items"]:
        name = pod["metadata"]["name"]
        control_plane.request("PATCH", f"{path}/{name}", {"metadata": {"finalizers": None}})
