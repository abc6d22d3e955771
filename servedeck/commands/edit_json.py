"""The plan of an edit and its result as JSON, for scripts; docs/guide.md describes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from servedeck.changes.edit.edit import EditPlan
from servedeck.cluster.apply import ObjectRef
from servedeck.metrics.load import ServingLoad
from servedeck.serving.edit.assignments import assignment_path
from servedeck.serving.edit.restart_forecast import RestartForecast

PLANNED = "planned"
"""Result of a dry run; the others are those of `SaveState`."""


def edit_json(
    plan: EditPlan,
    result: str,
    message: str = "",
    applied: Sequence[ObjectRef] = (),
    paths: Sequence[str] = (),
    load: ServingLoad | None = None,
) -> dict[str, Any]:
    """Values that look secret are masked. `paths` are those of the assignments; `load` is the
    load of the serving before, None if it was not read."""
    return {
        "namespace": plan.spec.namespace,
        "name": plan.spec.name,
        "result": result,
        "message": message,
        "fields": [
            {
                "field": one.name,
                "label": one.label,
                "old": one.old,
                "new": one.new,
                "restartsPods": one.restarts and plan.marks_restarts,
            }
            for one in plan.fields
        ],
        "restartsPods": plan.restarts_pods,
        "stopsServing": plan.stops_serving,
        "deletes": [{"kind": one.kind, "name": one.name} for one in plan.deleted_objects],
        "rollout": _forecast_json(plan.forecast) if plan.forecast is not None else None,
        "load": load.as_json if load is not None else None,
        "conflicts": [
            {
                "field": one.name,
                "base": one.base,
                "theirs": one.theirs,
                "mine": one.mine,
                "changedBy": [manager.name for manager in one.changed_by],
            }
            for one in plan.conflicts
        ],
        "issues": [
            {
                "severity": str(one.severity),
                "field": assignment_path(one.field, plan.spec, paths) if one.field else "",
                "message": one.message,
            }
            for one in plan.issues
        ],
        "owner": plan.owner.name if plan.owner is not None else None,
        "applied": [{"kind": one.kind, "name": one.name} for one in applied],
    }


def _forecast_json(forecast: RestartForecast) -> dict[str, Any]:
    duration = forecast.last_duration
    return {
        "pods": forecast.pods,
        "replicas": forecast.replicas,
        "strategy": forecast.strategy.type,
        "maxSurge": forecast.strategy.surge_pods,
        "maxUnavailable": forecast.strategy.unavailable_pods,
        "minAvailable": forecast.min_available,
        "surgeFits": forecast.surge_fits,
        "replacementFits": forecast.replacement_fits,
        "continues": forecast.continues,
        "lastDurationSeconds": duration.total_seconds() if duration is not None else None,
    }
