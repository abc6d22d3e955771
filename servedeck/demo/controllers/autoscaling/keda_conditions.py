"""The conditions of ScaledObjects.

Sources: keda apis/keda/v1alpha1/condition_types.go, pkg/scaling/executor/scale_scaledobjects.go,
pkg/fallback/fallback.go, controllers/keda/scaledobject_controller.go.
"""

from __future__ import annotations

from collections.abc import Callable

from servedeck.demo.controllers.base import condition_is_true
from servedeck.demo.store.objects import Json

Condition = tuple[str, str, str, str]
"""Type, status, reason, message."""
StatusChange = Callable[[Json], None]
_TYPES = ("Ready", "Active", "Fallback", "Paused")

READY: Condition = (
    "Ready",
    "True",
    "ScaledObjectReady",
    "ScaledObject is defined correctly and is ready for scaling",
)
READY_BUT_PAUSED: Condition = ("Ready", "True", "ScaledObjectReady", "ScaledObject is paused")
TARGET_MISSING: Condition = (
    "Ready",
    "False",
    "ScaledObjectCheckFailed",
    "ScaledObject doesn't have correct scaleTargetRef specification",
)
TRIGGERS_WRONG: Condition = (
    "Ready",
    "False",
    "ScaledObjectCheckFailed",
    "Failed to ensure HPA is correctly created for ScaledObject",
)
PARTLY_FAILING: Condition = (
    "Ready",
    "Unknown",
    "PartialTriggerError",
    "Some triggers defined in ScaledObject are not working correctly",
)
FAILING: Condition = (
    "Ready",
    "False",
    "TriggerError",
    "Triggers defined in ScaledObject are not working correctly",
)
ACTIVE: Condition = (
    "Active",
    "True",
    "ScalerActive",
    "Scaling is performed because triggers are active",
)
NOT_ACTIVE: Condition = (
    "Active",
    "False",
    "ScalerNotActive",
    "Scaling is not performed because triggers are not active",
)
COOLING_DOWN: Condition = (
    "Active",
    "False",
    "ScalerCooldown",
    "Scaler cooling down because triggers are not active",
)
UNKNOWN: Condition = ("Active", "Unknown", "UnknownState", "Scaler is unknown")
FALLBACK: Condition = (
    "Fallback",
    "True",
    "FallbackExists",
    "At least one trigger is falling back on this scaled object",
)
NO_FALLBACK: Condition = (
    "Fallback",
    "False",
    "NoFallbackFound",
    "No fallbacks are active on this scaled object",
)
PAUSED: Condition = ("Paused", "True", "ScaledObjectPaused", "ScaledObject is paused")
UNPAUSED: Condition = (
    "Paused",
    "False",
    "ScaledObjectUnpaused",
    "pause annotation removed for ScaledObject",
)


def initialize(status: Json) -> None:
    """Adds the conditions that are missing, as unknown."""
    known = {one.get("type") for one in status.get("conditions") or ()}
    found = status.setdefault("conditions", [])
    found += [{"type": one, "status": "Unknown"} for one in _TYPES if one not in known]


def set_condition(status: Json, type_: str, value: str, reason: str, message: str) -> None:
    for condition in status["conditions"]:
        if condition.get("type") == type_:
            condition |= {"status": value, "reason": reason, "message": message}


def status_of(status: Json, type_: str) -> str:
    found = (one for one in status["conditions"] if one.get("type") == type_)
    return str(next((one.get("status", "") for one in found), "Unknown"))


def is_true(scaled: Json, type_: str) -> bool:
    return condition_is_true(scaled, type_)


def set_target_missing(status: Json) -> None:
    set_condition(status, *TARGET_MISSING)
    set_condition(status, *UNKNOWN)


def set_triggers_wrong(status: Json) -> None:
    set_condition(status, *TRIGGERS_WRONG)
    set_condition(status, *UNKNOWN)
