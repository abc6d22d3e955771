"""The texts of kubelet, scheduler and registries, shortened to what an operator acts on.

Everything here takes the raw text of an object and answers with one line. Texts it does not know
come back as they are, on one line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from servedeck.serving.objects.records import Terminated
from servedeck.serving.text import clip, one_line

_LONGEST = 300
"""Cells of a message; the whole text stays available as a finding's evidence."""


def shorten(text: str) -> str:
    """A part of a message, on one line and of bounded length."""
    return clip(one_line(text), _LONGEST)


def whole(message: str) -> str:
    """A message made of several parts, on one line; only odd names make one this long."""
    return clip(one_line(message), 2 * _LONGEST)


# -- how a container ended --------------------------------------------------------------------

# 128 + n is how a shell, and so the kubelet, reports the end by signal n (signal(7)).
_SIGNALS = {
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
_EXIT_CODES = {
    0: "ended by itself, but a server must keep running",
    126: "its command cannot be executed",
    127: "its command was not found",
}
# Reasons that say no more than the exit code does.
_GENERIC = frozenset({"", "Error", "Completed"})
_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})


def ended(terminated: Terminated, memory_limit: str | None = "") -> tuple[str, str]:
    """Short reason and predicate of a sentence for the end of a container's instance.

    The predicate follows the container's name: "exceeded its memory limit and was killed".
    `memory_limit` is the container's own, "" where it is not known and None where it has none.
    OOMKilled is only reported where the kernel killed the container's first process: an engine's
    killed worker shows as an ordinary exit code.
    """
    code, detail = terminated.exit_code, _last_line(terminated.message)
    if terminated.reason == "OOMKilled":
        if memory_limit is None:
            return (
                "OOMKilled",
                "was killed for lack of memory and has no limit of its own (OOMKilled)",
            )
        limit = f" of {shorten(memory_limit)}" if memory_limit else ""
        return "OOMKilled", f"exceeded its memory limit{limit} and was killed (OOMKilled)"
    if terminated.reason in _NOT_STARTED:
        why = runtime(terminated.message)
        return terminated.reason, f"could not start: {why}" if why else "could not start"
    if terminated.reason not in _GENERIC:
        words = f"ended: {terminated.reason}"
        return terminated.reason, f"{words}, {detail}" if detail else words

    signal = terminated.signal or (code - 128 if 128 < code <= 192 else 0)
    reason = f"signal {signal}" if terminated.signal and not code else f"exit code {code}"
    if signal == 9:
        words = f"was killed ({reason}, SIGKILL)"
        if not detail:
            words += ": its node ran out of memory, or it did not stop in time when told to"
    elif signal:
        words = f"was ended by {_SIGNALS.get(signal, f'signal {signal}')} ({reason})"
    elif code in _EXIT_CODES:
        words = f"ended with {reason}: {_EXIT_CODES[code]}"
    else:
        words = f"ended with {reason}"
    return reason, f"{words}: {detail}" if detail else words


def _last_line(message: str) -> str:
    """The last line that says something: of a traceback it is the exception itself."""
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


def runtime(message: str) -> str:
    """A container runtime's message without the layers that it passed through."""
    return shorten(_RUNTIME_WRAPPERS.sub("", one_line(message)).removesuffix(": unknown"))


# -- images -----------------------------------------------------------------------------------

_IMAGE = re.compile(r'\b[Ii]mage (?:name )?"([^"]+)"')
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(?:: )?(?:ErrImagePull: )?')
_IMAGE_WRAPPERS = re.compile(
    r'^(?:(?:rpc error: code = \w+ desc = |Error response from daemon: |failed to [a-z ]+ "[^"]*": '
    r'|Failed to [a-z ]+ "[^"]*": |couldn\'t parse image name "[^"]*": |initializing source \S+: '
    r"))+"
)


def image(message: str) -> tuple[str, str]:
    """Image and reason of a failed pull, each "" where the message does not say it.

    The image's name in front of "not found" is dropped, as the sentence names it already.
    """
    line = one_line(message)
    found = _IMAGE.search(line)
    name = found[1] if found else ""
    why = _IMAGE_WRAPPERS.sub("", _BACK_OFF.sub("", line))
    if why.endswith(": not found"):
        why = "not found in the registry"
    return clip(name, _LONGEST), shorten(why)


# -- the scheduler ----------------------------------------------------------------------------


class Shortage(NamedTuple):
    """What the scheduler said about a Pod that fits nowhere."""

    nodes: int
    """Nodes it looked at."""
    reasons: tuple[tuple[int, str], ...]
    """Nodes, and why they do not fit, in the scheduler's order."""
    prefilter: tuple[str, ...]
    """Reasons that concern no particular node, such as a missing claim."""


_AVAILABLE = re.compile(r"^\d+/(?P<nodes>\d+) nodes are available: ?(?P<body>.*)$", re.DOTALL)
_PREEMPTION = re.compile(r"\.? (?:no new claims to deallocate, )?preemption:")
_COUNTED = re.compile(r"^(\d+) (.+)$", re.DOTALL)


def shortage(message: str) -> Shortage | None:
    """The scheduler's message taken apart; None where it is another text.

    Source: kubernetes v1.36 pkg/scheduler/framework/types.go, FitError.Error.
    """
    match = _AVAILABLE.match(message)
    if match is None or len(match["nodes"]) > 9:
        return None
    body = _PREEMPTION.split(match["body"], maxsplit=1)[0].strip().rstrip(".")
    reasons: list[tuple[int, str]] = []
    prefilter: list[str] = []
    for part in re.split(r", (?=\d+ )", body):
        counted = _COUNTED.match(part.strip())
        if counted is not None and len(counted[1]) <= 9:
            reasons.append((int(counted[1]), counted[2].rstrip(".")))
        elif part:
            prefilter.append(part.strip().removesuffix(". not found"))
    return Shortage(int(match["nodes"]), tuple(reasons), tuple(prefilter))


_TAINT = re.compile(r"^node\(s\) had untolerated taint(?:\(s\)| \{(.*?)(?:: )?\})$")
_NODE_REASONS = {
    "node(s) were unschedulable": "cordoned",
    "node(s) didn't match Pod's node affinity/selector": "outside its node selector or affinity",
    "node(s) didn't match pod affinity rules": "against its affinity to other Pods",
    "node(s) didn't match pod anti-affinity rules": "against its anti-affinity to other Pods",
    "node(s) had volume node affinity conflict": "away from its volume",
    "node(s) didn't find available persistent volumes to bind": "without a volume for its claim",
    "node(s) didn't have free ports for the requested pod ports": "with its port taken",
    "Too many pods": "with no room for another Pod",
}


def scarce(message: str) -> dict[str, int]:
    """The resources of which, as the scheduler says, nodes have too little free, and how many
    nodes those are."""
    found = shortage(message)
    return {
        why.removeprefix("Insufficient "): nodes
        for nodes, why in (found.reasons if found is not None else ())
        if why.startswith("Insufficient ")
    }


def unschedulable(message: str) -> str:
    """Why no node takes the Pod, what is scarce first."""
    found = shortage(message)
    if found is None or not (found.reasons or found.prefilter):
        return shorten(message) or "The scheduler finds no node for it"
    if found.prefilter:
        return shorten(f"It cannot be scheduled: {', '.join(found.prefilter)}")
    if not found.nodes:
        return "The cluster has no nodes"
    ordered = sorted(found.reasons, key=lambda reason: not reason[1].startswith("Insufficient "))
    parts = ", ".join(f"{nodes} {_node_reason(why)}" for nodes, why in ordered)
    return shorten(f"No node of {found.nodes} can take it: {parts}")


def _node_reason(why: str) -> str:
    if why.startswith("Insufficient "):
        return f"without enough free {why.removeprefix('Insufficient ')}"
    taint = _TAINT.match(why)
    if taint is not None:
        return f"with a taint it does not tolerate{f' ({taint[1]})' if taint[1] else ''}"
    return _NODE_REASONS.get(why) or f"where {why.removeprefix('node(s) ')}"


# -- probes, volumes, sandboxes, quotas -------------------------------------------------------

_PROBE = re.compile(r"^(Startup|Readiness|Liveness) probe (?:failed|errored):? ?(.*)$", re.DOTALL)
_REQUEST = re.compile(r'^(?:Get|Post) "[^"]*": ')
_DIAL = re.compile(r"^dial tcp (\S+): connect: ")


class Probe(NamedTuple):
    kind: str
    """"startup", "readiness" or "liveness"."""
    why: str


def probe(message: str) -> Probe | None:
    """Which probe failed and how, out of an Unhealthy event; None for another text."""
    match = _PROBE.match(message)
    if match is None:
        return None
    why = _DIAL.sub(r"\1: ", _REQUEST.sub("", one_line(match[2])))
    why = why.replace("HTTP probe failed with statuscode: ", "HTTP status ")
    return Probe(match[1].lower(), shorten(why))


_SETUP_ERROR = {
    "FailedMount": "A volume cannot be mounted",
    "FailedMapVolume": "A volume cannot be mapped",
    "FailedAttachVolume": "A volume cannot be attached",
    "FailedCreatePodSandBox": "The Pod's sandbox cannot be created",
    "NetworkNotReady": "The node's network is not ready",
    "FailedPrepareDynamicResources": "A claimed device cannot be prepared",
}
SETUP_EVENTS = frozenset(_SETUP_ERROR)
"""Reasons of Events that say why the node cannot start a Pod's containers at all."""
_VOLUME = re.compile(r"^(?:MountVolume|AttachVolume|MapVolume)\.\w+ failed for (volume \S+) ?: ")


def setup(reason: str, message: str) -> str:
    """Why the node cannot start the Pod's containers, out of one of the `SETUP_EVENTS`."""
    line = _VOLUME.sub(r"\1: ", one_line(message))
    return shorten(f"{_SETUP_ERROR[reason]}: {runtime(line)}" if line else _SETUP_ERROR[reason])


_FORBIDDEN = re.compile(r'^(?:Error creating: )?pods? "[^"]*" is forbidden: ')


def creation(message: str) -> str:
    """Why the ReplicaSet controller cannot create Pods."""
    why = _FORBIDDEN.sub("", one_line(message))
    return shorten(f"No Pod can be created: {why}" if why else "No Pod can be created")
