"""`servedeck wait`: the state that is waited for, from watches."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ClusterError
from servedeck.commands import wait
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.wait import WaitCondition, parse_condition, parse_timeout
from servedeck.fleet.session import ClusterSession
from servedeck.serving.objects.records import Condition, Deployment
from servedeck.serving.status.status import Status
from tests.fleet.factories import crashing_status, deployment, pod, replicaset
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import FAST_CONFIG
from tests.waiting import TimeSkipper, wait_until, with_timeout

HOUR = 3600.0
DONE = {"status_replicas": 1, "updated_replicas": 1, "available_replicas": 1, "ready_replicas": 1}


def serving(generation: int = 1, observed: int = 1, **status: Any) -> Deployment:
    made = deployment("llama", **{**DONE, **status})
    return msgspec.structs.replace(
        made,
        metadata=msgspec.structs.replace(made.metadata, generation=generation),
        status=msgspec.structs.replace(made.status, observed_generation=observed),
    )


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(main="team-a")
    made.put(serving(), replicaset("r-llama", "d-llama"), pod("p-llama", "r-llama"))
    return made


class Waiting:
    """One run of the command and its output."""

    def __init__(self, cluster: FakeCluster, condition: str, seconds: float, name: str) -> None:
        session = ClusterSession(
            ConnectionOptions(),
            connect=cluster.connect,
            reflector_config=FAST_CONFIG,
            tune_gc=False,
            namespace_fallback=False,
        )
        self._out, self._err = io.StringIO(), io.StringIO()
        self._task = asyncio.ensure_future(
            wait.run_wait(
                session,
                name,
                parse_condition(condition),
                seconds,
                out=self._out,
                err=self._err,
            )
        )

    @property
    def out(self) -> list[str]:
        return self._out.getvalue().splitlines()

    @property
    def err(self) -> list[str]:
        return self._err.getvalue().splitlines()

    async def exit_code(self) -> int:
        return await with_timeout(self._task)

    async def until_written(self, text: str) -> None:
        await self.until(lambda: any(text in line for line in self.err))

    async def until(self, condition: Callable[[], object]) -> None:
        await wait_until(
            lambda: condition() or self._task.done(),
            describe_state=lambda: (self.out, self.err),
        )
        assert condition(), (self.out, self.err)

    def is_running(self) -> bool:
        return not self._task.done()


def start(
    cluster: FakeCluster, condition: str, seconds: float = HOUR, name: str = "llama"
) -> Waiting:
    return Waiting(cluster, condition, seconds, name)


async def test_a_state_that_is_reached_already_ends_at_once(cluster: FakeCluster) -> None:
    for condition, text in (
        ("ready", "Ready"),
        ("rollout", "rolled out"),
        ("status=ready", "Ready"),
    ):
        waiting = start(cluster, condition)
        assert await waiting.exit_code() == 0
        assert waiting.out == [f"team-a/llama is {text}"]


async def test_each_change_of_the_status_is_written_until_it_is_ready(
    cluster: FakeCluster,
) -> None:
    cluster.put(pod("p-llama", "r-llama", crashing_status()))
    waiting = start(cluster, "ready")
    await waiting.until_written("team-a/llama: Error 0/1: ")
    cluster.put(pod("p-llama", "r-llama"))
    assert await waiting.exit_code() == 0
    assert waiting.err[-1] == "team-a/llama: Ready 1/1"
    assert waiting.out == ["team-a/llama is Ready"]


async def test_after_the_timeout_the_cause_is_written(
    cluster: FakeCluster, skip_time: TimeSkipper
) -> None:
    cluster.put(pod("p-llama", "r-llama", crashing_status()))
    waiting = start(cluster, "ready")
    await waiting.until_written("Error")
    [shown] = waiting.err
    skip_time(HOUR)
    assert await waiting.exit_code() == 1
    cause = shown.removeprefix("team-a/llama: Error 0/1: ")
    assert waiting.err[-1] == f"servedeck: team-a/llama is not Ready after 60m: {cause}"
    assert waiting.out == []


async def test_a_timeout_of_zero_does_not_wait(cluster: FakeCluster) -> None:
    waiting = start(cluster, "status=scaled-down", 0.0)
    assert await waiting.exit_code() == 1
    assert waiting.err[-1] == "servedeck: team-a/llama is not Scaled Down: Ready"


@pytest.mark.parametrize(
    ("observed", "status"),
    [
        (1, {}),
        (2, {"updated_replicas": 0}),
        (2, {"status_replicas": 2, "available_replicas": 2}),
        (2, {"available_replicas": 0}),
    ],
)
async def test_a_rollout_is_waited_for_until_all_replicas_are_updated_and_available(
    cluster: FakeCluster, observed: int, status: dict[str, int]
) -> None:
    cluster.put(serving(2, observed, **status))
    waiting = start(cluster, "rollout")
    await waiting.until_written("team-a/llama: ")
    assert waiting.out == []
    cluster.put(serving(2, 2))
    assert await waiting.exit_code() == 0


async def test_what_was_listed_from_a_cache_does_not_count(cluster: FakeCluster) -> None:
    """The list of the watch has the state before the change that the server has already."""
    newer = serving(2, 1)
    older = serving()
    connect = cluster.connect

    async def connect_to_cache(options: ConnectionOptions) -> Any:
        connection: Any = await connect(options)

        async def get_json(path: str) -> Any:
            return cluster.to_json(newer)

        connection.get_json = get_json
        return connection

    cluster.connect = connect_to_cache  # type: ignore[method-assign]
    cluster.put(older)
    waiting = start(cluster, "rollout")
    await waiting.until_written("team-a/llama: Ready 1/1")
    assert waiting.out == []
    cluster.put(newer)
    await waiting.until_written("team-a/llama: Starting 1/1")
    assert waiting.out == []
    cluster.put(serving(2, 2))
    assert await waiting.exit_code() == 0


async def test_a_rollout_beyond_its_deadline_fails_at_once_with_the_cause(
    cluster: FakeCluster,
) -> None:
    exceeded = Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded")
    cluster.put(
        serving(2, 2, updated_replicas=1, status_replicas=2, conditions=(exceeded,)),
        pod("p-llama", "r-llama", crashing_status()),
    )
    waiting = start(cluster, "rollout")
    assert await waiting.exit_code() == 1
    assert waiting.err[-1].startswith("servedeck: team-a/llama exceeded its progress deadline: ")
    assert "OOMKilled" in waiting.err[-1] or "memory" in waiting.err[-1]


async def test_a_deleted_serving_is_deleted(cluster: FakeCluster) -> None:
    waiting = start(cluster, "deleted")
    await waiting.until_written("Ready")
    cluster.delete(serving())
    assert await waiting.exit_code() == 0
    assert waiting.out == ["team-a/llama is deleted"]


async def test_a_missing_serving_is_deleted_and_never_ready(cluster: FakeCluster) -> None:
    assert await start(cluster, "deleted", name="nope").exit_code() == 0
    with pytest.raises(ClusterError, match="There is no serving nope in namespace team-a"):
        await start(cluster, "ready", name="nope").exit_code()


async def test_a_serving_that_is_deleted_meanwhile_is_said(cluster: FakeCluster) -> None:
    waiting = start(cluster, "status=error")
    await waiting.until_written("Ready")
    cluster.delete(serving())
    assert await waiting.exit_code() == 1
    assert waiting.err[-1] == "servedeck: team-a/llama was deleted."


async def test_a_lost_server_is_said_and_waited_for(cluster: FakeCluster) -> None:
    waiting = start(cluster, "status=error")
    await waiting.until_written("Ready")
    cluster.shut_down()
    await waiting.until_written("Retrying.")
    cluster.is_down = False
    cluster.put(pod("p-llama", "r-llama", crashing_status()))
    assert await waiting.exit_code() == 0


# -- flags --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25)],
)
def test_durations_are_those_of_kubectl(text: str, seconds: float) -> None:
    assert parse_timeout(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5m", "m", "5d", "1h-", "5m!", "9999999h"])
def test_another_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_timeout(text)
    assert caught.value.exit_code == USAGE_ERROR
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("ready", WaitCondition("status", Status.READY)),
        ("rollout", WaitCondition("rollout")),
        ("deleted", WaitCondition("deleted")),
        ("status=Ready", WaitCondition("status", Status.READY)),
        ("status=scaled-down", WaitCondition("status", Status.SCALED_DOWN)),
        ("status=Scaled Down", WaitCondition("status", Status.SCALED_DOWN)),
    ],
)
def test_conditions(text: str, condition: WaitCondition) -> None:
    assert parse_condition(text) == condition


@pytest.mark.parametrize("text", ["", "done", "status", "status=", "status=r", "ready=1"])
def test_another_condition_is_a_usage_error(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_condition(text)
    assert caught.value.exit_code == USAGE_ERROR
