"""The log of a container through its instances."""

from __future__ import annotations

import random

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.logs.instances import LogSelection
from servedeck.logs.lines import NOTICE_SOURCE
from tests.logs.conftest import follow
from tests.logs.fake_kubelet import (
    Cut,
    FakeKubelet,
    make_line,
    numbered,
    numbered_texts,
)


async def test_a_restart_is_marked_and_nothing_before_it_lost(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(0, "a"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("a")
        container.cuts = [Cut(0)]  # what it writes last is not read while it is the current one
        await container.write(make_line(1, "b"), make_line(1, "last words"))
        container.latest.tail = make_line(1, "without an end")
        await container.end(137, "OOMKilled")
        await container.start()
        await container.write(make_line(2, "c"))
        followed.update()
        await followed.wait_for_text("c")
        sources = followed.streams.sources
    assert followed.all_texts == [
        "a",
        "b",
        "last words",
        "without an end",
        "web restarted, exit 137 OOMKilled (restart 1)",
        "c",
    ]
    assert [source for *_, source in followed.lines] == [1, 1, 1, 1, NOTICE_SOURCE, 2]
    assert [source.restart_count for source in sources[1:]] == [0, 1]


@pytest.mark.parametrize("seed", range(4))
async def test_restarts_and_breaks_together(
    kubelet: FakeKubelet, connection: Connection, seed: int
) -> None:
    """The watch brings a restart some time after the kubelet knows of it."""
    rng = random.Random(seed)
    container = kubelet.add()
    written: list[str] = []
    second = 0
    async with follow(kubelet, connection) as followed:
        for run in range(5):
            container.cuts = [
                Cut(rng.randrange(0, 3000), is_clean=rng.random() < 0.7) for _ in range(4)
            ]
            for _ in range(3):
                texts = [f"{run} {at + len(written)}" for at in range(rng.randrange(1, 60))]
                await container.write(
                    *[make_line(second, text, at) for at, text in enumerate(texts)]
                )
                written += texts
                second += 1
            if rng.random() < 0.7:
                await followed.wait_for_text(written[-1])
            container.shown_restarts = run
            await container.end(1)
            await container.start()
            await container.write(make_line(second, f"start {run}"))
            written.append(f"start {run}")
            second += 1
            if rng.random() < 0.5:
                seen = len(container.queries)
                await followed.wait_for(lambda seen=seen: len(container.queries) > seen)
            container.shown_restarts = None
            followed.update()
            await followed.wait_for_text(f"start {run}")
        await followed.wait_for(lambda: len(followed.texts) >= len(written))
    assert followed.texts == written
    assert followed.notices == [f"web restarted, exit 1 (restart {at})" for at in range(1, 6)]


async def test_instances_in_between_are_counted(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(0, "a"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("a")
        for run in range(3):
            await container.end(1)
            await container.start()
            await container.write(make_line(1 + run, f"run {run}"))
        followed.update()
        await followed.wait_for_text("run 2")
    assert followed.all_texts == [
        "a",
        "web: lines may be missing here, it restarted meanwhile",
        "run 1",
        "web: 1 instance in between not read",
        "web restarted, exit 1 (restart 3)",
        "run 2",
    ]


async def test_the_end_of_a_container_is_said(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    container.latest.tail = make_line(1, "no newline")
    await container.write(make_line(0, "a"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("a")
        await container.end(0)
        kubelet.finished.add("web")
        followed.update()
        await followed.wait_for(lambda: followed.streams.state.finished)
        assert followed.streams.state.refusals == ()
    assert followed.all_texts == ["a", "no newline", "web ended, exit code 0"]


async def test_half_a_line_is_held_back_until_the_container_has_ended(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    line = make_line(1, "a whole line")
    container.cuts = [Cut(len(line) - 4, is_clean=True)] * 2
    await container.write(line)
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("a whole line")
    assert followed.texts == ["a whole line"]


async def test_a_final_response_that_is_cut_is_read_again(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(*numbered(0, 30))
    container.latest.tail = make_line(9, "the end")
    await container.end(0)
    container.cuts = [Cut(at, is_clean=True) for at in (0, 100, 300, 500, 700)]
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("web ended, exit code 0")
    assert container.cuts == []
    assert followed.texts == [*numbered_texts(0, 30), "the end"]


async def test_a_crash_loop_waits_for_the_next_start(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(1, "line 1"))
    await container.end(1, waiting="CrashLoopBackOff")
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("web ended, exit code 1")
        await followed.wait_for(
            lambda: followed.streams.state.waiting == {"web": "CrashLoopBackOff"}
        )
        assert not followed.streams.state.finished
        await container.start()
        await container.write(make_line(5, "up"))
        followed.update()
        await followed.wait_for_text("up")
        assert followed.streams.state.waiting == {}
    assert followed.all_texts == [
        "line 1",
        "web ended, exit code 1",
        "web restarted, exit 1 (restart 1)",
        "up",
    ]


@pytest.mark.parametrize(("code", "previous"), [(1, False), (0, True)])
async def test_the_instance_before_is_shown_first(
    kubelet: FakeKubelet, connection: Connection, code: int, previous: bool
) -> None:
    container = kubelet.add()
    await container.write(make_line(1, "before"))
    await container.end(code)
    await container.start()
    await container.write(make_line(2, "now"))
    selection = LogSelection(previous=previous)
    async with follow(kubelet, connection, selection=selection) as followed:
        await followed.wait_for_text("now")
    assert followed.all_texts == ["before", f"web restarted, exit {code} (restart 1)", "now"]


async def test_without_a_crash_the_instance_before_is_not_shown(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(1, "before"))
    await container.end(0)
    await container.start()
    await container.write(make_line(2, "now"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("now")
    assert followed.all_texts == ["now"]


async def test_a_removed_log_is_said(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    await container.write(make_line(1, "before"))
    await container.end(1)
    container.latest.is_removed = True
    await container.start()
    await container.write(make_line(2, "now"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("now")
    assert followed.all_texts == [
        "The log of this previous instance of default/web (main) was removed from the node.",
        "web restarted, exit 1 (restart 1)",
        "now",
    ]


async def test_a_restart_that_only_the_kubelet_knows_of_mixes_nothing_up(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(1, "first"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("first")
        container.shown_restarts = 0
        container.cuts = [Cut(0)]
        await container.write(make_line(2, "first ends"))
        await container.end(1)
        await container.start()
        await container.write(make_line(3, "second"))
        await followed.wait_for_text("first ends")
        await followed.wait_for(
            lambda: followed.notices or any("previous" in query for query in container.queries)
        )
        container.shown_restarts = None
        followed.update()
        await followed.wait_for_text("second")
    assert followed.all_texts == [
        "first",
        "first ends",
        "web restarted, exit 1 (restart 1)",
        "second",
    ]
