"""The logs of crashed containers whose Pods do not say why they crashed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ApiError
from servedeck.fleet import session
from servedeck.fleet.crash_logs import MAX_PODS, MAX_REQUESTS, CrashLogReader
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.records import Pod
from servedeck.serving.status.ended_instances import EndedInstance
from servedeck.serving.status.log_errors import CAUSE_LINES
from tests.fleet.factories import START, deployment, exited_status, pod, replicaset
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import FAST_CONFIG, LLAMA, recorded_session
from tests.waiting import wait_until, with_timeout

LINE = "vllm: error: unrecognized arguments: --omni"
NAMED = "inference-server does not know the arguments --omni (restarted 3 times). Correct"


def ended(
    id_: str, finished: datetime | None = START, namespace: str = "team-a", **fields: Any
) -> EndedInstance:
    instance = EndedInstance(namespace, f"pod-{id_}", id_, "server", id_, 1, finished, True)
    return instance._replace(**fields)


class Logs:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str] | Exception] = {}
        self.requested: list[str] = []
        self.read: list[tuple[str, str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.reading = self.most = 0
        self.reader = CrashLogReader(
            self.read_lines, lambda instance, line: self.read.append((instance.id, line))
        )

    async def read_lines(self, instance: EndedInstance) -> list[str]:
        self.requested.append(instance.id)
        self.reading += 1
        self.most = max(self.most, self.reading)
        try:
            await self.open.wait()
        finally:
            self.reading -= 1
        found = self.lines.get(instance.id, [])
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
async def logs() -> AsyncIterator[Logs]:
    found = Logs()
    yield found
    await found.reader.stop()


async def test_the_line_with_the_known_error_is_reported(logs: Logs) -> None:
    logs.lines["a"] = ["INFO starting", LINE, "bye"]
    logs.lines["b"] = ["INFO starting", "bye"]
    logs.reader.request([ended("a"), ended("b")])
    await wait_until(lambda: len(logs.read) == 2)
    assert sorted(logs.read) == [("a", LINE), ("b", "")]


async def test_each_instance_is_read_once(logs: Logs) -> None:
    for _ in range(3):
        logs.reader.request([ended("a")])
        await wait_until(lambda: logs.read)
    logs.reader.request([ended("b")])
    await wait_until(lambda: len(logs.read) == 2)
    assert logs.requested == ["a", "b"]


async def test_what_is_requested_as_others_end_is_read(logs: Logs) -> None:
    """As a session does that waits for logs, and learns of another crash then."""
    logs.open.clear()
    logs.reader.request([ended("a"), ended("b")])

    async def wait_twice() -> None:
        await logs.reader.wait([ended("a"), ended("b")])
        logs.reader.request([ended("c")])
        await logs.reader.wait([ended("c")])

    waiting = asyncio.create_task(wait_twice())
    await wait_until(lambda: logs.reading == 2)
    logs.open.set()
    await wait_until(waiting.done)
    await waiting
    assert logs.requested == ["a", "b", "c"]


async def test_few_at_a_time_the_newest_first_and_few_pods_of_a_serving(logs: Logs) -> None:
    logs.open.clear()
    for serving in range(4):
        logs.reader.request(
            ended(f"{serving}{number}", START + timedelta(minutes=serving, seconds=number))
            for number in range(9)
        )
    await wait_until(lambda: logs.reading == MAX_REQUESTS)
    logs.open.set()
    await wait_until(lambda: len(logs.read) == 4 * MAX_PODS)
    assert logs.most == MAX_REQUESTS
    expected = [f"{serving}{number}" for serving in (3, 2, 1, 0) for number in (8, 7, 6)]
    assert logs.requested[MAX_REQUESTS:] == [
        one for one in expected if one not in logs.requested[:MAX_REQUESTS]
    ]


async def test_a_namespace_whose_logs_are_forbidden_is_left_alone(logs: Logs) -> None:
    logs.lines["a"] = ApiError(403, "Forbidden", "no")
    logs.reader.request([ended("a")])
    await wait_until(lambda: logs.read)
    logs.reader.request([ended("b")])
    logs.lines["c"] = [LINE]
    logs.reader.request([ended("c", namespace="team-b")])
    await wait_until(lambda: ("c", LINE) in logs.read)
    assert logs.requested == ["a", "c"]


@pytest.mark.parametrize(
    "error", [ApiError(404, "NotFound", "gone"), OSError("reset"), TimeoutError()]
)
async def test_an_error_is_no_finding(logs: Logs, error: Exception) -> None:
    logs.lines["a"] = error
    logs.reader.request([ended("a")])
    await wait_until(lambda: logs.read == [("a", "")])


async def test_stopping_cancels_and_forgets(logs: Logs) -> None:
    logs.open.clear()
    logs.reader.request([ended("a"), ended("b"), ended("c")])
    await wait_until(lambda: logs.reading == MAX_REQUESTS)
    await logs.reader.stop()
    assert (logs.reading, logs.read) == (0, [])
    logs.open.set()
    logs.requested.clear()
    logs.reader.request([ended("a")])
    await wait_until(lambda: logs.read == [("a", "")])


async def test_what_was_requested_is_waited_for_and_nothing_else(logs: Logs) -> None:
    await with_timeout(logs.reader.wait([ended("a")]))
    logs.open.clear()
    logs.reader.request([ended("a"), ended("b"), ended("c")])
    waiting = asyncio.ensure_future(logs.reader.wait([ended("c"), ended("d")]))
    await wait_until(lambda: logs.reading == MAX_REQUESTS)
    assert logs.reader.is_reading(ended("c")) and not logs.reader.is_reading(ended("d"))
    assert not waiting.done()
    logs.open.set()
    await with_timeout(waiting)
    assert ("c", "") in logs.read
    assert not logs.reader.is_reading(ended("c"))


async def test_the_wait_ends_when_reading_is_forbidden_or_stopped(logs: Logs) -> None:
    logs.open.clear()
    instances = [ended(name) for name in "abc"]
    for name in "abc":
        logs.lines[name] = ApiError(403, "Forbidden", "no")
    logs.reader.request(instances)
    waiting = asyncio.ensure_future(logs.reader.wait(instances))
    await wait_until(lambda: logs.reading == MAX_REQUESTS)
    logs.open.set()
    await with_timeout(waiting)
    assert sorted(logs.requested) == ["a", "b"]
    logs.open.clear()
    others = [ended("d", namespace="team-b")]
    logs.reader.request(others)
    waiting = asyncio.ensure_future(logs.reader.wait(others))
    await wait_until(lambda: logs.reading == 1)
    await logs.reader.stop()
    await with_timeout(waiting)


# -- in a session ------------------------------------------------------------------------------


def exited(id_: str, finished: datetime = START) -> Pod:
    return pod(status=exited_status(id_, finished))


async def test_the_cause_of_an_exit_code_is_read_from_the_log(cluster: FakeCluster) -> None:
    requests: list[tuple[object, ...]] = []
    lines = {1: [LINE], 2: ["nothing known"]}

    async def read(_connection: object, *names: str, tail: int, previous: bool) -> list[str]:
        requests.append((*names, tail, previous))
        return lines[len(requests)]

    cluster.put(exited("first"))
    async with recorded_session(cluster, read_last_lines=read) as watched:
        fleet = watched.session.fleet

        def message() -> str:
            view = fleet.view(LLAMA)
            return view.message if view is not None else ""

        await watched.wait_until(lambda: message().startswith(NAMED))
        view = fleet.view(LLAMA)
        assert view is not None
        assert (view.reason, view.pods[0].message) == ("Unknown argument", view.message)
        assert requests == [("team-a", "p-llama", "inference-server", CAUSE_LINES, True)]
        # the same exit code: the same cause until the log says another
        cluster.put(exited("second", START + timedelta(minutes=1)))
        await watched.wait_until(lambda: "exited with code 1" in message())
        assert len(requests) == 2
        cluster.delete(exited("second"))
        await watched.wait_until(lambda: "No Pod exists" in message())
        assert fleet.unexplained_ends(LLAMA) == []


async def test_without_a_reader_no_log_is_read(cluster: FakeCluster) -> None:
    cluster.put(exited("first"))
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        view = watched.session.fleet.view(LLAMA)
        assert view is not None
        assert view.message == "inference-server exited with code 1 (restarted 3 times)"


class SessionLogs:
    """The logs of a session: each has the known error, and is read when `open` is set."""

    def __init__(self) -> None:
        self.pods: list[str] = []
        """Those whose logs were requested."""
        self.open = asyncio.Event()

    async def read(
        self, _connection: object, _ns: str, pod: str, _name: str, *, tail: int, previous: bool
    ) -> list[str]:
        self.pods.append(pod)
        await self.open.wait()
        return [LINE]


def add_serving(cluster: FakeCluster, name: str) -> NamespacedName:
    cluster.put(
        deployment(name),
        replicaset(f"r-{name}", f"d-{name}"),
        pod(f"p-{name}", f"r-{name}", exited_status(name)),
    )
    return NamespacedName("team-a", name)


async def test_the_views_have_what_was_waited_for(cluster: FakeCluster) -> None:
    logs, other = SessionLogs(), add_serving(cluster, "other")
    cluster.put(exited("first"))
    async with recorded_session(cluster, read_last_lines=logs.read) as watched:
        fleet = watched.session.fleet
        await watched.wait_until(lambda: len(logs.pods) == 2)
        waiting = asyncio.ensure_future(watched.session.wait_for_crash_logs([LLAMA, other]))
        await asyncio.sleep(0)
        assert not waiting.done()
        before = len(watched.changes)
        logs.open.set()
        await with_timeout(waiting)
        for key in (LLAMA, other):
            view = fleet.view(key)
            assert view is not None and view.message.startswith(NAMED)
        await watched.wait_until(
            lambda: (
                {key for each in watched.changes[before:] for key in each.keys} == {LLAMA, other}
            )
        )
        await with_timeout(watched.session.wait_for_crash_logs([LLAMA, other]))


async def test_a_log_that_was_read_before_is_in_the_views_too(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "COALESCE_SECONDS", 3600.0)  # no flush follows the first one
    logs = SessionLogs()
    cluster.put(exited("first"))
    async with recorded_session(cluster, read_last_lines=logs.read) as watched:
        fleet = watched.session.fleet
        await wait_until(lambda: logs.pods and watched.session.state.settled)
        logs.open.set()
        await wait_until(lambda: fleet.has_pending)
        await with_timeout(watched.session.wait_for_crash_logs([LLAMA]))
        view = fleet.view(LLAMA)
        assert view is not None and view.message.startswith(NAMED)


async def test_only_the_chosen_servings_have_their_logs_read(cluster: FakeCluster) -> None:
    logs, other = SessionLogs(), add_serving(cluster, "other")
    logs.open.set()
    cluster.put(exited("first"))
    made = ClusterSession(
        ConnectionOptions(all_namespaces=True),
        connect=cluster.connect,
        tune_gc=False,
        reflector_config=FAST_CONFIG,
        read_last_lines=logs.read,
    )
    made.limit_crash_logs(lambda view: view.key == other)
    await made.start()
    try:
        await wait_until(lambda: made.state.settled)
        await with_timeout(made.wait_for_crash_logs([LLAMA, other]))
        messages = [(made.fleet.view(key) or pytest.fail()).message for key in (LLAMA, other)]
        assert messages[0].startswith("inference-server exited with code 1")
        assert messages[1].startswith(NAMED)
        assert logs.pods == ["p-other"]
    finally:
        await made.close()


@pytest.mark.parametrize("is_closed", [True, False])
async def test_the_wait_ends_with_the_session_and_at_another_namespace(
    cluster: FakeCluster, is_closed: bool
) -> None:
    logs = SessionLogs()
    cluster.put(exited("first"))
    async with recorded_session(cluster, read_last_lines=logs.read) as watched:
        await watched.wait_until(lambda: logs.pods)
        waiting = asyncio.ensure_future(watched.session.wait_for_crash_logs([LLAMA]))
        await asyncio.sleep(0)
        if is_closed:
            await watched.session.close()
        else:
            await watched.session.switch(namespace="empty")
        await with_timeout(waiting)
        assert logs.pods == ["p-llama"]
