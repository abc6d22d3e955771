"""The temperature policy of a serving: its annotation, and which Pods it takes out of traffic.

A Pod takes part if its template has the readiness gate TEMPERATURE_GATE: the kubelet counts it as
Ready only while its condition of that type is True, and the controller sets it (kubernetes
documentation, Pod readiness). The policy is an annotation of the Deployment and not of its Pod
template, so that a change of it restarts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from servedeck.serving.text import one_line, sanitize, truncate

TEMPERATURE_ANNOTATION = "servedeck.dev/temperature-policy"
"""Of a Deployment: "threshold=85,recovery=75,seconds=60"."""
TEMPERATURE_GATE = "servedeck.dev/temperature"
"""conditionType of the readiness gate, and type of the condition."""

DEFAULT_THRESHOLD = 85
DEFAULT_RECOVERY = 75
DEFAULT_SECONDS = 60
THRESHOLD_RANGE = (1, 150)
"""°C: accelerators shut themselves down long before the upper bound."""
SECONDS_RANGE = (0, 86_400)

_OFF = ("", "off")
_MAX_LENGTH = 200
"""Characters of an annotation that are read."""


class TemperaturePolicyError(ValueError):
    """A policy that cannot be used; str() is one sentence, sanitized."""


@dataclass(frozen=True, slots=True)
class TemperaturePolicy:
    """When Pods are taken out of traffic, and when they return. Raises TemperaturePolicyError for
    values that contradict each other or are out of range."""

    threshold: int = DEFAULT_THRESHOLD
    """°C of the hottest accelerator of a Pod from which on it is taken out of traffic."""
    recovery: int = DEFAULT_RECOVERY
    """°C at which it returns, or below; less than the threshold."""
    seconds: int = DEFAULT_SECONDS
    """The shortest time out of traffic."""

    def __post_init__(self) -> None:
        low, high = THRESHOLD_RANGE
        if not low <= self.threshold <= high:
            raise TemperaturePolicyError(f"threshold must be from {low} to {high} °C.")
        if not 0 <= self.recovery < self.threshold:
            raise TemperaturePolicyError(
                f"recovery must be from 0 °C to less than the threshold, {self.threshold} °C."
            )
        shortest, longest = SECONDS_RANGE
        if not shortest <= self.seconds <= longest:
            raise TemperaturePolicyError(f"seconds must be from {shortest} to {longest}.")


def parse_policy(text: str) -> TemperaturePolicy | None:
    """The policy of an annotation, where values that it does not have are the defaults; None if it
    is "off" or empty. Raises TemperaturePolicyError."""
    if text.strip().lower() in _OFF:
        return None
    if len(text) > _MAX_LENGTH:
        raise TemperaturePolicyError(
            f"The temperature policy has more than {_MAX_LENGTH} characters; {_HOW}."
        )
    values: dict[str, int] = {}
    for entry in text.split(","):
        name, _, value = (part.strip() for part in entry.partition("="))
        if name not in _NAMES:
            raise TemperaturePolicyError(f"{_quote(entry)} is no temperature policy; {_HOW}.")
        if name in values:
            raise TemperaturePolicyError(f"The temperature policy has {name} twice; remove one.")
        if not (value.isascii() and value.isdigit() and len(value) <= 9):
            raise TemperaturePolicyError(f"{name} must be a whole number, not {_quote(value)}.")
        values[name] = int(value)
    return TemperaturePolicy(**values)


def format_policy(policy: TemperaturePolicy) -> str:
    """The annotation of a policy, as `parse_policy` reads it."""
    return ",".join(f"{name}={getattr(policy, name)}" for name in _NAMES)


_NAMES = ("threshold", "recovery", "seconds")
_HOW = f"write {format_policy(TemperaturePolicy())}"


def _quote(text: str) -> str:
    return repr(truncate(one_line(sanitize(text.strip())), 40))


# -- the condition of a Pod ---------------------------------------------------------------------


class GateReason(StrEnum):
    """Reason of the condition of a Pod."""

    HOT = "Hot"
    """Out of traffic; with all other reasons the condition is True."""
    NORMAL = "Normal"
    UNKNOWN = "Unknown"
    """No temperature is known: the Pod stays in traffic, or returns."""
    LAST_READY_POD = "LastReadyPod"
    """It would be out of traffic, but no other Pod of the Deployment is ready."""
    OFF = "Off"
    """There is no policy for this Pod."""


class GateState(NamedTuple):
    """The condition as it is."""

    passes: bool
    """Whether its status is True."""
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    """When the status changed last."""


KEPT_SUFFIX = ", last ready"
_TEMPERATURE_PATTERN = re.compile(r"\d{1,4}(\.\d)? °C", re.ASCII)


def heat_text(reason: str, message: str) -> str:
    """Of a condition, "hot 91 °C" for a Pod that is out of traffic, "hot 91 °C, last ready" for one
    that is kept in it; "" for another one."""
    if reason not in (GateReason.HOT, GateReason.LAST_READY_POD):
        return ""
    found = _TEMPERATURE_PATTERN.match(message)
    kept = KEPT_SUFFIX if reason == GateReason.LAST_READY_POD else ""
    return f"hot {found[0]}{kept}" if found else f"hot{kept}"


class Decision(NamedTuple):
    """The condition as it is to be."""

    reason: GateReason
    message: str

    @property
    def passes(self) -> bool:
        """Whether the status of the condition is True."""
        return self.reason is not GateReason.HOT

    def is_told_by(self, state: GateState | None) -> bool:
        """Whether the condition says that already. A temperature that only rises or falls is no
        reason to write it again: each write is sent to all who watch Pods."""
        return (
            state is not None
            and (state.passes, state.reason) == (self.passes, self.reason)
            and _limit_of(state.message) == _limit_of(self.message)
        )


class PolicyPod(NamedTuple):
    """What the decision needs to know of a Pod of a Deployment that is not terminating."""

    uid: str
    has_gate: bool
    is_ready: bool
    """Whether it gets requests now: it is Ready, and its gate is not closed already."""
    could_be_ready: bool
    """Whether it is Ready but for the condition of this gate."""
    temperature: float | None = None
    """°C of its hottest accelerator; None if unknown."""
    state: GateState | None = None
    """None before the first decision."""


def decide(
    policy: TemperaturePolicy, pods: Sequence[PolicyPod], now: datetime
) -> Mapping[str, Decision]:
    """What the conditions of the Pods of one Deployment that have the gate are to be, by uid.

    A Pod is out of traffic from the threshold on, until it has cooled down to the recovery
    temperature and was out for the shortest time. One that gets requests, or could, stays all the
    same if no other Pod does: of several the coolest one, but one that gets them now rather than
    one that would have to become Ready first.
    """
    decisions = {one.uid: _by_temperature(policy, one, now) for one in pods if one.has_gate}
    hot = [one for one in pods if one.uid in decisions and not decisions[one.uid].passes]
    staying = [one for one in pods if one not in hot]
    if any(one.is_ready for one in staying):
        return decisions
    kept = _coolest(one for one in hot if one.is_ready)
    if kept is None and not any(one.could_be_ready for one in staying):
        kept = _coolest(one for one in hot if one.could_be_ready)
    if kept is not None:
        why = decisions[kept.uid].message.partition(_RETURN)[0]
        decisions[kept.uid] = Decision(
            GateReason.LAST_READY_POD, f"{why}, but no other Pod is ready"
        )
    return decisions


_RETURN = "; it gets requests again at "


def decide_off(pods: Iterable[PolicyPod], message: str) -> Mapping[str, Decision]:
    """The same for Pods without a policy: a gate whose condition is missing would keep them out of
    traffic for ever. `message` says why there is none."""
    return {one.uid: Decision(GateReason.OFF, message) for one in pods if one.has_gate}


def format_temperature(celsius: float) -> str:
    """ "91 °C", with a decimal place where there is one."""
    return f"{round(celsius, 1):g} °C"


def _by_temperature(policy: TemperaturePolicy, pod: PolicyPod, now: datetime) -> Decision:
    """What would be decided for the Pod alone."""
    if pod.temperature is None:
        return Decision(GateReason.UNKNOWN, "no temperature of its accelerators is known")
    text = format_temperature(pod.temperature)
    limit = format_temperature(policy.threshold)
    returns = f"{_RETURN}{format_temperature(policy.recovery)}"
    if pod.temperature >= policy.threshold:
        above = "above" if text != limit else "not below"
        return Decision(GateReason.HOT, f"{text}, {above} {limit}{returns}")
    if pod.state is not None and not pod.state.passes:
        if pod.temperature > policy.recovery:
            return Decision(GateReason.HOT, f"{text}, below {limit}{returns}")
        if not _has_passed(policy.seconds, pod.state.since, now):
            return Decision(
                GateReason.HOT, f"{text}, out of traffic for at least {policy.seconds} s"
            )
    return Decision(GateReason.NORMAL, f"{text}, below {limit}")


def _has_passed(seconds: int, since: datetime | None, now: datetime) -> bool:
    """Whether so much time has passed. A time that is unknown or far in the future, as after a
    clock was set back, holds nothing up."""
    return since is None or not -seconds < (now - since).total_seconds() < seconds


def _coolest(pods: Iterable[PolicyPod]) -> PolicyPod | None:
    return min(pods, key=lambda one: (one.temperature or 0.0, one.uid), default=None)


def _limit_of(message: str) -> str:
    """A message without the temperature that it begins with."""
    return message.partition(" °C, ")[2] or message
