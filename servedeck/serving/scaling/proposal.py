"""Settings of an autoscaler that an operator considers, as they are typed and as they are
replayed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from servedeck.serving.scaling.replay_settings import (
    MAX_WINDOW_SECONDS,
    PolicyType,
    ReplaySettings,
    ScalingPolicy,
)
from servedeck.serving.scaling.scaling_metrics import ScaledBy

MAX_REPLICAS = 10_000
"""Replicas that are replayed at most; a cluster has at most 5,000 nodes (https://kubernetes.io/
docs/setup/best-practices/cluster-large)."""
MAX_TARGET = 1e9
SCALE_UP_POLICIES = (ScalingPolicy(PolicyType.PODS, 2, 60.0),)
SCALE_DOWN_POLICIES = (ScalingPolicy(PolicyType.PODS, 1, 60.0),)
"""Of the ScaledObjects that servedeck writes: a model takes minutes to load, and a removed replica
as long to come back."""


class ProposalField(StrEnum):
    TARGET = "target"
    MIN_REPLICAS = "min-replicas"
    MAX_REPLICAS = "max-replicas"
    SCALE_IN_DELAY = "scale-in-delay"


_LABELS = {
    ProposalField.MIN_REPLICAS: ("Min Replicas", "Min"),
    ProposalField.MAX_REPLICAS: ("Max Replicas", "Max"),
    ProposalField.SCALE_IN_DELAY: ("Scale-in Delay (s)", "Delay s"),
}
_TARGET_LABELS = {
    ScaledBy.RESPONSE_TIME: ("Target Response Time (ms)", "Target ms"),
    ScaledBy.WAITING_REQUESTS: ("Target Waiting (per Pod)", "Target"),
}


def field_label(field: ProposalField, by: ScaledBy, *, is_short: bool = False) -> str:
    """ "Target Response Time (ms)"; with `is_short` in at most nine characters."""
    labels = _TARGET_LABELS[by] if field is ProposalField.TARGET else _LABELS[field]
    return labels[is_short]


class ProposalError(ValueError):
    """What is wrong with the texts of fields, a sentence for each."""

    def __init__(self, sentences: Mapping[ProposalField, str]) -> None:
        super().__init__(" ".join(sentences.values()))
        self.sentences = dict(sentences)


@dataclass(frozen=True, slots=True)
class ScalingProposal:
    """Times are in seconds."""

    by: ScaledBy
    target: float
    """In ms, or in requests per replica."""
    min_replicas: int = 1
    max_replicas: int = 10
    scale_in_delay: int = 60
    startup_seconds: float = 0.0
    """Until an added replica is ready; 0 where it is not known."""
    scale_up_policies: tuple[ScalingPolicy, ...] = SCALE_UP_POLICIES
    scale_down_policies: tuple[ScalingPolicy, ...] = SCALE_DOWN_POLICIES

    def settings(self) -> ReplaySettings:
        """As it is replayed. Where nothing is known the replicas stay, but with Min Replicas 0,
        where no series are no load. Raises ValueError for what no autoscaler accepts."""
        return ReplaySettings(
            self.by.metric_type,
            self.target,
            self.min_replicas,
            self.max_replicas,
            float(self.scale_in_delay),
            self.scale_up_policies,
            self.scale_down_policies,
            startup_seconds=self.startup_seconds,
            missing_is_zero=self.min_replicas == 0,
        )

    def texts(self) -> dict[ProposalField, str]:
        """What the fields show."""
        return {
            ProposalField.TARGET: f"{self.target:.12g}",
            ProposalField.MIN_REPLICAS: str(self.min_replicas),
            ProposalField.MAX_REPLICAS: str(self.max_replicas),
            ProposalField.SCALE_IN_DELAY: str(self.scale_in_delay),
        }


def parse_proposal(texts: Mapping[ProposalField, str], base: ScalingProposal) -> ScalingProposal:
    """`base` with what was typed. Raises ProposalError with a sentence for each wrong field."""
    wrong: dict[ProposalField, str] = {}
    numbers: dict[ProposalField, float] = {}
    for field in ProposalField:
        try:
            numbers[field] = _parse(field, texts[field].strip(), base.by)
        except ValueError as error:
            wrong[field] = str(error)
    low, high = (
        numbers.get(one) for one in (ProposalField.MIN_REPLICAS, ProposalField.MAX_REPLICAS)
    )
    if low is not None and high is not None and low > high:
        wrong[ProposalField.MAX_REPLICAS] = f"Enter at least {low:.0f}, which is Min Replicas."
    if wrong:
        raise ProposalError(wrong)
    return replace(
        base,
        target=numbers[ProposalField.TARGET],
        min_replicas=int(numbers[ProposalField.MIN_REPLICAS]),
        max_replicas=int(numbers[ProposalField.MAX_REPLICAS]),
        scale_in_delay=int(numbers[ProposalField.SCALE_IN_DELAY]),
    )


_LIMITS = {
    ProposalField.MIN_REPLICAS: (0, MAX_REPLICAS),
    ProposalField.MAX_REPLICAS: (1, MAX_REPLICAS),
    ProposalField.SCALE_IN_DELAY: (0, int(MAX_WINDOW_SECONDS)),
}


def _parse(field: ProposalField, text: str, by: ScaledBy) -> float:
    if field is ProposalField.TARGET:
        return _parse_target(text, by)
    low, high = _LIMITS[field]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
    if number is None or not low <= number <= high:
        raise ValueError(f"Enter a whole number from {low:,} to {high:,}.")
    return number


def _parse_target(text: str, by: ScaledBy) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.001 <= number <= MAX_TARGET:
        if by is ScaledBy.RESPONSE_TIME:
            raise ValueError("Enter milliseconds, such as 5000.")
        raise ValueError("Enter a number, such as 10.")
    return number
