"""Messages of the kubelet, the scheduler and registries, shortened for an operator.

All functions take the raw text of an object and return one line. Unknown texts are returned
unchanged, on one line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from servedeck.serving.objects.records import ContainerStateTerminated
from servedeck.serving.text import one_line, truncate

_MAX_MESSAGE_WIDTH = 300
"""Terminal cells of a message; the full text is in `Diagnosis.raw_message`."""


def shorten(text: str) -> str:
    """A part of a message, on one line and of bounded length."""
    return truncate(one_line(text), _MAX_MESSAGE_WIDTH)


def shorten_message(message: str) -> str:
    """A message made of several parts, on one line; only unusually long names reach this limit."""
    return truncate(one_line(message), 2 * _MAX_MESSAGE_WIDTH)


# -- how a container ended --------------------------------------------------------------------

# 128 + n is the exit code that a shell, and so the kubelet, reports for signal n (signal(7)).
_SIGNAL_NAMES = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV, a crash in native code",
    13: "SIGPIPE",
    15: "SIGTERM",
}
_EXIT_CODE_MESSAGES = {
    0: "a server must keep running",
    126: "its command cannot be executed",
    127: "its command was not found",
}
# Reasons that add nothing to the exit code.
_GENERIC_REASONS = frozenset({"", "Error", "Completed"})
_START_ERROR_REASONS = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})


def describe_termination(
    terminated: ContainerStateTerminated, memory_limit: str | None = ""
) -> tuple[str, str]:
    """Short reason, and predicate of a sentence, for a terminated container.

    The predicate follows the container's name: "exceeded its memory limit and was killed".
    `memory_limit` is the container's, "" if unknown and None if it has none. OOMKilled is only
    reported if the kernel killed the container's first process: a killed worker process
    appears as an ordinary exit code.
    """
    code, detail = terminated.exit_code, _last_nonempty_line(terminated.message)
    if terminated.reason == "OOMKilled":
        if memory_limit is None:
            return (
                "OOMKilled",
                "was killed because memory ran out (OOMKilled); it has no memory limit",
            )
        limit = f" of {shorten(memory_limit)}" if memory_limit else ""
        return "OOMKilled", f"exceeded its memory limit{limit} and was killed (OOMKilled)"
    if terminated.reason in _START_ERROR_REASONS:
        why = strip_runtime_wrappers(terminated.message)
        return terminated.reason, f"could not start: {why}" if why else "could not start"
    if terminated.reason not in _GENERIC_REASONS:
        words = f"terminated: {terminated.reason}"
        return terminated.reason, f"{words}, {detail}" if detail else words

    signal = terminated.signal or (code - 128 if 128 < code <= 192 else 0)
    reason = f"signal {signal}" if terminated.signal and not code else f"exit code {code}"
    if signal == 9:
        words = f"was killed ({reason}, SIGKILL)"
        if not detail:
            words += ": its node ran out of memory, or it did not stop within its grace period"
    elif signal:
        words = f"was terminated by {_SIGNAL_NAMES.get(signal, f'signal {signal}')} ({reason})"
    elif code in _EXIT_CODE_MESSAGES:
        words = f"exited with code {code}: {_EXIT_CODE_MESSAGES[code]}"
    else:
        words = f"exited with code {code}"
    return reason, f"{words}: {detail}" if detail else words


def _last_nonempty_line(message: str) -> str:
    """The last informative line: in a traceback the exception itself."""
    for line in reversed(message[-4096:].splitlines()):
        if line.strip():
            return shorten(line)
    return ""


_RUNTIME_WRAPPERS = re.compile(
    r"^(?:(?:failed to create containerd task|failed to create shim task|failed to start containerd"
    r" task \S+|failed to generate container \S+ spec|OCI runtime create failed|OCI runtime error"
    r"|runc create failed|container create failed|unable to start container process"
    r"|rpc error: code = \w+ desc =|Error response from daemon):? )+"
)


def strip_runtime_wrappers(message: str) -> str:
    """A container runtime's message without the prefixes of the layers above it."""
    return shorten(_RUNTIME_WRAPPERS.sub("", one_line(message)).removesuffix(": unknown"))


# -- images -----------------------------------------------------------------------------------

_IMAGE_PATTERN = re.compile(r'\b[Ii]mage (?:name )?"([^"]+)"')
_BACK_OFF_PATTERN = re.compile(r'^Back-off pulling image "[^"]*"(?:: )?(?:ErrImagePull: )?')
_IMAGE_WRAPPERS = re.compile(
    r'^(?:(?:rpc error: code = \w+ desc = |Error response from daemon: |failed to [a-z ]+ "[^"]*": '
    r'|Failed to [a-z ]+ "[^"]*": |couldn\'t parse image name "[^"]*": |initializing source \S+: '
    r"))+"
)


def parse_image_pull_error(message: str) -> tuple[str, str]:
    """Image and reason of a failed pull, each "" if not in the message. The image name before "not
    found" is dropped, as the sentence already contains it.
    """
    line = one_line(message)
    found = _IMAGE_PATTERN.search(line)
    name = found[1] if found else ""
    why = _IMAGE_WRAPPERS.sub("", _BACK_OFF_PATTERN.sub("", line))
    if why.endswith(": not found"):
        why = "not found in the registry"
    return truncate(name, _MAX_MESSAGE_WIDTH), shorten(why)


# -- the scheduler ----------------------------------------------------------------------------


class SchedulingFailure(NamedTuple):
    """The scheduler's message about an unschedulable Pod."""

    node_count: int
    """Number of nodes evaluated."""
    node_reasons: tuple[tuple[int, str], ...]
    """(number of nodes, why they do not fit), in the scheduler's order."""
    prefilter_reasons: tuple[str, ...]
    """Reasons that apply to no particular node, such as a missing PVC."""


_NODES_AVAILABLE_PATTERN = re.compile(
    r"^\d+/(?P<nodes>\d+) nodes are available: ?(?P<body>.*)$", re.DOTALL
)
_PREEMPTION_PATTERN = re.compile(r"\.? (?:no new claims to deallocate, )?preemption:")
_NODE_REASON_PATTERN = re.compile(r"^(\d+) (.+)$", re.DOTALL)


def parse_scheduling_failure(message: str) -> SchedulingFailure | None:
    """Parse the scheduler's message; None for another text.

    Source: kubernetes v1.36 pkg/scheduler/framework/types.go, FitError.Error.
    """
    match = _NODES_AVAILABLE_PATTERN.match(message)
    if match is None or len(match["nodes"]) > 9:
        return None
    body = _PREEMPTION_PATTERN.split(match["body"], maxsplit=1)[0].strip().rstrip(".")
    reasons: list[tuple[int, str]] = []
    prefilter: list[str] = []
    for part in re.split(r", (?=\d+ )", body):
        counted = _NODE_REASON_PATTERN.match(part.strip())
        if counted is not None and len(counted[1]) <= 9:
            reasons.append((int(counted[1]), counted[2].rstrip(".")))
        elif part:
            prefilter.append(part.strip().removesuffix(". not found"))
    return SchedulingFailure(int(match["nodes"]), tuple(reasons), tuple(prefilter))


_TAINT_PATTERN = re.compile(r"^node\(s\) had untolerated taint(?:\(s\)| \{(.*?)(?:: )?\})$")
_NODE_REASON_MESSAGES = {
    "node(s) were unschedulable": "cordoned",
    "node(s) didn't match Pod's node affinity/selector": "outside its node selector or affinity",
    "node(s) didn't match pod affinity rules": "not matching its affinity to other Pods",
    "node(s) didn't match pod anti-affinity rules": "not matching its anti-affinity to other Pods",
    "node(s) had volume node affinity conflict": "outside its volume's node affinity",
    "node(s) didn't find available persistent volumes to bind": "without a volume for its PVC",
    "node(s) didn't have free ports for the requested pod ports": "without its host port free",
    "Too many pods": "at their maximum number of Pods",
}


def insufficient_resources(message: str) -> dict[str, int]:
    """The resources of which nodes have too little free, according to the scheduler, with the
    number of nodes."""
    found = parse_scheduling_failure(message)
    return {
        why.removeprefix("Insufficient "): nodes
        for nodes, why in (found.node_reasons if found is not None else ())
        if why.startswith("Insufficient ")
    }


def describe_unschedulable(message: str) -> str:
    """Why no node fits the Pod, insufficient resources first."""
    found = parse_scheduling_failure(message)
    if found is None or not (found.node_reasons or found.prefilter_reasons):
        return shorten(message) or "No node fits it"
    if found.prefilter_reasons:
        return shorten(f"It cannot be scheduled: {', '.join(found.prefilter_reasons)}")
    if not found.node_count:
        return "The cluster has no nodes"
    ordered = sorted(
        found.node_reasons, key=lambda reason: not reason[1].startswith("Insufficient ")
    )
    parts = ", ".join(f"{nodes} {_describe_node_reason(why)}" for nodes, why in ordered)
    return shorten(f"0 of {found.node_count} nodes fit: {parts}")


def _describe_node_reason(why: str) -> str:
    if why.startswith("Insufficient "):
        return f"without enough free {why.removeprefix('Insufficient ')}"
    taint = _TAINT_PATTERN.match(why)
    if taint is not None:
        return f"with an untolerated taint{f' ({taint[1]})' if taint[1] else ''}"
    return _NODE_REASON_MESSAGES.get(why) or f"where {why.removeprefix('node(s) ')}"


# -- probes, volumes, sandboxes, quotas -------------------------------------------------------

_PROBE_FAILURE_PATTERN = re.compile(
    r"^(Startup|Readiness|Liveness) probe (?:failed|errored):? ?(.*)$", re.DOTALL
)
_HTTP_REQUEST_PATTERN = re.compile(r'^(?:Get|Post) "[^"]*": ')
_DIAL_ERROR_PATTERN = re.compile(r"^dial tcp (\S+): connect: ")


class ProbeFailure(NamedTuple):
    kind: str
    """"startup", "readiness" or "liveness"."""
    detail: str


def parse_probe_failure(message: str) -> ProbeFailure | None:
    """Which probe failed and how, from an Unhealthy Event; None for another text."""
    match = _PROBE_FAILURE_PATTERN.match(message)
    if match is None:
        return None
    why = _DIAL_ERROR_PATTERN.sub(r"\1: ", _HTTP_REQUEST_PATTERN.sub("", one_line(match[2])))
    why = why.replace("HTTP probe failed with statuscode: ", "HTTP status ")
    return ProbeFailure(match[1].lower(), shorten(why))


_SETUP_ERROR_MESSAGES = {
    "FailedMount": "A volume cannot be mounted",
    "FailedMapVolume": "A volume cannot be mapped",
    "FailedAttachVolume": "A volume cannot be attached",
    "FailedCreatePodSandBox": "The Pod's sandbox cannot be created",
    "NetworkNotReady": "The node's network is not ready",
    "FailedPrepareDynamicResources": "A claimed device cannot be prepared",
}
SETUP_EVENT_REASONS = frozenset(_SETUP_ERROR_MESSAGES)
"""Reasons of Events about why the node cannot start a Pod's containers."""
_VOLUME_ERROR_PATTERN = re.compile(
    r"^(?:MountVolume|AttachVolume|MapVolume)\.\w+ failed for (volume \S+) ?: "
)


def describe_setup_error(reason: str, message: str) -> str:
    """Why the node cannot start the Pod's containers, from one of the `SETUP_EVENT_REASONS`."""
    line = _VOLUME_ERROR_PATTERN.sub(r"\1: ", one_line(message))
    return shorten(
        f"{_SETUP_ERROR_MESSAGES[reason]}: {strip_runtime_wrappers(line)}"
        if line
        else _SETUP_ERROR_MESSAGES[reason]
    )


_FORBIDDEN_PATTERN = re.compile(r'^(?:Error creating: )?pods? "[^"]*" is forbidden: ')


def describe_creation_error(message: str) -> str:
    """Why the ReplicaSet controller cannot create Pods."""
    why = _FORBIDDEN_PATTERN.sub("", one_line(message))
    return shorten(f"No Pod can be created: {why}" if why else "No Pod can be created")
