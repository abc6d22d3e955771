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
# Reasons that add nothing to the exit code.
_GENERIC_REASONS = frozenset({"", "Error", "Completed"})


def termination_reason(terminated: ContainerStateTerminated) -> str:
    """Short reason of a terminated container: the runtime's, or "exit code 137", "signal 9"."""
    if terminated.reason not in _GENERIC_REASONS:
        return terminated.reason
    if terminated.signal and not terminated.exit_code:
        return f"signal {terminated.signal}"
    return f"exit code {terminated.exit_code}"


def shell_exit_code(terminated: ContainerStateTerminated) -> int:
    """The exit code; 128 + n for signal n, as a shell, and so the kubelet, reports it."""
    if terminated.signal and not terminated.exit_code:
        return 128 + terminated.signal
    return terminated.exit_code


def signal_name(terminated: ContainerStateTerminated) -> str:
    """Name of the signal that ended a container, "" if none did."""
    code = shell_exit_code(terminated)
    number = terminated.signal or (code - 128 if 128 < code <= 192 else 0)
    return _SIGNAL_NAMES.get(number, f"signal {number}") if number else ""


def last_nonempty_line(message: str) -> str:
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


# -- probes -----------------------------------------------------------------------------------

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


# -- nodes and admission ----------------------------------------------------------------------

_ADMISSION_WRAPPERS = re.compile(
    r"^(?:Pod was rejected: |Pod (?=Allocate|Predicate|Node|Update|Unexpected)"
    r"|Allocate failed due to )+"
)


def strip_admission_wrappers(message: str) -> str:
    """The message of a node that rejected or evicted a Pod, without what each of them begins and
    ends with."""
    line = _ADMISSION_WRAPPERS.sub("", one_line(message))
    return shorten(re.sub(r",? which is unexpected\.?$", "", line))


_FORBIDDEN_PATTERN = re.compile(r'^(?:Error creating: )?(?:pods? "[^"]*" is forbidden: )?')
_INTERNAL_ERROR_PATTERN = re.compile(r"^Internal error occurred: ")


def strip_creation_wrappers(message: str) -> str:
    """Why the ReplicaSet controller cannot create Pods, without the name of the Pod."""
    return shorten(_INTERNAL_ERROR_PATTERN.sub("", _FORBIDDEN_PATTERN.sub("", one_line(message))))
