"""Whether the cluster can spread the requests of a serving as its load balancing says."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from servedeck.changes.setting_texts import hidden_text, object_name
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import DESTINATION_RULE
from servedeck.serving.objects.owners import find_gitops_owner
from servedeck.serving.objects.traffic_policies import wildcard_rules
from servedeck.serving.spec import load_balancing, scaling
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings
from servedeck.serving.spec.mapping.load_balancing import (
    find_policy,
    find_replaced_rule,
    policy_kind,
)
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import one_line, sanitize

NO_LOAD_BALANCER = (
    "Neither Istio nor Envoy Gateway with an HTTPRoute of this serving can spread its requests "
    "here, so the proxy decides; install one of them, or leave it off."
)


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
    """Errors and warnings, as `check_settings` has them for all settings."""
    chosen = wanted.load_balancing
    is_on = chosen != load_balancing.OFF
    kind = policy_kind(objects)
    if kind in unlisted and (is_on or before is not None):
        yield error("load_balancing", hidden_text(kind, "one sets its load balancing"))
        return
    for one in objects.policies if before is not None else ():
        if (owner := find_gitops_owner(one)) is not None:
            yield warning("load_balancing", owner.revert_warning)
    if not is_on:
        return
    if chosen == load_balancing.CUSTOM:
        if before is not None and before.load_balancing != chosen:
            yield error(
                "load_balancing",
                "'custom' stands for settings that somebody else made, and cannot be chosen; "
                f"choose one of {', '.join(load_balancing.CHOICES)}.",
            )
    elif pool := _inference_pool(objects):
        yield error(
            "load_balancing",
            f"The route sends to InferencePool {pool}, whose endpoint picker chooses the Pod for "
            "each request; leave this off.",
        )
    elif not kind:
        yield error("load_balancing", NO_LOAD_BALANCER)
    elif (policy := find_policy(objects)) is not None and _is_shared(policy, objects):
        yield error(
            "load_balancing",
            f"{object_name(policy)} is for other routes, too, or for a part of one, and would "
            "change for all of them; give this serving a policy of its own, or change that one.",
        )
    else:
        is_created = before is None or find_policy(objects) is None
        if is_created and kind == DESTINATION_RULE.kind:
            yield from _check_wildcard(objects, wanted)
        if wanted.replicas <= 1 and wanted.auto_scaling == scaling.OFF:
            yield warning("load_balancing", "With one replica there is nothing to balance.")


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


def _is_shared(policy: JsonObject, objects: ServingObjects) -> bool:
    """Whether a BackendTrafficPolicy has targets besides the whole routes of the serving."""
    spec = as_mapping(policy, "spec")
    own = {
        as_mapping(one, "metadata").get("name")
        for one in objects.routes
        if one.get("kind") == "HTTPRoute"
    }
    targets = [*mappings(spec.get("targetRefs")), as_mapping(spec, "targetRef")]
    is_other = any(
        one and (one.get("name") not in own or bool(one.get("sectionName"))) for one in targets
    )
    return is_other or bool(mappings(spec.get("targetSelectors")))


def _inference_pool(objects: ServingObjects) -> str:
    """Name of an InferencePool among the backends of its HTTPRoutes; "" for none."""
    for route in objects.routes:
        for rule in mappings(as_mapping(route, "spec").get("rules")):
            for one in mappings(rule.get("backendRefs")):
                if one.get("kind") == "InferencePool":
                    return one_line(sanitize(as_str(one.get("name"))))
    return ""
