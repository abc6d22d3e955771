"""From the settings of a serving to the replay of others, and from there into the form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from servedeck.serving.scaling.proposal import ScalingProposal
from servedeck.serving.scaling.scaling_metrics import ScaledBy
from servedeck.serving.spec.scaling import (
    DEFAULT_MAX_REPLICAS,
    DEFAULT_MIN_REPLICAS,
    DEFAULT_SCALE_IN_DELAY,
    OFF,
    TARGET_FIELDS,
    TRIGGERS,
)
from servedeck.serving.spec.spec import ServingSpec


def scaled_by(spec: ServingSpec) -> ScaledBy | None:
    """What a serving is scaled by; None if auto scaling is off, or is somebody else's."""
    return ScaledBy(spec.auto_scaling) if spec.auto_scaling in TRIGGERS else None


def make_proposal(spec: ServingSpec) -> ScalingProposal:
    """The settings that a serving has, or would have if auto scaling were turned on."""
    by = scaled_by(spec) or ScaledBy.RESPONSE_TIME
    name, default = TARGET_FIELDS[by.value]
    target = getattr(spec, name)
    return ScalingProposal(
        by,
        float(default if target is None else target),
        _or(spec.min_replicas, DEFAULT_MIN_REPLICAS),
        _or(spec.max_replicas, DEFAULT_MAX_REPLICAS),
        _or(spec.scale_in_delay, DEFAULT_SCALE_IN_DELAY),
    )


def with_known_starts(proposal: ScalingProposal, starts: Sequence[int]) -> ScalingProposal:
    """The proposal with added replicas that start as long as the longest of `starts`, in seconds;
    as it is without any."""
    return replace(proposal, startup_seconds=float(max(starts))) if starts else proposal


def replay_disabled_reason(spec: ServingSpec) -> str:
    """Why other settings cannot be replayed; "" if they can."""
    if spec.auto_scaling == OFF or scaled_by(spec) is not None:
        return ""
    return (
        "Only auto scaling by response-time or waiting-requests can be replayed, not by the "
        "metrics of this autoscaler."
    )


def proposal_texts(proposal: ScalingProposal) -> Mapping[str, str]:
    """What is typed into the form for a proposal, by the path of the field."""
    return {
        "auto_scaling": proposal.by.value,
        "min_replicas": str(proposal.min_replicas),
        "max_replicas": str(proposal.max_replicas),
        "scale_in_delay": str(proposal.scale_in_delay),
        TARGET_FIELDS[proposal.by.value][0]: f"{proposal.target:.12g}",
    }


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
