"""Planning a change of a traffic split with what the cluster has now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from servedeck.changes.live_objects import find_other_kind
from servedeck.changes.object_writes import plan_writes, preview_writes
from servedeck.changes.traffic_split.plan import (
    RouteChange,
    TrafficAction,
    TrafficOptions,
    TrafficPlan,
    first_weight_problem,
    weight_problem,
)
from servedeck.changes.traffic_split.sentences import (
    list_differences,
    list_effects,
    list_warnings,
    unchanged_sentence,
)
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import EndpointRule, TrafficState, read_state
from servedeck.cluster.apply import PreviewAction
from servedeck.cluster.http.connection import Connection
from servedeck.serving.objects.change import ObjectChange
from servedeck.serving.objects.field_changes import describe_admission
from servedeck.serving.objects.traffic_split import (
    TOTAL_WEIGHT,
    SplitTarget,
    format_percentage,
    remove_backend,
    set_weight,
)
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.text import one_line, sanitize


async def plan_traffic(connection: Connection, options: TrafficOptions) -> TrafficPlan:
    """What it would do now, including the API server's dry run. Raises ClusterError if that cannot
    be found out."""
    where, slash, name = options.other.rpartition("/")
    asked = name if options.action is TrafficAction.SPLIT else ""
    is_elsewhere = bool(slash) and where != options.namespace
    state = await read_state(
        connection, options.namespace, options.serving, "" if is_elsewhere else asked
    )
    plan = TrafficPlan(options, state)
    if is_elsewhere:
        blocked = (
            f"{options.other} is in another namespace than {options.target}; a route may send "
            "there only with a ReferenceGrant of that namespace, which servedeck does not create: "
            f"choose a serving of namespace {options.namespace}."
        )
    elif not state.live.objects:
        blocked = await describe_missing(connection, options.namespace, options.serving)
    else:
        blocked = _find_block(options, state)
    if blocked:
        return replace(plan, blocked=one_line(sanitize(blocked)))
    # Without a Service of that name, it can still be taken out of the routes.
    other = state.other or Side(next(iter(state.others), ""), None, {})
    routes = list(_changed_routes(plan, other))
    if not routes:
        return replace(plan, unchanged=unchanged_sentence(plan))
    change = ObjectChange(tuple(one for one, _ in routes), tuple(one for _, one in routes), (), ())
    writes = plan_writes(change, force=options.force)
    changes = [RouteChange(one, wanted) for one, (_, wanted) in zip(writes, routes, strict=True)]
    return await _with_previews(connection, replace(plan, changes=tuple(changes)), other)


async def describe_missing(connection: Connection, namespace: str, name: str) -> str:
    """That there is no such serving, one sentence, sanitized."""
    text = f"There is no Deployment {name} in namespace {namespace}"
    if kind := await find_other_kind(connection, namespace, name):
        text += f"; the {kind} of that name is read-only here"
    return one_line(sanitize(f"{text}."))


# -- what is in the way ---------------------------------------------------------------------------


def _find_block(options: TrafficOptions, state: TrafficState) -> str:
    """Why it is not possible, one sentence; "" if it is."""
    if state.main.is_deleted:
        return "The serving is being deleted."
    if problem := state.problem or _shown_problem(options, state):
        return problem
    match options.action:
        case TrafficAction.ABORT:
            return ""
        case TrafficAction.SPLIT:
            problem = weight_problem(options.weight) or _split_problem(options, state)
        case TrafficAction.PROMOTE:
            problem = _promotion_problem(options, state)
    other = state.other
    takes_all = options.wanted_weight == TOTAL_WEIGHT
    if not problem and takes_all and other is not None and other.is_serving and not other.ready:
        return f"{other.name} has no ready replica, so all requests would fail; wait until it has."
    return problem


def _shown_problem(options: TrafficOptions, state: TrafficState) -> str:
    """That the requests are divided with another one than the operator saw, one sentence; "" if it
    is the same, or nobody saw one."""
    shown, now = options.shown, state.other_side
    if shown is None:
        return ""
    if now is None:
        if options.action is not TrafficAction.SPLIT:
            return ""
        return (
            f"{shown.name} gets no share of the requests of {options.target} any more, so its "
            "weight is not changed; choose it again to send it a share."
        )
    # All goes back to the serving, whichever Pods the Service selects now.
    is_same_behind = options.action is TrafficAction.ABORT or state.other is None
    if now == shown or (is_same_behind and now.service == shown.service):
        return ""
    return (
        f"The requests of {options.target} are divided with {now.name} ({now.service}) now, not "
        f"with {shown.name} ({shown.service}) any more, so nothing is changed; look at the split "
        "again."
    )


def _promotion_problem(options: TrafficOptions, state: TrafficState) -> str:
    if not state.is_split:
        return (
            f"All requests of {options.target} go to it already, so there is nothing to promote; "
            "send a share to another serving first."
        )
    return state.gone


def _split_problem(options: TrafficOptions, state: TrafficState) -> str:
    other, others = state.other, state.others
    if state.is_asked_missing:
        name = options.other.rpartition("/")[2]
        return (
            f"There is no Deployment and no Service {name} in namespace {options.namespace}; "
            "choose a serving of that namespace."
        )
    if other is None:
        return state.gone or "Say which serving of the namespace gets the share."
    if other.name == state.serving or (other.target and other.target.service in state.services):
        return f"{other.name} leads to the serving itself; choose another one."
    if other.is_deleted:
        return f"{other.name} is being deleted; choose another serving."
    if other.is_async_gateway:
        return f"{other.name} is an async gateway, which is sent requests by rules of its own."
    if other.target is None:
        return (
            f"No Service leads to the port for requests of {other.name}; create one, as "
            "`servedeck adopt` does."
        )
    if others and others != [other.target.service]:
        return (
            f"The requests are divided with {others[0]} already; abort that first, then send a "
            f"share to {other.name}."
        )
    if not state.is_split and (problem := first_weight_problem(options.weight, other.name)):
        return problem
    # The present weight may be that of a change that was interrupted between two routes.
    if len(state.weights) > 1 and options.weight not in state.weights:
        shown = ", ".join(map(format_percentage, state.weights))
        return (
            f"Its rules have different weights for {other.name} ({shown}), and servedeck sets one "
            "for all; abort or promote, or edit the routes."
        )
    return ""


# -- what changes ---------------------------------------------------------------------------------


def _rules_by_route(state: TrafficState) -> Iterator[tuple[JsonObject, list[EndpointRule]]]:
    for route in {id(one.route): one.route for one in state.rules}.values():
        yield route, [one for one in state.rules if one.route is route]


def _changed_routes(plan: TrafficPlan, other: Side) -> Iterator[tuple[JsonObject, JsonObject]]:
    """The routes that change, as they are and as they are wanted."""
    options, state = plan.options, plan.state
    service = state.others[0] if state.others else other.target.service if other.target else ""
    target = SplitTarget(service, other.target.port if other.target else 0)
    main_weight = TOTAL_WEIGHT - options.wanted_weight
    for route, rules in _rules_by_route(state):
        wanted = route
        for one in rules:
            main, indexes = state.main_service(one), (one.rule.index,)
            is_divided = len(one.rule.backends) > 1
            if options.action is TrafficAction.ABORT:
                wanted = remove_backend(wanted, indexes, main, service) if is_divided else wanted
            elif not is_divided or one.rule.percentage(state.services) != main_weight:
                wanted = set_weight(wanted, indexes, main, target, options.wanted_weight)
        if wanted != route:
            yield route, wanted


async def _with_previews(connection: Connection, plan: TrafficPlan, other: Side) -> TrafficPlan:
    """The plan after a dry run. Raises ClusterError."""
    writes = [one.write for one in plan.changes]
    previews = await preview_writes(connection, writes, force=plan.options.force)
    rejections = tuple(one for one in previews if one.rejection is not None)
    changing = {
        one.ref: one.stored for one in previews if one.action is not PreviewAction.UNCHANGED
    }
    plan = replace(
        plan,
        changes=tuple(
            replace(one, admitted=changing[one.write.ref])
            for one in plan.changes
            if one.write.ref in changing
        ),
        rejections=rejections,
    )
    admission = tuple(
        describe_admission(one.ref, change) for one in previews for change in one.admission_changes
    )
    if rejections:
        first = rejections[0].rejection
        assert first is not None
        return replace(plan, blocked=f"{rejections[0].ref}: {first.message}")
    if not plan.changes:
        if admission:
            return replace(plan, blocked=" ".join((*admission, "So nothing would change.")))
        return replace(plan, unchanged=unchanged_sentence(plan))
    warnings = (*admission, *(text for one in previews for text in one.warnings))
    found = dict.fromkeys((*list_warnings(plan, other), *warnings))
    return replace(
        plan,
        effects=tuple(one_line(sanitize(one)) for one in list_effects(plan, other)),
        warnings=tuple(one_line(sanitize(one)) for one in found),
        differences=tuple(list_differences(plan, other)),
    )
