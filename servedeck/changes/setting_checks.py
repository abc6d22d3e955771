"""Whether the cluster can do what auto scaling, load balancing and the temperature policy are to
do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.load_balancing_checks import check_load_balancing, list_wildcard_rules
from servedeck.changes.setting_texts import hidden_text, object_label
from servedeck.cluster.apply import ObjectRef, Preview, PreviewAction
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.lease import controller_lease, server_time
from servedeck.cluster.prometheus_services import (
    PrometheusLookupError,
    list_prometheus_services,
    service_url,
)
from servedeck.cluster.rejection import RejectionReason
from servedeck.cluster.resources import NAMESPACE, SCALED_OBJECT
from servedeck.serving.accelerators import accelerator_display_name
from servedeck.serving.objects.owners import find_gitops_owner
from servedeck.serving.spec import load_balancing, scaling, temperature_policy
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.mapping.auto_scaling import (
    HPA_KIND,
    can_wake,
    has_other_triggers,
    read_prometheus_url,
    restored_replicas,
)
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.json_values import as_mapping
from servedeck.serving.spec.mapping.reporters import find_reporter
from servedeck.serving.spec.mapping.request_ports import entry_port
from servedeck.serving.spec.mapping.scaling_queries import (
    build_activity_query,
    build_scaling_query,
    has_latency_metric,
    unknown_metric_text,
)
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import one_line, sanitize

NO_KEDA = (
    "KEDA is not installed in this cluster, which has no API group keda.sh; install it as "
    "https://keda.sh/docs/latest/deploy says."
)
NO_CONTROLLER = (
    "The controller of the temperature policy does not run in this cluster, and without it new "
    "Pods would never become ready; install it from deploy/controller first."
)
_FIELDS_BY_KIND = {
    "ScaledObject": "auto_scaling",
    HPA_KIND: "auto_scaling",
    "DestinationRule": "load_balancing",
    "BackendTrafficPolicy": "load_balancing",
}


_CAPACITY_FIELDS = ("max_replicas", "accelerator", "accelerator_count")


_AUTHENTICATED_PORT = ":9091"


def setting_of(kind: str) -> str:
    """The field that an object of this kind is made for; "" for none."""
    return _FIELDS_BY_KIND.get(kind, "")


async def complete_engines(
    connection: Connection, objects: ServingObjects, wanted: ServingSpec
) -> Engines:
    """The engines with the address of Prometheus, if a trigger of the wanted serving needs it:
    that of the present trigger, of the settings, or of a Service that looks like a Prometheus; and
    for a new serving with the DestinationRules of wildcards, if it gets one itself; with the labels
    of the namespace, if they decide who reports the response times. Raises ClusterError if the
    server cannot be reached."""
    engines = objects.engines
    is_new = not objects.deployment
    if is_new and engines.has_istio and wanted.load_balancing != load_balancing.OFF:
        engines = replace(
            engines, wildcard_rules=await list_wildcard_rules(connection, wanted.namespace)
        )
    if wanted.auto_scaling not in scaling.TRIGGERS:
        return engines
    if engines.has_istio and not has_latency_metric(wanted.template):
        labels = await _read_namespace_labels(connection, wanted.namespace)
        engines = replace(engines, namespace_labels=labels)
    if url := read_prometheus_url(objects) or engines.prometheus_url:
        return replace(engines, prometheus_url=url)
    try:
        places = await list_prometheus_services(connection)
    except PrometheusLookupError:
        return engines
    # That of OpenShift asks for TLS and a token, which KEDA must be given.
    open_places = [one for one in places if not one.endswith(_AUTHENTICATED_PORT)]
    return replace(engines, prometheus_url=service_url(open_places[0])) if open_places else engines


async def _read_namespace_labels(
    connection: Connection, namespace: str
) -> Mapping[str, Any] | None:
    """None if they may not be read."""
    try:
        found = await connection.get_json(NAMESPACE.object_path(None, namespace))
    except ApiError as failure:
        if failure.code not in (403, 404):
            raise
        return None
    return as_mapping(found, "metadata", "labels")


def check_settings(
    objects: ServingObjects,
    before: ServingSpec | None,
    wanted: ServingSpec,
    unlisted: Collection[str] = (),
) -> Iterator[Issue]:
    """Errors and warnings of the settings that differ. `objects` are those that the serving has,
    or would have if it is new (`before` is None); `unlisted` are kinds that may not be listed."""
    # The query of a trigger depends on the template.
    names = (*scaling.SCALING_FIELDS, *(("template",) if _has_trigger(before, wanted) else ()))
    if before is None or _differ(names, before, wanted):
        yield from _check_scaling(objects, before, wanted, unlisted)
    if (
        before is None
        or _differ(load_balancing.LOAD_BALANCING_FIELDS, before, wanted)
        or entry_port(before) != entry_port(wanted)
    ):
        yield from check_load_balancing(objects, before, wanted, unlisted)


def _has_trigger(before: ServingSpec | None, wanted: ServingSpec) -> bool:
    """Whether a trigger of servedeck stays."""
    is_same = before is not None and before.auto_scaling == wanted.auto_scaling
    return is_same and wanted.auto_scaling in scaling.TRIGGERS


def _differ(names: Collection[str], before: ServingSpec, wanted: ServingSpec) -> bool:
    return any(getattr(before, one) != getattr(wanted, one) for one in names)


# -- auto scaling -----------------------------------------------------------------------------


def _check_scaling(
    objects: ServingObjects,
    before: ServingSpec | None,
    wanted: ServingSpec,
    unlisted: Collection[str],
) -> Iterator[Issue]:
    kind = wanted.auto_scaling
    is_on = kind != scaling.OFF
    hidden = [one for one in (SCALED_OBJECT.kind, HPA_KIND) if one in unlisted]
    if hidden and (is_on or before is not None):
        yield error("auto_scaling", hidden_text(hidden[0], "an autoscaler scales it"))
        return
    if len(objects.scalers) > 1:
        names = " and ".join(map(object_label, objects.scalers))
        yield error(
            "auto_scaling",
            f"{names} both scale this Deployment and undo each other's work; delete one of them "
            "first.",
        )
        return
    for one in objects.scalers if before is not None else ():
        if (owner := find_gitops_owner(one)) is not None:
            yield warning("auto_scaling", owner.revert_warning)
    if before is not None and kind != before.auto_scaling:
        yield from _check_switch(objects, before, wanted)
    if kind in scaling.TRIGGERS:
        yield from _check_trigger(objects, before, wanted)
    if wanted.min_replicas == 0:
        yield from _check_zero(objects, before, wanted)


def _check_switch(
    objects: ServingObjects, before: ServingSpec, wanted: ServingSpec
) -> Iterator[Issue]:
    kind = wanted.auto_scaling
    if before.auto_scaling == scaling.HPA and kind in scaling.TRIGGERS:
        # Its webhook also looks at a dry run (keda apis/keda/v1alpha1/scaledobject_webhook.go,
        # verifyHpas): only a deletion that is done is known to help.
        yield error(
            "auto_scaling",
            f"KEDA rejects a ScaledObject while {object_label(objects.scalers[0])} scales the "
            f"Deployment; choose {scaling.OFF} and save, which deletes that, and then {kind}.",
        )
    if kind in (scaling.CUSTOM, scaling.HPA):
        yield error(
            "auto_scaling",
            f"{kind!r} stands for an autoscaler that somebody else made, and cannot be chosen; "
            f"choose {scaling.OFF}, {scaling.RESPONSE_TIME} or {scaling.WAITING_REQUESTS}.",
        )
    restored = restored_replicas(objects)
    if kind != scaling.OFF or restored is None:
        return
    if wanted.replicas != before.replicas:
        yield error(
            "replicas",
            f"When auto scaling ends, KEDA puts the replicas back to {restored}; change them after "
            "that.",
        )
    elif restored != before.replicas:
        yield warning(
            "auto_scaling",
            f"KEDA puts the replicas back to what they were before it: {before.replicas} → "
            f"{restored}.",
        )


def _check_trigger(
    objects: ServingObjects, before: ServingSpec | None, wanted: ServingSpec
) -> Iterator[Issue]:
    engines = objects.engines
    if not engines.has_keda:
        yield error("auto_scaling", NO_KEDA)
        return
    if (
        before is not None
        and before.auto_scaling == wanted.auto_scaling
        and before.template == wanted.template
    ):
        return
    query = build_scaling_query(
        wanted.auto_scaling,
        wanted.template,
        wanted.namespace,
        wanted.name,
        find_reporter(objects, wanted.name),
        is_woken=False,
    )
    if not query:
        yield error("auto_scaling", unknown_metric_text(wanted.auto_scaling))
    elif not engines.prometheus_url:
        yield error(
            "auto_scaling",
            "No Prometheus was found among the Services of the cluster, which KEDA asks for the "
            "load; name it with prometheus_service in the settings.",
        )


def _check_zero(
    objects: ServingObjects, before: ServingSpec | None, wanted: ServingSpec
) -> Iterator[Issue]:
    is_new = before is None or before.min_replicas != 0
    if wanted.auto_scaling in scaling.TRIGGERS and not (
        has_other_triggers(objects)
        or build_activity_query(wanted.template, wanted.namespace, wanted.name)
    ):
        yield error(
            "min_replicas",
            "No metric of the requests that run is known for this template, so the serving would "
            "be stopped while it answers; enter 1.",
        )
    elif not can_wake(objects):
        yield error(
            "min_replicas",
            "With 0 replicas nothing would start the serving again, because the metrics end with "
            "its Pods; enter 1, or turn its async queue on, or give its ScaledObject a trigger of "
            "KEDA's HTTP add-on.",
        )
    elif is_new and objects.engines.has_async_gateway:
        yield warning(
            "min_replicas",
            "Only asynchronous requests start the serving again; others fail while it has 0 "
            "replicas, which may be within seconds if it has no requests now.",
        )


def check_capacity(
    before: ServingSpec | None, spec: ServingSpec, inventory: ClusterInventory
) -> Iterator[Issue]:
    """That Max Replicas needs more accelerators than exist, as far as the nodes are known, if the
    change is about that."""
    if before is not None and not _differ(_CAPACITY_FIELDS, before, spec):
        return
    capacities = inventory.accelerator_capacities()
    if spec.max_replicas is None or not spec.accelerator or capacities is None:
        return
    total = sum(one.total for one in capacities if one.resource == spec.accelerator)
    needed = spec.max_replicas * spec.accelerator_count
    if needed > total:
        fitting = total // spec.accelerator_count if spec.accelerator_count > 0 else 0
        yield warning(
            "max_replicas",
            f"{spec.max_replicas} replicas need {needed} of {total} "
            f"{accelerator_display_name(spec.accelerator)} in this cluster; at most {fitting} "
            "can run, the others stay pending.",
        )


# -- temperature policy -----------------------------------------------------------------------


async def check_temperature(
    connection: Connection, before: ServingSpec | None, wanted: ServingSpec
) -> list[Issue]:
    """Errors and warnings of turning the temperature policy on: without its controller the new
    Pods would never become ready. Raises ClusterError if the server cannot be reached."""
    was_on = before is not None and before.temperature_policy == temperature_policy.ON
    if wanted.temperature_policy != temperature_policy.ON or was_on:
        return []
    found: list[Issue] = []
    try:
        is_alive = await _has_controller(connection, wanted.namespace)
    except ApiError as failure:
        found.append(
            warning(
                "temperature_policy",
                "It is not known whether the controller of the policy runs, without which new "
                f"Pods never become ready: {failure}",
            )
        )
    else:
        if not is_alive:
            found.append(error("temperature_policy", NO_CONTROLLER))
    if wanted.replicas <= 1 and wanted.auto_scaling == scaling.OFF:
        found.append(
            warning(
                "temperature_policy",
                "With one replica the policy does nothing: the last ready Pod stays in traffic.",
            )
        )
    return found


async def _has_controller(connection: Connection, namespace: str) -> bool:
    """Whether a controller acts for the namespace: that of all, or one of its own."""
    lease = await controller_lease(connection)
    if lease.is_alive(server_time(connection)):
        return True
    try:
        lease = await controller_lease(connection, of=namespace)
    except ApiError as failure:
        if failure.code != 403:
            raise
        return False
    return lease.is_alive(server_time(connection))


# -- the dry run ------------------------------------------------------------------------------


def rejected_settings(previews: Collection[Preview]) -> Iterator[Issue]:
    """The rejections of the objects of settings, each at its field."""
    for one in previews:
        if one.rejection is None or not (field := setting_of(one.ref.kind)):
            continue
        message = one.rejection.message
        # That of a conflict is the key of its fields, which are shown by name.
        is_conflict = one.rejection.reason is RejectionReason.CONFLICT
        yield error(field, message if is_conflict else f"{_ref_name(one.ref)}: {message}")


def deleted_objects(previews: Collection[Preview]) -> Iterator[Issue]:
    """Warnings about the objects of settings that are deleted."""
    for one in previews:
        if one.action is PreviewAction.DELETE:
            yield warning(setting_of(one.ref.kind), f"{_ref_name(one.ref)} is deleted.")


def _ref_name(ref: ObjectRef) -> str:
    return one_line(sanitize(f"{ref.kind} {ref.name}"))
