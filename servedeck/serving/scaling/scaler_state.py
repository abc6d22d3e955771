"""What an autoscaler does now, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from servedeck.serving.duration import format_signed_duration
from servedeck.serving.scaling.scaling_metrics import MetricType, format_amount, metric_label
from servedeck.serving.spec.scaling import UNREACHED_TARGET

SCALED_OBJECT_KIND = "ScaledObject"
HPA_KIND = "HorizontalPodAutoscaler"


@dataclass(frozen=True, slots=True)
class ScalerMetric:
    """One metric that an autoscaler scales by."""

    name: str
    """Of the trigger where it has one, else of the metric: "response-time", "cpu"."""
    metric: str
    """As the HPA calls it: "s0-prometheus"; "" while there is none."""
    type: MetricType | None
    """None if it is not known."""
    current: float | None
    target: float | None
    unit: str
    """Of both: "ms", "per replica", "%"; "" if unknown."""
    failures: int = 0
    """How often in a row KEDA could not read it."""

    @property
    def share(self) -> float | None:
        """Of the target; None if one of both is not known, or the target is none."""
        if self.current is None or not self.target or self._adds_no_replica:
            return None
        return self.current / self.target

    @property
    def _adds_no_replica(self) -> bool:
        """Whether it is there only for the step between 0 replicas and 1."""
        return self.target == UNREACHED_TARGET

    @property
    def values_text(self) -> str:
        """ "6200 ms against 5000 ms", "2.5 against 10 per replica"."""
        current = format_amount(self.current, "" if self.unit == "per replica" else self.unit)
        if self._adds_no_replica:
            return f"{current}; above 0 it keeps one replica"
        return f"{current} against {format_amount(self.target, self.unit)}"

    @property
    def text(self) -> str:
        """ "response time 6200 ms against 5000 ms"."""
        return f"{metric_label(self.name)} {self.values_text}"


@dataclass(frozen=True, slots=True)
class ScalerCondition:
    """A condition, in the words of who wrote it."""

    source: str
    """ "HPA" or "KEDA"."""
    type: str
    status: str
    """ "True", "False" or "Unknown"."""
    reason: str
    message: str
    since: datetime | None = None

    @property
    def text(self) -> str:
        """ "ScalingActive False FailedGetExternalMetric: the HPA was unable to …"."""
        head = " ".join(filter(None, (self.type, self.status, self.reason)))
        return f"{head}: {self.message}" if self.message else head


@dataclass(frozen=True, slots=True)
class Rescale:
    """What an HPA's Event says about a change that it made."""

    replicas: int
    reason: str
    direction: str
    """ "up", "down"; "" if the reason does not tell."""


@dataclass(frozen=True, slots=True)
class ScalerState:
    """An autoscaler of a serving. Every text is sanitized and has one line."""

    kind: str
    """ "ScaledObject" or "HorizontalPodAutoscaler"."""
    name: str
    min_replicas: int | None
    max_replicas: int | None
    current: int | None
    """Replicas that it has counted; None if it has not said."""
    desired: int | None
    metrics: tuple[ScalerMetric, ...]
    conditions: tuple[ScalerCondition, ...]
    hpa_name: str = ""
    """Of the HPA that KEDA keeps, or its own."""
    last_scale: datetime | None = None
    is_paused: bool = False
    paused_replicas: int | None = None
    """At which KEDA is paused."""
    is_fallback: bool = False
    """KEDA uses the number of replicas that is set for unreadable triggers."""
    is_active: bool | None = None
    """Whether KEDA sees load; None where KEDA has not said."""
    problems: tuple[str, ...] = ()
    """Why it cannot scale, in sentences."""
    reasons: tuple[str, ...] = ()
    """Why it does not scale further although it could, in sentences."""
    last_rescale: Rescale | None = None
    """What its last Event said; None if there is none."""

    @property
    def is_stuck(self) -> bool:
        """Whether it cannot do its work."""
        return bool(self.problems)

    @property
    def range_text(self) -> str:
        """ "1–10"; "3" where both are the same."""
        low, high = (format_replicas(one) for one in (self.min_replicas, self.max_replicas))
        return low if low == high else f"{low}–{high}"

    @property
    def replicas_text(self) -> str:
        """ "3 of 1–10 replicas", "3 → 5 of 1–10 replicas", "3 of 1–10 replicas: paused at 3"."""
        count = format_replicas(self.current)
        if self.desired is not None and self.current not in (None, self.desired):
            count = f"{count} → {self.desired}"
        text = f"{count} of {self.range_text} replicas"
        if not self.is_paused:
            return text
        at = "" if self.paused_replicas is None else f" at {self.paused_replicas}"
        return f"{text}: paused{at}"

    def scaled_text(self, now: datetime) -> str:
        """ "scaled up 2m ago"; "" if it has not scaled yet."""
        if self.last_scale is None:
            return ""
        last = self.last_rescale
        direction = last.direction if last is not None and last.replicas == self.desired else ""
        age = format_signed_duration((now - self.last_scale).total_seconds())
        return f"scaled {direction} {age} ago" if direction else f"scaled {age} ago"

    def sentence(self, now: datetime) -> str:
        """ "3 of 1–10 replicas: response time 6200 ms against 5000 ms; scaled up 2m ago"."""
        text = self.replicas_text
        if self.is_paused:
            return text
        if self.metrics:
            text += ": " + ", ".join(one.text for one in self.metrics)
        scaled = self.scaled_text(now)
        return f"{text}; {scaled}" if scaled else text


def format_replicas(number: int | None) -> str:
    """A number of replicas, "–" if it is not known."""
    return "–" if number is None else str(number)
