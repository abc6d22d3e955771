"""The logs of crashed containers whose Pods do not say why they crashed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from servedeck.cluster.http.errors import ApiError
from servedeck.fleet.crash_logs import MAX_PODS, MAX_REQUESTS, CrashLogReader
from servedeck.serving.objects.records import ContainerState, ContainerStateTerminated, Pod
from servedeck.serving.status.ended_instances import EndedInstance
from servedeck.serving.status.log_errors import CAUSE_LINES
from tests.fleet.factories import START, crashing_status, pod
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import LLAMA, recorded_session
from tests.waiting import wait_until

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


# -- in a session ------------------------------------------------------------------------------


def exited(id_: str, finished: datetime = START) -> Pod:
    status = crashing_status()
    (container,) = status.container_statuses
    end = ContainerStateTerminated(
        exit_code=1, reason="Error", finished_at=finished, container_id=id_
    )
    changed = replace(container, last_state=ContainerState(terminated=end))
    return pod(status=replace(status, container_statuses=(changed,)))


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
