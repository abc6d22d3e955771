"""The fields of the temperature policy: their values and rules."""

from __future__ import annotations

from collections.abc import Iterable

from servedeck.serving.spec.fields import parse_bool, parse_text
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.temperature import (
    DEFAULT_RECOVERY,
    DEFAULT_SECONDS,
    DEFAULT_THRESHOLD,
    SECONDS_RANGE,
    THRESHOLD_RANGE,
)

OFF = "off"
ON = "on"
CHOICES = (OFF, ON)

DEFAULTS = {
    "temperature_threshold": DEFAULT_THRESHOLD,
    "temperature_recovery": DEFAULT_RECOVERY,
    "temperature_seconds": DEFAULT_SECONDS,
}
"""Of the fields that apply while it is on."""
TEMPERATURE_FIELDS = ("temperature_policy", *DEFAULTS)

_LOW_THRESHOLD = 50
"""°C that accelerators have without any load in a warm room."""


def parse_temperature_policy(raw: object) -> str:
    """ "on" or "off"; "" is "off". Raises ValueError with one sentence."""
    if raw is None:
        return OFF
    try:
        return ON if parse_bool(raw) else OFF
    except ValueError:
        text = parse_text(raw)[:40]
        raise ValueError(f"{text!r} is neither on nor off; enter one of them.") from None


def validate_threshold(spec: SpecLike) -> Iterable[Issue]:
    threshold = spec.temperature_threshold
    if threshold is None:
        return
    low, high = THRESHOLD_RANGE
    if not low <= threshold <= high:
        yield error(
            "temperature_threshold",
            f"The threshold must be from {low} to {high} °C; enter a value such as "
            f"{DEFAULT_THRESHOLD}.",
        )
    elif threshold < _LOW_THRESHOLD:
        yield warning(
            "temperature_threshold",
            f"Accelerators have {threshold} °C without any load; Pods would leave traffic all the "
            "time.",
        )


def validate_recovery(spec: SpecLike) -> Iterable[Issue]:
    threshold, recovery = spec.temperature_threshold, spec.temperature_recovery
    if threshold is None or recovery is None:
        return
    if not 0 <= recovery < threshold:
        yield error(
            "temperature_recovery",
            f"The recovery must be from 0 °C to less than the threshold ({threshold} °C); enter a "
            f"value such as {max(threshold - 10, 0)}.",
        )


def validate_seconds(spec: SpecLike) -> Iterable[Issue]:
    low, high = SECONDS_RANGE
    if spec.temperature_seconds is not None and not low <= spec.temperature_seconds <= high:
        yield error(
            "temperature_seconds",
            f"The shortest time must be from {low} to {high:,} seconds; enter a value such as "
            f"{DEFAULT_SECONDS}.",
        )
