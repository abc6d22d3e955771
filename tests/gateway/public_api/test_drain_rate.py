"""The Retry-After of callers, by how fast tasks end."""

from __future__ import annotations

from typing import Any, cast

import pytest

from servedeck.async_queue.tasks import QueueMinute
from servedeck.gateway.public_api.drain_rate import DrainRate
from servedeck.gateway.stores.store import TaskStore
from tests.waiting import with_timeout


class Minutes:
    def __init__(self, *minutes: QueueMinute) -> None:
        self._minutes = list(minutes)

    async def minutes(self) -> list[QueueMinute]:
        return self._minutes


async def rate_of(*minutes: QueueMinute) -> DrainRate:
    rate = DrainRate(cast(TaskStore, cast(Any, Minutes(*minutes))))
    assert rate.seconds(1) == 2, "not known yet"
    assert rate._reading is not None
    await with_timeout(rate._reading)
    return rate


async def test_how_fast_tasks_end_while_some_wait() -> None:
    rate = await rate_of(
        QueueMinute(time=0, completed=10_000, depth=0),  # as many as came
        QueueMinute(time=60, completed=50, failed=5, cancelled=5, depth=900),
        QueueMinute(time=120, completed=60, depth=800),
        QueueMinute(time=180, completed=30, depth=700),
    )
    assert rate.seconds(1) == 1
    assert rate.seconds(10) == 10  # 150 in the two and a half minutes
    assert rate.seconds(10_000) == 60


@pytest.mark.parametrize("depth", [0, None])
async def test_a_queue_in_which_nothing_waits_says_nothing_of_it(depth: int | None) -> None:
    """One task a minute, each over at once."""
    rate = await rate_of(*(QueueMinute(time=60.0 * n, completed=1, depth=depth) for n in range(5)))
    assert rate.seconds(1) == 2
