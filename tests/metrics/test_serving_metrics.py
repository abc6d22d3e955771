"""Graphs and figures of one serving, from a source that a test controls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics.errors import MetricsError
from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.serving_metrics import (
    FIRST_READINGS_SECONDS,
    LEARN_AGAIN_SECONDS,
    RECOMPUTED_POINTS,
    RETRY_SECONDS,
    ServingMetrics,
    ShownGraph,
)
from servedeck.metrics.shown_lines import MAX_LINES
from servedeck.metrics.source import FoundSeries, QueryResult
from servedeck.metrics.target import MetricsTarget, TargetPod
from servedeck.promql.expressions import Expression, format_expression
from tests.metrics.targets import target
from tests.waiting import TimeSkipper, wait_until, with_timeout

Values = Callable[[float], float | None]
GRID = TimeGrid(900.0, 15.0, 5)


class FakeSource:
    """A `MetricsSource` whose series are functions of the time, by a part of the expression."""

    display_name = "Prometheus at HOST"
    since: float | None = None

    def __init__(self, series: Mapping[str, list[tuple[dict[str, str], Values]]]) -> None:
        self.series = dict(series)
        self.names: Collection[str] | None = None
        self.interval: float | None = 15.0
        self.warning = ""
        self.failing = ""
        """Queries with this part fail."""
        self.forbids_names = False
        self.hanging = ""
        self.asked: list[tuple[str, TimeGrid | float | None]] = []
        self.learned = 0
        self.cancelled = 0

    async def query(self, expression: Expression, time: float | None = None) -> QueryResult:
        found = await self._find(expression, time)
        at = time or 0.0
        return QueryResult(
            tuple(FoundSeries(labels, (values(at),)) for labels, values in found), self.warning
        )

    async def query_range(self, expression: Expression, grid: TimeGrid) -> QueryResult:
        found = await self._find(expression, grid)
        series = [FoundSeries(labels, [*map(values, grid.times())]) for labels, values in found]
        # as Prometheus, which has no series without a value
        return QueryResult(
            tuple(one for one in series if any(value is not None for value in one.values)),
            self.warning,
        )

    async def _find(
        self, expression: Expression, when: TimeGrid | float | None
    ) -> list[tuple[dict[str, str], Values]]:
        text = format_expression(expression)
        self.asked.append((text, when))
        await asyncio.sleep(0)
        if self.failing in text and self.failing:
            raise MetricsError("Prometheus at HOST refused the connection.")
        if self.hanging and self.hanging in text:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return next((found for part, found in self.series.items() if part in text), [])

    async def known_names(self, target: MetricsTarget) -> Collection[str] | None:
        self.learned += 1
        await asyncio.sleep(0)
        if self.forbids_names:
            raise MetricsError("Prometheus at HOST forbids the query (403).")
        return self.names

    async def scrape_interval(self, target: MetricsTarget) -> float | None:
        return self.interval

    async def close(self) -> None: ...


def constant(value: float | None, **labels: str) -> list[tuple[dict[str, str], Values]]:
    return [(labels, lambda _: value)]


def coded(label: str, **values: float) -> list[tuple[dict[str, str], Values]]:
    """A series for each code, "c404" for 404."""
    return [({label: code.removeprefix("c")}, lambda _, v=v: v) for code, v in values.items()]


def lines_of(graph: ShownGraph) -> dict[str, float | None]:
    """The last value of each line."""
    return {one.label: one.values[-1] for one in graph.lines}


# -- graphs -------------------------------------------------------------------------------------


async def test_a_graph_has_the_values_of_its_lines():
    source = FakeSource({"num_requests_running": [({}, lambda time: time / 100)]})
    graph = await ServingMetrics(source, target()).graph(GraphKey.QUEUE, GRID)
    assert [(one.label, one.values) for one in graph.lines] == [
        ("running", (9.0, 9.15, 9.3, 9.45, 9.6)),
        ("waiting", (None,) * 5),  # absent, and not 0
    ]
    assert (graph.title, graph.reason, graph.warning) == ("Running and waiting", "", "")
    assert graph.queries == tuple(text for text, _ in source.asked)
    assert len(graph.queries) == 2 and all("sum(vllm:num_requests_" in one for one in graph.queries)


async def test_the_window_has_four_scrapes():
    for interval, window in ((5.0, "60s"), (15.0, "60s"), (60.0, "240s"), (None, "120s")):
        source = FakeSource({})
        source.interval = interval
        metrics = ServingMetrics(source, target())
        graph = await metrics.graph(GraphKey.REQUESTS, GRID)
        assert f"[{window}]" in graph.queries[0]
        figures = await metrics.figures(3600, 1000)
        assert f"{figures.window:.0f}s" == window
    day = TimeGrid(0.0, 360.0, 241)
    assert "[360s]" in (await metrics.graph(GraphKey.REQUESTS, day)).queries[0]


async def test_errors_are_named_by_their_code():
    source = FakeSource(
        {
            "istio": [
                *coded("response_code", c404=3, c0=4),
                *coded("envoy_response_code_class", c5=5),
            ],
            "status=~": coded("status", **{"4xx": 1, "404": 2}),
        }
    )
    graph = await ServingMetrics(source, target()).graph(GraphKey.ERRORS, GRID)
    assert lines_of(graph) == {
        "404": 2,
        "4xx": 1,
        "404 at the proxy": 3,
        "5xx at the proxy": 5,
        "client gone at the proxy": 4,
    }
    graph = await ServingMetrics(source, target("furiosa-llm")).graph(GraphKey.ERRORS, GRID)
    assert lines_of(graph) == {"404": 3, "5xx": 5, "client gone": 4}


async def test_a_hostile_name_is_sanitized():
    source = FakeSource({"status=~": coded("status", **{"5\x1b[31m\u202e0\n0": 1})})
    graph = await ServingMetrics(source, target()).graph(GraphKey.ERRORS, GRID)
    assert list(lines_of(graph)) == ["50 0"]


async def test_many_lines_are_cut_and_that_is_said():
    pods = [({"pod": f"llama-{one:03}"}, lambda _, v=one: float(v)) for one in range(100)]
    source = FakeSource({"by (pod)": pods[::-1]})
    metrics = ServingMetrics(source, target())
    graph = await metrics.graph(GraphKey.REQUESTS, GRID, by_pod=True)
    assert [one.label for one in graph.lines] == [f"llama-{one:03}" for one in range(MAX_LINES)]
    assert graph.warning == "40 more lines are not shown"
    assert graph.title == "Requests by Pod"
    # the lines that were not shown have a past that is not there
    later = TimeGrid(915.0, 15.0, 5)
    await metrics.graph(GraphKey.REQUESTS, later, by_pod=True, previous=graph)
    assert source.asked[-1][1] == later


async def test_what_is_shown_by_pod_is_in_the_title():
    metrics = ServingMetrics(FakeSource({}), target())
    titles = {
        key: (await metrics.graph(key, GRID, by_pod=True)).title
        for key in (GraphKey.LATENCY, GraphKey.KV_CACHE, GraphKey.ERRORS)
    }
    assert list(titles.values()) == ["Latency by Pod: P95", "KV cache by Pod", "Errors by Pod"]


# -- reasons ------------------------------------------------------------------------------------


async def reason(
    key: GraphKey, of: MetricsTarget, *names: str, by_pod: bool = False, **series: list
) -> str:
    source = FakeSource(series)
    source.names = names
    graph = await ServingMetrics(source, of).graph(key, GRID, by_pod=by_pod)
    assert graph.lines == ()
    return graph.reason


async def test_without_a_ready_pod_that_is_the_reason_from_the_start():
    """None is read: to wait for a second reading would help nobody."""
    source = FakeSource({})
    source.since, source.names = 900.0, ()
    metrics = ServingMetrics(source, replace(target(), pods=(TargetPod("a", is_ready=False),)))
    for key in (GraphKey.REQUESTS, GraphKey.QUEUE):
        assert (await metrics.graph(key, GRID)).reason == "No Pod is Ready."


async def test_before_the_second_reading_nothing_is_said_to_be_absent():
    """What Pods have is known once they were read, and a rate takes two readings."""
    source = FakeSource({})
    source.since, source.names = 900.0, ()
    metrics = ServingMetrics(source, target())
    first = await metrics.graph(GraphKey.REQUESTS, GRID)
    assert first.reason == "A rate is known from the second reading of its Pods on."
    TimeSkipper(asyncio.get_running_loop())(FIRST_READINGS_SECONDS + 1)
    later = await metrics.graph(GraphKey.REQUESTS, GRID)
    assert later.reason == "Nothing was read from its Pods that tells finished requests."


async def test_what_is_absent_has_a_reason():
    vllm = target()
    running = "vllm:num_requests_running"
    idle = "No values in this time: there were no requests, or they were not recorded."
    assert await reason(GraphKey.QUEUE, vllm, running) == idle
    assert await reason(GraphKey.QUEUE, vllm, running, running=constant(None)) == idle
    assert await reason(GraphKey.QUEUE, vllm) == (
        "Prometheus at HOST has no record of running requests "
        "(vllm:num_requests_running, vllm:num_requests_waiting)."
    )
    assert (await reason(GraphKey.PREFIX_CACHE, vllm)).endswith("_total, …).")
    tgi = target("tgi")
    assert await reason(GraphKey.KV_CACHE, tgi) == "tgi does not export the use of the KV cache."
    custom = target("custom")
    assert await reason(GraphKey.TTFT, custom, "python_info") == (
        "Its server does not export times to the first token."
    )
    pod = target(is_whole=False)
    assert await reason(GraphKey.REPLICAS, pod) == (
        "Only a whole Deployment has a number of replicas."
    )
    none = target(pods=[], is_whole=False)
    assert await reason(GraphKey.REQUESTS, none) == "None of its Pods is known."
    assert await reason(GraphKey.ERRORS, vllm, by_pod=True) == "This graph is not shown by Pod."


async def test_every_reason_is_a_sentence():
    for key in GraphKey:
        for template in ("vllm", "triton", "custom"):
            for by_pod in (False, True):
                said = await reason(key, target(template), "python_info", by_pod=by_pod)
                assert said[0].isupper() or said.startswith(template)
                assert said.endswith(".") and " no the " not in said


async def test_a_partial_answer_is_said_and_asked_again():
    source = FakeSource({"requests_running": constant(1.0)})
    source.warning = "No StoreAPIs matched"
    metrics = ServingMetrics(source, target())
    graph = await metrics.graph(GraphKey.QUEUE, GRID)
    assert (lines_of(graph)["running"], graph.warning) == (1.0, "No StoreAPIs matched")
    figures = await metrics.figures(3600, 1000)
    assert (figures.running, figures.warning) == (1.0, "No StoreAPIs matched")
    source.warning = ""
    later = TimeGrid(915.0, 15.0, 5)
    again = await metrics.graph(GraphKey.QUEUE, later, previous=graph)
    assert source.asked[-1][1] == later  # all of it, not the newest points alone
    assert again.warning == ""


# -- continuation -------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
Past = dict[str, dict[int, float]]
points = st.dictionaries(st.integers(0, 60), st.floats(0, 10), max_size=60)


def past_source(past: Past) -> FakeSource:
    """A source of the values of each Pod by the number of the point."""

    def values(of: dict[int, float]) -> Values:
        return lambda time: of.get(round(time / 15))

    by_pod = [({"pod": name}, values(of)) for name, of in past.items()]
    return FakeSource(
        {
            "by (pod)": by_pod,
            "status=~": [({"status": name}, values(of)) for name, of in past.items()],
            "waiting": [({}, values(past["a"]))] if "a" in past else [],
            "running": [({}, values(past["b"]))] if "b" in past else [],
        }
    )


@given(
    st.dictionaries(st.sampled_from(NAMES), points, max_size=3),
    st.integers(0, 30),
    st.integers(2, 30),
    st.lists(st.integers(0, 12), min_size=1, max_size=4),
    st.sampled_from([(GraphKey.QUEUE, False), (GraphKey.QUEUE, True), (GraphKey.ERRORS, False)]),
)
def test_a_continued_graph_is_the_same_as_one_asked_anew(
    past: Past, start: int, count: int, steps: list[int], shown: tuple[GraphKey, bool]
):
    async def compare() -> None:
        key, by_pod = shown
        source = past_source(past)
        metrics = ServingMetrics(source, target())
        grid = TimeGrid(start * 15.0, 15.0, count)
        graph = await metrics.graph(key, grid, by_pod=by_pod)
        for step in steps:
            previous_end = grid.end
            grid = TimeGrid(grid.start + step * 15, 15.0, count)
            continued = await metrics.graph(key, grid, by_pod=by_pod, previous=graph)
            asked = source.asked[-1][1]
            graph = await metrics.graph(key, grid, by_pod=by_pod)
            assert continued == graph
            assert isinstance(asked, TimeGrid) and asked.end == grid.end
            if grid.start <= previous_end:
                assert asked.count == min(step + RECOMPUTED_POINTS, count)
            else:
                assert asked == grid

    asyncio.run(compare())


async def test_the_newest_points_are_asked_again():
    late: dict[float, float] = {900.0: 1, 915.0: 1, 930.0: 1, 945.0: 1}
    source = FakeSource({"running": [({}, late.get)]})
    metrics = ServingMetrics(source, target())
    graph = await metrics.graph(GraphKey.QUEUE, GRID)
    assert graph.lines[0].values == (1, 1, 1, 1, None)
    late |= {900.0: 5, 915.0: 5, 930.0: 5, 945.0: 2, 960.0: 3, 975.0: 4}
    later = TimeGrid(915.0, 15.0, 5)
    graph = await metrics.graph(GraphKey.QUEUE, later, previous=graph)
    assert graph.lines[0].values == (1, 1, 2, 3, 4)
    assert source.asked[-1][1] == TimeGrid(945.0, 15.0, 3)


@pytest.mark.parametrize(
    "grid",
    [
        TimeGrid(900.0, 30.0, 5),  # another step
        TimeGrid(885.0, 15.0, 6),  # begins earlier
        TimeGrid(975.0, 15.0, 5),  # begins after its end
        TimeGrid(900.0, 15.0, 4),  # ends earlier
    ],
)
async def test_another_grid_is_asked_anew(grid: TimeGrid):
    source = FakeSource({"running": constant(1.0)})
    metrics = ServingMetrics(source, target())
    graph = await metrics.graph(GraphKey.QUEUE, GRID)
    again = await metrics.graph(GraphKey.QUEUE, grid, previous=graph)
    assert source.asked[-1][1] == grid and len(again.lines[0].values) == grid.count


async def test_another_graph_is_not_continued():
    source = FakeSource({"running": constant(1.0), "waiting": constant(2.0)})
    metrics = ServingMetrics(source, target())
    queue = await metrics.graph(GraphKey.QUEUE, GRID)
    for other in (
        replace(queue, key=GraphKey.TOKENS),
        replace(queue, is_by_pod=True),
        replace(queue, queries=("other",)),
    ):
        source.asked.clear()
        assert await metrics.graph(GraphKey.QUEUE, GRID, previous=other) == queue
        assert source.asked[0][1] == GRID


# -- figures ------------------------------------------------------------------------------------


async def test_the_figures_of_a_moment():
    source = FakeSource(
        {
            "increase(vllm:request_success_total": constant(1234.0),
            'status=~"5.*"': constant(0.25),
            "rate(vllm:request_success_total": constant(12.5),
            "histogram_quantile(0.5, ": constant(0.4),
            "histogram_quantile(0.95, sum by (le) (rate(vllm:e2e": constant(1.5),
            "histogram_quantile(0.95, sum by (le) (rate(vllm:time_to": constant(0.1),
            "histogram_quantile(0.99, ": constant(None),
            "num_requests_running": constant(7.0),
            "num_requests_waiting": constant(0.0),
            "max(vllm:kv_cache": constant(0.93),
        }
    )
    figures = await ServingMetrics(source, target()).figures(3600, 5000)
    assert (figures.time, figures.seconds, figures.window) == (5000, 3600, 60)
    assert (figures.total_requests, figures.request_rate) == (1234.0, 12.5)
    assert figures.error_share == 0.25
    assert figures.quantiles == (0.4, 1.5, None)
    assert (figures.ttft, figures.running, figures.waiting) == (0.1, 7.0, 0.0)
    assert figures.kv_cache == 0.93
    assert all(when == 5000 for _, when in source.asked)
    assert figures.warning == ""


async def test_figures_that_are_absent_are_none():
    figures = await ServingMetrics(FakeSource({}), target("tgi")).figures(3600, 5000)
    assert figures.quantiles == (None, None, None)
    assert {
        figures.total_requests,
        figures.request_rate,
        figures.error_share,
        figures.ttft,
        figures.running,
        figures.waiting,
        figures.kv_cache,
    } == {None}


# -- failures -----------------------------------------------------------------------------------


async def test_the_first_failure_ends_the_other_queries():
    source = FakeSource({})
    source.failing, source.hanging = "num_requests_waiting", "num_requests_running"
    metrics = ServingMetrics(source, target())
    with pytest.raises(MetricsError, match="refused the connection"):
        await with_timeout(metrics.graph(GraphKey.QUEUE, GRID))
    assert source.cancelled == 1
    with pytest.raises(MetricsError, match="refused the connection"):
        await with_timeout(metrics.figures(3600, 1000))
    assert source.cancelled == 2


async def test_a_graph_that_is_given_up_asks_nothing_more():
    source = FakeSource({})
    source.hanging = "num_requests"
    task = asyncio.create_task(ServingMetrics(source, target()).graph(GraphKey.QUEUE, GRID))
    await wait_until(lambda: len(source.asked) == 2)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.cancelled == 2


async def test_who_may_not_list_names_may_query():
    source = FakeSource({"running": constant(1.0)})
    source.forbids_names = True
    graph = await ServingMetrics(source, target()).graph(GraphKey.QUEUE, GRID)
    assert lines_of(graph)["running"] == 1.0


# -- what is known of Pods ----------------------------------------------------------------------


async def test_what_pods_export_is_asked_once_by_all_graphs():
    source = FakeSource({})
    source.names = ("vllm:num_requests_running",)
    metrics = ServingMetrics(source, target())
    await asyncio.gather(*(metrics.graph(key, GRID) for key in GraphKey))
    await metrics.figures(3600, 1000)
    assert source.learned == 1
    assert metrics.scrape_interval == 15


@pytest.mark.parametrize(
    ("names", "interval", "seconds"),
    [
        (("up",), 15.0, LEARN_AGAIN_SECONDS),
        ((), 15.0, RETRY_SECONDS),
        (None, 15.0, RETRY_SECONDS),
        (("up",), None, RETRY_SECONDS),
    ],
)
async def test_it_is_asked_again_later(
    names: Collection[str] | None, interval: float | None, seconds: float
):
    source = FakeSource({})
    source.names, source.interval = names, interval
    metrics = ServingMetrics(source, target())
    skip = TimeSkipper(asyncio.get_running_loop())
    await metrics.prepare()
    skip(seconds / 2)
    await metrics.prepare()
    assert source.learned == 1
    skip(seconds / 2 + 1)
    await metrics.prepare()
    assert source.learned == 2
    assert metrics.scrape_interval == (interval or 30)


async def test_a_custom_serving_without_metrics_is_not_asked_of_all_servers():
    source = FakeSource({"istio_requests_total": coded("response_code", c404=3)})
    metrics = ServingMetrics(source, target("custom"))
    source.names = None  # who knows what it exports
    await metrics.graph(GraphKey.ERRORS, GRID)
    assert any("tgi_request_failure" in text for text, _ in source.asked)
    source.asked.clear()
    source.names = frozenset()
    metrics = ServingMetrics(source, target("custom"))
    graph = await metrics.graph(GraphKey.ERRORS, GRID)
    assert lines_of(graph) == {"404": 3}
    assert not any("tgi_request_failure" in text for text, _ in source.asked)


async def test_the_names_of_a_new_version_are_seen():
    source = FakeSource({"sglang": constant(3.0)})
    source.names = ("python_info",)
    metrics = ServingMetrics(source, target("custom"))
    graph = await metrics.graph(GraphKey.QUEUE, GRID)
    assert graph.reason == "Its server does not export running requests."
    source.names = ("sglang:num_running_reqs",)
    TimeSkipper(asyncio.get_running_loop())(LEARN_AGAIN_SECONDS + 1)
    graph = await metrics.graph(GraphKey.QUEUE, GRID, previous=graph)
    assert lines_of(graph) == {"running": 3.0}
    assert math.isclose(sum(v or 0 for v in graph.lines[0].values), 15.0)
