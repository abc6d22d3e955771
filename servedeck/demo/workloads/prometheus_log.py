"""The log of Prometheus 3, as far as a healthy one writes it: its start, its end, and the blocks of
its database, which are written every two hours (cmd/prometheus/main.go, tsdb/db.go)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.log_lines import LogLine

_BLOCK_SECONDS = 7200
LINES_PER_SECOND = 2 / _BLOCK_SECONDS
_BLOCK_DELAY_SECONDS = 3600
"""A block is written when the head is one and a half blocks long."""


def startup_lines(instance: SimulatedInstance) -> Iterator[LogLine]:
    started, ready = instance.started, instance.ready_at
    version = instance.server.version
    for offset, source, text in (
        (0.03, "main.go:682", f"Starting Prometheus Server, version={version}"),
        (0.08, "main.go:1182", "Starting TSDB ..."),
        (0.11, "head.go:657", "Replaying on-disk memory mappable chunks if any"),
        (0.16, "head.go:744", "Replaying WAL, this may take a while"),
    ):
        yield _line(started + offset, source, text)
    yield _line(ready - 0.03, "main.go:1203", "TSDB started")
    yield _line(ready - 0.02, "main.go:1388", "Loading configuration file")
    yield _line(ready - 0.01, "main.go:1167", "Server is ready to receive web requests.")


def interval_lines(begin: float, end: float) -> list[LogLine]:
    """The lines between two times, in seconds since the epoch."""
    number = math.ceil((begin - _BLOCK_DELAY_SECONDS) / _BLOCK_SECONDS)
    written = number * _BLOCK_SECONDS + _BLOCK_DELAY_SECONDS
    if not begin <= written < end:
        return []
    high = number * _BLOCK_SECONDS * 1000
    low = high - _BLOCK_SECONDS * 1000
    return [
        _line(written + 0.9, "compact.go:607", "write block completed", f" mint={low} maxt={high}"),
        _line(written + 1.1, "head.go:1444", "Head GC completed"),
    ]


def shutdown_lines(instance: SimulatedInstance, at: float) -> Iterator[LogLine]:
    """The lines of an instance that gets SIGTERM `at` seconds after its start."""
    time = instance.started + at
    yield _line(time, "main.go:1022", "Received an OS signal, exiting gracefully...")
    yield _line(time + 0.03, "main.go:1438", "See you next time!")


def _line(time: float, source: str, text: str, more: str = "") -> LogLine:
    """A line in logfmt, with `more` after its message."""
    moment = datetime.fromtimestamp(time, UTC)
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{int(time % 1 * 1000):03d}Z"
    return LogLine(time, f'time={stamp} level=INFO source={source} msg="{text}"{more}')
