"""The log of an async gateway that has no difficulties (servedeck/gateway/process.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.log_lines import LogLine

LINES_PER_SECOND = 1e-3


def startup_lines(instance: SimulatedInstance) -> Iterator[LogLine]:
    ready, (*others, admin) = instance.ready_at, _ports(instance)
    for port in others:
        yield _line(ready - 0.03, f"Callers are answered on 0.0.0.0 port {port}.")
    yield _line(ready - 0.02, f"Operators are answered on 0.0.0.0 port {admin}.")
    serving = instance.pod.rsplit("-", 2)[0].removesuffix("-async")
    yield _line(ready - 0.01, f"The gateway of {instance.namespace}/{serving} is ready.")


def shutdown_lines(instance: SimulatedInstance, at: float) -> Iterator[LogLine]:
    """The lines of an instance that gets SIGTERM `at` seconds after its start."""
    time = instance.started + at
    yield _line(time, "SIGTERM: the gateway shuts down.")
    yield _line(time + 0.03, "The gateway has ended.")


def _ports(instance: SimulatedInstance) -> tuple[int, ...]:
    return (instance.server.port, *instance.server.more_ports)


def _line(time: float, text: str) -> LogLine:
    moment = datetime.fromtimestamp(time, UTC)
    stamp = f"{moment:%Y-%m-%d %H:%M:%S},{int(time % 1 * 1000):03d}"
    return LogLine(time, f"{stamp} INFO servedeck.gateway.process: {text}")
