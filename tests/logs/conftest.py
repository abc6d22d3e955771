"""Fixtures: a scripted kubelet, and the merged streams of its Pods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.logs.instances import LogSelection
from servedeck.logs.lines import NOTICE_SOURCE, LineBatch
from servedeck.logs.stream_types import LogConfig
from servedeck.logs.streams import LogSince, LogStreams
from tests.cluster.fake_api_server import FakeApiServer, open_connection, serve, write_kubeconfig
from tests.logs.fake_kubelet import FakeKubelet
from tests.waiting import wait_until

FAST_CONFIG = LogConfig(
    read_timeout=120.0, poll_delay=(0.01, 0.05), confirm_delay=0.02, window=0.02
)


@pytest.fixture
async def api() -> AsyncIterator[FakeApiServer]:
    api = FakeApiServer()
    async with serve(api):
        yield api


@pytest.fixture
async def connection(api: FakeApiServer, tmp_path: Path) -> AsyncIterator[Connection]:
    file = write_kubeconfig(tmp_path / "config", api.url, {"token": "secret"})
    connection = await open_connection(file)
    yield connection
    await connection.close()


@pytest.fixture
def kubelet(api: FakeApiServer) -> FakeKubelet:
    return FakeKubelet(api)


class Followed:
    """The streams of all Pods of a kubelet, and what they delivered."""

    def __init__(self, kubelet: FakeKubelet, selection: LogSelection) -> None:
        self.kubelet = kubelet
        self.selection = selection
        self.streams: LogStreams
        self.lines: list[tuple[bytes, bytes, int]] = []
        """Timestamp, text and source of each line."""
        self.batch_sizes: list[int] = []
        self.changes = 0

    async def add(self, batch: LineBatch) -> None:
        assert len(batch.stamps) == len(batch.texts) == len(batch.sources)
        self.batch_sizes.append(len(batch.stamps))
        self.lines += zip(batch.stamps, batch.texts, batch.sources, strict=True)

    def count_change(self) -> None:
        self.changes += 1

    def update(self) -> None:
        """What the watches bring."""
        self.streams.update(self.kubelet.views, self.selection)

    @property
    def texts(self) -> list[str]:
        return [text.decode() for _, text, source in self.lines if source != NOTICE_SOURCE]

    @property
    def notices(self) -> list[str]:
        return [text.decode() for _, text, source in self.lines if source == NOTICE_SOURCE]

    @property
    def all_texts(self) -> list[str]:
        return [text.decode() for _, text, _ in self.lines]

    async def wait_for(self, condition: Callable[[], object]) -> None:
        await wait_until(
            lambda: bool(condition()),
            describe_state=lambda: (len(self.lines), self.all_texts[-10:], self.streams.state),
        )

    async def wait_for_text(self, text: str) -> None:
        await self.wait_for(lambda: text in self.all_texts)


@asynccontextmanager
async def follow(
    kubelet: FakeKubelet,
    connection: Connection,
    *,
    selection: LogSelection | None = None,
    since: LogSince | None = None,
    config: LogConfig = FAST_CONFIG,
    **options: Any,
) -> AsyncIterator[Followed]:
    followed = Followed(kubelet, selection or LogSelection())
    streams = followed.streams = LogStreams(
        connection,
        since=since or LogSince(tail=None),
        config=config,
        on_batch=followed.add,
        on_change=followed.count_change,
        **options,
    )
    followed.update()
    try:
        yield followed
        assert streams.error is None
    finally:
        await streams.close()
