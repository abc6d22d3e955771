"""Places and turns that streams share."""

from __future__ import annotations

import asyncio

from servedeck.logs.slots import SlotPool
from servedeck.logs.turns import Turns


async def test_few_bytes_are_processed_in_each_cycle() -> None:
    turns = Turns(100)
    loop = asyncio.get_running_loop()
    cycle = 0
    passed: list[tuple[int, int]] = []

    def count() -> None:
        nonlocal cycle
        cycle += 1
        if len(passed) < 20:
            loop.call_soon(count)

    async def work(number: int) -> None:
        await turns.wait(40)
        passed.append((cycle, number))

    loop.call_soon(count)
    await asyncio.gather(*map(work, range(20)))
    assert [number for _, number in passed] == list(range(20))
    cycles = [at for at, _ in passed]
    assert max(cycles.count(at) for at in set(cycles)) == 2


async def test_more_bytes_than_a_cycle_has_still_pass() -> None:
    turns = Turns(100)
    await asyncio.gather(*(turns.wait(1000) for _ in range(5)))


async def test_a_cancelled_turn_holds_up_no_other() -> None:
    turns = Turns(1)
    tasks = [asyncio.create_task(turns.wait(1)) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in done] == [
        False,
        True,
        True,
        False,
        False,
    ]


async def test_a_place_goes_to_the_most_urgent() -> None:
    pool = SlotPool(1)
    order: list[int] = []
    release = asyncio.Event()

    async def take(number: int) -> None:
        async with pool.slot(lambda: -number):
            order.append(number)
            await release.wait()

    tasks = [asyncio.create_task(take(number)) for number in (0, 1, 3, 2)]
    await asyncio.sleep(0)
    assert pool.is_full
    tasks[2].cancel()
    await asyncio.gather(tasks[2], return_exceptions=True)
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 2, 1]
    assert not pool.is_full


async def test_a_place_given_to_a_cancelled_task_is_given_on() -> None:
    pool = SlotPool(1)
    ended: list[int] = []

    async def take(number: int) -> None:
        async with pool.slot(lambda: number):
            ended.append(number)

    async with pool.slot(lambda: 0):
        first, second = (asyncio.create_task(take(number)) for number in (1, 2))
        await asyncio.sleep(0)
    first.cancel()  # it has the place by now, but has not run yet
    await asyncio.gather(first, second, return_exceptions=True)
    assert ended == [2]
    assert not pool.is_full
