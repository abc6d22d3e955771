"""Which nodes a Pod may run on, by its node selector and its required node affinity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servedeck.serving.spec.mapping.json_values import as_int, as_mapping, mappings


def may_run_on(pod_spec: Any, name: str, labels: Mapping[str, str]) -> bool:
    """Whether the node selector and the required node affinity of a Pod allow the node with this
    name and these labels (kubernetes component-helpers
    scheduling/corev1/nodeaffinity/nodeaffinity.go, GetRequiredNodeAffinity)."""
    selector = as_mapping(pod_spec, "nodeSelector")
    if not selector.items() <= labels.items():
        return False
    required = as_mapping(
        pod_spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"
    )
    terms = mappings(required.get("nodeSelectorTerms"))
    return not required or any(_term_matches(one, name, labels) for one in terms)


def _term_matches(term: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> bool:
    """All expressions of a term must match; an empty term matches nothing."""
    expressions = mappings(term.get("matchExpressions"))
    fields = mappings(term.get("matchFields"))
    return bool(expressions or fields) and (
        all(_expression_matches(one, labels) for one in expressions)
        and all(_expression_matches(one, {"metadata.name": name}) for one in fields)
    )


def _expression_matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator = str(expression.get("key", "")), expression.get("operator")
    listed = expression.get("values")
    values = [str(one) for one in listed] if isinstance(listed, list) else []
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case "Gt" | "Lt":
            found, limit = as_int(labels.get(key)), as_int(values[0]) if values else None
            if found is None or limit is None:
                return False
            return found > limit if operator == "Gt" else found < limit
        case _:
            return False
