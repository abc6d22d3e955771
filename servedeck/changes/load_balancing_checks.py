"""Whether the cluster can spread the requests of a serving as its load balancing says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from servedeck.changes.setting_texts import (
    hidden_resources_text,
    hidden_text,
    object_label,
)
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import DESTINATION_RULE, POOL_RESOURCES
from servedeck.serving.objects.owners import find_gitops_owner
from servedeck.serving.objects.traffic_policies import wildcard_rules
from servedeck.serving.objects.traffic_split import read_rules
from servedeck.serving.spec import load_balancing, scaling
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.mapping.inference_pools import (
    HTTP_ROUTE_KIND,
    INFERENCE_POOL_KIND,
    RuleBackend,
    count_rules,
    fitting_pools,
    http_route_backends,
    own_pools,
    pool_backends,
    pool_key,
    pool_ports,
    pool_selector,
    referenced_pool,
    sends_to_pool,
    service_backends,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings
from servedeck.serving.spec.mapping.load_balancing import (
    find_policy,
    find_replaced_rule,
    policy_kind,
)
from servedeck.serving.spec.mapping.request_ports import entry_port, service_target
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import one_line, sanitize

NO_LOAD_BALANCER = (
    "Neither Istio nor Envoy Gateway with an HTTPRoute of this serving can spread its requests "
    "here, so the proxy decides; install one of them, or leave it off."
)
NO_INFERENCE_POOLS = (
    "The Gateway API Inference Extension is not installed in this cluster, which has no API group "
    "inference.networking.k8s.io; install it as https://gateway-api-inference-extension.sigs.k8s.io"
    "/guides/ says."
)
NO_HTTP_ROUTE = (
    "No HTTPRoute leads to this serving, and only an HTTPRoute can send to an InferencePool; "
    "create one, or choose another load balancing."
)
_CHART_LABELS = "inferencePool.modelServers.matchLabels"
"""Value of the extension's chart `inferencepool` (config/charts/inferencepool/README.md)."""


async def list_wildcard_rules(connection: Connection, namespace: str) -> tuple[JsonObject, ...]:
    """The DestinationRules of a namespace whose host is a wildcard; () if they may not be listed.
    Raises ClusterError if the server cannot be reached."""
    try:
        found = await connection.get_json(DESTINATION_RULE.collection_path(namespace))
    except ApiError as failure:
        if failure.code not in (403, 404):
            raise
        return ()
    return wildcard_rules(mappings(found.get("items")))


def check_load_balancing(
    objects: ServingObjects,
    before: ServingSpec | None,
    wanted: ServingSpec,
    unlisted: Collection[str],
) -> Iterator[Issue]:
    """Errors and warnings of the wanted load balancing; arguments as for `check_settings`."""
    chosen = wanted.load_balancing
    present = before.load_balancing if before is not None else load_balancing.OFF
    if before is not None and not _differs(before, wanted):
        yield from _check_ports_of_pools(objects, before, wanted)
        return
    uses_pool = load_balancing.PREFIX_AWARE in (present, chosen)
    kind = policy_kind(objects)
    is_on = chosen != load_balancing.OFF
    leaves_pool = present == load_balancing.PREFIX_AWARE or (
        chosen not in (load_balancing.OFF, load_balancing.CUSTOM, load_balancing.PREFIX_AWARE)
        and bool(pool_backends(objects.routes, own_pools(objects)))
    )
    hidden = [one for one in POOL_RESOURCES if one.group in objects.engines.hidden_pool_groups]
    if chosen == load_balancing.PREFIX_AWARE and hidden:
        yield error("load_balancing", hidden_resources_text(hidden, "one selects the Pods of this"))
        return
    is_policy_used = (is_on or before is not None) and chosen != load_balancing.PREFIX_AWARE
    if kind in unlisted and is_policy_used:
        yield error("load_balancing", hidden_text(kind, "one sets its load balancing"))
        return
    if before is not None:
        yield from _owner_warnings(objects, changes_routes=uses_pool or leaves_pool)
        if leaves_pool:
            yield from _check_return(objects, before)
    if not is_on:
        return
    if chosen == load_balancing.CUSTOM:
        if before is not None and present != chosen:
            yield error(
                "load_balancing",
                "'custom' stands for settings that somebody else made, and cannot be chosen; "
                f"choose one of {', '.join(load_balancing.CHOICES)}.",
            )
    elif chosen == load_balancing.PREFIX_AWARE:
        yield from _check_prefix_aware(objects, before, wanted)
    elif pool := _foreign_pool(objects):
        yield error(
            "load_balancing",
            f"The route sends to InferencePool {pool}, whose endpoint picker chooses the Pod for "
            "each request; leave this off.",
        )
    elif not kind:
        yield error("load_balancing", NO_LOAD_BALANCER)
    elif text := _shared_policy_text(objects):
        yield error("load_balancing", text)
    else:
        is_created = before is None or find_policy(objects) is None
        if is_created and kind == DESTINATION_RULE.kind:
            yield from _check_wildcard(objects, wanted)
        yield from _check_replicas(wanted)


def _differs(before: ServingSpec, wanted: ServingSpec) -> bool:
    return any(
        getattr(before, one) != getattr(wanted, one) for one in load_balancing.LOAD_BALANCING_FIELDS
    )


def _check_replicas(wanted: ServingSpec) -> Iterator[Issue]:
    if wanted.replicas <= 1 and wanted.auto_scaling == scaling.OFF:
        yield warning("load_balancing", "With one replica there is nothing to balance.")


def _owner_warnings(objects: ServingObjects, *, changes_routes: bool) -> Iterator[Issue]:
    """Who takes a change of the policies back, and one of the routes, if those change."""
    changed = [*objects.policies, *(_http_routes(objects) if changes_routes else ())]
    owners = filter(None, map(find_gitops_owner, changed))
    for text in dict.fromkeys(one.revert_warning for one in owners):
        yield warning("load_balancing", text)


# -- policies -------------------------------------------------------------------------------------


def _check_wildcard(objects: ServingObjects, wanted: ServingSpec) -> Iterator[Issue]:
    """That a new DestinationRule takes the place of one with a wildcard."""
    replaced = find_replaced_rule(objects, wanted.namespace, wanted.name)
    if replaced is None:
        return
    name, host = as_str(as_mapping(replaced.rule, "metadata").get("name")), replaced.host
    text = f"{DESTINATION_RULE.kind} {name} of {host} does not apply to this serving any more: "
    if copied := ", ".join(replaced.copied):
        text += f"its settings {copied} are copied, but their later changes are not"
    if lost := ", ".join(replaced.lost):
        text += ("; " if copied else "") + f"{lost} are not copied, add what is needed"
    yield warning("load_balancing", one_line(sanitize(f"{text}.")))


def _shared_policy_text(objects: ServingObjects) -> str:
    """Why its policy is not changed, one sentence; "" if it can be."""
    policy = find_policy(objects)
    if policy is None or not _is_shared(policy, objects):
        return ""
    return (
        f"{object_label(policy)} is for other routes, too, or for a part of one, and would change "
        "for all of them; give this serving a policy of its own, or change that one."
    )


def _is_shared(policy: JsonObject, objects: ServingObjects) -> bool:
    """Whether a BackendTrafficPolicy has targets besides the whole routes of the serving."""
    spec = as_mapping(policy, "spec")
    own = {as_mapping(one, "metadata").get("name") for one in _http_routes(objects)}
    targets = [*mappings(spec.get("targetRefs")), as_mapping(spec, "targetRef")]
    is_other = any(
        one and (one.get("name") not in own or bool(one.get("sectionName"))) for one in targets
    )
    return is_other or bool(mappings(spec.get("targetSelectors")))


def _http_routes(objects: ServingObjects) -> list[JsonObject]:
    return [one for one in objects.routes if one.get("kind") == HTTP_ROUTE_KIND]


# -- InferencePools -------------------------------------------------------------------------------


def _check_prefix_aware(
    objects: ServingObjects, before: ServingSpec | None, wanted: ServingSpec
) -> Iterator[Issue]:
    pools, fitting = own_pools(objects), fitting_pools(objects, wanted)
    message = ""
    if not objects.engines.has_inference_pools:
        message = NO_INFERENCE_POOLS
    elif not _http_routes(objects):
        message = NO_HTTP_ROUTE
    elif not pools:
        message = _no_pool_text(objects, wanted)
    elif not fitting:
        message = _other_port_text(pools[0], wanted, "make another one")
    elif before is not None:
        message = _rules_text(objects, before) or _shared_policy_text(objects)
    elif not sends_to_pool(objects):
        message = NO_HTTP_ROUTE
    if message:
        yield error("load_balancing", message)
        return
    yield from _check_replicas(wanted)
    yield from _check_selector(objects, fitting[0])
    if objects.engines.has_async_gateway:
        yield warning(
            "load_balancing",
            "The async gateway delivers its tasks to the Service, past the endpoint picker.",
        )


def _no_pool_text(objects: ServingObjects, wanted: ServingSpec) -> str:
    labels = as_mapping(objects.deployment, "spec", "selector", "matchLabels") or objects.pod_labels
    where = f"namespace {wanted.namespace}" if wanted.namespace else "its namespace"
    return one_line(
        f"No InferencePool of {where} selects the Pods of this serving; install the chart "
        f"inferencepool of the Gateway API Inference Extension with {_CHART_LABELS} "
        f"{_labels_text(labels)}."
    )


def _other_port_text(pool: Mapping[str, Any], wanted: ServingSpec, alternative: str) -> str:
    ports = ", ".join(map(str, pool_ports(pool))) or "no known port"
    return (
        f"{object_label(pool)} sends to port {ports} of the Pods, and requests to this serving go "
        f"to port {entry_port(wanted)}; give the pool that target port, or {alternative}."
    )


def _check_ports_of_pools(
    objects: ServingObjects, before: ServingSpec, wanted: ServingSpec
) -> Iterator[Issue]:
    """That the pool which the route sends to does not follow another port of the serving."""
    if wanted.load_balancing != load_balancing.PREFIX_AWARE:
        return
    fitting = [pool_key(one) for one in fitting_pools(objects, wanted)]
    was_fitting = [pool_key(one) for one in fitting_pools(objects, before)]
    for pool in own_pools(objects):
        key = pool_key(pool)
        is_used = bool(pool_backends(objects.routes, [pool]))
        if is_used and key in was_fitting and key not in fitting:
            is_transformer = wanted.transformer is not None
            field = "transformer" if is_transformer else "inference_port"
            yield error(
                field,
                _other_port_text(pool, wanted, "choose another load balancing first"),
            )


def _rules_text(objects: ServingObjects, before: ServingSpec) -> str:
    """Why no rule can send to a pool, one sentence; "" if one can. A rule that divides requests
    keeps its backends: the shares of a pool and a Service would be another division."""
    backends = service_backends(objects, before)
    if divided := [one for one in backends if not one.is_alone]:
        return _divided_text(divided)
    if not backends and not sends_to_pool(objects):
        return (
            "No rule of its HTTPRoutes sends to a Service of this serving at a port for requests, "
            "so none can send to an InferencePool instead; change the route."
        )
    return ""


def _check_return(objects: ServingObjects, before: ServingSpec) -> Iterator[Issue]:
    """Whether the rules can send to the Service again."""
    backends = pool_backends(objects.routes, own_pools(objects))
    divided = [one for one in backends if not one.is_alone]
    if divided:
        yield error("load_balancing", _divided_text(divided))
    elif service_target(objects, before) is None:
        yield error(
            "load_balancing",
            "No Service of this serving has a port for requests, so its route cannot lead to one; "
            "create a Service first.",
        )
    elif before.load_balancing != load_balancing.PREFIX_AWARE:
        for pool in own_pools(objects):
            if text := rules_to_pool(objects, pool):
                yield warning("load_balancing", f"{text}; they will send to the Service.")


def rules_to_pool(objects: ServingObjects, pool: Mapping[str, Any]) -> str:
    """ "1 of 3 rules send to InferencePool llama", sanitized; "" if none or all of them do."""
    count = count_rules(objects, [pool])
    if not 0 < count.to_pool < count.total:
        return ""
    return f"{count.to_pool} of {count.total} rules send to {object_label(pool)}"


def _divided_text(backends: Sequence[RuleBackend]) -> str:
    one = backends[0]
    # Read alone, a rule is the first of its route.
    [read] = read_rules({**one.route, "spec": {"rules": [one.rule]}})
    return (
        f"{read.label} divides requests ({read.shares}), and what each share goes to is not "
        "changed here; end that traffic split first."
    )


def _check_selector(objects: ServingObjects, pool: Mapping[str, Any]) -> Iterator[Issue]:
    """That the pool may have Pods of other Deployments: the labels by which this Deployment knows
    its own are not among those that the pool selects."""
    selector = pool_selector(pool)
    own = as_mapping(objects.deployment, "spec", "selector", "matchLabels")
    if own and not selector.items() & own.items():
        yield warning(
            "load_balancing",
            one_line(
                f"{object_label(pool)} selects Pods by {_labels_text(selector)} alone: those of "
                "other servings that have it, too, would get requests of this one."
            ),
        )


def _foreign_pool(objects: ServingObjects) -> str:
    """Name of an InferencePool among the backends of its HTTPRoutes that is not known to select its
    Pods; "" for none."""
    own = {pool_key(one) for one in own_pools(objects)}
    for one in http_route_backends(objects.routes):
        is_pool = one.ref.get("kind") == INFERENCE_POOL_KIND
        if is_pool and referenced_pool(one.route, one.ref) not in own:
            return one_line(sanitize(as_str(one.ref.get("name"))))
    return ""


def _labels_text(labels: Mapping[str, Any]) -> str:
    return sanitize(", ".join(f"{as_str(key)}={as_str(labels[key])}" for key in sorted(labels)))
