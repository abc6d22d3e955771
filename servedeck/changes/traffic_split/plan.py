"""What a change of a traffic split would do now, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from servedeck.changes.object_writes import ObjectWrite
from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split.state import OtherSide, TrafficState
from servedeck.cluster.apply import Preview
from servedeck.serving.objects.field_changes import FieldChange
from servedeck.serving.objects.traffic_split import TOTAL_WEIGHT
from servedeck.serving.spec.mapping.json_values import JsonObject


class TrafficAction(StrEnum):
    """The value is the word of the command."""

    SPLIT = "split"
    """Send a percentage of the requests to the other serving."""
    PROMOTE = "promote"
    """Send all requests to the other serving; the first one stays in the routes with weight 0."""
    ABORT = "abort"
    """Send all requests to the first serving, and take the other one out of the routes."""


@dataclass(frozen=True, slots=True)
class TrafficOptions:
    """What somebody wants of the requests of an endpoint."""

    action: TrafficAction
    namespace: str
    serving: str
    """Whose endpoint it is."""
    other: str = ""
    """Of SPLIT: the serving or Service that gets a share; "" for the one that has one."""
    weight: int | None = None
    """Of SPLIT: percent of the requests for the other, 0 to 100; 1 or more for a new one."""
    force: bool = False
    """Overwrite fields that other managers have set."""
    shown: OtherSide | None = None
    """Which other the operator saw a share of; the plan is blocked if it is another one then. None
    if nobody saw one."""

    @property
    def target(self) -> str:
        """ "chat/llama"."""
        return f"{self.namespace}/{self.serving}"

    @property
    def wanted_weight(self) -> int:
        """Percent of the requests that the other gets then."""
        if self.action is TrafficAction.PROMOTE:
            return TOTAL_WEIGHT
        return 0 if self.action is TrafficAction.ABORT else self.weight or 0


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A route, and what is sent so that it is as it is wanted."""

    write: ObjectWrite
    wanted: JsonObject
    admitted: JsonObject | None = None
    """As the dry run would store it."""

    @property
    def outcomes(self) -> tuple[JsonObject, ...]:
        """What the route may be after the write."""
        return (self.wanted,) if self.admitted is None else (self.wanted, self.admitted)


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """All sentences are sanitized."""

    options: TrafficOptions
    state: TrafficState
    blocked: str = ""
    """Why it is not possible, one sentence; nothing is sent then."""
    unchanged: str = ""
    """Why there is nothing to do, one sentence."""
    changes: tuple[RouteChange, ...] = ()
    rejections: tuple[Preview, ...] = ()
    """Writes that the API server, or a conflict with another manager, does not allow."""
    effects: tuple[str, ...] = ()
    """What happens, in sentences."""
    warnings: tuple[str, ...] = ()
    differences: tuple[FieldChange, ...] = ()
    """Shares that change, by rule: "llama 100 %" to "llama 90 %, llama-2 10 %"."""

    @property
    def is_possible(self) -> bool:
        return not (self.blocked or self.unchanged)

    @property
    def other_name(self) -> str:
        """Of the other serving, sanitized; "" if there is none."""
        return self.state.other.label if self.state.other is not None else ""


@dataclass(frozen=True, slots=True)
class TrafficResult:
    options: TrafficOptions
    outcome: Outcome
    message: str
    """What happened, in sentences."""


def weight_problem(weight: int | None) -> str:
    """Why a weight cannot be one, one sentence; "" if it can."""
    if weight is None:
        return f"Say how many percent of the requests the other serving gets, 0 to {TOTAL_WEIGHT}."
    if not 0 <= weight <= TOTAL_WEIGHT:
        return f"The weight is a percentage from 0 to {TOTAL_WEIGHT}, not {weight:,}."
    return ""


def first_weight_problem(weight: int | None, other: str) -> str:
    """The same for a serving that gets no share yet: with 0 it would be in the route for
    nothing."""
    if weight == 0:
        return f"Start with 1 percent or more: with 0, {other} would get no request."
    return ""
