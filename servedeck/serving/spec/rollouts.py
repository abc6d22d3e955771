"""The values of the field `rollout`: how changed Pods replace old ones, as one text.

Sources: kubernetes pkg/apis/apps/validation/validation.go (ValidateRollingUpdateDeployment) and
pkg/controller/deployment/rolling.go (reconcileOldReplicaSets).
"""

from __future__ import annotations

import re

from servedeck.serving.spec.fields import parse_text

SURGE = "surge"
"""A new Pod starts first: maxSurge 1, maxUnavailable 0."""
REPLACE = "replace"
"""An old Pod stops first, one at a time: maxSurge 0, maxUnavailable 1."""
RECREATE = "recreate"
"""All old Pods stop first: type Recreate."""
ROLLOUTS = (SURGE, REPLACE, RECREATE)

_AMOUNTS_BY_ROLLOUT = {SURGE: ("1", "0"), REPLACE: ("0", "1")}
"""maxSurge and maxUnavailable."""
_AMOUNTS_PATTERN = re.compile(
    r"maxSurge[ =:]*(\d{1,9}%?)[ ,;]+maxUnavailable[ =:]*(\d{1,9}%?)", re.ASCII | re.IGNORECASE
)


def default_rollout(accelerator: str) -> str:
    """That of a new serving. Nodes with accelerators are usually full: a Pod that must start beside
    the old one would find no room, and the rollout would wait for ever."""
    return REPLACE if accelerator else SURGE


def parse_rollout(raw: object) -> str:
    """The text of a rollout in its usual form, "" for none: "surge", "replace", "recreate", or
    "maxSurge 25%, maxUnavailable 25%". Raises ValueError with one sentence."""
    text = parse_text(raw).strip()
    if text.lower() in ("", *ROLLOUTS):
        return text.lower()
    if match := _AMOUNTS_PATTERN.fullmatch(text):
        return format_amounts(match[1], match[2])
    shown = text if len(text) <= 40 else f"{text[:39]}…"
    raise ValueError(
        f"{shown!r} is no rollout; choose surge, replace or recreate, or write "
        "maxSurge 25%, maxUnavailable 25%."
    )


def read_amounts(rollout: str) -> tuple[str, str] | None:
    """maxSurge and maxUnavailable, "25%" or "1"; None for recreate and for no rollout."""
    if rollout in _AMOUNTS_BY_ROLLOUT:
        return _AMOUNTS_BY_ROLLOUT[rollout]
    match = _AMOUNTS_PATTERN.fullmatch(rollout)
    return (match[1], match[2]) if match else None


def format_amounts(surge: str, unavailable: str) -> str:
    """The text of maxSurge and maxUnavailable, "25%" or "1"; `read_amounts` reads it."""
    amounts = (_without_zeros(surge), _without_zeros(unavailable))
    for name, known in _AMOUNTS_BY_ROLLOUT.items():
        if amounts == known:
            return name
    return f"maxSurge {amounts[0]}, maxUnavailable {amounts[1]}"


def _without_zeros(amount: str) -> str:
    return f"{int(amount.removesuffix('%'))}{'%' if amount.endswith('%') else ''}"


def unblocking_rollout(desired: int, available: int) -> str:
    """The rollout that lets one old Pod of so many `available` ones stop before a new one starts.

    Old Pods stop only while more than the desired number minus maxUnavailable are available, and
    Pods that are missing already count.
    """
    missing = max(desired - available, 0)
    return format_amounts("0", str(min(1 + missing, max(desired, 1))))
