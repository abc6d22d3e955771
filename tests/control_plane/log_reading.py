"""A reader of the logs of one serving: the Pods come from the watches, the lines are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.fleet.session import ClusterSession, SessionChanges
from servedeck.fleet.views import NamespacedName
from servedeck.logs.instances import LogSelection
from servedeck.logs.lines import NOTICE_SOURCE, LineBatch
from servedeck.logs.streams import LogSince, LogStreams
from tests.control_plane.numbered_lines import LineCheck
from tests.waiting import wait_until

EVERYTHING = LogSince(tail=None)
ALL_LOGS = LogSelection()


class ReceivedLine(NamedTuple):
    source: int
    stamp: bytes
    text: bytes


class LineReceiver(Protocol):
    """What lines are delivered to."""

    async def add(self, batch: LineBatch) -> None:
        """Receive a batch of `LogStreams`."""
        ...


class ServingReader(LineReceiver):
    """What was received from all Pods of a serving: counts of numbered lines; or, with
    `keeps_lines`, the lines themselves."""

    def __init__(self, *, keeps_lines: bool = False) -> None:
        self._keeps_lines = keeps_lines
        self.check = LineCheck()
        self.notices: list[str] = []
        """What the streams said of themselves."""
        self.lines: list[ReceivedLine] = []
        """All lines, notices included, in the order in which they are shown."""

    @property
    def texts(self) -> list[bytes]:
        """The lines that containers wrote."""
        return [line.text for line in self.lines if line.source != NOTICE_SOURCE]

    async def add(self, batch: LineBatch) -> None:
        """Receive a batch of `LogStreams`."""
        if self._keeps_lines:
            self.lines.extend(map(ReceivedLine, batch.sources, batch.stamps, batch.texts))
        texts = batch.texts
        if NOTICE_SOURCE in batch.sources:
            texts = []
            for text, source in zip(batch.texts, batch.sources, strict=True):
                if source == NOTICE_SOURCE:
                    self.notices.append(text.decode())
                else:
                    texts.append(text)
        if not self._keeps_lines:
            self.check.add(texts)


@asynccontextmanager
async def read_serving(
    kubeconfig: Path,
    namespace: str,
    serving: str,
    reader: LineReceiver,
    *,
    since: LogSince = EVERYTHING,
    selection: LogSelection = ALL_LOGS,
    max_open: int = 100,
) -> AsyncIterator[LogStreams]:
    """Follow the logs of a serving into `reader` until the block ends."""
    target = ConnectionOptions(kubeconfig=(kubeconfig,), namespace=namespace)
    session = ClusterSession(target, tune_gc=False)
    key = NamespacedName(namespace, serving)
    await session.start()
    try:
        await wait_until(lambda: session.connection, "the connection")
        assert session.connection
        streams = LogStreams(
            session.connection,
            since=since,
            max_open=max_open,
            on_batch=reader.add,
            on_change=lambda: None,
        )

        def update(_: SessionChanges | None = None) -> None:
            if view := session.fleet.view(key):
                streams.update(view.pods, selection)

        session.subscribe(update)
        update()
        try:
            yield streams
        finally:
            await streams.close()
    finally:
        await session.close()
