"""Pods in states that the diagnosis distinguishes."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from servedeck.serving.objects.records import Pod, ResourceRequirements
from tests.serving.factories import (
    condition,
    last_terminated,
    pod,
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
