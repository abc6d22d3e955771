"""The log of one container, over everything that interrupts it."""

from __future__ import annotations

import random

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.logs.lines import NOTICE_SOURCE, LogSource
from servedeck.logs.merge import MAX_BATCH_LINES
from servedeck.logs.stream_types import LogConfig
from servedeck.logs.streams import LogSince
from tests.logs.conftest import follow
from tests.logs.fake_kubelet import (
    Cut,
    FakeKubelet,
    make_line,
    numbered,
    numbered_texts,
    stamp_of,
)


async def test_follows_lines_as_they_come(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    await container.write(*numbered(0, 50))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("line 49")
        await container.write(*numbered(50, 2))
        await followed.wait_for_text("line 51")
        assert followed.streams.state.open == 1
    assert followed.texts == numbered_texts(0, 52)
    assert [stamp for stamp, _, _ in followed.lines] == [stamp_of(one) for one in numbered(0, 52)]
    assert followed.streams.sources == [
        LogSource(NOTICE_SOURCE, "", "", ""),
        LogSource(1, "default", "web", "main", 0),
    ]


@pytest.mark.parametrize(
    ("since", "query"),
    [
        (LogSince(), {"tailLines": "200"}),
        (LogSince(tail=7), {"tailLines": "7"}),
        (LogSince(tail=None), {}),
    ],
)
async def test_what_is_read_of_the_past(
    kubelet: FakeKubelet, connection: Connection, since: LogSince, query: dict[str, str]
) -> None:
    container = kubelet.add()
    await container.write(*numbered(0, 300))
    async with follow(kubelet, connection, since=since) as followed:
        await followed.wait_for_text("line 299")
    assert container.queries[0] == {
        "container": "main",
        "timestamps": "true",
        "follow": "true",
        **query,
    }
    assert followed.texts == numbered_texts(0, 300)[-int(query.get("tailLines", 300)) :]


async def test_a_time_is_requested_as_the_servers_clock_shows_it(
    kubelet: FakeKubelet, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.clock, "server_time", lambda: 1_800_000_100.5)
    container = kubelet.add()
    await container.write(*numbered(0, 1000))
    async with follow(kubelet, connection, since=LogSince(seconds=50)) as followed:
        await followed.wait_for_text("line 999")
    assert container.queries[0]["sinceTime"] == "2027-01-15T08:00:50Z"
    assert followed.texts == numbered_texts(500, 500)


async def test_long_lists_come_in_batches(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    await container.write(*numbered(0, 20_000))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("line 19999")
    assert followed.texts == numbered_texts(0, 20_000)
    assert max(followed.batch_sizes) <= MAX_BATCH_LINES


@pytest.mark.parametrize("tail", [None, 100])
@pytest.mark.parametrize("is_clean", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_or_doubled_over_breaks(
    kubelet: FakeKubelet, connection: Connection, seed: int, is_clean: bool, tail: int | None
) -> None:
    rng = random.Random(seed)
    number = 3000
    # many lines share a time, some are the same, some slightly out of order
    moments = sorted(rng.randrange(600) for _ in range(number))
    for at in range(0, number - 1, 97):
        moments[at], moments[at + 1] = moments[at + 1], moments[at]
    lines = [
        make_line(moment // 100, "same" if at % 5 == 0 else f"line {at}", moment % 100)
        for at, moment in enumerate(moments)
    ]
    container = kubelet.add()
    container.cuts = [Cut(rng.randrange(200, 40_000), is_clean) for _ in range(12)]
    await container.write(*lines[:500])
    async with follow(kubelet, connection, since=LogSince(tail=tail)) as followed:
        await followed.wait_for(lambda: followed.texts)
        written = 500
        while written < number:
            step = rng.randrange(1, 400)
            await container.write(*lines[written : written + step])
            written = min(number, written + step)
            if rng.random() < 0.5:  # otherwise more is written before this is read
                last = lines[written - 1].decode().partition(" ")[2]
                await followed.wait_for(lambda last=last: last in followed.texts[-500:])
        await container.write(make_line(7, "the end"))
        await followed.wait_for_text("the end")
        assert followed.notices == []
    wanted = [line.decode().partition(" ")[2] for line in lines] + ["the end"]
    assert followed.texts == wanted[-len(followed.texts) :]
    assert len(followed.texts) == (number + 1 if tail is None else number - 500 + 100 + 1)
    assert sum("sinceTime" in query for query in container.queries) >= 6


async def test_a_cut_at_every_byte_of_a_line(kubelet: FakeKubelet, connection: Connection) -> None:
    lines = [make_line(3, f"line {at}", at // 2) for at in range(4)]
    size = len(b"\n".join(lines)) + 1
    containers = [kubelet.add(f"web-{at}") for at in range(0, size, 3)]
    for at, container in enumerate(containers):
        container.cuts = [Cut(3 * at, is_clean=at % 2 == 0)]
        await container.write(*lines)
    async with follow(kubelet, connection) as followed:
        await followed.wait_for(lambda: len(followed.texts) == 4 * len(containers))
        for container in containers:
            await container.write(make_line(4, "line 4"))
        await followed.wait_for(lambda: followed.texts.count("line 4") == len(containers))
    for number in range(1, len(containers) + 1):
        own = [text.decode() for _, text, source in followed.lines if source == number]
        assert own == numbered_texts(0, 5)


async def test_a_quiet_log_is_reconnected_silently(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    config = LogConfig(read_timeout=0.2, poll_delay=(0.01, 0.05))
    async with follow(kubelet, connection, config=config, since=LogSince(tail=5)) as followed:
        await followed.wait_for(lambda: len(container.queries) >= 3)
        # it was empty, so what is written from now on is new, however much it is
        container.refusal = (502, "dial tcp: connection refused")
        await followed.wait_for(lambda: followed.streams.state.reconnecting)
        await container.write(*numbered(0, 20))
        container.refusal = None
        await followed.wait_for_text("line 19")
        seen = len(container.queries)
        await followed.wait_for(lambda: len(container.queries) >= seen + 2)
        assert followed.streams.state.reconnecting == {}
        await container.write(*numbered(20, 1))
        await followed.wait_for_text("line 20")
    assert followed.texts == numbered_texts(0, 21)
    assert followed.notices == []


async def test_messages_of_the_kubelet_have_the_time_of_the_line_before(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(1, "a"), b"failed to watch file", make_line(2, "b"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("b")
    assert [(stamp, text) for stamp, text, _ in followed.lines] == [
        (stamp_of(make_line(1, "")), b"a"),
        (stamp_of(make_line(1, "")), b"failed to watch file"),
        (stamp_of(make_line(2, "")), b"b"),
    ]


async def test_rotation_while_it_is_read_loses_nothing(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(*numbered(0, 30))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("line 29")
        await container.rotate()
        await container.write(*numbered(30, 30))
        await followed.wait_for_text("line 59")
        assert followed.notices == []
    assert followed.texts == numbered_texts(0, 60)


async def test_what_was_rotated_away_while_the_node_was_not_reachable_is_said(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    lines = numbered(0, 30)
    container.cuts = [Cut(len(b"\n".join(lines)) + 1)]
    async with follow(kubelet, connection) as followed:
        await followed.wait_for(lambda: container.open_responses)
        container.refusal = (502, "dial tcp: connection refused")
        await container.write(*lines)
        await followed.wait_for(lambda: followed.streams.state.reconnecting)
        await container.write(*numbered(30, 10))
        await container.rotate()
        await container.write(*numbered(40, 10))
        container.refusal = None
        await followed.wait_for_text("line 49")
    notice = (
        "web: the node rotated its log while the connection was lost; lines may be missing here"
    )
    assert followed.all_texts == [*numbered_texts(0, 30), notice, *numbered_texts(40, 10)]
