"""Why servedeck does not change the weights of a rule."""

from __future__ import annotations

from collections.abc import Collection

from servedeck.serving.objects.traffic_split import SERVICE_KIND, TrafficRule
from servedeck.serving.text import one_line, sanitize


def rule_problem(rule: TrafficRule, namespace: str, services: Collection[str]) -> str:
    """Why the weight of a rule is not changed, one sentence; "" if it can be."""
    advice = "edit the route to change that"
    if not rule.total:
        return (
            f"{rule.label} sends requests nowhere, as all of its weights are 0, and servedeck does "
            f"not change that; {advice}."
        )
    if len(rule.backends) > 2:
        return (
            f"{rule.label} divides requests among {len(rule.backends)} backends ({rule.shares}), "
            f"which servedeck shows, but does not change; {advice}."
        )
    for one in rule.backends:
        if one.kind != SERVICE_KIND:
            return (
                f"{rule.label} sends requests to {one.label}, which is no Service of the "
                f"namespace, so servedeck does not change its weights; {advice}."
            )
        if one.namespace != namespace:
            where = one_line(sanitize(one.namespace))
            return (
                f"{rule.label} sends requests to {one.label} of namespace {where}, so servedeck "
                f"does not change its weights; {advice}."
            )
    if len(rule.backends) == 2 and all(one.name in services for one in rule.backends):
        return (
            f"{rule.label} divides requests among Services or subsets of the serving itself "
            f"({rule.shares}), which servedeck does not change; {advice}."
        )
    return ""
