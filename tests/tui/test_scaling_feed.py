"""What a serving is scaled by, read again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from servedeck.metrics.period import PERIODS
from servedeck.serving.scaling.scaling_metrics import ScaledBy
from tests.tui import fakes
from tests.tui.fake_metrics_service import FakeMetricsService
from tests.waiting import TimeSkipper, wait_until
from tui.metrics import scaling_feed
from tui.metrics.feed import REOPEN_SECONDS, RETRY_SECONDS
from tui.metrics.scaling_feed import ScalingFeed, feed_charts, replayed_grid

KEY = fakes.serving("llama-8b").key
NOW = fakes.NOW.timestamp()


class Followed:
    def __init__(self, service: FakeMetricsService) -> None:
        service.servings = fakes.FakeSource().add_views(fakes.serving("llama-8b"))
        self.service = service
        self.updates = 0
        self.feed = ScalingFeed(cast(Any, service), KEY, self._count, lambda: fakes.NOW)

    def _count(self) -> None:
        self.updates += 1


@asynccontextmanager
async def follow(
    followed: Followed, by: ScaledBy = ScaledBy.RESPONSE_TIME, period: int = 0
) -> AsyncIterator[ScalingFeed]:
    task = asyncio.create_task(followed.feed.follow(by, PERIODS[period]))
    try:
        yield followed.feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await followed.feed.close()


async def test_the_history_is_read_and_the_source_is_closed() -> None:
    followed = Followed(FakeMetricsService())
    assert followed.feed.waiting_text == "Looking for the source of the metrics."
    assert not followed.feed.is_settled
    async with follow(followed) as feed:
        await wait_until(lambda: feed.history is not None, "the history")
        assert feed.history is not None and feed.history.grid.end == NOW // 15 * 15
        assert (feed.period, feed.is_settled, feed.problem) == (PERIODS[0], True, "")
        assert feed.source_text == "Prometheus at metrics.example:9090"
        metric, replicas = feed_charts(feed, ScaledBy.RESPONSE_TIME, 5000.0, 10, NOW)
        assert metric.lines and replicas.lines
        other, _ = feed_charts(feed, ScaledBy.WAITING_REQUESTS, 5.0, 10, NOW)
        assert not other.lines
    assert not followed.service.open_now
    assert followed.feed.history is not None  # what was read stays


async def test_an_error_is_said_and_it_is_asked_again() -> None:
    followed = Followed(FakeMetricsService())
    followed.service.source.error = "refused"
    skip = TimeSkipper(asyncio.get_running_loop())
    async with follow(followed) as feed:
        await wait_until(lambda: feed.problem, "the problem")
        assert feed.waiting_text == feed.problem == "refused"
        followed.service.source.error = ""
        skip(RETRY_SECONDS + 1)
        await wait_until(lambda: feed.history is not None, "the history")
        assert feed.problem == ""
        assert len(followed.service.opened) == 1


async def test_a_source_that_stays_silent_is_looked_for_again() -> None:
    followed = Followed(FakeMetricsService())
    skip = TimeSkipper(asyncio.get_running_loop())
    async with follow(followed) as feed:
        await wait_until(lambda: feed.history is not None, "the history")
        followed.service.source.error = "refused"
        skip(REOPEN_SECONDS)
        await wait_until(lambda: feed.problem, "the problem")
        skip(REOPEN_SECONDS + 1)
        await wait_until(lambda: len(followed.service.opened) == 2, "another source")
        assert followed.service.opened[0].is_closed


async def test_without_a_source_the_reason_is_said() -> None:
    followed = Followed(FakeMetricsService())
    followed.service.error = "No Prometheus was found."
    async with follow(followed) as feed:
        await wait_until(lambda: feed.problem, "the problem")
        metric, _ = feed_charts(feed, ScaledBy.RESPONSE_TIME, 5000.0, 10, NOW)
        assert metric.reason == "No Prometheus was found."
    metric, _ = feed_charts(None, ScaledBy.RESPONSE_TIME, 5000.0, 10, NOW)
    assert metric.reason == "There is no connection to the cluster."


async def test_pods_that_are_read_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling_feed, "unix_time", fakes.NOW.timestamp)
    service = FakeMetricsService()
    service.source.since = NOW - 600
    followed = Followed(service)
    async with follow(followed) as feed:
        await wait_until(lambda: followed.updates == 1, "the first reading")
        assert feed.history is not None
        assert feed.history.grid.seconds == 600.0
        assert feed.source_text.startswith("live only, since")
        service.open_now[0].on_read()
        await wait_until(lambda: followed.updates == 2, "the second reading")


async def test_another_metric_does_not_show_the_history_of_the_first() -> None:
    followed = Followed(FakeMetricsService())
    async with follow(followed) as feed:
        await wait_until(lambda: feed.history is not None, "the history")
    followed.service.source.gate.clear()
    async with follow(followed, ScaledBy.WAITING_REQUESTS) as feed:
        await wait_until(lambda: followed.service.source.in_flight, "the queries")
        assert feed.history is None


def test_a_day_has_a_point_for_each_minute() -> None:
    for period, step, count in ((3600.0, 15.0, 241), (21600.0, 15.0, 1441), (86400.0, 60.0, 1441)):
        grid = replayed_grid(NOW, period)
        assert (grid.step, grid.count) == (step, count)
        assert NOW - step < grid.end <= NOW
    assert replayed_grid(NOW, 300.0, 5.0).step == 5.0
