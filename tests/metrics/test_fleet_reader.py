"""Where the figures of a list come from: Prometheus, and the Pods of what it does not know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.metrics import live_fleet, pod_scrape
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.fleet_reader import MAX_SERVINGS, RETRY_SECONDS, FleetReader
from servedeck.metrics.live_fleet import (
    FIRST_INTERVAL,
    INTERVAL,
    USELESS_INTERVAL,
    LiveFleet,
)
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.source import MetricsSource, QueryResult
from servedeck.promql.samples import SampleSeries
from tests.cluster.fake_api_server import FakeApiServer, make_status
from tests.metrics.fake_prometheus import answer_with
from tests.metrics.sampled_source import SampledSource
from tests.metrics.targets import target

START = 1_700_000_000.0
A, B = "llama-6d4f8b7c9-bbbbb", "llama-6d4f8b7c9-ccccc"
LLAMA, EMBED = ("chat", "llama"), ("chat", "embed")
EMBED_POD = "embed-6d4f8b7c9-ccccc"
ONE_POD = target(pods=[A])


def known(pod: str) -> SampleSeries:
    """Requests of a Pod that Prometheus has."""
    labels = (("namespace", "chat"), ("pod", pod))
    times = [START + 15.0 * number for number in range(-100, 100)]
    values = [2.0 * (time - times[0]) for time in times]
    return SampleSeries("vllm:request_success_total", labels, times, values)


KNOWN = [known(A)]


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of every reading."""
    made = Clock()
    monkeypatch.setattr(pod_scrape, "unix_time", made)
    return made


class Prometheus:
    """Finds a source, or not."""

    def __init__(self, source: MetricsSource | None = None) -> None:
        self.source = source
        self.asked = 0

    async def __call__(self) -> MetricsSource:
        self.asked += 1
        if self.source is None:
            raise MetricsError("No Prometheus was found.")
        return self.source


def path(pod: str) -> str:
    return f"/api/v1/namespaces/chat/pods/{pod}:8000/proxy/metrics"


def counting(clock: Clock, per_second: float, waiting: float = 0.0) -> Callable[..., Awaitable]:
    """A handler of a Pod whose counters increase with the clock; all requests take 1 to 2 s."""

    async def handler(_: web.Request) -> web.StreamResponse:
        count = 100 + (clock.time - START) * per_second
        name = "vllm:e2e_request_latency_seconds_bucket"
        return web.Response(
            text=f'vllm:request_success_total{{reason="stop"}} {count}\n'
            f'{name}{{le="1"}} 0\n{name}{{le="2"}} {count}\n{name}{{le="+Inf"}} {count}\n'
            f"vllm:num_requests_waiting {waiting}\n"
        )

    return handler


def make_reader(
    clock: Clock, prometheus: Prometheus, connection: Connection | None = None
) -> FleetReader:
    live = LiveFleet(connection, SampleRing(), clock) if connection is not None else None
    return FleetReader(prometheus, live, clock)


# -- Prometheus ---------------------------------------------------------------------------------


async def test_two_queries_and_the_recent_rates_once_a_minute(clock: Clock):
    source = SampledSource(KNOWN)
    reader = make_reader(clock, Prometheus(source))
    first = await reader.read([ONE_POD])
    assert first.figures[LLAMA].rate == pytest.approx(2.0)
    assert first.figures[LLAMA].recent_rates[-1] is not None
    assert len(source.queries) == 2
    await reader.read([ONE_POD])
    assert len(source.queries) == 3
    clock.time += 60
    assert (await reader.read([ONE_POD])).figures[LLAMA].recent_rates
    assert len(source.queries) == 5


async def test_only_new_rows_are_asked_for_their_recent_rates(clock: Clock):
    source = SampledSource(KNOWN)
    reader = make_reader(clock, Prometheus(source))
    await reader.read([ONE_POD])
    other = target(name="embed", pods=[EMBED_POD])
    source._series.append(known(EMBED_POD))
    found = await reader.read([ONE_POD, other])
    assert "embed" in source.queries[-1] and "llama" not in source.queries[-1]
    assert found.figures[LLAMA].recent_rates and found.figures[EMBED].recent_rates


async def test_recent_rates_that_are_not_shown_are_not_asked_for(clock: Clock):
    source = SampledSource(KNOWN)
    found = await make_reader(clock, Prometheus(source)).read([ONE_POD], with_recent=False)
    assert found.figures[LLAMA].recent_rates == ()
    assert len(source.queries) == 1


async def test_what_prometheus_does_not_know_has_a_reason(clock: Clock):
    reader = make_reader(clock, Prometheus(SampledSource(KNOWN)))
    stopped = target(name="stopped", pods=())
    found = await reader.read([ONE_POD, target(name="embed", pods=[EMBED_POD]), stopped])
    assert found.reasons == {
        EMBED: "The samples has no metrics of it.",
        ("chat", "stopped"): "No Pod is Ready.",
    }
    assert not found.has_failed


async def test_a_failed_prometheus_is_not_asked_at_once_again(clock: Clock):
    prometheus = Prometheus()
    reader = make_reader(clock, prometheus)
    for _ in range(3):
        found = await reader.read([ONE_POD])
        assert found.has_failed and found.figures == {}
        assert found.problem == "No Prometheus was found."
        assert found.reasons == {LLAMA: "No Prometheus was found."}
    assert prometheus.asked == 1
    prometheus.source = SampledSource(KNOWN)
    clock.time += RETRY_SECONDS
    found = await reader.read([ONE_POD])
    assert not found.has_failed and found.problem == ""


async def test_recent_rates_of_before_are_no_figures_once_prometheus_fails(clock: Clock):
    prometheus = Prometheus(SampledSource(KNOWN))
    reader = make_reader(clock, prometheus)
    assert (await reader.read([ONE_POD])).figures[LLAMA].recent_rates
    prometheus.source = None
    clock.time += 15
    found = await reader.read([ONE_POD])
    assert found.has_failed and found.figures == {}


async def test_recent_rates_that_could_not_be_read_again_stay_at_their_time(clock: Clock):
    source = SampledSource(KNOWN)
    reader = make_reader(clock, Prometheus(source))
    before = (await reader.read([ONE_POD])).figures[LLAMA].recent_rates

    async def fail(*_: object) -> QueryResult:
        raise MetricsError("It took too long.")

    answer, source.query_range = source.query_range, fail  # type: ignore[method-assign]
    source.query = lambda expression, time: answer(  # type: ignore[method-assign]
        expression, TimeGrid(time or 0.0, 1.0, 1)
    )
    clock.time += 180
    found = await reader.read([ONE_POD])
    assert found.problem == "It took too long."
    assert found.figures[LLAMA].rate == pytest.approx(2.0)
    assert found.figures[LLAMA].recent_rates == (*before[3:], None, None, None)
    clock.time += 3600
    assert (await reader.read([ONE_POD])).figures == {}


async def test_the_number_of_servings_is_bounded(clock: Clock):
    source = SampledSource([])
    many = [target(name=f"s{number}-x", pods=()) for number in range(MAX_SERVINGS + 1)]
    await make_reader(clock, Prometheus(source)).read(many)
    assert f"s{MAX_SERVINGS - 1}-x" in source.queries[0]
    assert f"s{MAX_SERVINGS}-x" not in source.queries[0]


# -- Pods ---------------------------------------------------------------------------------------


async def test_without_prometheus_the_pods_are_read(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    api.add_route(path(A), counting(clock, 3.0, waiting=2))
    api.add_route(path(B), counting(clock, 1.0, waiting=5))
    reader = make_reader(clock, Prometheus(), connection)
    wanted = target(pods=[A, B], unready=["llama-6d4f8b7c9-zzzzz"])
    first = await reader.read([wanted])
    figures = first.figures[LLAMA]
    assert (figures.rate, figures.p95, figures.waiting) == (None, None, 7.0)
    assert first.reasons[LLAMA] == "A rate is known after the second reading of its Pods."
    assert first.next_in == FIRST_INTERVAL and not first.has_failed
    assert first.problem == "No Prometheus was found."
    clock.time += FIRST_INTERVAL
    second = await reader.read([wanted])
    figures = second.figures[LLAMA]
    assert figures.rate == pytest.approx(4.0)
    assert figures.p95 == pytest.approx(1.95)
    assert second.reasons == {} and second.next_in == INTERVAL
    assert len(api.requests) == 4


async def test_each_pod_is_read_once_in_its_interval(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    api.add_route(path(A), counting(clock, 3.0))
    reader = make_reader(clock, Prometheus(), connection)
    counts = []
    for seconds in (0.0, FIRST_INTERVAL, 1.0, INTERVAL / 2, INTERVAL / 2):
        clock.time += seconds
        found = await reader.read([ONE_POD])
        counts.append(len(api.requests))
    assert counts == [1, 2, 2, 2, 3]
    assert found.figures[LLAMA].rate == pytest.approx(3.0)


async def test_only_what_prometheus_does_not_know_is_read(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    api.add_route(path(EMBED_POD), counting(clock, 1.0, waiting=1))
    reader = make_reader(clock, Prometheus(SampledSource(KNOWN)), connection)
    other = target(name="embed", pods=[EMBED_POD])
    await reader.read([ONE_POD, other])
    clock.time += FIRST_INTERVAL
    found = await reader.read([ONE_POD, other])
    assert {one.path for one in api.requests} == {path(EMBED_POD)}
    assert found.figures[EMBED].rate == pytest.approx(1.0)
    assert found.figures[LLAMA].rate is not None
    assert found.problem == ""


async def test_the_pods_of_a_serving_are_all_read_or_none(
    api: FakeApiServer, connection: Connection, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live_fleet, "MAX_PODS", 2)
    for pod in (A, B, EMBED_POD):
        api.add_route(path(pod), counting(clock, 1.0, waiting=1))
    reader = make_reader(clock, Prometheus(), connection)
    small, large = target(name="embed", pods=[EMBED_POD]), target(pods=[A, B])
    found = await reader.read([small, large])
    assert found.figures[EMBED].waiting == 1.0
    assert LLAMA not in found.figures
    assert found.reasons[LLAMA] == (
        "Its Pods are not read: without a Prometheus at most 2 Pods are."
    )
    assert {one.path for one in api.requests} == {path(EMBED_POD)}


async def test_pods_that_do_not_answer_are_told(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    api.add_route(path(A), counting(clock, 1.0, waiting=1))
    api.add_route(path(B), answer_with(503, make_status(503, "ServiceUnavailable", "refused")))
    api.add_route(
        path(EMBED_POD), answer_with(503, make_status(503, "ServiceUnavailable", "refused"))
    )
    reader = make_reader(clock, Prometheus(), connection)
    found = await reader.read([target(pods=[A, B]), target(name="embed", pods=[EMBED_POD])])
    assert found.figures[LLAMA].waiting == 1.0
    assert found.reasons == {
        LLAMA: "1 of its 2 Ready Pods do not answer with metrics.",
        EMBED: "Its Ready Pods do not answer with metrics.",
    }


async def test_a_pod_that_is_gone_does_not_count(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    for pod in (A, B):
        api.add_route(path(pod), counting(clock, 1.0, waiting=1))
    reader = make_reader(clock, Prometheus(), connection)
    assert (await reader.read([target(pods=[A, B])])).figures[LLAMA].waiting == 2.0
    clock.time += INTERVAL
    assert (await reader.read([target(pods=[A])])).figures[LLAMA].waiting == 1.0


async def test_a_serving_that_was_deleted_is_forgotten(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    api.add_route(path(A), counting(clock, 1.0))
    live = LiveFleet(connection, SampleRing(), clock)
    await live.read([ONE_POD])
    clock.time += INTERVAL
    await live.read([])
    assert LLAMA in live._readings, "it may be back on the screen"
    clock.time += 2 * USELESS_INTERVAL
    await live.read([])
    assert not live._readings


async def test_without_the_permission_it_says_so(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    api.add_route(path(A), answer_with(403, make_status(403, "Forbidden", "no")))
    reader = make_reader(clock, Prometheus(), connection)
    found = await reader.read([ONE_POD])
    reasons = {LLAMA: "Reading metrics of Pods needs get on pods/proxy in namespace chat."}
    assert found.reasons == reasons
    assert (await reader.read([ONE_POD])).reasons == reasons
    assert len(api.requests) == 1, "not before the interval is over"


async def test_pods_without_metrics(api: FakeApiServer, connection: Connection, clock: Clock):
    api.add_route(path(A), answer_with(200, text="<html>log in</html>"))
    reader = make_reader(clock, Prometheus(), connection)
    found = await reader.read([ONE_POD])
    assert found.reasons == {LLAMA: "Its Pods have no metrics that are known."}
    assert found.figures == {} and found.next_in == INTERVAL
    counts = []
    for seconds in (INTERVAL, USELESS_INTERVAL - INTERVAL):
        clock.time += seconds
        await reader.read([ONE_POD])
        counts.append(len(api.requests))
    assert counts == [1, 2], "seldom, as there is nothing to read"


async def test_a_missing_permission_stays_the_reason_between_two_readings(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    api.add_route(path(A), answer_with(403, make_status(403, "Forbidden", "no")))
    reader = make_reader(clock, Prometheus(), connection)
    for _ in range(3):
        found = await reader.read([ONE_POD])
        assert (
            found.reasons[LLAMA]
            == "Reading metrics of Pods needs get on pods/proxy in namespace chat."
        )
        clock.time += INTERVAL / 5
    assert len(api.requests) == 1


async def test_a_prometheus_that_fails_once_is_asked_soon_again_and_figures_of_before_count(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    api.add_route(path(A), answer_with(403, make_status(403, "Forbidden", "no")))
    prometheus = Prometheus(SampledSource(KNOWN))
    reader = make_reader(clock, prometheus, connection)
    assert (await reader.read([ONE_POD])).figures[LLAMA].rate is not None
    answering, prometheus.source = prometheus.source, None
    clock.time += 15
    found = await reader.read([ONE_POD])
    assert found.has_failed and found.figures == {}
    prometheus.source = answering
    clock.time += 15
    found = await reader.read([ONE_POD])
    assert not found.has_failed and found.figures[LLAMA].rate is not None
