"""The rows of the Overview that only workloads of other kinds than Deployment have."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from servedeck.detail.cards import CardRow
from servedeck.detail.workloads import group_size, ray_worker_groups, worker_template
from servedeck.serving.spec.env_file import contains_secret
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    mappings,
)
from servedeck.serving.text import format_count


def workload_rows(workload: JsonObject) -> Iterator[CardRow]:
    """What the workload has beside its Pod template; nothing for a Deployment."""
    match workload.get("kind"):
        case "LeaderWorkerSet":
            yield from _leader_worker_set_rows(workload)
        case "InferenceService":
            yield from _inference_service_rows(workload)
        case "Rollout":
            yield from _rollout_rows(workload)
        case "DaemonSet":
            yield from _condition_rows(as_mapping(workload, "status"))
        case "RayCluster" | "RayService":
            yield from _ray_rows(workload)


def _leader_worker_set_rows(workload: JsonObject) -> Iterator[CardRow]:
    yield CardRow("size", "Group Size", format_count(group_size(workload), "Pod"))
    pod_spec = as_mapping(worker_template(workload), "spec")
    yield from _worker_rows("worker", pod_spec)


def _worker_rows(key: str, pod_spec: Mapping[str, Any]) -> Iterator[CardRow]:
    for one in mappings(pod_spec.get("containers")):
        name = as_str(one.get("name"))
        yield CardRow(f"{key}.{name}", "Worker", name, note=as_str(one.get("image")))
        words = [
            str(word)
            for part in ("command", "args")
            if isinstance(one.get(part), list)
            for word in one[part]
        ]
        if words:
            text = shlex.join(words)
            yield CardRow(
                f"{key}.{name}.command",
                "Worker Command",
                text,
                looks_secret=contains_secret(text),
            )


def _inference_service_rows(workload: JsonObject) -> Iterator[CardRow]:
    model = as_mapping(workload, "spec", "predictor", "model")
    status = as_mapping(workload, "status")
    runtime = next(
        filter(
            None,
            (
                as_str(model.get("runtime")),
                as_str(status.get("servingRuntimeName")),
                as_str(status.get("clusterServingRuntimeName")),
            ),
        ),
        "",
    )
    for key, label, value in (
        ("format", "Model Format", as_str(as_mapping(model, "modelFormat").get("name"))),
        ("storage", "Storage URI", as_str(model.get("storageUri"))),
        ("runtime", "Serving Runtime", runtime),
        ("mode", "Deployment Mode", as_str(status.get("deploymentMode"))),
    ):
        if value:
            yield CardRow(key, label, value)
    yield from _condition_rows(status)


def _rollout_rows(workload: JsonObject) -> Iterator[CardRow]:
    strategies = as_mapping(workload, "spec", "strategy")
    for name, label in (("canary", "Canary"), ("blueGreen", "Blue-Green")):
        if name in strategies:
            yield CardRow("strategy", "Strategy", label)
    status = as_mapping(workload, "status")
    for key, label, name in (("phase", "Phase", "phase"), ("step", "Step", "currentStepIndex")):
        value = status.get(name)
        if isinstance(value, str | int) and value != "":
            yield CardRow(key, label, str(value))
    yield from _condition_rows(status)


def _ray_rows(workload: JsonObject) -> Iterator[CardRow]:
    status = as_mapping(workload, "status")
    for use, note in (("activeServiceStatus", ""), ("pendingServiceStatus", "being made")):
        part = as_mapping(status, use)
        if cluster := as_str(part.get("rayClusterName")):
            yield CardRow(use, "RayCluster", cluster, note=note)
        for name, application in as_mapping(part, "applicationStatuses").items():
            state = as_str(as_mapping(application).get("status"))
            why = as_str(as_mapping(application).get("message"))
            yield CardRow(f"{use}.{name}", f"Application {name}", state, note=why)
    for group in ray_worker_groups(workload):
        name = as_str(group.get("groupName"))
        count = (as_int(group.get("replicas")) or 0) * (as_int(group.get("numOfHosts")) or 1)
        yield CardRow(f"group.{name}", f"Workers {name}", format_count(count, "Pod"))
        yield from _worker_rows(f"group.{name}", as_mapping(group, "template", "spec"))
    yield from _condition_rows(status)


def _condition_rows(status: Mapping[str, Any]) -> Iterator[CardRow]:
    for one in mappings(status.get("conditions")):
        name, state = as_str(one.get("type")), as_str(one.get("status"))
        note = as_str(one.get("message")) or as_str(one.get("reason"))
        yield CardRow(f"condition.{name}", name, state, note=note)
