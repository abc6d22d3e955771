"""What becomes of the async queue of a serving that is deleted."""

from __future__ import annotations

from dataclasses import replace

from servedeck.changes.async_queue.plan import join
from servedeck.changes.async_queue.state import AsyncQueueState
from servedeck.changes.async_queue.turn_off import count_tasks, kept_objects, list_deletions
from servedeck.changes.operations.operation import OperationPlan
from servedeck.cluster.http.connection import Connection
from servedeck.serving.text import format_count, one_line, sanitize


async def with_async_queue_deletion(
    connection: Connection, plan: OperationPlan, state: AsyncQueueState
) -> OperationPlan:
    """The plan of a deletion with the objects of the gateway, blocked while tasks have not ended:
    turning the queue off accounts for them. They are counted again when it is executed
    (closing.py)."""
    if not state.own:
        return plan
    counts, problem = await count_tasks(connection, state)
    name = one_line(sanitize(f"{state.namespace}/{state.serving}"))
    if counts is not None and counts.backlog:
        text = (
            f"Its async queue has {format_count(counts.backlog, 'task')} that did not end yet; "
            f"turn it off first, which cancels them: servedeck async-queue off {name}."
        )
        return replace(plan, blocked=text)
    deletions = tuple(list_deletions(state))
    *first, last = plan.deletions
    effects = [*plan.effects, f"Its async queue: {join(one.ref for one in deletions)}."]
    if counts is not None and counts.completed:
        effects.append(f"{format_count(counts.completed, 'result')} can no longer be fetched.")
    warnings = list(plan.warnings)
    if counts is None:
        warnings.append(
            f"It is not known whether tasks of its async queue wait: {problem} Those that do are "
            "never delivered."
        )
    names = " ".join(f"{one.ref.kind.lower()}/{one.ref.name}" for one in deletions)
    return replace(
        plan,
        deletions=(*first, *deletions, last),
        effects=tuple(effects),
        kept=(*plan.kept, *kept_objects(state)),
        warnings=tuple(warnings),
        command=f"{plan.command} {names}",
        queue_counted=None if state.gateway is None else counts is not None,
    )
