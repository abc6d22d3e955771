"""An autoscaler whose decisions are computed, and the metric that it decides by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from servedeck.serving.scaling.scaling_metrics import SYNC_SECONDS, TOLERANCE, MetricType

MAX_WINDOW_SECONDS = 3600.0
"""The longest stabilization window that the API accepts (kubernetes pkg/apis/autoscaling/
validation)."""
_LEAST_TARGET = 0.001
"""The controller computes in thousandths."""


class PolicyType(StrEnum):
    PODS = "Pods"
    PERCENT = "Percent"


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """How many replicas may be added or removed within a time."""

    type: PolicyType
    value: int
    """Pods, or percent of the replicas at the begin of the period."""
    period_seconds: float


HPA_SCALE_UP = (
    ScalingPolicy(PolicyType.PODS, 4, 15.0),
    ScalingPolicy(PolicyType.PERCENT, 100, 15.0),
)
HPA_SCALE_DOWN = (ScalingPolicy(PolicyType.PERCENT, 100, 15.0),)
"""What an HPA has that names no policies; of several, the one that allows the most counts."""


class Assumption(StrEnum):
    """How the metric would have been with another number of replicas, which nobody knows."""

    UNCHANGED = "unchanged"
    """As it was: of a target of the type AverageValue the total, which is divided by the replicas
    of the replay."""
    LOAD_PER_REPLICA = "load-per-replica"
    """In proportion to the load of a replica: with twice the replicas half of it. This is what the
    HPA's own formula assumes."""


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """An autoscaler. Times are in seconds. Raises ValueError, with a sentence for the user, for
    what no autoscaler accepts."""

    metric_type: MetricType
    target: float
    """In the unit of the metric."""
    min_replicas: int
    """0 scales to zero after `scale_in_delay` without a value above 0, from whatever number."""
    max_replicas: int
    scale_in_delay: float = 60.0
    """The stabilization window of scaling down, and the time without load before zero replicas."""
    scale_up_policies: tuple[ScalingPolicy, ...] = HPA_SCALE_UP
    scale_down_policies: tuple[ScalingPolicy, ...] = HPA_SCALE_DOWN
    """() for no limit."""
    scale_up_window: float = 0.0
    tolerance: float = TOLERANCE
    startup_seconds: float = 0.0
    """Until an added replica is ready: only ready ones count in the formula for the type Value."""
    missing_is_zero: bool = True
    """Whether no data means no load, as in a query that ends in "or vector(0)" and in KEDA's
    ignoreNullValues. False: nothing is scaled then."""
    sync_seconds: float = SYNC_SECONDS

    def __post_init__(self) -> None:
        if self.metric_type is MetricType.UTILIZATION:
            raise ValueError("A target in percent of the requests cannot be replayed.")
        if not (math.isfinite(self.target) and self.target >= _LEAST_TARGET):
            raise ValueError("The target must be at least 0.001.")
        if self.min_replicas < 0:
            raise ValueError("Min Replicas must be 0 or more.")
        if self.max_replicas < max(self.min_replicas, 1):
            raise ValueError(
                f"Max Replicas must be at least {max(self.min_replicas, 1)}: not less than Min "
                "Replicas."
            )
        if not 0 <= self.scale_in_delay <= MAX_WINDOW_SECONDS:
            raise ValueError("The Scale-in Delay must be from 0 to 3600 s.")
        if self.sync_seconds <= 0:
            raise ValueError("The time between two decisions must be more than 0 s.")


@dataclass(frozen=True, slots=True)
class RecordedMetric:
    """A metric as it was."""

    times: Sequence[float]
    """In seconds since the epoch, ascending. A value holds until the next one."""
    values: Sequence[float | None]
    """One for each time; None, not a number and infinity are no data."""
    replicas: Sequence[float | None] = ()
    """Replicas that were ready at these times; () if that is not known. Of a time without it, the
    last one before counts."""

    def __post_init__(self) -> None:
        """Raises ValueError for lists of different lengths."""
        if len(self.values) != len(self.times) or len(self.replicas) not in (0, len(self.times)):
            raise ValueError("A value is needed for each time.")

    def share_above(self, target: float, metric_type: MetricType) -> float | None:
        """Of the values, those above a target; of the type AverageValue divided by the replicas.
        None where there are none, or their replicas are not known."""
        compared = [one for one in self._compared(metric_type) if one is not None]
        return sum(1 for one in compared if one > target) / len(compared) if compared else None

    def _compared(self, metric_type: MetricType) -> Sequence[float | None]:
        if metric_type is not MetricType.AVERAGE_VALUE:
            return [finite(one) for one in self.values]
        return [
            _divided(finite(value), finite(count))
            for value, count in zip(self.values, self.replicas, strict=False)
        ]


def _divided(value: float | None, replicas: float | None) -> float | None:
    return None if value is None or replicas is None else value / max(replicas, 1.0)


def finite(value: float | None) -> float | None:
    """The value; None if it is none, not a number or infinite."""
    return value if value is not None and math.isfinite(value) else None
