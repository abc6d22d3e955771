"""Logs of a serving through a real API server: nothing is lost or repeated, and all is in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone

import pytest

from servedeck.logs.lines import NOTICE_SOURCE, ns_to_stamp
from servedeck.logs.streams import LogSince
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.log_serving import Serving
from tests.waiting import wait_until

SECOND = 10**9
NOON = 1_764_504_000 * SECOND
END = b"the end"


@pytest.fixture
def serving(control_plane: ControlPlane, namespace: str) -> Serving:
    return Serving(control_plane, namespace)


@pytest.fixture
def seoul(control_plane: ControlPlane) -> Iterator[None]:
    """Nodes whose time zone is not UTC."""
    assert control_plane.kubelet
    control_plane.kubelet.logs.zone = timezone(timedelta(hours=9))
    yield
    control_plane.kubelet.logs.zone = UTC


# -- nothing is lost or repeated -------------------------------------------------------------------


@pytest.mark.parametrize("clean", [False, True])
async def test_a_stream_that_is_cut_at_each_byte_of_a_line(serving: Serving, clean: bool) -> None:
    serving.create()
    log = serving.log()
    expected: list[bytes] = []
    async with serving.reading():
        await serving.wait_until_followed()
        for size in range(len(ns_to_stamp(NOON)) + len(b" 00\n") + 1):
            text = b"%02d" % size
            expected.append(text)
            log.cut_after(size, clean=clean)
            log.write(text)
            await wait_until(lambda: not log.pending_cuts, "the cut")
            await serving.wait_for_line(text)
        log.write(END)
        await serving.wait_for_line(END)
    assert serving.reader.texts == [*expected, END]
    assert serving.reader.notices == []


async def test_bursts_in_one_nanosecond_that_are_cut(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    expected = [b"line %d" % number for number in range(60)]
    log.write(*expected[:20], at=NOON)
    async with serving.reading():
        await serving.wait_for_line(expected[19])
        for first in range(20, 60, 5):
            log.cut_after(100)
            log.write(*expected[first : first + 5], at=NOON)
            await wait_until(lambda: not log.pending_cuts, "the cut")
            await serving.wait_for_line(expected[first + 4])
        log.write(END, at=NOON + 1)
        await serving.wait_for_line(END)
    assert serving.reader.texts == [*expected, END]


async def test_a_clock_that_steps_back(serving: Serving) -> None:
    """By any time while the first connection lasts, by a second after it was lost: the kubelet
    omits what is earlier than the time since which a log is requested, also of later lines."""
    serving.create()
    log = serving.log()
    halves = [0, 3, -20, -19, 5, 4, 4, 3, 2, 3, 60, 58, 59]
    expected = [b"line %d" % number for number in range(len(halves))]
    async with serving.reading():
        await serving.wait_until_followed()
        for number, half in enumerate(halves):
            if number >= 5:
                log.cut_after(20)
            log.write(expected[number], at=NOON + half * SECOND // 2)
            await serving.wait_for_line(expected[number])
            assert not log.pending_cuts
        log.write(END, at=NOON + 60 * SECOND)
        await serving.wait_for_line(END)
    assert serving.reader.texts == [*expected, END]


async def test_any_bytes_and_a_last_line_without_an_end(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    lines = [b"\xff\xfe\x00", b"", b"\x1b[31mred\x1b[0m", b" 12%\r 50%\r100%", b"x" * 300_000]
    log.write(*lines)
    async with serving.reading():
        log.write_partial(b"a part, ")
        await serving.wait_for_line(lines[-1])
        log.write_partial(b"and the last words")
        log.finish()
        ended = pod_statuses.container_status(pod_statuses.terminated_state(0, "Completed"))
        serving.report(ended, ready=False)
        await serving.wait_for_notice("ended, exit code 0")
    assert serving.reader.texts == [*lines, b"a part, and the last words"]
    assert serving.reader.lines[-1].source == NOTICE_SOURCE


async def test_a_file_that_is_rotated_while_it_is_followed(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write("one")
    async with serving.reading():
        await serving.wait_for_line(b"one")
        log.write("two")
        log.rotate()
        log.write("three")
        await serving.wait_for_line(b"three")
    assert serving.shown() == ["one", "two", "three"]


async def test_a_file_that_is_rotated_while_the_connection_is_lost(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write("one", at=NOON)
    async with serving.reading():
        await serving.wait_for_line(b"one")
        serving.kubelet.stop()
        try:
            log.write("two", at=NOON + SECOND)
            log.rotate()
            log.write("three", at=NOON + 2 * SECOND)
        finally:
            serving.kubelet.start()
        await serving.wait_for_line(b"three")
    notice = (
        "[pod: the node rotated its log while the connection was lost; lines may be missing here]"
    )
    assert serving.shown() == ["one", notice, "three"]


async def test_the_clock_of_the_nodes_has_another_time_zone(
    serving: Serving, seoul: object
) -> None:
    serving.create()
    log = serving.log()
    log.write("one", at=NOON)
    async with serving.reading():
        await serving.wait_for_line(b"one")
        log.cut_all()
        log.write("two", at=NOON + 5)
        await serving.wait_for_line(b"two")
    stamps = [ns_to_stamp(NOON), ns_to_stamp(NOON + 5)]
    assert [line.stamp for line in serving.reader.lines] == stamps
    assert serving.reader.texts == [b"one", b"two"]


# -- which lines, in which order -------------------------------------------------------------------


async def test_the_last_lines_and_those_that_follow(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write(*(f"line {number}" for number in range(300)))
    async with serving.reading(LogSince(tail=3)):
        await serving.wait_for_line(b"line 299")
        log.cut_all()
        log.write("line 300")
        await serving.wait_for_line(b"line 300")
    assert serving.shown() == ["line 297", "line 298", "line 299", "line 300"]


async def test_the_lines_of_some_time(serving: Serving) -> None:
    serving.create()
    now = time.time_ns()
    log = serving.log()
    log.write("old", "recent", at=[now - 7200 * SECOND, now - 1800 * SECOND])
    async with serving.reading(LogSince(seconds=3600)):
        await serving.wait_for_line(b"recent")
        log.cut_all()
        log.write("new")
        await serving.wait_for_line(b"new")
    assert serving.shown() == ["recent", "new"]


async def test_what_several_pods_wrote_is_merged_by_time(serving: Serving) -> None:
    serving.create(2)
    for number in range(2):
        stamps = [NOON + (2 * at + number) * SECOND for at in range(50)]
        serving.log(number).write(*(f"{2 * at + number}" for at in range(50)), at=stamps)
    async with serving.reading():
        await wait_until(lambda: len(serving.reader.texts) == 100, "all lines")
    assert serving.reader.texts == [str(number).encode() for number in range(100)]


async def test_more_pods_than_streams(serving: Serving) -> None:
    serving.create(3)
    for number in range(3):
        serving.log(number).write(f"pod {number}")
    async with serving.reading(max_open=2) as streams:
        await wait_until(lambda: len(serving.reader.texts) == 2, "two Pods")
        await wait_until(lambda: streams.state.queued == 1, "the queue")
        assert (streams.state.open, streams.state.wanted) == (2, 3)
        first = int(serving.reader.texts[0][-1:])
        serving.log(first).finish()
        ended = pod_statuses.container_status(pod_statuses.terminated_state(0, "Completed"))
        serving.report(ended, ready=False, number=first)
        await wait_until(lambda: len(serving.reader.texts) == 3, "the third Pod")
    assert sorted(serving.reader.texts) == [b"pod 0", b"pod 1", b"pod 2"]
