"""The merged logs of many containers, each followed through its instances."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from operator import is_

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.debounce import wait_while_held
from servedeck.fleet.views import PodView
from servedeck.logs.container_follower import ContainerFollower, FollowerServices
from servedeck.logs.instance_stream import server_time
from servedeck.logs.instances import (
    ContainerInstance,
    ContainerKey,
    LogSelection,
    select_instances,
)
from servedeck.logs.lines import NOTICE_SOURCE, LineBatch, LogSource, ns_to_stamp
from servedeck.logs.merge import Merger
from servedeck.logs.pod_log import PIECE_BYTES
from servedeck.logs.slots import SlotPool
from servedeck.logs.stream_types import LogConfig, StreamStart, StreamStatus
from servedeck.logs.turns import Turns

_SECOND_BYTES = 19


@dataclass(frozen=True, slots=True)
class LogSince:
    """What is read of what was written before: the last lines of each log, a time, or all."""

    tail: int | None = 200
    """Number of last lines of each instance; None for all."""
    seconds: float | None = None
    """Time until now; None for any. If given, `tail` is not used."""


@dataclass(frozen=True, slots=True)
class StreamsState:
    """What the streams do, for a heading."""

    wanted: int = 0
    """Selected containers."""
    open: int = 0
    """Those whose lines arrive as they are written."""
    queued: int = 0
    """Those that wait until another one ends, as no more may be open at once."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Why a container has not started (again), by its Pod and name."""
    reconnecting: dict[str, str] = field(default_factory=dict)
    """Why a log is interrupted, by Pod and container; "" if it was only cut off."""
    refusals: tuple[str, ...] = ()
    """Why logs cannot be read at all, one sentence each."""
    caught_up: bool = False
    """Whether what was written before was delivered, as far as it can be read now."""
    finished: bool = False
    """Whether everything was delivered and no selected container will write more."""


class LogStreams:
    """Follows the logs of the selected containers and delivers their lines in one order.

    Create it in the running event loop, call `update` with the Pods as watches show them, and
    `close` it.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        since: LogSince,
        max_open: int = 100,
        follow: bool = True,
        config: LogConfig | None = None,
        on_batch: Callable[[LineBatch], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        """Without `follow` each log is read as far as it is written now. At most `max_open` streams
        are open at once, those of failing Pods first. `on_batch` is awaited with at most
        `MAX_BATCH_LINES` lines; meanwhile no more is read than fits into small buffers. `on_change`
        is called when `state` has changed, and must not block."""
        config = config or LogConfig()
        self.sources: list[LogSource] = [LogSource(NOTICE_SOURCE, "", "", "")]
        """All instances so far; the index is `LogSource.number`. The first one stands for
        servedeck's own notices."""
        self._connection = connection
        self._since = since
        self._opened_at = server_time(connection)
        self._on_change = on_change

        async def deliver(batch: LineBatch) -> None:
            await wait_while_held(connection.is_held)
            await on_batch(batch)

        self._merger = Merger(deliver, window=config.window, on_caught_up=on_change)
        self._services = FollowerServices(
            connection=connection,
            config=config,
            slots=SlotPool(max_open),
            turns=Turns(PIECE_BYTES, is_held=lambda: connection.is_held()),
            server_time=lambda: server_time(connection),
            add_source=self._add_source,
            refuse=self._refuse,
            on_change=on_change,
            follow=follow,
        )
        self._followers: dict[ContainerKey, ContainerFollower] = {}
        self._tasks: dict[ContainerKey, asyncio.Task[None]] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self._refusals: dict[str, None] = {}
        self._sources: dict[tuple[ContainerKey, int], int] = {}
        self._last_update: tuple[Sequence[PodView], LogSelection] = ((), LogSelection())
        self._is_updated = False
        self._wanted = 0
        self._merging = asyncio.create_task(self._merger.run())
        self._merging.add_done_callback(lambda _: on_change())

    def update(self, pods: Sequence[PodView], selection: LogSelection) -> None:
        """The Pods as they are now, and which logs are wanted: new instances join, those that were
        deselected leave. Cheap if nothing has changed. A change of `selection.previous` concerns
        only containers that join afterwards."""
        last_pods, last_selection = self._last_update
        if (
            self._is_updated
            and selection == last_selection
            and len(pods) == len(last_pods)
            and all(map(is_, pods, last_pods))
        ):
            return
        self._last_update, self._is_updated = (tuple(pods), selection), True
        wanted = select_instances(pods, selection)
        self._wanted = len(wanted)
        alive = {pod.uid for pod in pods}
        for key in [key for key in self._followers if key not in wanted]:
            if key.pod_uid in alive:
                self._remove(key)
            elif not self._tasks[key].done():
                self._followers[key].update(None)
            else:
                self._forget(key)
        for priority, (key, instance) in enumerate(wanted.items()):
            follower = self._followers.get(key)
            if follower is None:
                self._add(key, instance, selection, priority)
            else:
                follower.priority = priority
                follower.update(instance)
        self._on_change()

    async def close(self) -> None:
        """End all streams; lines that were not delivered yet are forgotten."""
        tasks = [*self._tasks.values(), *self._retired, self._merging]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._followers.clear()
        self._tasks.clear()

    @property
    def error(self) -> BaseException | None:
        """What `on_batch` has raised, after which no more lines are delivered; None normally."""
        task = self._merging
        return task.exception() if task.done() and not task.cancelled() else None

    @property
    def state(self) -> StreamsState:
        """What the streams do now."""
        followers = self._followers.values()
        return StreamsState(
            wanted=self._wanted,
            open=sum(one.status is StreamStatus.OPEN for one in followers),
            queued=sum(one.status is StreamStatus.QUEUED for one in followers),
            waiting={
                one.label: one.reason for one in followers if one.status is StreamStatus.WAITING
            },
            reconnecting={
                one.label: one.reason
                for one in followers
                if one.status is StreamStatus.RECONNECTING
            },
            refusals=tuple(
                dict.fromkeys(
                    [
                        *self._refusals,
                        *(one.reason for one in followers if one.status is StreamStatus.REFUSED),
                    ]
                )
            ),
            caught_up=self._is_updated and self._merger.is_caught_up,
            finished=self._is_updated
            and all(one.is_done for one in followers)
            and self._merger.is_empty,
        )

    def _add(
        self,
        key: ContainerKey,
        instance: ContainerInstance,
        selection: LogSelection,
        priority: int,
    ) -> None:
        channel = self._merger.open_channel()
        follower = ContainerFollower(
            self._services,
            instance,
            channel,
            self._start_of(instance),
            reads_previous=selection.previous,
            priority=priority,
        )
        self._followers[key] = follower
        self._tasks[key] = asyncio.create_task(follower.run())

    def _start_of(self, instance: ContainerInstance) -> StreamStart:
        """Where the log of a container that joins is begun."""
        if self._since.seconds is not None:
            second = ns_to_stamp(int((self._opened_at - self._since.seconds) * 1e9))
            return StreamStart(since=second[:_SECOND_BYTES])
        started_at = instance.started_at
        if started_at is not None and started_at.timestamp() >= self._opened_at:
            return StreamStart()  # it started while its Pod was watched: nothing is left out
        return StreamStart(tail=self._since.tail)

    def _remove(self, key: ContainerKey) -> None:
        task = self._tasks[key]
        task.cancel()
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)
        self._followers[key].channel.discard()
        self._forget(key)

    def _forget(self, key: ContainerKey) -> None:
        del self._followers[key], self._tasks[key]

    def _add_source(self, instance: ContainerInstance, number: int) -> int:
        known = self._sources.get((instance.key, number))
        if known is not None:
            return known
        source = len(self.sources)
        self.sources.append(
            LogSource(source, instance.namespace, instance.pod, instance.container, number)
        )
        self._sources[instance.key, number] = source
        self._on_change()
        return source

    def _refuse(self, sentence: str) -> bool:
        is_new = sentence not in self._refusals
        self._refusals[sentence] = None
        return is_new
