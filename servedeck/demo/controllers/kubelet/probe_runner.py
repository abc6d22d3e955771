"""Startup, readiness and liveness probes of one container.

A probe that has settled and whose answer will not change does not tick: the next change of the
container's health is known. Source: kubernetes pkg/kubelet/prober/worker.go, prober.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from servedeck.demo import event_messages
from servedeck.demo.clock import Clock, Timer
from servedeck.demo.store.objects import Json
from servedeck.demo.workloads.instance import Instance
from servedeck.demo.workloads.server_config import OTHER

_FAILING_PERIOD = 60.0
"""How often a probe that has failed for good is tried: the recorder would not write more."""
_PATHS = frozenset(
    ("/health", "/ping", "/version", "/v1/models", "/metrics", "/load", "/healthz", "/")
)


class Result(NamedTuple):
    ok: bool
    output: str = ""


class Probe:
    """Asks until it is stopped. `changed(ok)` is called when enough answers in a row agree;
    `unhealthy(output)` at each failure."""

    def __init__(
        self,
        clock: Clock,
        spec: Json,
        instance: Instance,
        address: str,
        ports: Mapping[str, int],
        changed: Callable[[bool], None],
        unhealthy: Callable[[str], None],
        *,
        passed: bool = False,
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._instance = instance
        self._address = address
        self._ports = ports
        self._changed = changed
        self._unhealthy = unhealthy
        self._period = float(spec.get("periodSeconds") or 10)
        self._run = 0
        self._last: bool | None = None
        self._settled: bool | None = True if passed else None
        self._timer: Timer | None = None

    def start(self) -> None:
        jitter = self._instance.rng("probe").uniform(0.0, 0.9)
        first = self._instance.started + float(self._spec.get("initialDelaySeconds") or 0) + jitter
        if self._settled:
            self._sleep(self._clock.time())
        else:
            self._timer = self._clock.at(max(first, self._clock.time()), self._tick)

    def poke(self) -> None:
        """The container's health changed against its plan: ticks in its period again."""
        self.stop()
        self._timer = self._clock.after(
            self._instance.rng("poke").uniform(0, self._period), self._tick
        )

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = self._clock.time()
        result = self._ask(now)
        self._run = self._run + 1 if result.ok is self._last else 1
        self._last = result.ok
        if not result.ok:
            self._unhealthy(result.output)
        field, default = ("successThreshold", 1) if result.ok else ("failureThreshold", 3)
        enough = self._run >= int(self._spec.get(field) or default)
        # set first: `changed` may stop this probe
        self._sleep(now)
        if enough and self._settled is not result.ok:
            self._settled = result.ok
            self._sleep(now)
            self._changed(result.ok)

    def _sleep(self, now: float) -> None:
        self.stop()
        wait = self._period
        if self._settled is not None and self._last in (None, self._settled):
            coming = self._next_change(now)
            if self._settled:
                if coming is None:
                    return
                # the tick of its period that first sees the change
                periods = max(1, -(-(coming - now) // self._period))
                wait = periods * self._period
            else:
                wait = max(_FAILING_PERIOD, self._period)
                if coming is not None:
                    wait = min(wait, max(self._period, coming - now))
        self._timer = self._clock.at(now + wait, self._tick)

    def _next_change(self, now: float) -> float | None:
        started = self._instance.started
        return next((started + t for t in self._instance.plan.changes() if started + t > now), None)

    def _ask(self, now: float) -> Result:
        http, tcp = self._spec.get("httpGet"), self._spec.get("tcpSocket")
        if not http and not tcp:
            return Result(True)
        where: Json = http or tcp or {}
        port = where.get("port", 0)
        number = port if isinstance(port, int) else self._ports.get(str(port), 0)
        address = f"{self._address}:{number}"
        health = self._instance.plan.health(now - self._instance.started)
        if number != self._instance.server.port:
            health = 0
        if not http:
            refused = f"dial tcp {address}: connect: connection refused"
            return Result(health != 0, refused)
        path = http.get("path") or "/"
        url = f"{str(http.get('scheme') or 'HTTP').lower()}://{address}{path}"
        if health == 0:
            return Result(False, event_messages.PROBE_REFUSED.format(url=url, address=address))
        if health == -1:
            return Result(False, event_messages.PROBE_TIMEOUT.format(url=url))
        if path.partition("?")[0] not in _PATHS and self._instance.server.engine != OTHER:
            health = 404
        return Result(health < 400, event_messages.PROBE_STATUS.format(status=health))
