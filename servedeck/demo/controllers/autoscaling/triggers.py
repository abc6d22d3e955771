"""The triggers of a ScaledObject: what they measure, and from which value on they are active.

Sources: keda pkg/scalers/prometheus_scaler.go, metrics_api_scaler.go, scaler.go.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from servedeck.demo.controllers.autoscaling.metric_sources import MetricSourceError, MetricSources
from servedeck.demo.store.objects import Json

KNOWN_TYPES = ("prometheus", "metrics-api")
DEFAULT_METRIC_TYPE = "AverageValue"


class TriggerError(Exception):
    """A trigger that is configured wrongly, or whose measurement failed; str() says why."""


class Trigger(NamedTuple):
    """One trigger. `metric`: its name in the autoscaler. `target`: what a replica, or with the
    metric type Value all of them, should have at most."""

    type: str
    metric: str
    metric_type: str
    target: float
    activation: float
    metadata: Json

    def measure(self, sources: MetricSources) -> float:
        """The value now. Raises TriggerError."""
        try:
            if self.type == "prometheus":
                return self._query(sources)
            return self._fetch(sources)
        except MetricSourceError as error:
            raise TriggerError(str(error)) from error

    def _query(self, sources: MetricSources) -> float:
        query = self.metadata["query"]
        values = sources.query(self.metadata["serverAddress"], query)
        ignores_nulls = self.metadata.get("ignoreNullValues", "true") == "true"
        if not values:
            if ignores_nulls:
                return 0.0
            raise TriggerError(
                "prometheus metrics 'prometheus' target may be lost, the result is empty"
            )
        if len(values) > 1:
            raise TriggerError(f"prometheus query {query} returned multiple elements")
        if not math.isfinite(values[0]):
            if ignores_nulls:
                return 0.0
            raise TriggerError(f"promtheus query returns {values[0]:f}")
        return values[0]

    def _fetch(self, sources: MetricSources) -> float:
        found: Any = sources.fetch(self.metadata["url"])
        location = self.metadata["valueLocation"]
        for part in location.split("."):
            if isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            elif isinstance(found, dict) and part in found:
                found = found[part]
            else:
                raise TriggerError(f"valueLocation must point to value of type number: {location}")
        try:
            return float(found)
        except (TypeError, ValueError):
            raise TriggerError(
                f"valueLocation must point to value of type number or a string representing a "
                f"Quantity got: '{found}'"
            ) from None


def read_trigger(index: int, trigger: Json) -> Trigger:
    """The trigger at this position of the ScaledObject. Raises TriggerError."""
    kind, metadata = str(trigger.get("type", "")), trigger.get("metadata") or {}
    if kind == "prometheus":
        _require(kind, metadata, ("serverAddress", "query", "threshold"))
        target, activation = "threshold", "activationThreshold"
        name = "prometheus"
    elif kind == "metrics-api":
        _require(kind, metadata, ("url", "valueLocation", "targetValue"))
        target, activation = "targetValue", "activationTargetValue"
        name = f"metric-api-{metadata['valueLocation']}"
    else:
        raise TriggerError(f"no scaler found for type: {kind}")
    metric_type = str(trigger.get("metricType") or DEFAULT_METRIC_TYPE)
    if metric_type not in ("AverageValue", "Value"):
        raise TriggerError(
            f'metric type "{metric_type}" not allowed for external metrics, allowed values are '
            "'Value' or 'AverageValue'"
        )
    wanted = _number(kind, metadata, target)
    if wanted <= 0:
        raise TriggerError(f"error parsing {kind} metadata: {target} must be greater than 0")
    return Trigger(
        kind,
        f"s{index}-{re.sub(r'[/.:%()]', '-', name)}",
        metric_type,
        wanted,
        _number(kind, metadata, activation) if metadata.get(activation) else 0.0,
        metadata,
    )


def _require(kind: str, metadata: Json, names: tuple[str, ...]) -> None:
    for name in names:
        if not metadata.get(name):
            raise TriggerError(
                f'error parsing {kind} metadata: missing required parameter "{name}" in '
                "[triggerMetadata]"
            )


def _number(kind: str, metadata: Json, name: str) -> float:
    text = str(metadata[name])
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise TriggerError(
            f'error parsing {kind} metadata: unable to set param "{name}" value "{text}": '
            "invalid number"
        )
    return found
