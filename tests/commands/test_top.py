"""`servedeck top`: figures as text and JSON, once and again and again."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from servedeck.cli_parser import build_parser
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.commands import top
from servedeck.commands.errors import CommandError
from servedeck.commands.session import ServingsUnavailableError
from servedeck.commands.top import TopOptions, make_options, run_top
from servedeck.config import Settings
from servedeck.fleet.session import ClusterSession
from tests.fleet.factories import deployment, pod, replicaset
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import FAST_CONFIG
from tests.metrics.fake_prometheus import FakePrometheus, serve_prometheus
from tests.waiting import wait_until, with_timeout

Figures = dict[str, float]


class Prometheus:
    """Has figures of servings by name, in the namespace team-a."""

    def __init__(self, fake: FakePrometheus) -> None:
        self.url = fake.url
        self.figures: dict[str, Figures] = {}
        self.recent: dict[str, float] = {}
        self.status = 200
        self.queries: list[str] = []
        fake.handler = self.handle

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = request.query if request.method == "GET" else await request.post()
        self.queries.append(str(asked["query"]))
        if self.status != 200:
            return web.Response(status=self.status)
        if request.path.endswith("query_range"):
            end = float(str(asked["end"]))
            found = [
                {**_series(name), "values": [[end - 60, "1"], [end, str(value)]]}
                for name, value in self.recent.items()
            ]
            data = {"resultType": "matrix", "result": found}
        else:
            found = [
                {**_series(name, figure=figure), "value": [1700000000.5, str(value)]}
                for name, figures in self.figures.items()
                for figure, value in figures.items()
            ]
            data = {"resultType": "vector", "result": found}
        return web.json_response({"status": "success", "data": data})


def _series(name: str, **labels: str) -> dict[str, Any]:
    return {"metric": {"namespace": "team-a", "serving": name, **labels}}


@pytest.fixture
async def prometheus() -> AsyncIterator[Prometheus]:
    async with serve_prometheus() as fake:
        made = Prometheus(fake)
        made.figures = {
            "fast": {"rate": 120.456, "p95": 0.25, "waiting": 0.0},
            "slow": {"rate": 1.5, "p95": 12.34, "waiting": 7.0},
        }
        made.recent = {"slow": 4.0}
        yield made


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(main="team-a")
    for name in ("fast", "none", "slow"):
        made.put(
            deployment(name), replicaset(f"r-{name}", f"d-{name}"), pod(f"p-{name}", f"r-{name}")
        )
    return made


class TopRun:
    """One run of the command, whose readings follow each other at once."""

    def __init__(
        self, cluster: FakeCluster, prometheus: Prometheus, options: TopOptions, **settings: Any
    ) -> None:
        known = {"prometheus_url": prometheus.url, "pod_metrics": False, **settings}
        session = ClusterSession(
            ConnectionOptions(),
            Settings(**known),
            connect=cluster.connect,
            reflector_config=FAST_CONFIG,
            tune_gc=False,
            namespace_fallback=False,
        )
        self.slept: list[float] = []
        self.may_go_on = asyncio.Semaphore(0)
        self._out, self._err = io.StringIO(), io.StringIO()
        command = run_top(session, options, out=self._out, err=self._err, sleep=self._sleep)
        self._task = asyncio.ensure_future(command)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.may_go_on.acquire()

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def err(self) -> str:
        return self._err.getvalue()

    async def exit_code(self) -> int:
        return await with_timeout(self._task)

    async def wait_for_sleeps(self, count: int) -> None:
        await wait_until(
            lambda: len(self.slept) >= count, describe_state=lambda: (self.out, self.err)
        )

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


NO_METRICS = "has no metrics of it.\n"


async def test_once_as_text(cluster, prometheus):
    run = TopRun(cluster, prometheus, TopOptions())
    assert await run.exit_code() == 0
    assert rows(run.out) == [
        ["NAME", "RPS(req/s)", "P95(s)", "WAITING"],
        ["fast", "120", "0.25", "0"],
        ["none", "–", "–", "–"],
        ["slow", "1.5", "12.3", "7"],
    ]
    assert run.err.startswith("servedeck: team-a/none: Prometheus at 127.0.0.1:")
    assert run.err.endswith(NO_METRICS)
    assert len(prometheus.queries) == 1, "one query for all servings"


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("rps", ["fast", "slow", "none"]),
        ("p95", ["slow", "fast", "none"]),
        ("waiting", ["slow", "fast", "none"]),
        ("name", ["fast", "none", "slow"]),
    ],
)
async def test_the_largest_is_first_and_the_unknown_last(cluster, prometheus, sort, names):
    run = TopRun(cluster, prometheus, TopOptions(sort=sort, show_headers=False))
    assert await run.exit_code() == 0
    assert [row[0] for row in rows(run.out)] == names


async def test_wide_has_the_recent_rates(cluster, prometheus, monkeypatch):
    monkeypatch.setattr(top, "shows_unicode", lambda: True)
    run = TopRun(cluster, prometheus, TopOptions(format="wide"))
    assert await run.exit_code() == 0
    header, fast, _none, slow = rows(run.out)
    assert header[:3] == ["NAME", "READY", "TEMPLATE"] and header[-3:] == ["RPS", "LAST", "30m"]
    assert fast[-1] == "–" and slow[-1] == "█"
    assert len(prometheus.queries) == 2


async def test_json_has_null_for_what_is_not_known(cluster, prometheus):
    run = TopRun(cluster, prometheus, TopOptions(format="json"))
    assert await run.exit_code() == 0
    found = json.loads(run.out)
    assert found["kind"] == "ServingFiguresList" and found["recentStepSeconds"] == 60
    fast, none, slow = found["items"]
    assert fast["requestsPerSecond"] == 120.456 and fast["waitingRequests"] == 0
    assert none["requestsPerSecond"] is none["p95Seconds"] is none["waitingRequests"] is None
    assert none["reason"].endswith("has no metrics of it.") and slow["reason"] == ""
    assert slow["recentRequestsPerSecond"][-2:] == [1.0, 4.0]
    assert slow["recentRequestsPerSecond"][0] is None


async def test_named_servings_alone(cluster, prometheus):
    names = frozenset({("", "slow"), ("team-a", "gone")})
    run = TopRun(cluster, prometheus, TopOptions(names=names))
    assert await run.exit_code() == 1
    assert [row[0] for row in rows(run.out)] == ["NAME", "slow"]
    assert run.err == "servedeck: There is no serving team-a/gone.\n"
    assert "fast" not in prometheus.queries[0]


async def test_watching_prints_each_reading(cluster, prometheus):
    run = TopRun(cluster, prometheus, TopOptions(watch=True, interval=20.0))
    await run.wait_for_sleeps(1)
    first = run.out
    assert first.splitlines()[0].endswith("Z") and "12.3" in first
    assert run.slept == [20.0]
    prometheus.figures["slow"]["p95"] = 99.0
    run.may_go_on.release()
    await run.wait_for_sleeps(2)
    second = run.out.removeprefix(first)
    assert second.splitlines()[0].endswith("Z") and "99" in second
    assert run.err.count(NO_METRICS) == 1, "said once"
    await run.cancel()


async def test_watching_as_json_is_a_line_for_each_reading(cluster, prometheus):
    run = TopRun(cluster, prometheus, TopOptions(watch=True, format="json"))
    await run.wait_for_sleeps(1)
    run.may_go_on.release()
    await run.wait_for_sleeps(2)
    first, second = map(json.loads, run.out.splitlines())
    assert first["items"] == second["items"]
    await run.cancel()


async def test_a_new_serving_is_in_the_next_reading(cluster, prometheus):
    run = TopRun(cluster, prometheus, TopOptions(watch=True))
    await run.wait_for_sleeps(1)
    cluster.put(deployment("added"))
    sleeps = 1
    while "added" not in run.out:
        run.may_go_on.release()
        sleeps += 1
        await run.wait_for_sleeps(sleeps)
    await run.cancel()


async def test_servings_that_may_be_out_of_date_are_told(cluster, prometheus):
    run = TopRun(cluster, prometheus, TopOptions(watch=True))
    await run.wait_for_sleeps(1)
    assert "Retrying." not in run.err
    cluster.shut_down()
    sleeps = 1
    while "Retrying." not in run.err:
        run.may_go_on.release()
        sleeps += 1
        await run.wait_for_sleeps(sleeps)
    await run.cancel()


async def test_a_prometheus_that_fails_is_told(cluster, prometheus):
    prometheus.status = 503
    run = TopRun(cluster, prometheus, TopOptions())
    assert await run.exit_code() == 0
    assert [row[1:] for row in rows(run.out)[1:]] == [["–"] * 3] * 3
    assert "is not available (503)" in run.err
    assert run.err.count("\n") == 1


async def test_servings_that_cannot_be_read(cluster, prometheus):
    cluster.shut_down()
    run = TopRun(cluster, prometheus, TopOptions())
    with pytest.raises(ServingsUnavailableError):
        await run.exit_code()
    assert run.out == ""


async def test_no_servings(prometheus):
    run = TopRun(FakeCluster(main="team-a"), prometheus, TopOptions())
    assert await run.exit_code() == 0
    assert run.out == "" and run.err == "servedeck: No servings found in team-a namespace.\n"
    assert prometheus.queries == []


async def test_the_number_of_servings_is_bounded(cluster, prometheus, monkeypatch):
    monkeypatch.setattr(top, "MAX_SERVINGS", 2)
    run = TopRun(cluster, prometheus, TopOptions(show_headers=False))
    assert await run.exit_code() == 0
    assert len(rows(run.out)) == 2
    assert "Only 2 of 3 servings are shown" in run.err


async def test_hostile_text_does_not_reach_the_terminal(cluster, prometheus):
    prometheus.figures["fast"]["rate"] = float("inf")
    prometheus.figures["\x1b[31m"] = {"rate": 1.0}
    run = TopRun(cluster, prometheus, TopOptions())
    assert await run.exit_code() == 0
    assert "\x1b" not in run.out + run.err
    assert rows(run.out)[1] == ["fast", "–", "0.25", "0"]


# -- options ------------------------------------------------------------------------------------


def options(*words: str) -> tuple[TopOptions, str | None]:
    return make_options(build_parser().parse_args(["top", *words]))


def test_names_and_their_namespace():
    assert options()[1] is None
    assert options("llama")[1] is None
    assert options("team-a/llama")[1] == "team-a"
    assert options("llama", "-n", "team-a")[1] == "team-a"
    both, namespace = options("team-a/llama", "team-b/phi")
    assert namespace == ""
    assert both.names == {("team-a", "llama"), ("team-b", "phi")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["llama", "team-b/phi"], "Name the namespace of each serving"),
        (["a/b/c"], "is not NAME or NAMESPACE/NAME"),
        (["a/b", "-n", "c"], "name two namespaces"),
        (["--interval", "soon"], "is not a duration"),
        (["--interval", "0"], "--interval is 1s at least."),
        (["--interval", "200ms"], "--interval is 1s at least."),
    ],
)
def test_wrong_usage(words, message):
    with pytest.raises(CommandError, match=message) as raised:
        options(*words)
    assert raised.value.exit_code == 2
