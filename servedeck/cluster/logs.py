"""Container logs, followed across connection losses and container restarts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, ReadTimeoutError
from servedeck.cluster.log_parsing import LineSplitter, LogPosition
from servedeck.cluster.resources import POD
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.serving.objects.records import ContainerStateTerminated, ContainerStatus, Pod
from servedeck.serving.text import one_line, sanitize

NOTICE_PREFIX = "── "
"""Prefix of notices inserted between log lines."""

_ACCEPT_HEADER = {"Accept": "*/*"}
_CHUNK_BYTES = 32 << 10
"""Maximum number of bytes processed without yielding to the event loop. A fast log delivers 256 KiB
at once, which would delay key presses."""
_decode_pod = RecordDecoder(Pod).decode


@dataclass(frozen=True)
class LogConfig:
    """Times in seconds."""

    read_timeout: float = 60.0
    """Time without data after which the connection is replaced and the log resumed."""
    poll_delay: tuple[float, float] = (0.5, 5.0)
    """Initial and maximum delay between checks of a container that is not running, or of a server
    that is unreachable."""


class LogStreamState(StrEnum):
    """State of a log stream."""

    CONNECTING = "connecting"
    """Not connected yet."""
    OPEN = "open"
    """Lines arrive as they are written."""
    WAITING = "waiting"
    """The container is not running; waiting for its next start."""
    RECONNECTING = "reconnecting"
    """The connection was lost and is being restored; missed lines will follow."""


def _ignore_state(_state: LogStreamState) -> None: ...


class _ContainerSnapshot(NamedTuple):
    """Current state of a container."""

    pod_phase: str
    restart_count: int
    running: bool
    terminated: ContainerStateTerminated | None
    last_terminated: ContainerStateTerminated | None

    @property
    def is_finished(self) -> bool:
        """No more output can follow, not even from a restarted container."""
        return self.pod_phase in ("Succeeded", "Failed") and not self.running


async def read_last_lines(
    connection: Connection,
    namespace: str,
    pod: str,
    container: str,
    *,
    tail: int = 20,
    previous: bool = False,
) -> list[str]:
    """The last `tail` lines, sanitized; with `previous`, of the previous instance.

    Raises ClusterError if they are not available, with the reason.
    """
    follower = _LogFollower(connection, namespace, pod, container, False, LogConfig())
    params = follower.query_params(tail=tail, previous=previous, follow=False)
    lines: list[str] = []
    try:
        async for batch in follower.read_stream(params):
            lines = [*lines, *batch][-tail:]
    except ApiError as error:
        raise follower.to_log_error(error) from error
    return lines


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
) -> AsyncIterator[list[str]]:
    """The sanitized lines that a container has written until now, each with its timestamp, in
    batches: the last `tail` (None: all) of the last `since` seconds (None: of any time). With
    `previous`, of the previous instance.

    Raises ClusterError with the reason if they are not available, and ReadTimeoutError after
    `read_timeout` seconds without data.
    """
    config = LogConfig(read_timeout=read_timeout)
    follower = _LogFollower(connection, namespace, pod, container, True, config)
    params = follower.query_params(tail=tail, previous=previous, follow=False)
    if since is not None:
        params.append(("sinceSeconds", str(max(1, int(since)))))
    try:
        async for batch in follower.read_stream(params):
            yield batch
    except ApiError as error:
        raise follower.to_log_error(error) from error


async def follow_log(
    connection: Connection,
    namespace: str,
    pod: str,
    container: str,
    *,
    tail: int | None = 200,
    previous: bool = False,
    timestamps: bool = False,
    config: LogConfig | None = None,
    on_state: Callable[[LogStreamState], None] = _ignore_state,
) -> AsyncIterator[list[str]]:
    """Sanitized lines of a container's log, in batches as they arrive.

    Starts with the last `tail` lines (None: all) and continues with the next instance when the
    container restarts. Lines that start with `NOTICE_PREFIX` are notices about the container or the
    connection. Ends when no more lines can follow: the Pod is deleted or finished, or, with
    `previous`, at the end of the previous instance. Raises ClusterError if a retry cannot succeed
    (forbidden, unknown container). `on_state` is called on each change of state and must not block.
    """
    follower = _LogFollower(
        connection, namespace, pod, container, timestamps, config or LogConfig()
    )
    follower.on_state = on_state
    lines = follower.previous_lines(tail) if previous else follower.followed_lines(tail)
    async for batch in lines:
        yield batch


class _LogFollower:
    def __init__(
        self,
        connection: Connection,
        namespace: str,
        pod: str,
        container: str,
        timestamps: bool,
        config: LogConfig,
    ) -> None:
        self._connection = connection
        self._pod_path = POD.object_path(namespace, pod)
        self._pod_name = f"{namespace}/{pod}"
        self._namespace = namespace
        self._container = container
        self._timestamps = timestamps
        self._config = config
        self._position = LogPosition()
        self._last_notice = ""
        self._retry_count = 0
        self._state = LogStreamState.CONNECTING
        self.on_state: Callable[[LogStreamState], None] = _ignore_state

    def _set_state(self, state: LogStreamState) -> None:
        if state is not self._state:
            self._state = state
            self.on_state(state)

    def query_params(
        self,
        *,
        tail: int | None = None,
        previous: bool = False,
        follow: bool = True,
        since: str = "",
    ) -> list[tuple[str, str]]:
        params = [("container", self._container), ("timestamps", "true")]
        if follow:
            params.append(("follow", "true"))
        if previous:
            params.append(("previous", "true"))
        if since:
            params.append(("sinceTime", since))
        elif tail is not None:
            params.append(("tailLines", str(tail)))
        return params

    async def previous_lines(self, tail: int | None) -> AsyncIterator[list[str]]:
        try:
            async for batch in self.read_stream(
                self.query_params(tail=tail, previous=True, follow=False)
            ):
                yield batch
        except ApiError as error:
            raise self.to_log_error(error) from error

    async def followed_lines(self, tail: int | None) -> AsyncIterator[list[str]]:
        previous_state: _ContainerSnapshot | None = None
        drained = False
        while True:
            notice, reading, stream_state = "", False, LogStreamState.RECONNECTING
            try:
                current = await self._fetch_container_state()
                if current is None:
                    yield [_format_notice(f"Pod {self._pod_name} was deleted.")]
                    return
                if previous_state and current.restart_count != previous_state.restart_count:
                    async for batch in self._lines_before_restart(previous_state, current):
                        yield batch
                    tail, drained = None, False
                previous_state = current
                if current.running or not drained:
                    params = self.query_params(tail=tail, since=self._position.begin_resume())
                    reading = True
                    async for batch in self.read_stream(params):
                        self._last_notice, self._retry_count = "", 0
                        yield batch
                    current = await self._fetch_container_state() or current
                drained = not current.running
                if current.restart_count != previous_state.restart_count:
                    continue
                if current.is_finished:
                    yield [
                        _format_notice(
                            f"{self._describe_termination(current.terminated)} No more lines will "
                            f"follow."
                        )
                    ]
                    return
                if drained:
                    ending = self._describe_termination(current.terminated)
                    notice = f"{ending} Waiting for its next start."
                    stream_state = LogStreamState.WAITING
            except ReadTimeoutError as error:
                if reading:
                    continue  # either a quiet container or a dead connection: reconnect
                notice = f"{error} Retrying."
            except ApiError as error:
                if error.code in (401, 403) or (error.code == 400 and "not valid" in error.message):
                    raise self.to_log_error(error) from error
                notice = str(self.to_log_error(error))
                if error.code == 400:  # the container has not started yet
                    stream_state = LogStreamState.WAITING
            except ClusterError as error:
                notice = f"{error} Retrying."
            self._set_state(stream_state)
            if notice and notice != self._last_notice:
                self._last_notice = notice
                yield [_format_notice(notice)]
            await self._wait_before_retry()

    async def read_stream(self, params: list[tuple[str, str]]) -> AsyncIterator[list[str]]:
        """Read one response to its end, without lines received before."""
        splitter = LineSplitter()
        async with self._connection.stream(
            f"{self._pod_path}/log", params, self._config.read_timeout, _ACCEPT_HEADER
        ) as stream:
            if stream.status == 204:
                raise ApiError(400, "", "the Pod is not scheduled yet")
            self._set_state(LogStreamState.OPEN)
            async for chunk in stream.chunks():
                for at in range(0, len(chunk), _CHUNK_BYTES):
                    if at:
                        await asyncio.sleep(0)
                    if lines := self._position.filter_new(
                        splitter.feed(chunk[at : at + _CHUNK_BYTES])
                    ):
                        self._position.record(lines)
                        yield self._decode_lines(lines)
        if lines := self._position.filter_new(splitter.finish()):
            self._position.record(lines)
            yield self._decode_lines(lines)

    async def _lines_before_restart(
        self, before: _ContainerSnapshot, after: _ContainerSnapshot
    ) -> AsyncIterator[list[str]]:
        """Remaining lines of the previous instance, and a notice about the restart."""
        if after.restart_count == before.restart_count + 1 and (
            since := self._position.begin_resume()
        ):
            params = self.query_params(previous=True, follow=False, since=since)
            try:
                async for batch in self.read_stream(params):
                    yield batch
            except ClusterError as error:
                yield [
                    _format_notice(
                        f"The last lines of the previous instance cannot be read: {error}"
                    )
                ]
        missed = after.restart_count - before.restart_count - 1
        more = f" {missed} instances in between were missed." if missed > 0 else ""
        yield [
            _format_notice(
                f"{self._describe_termination(after.last_terminated)}{more} "
                f"It restarted (restart {after.restart_count})."
            )
        ]
        self._position, self._last_notice, self._retry_count = LogPosition(), "", 0

    async def _fetch_container_state(self) -> _ContainerSnapshot | None:
        """Current state of the container; None if the Pod was deleted."""
        try:
            pod: Pod = _decode_pod(await self._connection.get(self._pod_path)).record
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        status = self._container_status(pod)
        state, last = status.state, status.last_state
        return _ContainerSnapshot(
            pod.status.phase,
            status.restart_count,
            state.running is not None,
            state.terminated,
            last.terminated,
        )

    def _container_status(self, pod: Pod) -> ContainerStatus:
        for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
            if status.name == self._container:
                return status
        return ContainerStatus()

    async def _wait_before_retry(self) -> None:
        initial, maximum = self._config.poll_delay
        delay = min(maximum, initial * 2 ** min(self._retry_count, 10))
        self._retry_count += 1
        await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no security

    def _describe_termination(self, terminated: ContainerStateTerminated | None) -> str:
        if terminated is None:
            return f"Container {self._container} is not running."
        reason = one_line(terminated.reason)
        why = f", {reason}" if reason and reason != "Error" else ""
        return f"Container {self._container} exited with code {terminated.exit_code}{why}."

    def to_log_error(self, error: ApiError) -> ApiError:
        """The same error with a message specific to logs."""
        message = error.message.removesuffix(".")
        if error.code == 403 and "system:anonymous" not in message:
            sentence = (
                f"Cannot read logs of {self._pod_name}: needs get on pods and on pods/log in"
                f" namespace {self._namespace}."
            )
        elif error.code == 404:
            sentence = f"Pod {self._pod_name} was deleted, and its log with it."
        elif error.code == 400 and "previous terminated container" in message:
            sentence = (
                f"Container {self._container} has no earlier log: it has not restarted, or its log"
                " was deleted."
            )
        elif error.code == 400:
            sentence = f"No log of container {self._container} yet: {message}."
        elif error.code >= 500:
            sentence = f"The node does not return the log ({error.code}: {message})."
        else:
            return error
        return error.with_message(sentence)

    def _decode_lines(self, lines: list[bytes]) -> list[str]:
        if not self._timestamps:
            lines = [_without_timestamp(line) for line in lines]
        return decode_lines(lines)


def _without_timestamp(line: bytes) -> bytes:
    head, space, rest = line.partition(b" ")
    return rest if space and head[10:11] == b"T" and head[4:5] == b"-" else line


def decode_lines(lines: list[bytes]) -> list[str]:
    """Decoded and sanitized lines; printable ASCII, by far the most common case, in one step."""
    joined = b"\n".join(lines)
    if lines and joined.isascii():
        decoded = joined.decode("ascii").split("\n")
        if "".join(decoded).isprintable():
            return decoded
    return [_decode_line(line) for line in lines]


def _decode_line(line: bytes) -> str:
    text = sanitize(line.decode("utf-8", "replace"))
    return text.replace("\n", " ") if "\n" in text else text


def _format_notice(sentence: str) -> str:
    return f"{NOTICE_PREFIX}{one_line(sanitize(sentence))}"
