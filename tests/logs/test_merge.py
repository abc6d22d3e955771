from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from servedeck.logs import merge
from servedeck.logs.lines import LineBatch
from servedeck.logs.merge import MAX_BATCH_LINES, Merger
from tests.logs.fake_kubelet import make_stamp
from tests.waiting import TimeSkipper, wait_until

Line = tuple[bytes, bytes, int]


class Merged:
    def __init__(self, **options: float) -> None:
        self.lines: list[Line] = []
        self.sizes: list[int] = []
        self.gate: asyncio.Event | None = None
        self.merger = Merger(self.add, **options)

    async def add(self, batch: LineBatch) -> None:
        if self.gate is not None:
            await self.gate.wait()
        assert len(batch.stamps) == len(batch.texts) == len(batch.sources)
        self.sizes.append(len(batch.stamps))
        self.lines += zip(batch.stamps, batch.texts, batch.sources, strict=True)

    @property
    def texts(self) -> list[bytes]:
        return [text for _, text, _ in self.lines]

    async def wait_for(self, count: int) -> None:
        await wait_until(lambda: len(self.lines) >= count, describe_state=lambda: len(self.lines))


@asynccontextmanager
async def merging(**options: float) -> AsyncIterator[Merged]:
    merged = Merged(**options)
    task = asyncio.create_task(merged.merger.run())
    try:
        yield merged
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


stream = st.lists(st.integers(0, 40).map(make_stamp), max_size=40)


@settings(deadline=None, max_examples=150)
@given(st.lists(stream, min_size=1, max_size=6), st.lists(st.integers(1, 9), min_size=1))
def test_histories_are_merged_as_a_stable_sort_by_the_latest_time(
    streams: list[list[bytes]], pieces: list[int]
) -> None:
    async def run() -> None:
        async with merging() as merged:
            channels = [merged.merger.open_channel() for _ in streams]

            async def write(number: int) -> None:
                at = 0
                while at < len(streams[number]):
                    size = pieces[(at + number) % len(pieces)]
                    part = streams[number][at : at + size]
                    texts = [f"{number} {at + index}".encode() for index in range(len(part))]
                    await channels[number].put(part, texts, number)
                    at += size
                    if size % 2:
                        await asyncio.sleep(0)
                channels[number].close()

            await asyncio.gather(*map(write, range(len(streams))))
            total = sum(map(len, streams))
            await merged.wait_for(total)
        expected = sorted(
            (
                (key, number, index, stamp)
                for number, stamps in enumerate(streams)
                for index, (key, stamp) in enumerate(
                    zip(accumulate(stamps, max), stamps, strict=True)
                )
            ),
            key=lambda one: one[0],
        )
        keys = {f"{number} {index}".encode(): key for key, number, index, _ in expected}
        assert [keys[text] for text in merged.texts] == [key for key, *_ in expected]
        for number, stamps in enumerate(streams):
            own = [line for line in merged.lines if line[2] == number]
            assert [stamp for stamp, _, _ in own] == stamps
            assert [text for _, text, _ in own] == [
                f"{number} {index}".encode() for index in range(len(stamps))
            ]

    asyncio.run(run())


async def test_streams_that_are_ahead_wait_for_those_that_are_behind() -> None:
    async with merging() as merged:
        early, late = (merged.merger.open_channel() for _ in range(2))
        count = 3 * merge._MAX_QUEUED_LINES

        async def write_late() -> None:
            for at in range(0, count, 1000):
                stamps = [make_stamp(1000, at + index) for index in range(1000)]
                await late.put(stamps, [b"late"] * 1000, 2)
            late.close()

        task = asyncio.create_task(write_late())
        await wait_until(lambda: late.is_full)
        for at in range(500):
            await early.put([make_stamp(at)], [b"early"], 1)
        await merged.wait_for(500)
        assert merged.texts == [b"early"] * 500
        assert not task.done()
        early.close()
        await task
        await merged.wait_for(500 + count)
    assert max(merged.sizes) <= MAX_BATCH_LINES
    assert [stamp for stamp, _, _ in merged.lines] == sorted(stamp for stamp, _, _ in merged.lines)


async def test_one_stream_is_not_delayed() -> None:
    async with merging(window=1000.0) as merged:
        channel = merged.merger.open_channel()
        await channel.put([make_stamp(1)], [b"a"], 1)
        await merged.wait_for(1)


async def test_new_lines_wait_for_those_of_other_streams() -> None:
    skip = TimeSkipper(asyncio.get_running_loop())
    async with merging(window=1000.0) as merged:
        channels = [merged.merger.open_channel() for _ in range(2)]
        for channel in channels:
            channel.caught_up()
        await channels[0].put([make_stamp(5)], [b"second"], 1)
        await asyncio.sleep(0)
        await channels[1].put([make_stamp(4)], [b"first"], 2)
        assert merged.lines == []
        skip(1001)
        await merged.wait_for(2)
        assert merged.texts == [b"first", b"second"]
        # what comes too late is placed where it comes
        await channels[0].put([make_stamp(1)], [b"late"], 1)
        await channels[1].put([make_stamp(2)], [b"too"], 2)
        skip(1001)
        await merged.wait_for(4)
    assert merged.texts == [b"first", b"second", b"too", b"late"]


async def test_what_follows_in_one_stream_may_come_before_lines_of_others() -> None:
    skip = TimeSkipper(asyncio.get_running_loop())
    async with merging(window=1000.0) as merged:
        channels = [merged.merger.open_channel() for _ in range(2)]
        for channel in channels:
            channel.caught_up()
        await channels[0].put([make_stamp(1)], [b"1"], 1)
        skip(10)  # so they are not joined
        await channels[0].put([make_stamp(4)], [b"4"], 1)
        await channels[1].put([make_stamp(5)], [b"5"], 2)
        skip(1001)
        await merged.wait_for(3)
    assert merged.texts == [b"1", b"4", b"5"]


async def test_a_stream_that_is_silent_holds_up_no_other() -> None:
    skip = TimeSkipper(asyncio.get_running_loop())
    async with merging() as merged:
        merged.merger.open_channel()
        channel = merged.merger.open_channel()
        await channel.put([make_stamp(5)], [b"a"], 1)
        await asyncio.sleep(0)
        assert merged.lines == []
        skip(10)
        await merged.wait_for(1)


async def test_no_more_is_queued_than_fits_while_the_receiver_is_busy() -> None:
    async with merging() as merged:
        merged.gate = asyncio.Event()
        channel = merged.merger.open_channel()
        count = 4 * merge._MAX_QUEUED_LINES
        written = 0

        async def write() -> None:
            nonlocal written
            while written < count:
                await channel.put(
                    [make_stamp(0, written + at) for at in range(100)], [b""] * 100, 1
                )
                written += 100

        task = asyncio.create_task(write())
        await wait_until(lambda: channel.is_full)
        assert written < 2 * merge._MAX_QUEUED_LINES
        merged.gate.set()
        await task
        await merged.wait_for(count)
    assert [stamp for stamp, _, _ in merged.lines] == [make_stamp(0, at) for at in range(count)]


async def test_a_burst_of_one_time_is_passed_on_in_parts() -> None:
    async with merging() as merged:
        channels = [merged.merger.open_channel() for _ in range(3)]
        texts = [f"{at}".encode() for at in range(9000)]
        for number, channel in enumerate(channels):
            await channel.put([make_stamp(0)] * 9000, list(texts), number)
        for channel in channels:
            channel.close()
        await merged.wait_for(27_000)
    assert max(merged.sizes) <= MAX_BATCH_LINES
    for number in range(3):
        assert [text for _, text, source in merged.lines if source == number] == texts


async def test_what_was_deselected_is_forgotten() -> None:
    async with merging(window=1000.0) as merged:
        channels = [merged.merger.open_channel() for _ in range(2)]
        for number, channel in enumerate(channels):
            channel.caught_up()
            await channel.put([make_stamp(number)], [f"{number}".encode()], number)
        channels[1].discard()
        await merged.wait_for(1)
        assert merged.texts == [b"0"]
        assert merged.merger.is_empty


async def test_it_can_be_cancelled_while_lines_arrive() -> None:
    merger = Merged(window=1000.0).merger
    channels = [merger.open_channel() for _ in range(2)]
    for channel in channels:
        channel.caught_up()
    task = asyncio.create_task(merger.run())
    await channels[0].put([make_stamp(1)], [b"a"], 1)
    for _ in range(10):
        await asyncio.sleep(0)  # it waits for lines of the other channel
    merger.notice_lines(is_full=True)
    await asyncio.sleep(0)  # the waiting task is about to go on
    task.cancel()
    await wait_until(task.done, "the end of the task", 60)
    assert task.cancelled()
