"""The rollout of a serving: the Deployment's strategy. A change of it restarts no Pods."""

from __future__ import annotations

import re

from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    child_mapping,
)
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.rollouts import (
    RECREATE,
    default_rollout,
    format_amounts,
    read_amounts,
)
from servedeck.serving.spec.templates.base import SpecLike

_DEFAULT_AMOUNT = "25%"
"""Of both amounts where they are not set (kubernetes pkg/apis/apps/v1/defaults.go)."""
_AMOUNT_PATTERN = re.compile(r"\d{1,9}%?", re.ASCII)


def _read(objects: ServingObjects) -> str | None:
    strategy = as_mapping(objects.deployment, "spec", "strategy")
    kind = strategy.get("type", "RollingUpdate" if strategy else None)
    if kind == "Recreate":
        return RECREATE
    rolling = as_mapping(strategy, "rollingUpdate")
    surge, unavailable = (
        _read_amount(rolling.get(key, _DEFAULT_AMOUNT)) for key in ("maxSurge", "maxUnavailable")
    )
    if kind != "RollingUpdate" or surge is None or unavailable is None:
        return None
    return format_amounts(surge, unavailable)


def _read_amount(value: object) -> str | None:
    number = None if isinstance(value, str) else as_int(value)
    text = value if isinstance(value, str) else str(number)
    return text if _AMOUNT_PATTERN.fullmatch(text) else None


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    rollout = wanted.rollout or default_rollout(wanted.accelerator)
    strategy = child_mapping(child_mapping(objects.deployment, "spec"), "strategy")
    amounts = read_amounts(rollout)
    if amounts is None:
        strategy["type"] = "Recreate"
        strategy.pop("rollingUpdate", None)  # the API server rejects it beside Recreate
        return
    strategy["type"] = "RollingUpdate"
    rolling: JsonObject = child_mapping(strategy, "rollingUpdate")
    rolling["maxSurge"], rolling["maxUnavailable"] = map(_write_amount, amounts)


def _write_amount(amount: str) -> int | str:
    return amount if amount.endswith("%") else int(amount)


ROLLOUT = FieldAccess(_read, _write)
