from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from servedeck.gateway.stores.group_commit import ENOUGH_ITEMS
from servedeck.gateway.stores.store import StoreFullError
from servedeck.gateway.stores.valkey.batches import Batches
from tests.waiting import wait_until, with_timeout


class Writer:
    """Writes a batch when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._may_end = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        await self._may_end.acquire()
        if self.error is not None:
            raise self.error
        return [item * 2 for item in items]

    def release(self) -> None:
        self._may_end.release()


async def test_what_comes_meanwhile_is_written_together() -> None:
    writer = Writer()
    batches = Batches(writer)
    adding = [asyncio.create_task(batches.add(0, 1))]
    await wait_until(lambda: writer.batches == [[0]])
    adding += [asyncio.create_task(batches.add(number, 1)) for number in (1, 2, 3)]
    writer.release()
    await wait_until(lambda: writer.batches == [[0], [1, 2, 3]])
    writer.release()
    assert await with_timeout(asyncio.gather(*adding)) == [0, 2, 4, 6]


async def test_what_comes_alone_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servedeck.gateway.stores.valkey.batches.BATCH_INTERVAL_SECONDS", 1e6)
    writer = Writer()
    batches = Batches(writer)
    for number in range(3):
        writer.release()
        assert await with_timeout(batches.add(number, 1)) == number * 2
    assert writer.batches == [[0], [1], [2]]


async def test_after_a_batch_of_several_the_next_waits_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("servedeck.gateway.stores.valkey.batches.BATCH_INTERVAL_SECONDS", 1e6)
    writer = Writer()
    observed: list[int] = []
    batches = Batches(writer, lambda items, seconds: observed.append(items))
    for _ in range(3):
        writer.release()
    await with_timeout(asyncio.gather(*(batches.add(number, 1) for number in range(2))))
    assert writer.batches == [[0, 1]]
    adding = [asyncio.create_task(batches.add(number, 1)) for number in range(ENOUGH_ITEMS - 1)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(writer.batches) == 1
    adding.append(asyncio.create_task(batches.add(99, 1)))
    await with_timeout(asyncio.gather(*adding))
    assert [len(one) for one in writer.batches] == observed == [2, ENOUGH_ITEMS]


async def test_a_batch_is_bounded() -> None:
    writer = Writer()
    batches = Batches(writer)
    adding = [asyncio.create_task(batches.add(number, 1)) for number in range(600)]
    adding += [asyncio.create_task(batches.add(1000 + number, 5 << 20)) for number in range(2)]
    for _ in range(10):
        writer.release()
    results = await with_timeout(asyncio.gather(*adding))
    assert len(results) == 602
    assert [len(batch) for batch in writer.batches] == [256, 256, 89, 1]


async def test_an_error_is_of_its_batch_alone() -> None:
    writer = Writer()
    batches = Batches(writer)
    writer.error = StoreFullError("The memory is full.")
    failing = [asyncio.create_task(batches.add(number, 1)) for number in (1, 2)]
    await wait_until(lambda: writer.batches)
    writer.release()
    errors = await with_timeout(asyncio.gather(*failing, return_exceptions=True))
    assert [str(error) for error in errors] == ["The memory is full."] * 2
    assert errors[0] is not errors[1]
    writer.error = None
    writer.release()
    assert await with_timeout(batches.add(3, 1)) == 6


async def test_an_item_is_written_though_its_caller_has_gone() -> None:
    writer = Writer()
    batches = Batches(writer)
    caller = asyncio.create_task(batches.add(1, 1))
    await wait_until(lambda: writer.batches)
    waiting = asyncio.create_task(batches.add(2, 1))
    await asyncio.sleep(0)
    caller.cancel()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    writer.release()
    writer.release()
    await with_timeout(batches.close())
    assert writer.batches == [[1], [2]]
