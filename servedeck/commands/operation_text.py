"""The plan and the outcome of an operation, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.fleet.view_json import API_VERSION
from servedeck.metrics.load import ServingLoad
from servedeck.serving.text import one_line, sanitize, truncate
from servedeck.serving.yaml_text import object_lines

MAX_DIFFERENCES = 50
"""Fields that are listed as text."""
_MAX_VALUE_LENGTH = 60

_GOOD_OUTCOMES = (Outcome.DONE, Outcome.UNCHANGED, "planned")


@dataclass(frozen=True, slots=True)
class OperationReport:
    """What became of one operation."""

    operation: Operation
    outcome: str
    """One of Outcome, "planned" for a dry run, or "refused" if it was not confirmed."""
    message: str
    plan: OperationPlan | None = None
    """None if it cannot be made."""
    result: OperationResult | None = None
    """None if nothing was sent."""
    load: ServingLoad | None = None
    """What the serving had to do before; None if it was not read."""

    @property
    def succeeded(self) -> bool:
        return self.outcome in _GOOD_OUTCOMES

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the plan, and those of the API server."""
        plan = self.plan.warnings if self.plan is not None else ()
        result = self.result.warnings if self.result is not None else ()
        return tuple(dict.fromkeys((*plan, *result)))


def verb(kind: OperationKind) -> str:
    """The operation as a verb."""
    return "roll back" if kind is OperationKind.ROLLBACK else kind.value


def short_name(operation: Operation) -> str:
    """NAMESPACE/NAME."""
    return f"{operation.namespace}/{operation.name}"


def plan_lines(plan: OperationPlan, load: ServingLoad | None = None) -> Iterator[str]:
    """The plan, indented under what it does with which object. `load` is the load of the serving
    at the moment."""
    operation = plan.operation
    revision = f" to revision {operation.revision}" if operation.revision else ""
    yield f"{verb(operation.kind)} {operation.target}{revision}"
    for sentence in plan.effects:
        yield f"  {sentence}"
    if load is not None and load.sentence:
        yield f"  {load.sentence}"
    for name in plan.kept:
        yield f"  stays: {name}"
    for warning in plan.warnings:
        yield f"  warning: {warning}"
    for change in plan.differences[:MAX_DIFFERENCES]:
        old, new = truncate(change.old, _MAX_VALUE_LENGTH), truncate(change.new, _MAX_VALUE_LENGTH)
        yield f"  {change.path}: {old} -> {new}"
    if (more := len(plan.differences) - MAX_DIFFERENCES) > 0:
        yield f"  … and {more} more"
    for creation in plan.creations:
        yield f"  new {creation.target}:"
        for line in object_lines(creation.manifest):
            yield f"    {line.text}"
    yield f"  same as: {plan.command}"


def reports_json(reports: Sequence[OperationReport]) -> dict[str, Any]:
    """The JSON object of the only report, or the list of several."""
    items = [_report_json(one) for one in reports]
    if len(items) == 1:
        return items[0]
    return {"apiVersion": API_VERSION, "kind": "OperationList", "items": items}


def _report_json(report: OperationReport) -> dict[str, Any]:
    plan = report.plan or OperationPlan(report.operation)
    return {
        "apiVersion": API_VERSION,
        "kind": "Operation",
        "operation": report.operation.kind.value,
        "namespace": one_line(sanitize(report.operation.namespace)),
        "name": one_line(sanitize(report.operation.name)),
        "outcome": str(report.outcome),
        "message": one_line(sanitize(report.message)),
        "effects": list(plan.effects),
        "load": report.load.as_json if report.load is not None else None,
        "kept": list(plan.kept),
        "warnings": list(report.warnings),
        "differences": [one._asdict() for one in plan.differences],
        "creations": [one.manifest for one in plan.creations],
        "command": plan.command if plan.is_possible else "",
    }
