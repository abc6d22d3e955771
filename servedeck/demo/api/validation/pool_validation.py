"""Validation of InferencePools.

Source: Gateway API Inference Extension,
config/crd/bases/inference.networking.k8s.io_inferencepools.yaml.
"""

from __future__ import annotations

from typing import Any

from servedeck.demo.api.validation.field_errors import Causes, invalid, required

Json = dict[str, Any]

_MOST_PORTS = 8
_LAST_PORT = 65_535


def validate_pool(obj: Json) -> Causes:
    """What the definition of the kind rejects."""
    spec = obj.get("spec") or {}
    if not isinstance((spec.get("selector") or {}).get("matchLabels"), dict):
        yield required("spec.selector.matchLabels")
    ports = spec.get("targetPorts")
    if not isinstance(ports, list) or not ports:
        yield required("spec.targetPorts")
    elif len(ports) > _MOST_PORTS:
        yield invalid("spec.targetPorts", len(ports), f"must have at most {_MOST_PORTS} items")
    else:
        for index, one in enumerate(ports):
            number = one.get("number") if isinstance(one, dict) else None
            if not isinstance(number, int) or not 0 < number <= _LAST_PORT:
                field = f"spec.targetPorts[{index}].number"
                yield invalid(field, number or 0, f"must be from 1 to {_LAST_PORT}")
    if not (spec.get("endpointPickerRef") or {}).get("name"):
        yield required("spec.endpointPickerRef.name")
