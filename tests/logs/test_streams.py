"""The merged logs of Pods, over everything that interrupts them."""

from __future__ import annotations

import random

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.logs.instance_stream import LogConfig
from servedeck.logs.instances import LogSelection
from servedeck.logs.lines import NOTICE_SOURCE, LogSource
from servedeck.logs.merge import MAX_BATCH_LINES
from servedeck.logs.streams import LogSince, LogStreams
from tests.logs.conftest import FAST_CONFIG, Followed, follow
from tests.logs.fake_kubelet import Cut, FakeContainer, FakeKubelet, make_line, stamp_of

FORBIDDEN = (
    "Cannot read logs in namespace default: needs get on pods and on pods/log in that namespace."
)


def numbered(first: int, count: int, *, per_second: int = 10) -> list[bytes]:
    return [
        make_line(at // per_second, f"line {at}", at % per_second // 3)
        for at in range(first, first + count)
    ]


def numbered_texts(first: int, count: int) -> list[str]:
    return [f"line {at}" for at in range(first, first + count)]


# -- one container ------------------------------------------------------------------------------


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
    kubelet: FakeKubelet, connection: Connection
) -> None:
    connection.clock.local_time = lambda: 1_800_000_100.5
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
        # it was empty, so what was written since then is new, however much it is
        await container.write(*numbered(0, 20))
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


# -- instances ----------------------------------------------------------------------------------


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
        await container.write(make_line(2, "first ends"))
        await container.end(1)
        await container.start()
        await container.write(make_line(3, "second"))
        container.shown_restarts = 0
        seen = len(container.queries)
        await followed.wait_for(lambda: len(container.queries) >= seen + 1)
        container.shown_restarts = None
        followed.update()
        await followed.wait_for_text("second")
    assert followed.all_texts == [
        "first",
        "first ends",
        "web restarted, exit 1 (restart 1)",
        "second",
    ]


# -- several ------------------------------------------------------------------------------------


async def test_histories_are_merged_by_time(kubelet: FakeKubelet, connection: Connection) -> None:
    for pod in range(5):
        container = kubelet.add(f"web-{pod}")
        await container.write(*[make_line(at, f"{at}-{pod}", pod) for at in range(200)])
    async with follow(kubelet, connection) as followed:
        await followed.wait_for(lambda: len(followed.texts) == 1000)
    assert followed.texts == [f"{at}-{pod}" for at in range(200) for pod in range(5)]


async def test_new_pods_and_init_containers_join(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    await kubelet.add("old").write(make_line(0, "old"))
    async with follow(kubelet, connection, since=LogSince(tail=1)) as followed:
        await followed.wait_for_text("old")
        init = kubelet.add("new", "download", init=True)
        main = kubelet.add("new")
        main.waiting_reason = "PodInitializing"
        await init.write(make_line(1, "downloading"))
        followed.update()
        await followed.wait_for_text("downloading")
        await followed.wait_for(
            lambda: followed.streams.state.waiting == {"new main": "PodInitializing"}
        )
        await init.end(0)
        # all that it writes is read, though of what was there before only the last line is
        await main.write(make_line(2, "starts"), make_line(2, "serves"))
        main.waiting_reason = ""
        followed.update()
        await followed.wait_for_text("serves")
        await followed.wait_for_text("new download ended, exit code 0")
        assert followed.streams.state.wanted == 3
    assert [text for text in followed.texts if text[0] == "s"] == ["starts", "serves"]


async def test_selected_containers_only(kubelet: FakeKubelet, connection: Connection) -> None:
    for pod in ("a", "b"):
        for name in ("main", "transformer"):
            await kubelet.add(pod, name).write(make_line(0, f"{pod} {name}"))
    async with follow(
        kubelet, connection, selection=LogSelection(frozenset("a"), frozenset(["main"]))
    ) as followed:
        await followed.wait_for_text("a main")
        assert followed.streams.state.wanted == 1
        followed.selection = LogSelection(frozenset("b"))
        followed.update()
        await followed.wait_for_text("b transformer")
        await followed.wait_for_text("b main")
        await followed.wait_for(lambda: kubelet.containers["a", "main"].open_responses == 0)
    assert sorted(followed.texts) == ["a main", "b main", "b transformer"]


async def test_more_than_may_be_open_are_queued_failing_pods_first(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    containers = {name: kubelet.add(name) for name in ("a", "b", "c", "d")}
    for name, container in containers.items():
        await container.write(make_line(0, name))
    kubelet.failing = {"d"}
    async with follow(kubelet, connection, max_open=1) as followed:
        await followed.wait_for_text("d")
        state = followed.streams.state
        assert (state.wanted, state.open, state.queued) == (4, 1, 3)
        kubelet.failing = {"c"}  # by now it is more urgent than those that wait longer
        followed.update()
        await containers["d"].end(0)
        followed.update()
        await followed.wait_for_text("c")
        assert followed.texts == ["d", "c"]
        assert containers["a"].queries == containers["b"].queries == []


async def test_a_missing_permission_is_named_once(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    for pod in range(10):
        kubelet.add(f"web-{pod}").refusal = (403, 'pods "web" is forbidden')
    async with follow(kubelet, connection) as followed:
        await followed.wait_for(lambda: followed.streams.state.finished)
        assert followed.streams.state.refusals == (FORBIDDEN,)
    assert followed.all_texts == [FORBIDDEN]


async def test_an_unreachable_node_is_named_and_tried_again(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(0, "a"))
    container.refusal = (500, 'Get "https://10.0.0.1:10250/": dial tcp: i/o timeout')
    async with follow(kubelet, connection) as followed:
        await followed.wait_for(lambda: followed.streams.state.reconnecting)
        (reason,) = followed.streams.state.reconnecting.values()
        assert reason.startswith("The node does not return the log (500: Get")
        container.refusal = None
        await followed.wait_for_text("a")
        assert followed.streams.state.reconnecting == {}


async def test_a_container_that_waits_says_why(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    container.waiting_reason = "ImagePullBackOff"
    async with follow(kubelet, connection) as followed:
        await followed.wait_for(
            lambda: followed.streams.state.waiting == {"web": "ImagePullBackOff"}
        )
        assert container.queries == []
    assert followed.lines == []


async def test_a_refusal_that_the_watch_does_not_explain_is_tried_again(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    waiting = 'container "main" in pod "web" is waiting to start: ContainerCreating'
    container.refusals = [(400, waiting)] * 3
    await container.write(make_line(0, "a"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("a")
    assert followed.all_texts == ["a"]
    assert len(container.queries) >= 4


async def test_a_deleted_pod_ends(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    other = kubelet.add("other")
    await container.write(make_line(0, "a"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("a")
        await container.write(make_line(1, "last words"))
        await container.end(0)
        kubelet.delete("web")
        followed.update()
        await followed.wait_for_text("web was deleted")
        assert followed.streams.state.wanted == 1
        await other.write(make_line(2, "b"))
        await followed.wait_for_text("b")
    assert followed.all_texts == ["a", "last words", "web was deleted", "b"]


async def test_a_pod_that_is_not_there_is_said(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    kubelet.add()
    views = kubelet.views
    kubelet.delete("web")
    async with follow(kubelet, connection) as followed:
        followed.streams.update(views, followed.selection)
        await followed.wait_for(lambda: followed.streams.state.refusals)
    assert followed.all_texts == ["Pod default/web was deleted, and its log with it."]


async def test_an_update_without_changes_does_nothing(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(0, "a"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for_text("a")
        views = kubelet.views
        followed.streams.update(views, followed.selection)
        before = followed.changes
        for _ in range(10):
            followed.streams.update(list(views), followed.selection)
        assert followed.changes == before
        followed.update()  # equal views, made again
        assert len(container.queries) == 1
        assert followed.streams.state.open == 1


async def test_what_the_receiver_raises_is_not_hidden(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(0, "a"))

    async def fail(_: object) -> None:
        raise BrokenPipeError

    changes: list[None] = []
    streams = LogStreams(
        connection,
        since=LogSince(),
        config=FAST_CONFIG,
        on_batch=fail,
        on_change=lambda: changes.append(None),
    )
    followed = Followed(kubelet, LogSelection())
    followed.streams = streams
    followed.update()
    await followed.wait_for(lambda: streams.error is not None)
    assert isinstance(streams.error, BrokenPipeError)
    await streams.close()


async def test_a_rollout_in_the_middle_of_breaks(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    """Old Pods end, new ones join, connections break: every line of each comes once, in order."""
    rng = random.Random(7)
    containers: list[FakeContainer] = []
    written: dict[str, list[str]] = {}
    async with follow(kubelet, connection) as followed:
        for step in range(60):
            if step % 10 == 0:
                name = f"web-{len(containers)}"
                containers.append(kubelet.add(name))
                containers[-1].cuts = [
                    Cut(rng.randrange(3000), is_clean=rng.random() < 0.5) for _ in range(4)
                ]
                written[name] = []
                followed.update()
            for container in containers[-3:]:
                texts = [f"{container.pod} {step} {at}" for at in range(rng.randrange(50))]
                await container.write(*[make_line(step, text, at) for at, text in enumerate(texts)])
                written[container.pod] += texts
            if step % 10 == 5 and len(containers) > 3:
                old = containers[-4]
                if old.latest.state == "Running":
                    await followed.wait_for(lambda old=old: written[old.pod][-1] in followed.texts)
                    await old.end(0)
                    followed.update()
        total = sum(map(len, written.values()))
        await followed.wait_for(lambda: len(followed.texts) >= total)
    for pod, texts in written.items():
        assert [text for text in followed.texts if text.split()[0] == pod] == texts
