"""Follows the log of one instance of a container, across everything that interrupts it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, ReadTimeoutError
from servedeck.cluster.resources import POD
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.logs.instances import ContainerInstance
from servedeck.logs.line_splitter import ParsedLines, StampParser
from servedeck.logs.lines import ns_to_stamp
from servedeck.logs.merge import Channel
from servedeck.logs.pod_log import (
    PIECE_BYTES,
    LogRefusedError,
    LogRequest,
    LogResponse,
    RefusalKind,
    is_removed_message,
    refuse,
    removed_sentence,
)
from servedeck.logs.resume import ResumeCut, ResumeMismatchError, ResumePoint
from servedeck.logs.stream_types import WHOLE_LOG, LogConfig, StreamStart, StreamStatus
from servedeck.logs.turns import Turns
from servedeck.serving.objects.records import Pod

_SECOND_BYTES = 19
_MAX_UNDECIDED = 5
"""Responses that break off before the last line received, after which a log is given up."""
_MAX_RETRIES = 3
"""Attempts in a row that fail, after which a log that is not followed is given up."""
_RETRIED = (RefusalKind.WAITING, RefusalKind.NODE, RefusalKind.BUSY)
_decode_pod = RecordDecoder(Pod).decode


class _OtherInstanceError(Exception):
    """The response is the log of another instance."""


class InstanceStream:
    """The log of one instance, from `start` to its end."""

    def __init__(
        self,
        connection: Connection,
        instance: ContainerInstance,
        number: int,
        source: int,
        channel: Channel,
        config: LogConfig,
        turns: Turns,
        *,
        start: StreamStart = WHOLE_LOG,
        follow: bool = True,
        doubtful_point: ResumePoint | None = None,
        on_status: Callable[[StreamStatus, str], None],
        on_missing: Callable[[], Awaitable[None]],
    ) -> None:
        """`number` is the restart count of the instance, `instance` the latest one of its
        container. Without `follow` it is read as far as it is written now. `doubtful_point` is what
        was received as the log of the instance before, but may be of this one. `on_status` is
        called with the status and its reason, and must not block; `on_missing` where lines may be
        missing, as the log was rotated while it was not read."""
        self._connection = connection
        self._latest = instance
        self._is_gone = False
        self._number = number
        self._source = source
        self._channel = channel
        self._config = config
        self._turns = turns
        self._start = start
        self._follow = follow
        self._point = doubtful_point or self._new_point()
        self._is_doubtful = doubtful_point is not None
        self._on_status = on_status
        self._on_missing = on_missing
        self._changed = asyncio.Event()
        self._is_open = False
        self._retries = 0
        self._held_lines = 0
        """Lines of the last response of which it could not be decided whether they are new."""
        self._is_undecided = False
        self._new_lines = 0
        self._partial_line = b""
        self._last_message: bytes | None = None
        self._opened_stamp = b""
        self.doubtful_point: ResumePoint | None = None
        """What was received before it turned out that it may be of the next instance."""
        self.is_superseded = False
        """Whether the kubelet has shown that another instance has started, perhaps before the API
        server knows of it."""
        self.is_lost = False
        """Whether its last lines could not be read, as later instances have replaced it."""

    def update(self, instance: ContainerInstance | None) -> None:
        """The latest instance of the container is known; None if the Pod was deleted."""
        if instance is None:
            self._is_gone = True
        else:
            self._latest = instance
        self._changed.set()

    async def run(self) -> None:
        """Deliver the lines until the instance has ended and its log is read to the end, or cannot
        be read any more. Raises LogRefusedError if a retry cannot succeed."""
        seek = False
        last_partial: bytes | None = None
        self._on_status(StreamStatus.CONNECTING, "")
        undecided_responses = 0
        while not self._is_gone:
            behind = max(self.is_superseded, self._latest.restart_count - self._number)
            if behind > 1:
                self.is_lost = True
                return
            has_ended = self._has_ended
            self._changed.clear()
            self._new_lines = 0
            try:
                await self._read(
                    follow=self._follow and not has_ended, previous=behind == 1, seek=seek
                )
            except ResumeMismatchError:
                seek = True
                continue
            except _OtherInstanceError:
                await self._wait()
                continue
            except LogRefusedError as error:
                if await self._is_end(error, has_ended):
                    break
            except ClusterError as error:
                if not self._follow and self._retries > _MAX_RETRIES:
                    raise
                is_quiet = isinstance(error, ReadTimeoutError) and self._is_open
                if not is_quiet or not self._follow:
                    await self._wait_for_server(str(error))
                elif not self._point.received:
                    self._start = WHOLE_LOG  # it was empty, so what comes now is new
            else:
                if has_ended:
                    # a cut connection to the kubelet looks like the end of the log, so it is one
                    # only if the next response has no more
                    if self._is_undecided and undecided_responses < _MAX_UNDECIDED:
                        undecided_responses += 1
                        await self._wait()
                    elif not self._new_lines and self._partial_line == last_partial:
                        break
                    last_partial = self._partial_line
                    continue
                if not self._follow:
                    # likewise; what a container writes meanwhile is not awaited
                    if not self._new_lines or self._point.last_stamp >= self._opened_stamp:
                        break
                    continue
                if self._retries > 1:
                    self._on_status(StreamStatus.RECONNECTING, "")
                await self._wait()
            seek, last_partial = False, None
        await self._deliver_partial_line()

    @property
    def _has_ended(self) -> bool:
        latest = self._latest
        return (
            self.is_superseded
            or latest.restart_count != self._number
            or latest.terminated
            or (latest.pod_finished and not latest.running)
        )

    async def _is_end(self, error: LogRefusedError, has_ended: bool) -> bool:
        """Whether no more lines can be read after a refusal, otherwise wait. Raises it."""
        kind = error.kind
        if self._is_gone or (kind is RefusalKind.POD_DELETED and self._point.received):
            return True
        if kind is RefusalKind.WAITING and has_ended:
            # it ended and another one is being created: the watch will tell
            self._on_status(StreamStatus.WAITING, error.message)
            await self._wait()
            return False
        if kind not in _RETRIED and (has_ended or kind is not RefusalKind.REMOVED):
            raise error  # a file that is missing for a moment is being rotated
        if not self._follow and (kind is RefusalKind.WAITING or self._retries > _MAX_RETRIES):
            raise error
        if kind is RefusalKind.WAITING:
            self._channel.caught_up()
            self._on_status(StreamStatus.WAITING, str(error))
            await self._wait()
        else:
            await self._wait_for_server(str(error))
        return False

    async def _wait_for_server(self, reason: str) -> None:
        self._channel.caught_up()
        self._on_status(StreamStatus.RECONNECTING, reason)
        await self._wait()

    async def _wait(self) -> None:
        """Wait before the next attempt, not at all before the first one after new lines."""
        if self._retries:
            initial, maximum = self._config.poll_delay
            delay = min(maximum, initial * 2 ** min(self._retries - 1, 10))
            delay *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter, no security
            # not wait_for(), which forgets a cancellation that comes together with the event
            # (Python 3.11)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._changed.wait()
        self._retries += 1

    # -- one response -----------------------------------------------------------------------------

    def _new_point(self) -> ResumePoint:
        return ResumePoint(since=self._start.since, is_tail=self._start.tail is not None)

    async def _read(self, *, follow: bool, previous: bool, seek: bool) -> None:
        """Read one response and deliver its new lines."""
        latest, start = self._latest, self._start
        cut = self._point.begin(seek=seek) if self._point.received else None
        since = f"{start.since.decode()}Z" if start.since else ""
        request = LogRequest(
            latest.namespace,
            latest.pod,
            latest.container,
            follow=follow,
            previous=previous,
            tail=start.tail if cut is None else None,
            since_time=since if cut is None else cut.since_time,
        )
        await self._turns.wait(PIECE_BYTES)  # to open many connections takes as long as much data
        if not self._opened_stamp:
            self._opened_stamp = ns_to_stamp(int(server_time(self._connection) * 1e9))
            self._channel.start()
        self._is_open, self._partial_line = False, b""
        response = LogResponse(on_open=self._note_open, turns=self._turns)
        parser = StampParser(self._point.last_stamp)
        is_checked = cut is None
        stream = response.batches(self._connection, request, self._config.read_timeout)
        async with aclosing(stream) as batches:
            async for lines in batches:
                parsed = parser.parse(lines)
                if parsed.unstamped:
                    self._check_removed(parsed, request)
                if cut is None:
                    await self._deliver(parsed)
                    continue
                parts = cut.feed(parsed)
                if cut.is_decided and not is_checked:
                    is_checked = True
                    if not cut.is_found:
                        await self._check_instance(request)
                for part in parts:
                    await self._deliver(part)
        partial = response.partial_line
        if partial and is_removed_message(partial):
            self._refuse_removed(request)
        self._partial_line = partial
        if cut is not None:
            self._is_doubtful = self._is_doubtful and not cut.is_found
            await self._finish_cut(cut, request)

    async def _finish_cut(self, cut: ResumeCut, request: LogRequest) -> None:
        """At the end of a response. Lines of which it is not decided whether they are new are
        delivered when the instance has ended and a second response had just as many: the first one
        may have broken off before the last line received."""
        is_same = not request.follow and cut.held_lines == self._held_lines
        held = cut.finish(is_final=is_same)
        self._held_lines = 0 if request.follow else cut.held_lines
        self._is_undecided = not cut.is_decided and not is_same
        if any(len(part.raw) > len(part.unstamped) for part in held):
            await self._check_instance(request)
        for part in held:
            await self._deliver(part)

    def _note_open(self) -> None:
        self._is_open = True
        self._channel.open()
        self._on_status(StreamStatus.OPEN, "")

    def _check_removed(self, lines: ParsedLines, request: LogRequest) -> None:
        if any(is_removed_message(lines.raw[at]) for at in lines.unstamped):
            self._refuse_removed(request)

    def _refuse_removed(self, request: LogRequest) -> None:
        raise LogRefusedError(
            RefusalKind.REMOVED, ApiError(404, "", "log removed"), removed_sentence(request)
        )

    async def _check_instance(self, request: LogRequest) -> None:
        """The last line received is not in the response. Either the log was rotated, or one of the
        two is of the next instance, which the kubelet knows of before the API server does. Raises
        _OtherInstanceError if the response, or what was received before, is."""
        if self._is_doubtful:  # what was received before is of the instance before
            self._is_doubtful = False
            self._point = self._new_point()
            raise _OtherInstanceError
        latest = self._latest
        if request.previous:
            started_at = latest.started_at
            if started_at is not None:
                second = f"{started_at:%Y-%m-%dT%H:%M:%S}".encode()
                if self._point.first_stamp[:_SECOND_BYTES] >= second:
                    self.doubtful_point, self._point = self._point, self._new_point()
                    raise _OtherInstanceError
        else:
            if await self._is_in_previous_log(request):
                self.is_superseded = True
                raise _OtherInstanceError
            for delay in (0.0, self._config.confirm_delay):
                await asyncio.sleep(delay)
                if not await self._is_latest():
                    self._retries = max(1, self._retries)
                    raise _OtherInstanceError
        await self._on_missing()

    async def _is_in_previous_log(self, request: LogRequest) -> bool:
        """Whether the last line received is in the log of the instance before the current one: then
        this instance is that one, whatever the API server shows. The kubelet knows best."""
        cut = self._point.begin(seek=True)
        request = request._replace(follow=False, previous=True, since_time=cut.since_time)
        response = LogResponse(turns=self._turns)
        parser = StampParser()
        stream = response.batches(self._connection, request, self._config.read_timeout)
        try:
            async with aclosing(stream) as batches:
                async for lines in batches:
                    cut.feed(parser.parse(lines))
                    if cut.is_decided:
                        break
        except LogRefusedError:
            return False  # there is none before
        return cut.is_found

    async def _is_latest(self) -> bool:
        """Whether the API server knows of no later instance."""
        latest = self._latest
        path = POD.object_path(latest.namespace, latest.pod)
        try:
            pod: Pod = _decode_pod(await self._connection.get(path)).record
        except ApiError as error:
            if error.code == 404:
                return True
            raise refuse(error, LogRequest(latest.namespace, latest.pod, latest.container)) from (
                error
            )
        statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
        return pod.metadata.uid == latest.pod_uid and all(
            status.restart_count == self._number
            for status in statuses
            if status.name == latest.container
        )

    async def _deliver(self, lines: ParsedLines) -> None:
        count = len(lines.raw)
        if not count:
            return
        if len(lines.unstamped) == count:
            if lines.raw[-1] == self._last_message:
                return  # a message of the kubelet that comes with each response
            self._last_message = lines.raw[-1]
        stamps = lines.stamps
        if not stamps[0]:
            known = next(filter(None, stamps), self._point.last_stamp or self._opened_stamp)
            stamps = [stamp or known for stamp in stamps]
        self._point.record(lines)
        self._new_lines += count
        self._retries = 0
        if stamps[-1] >= self._opened_stamp:
            self._channel.caught_up()
        await self._channel.put(stamps, lines.texts, self._source)

    async def _deliver_partial_line(self) -> None:
        """The container has ended, so what it wrote last without a newline is a line."""
        if self._partial_line:
            line, self._partial_line = self._partial_line, b""
            await self._deliver(StampParser(self._point.last_stamp).parse([line]))


def server_time(connection: Connection) -> float:
    """Unix time of the API server's clock."""
    return connection.clock.server_time()
