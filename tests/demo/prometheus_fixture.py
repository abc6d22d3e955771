"""The demo's Prometheus over a cluster whose clock a test moves."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from servedeck.demo.api import admission
from servedeck.demo.api.kubelet_api import ProxyRequest
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import ControllerManager
from servedeck.demo.prometheus.api import PrometheusApi
from servedeck.demo.prometheus.query_engine import QueryEngine
from servedeck.demo.scenario.scenario import Scenario
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]
NOW = 1_795_445_000.0


class PrometheusFixture:
    """Asks the API as a client does."""

    def __init__(self, controllers: ControllerManager, clock: Clock) -> None:
        self.controllers = controllers
        self.clock = clock
        self.engine = QueryEngine(controllers.kubelet.history, controllers.replica_history, clock)
        self.api = PrometheusApi(self.engine)

    def answer(self, path: str, *, post: bool = False, **parameters: object) -> tuple[int, Json]:
        """Status and body; `match` is sent as match[]."""
        pairs = {{"match": "match[]"}.get(k, k): v for k, v in parameters.items()}
        text = urlencode(pairs, doseq=True)
        if post:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            request = ProxyRequest("POST", path, headers, text.encode())
        else:
            request = ProxyRequest("GET", f"{path}?{text}")
        response = self.api.handle(request)
        assert isinstance(response.body, bytes)
        return response.status, json.loads(response.body)

    def data(self, path: str, **parameters: object) -> Any:
        status, body = self.answer(path, **parameters)
        assert (status, body["status"]) == (200, "success"), body
        return body["data"]

    def vector(self, query: str, time: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Labels and values now or at a time."""
        more = {} if time is None else {"time": time}
        found = self.data("/api/v1/query", query=query, **more)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def value(self, query: str, time: float | None = None) -> float:
        ((_, value),) = self.vector(query, time)
        return value

    def range(
        self, query: str, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        found = self.data("/api/v1/query_range", query=query, start=start, end=end, step=step)
        return [
            (one["metric"], [(time, float(value)) for time, value in one["values"]])
            for one in found["result"]
        ]


def scenario_prometheus(seed: int = 3) -> PrometheusFixture:
    """Of the demo as it opens at NOW."""
    clock = Clock(Scenario.start_time(NOW))
    store = ObjectStore(clock, seed=seed)
    store.admission.append(admission.admit)
    controllers = ControllerManager(store, clock, seed)
    Scenario(store, clock, controllers, seed).create_initial_state(NOW)
    return PrometheusFixture(controllers, clock)
