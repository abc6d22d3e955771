"""Table rows of autoscalers and Leases. Source: kubernetes
pkg/printers/internalversion/printers.go."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from servedeck.demo.api.tables.workload_printers import age, lookup, name

Json = dict[str, Any]

_MAX_TARGETS = 2
_UNKNOWN = "<unknown>"


def autoscaler(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    reference = spec.get("scaleTargetRef") or {}
    return [
        name(obj),
        f"{reference.get('kind')}/{reference.get('name')}",
        _targets(spec.get("metrics") or [], lookup(obj, "status.currentMetrics") or []),
        str(spec.get("minReplicas") or "<unset>"),
        str(spec.get("maxReplicas")),
        lookup(obj, "status.currentReplicas") or 0,
        age(obj, now),
    ]


def lease(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), lookup(obj, "spec.holderIdentity") or "", age(obj, now)]


def _targets(metrics: list[Json], current: list[Json]) -> str:
    """Source: formatHPAMetrics."""
    if not metrics:
        return "<none>"
    shown = [
        _target(metric, current[index] if index < len(current) else {})
        for index, metric in enumerate(metrics)
    ]
    if len(shown) > _MAX_TARGETS:
        more = f" + {len(shown) - _MAX_TARGETS} more..."
        return ", ".join(shown[:_MAX_TARGETS]) + more
    return ", ".join(shown)


def _target(metric: Json, status: Json) -> str:
    kind = metric.get("type", "")
    field = kind[:1].lower() + kind[1:]
    source, found = metric.get(field) or {}, (status.get(field) or {}).get("current") or {}
    target = source.get("target") or {}
    label = f"{source['name']}: " if kind == "Resource" and source.get("name") else ""
    if "averageUtilization" in target:
        used = found.get("averageUtilization")
        shown = _UNKNOWN if used is None else f"{used}%"
        return f"{label}{shown}/{target['averageUtilization']}%"
    if "averageValue" in target:
        suffix = " (avg)" if kind == "External" else ""
        return f"{label}{found.get('averageValue', _UNKNOWN)}/{target['averageValue']}{suffix}"
    return f"{label}{found.get('value', _UNKNOWN)}/{target.get('value')}"
