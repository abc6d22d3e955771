"""A real Prometheus scrapes the Pods of the demo: each figure of the tab Metrics is its answer."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.config import Settings
from servedeck.demo.process import DemoProcess
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.fleet.session import ClusterSession
from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.serving_metrics import Figures, ShownGraph
from servedeck.metrics.units import Unit, format_value
from tests.control_plane.prometheus import run_configured
from tests.control_plane.test_metrics_truth import ask, value_at
from tests.tui.helpers import screen_text
from tests.waiting import WAIT_SECONDS, wait_until, wait_until_sync
from tui.app import ServedeckApp
from tui.log_service import ClusterLogService
from tui.metrics_service import ClusterMetricsService
from tui.panes.metrics import MetricsPane

NAMESPACE, NAME = "chat", "llama-31-8b"
SIZE = (200, 60)
ATTEMPTS = 10
"""Figures that are compared: a sample that arrives while they are asked for is only in the answer
that is asked for later."""


class Demo(NamedTuple):
    kubeconfig: Path
    server: str
    token: str

    def get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.server}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    process = DemoProcess()
    try:
        path = process.kubeconfig()
        config = yaml.safe_load(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        yield Demo(path, cluster["server"], user["token"])
    finally:
        process.end()


@pytest.fixture(scope="module")
def prometheus(demo: Demo) -> Iterator[str]:
    """Scrapes the Pods through the API server."""
    selector = urllib.parse.quote(f"servedeck.dev/serving={NAME}")
    pods = demo.get(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={selector}")["items"]
    names = [one["metadata"]["name"] for one in pods]
    assert len(names) == 3
    address = urllib.parse.urlsplit(demo.server)
    config = {
        # seldom enough that most figures are asked for while no sample is on its way
        "global": {"scrape_interval": "5s", "scrape_timeout": "5s"},
        "scrape_configs": [
            {
                "job_name": name,
                "scheme": address.scheme,
                "metrics_path": f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:8000/proxy/metrics",
                "authorization": {"credentials": demo.token},
                "static_configs": [
                    {
                        "targets": [address.netloc],
                        "labels": {"namespace": NAMESPACE, "pod": name},
                    }
                ],
            }
            for name in names
        ],
    }
    with run_configured(config) as url:
        rate = "count(rate(vllm:request_success_total[1m]))"
        wait_until_sync(lambda: (value_at_now(url, rate) or 0) >= 3, "rates of all Pods")
        yield url


def value_at_now(url: str, query: str) -> float | None:
    found = ask(url, "query", query=query)
    return float(found[0]["value"][1]) if found else None


POD = f'namespace="{NAMESPACE}",pod=~"{NAME}-[a-z0-9]+-[a-z0-9]{{5}}"'
LATENCY = "sum by (le) (rate(vllm:e2e_request_latency_seconds_bucket{%s}[%ds]))"


def queries_of(window: int) -> tuple[str, ...]:
    """By hand, the queries of the figures of the moment."""
    first = f"sum by (le) (rate(vllm:time_to_first_token_seconds_bucket{{{POD}}}[{window}s]))"
    return (
        f"sum(rate(vllm:request_success_total{{{POD}}}[{window}s]))",
        *(f"histogram_quantile({one}, {LATENCY % (POD, window)})" for one in (0.5, 0.95, 0.99)),
        f"histogram_quantile(0.95, {first})",
        f"sum(vllm:num_requests_running{{{POD}}})",
        f"sum(vllm:num_requests_waiting{{{POD}}})",
        f"max(vllm:kv_cache_usage_perc{{{POD}}})",
    )


def is_shown(figures: Figures | None, text: str) -> bool:
    """Whether the cards have the figures: their texts are in the lines above the graphs."""
    if figures is None or figures.total_requests is None or figures.request_rate is None:
        return False
    cards = "\n".join(text.split("\n")[5:9])
    shown = [
        f"{figures.total_requests:,.0f} in 1h",
        f"{format_value(figures.request_rate, Unit.PER_SECOND)} req/s",
        *(format_value(one, Unit.SECONDS) for one in (*figures.quantiles, figures.ttft)),
        f"running {format_value(figures.running, Unit.COUNT)}",
        f"waiting {format_value(figures.waiting, Unit.COUNT)}",
        format_value(figures.kv_cache, Unit.PERCENT),
    ]
    return all(one in cards for one in shown)


async def test_the_figures_on_the_screen(demo: Demo, prometheus: str) -> None:
    settings = Settings(
        prometheus_url=prometheus, explicit_keys=frozenset({"prometheus_url"}), namespace=NAMESPACE
    )
    session = ClusterSession(
        ConnectionOptions(kubeconfig=(demo.kubeconfig,), namespace=NAMESPACE), settings
    )
    app = ServedeckApp(
        session,
        ClusterLogService(lambda: session.connection),
        ClusterDetailService(lambda: session.connection),
        metrics_service=ClusterMetricsService(lambda: session),
    )
    try:
        async with app.run_test(size=SIZE) as pilot:
            await wait_until(lambda: NAME in screen_text(app), "the list")
            await pilot.press("slash", *NAME, "enter", "enter")
            await wait_until(lambda: "2 Metrics" in screen_text(app), "the page")
            await pilot.press("2")
            await wait_until(lambda: bool(app.screen.query(MetricsPane)), "the tab")
            pane = app.screen.query_one(MetricsPane)

            def read() -> tuple[Figures | None, Mapping[GraphKey, ShownGraph]]:
                feed = pane._feed
                if feed is None:
                    return None, {}
                found = {key: feed.graph(key, False) for key in GraphKey}
                return feed.figures, {key: one for key, one in found.items() if one is not None}

            for _ in range(ATTEMPTS):
                await wait_until(
                    lambda: is_shown(read()[0], screen_text(app)) and has_requests(read()[1]),
                    "the figures",
                    describe_state=lambda: f"{read()[0]} on\n{screen_text(app)}",
                )
                figures, graphs = read()
                assert figures is not None
                wrong = await asyncio.to_thread(differences, prometheus, figures, graphs)
                if not wrong:
                    return
                await wait_until(lambda old=figures: read()[0] is not old, "other figures")
            pytest.fail("\n".join(wrong))
    finally:
        await session.close()


def has_requests(graphs: Mapping[GraphKey, ShownGraph]) -> bool:
    return GraphKey.REQUESTS in graphs and bool(graphs[GraphKey.REQUESTS].lines)


def differences(url: str, figures: Figures, graphs: Mapping[GraphKey, ShownGraph]) -> list[str]:
    """What is not the answer of Prometheus."""
    window = int(figures.window)
    total = f"sum(increase(vllm:request_success_total{{{POD}}}[3600s]))"
    checks: list[tuple[str, float | None, float]] = [(total, figures.total_requests, figures.time)]
    checks += [
        (query, value, figures.time)
        for query, value in zip(
            queries_of(window),
            (
                figures.request_rate,
                *figures.quantiles,
                figures.ttft,
                figures.running,
                figures.waiting,
                figures.kv_cache,
            ),
            strict=True,
        )
    ]
    graph = graphs[GraphKey.REQUESTS]
    rate = f"sum(rate(vllm:request_success_total{{{POD}}}[{window}s]))"
    checks += [
        (rate, value, at)
        for at, value in zip(graph.grid.times(), graph.lines[0].values, strict=True)
        if value is not None
    ]
    return [
        f"{query} at {at}: {value}, not {expected}"
        for query, value, at in checks
        if value != pytest.approx(expected := value_at(url, query, at), rel=1e-9)
    ]
