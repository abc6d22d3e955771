"""The fields of auto scaling: their values, defaults, and rules.

Defaults are those of the console: 1 to 10 replicas, 60 s, a P95 of 5 s.
"""

from __future__ import annotations

from collections.abc import Iterable

from servedeck.serving.spec.fields import parse_text
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.templates.base import SpecLike

OFF = "off"
RESPONSE_TIME = "response-time"
"""P95 of the response time, of all replicas together."""
WAITING_REQUESTS = "waiting-requests"
"""Requests that wait in the server, per replica."""
CUSTOM = "custom"
"""A ScaledObject with triggers of others only: read, never chosen."""
HPA = "hpa"
"""A HorizontalPodAutoscaler without KEDA: read, never chosen."""

TRIGGERS = (RESPONSE_TIME, WAITING_REQUESTS)
CHOICES = (OFF, *TRIGGERS)

UNREACHED_TARGET = 1_000_000
"""Target of a trigger that adds no replica, and keeps one while its value is above 0."""
DEFAULT_MIN_REPLICAS = 1
DEFAULT_MAX_REPLICAS = 10
DEFAULT_SCALE_IN_DELAY = 60
DEFAULT_TARGET_RESPONSE_TIME = 5000
DEFAULT_TARGET_WAITING = 2
"""Few: a server that batches starts a request at once, so that waiting ones mean it is full."""

FIELDS_WHILE_ON = {
    "min_replicas": DEFAULT_MIN_REPLICAS,
    "max_replicas": DEFAULT_MAX_REPLICAS,
    "scale_in_delay": DEFAULT_SCALE_IN_DELAY,
}
"""With their defaults."""
TARGET_FIELDS = {
    RESPONSE_TIME: ("target_response_time", DEFAULT_TARGET_RESPONSE_TIME),
    WAITING_REQUESTS: ("target_waiting", DEFAULT_TARGET_WAITING),
}
"""The field of each trigger's target, with its default."""
SCALING_FIELDS = ("auto_scaling", *FIELDS_WHILE_ON, *(name for name, _ in TARGET_FIELDS.values()))

MAX_SCALE_IN_DELAY = 3600
"""Limit of stabilizationWindowSeconds (kubernetes pkg/apis/autoscaling/validation)."""
_MAX_INT32 = 2**31 - 1


def parse_auto_scaling(raw: object) -> str:
    """One of the values above; "" is "off", and so is YAML's false. Raises ValueError with one
    sentence."""
    if raw is False:
        return OFF
    text = parse_text(raw).strip().lower() if raw is not True else "on"
    if not text:
        return OFF
    if text in (*CHOICES, CUSTOM, HPA):
        return text
    raise ValueError(
        f"{text[:40]!r} is no auto scaling; choose {OFF}, {RESPONSE_TIME} or {WAITING_REQUESTS}."
    )


def field_default(name: str, auto_scaling: str) -> int | None:
    """What a field of the scaler is where no value is given; None while it does not apply."""
    if auto_scaling == OFF:
        return None
    if name in FIELDS_WHILE_ON:
        return FIELDS_WHILE_ON[name]
    field, default = TARGET_FIELDS.get(auto_scaling, ("", 0))
    return default if name == field else None


def applies(name: str, auto_scaling: str) -> bool:
    """Whether a field of the scaler has a meaning with this kind of auto scaling."""
    return field_default(name, auto_scaling) is not None


def validate_new(spec: SpecLike) -> Iterable[Issue]:
    """What a new serving cannot have, because only its objects say it."""
    if spec.auto_scaling in (CUSTOM, HPA):
        yield error(
            "auto_scaling",
            f"A new serving cannot have the auto scaling {spec.auto_scaling!r}, whose metrics "
            f"servedeck does not know; choose {OFF}, {RESPONSE_TIME} or {WAITING_REQUESTS}.",
        )


def validate_min_replicas(spec: SpecLike) -> Iterable[Issue]:
    least = spec.min_replicas
    if least is None:
        return
    if not 0 <= least <= _MAX_INT32:
        yield error("min_replicas", "Min Replicas must be 0 or more; enter a value such as 1.")
    elif least == 0 and spec.auto_scaling == HPA:
        yield error(
            "min_replicas",
            "A HorizontalPodAutoscaler cannot scale to 0; enter 1 or more, or use KEDA.",
        )
    elif spec.max_replicas is not None and 1 <= spec.max_replicas < least:
        yield error(
            "min_replicas",
            f"Min Replicas ({least}) is more than Max Replicas ({spec.max_replicas}); lower it, or "
            "raise Max Replicas.",
        )


def validate_max_replicas(spec: SpecLike) -> Iterable[Issue]:
    most = spec.max_replicas
    if most is not None and not 1 <= most <= _MAX_INT32:
        yield error("max_replicas", "Max Replicas must be 1 or more; enter a value such as 10.")


def validate_scale_in_delay(spec: SpecLike) -> Iterable[Issue]:
    delay = spec.scale_in_delay
    if delay is None:
        return
    if not 0 <= delay <= MAX_SCALE_IN_DELAY:
        yield error(
            "scale_in_delay",
            f"Scale-in Delay must be from 0 to {MAX_SCALE_IN_DELAY} seconds; enter a value such as "
            f"{DEFAULT_SCALE_IN_DELAY}.",
        )
    elif delay == 0:
        yield warning(
            "scale_in_delay",
            "Without a delay, replicas are removed at every short dip of the load; enter "
            f"{DEFAULT_SCALE_IN_DELAY} or more.",
        )


def validate_target_response_time(spec: SpecLike) -> Iterable[Issue]:
    target = spec.target_response_time
    if target is not None and not 1 <= target <= 3_600_000:
        yield error(
            "target_response_time",
            "Target Response Time must be from 1 to 3,600,000 ms; enter a value such as "
            f"{DEFAULT_TARGET_RESPONSE_TIME}.",
        )


def validate_target_waiting(spec: SpecLike) -> Iterable[Issue]:
    target = spec.target_waiting
    if target is not None and not 1 <= target <= 100_000:
        yield error(
            "target_waiting",
            "Target Waiting Requests must be from 1 to 100,000; enter a value such as "
            f"{DEFAULT_TARGET_WAITING}.",
        )
