"""One startup, readiness or liveness probe of a container.

A probe whose result will not change is not repeated: the plan of the instance says when its health
changes next. Source: kubernetes pkg/kubelet/prober/worker.go, prober.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from servedeck.demo import event_messages
from servedeck.demo.clock import Clock, Timer
from servedeck.demo.store.objects import Json
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.server_config import OTHER

_FAILING_PERIOD_SECONDS = 60.0
"""Period of a probe that will go on failing, to save work."""
_KNOWN_PATHS = frozenset(
    ("/health", "/ping", "/version", "/v1/models", "/metrics", "/load", "/healthz", "/")
)


class ProbeResult(NamedTuple):
    ok: bool
    output: str = ""


class ProbeRunner:
    """Probes until it is stopped. `on_result(ok)` is called when a threshold is reached,
    `on_failure(output)` for each failure."""

    def __init__(
        self,
        clock: Clock,
        spec: Json,
        instance: SimulatedInstance,
        address: str,
        ports: Mapping[str, int],
        on_result: Callable[[bool], None],
        on_failure: Callable[[str], None],
        *,
        passed: bool = False,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._instance = instance
        self._address = address
        self._ports = ports
        self._on_result = on_result
        self._on_failure = on_failure
        self._period = float(spec.get("periodSeconds") or 10)
        self._consecutive_results = 0
        self._last_ok: bool | None = None
        self._reported_result: bool | None = True if passed else None
        self._timer: Timer | None = None

    def start(self) -> None:
        jitter = self._instance.rng("probe").uniform(0.0, 0.9)
        first = self._instance.started + float(self._spec.get("initialDelaySeconds") or 0) + jitter
        if self._reported_result:
            self._schedule_next(self._clock.time())
        else:
            self._timer = self._clock.call_at(max(first, self._clock.time()), self._tick)

    def reschedule(self) -> None:
        """Probes in the regular period again, because the plan of the instance has changed."""
        self.stop()
        self._timer = self._clock.call_later(
            self._instance.rng("poke").uniform(0, self._period), self._tick
        )

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = self._clock.time()
        result = self._probe(now)
        self._consecutive_results = (
            self._consecutive_results + 1 if result.ok is self._last_ok else 1
        )
        self._last_ok = result.ok
        if not result.ok:
            self._on_failure(result.output)
        field, default = ("successThreshold", 1) if result.ok else ("failureThreshold", 3)
        enough = self._consecutive_results >= int(self._spec.get(field) or default)
        # scheduled first, because `on_result` may stop this probe
        self._schedule_next(now)
        if enough and self._reported_result is not result.ok:
            self._reported_result = result.ok
            self._schedule_next(now)
            self._on_result(result.ok)

    def _schedule_next(self, now: float) -> None:
        self.stop()
        wait = self._period
        if self._reported_result is not None and self._last_ok in (None, self._reported_result):
            coming = self._next_planned_change(now)
            if self._reported_result:
                if coming is None:
                    return
                # the first probe of its period that notices the change
                periods = max(1, -(-(coming - now) // self._period))
                wait = periods * self._period
            else:
                wait = max(_FAILING_PERIOD_SECONDS, self._period)
                if coming is not None:
                    wait = min(wait, max(self._period, coming - now))
        self._timer = self._clock.call_at(now + wait, self._tick)

    def _next_planned_change(self, now: float) -> float | None:
        started = self._instance.started
        return next((started + t for t in self._instance.plan.changes() if started + t > now), None)

    def _probe(self, now: float) -> ProbeResult:
        http, tcp = self._spec.get("httpGet"), self._spec.get("tcpSocket")
        if not http and not tcp:
            return ProbeResult(True)
        where: Json = http or tcp or {}
        port = where.get("port", 0)
        number = port if isinstance(port, int) else self._ports.get(str(port), 0)
        address = f"{self._address}:{number}"
        health = self._instance.plan.health(now - self._instance.started)
        if not self._instance.server.listens_on(number):
            health = 0
        if not http:
            rejected = f"dial tcp {address}: connect: connection refused"
            return ProbeResult(health != 0, rejected)
        path = http.get("path") or "/"
        url = f"{str(http.get('scheme') or 'HTTP').lower()}://{address}{path}"
        if health == 0:
            return ProbeResult(False, event_messages.PROBE_REFUSED.format(url=url, address=address))
        if health == -1:
            return ProbeResult(False, event_messages.PROBE_TIMEOUT.format(url=url))
        if path.partition("?")[0] not in _KNOWN_PATHS and self._instance.server.engine != OTHER:
            health = 404
        return ProbeResult(health < 400, event_messages.PROBE_STATUS.format(status=health))
