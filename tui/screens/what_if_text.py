"""Sentences about replays of auto scaling."""

from __future__ import annotations

from servedeck.metrics.scaling_history import ScalingHistory
from servedeck.metrics.units import Unit, format_value
from servedeck.serving.duration import format_duration
from servedeck.serving.scaling.proposal import ScalingProposal
from servedeck.serving.scaling.replay import Replay
from servedeck.serving.scaling.replay_settings import Assumption, finite
from servedeck.serving.scaling.scaling_metrics import ScaledBy, format_amount
from servedeck.serving.text import format_count


def replay_text(replayed: Replay) -> str:
    """ "mean 2.9, most 7 replicas, 69.5 replica-hours in 24h; scaled 56 times; 12m at Max Replicas;
    3 % of the time above the target"."""
    parts = [
        f"mean {format_amount(replayed.mean)}, most {format_count(replayed.highest, 'replica')}, "
        f"{format_amount(replayed.replica_hours)} replica-hours in "
        f"{format_duration(replayed.seconds)}",
        f"scaled {format_count(replayed.scalings, 'time')}",
    ]
    if replayed.seconds_at_max:
        parts.append(f"{format_duration(replayed.seconds_at_max)} at Max Replicas")
    share = replayed.seconds_above_target / replayed.seconds if replayed.seconds else 0.0
    parts.append(_above_text(share))
    return "; ".join(parts)


def recorded_text(history: ScalingHistory, proposal: ScalingProposal) -> str:
    """The same of what was recorded; "" if nothing of it is known."""
    parts: list[str] = []
    counts = [one for one in map(finite, history.replicas) if one is not None]
    if counts:
        mean = sum(counts) / len(counts)
        hours = mean * history.grid.seconds / 3600.0
        noun = "scraped Pod" if history.is_counted_by_scrapes else "replica"
        parts.append(
            f"mean {format_amount(mean)}, most {format_count(round(max(counts)), noun)}, "
            f"{format_amount(hours)} replica-hours"
        )
    share = history.record().share_above(proposal.target, proposal.by.metric_type)
    if share is not None:
        parts.append(_above_text(share))
    return "; ".join(parts)


def _above_text(share: float) -> str:
    return f"{format_value(share, Unit.PERCENT)} of the time above the target"


def warning_text(proposal: ScalingProposal) -> str:
    """What the replay does not show, one sentence; "" for nothing."""
    if proposal.min_replicas == 0 and proposal.by is ScaledBy.RESPONSE_TIME:
        return (
            "With 0 replicas there are no response times, so this metric alone never scales up "
            "again; the replay takes those that were recorded."
        )
    return ""


def assumption_text(
    proposal: ScalingProposal, assumption: Assumption, history: ScalingHistory
) -> str:
    """What the replay takes for granted, one sentence."""
    ready = "at once"
    if proposal.startup_seconds:
        ready = f"in {format_duration(proposal.startup_seconds)}, the longest start"
    text = _metric_assumption_text(proposal.by, assumption, history)
    return f"Assumes that {text}; added replicas are ready {ready}."


def _metric_assumption_text(by: ScaledBy, assumption: Assumption, history: ScalingHistory) -> str:
    if by is ScaledBy.WAITING_REQUESTS:
        return "as many requests would have waited in total with any number of replicas"
    if assumption is Assumption.LOAD_PER_REPLICA:
        return "the response time follows the load of each replica: twice the replicas, half of it"
    text = "the response time would have been the same with any number of replicas"
    return text + (", as that of the time is not known" if not history.replicas else "")
