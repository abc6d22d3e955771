"""The commands of kubectl that do the same as an operation, to be copied."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.serving.text import one_line, sanitize

_KUBECTL = re.compile(r"(?:^|(?<=: ))kubectl(?= )")
"""The first word of a command, which a sentence has after a colon."""


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


def for_cluster(text: str, context: str, kubeconfig: str = "") -> str:
    """The command, or the sentence with a command, for a context: another shell, or the same one
    later, may have another current context. `context` is "" with a service account, `kubeconfig`
    the file of the command line, "" for the default ones."""
    options = ["--kubeconfig", kubeconfig] if kubeconfig else []
    options += ["--context", context] if context else []
    return _KUBECTL.sub(lambda _: _join(["kubectl", *options]), text, count=1)


def pause_scaled_object_command(namespace: str, name: str) -> str:
    """The command that makes KEDA leave the replicas alone (KEDA documentation, Pause
    autoscaling)."""
    annotation = "autoscaling.keda.sh/paused=true"
    words = ["kubectl", "-n", namespace, "annotate", "--overwrite", "scaledobject", name]
    return _join([*words, annotation])


def _join(words: Sequence[str]) -> str:
    return shlex.join(one_line(sanitize(one)) for one in words)
