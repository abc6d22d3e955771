"""The commands name the known error in the log of a crashed container, as the dashboard does."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ApiError
from servedeck.commands import session as command_session
from servedeck.commands.describe import run_describe
from servedeck.commands.get import GetOptions, run_get
from servedeck.commands.wait import parse_condition, run_wait
from servedeck.fleet import crash_logs
from servedeck.fleet.session import ClusterSession
from servedeck.serving.objects.records import Condition
from servedeck.serving.status.status import Status
from tests.fleet.factories import deployment, exited_status, pod, replicaset
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import FAST_CONFIG
from tests.waiting import WAIT_SECONDS, TimeSkipper, wait_until, with_timeout

LINE = "vllm: error: unrecognized arguments: --omni"
REASON = "Unknown argument"
CAUSE = "inference-server does not know the arguments --omni (restarted 3 times)"
EXIT_CODE = "inference-server exited with code 1 (restarted 3 times)"
HOUR = 3600.0
READY = Status.READY


class Commands:
    """Runs commands on a cluster with the crashed servings "bad" and "worse", and a healthy one."""

    def __init__(self) -> None:
        self.cluster = FakeCluster(main="team-a")
        self.out, self.err = io.StringIO(), io.StringIO()
        self.read: list[str] = []
        """The Pods whose logs were requested."""
        self.sessions: list[ClusterSession] = []
        self.error: Exception | None = None
        self.open = asyncio.Event()
        """Clear it, and no log arrives."""
        self.open.set()
        self.add("good")
        for name in ("bad", "worse"):
            self.add(name)
            self.crash(name)

    def add(self, name: str, **status: Any) -> None:
        self.cluster.put(
            deployment(name, **status), replicaset(f"r-{name}", f"d-{name}"), self.pod(name)
        )

    def pod(self, name: str, status: Any = None) -> Any:
        return pod(f"p-{name}", f"r-{name}", status)

    def crash(self, name: str) -> None:
        self.cluster.put(self.pod(name, exited_status(f"containerd://{name}")))

    async def read_log(
        self, _connection: object, _ns: str, pod: str, _name: str, *, tail: int, previous: bool
    ) -> list[str]:
        self.read.append(pod)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return ["INFO starting", LINE, "bye"]

    def session(self) -> ClusterSession:
        made = ClusterSession(
            ConnectionOptions(),
            connect=self.cluster.connect,
            reflector_config=FAST_CONFIG,
            tune_gc=False,
            namespace_fallback=False,
            read_last_lines=self.read_log,
        )
        self.sessions.append(made)
        return made

    def start_get(self, *names: str, **options: Any) -> asyncio.Task[int]:
        made = GetOptions(names=names, **{"format": "json", **options})
        return asyncio.create_task(run_get(self.session(), made, out=self.out, err=self.err))

    def start_describe(self, name: str) -> asyncio.Task[int]:
        return asyncio.create_task(
            run_describe(self.session(), name, as_json=True, out=self.out, err=self.err)
        )

    def start_wait(self, condition: str, seconds: float = HOUR) -> asyncio.Task[int]:
        return asyncio.create_task(
            run_wait(
                self.session(),
                "bad",
                parse_condition(condition),
                seconds,
                out=self.out,
                err=self.err,
            )
        )

    def messages(self) -> dict[str, str]:
        """The cause that was printed of each serving."""
        found = json.loads(self.out.getvalue())
        return {one["name"]: one["message"] for one in found.get("items", [found])}

    def errors(self) -> list[str]:
        return self.err.getvalue().splitlines()


@pytest.fixture
async def commands(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Commands]:
    monkeypatch.setattr(command_session, "CRASH_LOGS_TIMEOUT", WAIT_SECONDS)
    made = Commands()
    yield made
    assert not made.cluster.watches and all(each.closed for each in made.cluster.connections)


async def test_get_waits_for_the_logs_of_the_crashes_that_it_prints(commands: Commands) -> None:
    commands.open.clear()
    running = commands.start_get()
    await wait_until(lambda: len(commands.read) == 2)
    assert commands.out.getvalue() == ""
    commands.open.set()
    assert await with_timeout(running) == 0
    found = commands.messages()
    assert found.pop("good") == ""
    assert set(found) == {"bad", "worse"}
    assert all(message.startswith(CAUSE) for message in found.values())
    assert (sorted(commands.read), commands.errors()) == (["p-bad", "p-worse"], [])


async def test_the_table_has_the_reason(commands: Commands) -> None:
    assert await with_timeout(commands.start_get("bad", format="table")) == 0
    assert REASON in commands.out.getvalue()
    assert commands.read == ["p-bad"]


@pytest.mark.parametrize(
    ("names", "options"), [(("good",), {}), ((), {"format": "name"}), (("nothing",), {})]
)
async def test_get_reads_no_log_that_it_does_not_need(
    commands: Commands, names: tuple[str, ...], options: dict[str, str]
) -> None:
    commands.open.clear()
    await with_timeout(commands.start_get(*names, **options))
    assert commands.read == []


async def test_get_prints_what_is_known_when_the_time_is_over(
    commands: Commands, skip_time: TimeSkipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash_logs, "READ_TIMEOUT", float("inf"))
    commands.open.clear()
    running = commands.start_get("bad")
    await wait_until(lambda: commands.read and commands.sessions[0].state.settled)
    await wait_until(lambda: skip_time(WAIT_SECONDS) or running.done())
    assert await running == 0
    assert commands.messages() == {"bad": EXIT_CODE}
    assert commands.errors() == [
        "servedeck: the server is slow; a cause in the log of a crash may be missing."
    ]


async def test_get_that_may_not_read_logs_prints_the_exit_code(commands: Commands) -> None:
    commands.error = ApiError(403, "Forbidden", "no")
    assert await with_timeout(commands.start_get()) == 0
    assert commands.messages() == {"bad": EXIT_CODE, "good": "", "worse": EXIT_CODE}
    assert commands.errors() == []


async def test_get_watch_prints_at_once_and_the_cause_when_it_is_known(commands: Commands) -> None:
    commands.open.clear()
    running = commands.start_get("bad", watch=True)

    def changes() -> list[tuple[str, str]]:
        lines = [json.loads(line) for line in commands.out.getvalue().splitlines()]
        return [(line["type"], line["object"]["message"]) for line in lines]

    try:
        await wait_until(lambda: commands.read and changes())
        assert changes() == [("ADDED", EXIT_CODE)]
        commands.open.set()
        await wait_until(lambda: len(changes()) == 2)
        kind, message = changes()[1]
        assert kind == "MODIFIED" and message.startswith(CAUSE)
        assert commands.read == ["p-bad"]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_describe_waits_for_the_log_of_its_serving_only(commands: Commands) -> None:
    commands.open.clear()
    running = commands.start_describe("bad")
    await wait_until(lambda: commands.read)
    assert commands.out.getvalue() == ""
    commands.open.set()
    assert await with_timeout(running) == 0
    found = json.loads(commands.out.getvalue())
    assert found["message"].startswith(CAUSE)
    assert found["statusDetails"]["reason"]["value"].startswith(CAUSE)
    assert commands.read == ["p-bad"]


async def test_wait_writes_the_cause_when_it_is_known_and_at_the_timeout(
    commands: Commands, skip_time: TimeSkipper
) -> None:
    running = commands.start_wait("ready")
    await wait_until(lambda: CAUSE in commands.err.getvalue())
    skip_time(HOUR)
    assert await with_timeout(running) == 1
    last = commands.errors()[-1]
    assert last.startswith(f"servedeck: team-a/bad is not Ready after 60m: {CAUSE}")
    assert commands.read == ["p-bad"]


async def test_wait_that_checks_once_waits_for_the_log(commands: Commands) -> None:
    commands.open.clear()
    running = commands.start_wait("ready", 0.0)
    await wait_until(lambda: commands.err.getvalue())
    assert commands.errors() == [f"team-a/bad: Error 0/1: {EXIT_CODE}"]
    commands.open.set()
    assert await with_timeout(running) == 1
    assert commands.errors()[-1].startswith(f"servedeck: team-a/bad is not Ready: {CAUSE}")


async def test_wait_for_what_is_reached_does_not_wait_for_the_log(commands: Commands) -> None:
    commands.open.clear()
    assert await with_timeout(commands.start_wait("status=error", 0.0)) == 0


async def test_a_rollout_that_fails_names_the_cause(commands: Commands) -> None:
    exceeded = Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded")
    for other in ("good", "worse"):  # the fake cluster has no field selectors
        commands.cluster.delete(deployment(other))
    commands.add("bad", updated_replicas=1, status_replicas=1, conditions=(exceeded,))
    commands.crash("bad")
    commands.open.clear()
    running = commands.start_wait("rollout")
    await wait_until(lambda: commands.read and commands.err.getvalue())
    assert not running.done()
    commands.open.set()
    assert await with_timeout(running) == 1
    last = commands.errors()[-1]
    assert last.startswith(f"servedeck: team-a/bad exceeded its progress deadline: {CAUSE}")


async def test_a_serving_that_recovers_meanwhile_is_reported_as_it_is(commands: Commands) -> None:
    commands.open.clear()
    running = commands.start_wait("ready", 0.0)
    await wait_until(lambda: commands.read and commands.err.getvalue())
    commands.cluster.put(commands.pod("bad"))
    views = commands.sessions[0].fleet.views
    await wait_until(lambda: {one.status for one in views() if one.key.name == "bad"} == {READY})
    commands.open.set()
    assert await with_timeout(running) == 0
    assert commands.out.getvalue() == "team-a/bad is Ready\n"
