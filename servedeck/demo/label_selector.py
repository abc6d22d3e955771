"""Matching of label selectors (meta/v1 LabelSelector)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def matches_selector(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    """Whether a LabelSelector (matchLabels, matchExpressions) matches; None matches nothing."""
    if selector is None:
        return False
    labels = labels or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    for rule in selector.get("matchExpressions") or ():
        value, values = labels.get(rule.get("key", "")), rule.get("values") or ()
        matches = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }.get(rule.get("operator", ""), False)
        if not matches:
            return False
    return True
