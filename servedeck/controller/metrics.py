"""What a controller says of itself to Prometheus."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from servedeck.serving.temperature import GateReason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "servedeck_controller"


class ControllerMetrics:
    """Of one process. The gauges of Pods are those of the one that acts, and 0 in the others."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

        self.leader = gauge("leader", "Whether this controller is the one that acts.")
        self._pods = gauge(
            "pods", "Pods with the gate of the temperature, by the reason of its state.", "reason"
        )
        self.known = gauge("temperatures", "Pods whose temperature is known.")
        self.written = counter("conditions_written", "Conditions of Pods written.", "reason")
        self.failed = counter("writes_failed", "Conditions of Pods that could not be written.")
        self.queries_failed = counter("queries_failed", "Queries of Prometheus that failed.")
        self.set_pods(())

    def set_pods(self, reasons: Iterable[str]) -> None:
        """The reasons of all Pods with the gate."""
        counts = Tally(reasons)
        for reason in GateReason:
            self._pods.labels(reason.value).set(counts[reason.value])

    def page(self) -> bytes:
        return generate_latest(self.registry)
