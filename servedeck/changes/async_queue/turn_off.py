"""Planning to turn the async queue of a serving off, and what becomes of it with the serving."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import AsyncQueueError
from servedeck.async_queue.tasks import StateCounts
from servedeck.changes.async_queue.plan import (
    AsyncQueueOptions,
    AsyncQueuePlan,
    join,
    with_previews,
)
from servedeck.changes.async_queue.sending import delete_object
from servedeck.changes.async_queue.state import AsyncQueueState, describe_ref, secret_refs
from servedeck.changes.async_queue.turn_on import write_routes
from servedeck.changes.operations.execution import rejection_text
from servedeck.changes.operations.operation import ObjectDeletion
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.command_options import CommandOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.serving.objects.async_routes import async_gateway_name, remove_async_rules
from servedeck.serving.objects.owners import find_gitops_owner
from servedeck.serving.spec.mapping.auto_scaling import has_other_triggers
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str
from servedeck.serving.text import format_count, one_line, sanitize

_ORDER = (
    "Service",
    "Deployment",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "RoleBinding",
    "Role",
    "ServiceAccount",
    "ConfigMap",
    "Secret",
)
"""Kinds in the order in which they are deleted; the Service for operators goes after the
Deployment, as the tasks are counted and cancelled through it."""


async def plan_turning_off(
    connection: Connection, options: AsyncQueueOptions, state: AsyncQueueState
) -> AsyncQueuePlan:
    """Turn it off, with the API server's dry run. Raises ClusterError if that cannot be found
    out."""
    plan = AsyncQueuePlan(options)
    if state.is_off:
        if state.unreadable:
            return replace(plan, blocked=next(iter(state.unreadable.values())))
        return replace(plan, unchanged="The async queue is off already.")
    read = state.live.import_serving()
    if read.spec.min_replicas == 0 and not has_other_triggers(read.objects):
        cluster = CommandOptions.of(connection.context_name, connection.options.kubeconfig)
        command = f"servedeck set {state.namespace}/{state.serving} minReplicas=1"
        return replace(
            plan,
            blocked="Its autoscaler may scale the serving to 0, and only the async queue starts it "
            f"again; first: {cluster.add_to(command)}",
        )
    routes = [(one, remove_async_rules(one, state.serving)) for one in state.routes_with_rules]
    plan = replace(
        plan,
        route_writes=tuple(write_routes(routes, force=options.force)),
        deletions=tuple(list_deletions(state)),
        kept=tuple(kept_objects(state)),
        warnings=tuple(_warnings(state)),
    )
    plan = await with_previews(connection, plan)
    if plan.blocked:
        return plan
    try:
        for one in plan.deletions:
            await delete_object(connection, one, dry_run=True)
    except ApiError as error:
        return replace(plan, blocked=f"{one.target} cannot be deleted: {rejection_text(error)}")
    counts, problem = await count_tasks(connection, state)
    unfinished = None if counts is None else counts.backlog
    plan = replace(plan, unfinished=unfinished)
    return replace(plan, effects=tuple(_effects(plan, state, counts, problem)))


async def count_tasks(
    connection: Connection, state: AsyncQueueState
) -> tuple[StateCounts | None, str]:
    """The tasks by state, or None and why they are not known, one sentence."""
    if state.gateway is None:
        if not state.accepts_tasks:
            return StateCounts(), ""
        return None, f"There is no Deployment {async_gateway_name(state.serving)} that knows them."
    client = AsyncQueueClient(connection, state.namespace, state.serving)
    try:
        return (await client.queue_status()).counts, ""
    except AsyncQueueError as error:
        return None, one_line(sanitize(str(error)))


def list_deletions(state: AsyncQueueState) -> Iterator[ObjectDeletion]:
    """The objects of the gateway, that for callers first and the Secret with all keys last."""
    admin = f"{async_gateway_name(state.serving)}-admin"
    last = secret_refs(state.namespace, state.serving)[0]

    def order(ref: ObjectRef) -> tuple[int, str, bool]:
        at = _ORDER.index("Deployment") if ref.name == admin else _ORDER.index(ref.kind)
        return at, ref.kind, ref == last

    for ref in sorted(state.own, key=order):
        found = state.objects[ref]
        uid = as_str(as_mapping(found, "metadata").get("uid"))
        yield ObjectDeletion(ref, describe_ref(ref), uid)


def kept_objects(state: AsyncQueueState) -> Iterator[str]:
    """What of the names of a gateway is not deleted, and why."""
    own = set(state.own)
    for ref, one in state.objects.items():
        if one is not None and ref not in own:
            yield f"{describe_ref(ref)}, which servedeck did not make"
    for ref, reason in state.unreadable.items():
        yield f"{describe_ref(ref)}, which may not be read: {one_line(sanitize(reason))}"


def _warnings(state: AsyncQueueState) -> Iterator[str]:
    for route in state.routes_with_rules:
        if (owner := find_gitops_owner(route)) is not None:
            yield owner.revert_warning


def _effects(
    plan: AsyncQueuePlan, state: AsyncQueueState, counts: StateCounts | None, problem: str
) -> Iterator[str]:
    for one in plan.route_writes:
        rest = "sends all requests to the serving again"
        yield f"{one.ref.kind} {one.ref.name} {rest}, which answers them at once."
    yield from tasks_sentences(counts, problem)
    if plan.deletions:
        yield f"Deleted: {join(one.ref for one in plan.deletions)}."
    if state.gateway is not None and counts is not None:
        yield (
            "What is stored of its tasks is deleted: requests and results, in Valkey and in the "
            "object store, and callbacks that are not sent yet."
        )
    elif plan.deletions:
        yield (
            "What is stored of its tasks stays, as no gateway can delete it, until the async queue "
            "of a serving of this name is on again, and then until it expires; results can no "
            "longer be fetched."
        )
    yield "Restarts no Pods of the serving."


def tasks_sentences(counts: StateCounts | None, problem: str) -> Iterator[str]:
    """What happens to the tasks."""
    if counts is None:
        yield (
            f"It is not known whether tasks wait: {problem} Those that do are never delivered, and "
            "their callers are not notified."
        )
        return
    if counts.backlog:
        yield (
            f"Cancelled: {format_count(counts.backlog, 'task')} ({counts.pending:,} pending, "
            f"{counts.processing:,} processing)."
        )
    else:
        yield "No task is pending or processing."
    if counts.completed:
        yield f"{format_count(counts.completed, 'result')} can no longer be fetched."
