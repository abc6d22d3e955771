"""The commands of kubectl that do the same as an operation, to be copied."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str
from servedeck.serving.text import one_line, sanitize


def kubectl_command(operation: Operation, others: Sequence[str] = ()) -> str:
    """The command without a context, `kubectl -n chat scale deployment/llama --replicas=3`;
    sanitized. `others` are the further objects of a deletion, "service/llama"."""
    words = ["kubectl"]
    if operation.namespace:
        words += ["-n", operation.namespace]
    workload = f"deployment/{operation.name}"
    match operation.kind:
        case OperationKind.SCALE | OperationKind.START | OperationKind.STOP:
            words += ["scale", workload, f"--replicas={operation.replicas or 0}"]
        case OperationKind.RESTART | OperationKind.PAUSE | OperationKind.RESUME:
            words += ["rollout", operation.kind.value, workload]
        case OperationKind.ROLLBACK:
            words += ["rollout", "undo", workload]
            if operation.revision:
                words.append(f"--to-revision={operation.revision}")
        case OperationKind.DELETE:
            words += ["delete", workload, *others]
        case OperationKind.DELETE_POD:
            words += ["delete", f"pod/{operation.name}"]
        case OperationKind.EDIT:
            words += ["edit", f"{operation.resource.kind.lower()}/{operation.name}"]
        case _:
            words += [operation.kind.value, operation.name]
    return _join(words)


def adoption_command(
    operation: Operation, created: Sequence[Mapping[str, Any]], *, adds_label: bool
) -> str:
    """The commands of an adoption: `kubectl label`, and for each object that it creates
    `kubectl expose` or, where no command makes one, `kubectl create` of its JSON."""
    start = ["kubectl", "-n", operation.namespace]
    workload = f"deployment/{operation.name}"
    commands = []
    if adds_label:
        commands.append(_join([*start, "label", workload, f"{SERVING_LABEL}={operation.name}"]))
    for one in created:
        if one.get("kind") == "Service":
            commands.append(_join([*start, "expose", workload, *_expose_options(one)]))
        else:
            content = json.dumps(one, separators=(",", ":"))
            commands.append(f"{_join(['echo', content])} | {_join([*start, 'create', '-f', '-'])}")
    return " && ".join(commands)


def release_command(
    operation: Operation, deleted: Sequence[Mapping[str, Any]], *, removes_label: bool
) -> str:
    """The commands that take an adoption back."""
    start = ["kubectl", "-n", operation.namespace]
    commands = []
    if removes_label:
        commands.append(
            _join([*start, "label", f"deployment/{operation.name}", f"{SERVING_LABEL}-"])
        )
    if deleted:
        names = [
            f"{as_str(one.get('kind')).lower()}/{as_mapping(one, 'metadata').get('name')}"
            for one in deleted
        ]
        commands.append(_join([*start, "delete", *names]))
    return " && ".join(commands)


def _expose_options(service: Mapping[str, Any]) -> list[str]:
    """A Service of one port, as options of `kubectl expose`."""
    spec, metadata = as_mapping(service, "spec"), as_mapping(service, "metadata")
    [port] = spec["ports"]
    selector, labels = (
        ",".join(f"{key}={value}" for key, value in pairs.items())
        for pairs in (spec["selector"], as_mapping(metadata, "labels"))
    )
    return [
        f"--name={metadata['name']}",
        f"--port={port['port']}",
        f"--target-port={port['targetPort']}",
        f"--selector={selector}",
        f"--labels={labels}",
    ]


def pause_scaled_object_command(namespace: str, name: str) -> str:
    """The command that makes KEDA leave the replicas alone (KEDA documentation, Pause
    autoscaling)."""
    annotation = "autoscaling.keda.sh/paused=true"
    words = ["kubectl", "-n", namespace, "annotate", "--overwrite", "scaledobject", name]
    return _join([*words, annotation])


def _join(words: Sequence[str]) -> str:
    return shlex.join(one_line(sanitize(one)) for one in words)
