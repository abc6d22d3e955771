"""Whether a serving meets its objectives, and since when it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.period import PERIODS, TimeGrid
from servedeck.metrics.units import Unit, format_value
from servedeck.serving.duration import format_duration
from servedeck.serving.objectives import OBJECTIVE_LABELS, ObjectiveKind

RISK_SHARE = 0.9
"""Of a target, above which it is at risk."""
GRAPHS: Mapping[ObjectiveKind, GraphKey] = {
    ObjectiveKind.P95: GraphKey.LATENCY,
    ObjectiveKind.TTFT: GraphKey.TTFT,
}
"""The graph whose line "P95" an objective limits. That of errors shows other values than a share:
see `error_budget.read_error_shares`."""


class ObjectiveState(StrEnum):
    MET = "met"
    AT_RISK = "at risk"
    """Met, but close to the target, or the budget is burnt: amber."""
    MISSED = "missed"
    """Red."""
    UNKNOWN = "unknown"
    """There is no value at present."""


@dataclass(frozen=True, slots=True)
class ObjectiveStatus:
    """One objective at a moment. Values are in seconds, or shares of errors."""

    kind: ObjectiveKind
    target: float
    value: float | None
    """Now."""
    state: ObjectiveState
    time: float
    """Of the end of the period, in seconds since the epoch."""
    seconds: float
    """Of the period."""
    since: float | None = None
    """The first point of the present run of misses, in seconds since the epoch; None if the
    objective is not missed, or only since the last point."""
    may_be_older: bool = False
    """Whether the run begins where the period does, so that it may have begun before."""
    budget_burnt: float | None = None
    """Of the budget of the period, 1.0 for all of it and more if it is overdrawn; None if that is
    not known."""

    @property
    def label(self) -> str:
        """ "P95"."""
        return OBJECTIVE_LABELS[self.kind]

    @property
    def since_text(self) -> str:
        """ "since 14:02 (12m)", "since 14:02 or before (60m)"; "" if it is not missed."""
        if self.since is None:
            return ""
        before = " or before" if self.may_be_older else ""
        ago = format_duration(max(self.time - self.since, 0.0))
        return f"since {_clock(self.since)}{before} ({ago})"

    @property
    def budget_text(self) -> str:
        """ "140 % of the budget of 1h is burnt"; "" if it is not known."""
        if self.budget_burnt is None:
            return ""
        share = format_value(self.budget_burnt, Unit.PERCENT)
        return f"{share} of the budget of {self._period} is burnt"

    @property
    def sentence(self) -> str:
        """All of it: "P95 2.31 s is above its objective of 2 s since 14:02 (12m); 140 % of the
        budget of 1h is burnt"."""
        target = format_objective_value(self.kind, self.target)
        if self.value is None:
            text = f"{self.label} is not known at present; its objective is {target}"
            return f"{text}; {self.budget_text}" if self.budget_text else text
        value = format_objective_value(self.kind, self.value)
        shown, target = f"{self.label} {value}", f"objective of {target}"
        if self.state is ObjectiveState.MISSED:
            above = "slightly above" if target.endswith(f" {value}") else "above"
            text = " ".join(filter(None, (f"{shown} is {above} its {target}", self.since_text)))
        elif self.state is ObjectiveState.AT_RISK and self.value > RISK_SHARE * self.target:
            text = f"{shown} is close to its {target}"
        else:
            text = f"{shown} is within its {target}"
            if self.state is ObjectiveState.AT_RISK:
                return f"{text}, but {self.budget_text}"
        return f"{text}; {self.budget_text}" if self.budget_text else text

    @property
    def short_sentence(self) -> str:
        """The same for a narrow screen: "P95 2.31 s > 2 s since 14:02 (12m); budget of 1h 140 %
        burnt"."""
        target = format_objective_value(self.kind, self.target)
        if self.value is None:
            text = f"{self.label} not known; objective {target}"
        else:
            value = format_objective_value(self.kind, self.value)
            if self.state is ObjectiveState.MISSED:
                text = " ".join(filter(None, (f"{self.label} {value} > {target}", self.since_text)))
            else:
                close = self.value > RISK_SHARE * self.target
                sign = "close to" if close else "within"
                text = f"{self.label} {value} {sign} {target}"
        if self.budget_burnt is None:
            return text
        share = format_value(self.budget_burnt, Unit.PERCENT)
        return f"{text}; budget of {self._period} {share} burnt"

    @property
    def _period(self) -> str:
        known = (one.name for one in PERIODS if abs(one.seconds - self.seconds) < 1.0)
        return next(known, format_duration(self.seconds))


def evaluate_objective(
    kind: ObjectiveKind,
    target: float,
    value: float | None,
    line_values: Sequence[float | None],
    grid: TimeGrid,
    budget_burnt: float | None,
    seconds: float | None = None,
) -> ObjectiveStatus:
    """The status of an objective with the present value and the values of the graph's line, one for
    each time of the grid. `seconds` are those that the budget is of, if not those of the grid.

    It is missed only if the present value is above the target. The run of misses is that of the
    line's points up to the last one: a gap does not end it, and it does not begin in one."""
    seconds = grid.seconds if seconds is None else seconds
    status = ObjectiveStatus(
        kind, target, value, ObjectiveState.UNKNOWN, grid.end, seconds, budget_burnt=budget_burnt
    )
    if value is None or not math.isfinite(value):
        return replace(status, value=None)
    if value > target:
        first = _first_of_run(line_values, target)
        return replace(
            status,
            state=ObjectiveState.MISSED,
            since=None if first is None else grid.start + first * grid.step,
            may_be_older=first == 0,
        )
    is_burnt = budget_burnt is not None and budget_burnt >= 1.0
    is_at_risk = is_burnt or value > RISK_SHARE * target
    return replace(status, state=ObjectiveState.AT_RISK if is_at_risk else ObjectiveState.MET)


def _first_of_run(values: Sequence[float | None], target: float) -> int | None:
    """The first of the last points that are above the target; None if the last one is not."""
    first: int | None = None
    for index in range(len(values) - 1, -1, -1):
        value = values[index]
        if value is None or value != value:
            continue
        if value <= target:
            break
        first = index
    return first


def format_objective_value(kind: ObjectiveKind, value: float) -> str:
    """ "2.31 s", "480 ms", "1m30s", "1.2 %": as the cards and the graphs write it."""
    return format_value(value, Unit.PERCENT if kind is ObjectiveKind.ERRORS else Unit.SECONDS)


def _clock(time: float) -> str:
    """The local time, "14:02"."""
    try:
        return f"{datetime.fromtimestamp(time).astimezone():%H:%M}"
    except (OverflowError, OSError, ValueError):
        return "??:??"
