"""What autoscalers scale by: the types of a target, the triggers that servedeck writes, and their
units."""

from __future__ import annotations

import math
from enum import StrEnum

RESPONSE_TIME = "response-time"
"""Name of the trigger on the P95 of the response time, in milliseconds."""
WAITING_REQUESTS = "waiting-requests"
"""Name of the trigger on the requests that wait, per replica."""

TOLERANCE = 0.1
"""By how much the metric may differ from its target, as a share of it, before anything is scaled:
--horizontal-pod-autoscaler-tolerance, https://kubernetes.io/docs/tasks/run-application/
horizontal-pod-autoscale/#algorithm-details."""

SYNC_SECONDS = 15.0
"""Between two decisions of the HPA controller: --horizontal-pod-autoscaler-sync-period."""

_LABELS = {RESPONSE_TIME: "response time", WAITING_REQUESTS: "waiting requests"}
_UNITS = {RESPONSE_TIME: "ms", WAITING_REQUESTS: "per replica"}


class MetricType(StrEnum):
    """How a metric is compared with its target, as autoscaling/v2 names it."""

    VALUE = "Value"
    AVERAGE_VALUE = "AverageValue"
    """The metric divided by the number of replicas is compared."""
    UTILIZATION = "Utilization"
    """A percentage of what the Pods request."""


class ScaledBy(StrEnum):
    """The metrics that servedeck's autoscalers scale by; the values are the names of their
    triggers."""

    RESPONSE_TIME = RESPONSE_TIME
    """P95, in milliseconds."""
    WAITING_REQUESTS = WAITING_REQUESTS
    """Of all replicas together; the target is per replica."""

    @property
    def metric_type(self) -> MetricType:
        """A latency is not divided by the replicas; a number of requests is."""
        return MetricType.VALUE if self is ScaledBy.RESPONSE_TIME else MetricType.AVERAGE_VALUE


def metric_label(name: str) -> str:
    """What a trigger is called in a sentence: "response time"; its name if it is not one of
    servedeck's."""
    return _LABELS.get(name, name)


def metric_unit(name: str, type_: MetricType | None) -> str:
    """The unit of the values of a trigger or metric: "ms", "per replica", "%"; "" if unknown."""
    if name in _UNITS:
        return _UNITS[name]
    if type_ is MetricType.UTILIZATION:
        return "%"
    return "per replica" if type_ is MetricType.AVERAGE_VALUE else ""


def format_amount(value: float | None, unit: str = "") -> str:
    """ "6200 ms", "0.85 per replica", "70 %"; "–" for what is not known. A number from 100 on has
    no decimal places, a smaller one as many as make three digits."""
    if value is None or not math.isfinite(value):
        return "–"
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{places}f}" if abs(value) < 1e12 else f"{value:.3g}"
    if "." in text and "e" not in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text} {unit}" if unit else text
