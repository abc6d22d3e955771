"""One request for the log of a container, and why it may be refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from enum import Enum
from typing import NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import POD
from servedeck.logs.line_splitter import MAX_LINE_BYTES, LineSplitter, StampParser
from servedeck.logs.text import plain_block
from servedeck.logs.turns import Turns
from servedeck.serving.text import one_line, sanitize

NOTICE_PREFIX = "── "
"""Prefix of notices between the lines of a log in a text."""

PIECE_BYTES = 128 << 10
"""Bytes processed without yielding to the event loop. A fast log delivers several times as many at
once, which would delay key presses."""

_READ_BUFFER_BYTES = 128 << 10
"""With more, eighty fast logs would fill hundreds of megabytes, and hold up the event loop as all
of them receive at once."""
_ACCEPT_HEADER = {"Accept": "*/*"}


class LogRequest(NamedTuple):
    """What is requested of the log of one container."""

    namespace: str
    pod: str
    container: str
    follow: bool = False
    previous: bool = False
    tail: int | None = None
    """Number of last lines, None for all."""
    since_time: str = ""
    """RFC 3339 time in whole seconds; "" for the begin."""
    since_seconds: int | None = None

    @property
    def path(self) -> str:
        return f"{POD.object_path(self.namespace, self.pod)}/log"

    @property
    def params(self) -> list[tuple[str, str]]:
        params = [("container", self.container), ("timestamps", "true")]
        if self.follow:
            params.append(("follow", "true"))
        if self.previous:
            params.append(("previous", "true"))
        if self.since_time:
            params.append(("sinceTime", self.since_time))
        if self.since_seconds is not None:
            params.append(("sinceSeconds", str(self.since_seconds)))
        if self.tail is not None:
            params.append(("tailLines", str(self.tail)))
        return params


class RefusalKind(Enum):
    """Why a log is not available."""

    WAITING = "waiting"
    """The container has not started yet."""
    NO_PREVIOUS = "no previous instance"
    REMOVED = "removed"
    """The node has deleted the log, after a rotation or together with the container."""
    NODE = "node"
    """The kubelet does not answer."""
    BUSY = "busy"
    """The API server limits the rate of requests."""
    FORBIDDEN = "forbidden"
    POD_DELETED = "Pod deleted"
    OTHER = "other"


class LogRefusedError(ApiError):
    """A log is not available; `str()` is one sentence that says why."""

    def __init__(self, kind: RefusalKind, error: ApiError, sentence: str) -> None:
        super().__init__(
            error.code,
            error.reason,
            error.message,
            details=error.details,
            retry_after=error.retry_after,
            display_message=sentence,
        )
        self.kind = kind


class LogResponse:
    """Reads the lines of one response. Iterate `batches` once."""

    def __init__(
        self,
        max_line_bytes: int = MAX_LINE_BYTES,
        on_open: Callable[[], None] | None = None,
        turns: Turns | None = None,
    ) -> None:
        """`on_open` is called when the kubelet has answered, which may be long before a line;
        `turns` are shared by the responses that are read at the same time."""
        self._splitter = LineSplitter(max_line_bytes)
        self._turns = turns or Turns(PIECE_BYTES)
        self._on_open = on_open
        self.is_open = False
        """Whether the kubelet has answered."""
        self.partial_line = b""
        """After the end of the response: what it has after its last newline. It is a whole line
        only if the container wrote no more."""

    async def batches(
        self, connection: Connection, request: LogRequest, read_timeout: float
    ) -> AsyncGenerator[list[bytes], None]:
        """The complete lines as they arrive, each with its timestamp.

        Raises LogRefusedError, and other ClusterErrors if the connection is lost or there is no
        data for `read_timeout` seconds.
        """
        try:
            async with connection.stream(
                request.path,
                request.params,
                read_timeout,
                _ACCEPT_HEADER,
                read_buffer_bytes=_READ_BUFFER_BYTES,
            ) as stream:
                if stream.status == 204:
                    raise ApiError(400, "", "the Pod is not scheduled yet")
                self.is_open = True
                if self._on_open is not None:
                    self._on_open()
                async for chunk in stream.chunks():
                    for at in range(0, len(chunk), PIECE_BYTES):
                        piece = chunk[at : at + PIECE_BYTES]
                        await self._turns.wait(len(piece))
                        if lines := self._splitter.feed(piece):
                            yield lines
                self.partial_line = self._splitter.finish()
        except ApiError as error:
            raise refuse(error, request) from error


_FIRST_WORDS_OF_REMOVED = "unable to retrieve container logs for "
_MISSING_FILE = ("failed to try resolving symlinks", "failed to open log file", "no such file")


def is_removed_message(line: bytes) -> bool:
    """Whether a line without a timestamp says that the container, and its log, was removed from the
    node: the kubelet answers 200 with it (kubernetes pkg/kubelet/kuberuntime/
    kuberuntime_container.go, GetContainerLogs)."""
    return line.startswith(_FIRST_WORDS_OF_REMOVED.encode())


def removed_sentence(request: LogRequest) -> str:
    """That the node does not have the log any more."""
    which = "previous instance" if request.previous else "container"
    return f"The log of this {which} of {_names(request)} was removed from the node."


def refuse(error: ApiError, request: LogRequest) -> LogRefusedError:
    """Why the log was refused. Sources of the messages: kubernetes pkg/kubelet/kubelet_pods.go,
    validateContainerLogStatus; cri-client pkg/logs/logs.go, ReadLogs."""
    if isinstance(error, LogRefusedError):
        return error
    kind, sentence = _describe(error, request)
    return LogRefusedError(kind, error, sentence)


def _describe(error: ApiError, request: LogRequest) -> tuple[RefusalKind, str]:
    message = error.message.removesuffix(".")
    container = one_line(sanitize(request.container))
    if error.code == 401 or "system:anonymous" in message:
        return RefusalKind.FORBIDDEN, str(error)
    if error.code == 403:
        return RefusalKind.FORBIDDEN, forbidden_sentence(request.namespace)
    if error.code == 404:
        return (
            RefusalKind.POD_DELETED,
            f"Pod {request.namespace}/{request.pod} was deleted, and its log with it.",
        )
    if "previous terminated container" in message:
        return (
            RefusalKind.NO_PREVIOUS,
            f"Container {container} has no earlier log: it has not restarted, or its log was"
            " deleted.",
        )
    if any(words in message for words in _MISSING_FILE):
        return RefusalKind.REMOVED, removed_sentence(request)
    if error.code == 400 and "is not valid for pod" in message:
        return RefusalKind.OTHER, f"No log: {message}."
    if error.code == 400:
        return RefusalKind.WAITING, f"No log of container {container} yet: {message}."
    if error.code == 429:
        return RefusalKind.BUSY, str(error)
    if error.code >= 500:
        return RefusalKind.NODE, f"The node does not return the log ({error.code}: {message})."
    return RefusalKind.OTHER, str(error)


def forbidden_sentence(namespace: str) -> str:
    """That logs may not be read, and which permission is needed."""
    return (
        f"Cannot read logs in namespace {namespace}: needs get on pods and on pods/log in that"
        " namespace."
    )


def _names(request: LogRequest) -> str:
    return f"{request.namespace}/{request.pod} ({one_line(sanitize(request.container))})"


async def read_log(
    connection: Connection,
    namespace: str,
    pod: str,
    container: str,
    *,
    tail: int | None = None,
    previous: bool = False,
    since: float | None = None,
    read_timeout: float = 60.0,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> AsyncIterator[list[str]]:
    """The sanitized lines that a container has written until now, each with its timestamp, in
    batches: the last `tail` (None: all) of the last `since` seconds (None: of any time). With
    `previous`, of the previous instance. A line longer than `max_line_bytes` is cut and says how
    many bytes more it had.

    Raises LogRefusedError with the reason if they are not available, and ReadTimeoutError after
    `read_timeout` seconds without data.
    """
    seconds = None if since is None else max(1, int(since))
    request = LogRequest(
        namespace, pod, container, previous=previous, tail=tail, since_seconds=seconds
    )
    response = LogResponse(max_line_bytes)
    async with aclosing(response.batches(connection, request, read_timeout)) as batches:
        async for lines in batches:
            yield _decode(lines)
    if response.partial_line:
        yield _decode([response.partial_line])


async def read_last_lines(
    connection: Connection,
    namespace: str,
    pod: str,
    container: str,
    *,
    tail: int = 20,
    previous: bool = False,
    read_timeout: float = 60.0,
) -> list[str]:
    """The last `tail` lines without timestamps, sanitized; with `previous`, of the previous
    instance.

    Raises LogRefusedError with the reason if they are not available, and other ClusterErrors if the
    connection is lost.
    """
    request = LogRequest(namespace, pod, container, previous=previous, tail=tail)
    response = LogResponse()
    last: list[bytes] = []
    async with aclosing(response.batches(connection, request, read_timeout)) as batches:
        async for lines in batches:
            last = [*last, *lines][-tail:]
    if response.partial_line:
        last = [*last, response.partial_line][-tail:]
    return _decode(StampParser().parse(last).texts)


def _decode(lines: list[bytes]) -> list[str]:
    return plain_block(b"\n".join(lines)).split("\n") if lines else []
