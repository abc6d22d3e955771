"""CPU time and memory of a container, as functions of the time."""

from __future__ import annotations

from collections.abc import Iterable

from servedeck.demo.api.kubelet_api import ContainerUsage
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.server_config import OTHER

_WINDOW_SECONDS = 15.0
"""metrics-server's --metric-resolution."""


def measure_usage(instances: Iterable[SimulatedInstance], now: float) -> list[ContainerUsage]:
    """Of the instances that have run for a whole window, at `now` (seconds since the epoch)."""
    time = now // _WINDOW_SECONDS * _WINDOW_SECONDS
    before = time - _WINDOW_SECONDS
    return [
        ContainerUsage(
            one.container,
            time,
            _WINDOW_SECONDS,
            (cpu_seconds(one, time) - cpu_seconds(one, before)) / _WINDOW_SECONDS,
            int(working_set_bytes(one, time)),
        )
        for one in instances
        if one.started <= before
    ]


def cpu_seconds(instance: SimulatedInstance, time: float) -> float:
    """CPU time that a container has used until `time` (seconds since the epoch): for loading, for
    being there, and for requests."""
    elapsed = max(0.0, time - instance.started)
    if instance.server.engine == OTHER:
        return 0.04 * elapsed
    loading = min(elapsed, max(0.0, instance.ready_at - instance.started))
    return 0.3 * elapsed + 1.9 * loading + 0.22 * instance.traffic_share.counts_at(time).total


def working_set_bytes(instance: SimulatedInstance, time: float) -> float:
    """Host memory in use at `time`."""
    if instance.server.engine == OTHER:
        return 1.9e8 + (time // 60) % 37 * 1e6
    return 4.9e9 + (time - instance.started) % 977 * 1e5
