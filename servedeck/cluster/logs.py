"""Logs of containers: followed through breaks of the connection and restarts of the container."""

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
"""What a line of ours among the container's begins with."""

_ACCEPT_HEADER = {"Accept": "*/*"}
_CHUNK_BYTES = 32 << 10
"""Bytes that are taken at once: a fast log brings a quarter of a megabyte, and a key's way to the
screen passes the loop several times."""
_decode_pod = RecordDecoder(Pod).decode


@dataclass(frozen=True)
class LogConfig:
    """Seconds."""

    read_timeout: float = 60.0
    """Silence after which the connection is doubted and made anew; the log is resumed."""
    poll_delay: tuple[float, float] = (0.5, 5.0)
    """First and longest wait between looks at a container that is not running, or a server that is
    not there."""


class LogStreamState(StrEnum):
    """What becomes of lines that are written at this moment."""

    CONNECTING = "connecting"
    """The log was not reached yet."""
    OPEN = "open"
    """They arrive."""
    WAITING = "waiting"
    """There are none: the container does not run, and its next start is waited for."""
    RECONNECTING = "reconnecting"
    """They will arrive later: the connection broke and is made anew."""


def _ignore_state(_state: LogStreamState) -> None: ...


class _ContainerState(NamedTuple):
    """What is known of the container just now."""

    pod_phase: str
    restart_count: int
    running: bool
    terminated: ContainerStateTerminated | None
    last_terminated: ContainerStateTerminated | None

    @property
    def is_finished(self) -> bool:
        """Nothing will be written any more, not even by a next instance."""
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
    """The last `tail` lines, sanitised; of the instance before where `previous`.

    Raises ClusterError where there are none to be had; its sentence says why.
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
    """Lines of a container's log, sanitised, as many at once as have arrived.

    Begins with the last `tail` lines (None: all) and goes on into the next instance when the
    container restarts. Lines that begin with `MARK` are ours: they say what happened to the
    container or the connection. Ends when nothing more can come: the Pod is gone or finished, or
    with `previous`, which reads the instance before to its end. Raises ClusterError where it can
    never succeed (forbidden, no such container). `on_stream` is told what becomes of new lines
    whenever that changes; it must be quick.
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
        given = [("container", self._container), ("timestamps", "true")]
        if follow:
            given.append(("follow", "true"))
        if previous:
            given.append(("previous", "true"))
        if since:
            given.append(("sinceTime", since))
        elif tail is not None:
            given.append(("tailLines", str(tail)))
        return given

    async def previous_lines(self, tail: int | None) -> AsyncIterator[list[str]]:
        try:
            async for batch in self.read_stream(
                self.query_params(tail=tail, previous=True, follow=False)
            ):
                yield batch
        except ApiError as error:
            raise self.to_log_error(error) from error

    async def followed_lines(self, tail: int | None) -> AsyncIterator[list[str]]:
        instance: _ContainerState | None = None
        drained = False
        while True:
            said, reading, stream = "", False, LogStreamState.RECONNECTING
            try:
                now = await self._fetch_container_state()
                if now is None:
                    yield [_format_notice(f"Pod {self._pod_name} was deleted.")]
                    return
                if instance and now.restart_count != instance.restart_count:
                    async for batch in self._lines_before_restart(instance, now):
                        yield batch
                    tail, drained = None, False
                instance = now
                if now.running or not drained:
                    params = self.query_params(tail=tail, since=self._position.begin_resume())
                    reading = True
                    async for batch in self.read_stream(params):
                        self._last_notice, self._retry_count = "", 0
                        yield batch
                    now = await self._fetch_container_state() or now
                drained = not now.running
                if now.restart_count != instance.restart_count:
                    continue
                if now.is_finished:
                    yield [
                        _format_notice(
                            f"{self._describe_termination(now.terminated)} No more lines will "
                            f"follow."
                        )
                    ]
                    return
                if drained:
                    said = (
                        f"{self._describe_termination(now.terminated)} Waiting for its next start."
                    )
                    stream = LogStreamState.WAITING
            except ReadTimeoutError as error:
                if reading:
                    continue  # a quiet container, or a dead connection: a new one tells
                said = f"{error} Retrying."
            except ApiError as error:
                if error.code in (401, 403) or (error.code == 400 and "not valid" in error.message):
                    raise self.to_log_error(error) from error
                said = str(self.to_log_error(error))
                if error.code == 400:  # the container was not started yet
                    stream = LogStreamState.WAITING
            except ClusterError as error:
                said = f"{error} Retrying."
            self._set_state(stream)
            if said and said != self._last_notice:
                self._last_notice = said
                yield [_format_notice(said)]
            await self._wait_before_retry()

    async def read_stream(self, params: list[tuple[str, str]]) -> AsyncIterator[list[str]]:
        """One answer to its end, without the lines that were taken before."""
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
        self, before: _ContainerState, now: _ContainerState
    ) -> AsyncIterator[list[str]]:
        """What the instance that ended still wrote while we were not connected, and the news."""
        if now.restart_count == before.restart_count + 1 and (
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
        missed = now.restart_count - before.restart_count - 1
        more = f" {missed} instances in between were missed." if missed > 0 else ""
        yield [
            _format_notice(
                f"{self._describe_termination(now.last_terminated)}{more} "
                f"It restarted (restart {now.restart_count})."
            )
        ]
        self._position, self._last_notice, self._retry_count = LogPosition(), "", 0

    async def _fetch_container_state(self) -> _ContainerState | None:
        """The container as the API server knows it; None where the Pod is gone."""
        try:
            pod: Pod = _decode_pod(await self._connection.get(self._pod_path)).record
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        status = self._container_status(pod)
        state, last = status.state, status.last_state
        return _ContainerState(
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
        first, most = self._config.poll_delay
        wait = min(most, first * 2 ** min(self._retry_count, 10))
        self._retry_count += 1
        await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret

    def _describe_termination(self, terminated: ContainerStateTerminated | None) -> str:
        if terminated is None:
            return f"Container {self._container} is not running."
        reason = one_line(terminated.reason)
        why = f", {reason}" if reason and reason != "Error" else ""
        return f"Container {self._container} ended with exit code {terminated.exit_code}{why}."

    def to_log_error(self, error: ApiError) -> ApiError:
        """The same error with a sentence about logs."""
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
                f"Container {self._container} has no earlier log: it has not restarted, or the log"
                " was cleaned up."
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
    """The lines, decoded and sanitised; plain ones, which nearly all are, all at once."""
    whole = b"\n".join(lines)
    if lines and whole.isascii():
        decoded = whole.decode("ascii").split("\n")
        if "".join(decoded).isprintable():
            return decoded
    return [_decode_line(line) for line in lines]


def _decode_line(line: bytes) -> str:
    text = sanitize(line.decode("utf-8", "replace"))
    return text.replace("\n", " ") if "\n" in text else text


def _format_notice(sentence: str) -> str:
    return f"{NOTICE_PREFIX}{one_line(sanitize(sentence))}"
