"""Logs of containers: followed through breaks of the connection and restarts of the container."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, SlowError
from servedeck.cluster.log_parsing import Position, Splitter
from servedeck.cluster.watch.decode import Decoder
from servedeck.serving.objects.records import ContainerStatus, Pod, Terminated
from servedeck.serving.text import one_line, sanitise

MARK = "── "
"""What a line of ours among the container's begins with."""

_ACCEPT = {"Accept": "*/*"}
_PIECE = 32 << 10
"""Bytes that are taken at once: a fast log brings a quarter of a megabyte, and a key's way to the
screen passes the loop several times."""
_decode = Decoder(Pod).decode


@dataclass(frozen=True)
class LogTimings:
    """Seconds."""

    quiet: float = 60.0
    """Silence after which the connection is doubted and made anew; the log is resumed."""
    poll: tuple[float, float] = (0.5, 5.0)
    """First and longest wait between looks at a container that is not running, or a server that is
    not there."""


class Stream(StrEnum):
    """What becomes of lines that are written at this moment."""

    CONNECTING = "connecting"
    """The log was not reached yet."""
    OPEN = "open"
    """They arrive."""
    WAITING = "waiting"
    """There are none: the container does not run, and its next start is waited for."""
    RECONNECTING = "reconnecting"
    """They will arrive later: the connection broke and is made anew."""


def _ignore(_stream: Stream) -> None: ...


class _Instance(NamedTuple):
    """What is known of the container just now."""

    phase: str
    restarts: int
    running: bool
    ended: Terminated | None
    last: Terminated | None

    @property
    def over(self) -> bool:
        """Nothing will be written any more, not even by a next instance."""
        return self.phase in ("Succeeded", "Failed") and not self.running


async def last_lines(
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
    follower = _Follower(connection, namespace, pod, container, False, LogTimings())
    params = follower.params(tail=tail, previous=previous, follow=False)
    lines: list[str] = []
    try:
        async for batch in follower.read(params):
            lines = [*lines, *batch][-tail:]
    except ApiError as error:
        raise follower.refused(error) from error
    return lines


async def follow(
    connection: Connection,
    namespace: str,
    pod: str,
    container: str,
    *,
    tail: int | None = 200,
    previous: bool = False,
    timestamps: bool = False,
    timings: LogTimings | None = None,
    on_stream: Callable[[Stream], None] = _ignore,
) -> AsyncIterator[list[str]]:
    """Lines of a container's log, sanitised, as many at once as have arrived.

    Begins with the last `tail` lines (None: all) and goes on into the next instance when the
    container restarts. Lines that begin with `MARK` are ours: they say what happened to the
    container or the connection. Ends when nothing more can come: the Pod is gone or finished, or
    with `previous`, which reads the instance before to its end. Raises ClusterError where it can
    never succeed (forbidden, no such container). `on_stream` is told what becomes of new lines
    whenever that changes; it must be quick.
    """
    follower = _Follower(connection, namespace, pod, container, timestamps, timings or LogTimings())
    follower.on_stream = on_stream
    lines = follower.previous(tail) if previous else follower.lines(tail)
    async for batch in lines:
        yield batch


class _Follower:
    def __init__(
        self,
        connection: Connection,
        namespace: str,
        pod: str,
        container: str,
        timestamps: bool,
        timings: LogTimings,
    ) -> None:
        self._connection = connection
        self._pod = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}"
        self._name = f"{namespace}/{pod}"
        self._namespace = namespace
        self._container = container
        self._timestamps = timestamps
        self._timings = timings
        self._position = Position()
        self._said = ""
        self._waits = 0
        self._stream = Stream.CONNECTING
        self.on_stream: Callable[[Stream], None] = _ignore

    def _tell(self, stream: Stream) -> None:
        if stream is not self._stream:
            self._stream = stream
            self.on_stream(stream)

    def params(
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

    async def previous(self, tail: int | None) -> AsyncIterator[list[str]]:
        try:
            async for batch in self.read(self.params(tail=tail, previous=True, follow=False)):
                yield batch
        except ApiError as error:
            raise self.refused(error) from error

    async def lines(self, tail: int | None) -> AsyncIterator[list[str]]:
        instance: _Instance | None = None
        drained = False
        while True:
            said, reading, stream = "", False, Stream.RECONNECTING
            try:
                now = await self._look()
                if now is None:
                    yield [_mark(f"Pod {self._name} is gone.")]
                    return
                if instance and now.restarts != instance.restarts:
                    async for batch in self._rest(instance, now):
                        yield batch
                    tail, drained = None, False
                instance = now
                if now.running or not drained:
                    params = self.params(tail=tail, since=self._position.resume())
                    reading = True
                    async for batch in self.read(params):
                        self._said, self._waits = "", 0
                        yield batch
                    now = await self._look() or now
                drained = not now.running
                if now.restarts != instance.restarts:
                    continue
                if now.over:
                    yield [_mark(f"{self._ended(now.ended)} Nothing more will come.")]
                    return
                if drained:
                    said = f"{self._ended(now.ended)} Waiting for its next start."
                    stream = Stream.WAITING
            except SlowError as error:
                if reading:
                    continue  # a quiet container, or a dead connection: a new one tells
                said = f"{error} Trying again."
            except ApiError as error:
                if error.code in (401, 403) or (error.code == 400 and "not valid" in error.message):
                    raise self.refused(error) from error
                said = str(self.refused(error))
                if error.code == 400:  # the container was not started yet
                    stream = Stream.WAITING
            except ClusterError as error:
                said = f"{error} Trying again."
            self._tell(stream)
            if said and said != self._said:
                self._said = said
                yield [_mark(said)]
            await self._wait()

    async def read(self, params: list[tuple[str, str]]) -> AsyncIterator[list[str]]:
        """One answer to its end, without the lines that were taken before."""
        splitter = Splitter()
        async with self._connection.stream(
            f"{self._pod}/log", params, self._timings.quiet, _ACCEPT
        ) as stream:
            if stream.status == 204:
                raise ApiError(400, "", "the Pod is not scheduled yet")
            self._tell(Stream.OPEN)
            async for chunk in stream.chunks():
                for at in range(0, len(chunk), _PIECE):
                    if at:
                        await asyncio.sleep(0)
                    if lines := self._position.fresh(splitter.feed(chunk[at : at + _PIECE])):
                        self._position.take(lines)
                        yield self._texts(lines)
        if lines := self._position.fresh(splitter.finish()):
            self._position.take(lines)
            yield self._texts(lines)

    async def _rest(self, before: _Instance, now: _Instance) -> AsyncIterator[list[str]]:
        """What the instance that ended still wrote while we were not connected, and the news."""
        if now.restarts == before.restarts + 1 and (since := self._position.resume()):
            params = self.params(previous=True, follow=False, since=since)
            try:
                async for batch in self.read(params):
                    yield batch
            except ClusterError as error:
                yield [_mark(f"The end of the instance before cannot be read: {error}")]
        missed = now.restarts - before.restarts - 1
        more = f" {missed} instances in between were missed." if missed > 0 else ""
        yield [_mark(f"{self._ended(now.last)}{more} It restarted (restart {now.restarts}).")]
        self._position, self._said, self._waits = Position(), "", 0

    async def _look(self) -> _Instance | None:
        """The container as the API server knows it; None where the Pod is gone."""
        try:
            pod: Pod = _decode(await self._connection.get(self._pod)).record
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        status = self._status_of(pod)
        state, last = status.state, status.last_state
        return _Instance(
            pod.status.phase,
            status.restart_count,
            state.running is not None,
            state.terminated,
            last.terminated,
        )

    def _status_of(self, pod: Pod) -> ContainerStatus:
        for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
            if status.name == self._container:
                return status
        return ContainerStatus()

    async def _wait(self) -> None:
        first, most = self._timings.poll
        wait = min(most, first * 2 ** min(self._waits, 10))
        self._waits += 1
        await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret

    def _ended(self, terminated: Terminated | None) -> str:
        if terminated is None:
            return f"Container {self._container} is not running."
        reason = one_line(terminated.reason)
        why = f", {reason}" if reason and reason != "Error" else ""
        return f"Container {self._container} ended with exit code {terminated.exit_code}{why}."

    def refused(self, error: ApiError) -> ApiError:
        """The same error with a sentence about logs."""
        message = error.message.removesuffix(".")
        if error.code == 403 and "system:anonymous" not in message:
            sentence = (
                f"Cannot read logs of {self._name}: needs get on pods and on pods/log in namespace"
                f" {self._namespace}."
            )
        elif error.code == 404:
            sentence = f"Pod {self._name} is gone, and its log with it."
        elif error.code == 400 and "previous terminated container" in message:
            sentence = (
                f"Container {self._container} has no earlier log: it has not restarted, or the log"
                " was cleaned up."
            )
        elif error.code == 400:
            sentence = f"No log of container {self._container} yet: {message}."
        elif error.code >= 500:
            sentence = f"The node does not give the log ({error.code}: {message})."
        else:
            return error
        return error.saying(sentence)

    def _texts(self, lines: list[bytes]) -> list[str]:
        if not self._timestamps:
            lines = [_without_timestamp(line) for line in lines]
        return texts(lines)


def _without_timestamp(line: bytes) -> bytes:
    head, space, rest = line.partition(b" ")
    return rest if space and head[10:11] == b"T" and head[4:5] == b"-" else line


def texts(lines: list[bytes]) -> list[str]:
    """The lines, decoded and sanitised; plain ones, which nearly all are, all at once."""
    whole = b"\n".join(lines)
    if lines and whole.isascii():
        decoded = whole.decode("ascii").split("\n")
        if "".join(decoded).isprintable():
            return decoded
    return [_text(line) for line in lines]


def _text(line: bytes) -> str:
    text = sanitise(line.decode("utf-8", "replace"))
    return text.replace("\n", " ") if "\n" in text else text


def _mark(sentence: str) -> str:
    return f"{MARK}{one_line(sanitise(sentence))}"
