"""Changing the weights of the routes as a plan says."""

from __future__ import annotations

from servedeck.changes.edit.guarded_writes import WriteOutcome, WriteState, write_guarded
from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split.plan import (
    TrafficAction,
    TrafficOptions,
    TrafficPlan,
    TrafficResult,
)
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.rejection import RejectionReason
from servedeck.cluster.write_log import expect_writes
from servedeck.serving.text import one_line, sanitize


async def run_traffic(connection: Connection, plan: TrafficPlan) -> TrafficResult:
    """Do what the plan says, one route after the other. Never raises ClusterError: what failed, and
    what was written before, is in the result.

    A route that somebody else has changed since the plan was made is not written. What was written
    is not undone after an error: planned again, the rest is done.
    """
    options = plan.options
    if not plan.is_possible:
        outcome = Outcome.REJECTED if plan.blocked else Outcome.UNCHANGED
        return TrafficResult(options, outcome, plan.blocked or plan.unchanged)
    written: list[ObjectRef] = []
    expect_writes(one.write.ref for one in plan.changes)
    for one in plan.changes:
        ref = one.write.ref
        found = await write_guarded(connection, one.write, one.outcomes, force=options.force)
        match found.state:
            case WriteState.WRITTEN:
                written.append(ref)
                continue
            case WriteState.CHANGED | WriteState.REJECTED if _is_changed(found):
                outcome = Outcome.OUTDATED
                text = f"{ref} was changed by somebody else meanwhile, so it was not written."
            case WriteState.UNKNOWN:
                outcome = Outcome.UNKNOWN
                text = f"Whether {ref} was written is not known: {found.error}"
            case _:
                outcome = Outcome.REJECTED
                why = found.rejection.message if found.rejection is not None else found.error
                text = f"{ref} was not written: {why}"
        return TrafficResult(options, outcome, _with_written(text, written))
    return TrafficResult(options, Outcome.DONE, done_sentence(plan))


def _is_changed(found: WriteOutcome) -> bool:
    """Whether somebody else has changed the route since the plan was made, whose dry run had no
    conflict with another manager."""
    if found.state is WriteState.CHANGED:
        return True
    return found.rejection is not None and found.rejection.reason is RejectionReason.CONFLICT


def _with_written(text: str, written: list[ObjectRef]) -> str:
    if written:
        names = ", ".join(f"{one.kind} {one.name}" for one in written)
        text = f"{text.rstrip('.')}. Written before: {names}; do it again for the rest."
    return one_line(sanitize(text))


def done_sentence(plan: TrafficPlan) -> str:
    options = plan.options
    match options.action:
        case TrafficAction.ABORT:
            text = f"All requests of {options.target} go to it again."
        case TrafficAction.PROMOTE:
            text = f"All requests of {options.target} go to {plan.other_name}."
        case _:
            text = f"{plan.other_name} gets {options.weight} % of the requests of {options.target}."
    return one_line(sanitize(text))


def describe_action(options: TrafficOptions, other: str = "") -> str:
    """What is asked, as a question has it: "Send 10 % of the requests of chat/llama to llama-2"."""
    match options.action:
        case TrafficAction.ABORT:
            text = f"Send all requests of {options.target} to it again"
        case TrafficAction.PROMOTE:
            text = f"Send all requests of {options.target} to {other}"
        case _:
            weight = "a share" if options.weight is None else f"{options.weight} %"
            text = f"Send {weight} of the requests of {options.target} to {other}"
    return one_line(sanitize(text))
