"""The status of a Pod as the kubelet writes it, made from the states of its containers.

Source: kubernetes pkg/kubelet/kubelet_pods.go, pkg/kubelet/status/generate.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servedeck.demo.controllers.base import find_condition
from servedeck.demo.controllers.kubelet.container_worker import ContainerWorker
from servedeck.demo.controllers.kubelet.pod_info import PodInfo
from servedeck.demo.store.objects import Json


@dataclass(frozen=True)
class PodStatusInput:
    """`generation`: metadata.generation of the Pod. `started_at` becomes `startTime`."""

    pod: PodInfo
    init: Sequence[ContainerWorker]
    main: Sequence[ContainerWorker]
    mounted: bool
    started_at: str
    generation: int


def pod_status(given: PodStatusInput, old: Json, now: str) -> Json:
    """The whole status; a condition whose status stays as in `old` keeps its transition time."""
    init, main = given.init, given.main
    ready = all(container.ready for container in main)
    incomplete = [c.name for c in init if not (c.sidecar and c.started) and c.exit_code != 0]
    initialized = all(c.started if c.sidecar else c.exit_code == 0 for c in init)
    unready = [c.name for c in main if not c.ready]
    conditions: list[Json] = []

    def add(type_: str, value: bool, reason: str = "", message: str = "") -> None:
        known = find_condition({"status": old}, type_)
        text = str(value)
        is_same = known is not None and known.get("status") == text
        since = (known or {}).get("lastTransitionTime", now) if is_same else now
        entry: Json = {
            "type": type_,
            "observedGeneration": given.generation,
            "status": text,
            "lastProbeTime": None,
            "lastTransitionTime": since,
        }
        if not value:
            entry |= {"reason": reason} | ({"message": message} if message else {})
        conditions.append(entry)

    add("PodReadyToStartContainers", given.mounted)
    add(
        "Initialized",
        initialized,
        "ContainersNotInitialized",
        f"containers with incomplete status: [{' '.join(incomplete)}]",
    )
    unready_message = f"containers with unready status: [{' '.join(unready)}]"
    gates = readiness_gate_message(given.pod, old)
    if ready and gates:
        add("Ready", False, "ReadinessGatesNotReady", gates)
    else:
        add("Ready", ready, "ContainersNotReady", unready_message)
    add("ContainersReady", ready, "ContainersNotReady", unready_message)
    add("PodScheduled", True)
    own = {entry["type"] for entry in conditions}
    foreign = [c for c in old.get("conditions") or () if c.get("type") not in own]
    status: Json = {
        "observedGeneration": given.generation,
        "phase": _phase(given),
        "conditions": [*foreign, *conditions],
        "hostIP": given.pod.host_address,
        "hostIPs": [{"ip": given.pod.host_address}],
        "startTime": given.started_at,
        "containerStatuses": [container.status() for container in main],
        "qosClass": old.get("qosClass", "Burstable"),
    }
    if given.mounted:
        status |= {"podIP": given.pod.address, "podIPs": [{"ip": given.pod.address}]}
    if init:
        status["initContainerStatuses"] = [container.status() for container in init]
    return status


def _phase(given: PodStatusInput) -> str:
    policy = given.pod.restart_policy
    if any(c.exit_code not in (None, 0) for c in given.init) and policy == "Never":
        return "Failed"
    ended = [c.exit_code for c in given.main if c.exit_code is not None]
    if len(ended) == len(given.main) and policy != "Always":
        return "Failed" if any(ended) else "Succeeded"
    return "Running" if all(c.has_run for c in given.main) else "Pending"


def readiness_gate_message(pod: PodInfo, old: Json) -> str:
    """Why a readiness gate keeps the Pod from being ready, "" where none does."""
    for gate in pod.spec.get("readinessGates") or ():
        name = gate.get("conditionType", "")
        known = find_condition({"status": old}, name)
        if known is None:
            return f'corresponding condition of pod readiness gate "{name}" does not exist.'
        if (value := known.get("status", "")) != "True":
            return f'the status of pod readiness gate "{name}" is not "True", but {value}'
    return ""
