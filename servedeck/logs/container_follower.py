"""Follows one container of a Pod through its instances: each log to its end, then the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import describe_error
from servedeck.logs.instance_stream import InstanceStream
from servedeck.logs.instances import ContainerInstance
from servedeck.logs.lines import NOTICE_SOURCE, ns_to_stamp
from servedeck.logs.merge import Channel
from servedeck.logs.pod_log import LogRefusedError, RefusalKind
from servedeck.logs.resume import ResumePoint
from servedeck.logs.slots import SlotPool
from servedeck.logs.stream_types import WHOLE_LOG, LogConfig, StreamStart, StreamStatus
from servedeck.logs.turns import Turns
from servedeck.serving.text import one_line, sanitize


@dataclass(frozen=True)
class FollowerServices:
    """What a follower needs of the streams it belongs to."""

    connection: Connection
    config: LogConfig
    slots: SlotPool
    turns: Turns
    server_time: Callable[[], float]
    """Unix time of the API server's clock."""
    add_source: Callable[[ContainerInstance, int], int]
    """Register an instance by its restart count; returns the number of its source."""
    refuse: Callable[[str], bool]
    """Take note of a refusal that concerns all logs; returns whether it is the first time."""
    on_change: Callable[[], None]
    follow: bool = True
    """Whether lines that are still to be written are awaited."""


class ContainerFollower:
    """The lines of all instances of a container, with a notice where one ended or started."""

    def __init__(
        self,
        services: FollowerServices,
        instance: ContainerInstance,
        channel: Channel,
        start: StreamStart,
        *,
        reads_previous: bool,
        priority: int,
    ) -> None:
        """`start` is where the instance is begun that exists now; `reads_previous` says that the
        one before it is read first in any case, not only if it crashed."""
        self._services = services
        self._latest = instance
        self._channel = channel
        self._start = start
        self._reads_previous = reads_previous
        self._is_gone = False
        self._changed = asyncio.Event()
        self._stream: InstanceStream | None = None
        self.priority = priority
        """Of those that wait for a place, the lowest number gets it."""
        self.status = StreamStatus.CONNECTING
        self.reason = ""
        """Why it waits or is interrupted; "" if there is nothing to say."""
        self.is_done = False
        """No more lines follow, unless the container is started again all the same."""

    @property
    def label(self) -> str:
        return self._latest.label

    @property
    def channel(self) -> Channel:
        return self._channel

    def update(self, instance: ContainerInstance | None) -> None:
        """The latest instance as the watch shows it; None if the Pod was deleted."""
        if instance is None:
            self._is_gone = True
        elif instance == self._latest:
            return
        else:
            self._latest = instance
        self._changed.set()
        if self._stream is not None:
            self._stream.update(instance)

    async def run(self) -> None:
        """Deliver the lines until the Pod is deleted or its logs are refused."""
        try:
            await self._follow()
        except LogRefusedError as error:
            await self._say_refusal(error)
            self._set_status(StreamStatus.REFUSED, str(error))
        except Exception as error:  # the other containers are followed all the same
            await self._say(describe_error(error))
            self._set_status(StreamStatus.REFUSED, describe_error(error))
        self.is_done = True
        self._channel.close()
        self._services.on_change()

    async def _follow(self) -> None:
        if not self._services.follow and not self._latest.exists:
            reason = self._latest.waiting_reason
            sentence = f"{self.label} has no log yet{f': {reason}' if reason else ''}"
            await self._say(sentence)
            self._set_status(StreamStatus.REFUSED, sentence)
            return
        await self._wait_for_start()
        if self._pod_is_gone():
            self._set_status(StreamStatus.DONE, "")
            return
        number = self._latest.restart_count
        doubtful: ResumePoint | None = None
        if self._latest.has_previous and (self._reads_previous or self._latest.crashed_before):
            doubtful = await self._read_before(number, self._start)
            await self._say_restart(number)
        elif self._reads_previous and not self._services.follow:
            await self._say(f"{self.label} has no previous instance")
        start = self._start
        while True:
            stream = await self._read(number, start, doubtful)
            doubtful, start = stream.doubtful_point, WHOLE_LOG
            if not self._services.follow:
                return
            if self._pod_is_gone():
                break
            if self._latest.restart_count == number:
                if not stream.is_superseded:
                    await self._say_end()
                self.is_done = self._latest.pod_finished or (
                    self._latest.init and self._latest.terminated and not self._latest.exit_code
                )
                await self._wait_for_restart(number)
                if self._pod_is_gone():
                    break
            latest = self._latest.restart_count
            self.is_done = False
            if stream.is_lost:
                await self._say(f"{self.label}: lines may be missing here, it restarted meanwhile")
            missed = latest - number - 1
            if missed > 0:
                # of those in between the node keeps the last one
                if self._latest.has_previous:
                    doubtful = await self._read_before(latest, WHOLE_LOG)
                    missed -= 1
                if missed:
                    what = "instance" if missed == 1 else "instances"
                    await self._say(f"{self.label}: {missed} {what} in between not read")
            number = latest
            await self._say_restart(number)
            await self._wait_for_start()
        await self._say(f"{self.label} was deleted")
        self._set_status(StreamStatus.DONE, "")

    def _pod_is_gone(self) -> bool:
        return self._is_gone

    async def _wait_for_start(self) -> None:
        """Wait until the latest instance has started, or the Pod is gone."""
        while not self._latest.exists and not self._is_gone:
            self._channel.caught_up()
            reason = self._latest.waiting_reason
            self._set_status(StreamStatus.WAITING, reason)
            # what starts while it is watched is read from its begin
            self._start = StreamStart(since=self._start.since)
            await self._wait_for_change()

    async def _wait_for_restart(self, number: int) -> None:
        self._channel.caught_up()
        while self._latest.restart_count == number and not self._is_gone:
            is_over = self.is_done or not self._latest.waiting_reason
            status = StreamStatus.DONE if is_over else StreamStatus.WAITING
            self._set_status(status, "" if is_over else self._latest.waiting_reason)
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _read_before(self, number: int, start: StreamStart) -> ResumePoint | None:
        """Read the instance before this one, as far as the node has its log."""
        try:
            return (await self._read(number - 1, start, None)).doubtful_point
        except LogRefusedError as error:
            if error.kind not in (RefusalKind.NO_PREVIOUS, RefusalKind.REMOVED):
                raise
            await self._say(str(error))
            return None

    async def _read(
        self, number: int, start: StreamStart, doubtful: ResumePoint | None
    ) -> InstanceStream:
        services = self._services
        if services.slots.is_full:
            self._channel.caught_up()
            self._set_status(StreamStatus.QUEUED, "")
        async with services.slots.slot(lambda: self.priority):
            stream = InstanceStream(
                services.connection,
                self._latest,
                number,
                services.add_source(self._latest, number),
                self._channel,
                services.config,
                services.turns,
                start=start,
                follow=services.follow,
                doubtful_point=doubtful,
                on_status=self._set_status,
                on_missing=self._say_missing,
            )
            if self._is_gone:
                stream.update(None)
            self._stream = stream
            try:
                await stream.run()
            except LogRefusedError as error:
                ended = self._latest.restart_count != number or self._latest.terminated
                if error.kind is not RefusalKind.REMOVED or not ended:
                    raise
                await self._say(str(error))
            finally:
                self._stream = None
        return stream

    # -- what is said -----------------------------------------------------------------------------

    def _set_status(self, status: StreamStatus, reason: str) -> None:
        reason = one_line(sanitize(reason))
        if (status, reason) != (self.status, self.reason):
            self.status, self.reason = status, reason
            self._services.on_change()

    async def _say_missing(self) -> None:
        await self._say(
            f"{self.label}: the node rotated its log while the connection was lost; lines may be"
            " missing here"
        )

    async def _say_refusal(self, error: LogRefusedError) -> None:
        if error.kind is RefusalKind.FORBIDDEN:
            if not self._services.refuse(str(error)):
                return
        elif error.kind is RefusalKind.POD_DELETED and self._is_gone:
            return
        await self._say(str(error))

    async def _say_end(self) -> None:
        latest = self._latest
        how = latest.exit_text.replace("exit ", "exit code ", 1)
        await self._say(f"{latest.label} ended{f', {how}' if how else ''}")

    async def _say_restart(self, number: int) -> None:
        latest = self._latest
        how = f", {latest.exit_text}" if latest.exit_text else ""
        await self._say(f"{latest.label} restarted{how} (restart {number})")

    async def _say(self, sentence: str) -> None:
        """A notice at this place of the log."""
        finished = self._latest.finished_at
        stamp = self._channel.highest
        if not stamp:
            time = self._services.server_time() if finished is None else finished.timestamp()
            stamp = ns_to_stamp(int(time * 1e9))
        text = one_line(sanitize(sentence)).encode()
        await self._channel.put([stamp], [text], NOTICE_SOURCE)
