"""The merged logs of several containers."""

from __future__ import annotations

import random

from servedeck.cluster.http.connection import Connection
from servedeck.logs.instances import LogSelection
from servedeck.logs.streams import LogSince, LogStreams
from tests.logs.conftest import FAST_CONFIG, Followed, follow
from tests.logs.fake_kubelet import (
    Cut,
    FakeContainer,
    FakeKubelet,
    make_line,
)

FORBIDDEN = (
    "Cannot read logs in namespace default: needs get on pods and on pods/log in that namespace."
)


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
    deleted = "Pod default/web was deleted, and its log with it."
    async with follow(kubelet, connection) as followed:
        followed.streams.update(views, followed.selection)
        await followed.wait_for_text(deleted)
        assert followed.streams.state.refusals == (deleted,)
    assert followed.all_texts == [deleted]


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


# -- how far is read --------------------------------------------------------------------------


async def test_without_following_each_log_is_read_as_far_as_it_is_written(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    running, waiting = kubelet.add(), kubelet.add("other")
    await running.write(*[make_line(0, f"line {number}", number) for number in range(50)])
    waiting.waiting_reason = "ContainerCreating"
    waiting.latest.state = "Waiting"
    async with follow(kubelet, connection, follow=False) as followed:
        await followed.wait_for(lambda: followed.streams.state.finished)
    assert followed.texts == [f"line {number}" for number in range(50)]
    assert followed.notices == ["other has no log yet: ContainerCreating"]


async def test_it_says_when_what_was_written_before_is_read(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(0, "a"))
    async with follow(kubelet, connection) as followed:
        await followed.wait_for(lambda: followed.streams.state.caught_up)
        assert followed.texts == ["a"]
        assert followed.changes
