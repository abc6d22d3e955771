"""The division of an endpoint's requests, and what a change of it does, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from servedeck.changes.traffic_split.execution import describe_action
from servedeck.changes.traffic_split.next_step import NextStep, Step, next_steps
from servedeck.changes.traffic_split.plan import TrafficPlan
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import RevisionState, TrafficState
from servedeck.commands.traffic_figures import SideFigures
from servedeck.fleet.view_json import API_VERSION
from servedeck.metrics.units import Unit, finite, format_value
from servedeck.serving.objects.traffic_split import TrafficRule, format_percentage
from servedeck.serving.text import one_line, sanitize


def plan_lines(plan: TrafficPlan) -> Iterator[str]:
    """The plan, indented under what it does."""
    text = describe_action(plan.options, plan.other_name)
    yield text[0].lower() + text[1:]
    for sentence in plan.effects:
        yield f"  {sentence}"
    for warning in plan.warnings:
        yield f"  warning: {warning}"
    for change in plan.differences:
        yield f"  {change.path}: {change.old} -> {change.new}"


def operation_json(plan: TrafficPlan, outcome: str, message: str) -> dict[str, Any]:
    options = plan.options
    conflicts = [
        {"object": str(one.ref), **conflict._asdict()}
        for one in plan.rejections
        if one.rejection is not None
        for conflict in one.rejection.conflicts
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "TrafficOperation",
        "operation": options.action.value,
        "namespace": one_line(sanitize(options.namespace)),
        "name": one_line(sanitize(options.serving)),
        "other": plan.other_name or None,
        "weight": options.wanted_weight,
        "outcome": str(outcome),
        "message": one_line(sanitize(message)),
        "effects": list(plan.effects),
        "warnings": list(plan.warnings),
        "differences": [one._asdict() for one in plan.differences],
        "conflicts": conflicts,
    }


# -- the state ----------------------------------------------------------------------------------


def state_lines(state: TrafficState, figures: Mapping[str, SideFigures]) -> Iterator[str]:
    name = one_line(sanitize(f"{state.namespace}/{state.serving}"))
    if not state.rules:
        yield f"{name}: {_decapitalized(state.problem)}"
    elif not state.is_split:
        yield f"{name}: all requests of its endpoint go to it"
    else:
        others = ", ".join(one_line(sanitize(one)) for one in state.others)
        yield f"{name}: the requests of its endpoint are divided with {others}"
    for rule in (one.rule for one in state.rules):
        yield f"  {rule.label}: {rule.shares}"
    for rule in state.kept:
        yield f"  {rule.label}, for certain headers or parameters: {rule.shares}"
    for rule in state.received:
        yield f"  also gets a share of {rule.label}: {rule.shares}"
    for side in sides(state):
        yield f"  {side.label}: {', '.join(_facts(side, state, figures.get(side.name)))}"
    for sentence in state.conditions:
        yield f"  {sentence}"
    if state.rules and (problem := state.problem or state.gone):
        yield f"  {problem}"
    for step in next_steps(state):
        yield f"  next: {_describe_step(state, step)}"


def _describe_step(state: TrafficState, step: NextStep) -> str:
    """The command of a step, and what it does."""
    target = one_line(sanitize(f"{state.namespace}/{state.serving}"))
    match step.step:
        case Step.OTHER:
            return step.text
        case Step.SPLIT:
            words = f"split {step.other or 'OTHER'} --weight PERCENT"
        case Step.CANARY:
            words = "canary FIELD=VALUE"
        case _:
            words = step.step.value
    return f"servedeck traffic {target} {words}: {step.text}"


def _decapitalized(text: str) -> str:
    """The sentence after a colon, without its full stop; a name keeps its form."""
    text = text.rstrip(".")
    first = text.split(" ", 1)[0]
    return text[0].lower() + text[1:] if first in ("Only", "No") else text


def sides(state: TrafficState) -> list[Side]:
    """The servings that get a share."""
    return [state.main, *([state.other] if state.other is not None else [])]


def _facts(side: Side, state: TrafficState, found: SideFigures | None) -> Iterator[str]:
    if side.revision_of and side.revision_of == state.main.label:
        yield f"a revision of {side.revision_of}"
    yield side.replicas or "no serving is known behind this Service"
    if found is None:
        return
    if found.figures is None:
        yield found.reason.rstrip(".")
        return
    figures = found.figures
    yield f"{format_value(figures.request_rate, Unit.PER_SECOND)} req/s"
    yield f"errors {format_value(figures.error_share, Unit.PERCENT)}"
    yield f"P95 {format_value(figures.quantiles[1], Unit.SECONDS)}"


def state_json(state: TrafficState, figures: Mapping[str, SideFigures]) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Traffic",
        "namespace": one_line(sanitize(state.namespace)),
        "name": one_line(sanitize(state.serving)),
        "isSplit": state.is_split,
        "other": state.other.label if state.other is not None else None,
        "rules": [_rule_json(one.rule) for one in state.rules],
        "keptRules": [_rule_json(one) for one in state.kept],
        "receivedRules": [_rule_json(one) for one in state.received],
        "revision": _revision_json(state.revision),
        "servings": [_side_json(one, figures.get(one.name)) for one in sides(state)],
        "conditions": state.conditions,
        "problem": state.problem,
        "nextStep": next((_describe_step(state, one) for one in next_steps(state)), ""),
    }


def _revision_json(revision: RevisionState | None) -> dict[str, Any] | None:
    if revision is None:
        return None
    return {
        "name": revision.side.label,
        "differences": [
            {"path": one.name, "old": one.old, "new": one.new} for one in revision.differences
        ],
    }


def _rule_json(rule: TrafficRule) -> dict[str, Any]:
    return {
        "route": rule.route,
        "paths": list(rule.paths),
        "backends": [
            {
                "name": one.label,
                "weight": one.weight,
                "share": format_percentage(100 * one.weight / rule.total if rule.total else 0.0),
            }
            for one in rule.backends
        ],
    }


def _side_json(side: Side, found: SideFigures | None) -> dict[str, Any]:
    figures = found.figures if found is not None else None
    return {
        "name": side.label,
        "ready": side.ready if side.is_serving else None,
        "desired": side.desired if side.is_serving else None,
        "model": side.model or None,
        "requestsPerSecond": finite(figures.request_rate) if figures is not None else None,
        "errorShare": finite(figures.error_share) if figures is not None else None,
        "p95Seconds": finite(figures.quantiles[1]) if figures is not None else None,
        "metricsReason": found.reason if found is not None and figures is None else "",
    }
