"""What the metrics say of the servings that share the requests of an endpoint, for a command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError
from servedeck.config import Settings
from servedeck.metrics.cluster_metrics import ClusterMetrics
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.serving_metrics import Figures
from servedeck.metrics.target import fetch_target
from servedeck.serving.text import one_line, sanitize

FIGURES_TIMEOUT = 15.0
"""Seconds after which the command does without."""
FIGURES_SECONDS = 300.0
"""Of the period that totals are of."""
_READINGS = 2
"""Of Pods, which a rate takes."""


@dataclass(frozen=True, slots=True)
class SideFigures:
    figures: Figures | None = None
    reason: str = ""
    """Why there are none, one sentence, sanitized."""


async def read_figures(
    connection: Connection, settings: Settings, namespace: str, names: Iterable[str]
) -> Mapping[str, SideFigures]:
    """The figures of these servings, by name. What fails is in the result."""
    metrics = ClusterMetrics(connection, settings, SampleRing())
    wanted = list(dict.fromkeys(names))
    try:
        found = await asyncio.gather(
            *(_read(connection, metrics, namespace, one) for one in wanted)
        )
    finally:
        await metrics.close()
    return dict(zip(wanted, found, strict=True))


async def _read(
    connection: Connection, metrics: ClusterMetrics, namespace: str, name: str
) -> SideFigures:
    try:
        async with asyncio.timeout(FIGURES_TIMEOUT):
            return await _ask(connection, metrics, namespace, name)
    except TimeoutError:
        reason = f"Its metrics could not be read within {FIGURES_TIMEOUT:.0f} s."
        return SideFigures(reason=reason)
    except ClusterError as error:
        return SideFigures(reason=one_line(sanitize(str(error))))


async def _ask(
    connection: Connection, metrics: ClusterMetrics, namespace: str, name: str
) -> SideFigures:
    target = await fetch_target(connection, namespace, name)
    if target is None:
        return SideFigures(reason="It is no serving, so it has no metrics here.")
    readings = asyncio.Queue[None]()
    opened = await metrics.open(lambda: target, lambda: readings.put_nowait(None))
    try:
        if opened.is_live:
            for _ in range(_READINGS):
                await readings.get()
        return SideFigures(await opened.metrics.figures(FIGURES_SECONDS))
    finally:
        await opened.close()
