"""The plan, the outcome and the state of an async queue, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from servedeck.async_queue.admin_url import opened_admin_url
from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import AsyncQueueError
from servedeck.async_queue.tasks import QueueStatus
from servedeck.changes.async_queue.plan import AsyncQueuePlan
from servedeck.changes.async_queue.state import AsyncQueueState, describe_ref, read_state
from servedeck.changes.live_objects import find_other_kind
from servedeck.cluster.http.connection import Connection
from servedeck.commands.errors import CommandError
from servedeck.config import Settings
from servedeck.fleet.view_json import API_VERSION
from servedeck.serving.async_limits import LIMITS, value_of
from servedeck.serving.duration import format_duration
from servedeck.serving.objects.async_routes import has_async_rules
from servedeck.serving.text import one_line, sanitize, truncate

_MAX_VALUE_LENGTH = 60


def plan_lines(plan: AsyncQueuePlan) -> Iterator[str]:
    """The plan, indented under what it does."""
    yield f"turn the async queue of {plan.options.target} {plan.options.action}"
    for sentence in plan.effects:
        yield f"  {sentence}"
    for name in plan.kept:
        yield f"  stays: {name}"
    for warning in plan.warnings:
        yield f"  warning: {warning}"
    for change in plan.differences:
        old, new = truncate(change.old, _MAX_VALUE_LENGTH), truncate(change.new, _MAX_VALUE_LENGTH)
        yield f"  {change.path}: {old} -> {new}"


def operation_json(plan: AsyncQueuePlan, outcome: str, message: str) -> dict[str, Any]:
    options = plan.options
    conflicts = [
        {"object": str(one.ref), **conflict._asdict()}
        for one in plan.rejections
        if one.rejection is not None
        for conflict in one.rejection.conflicts
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "AsyncQueueOperation",
        "operation": options.action.value,
        "namespace": one_line(sanitize(options.namespace)),
        "name": one_line(sanitize(options.serving)),
        "outcome": str(outcome),
        "message": one_line(sanitize(message)),
        "effects": list(plan.effects),
        "kept": list(plan.kept),
        "warnings": list(plan.warnings),
        "differences": [
            {
                "path": one.name,
                "old": "none" if one.old is None else _number_text(one.old),
                "new": _number_text(one.new),
            }
            for one in plan.limit_changes
        ],
        "conflicts": conflicts,
        "unfinishedTasks": plan.unfinished,
    }


def _number_text(value: float) -> str:
    """In seconds or bytes, without the fraction that a whole number does not have."""
    return str(int(value) if value == int(value) else value)


# -- the state ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusReport:
    state: AsyncQueueState
    queue: QueueStatus | None
    """None if it is off, or cannot be asked."""
    problem: str
    """Why it cannot be asked, one sentence."""

    @property
    def word(self) -> str:
        """on, off, or partly on: something of it is missing."""
        state = self.state
        if state.is_off:
            return "off"
        return "on" if state.gateway is not None and not state.missing else "partly on"


async def read_report(
    connection: Connection, namespace: str, serving: str, settings: Settings
) -> StatusReport:
    """Raises CommandError if there is no such serving, and ClusterError."""
    state = await read_state(connection, namespace, serving)
    if not state.deployment and state.is_off:
        text = f"There is no Deployment {serving} in namespace {namespace}"
        if kind := await find_other_kind(connection, namespace, serving):
            text += f"; the {kind} of that name is read-only here"
        raise CommandError(f"{text}.")
    if state.gateway is None:
        return StatusReport(state, None, "")
    try:
        async with opened_admin_url(settings) as admin_url:
            client = AsyncQueueClient(connection, namespace, serving, admin_url)
            queue = await client.queue_status()
    except AsyncQueueError as error:
        return StatusReport(state, None, one_line(sanitize(str(error))))
    return StatusReport(state, queue, "")


def report_lines(report: StatusReport) -> Iterator[str]:
    state = report.state
    yield f"{state.namespace}/{state.serving}: the async queue is {report.word}"
    for ref in state.foreign:
        yield f"  {describe_ref(ref)} is no part of an async queue, so it cannot be turned on"
    for ref in state.unreadable:
        yield f"  {describe_ref(ref)} may not be read"
    if report.word == "off":
        return
    for ref in state.missing:
        yield f"  {describe_ref(ref)} is missing"
    if state.gateway is not None:
        yield f"  gateway: {state.not_available or 'available'}"
    for route in (*state.routes, *state.openshift_routes):
        name = f"{route['kind']} {route['metadata']['name']}"
        leads = "sends" if has_async_rules(route, state.serving) else "does not send"
        yield f"  {name} {leads} asynchronous requests to it"
    if report.problem:
        yield f"  queue: {report.problem}"
    if (queue := report.queue) is not None:
        counts = queue.counts
        yield (
            f"  queue: {counts.pending:,} pending, {counts.processing:,} processing,"
            f" {counts.completed:,} completed, {counts.failed:,} failed,"
            f" {counts.cancelled:,} cancelled"
        )
        if queue.oldest_seconds is not None and counts.pending:
            yield f"  oldest pending: {format_duration(queue.oldest_seconds)}"
        if queue.closed:
            yield "  it is closed: no task is accepted until it is turned on again"
        if queue.blocked_by:
            yield f"  {queue.blocked_by}"
    if (settings := state.settings) is not None:
        for limit in LIMITS.values():
            yield f"  {limit.label}: {limit.format(value_of(settings, limit.name))}"


def report_json(report: StatusReport) -> dict[str, Any]:
    state = report.state
    return {
        "apiVersion": API_VERSION,
        "kind": "AsyncQueue",
        "namespace": one_line(sanitize(state.namespace)),
        "name": one_line(sanitize(state.serving)),
        "state": report.word,
        "available": state.gateway is not None and not state.not_available,
        "message": state.not_available,
        "settings": None if state.settings is None else asdict(state.settings),
        "routes": [
            {
                "kind": one["kind"],
                "name": one_line(sanitize(one["metadata"]["name"])),
                "hasRules": has_async_rules(one, state.serving),
            }
            for one in (*state.routes, *state.openshift_routes)
        ],
        "missing": [] if state.is_off else [describe_ref(one) for one in state.missing],
        "foreign": [describe_ref(one) for one in state.foreign],
        "unreadable": [describe_ref(one) for one in state.unreadable],
        "queue": None if report.queue is None else msgspec.to_builtins(report.queue),
        "queueProblem": report.problem,
    }
