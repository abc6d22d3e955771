"""POST, PUT and DELETE."""

from __future__ import annotations

from typing import Any, NamedTuple

from servedeck.demo.api import request_bodies, scale, selectors, status
from servedeck.demo.api.access import review_access
from servedeck.demo.api.managed_fields import FieldManager, track_update
from servedeck.demo.api.read_handlers import to_list
from servedeck.demo.api.request import ApiRequest, parse_int, parse_list_options
from servedeck.demo.api.request_decoding import check_options, decode_object, prepare_for_store
from servedeck.demo.api.schema import SCALE, schema_by_name, schema_of
from servedeck.demo.api.status import StatusCause
from servedeck.demo.api.validation import object_validation
from servedeck.demo.resources import NAMESPACES, REPLICATIONCONTROLLERS
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.store.update_strategy import SPEC_AND_STATUS

Json = dict[str, Any]

_IMMORTAL_NAMESPACES = ("default", "kube-public", "kube-system")
_POLICIES = ("Foreground", "Background", "Orphan")


class HandlerResult(NamedTuple):
    """Status code, body and warnings of a response."""

    code: int
    body: Json
    warnings: list[str] = []


def create_object(store: ObjectStore, call: ApiRequest) -> HandlerResult:
    check_options(call, "CreateOptions")
    if call.resource.verbs == ("create",):
        incoming = decode_object(call)
        return HandlerResult(
            201, review_access(call.resource, call.user, incoming.obj), incoming.warnings
        )
    obj, warnings = decode_object(call)
    if obj["metadata"].pop("resourceVersion", ""):
        raise status.StatusError(
            500, "", "resourceVersion should not be set on objects to be created"
        )
    obj["metadata"].pop("managedFields", None)
    prepared = prepare_for_store(store, call, obj, None)
    return HandlerResult(201, store.create(call.resource, prepared, dry_run=call.dry_run), warnings)


def replace_object(store: ObjectStore, call: ApiRequest) -> HandlerResult:
    check_options(call, "UpdateOptions")
    if call.subresource == "scale":
        return HandlerResult(200, put_scale(store, call, _decode_scale(call)))
    obj, warnings = decode_object(call)
    old = store.get(call.resource, call.namespace, call.name)
    if call.subresource == "finalize":
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        new = {**old, "spec": {**old.get("spec", {}), "finalizers": finalizers}}
        return HandlerResult(
            200, store.update(NAMESPACES, new, SPEC_AND_STATUS, dry_run=call.dry_run), warnings
        )
    if not call.resource.builtin and not obj["metadata"].get("resourceVersion"):
        message = "Invalid value: 0: must be specified for an update"
        cause = StatusCause("FieldValueInvalid", message, "metadata.resourceVersion")
        raise status.invalid(call.resource.group, call.resource.kind, call.name, [cause])
    prepared = prepare_for_store(store, call, obj, old, call.subresource)
    written = store.update(call.resource, prepared, call.subresource, dry_run=call.dry_run)
    return HandlerResult(200, written, warnings)


def _decode_scale(call: ApiRequest) -> Json:
    parsed = request_bodies.read_body(call.body, call.content_type, "Scale")
    try:
        obj: Json = request_bodies.check_type(schema_by_name(SCALE), parsed.data).data
    except request_bodies.TypeMismatchError as error:
        raise status.bad_request(
            f'Scale in version "v1" cannot be handled as a Scale: {error}'
        ) from None
    found = obj.setdefault("metadata", {}).setdefault("name", call.name)
    if found != call.name:
        raise status.bad_request(
            f"the name of the object ({found}) does not match the name on the URL ({call.name})"
        )
    return obj


def put_scale(store: ObjectStore, call: ApiRequest, wanted: Json) -> Json:
    """Sets the replicas of a workload to those of a Scale; the new Scale."""
    old = store.get(call.resource, call.namespace, call.name)
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    object_validation.validate_scale(call.name, replicas)
    meta = {**old["metadata"]}
    for field in ("resourceVersion", "uid"):
        if value := wanted.get("metadata", {}).get(field):
            meta[field] = value
    new = {**old, "metadata": meta, "spec": {**old["spec"], "replicas": replicas}}
    manager = FieldManager(call.field_manager, "Update", call.resource.api_version, "scale")
    new = track_update(schema_of(call.resource), old, new, manager, store.timestamp())
    return scale.scale_of(store.update(call.resource, new, "scale", dry_run=call.dry_run))


# -- deletion ---------------------------------------------------------------------------------


class _DeleteOptions(NamedTuple):
    propagation: str
    grace: int | None
    uid: str
    version: str
    dry_run: bool


def delete_object(store: ObjectStore, call: ApiRequest) -> HandlerResult:
    options = _parse_delete_options(call)
    if call.resource is NAMESPACES and call.name in _IMMORTAL_NAMESPACES:
        raise status.forbidden("", "namespaces", call.name, "this namespace may not be deleted")
    last = store.delete(
        call.resource,
        call.namespace,
        call.name,
        propagation=options.propagation,
        grace=options.grace,
        uid=options.uid,
        version=options.version,
        dry_run=options.dry_run,
    )
    waits = last["metadata"].get("deletionTimestamp")
    if call.resource.returns_object or waits:
        return HandlerResult(200, last)
    details: Json = {"name": call.name}
    if call.resource.group:
        details["group"] = call.resource.group
    details |= {"kind": call.resource.plural, "uid": last["metadata"]["uid"]}
    success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return HandlerResult(200, success | {"details": details})


def delete_collection(store: ObjectStore, call: ApiRequest) -> HandlerResult:
    options = _parse_delete_options(call)
    wanted = parse_list_options(call, watch=False)
    matches = selectors.object_matcher(call.resource, wanted.label_selector, wanted.field_selector)
    found = [
        obj for obj in store.list(call.resource, call.namespace) if matches is None or matches(obj)
    ]
    meta = {"resourceVersion": str(store.version)}
    for obj in found:
        store.delete(
            call.resource,
            obj["metadata"].get("namespace", ""),
            obj["metadata"]["name"],
            propagation=options.propagation,
            grace=options.grace,
            dry_run=options.dry_run,
        )
    return HandlerResult(200, to_list(call.resource, found, meta))


def _parse_delete_options(call: ApiRequest) -> _DeleteOptions:
    """The options of a deletion, from its body; the query counts only without one. Source:
    kubernetes apiserver pkg/endpoints/handlers/delete.go."""
    check_options(call, "DeleteOptions")
    body: Json = {}
    query = call.query
    if call.body.strip():
        query = {}
        body = request_bodies.read_body(
            call.body, call.content_type or "application/json", "DeleteOptions"
        ).data
        node = schema_by_name("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        try:
            body = request_bodies.check_type(node, body).data
        except request_bodies.TypeMismatchError as error:
            raise status.bad_request(
                f'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: {error}'
            ) from None
    orphan = body.get("orphanDependents")
    # the default of v1 for ReplicationControllers is to orphan their Pods
    default = "Orphan" if call.resource is REPLICATIONCONTROLLERS else "Background"
    if orphan is not None:
        default = "Orphan" if orphan else "Background"
    policy = body.get("propagationPolicy") or query.get("propagationPolicy") or default
    if policy not in _POLICIES:
        listed = ", ".join(f'"{word}"' for word in (*_POLICIES, "nil"))
        message = f'Unsupported value: "{policy}": supported values: {listed}'
        cause = StatusCause("FieldValueNotSupported", message, "propagationPolicy")
        raise status.invalid("meta.k8s.io", "DeleteOptions", "", [cause])
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = parse_int(query, "gracePeriodSeconds")
    if grace is not None and grace < 0:
        grace = 1
    conditions = body.get("preconditions") or {}
    dry = body.get("dryRun") or []
    if dry not in ([], ["All"]):
        message = f"Unsupported value: {dry}: supported values: All"
        cause = StatusCause("FieldValueNotSupported", message, "dryRun")
        raise status.invalid("meta.k8s.io", "DeleteOptions", "", [cause])
    return _DeleteOptions(
        policy,
        grace,
        conditions.get("uid", ""),
        conditions.get("resourceVersion", ""),
        bool(dry or query.get("dryRun")),
    )
