"""What a gateway says of itself to Prometheus. Labels are of few values: never a path or an id."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "servedeck_async"
_COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_COMMIT_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 21600)


class GatewayMetrics:
    """Of one process. The gauges of the queue are in servedeck.gateway.admin_api, as they are those
    of the store."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
            return Histogram(f"{_PREFIX}_{name}", text, buckets=buckets, registry=self.registry)

        self.submitted = counter("submitted", "Requests that were accepted.")
        self.rejected = counter("rejected", "Requests that were not accepted.", "reason")
        self.ended = counter("ended", "Tasks that ended, by state or reason.", "outcome")
        self.attempts = counter("attempts", "Attempts by what they were answered with.", "code")
        self.reclaimed = counter("reclaimed", "Attempts whose lease ended.")
        self.fenced = counter("fenced", "Ends that came too late and were not recorded.")
        self.callbacks = counter("callbacks", "Callbacks that were sent.", "outcome")
        self.passed_through = counter("passed_through", "Synchronous requests.", "code")
        self.queue_seconds = histogram("queue_seconds", "From accepted to the attempt.")
        self.run_seconds = histogram("run_seconds", "Of one attempt.")
        self.commit_seconds = histogram(
            "commit_seconds", "Of one write of the store, until it is safe.", _COMMIT_SECONDS
        )
        self.commit_size = histogram(
            "commit_batch_size", "Submissions and ends that were written together.", _COMMIT_SIZES
        )

    def observe_commit(self, items: int, seconds: float) -> None:
        """See CommitObserver."""
        self.commit_size.observe(items)
        self.commit_seconds.observe(seconds)

    def page(self) -> bytes:
        return generate_latest(self.registry)
