"""What a change of a traffic split does, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from servedeck.changes.traffic_split.plan import TrafficAction, TrafficPlan
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import EndpointRule
from servedeck.serving.objects.field_changes import FieldChange
from servedeck.serving.objects.owners import find_controller, find_gitops_owner
from servedeck.serving.objects.traffic_split import TOTAL_WEIGHT, own_filters
from servedeck.serving.text import format_count, one_line, sanitize


def unchanged_sentence(plan: TrafficPlan) -> str:
    """Why there is nothing to do."""
    name, other = plan.options.target, plan.other_name
    match plan.options.action:
        case TrafficAction.ABORT:
            text = f"All requests of {name} go to it already."
        case TrafficAction.PROMOTE:
            text = f"All requests of {name} go to {other} already."
        case _:
            text = f"{other} gets {plan.options.weight} % of the requests of {name} already."
    return one_line(sanitize(text))


def _changing_rules(plan: TrafficPlan) -> list[EndpointRule]:
    changing = {id(one.write.live) for one in plan.changes}
    return [one for one in plan.state.rules if id(one.route) in changing]


def list_differences(plan: TrafficPlan, other: Side) -> Iterator[FieldChange]:
    main = plan.state.main.label
    weight = plan.options.wanted_weight
    after = f"{main} {TOTAL_WEIGHT - weight} %, {other.label} {weight} %"
    if plan.options.action is TrafficAction.ABORT:
        after = f"{main} {TOTAL_WEIGHT} %"
    for one in _changing_rules(plan):
        if one.rule.shares != after:
            yield FieldChange(one.rule.label, one.rule.shares, after)


def list_effects(plan: TrafficPlan, other: Side) -> Iterator[str]:
    options, state = plan.options, plan.state
    main, name, weight = state.main.name, other.name, options.wanted_weight
    ready = f" ({other.replicas})" if other.replicas else ""
    routes = ", ".join(f"{one.write.ref.kind} {one.write.ref.name}" for one in plan.changes)
    if options.action is TrafficAction.ABORT:
        yield f"{routes}: all requests go to {main} again ({state.main.replicas})."
        kept = "its Pods stay" if other.revision_of else "its Pods and its own endpoint stay"
        yield f"{name} is taken out of the route; {kept} as they are."
    elif weight == TOTAL_WEIGHT:
        yield f"{routes}: all requests go to {name}{ready}."
        then = "when you no longer need that, scale it down"
        if state.revision is not None:
            then = f"the next step, finish, takes the settings of {name} over into {main}"
        yield (
            f"The endpoint stays that of {main}, so clients change nothing. {main} gets no "
            "requests, keeps its Pods, and stays in the route with weight 0, so that abort gives "
            f"them back; {then}."
        )
    else:
        yield f"{routes}: {weight} % of the requests go to {name}{ready}, the others to {main}."
        if not state.is_split and not other.revision_of:
            yield f"The own endpoint of {name} stays as it is."
    if _copies_filters(plan, other):
        yield f"What the route does with requests to {main} alone is done for {name}, too."
    yield "New requests follow the weights; those in progress end where they began."
    if state.has_async_queue:
        yield (
            f"Asynchronous requests go on to the async queue of {main}, which delivers to it alone."
        )
    yield "Restarts no Pods."


def _copies_filters(plan: TrafficPlan, other: Side) -> bool:
    if plan.options.action is TrafficAction.ABORT:
        return False
    return any(
        len(one.rule.backends) == 1
        and own_filters(one.route, (one.rule.index,), plan.state.main_service(one))
        for one in _changing_rules(plan)
    )


def list_warnings(plan: TrafficPlan, other: Side) -> Iterator[str]:
    state, action = plan.state, plan.options.action
    yield from state.conditions
    for one in plan.changes:
        live = one.write.live or {}
        owner = find_gitops_owner(live) or find_controller(live)
        if owner is not None:
            yield owner.revert_warning
    if action is TrafficAction.ABORT:
        if not state.main.ready:
            yield f"{state.main.name} has no ready replica, so its requests would fail."
    else:
        yield from _other_warnings(plan, other)
    for rule in state.kept:
        yield (
            f"A rule of {rule.label} for certain headers or parameters stays as it is: "
            f"{rule.shares}."
        )
    if state.has_ingress:
        yield f"An Ingress leads to {state.main.name}, too: its requests are not divided."
    if state.has_openshift_route:
        yield (
            f"A Route of OpenShift leads to {state.main.name}, too: how it divides its requests is "
            "not changed."
        )


def model_warnings(name: str, model: str, main: str, main_model: str) -> Iterator[str]:
    """That requests of the endpoint name another model than the other serving answers to; a served
    model is "" if it is not known."""
    if model and main_model and model != main_model:
        yield (
            f"{name} serves the model {model}, {main} serves {main_model}: {name} may refuse "
            f"requests that name {main_model}; give both the same served model name."
        )


def _other_warnings(plan: TrafficPlan, other: Side) -> Iterator[str]:
    state, weight = plan.state, plan.options.wanted_weight
    name, main = other.name, state.main
    if not other.is_serving:
        yield (
            f"No serving is known behind Service {name}, so it is not known whether it has ready "
            "Pods."
        )
    elif not other.ready:
        yield (
            f"{name} has no ready replica: the requests that are sent to it would fail; wait until "
            "it is Ready."
        )
    elif weight == TOTAL_WEIGHT and other.ready < main.ready:
        yield (
            f"{name} has {format_count(other.ready, 'ready replica')}, {main.name} has "
            f"{main.ready:,}: scale {name} up first if it cannot take all requests."
        )
    yield from model_warnings(name, other.model, main.name, main.model)
    if weight == TOTAL_WEIGHT and state.has_async_queue:
        yield (
            f"The async queue of {main.name} still delivers to {main.name}: keep it running, or "
            "turn its queue off before you scale it down."
        )
    services = {other.target.service} if other.target else set()
    if any(services.intersection(one.rule.mirrors) for one in state.rules):
        yield (
            f"The route also mirrors requests to {name}: it gets those besides its share, and its "
            "metrics count both."
        )
    if any(one.rule.has_sessions for one in state.rules):
        yield (
            "The route keeps sessions with their backend: the weights count for new sessions only."
        )
