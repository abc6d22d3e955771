"""POST, PUT and DELETE: what becomes of an object that a client sends."""

from __future__ import annotations

from typing import Any, NamedTuple

from servedeck.demo.api import request_bodies, scale, selectors, status
from servedeck.demo.api.access import review
from servedeck.demo.api.managed_fields import Manager, track
from servedeck.demo.api.read_handlers import list_of
from servedeck.demo.api.request import Call, integer, list_options
from servedeck.demo.api.request_decoding import check_options, decode, finish
from servedeck.demo.api.schema import SCALE, named, schema_of
from servedeck.demo.api.status import Cause
from servedeck.demo.api.validation import object_validation
from servedeck.demo.resources import NAMESPACES, REPLICATIONCONTROLLERS
from servedeck.demo.store.store import Store
from servedeck.demo.store.update_strategy import ALL

Json = dict[str, Any]

_PERMANENT = ("default", "kube-public", "kube-system")
_POLICIES = ("Foreground", "Background", "Orphan")


class Answer(NamedTuple):
    """Code and body of an answer, and the warnings that go with it."""

    code: int
    body: Json
    warnings: list[str] = []


def create(store: Store, call: Call) -> Answer:
    check_options(call, "CreateOptions")
    if call.resource.verbs == ("create",):
        incoming = decode(call)
        return Answer(201, review(call.resource, call.user, incoming.obj), incoming.warnings)
    obj, warnings = decode(call)
    if obj["metadata"].pop("resourceVersion", ""):
        raise status.StatusError(
            500, "", "resourceVersion should not be set on objects to be created"
        )
    obj["metadata"].pop("managedFields", None)
    ready = finish(store, call, obj, None)
    return Answer(201, store.create(call.resource, ready, dry_run=call.dry_run), warnings)


def replace(store: Store, call: Call) -> Answer:
    check_options(call, "UpdateOptions")
    if call.subresource == "scale":
        return Answer(200, put_scale(store, call, _decode_scale(call)))
    obj, warnings = decode(call)
    old = store.get(call.resource, call.namespace, call.name)
    if call.subresource == "finalize":
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        new = {**old, "spec": {**old.get("spec", {}), "finalizers": finalizers}}
        return Answer(200, store.update(NAMESPACES, new, ALL, dry_run=call.dry_run), warnings)
    if not call.resource.builtin and not obj["metadata"].get("resourceVersion"):
        words = "Invalid value: 0: must be specified for an update"
        cause = Cause("FieldValueInvalid", words, "metadata.resourceVersion")
        raise status.invalid(call.resource.group, call.resource.kind, call.name, [cause])
    ready = finish(store, call, obj, old, call.subresource)
    written = store.update(call.resource, ready, call.subresource, dry_run=call.dry_run)
    return Answer(200, written, warnings)


def _decode_scale(call: Call) -> Json:
    parsed = request_bodies.read(call.body, call.content_type, "Scale")
    try:
        obj: Json = request_bodies.check(named(SCALE), parsed.data).data
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


def put_scale(store: Store, call: Call, wanted: Json) -> Json:
    """Sets the replicas of a workload to those of a Scale; the new Scale."""
    old = store.get(call.resource, call.namespace, call.name)
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    object_validation.check_replicas(call.name, replicas)
    meta = {**old["metadata"]}
    for field in ("resourceVersion", "uid"):
        if value := wanted.get("metadata", {}).get(field):
            meta[field] = value
    new = {**old, "metadata": meta, "spec": {**old["spec"], "replicas": replicas}}
    manager = Manager(call.manager, "Update", call.resource.api_version, "scale")
    new = track(schema_of(call.resource), old, new, manager, store.timestamp())
    return scale.of(store.update(call.resource, new, "scale", dry_run=call.dry_run))


# -- deletion ---------------------------------------------------------------------------------


class _Deletion(NamedTuple):
    propagation: str
    grace: int | None
    uid: str
    version: str
    dry_run: bool


def delete(store: Store, call: Call) -> Answer:
    options = _deletion(call)
    if call.resource is NAMESPACES and call.name in _PERMANENT:
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
        return Answer(200, last)
    details: Json = {"name": call.name}
    if call.resource.group:
        details["group"] = call.resource.group
    details |= {"kind": call.resource.plural, "uid": last["metadata"]["uid"]}
    success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return Answer(200, success | {"details": details})


def delete_collection(store: Store, call: Call) -> Answer:
    options = _deletion(call)
    wanted = list_options(call, watch=False)
    matches = selectors.matcher(call.resource, wanted.labels, wanted.fields)
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
    return Answer(200, list_of(call.resource, found, meta))


def _deletion(call: Call) -> _Deletion:
    """Options of a deletion, from its body or, where that has none, its query."""
    check_options(call, "DeleteOptions")
    body: Json = {}
    if call.body.strip():
        body = request_bodies.read(
            call.body, call.content_type or "application/json", "DeleteOptions"
        ).data
        node = named("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        try:
            body = request_bodies.check(node, body).data
        except request_bodies.TypeMismatchError as error:
            raise status.bad_request(
                f'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: {error}'
            ) from None
    orphan = body.get("orphanDependents")
    # what nobody asks for: the Pods of a ReplicationController were orphaned in v1 of old
    default = "Orphan" if call.resource is REPLICATIONCONTROLLERS else "Background"
    if orphan is not None:
        default = "Orphan" if orphan else "Background"
    policy = body.get("propagationPolicy") or call.query.get("propagationPolicy") or default
    if policy not in _POLICIES:
        listed = ", ".join(f'"{word}"' for word in (*_POLICIES, "nil"))
        words = f'Unsupported value: "{policy}": supported values: {listed}'
        cause = Cause("FieldValueNotSupported", words, "propagationPolicy")
        raise status.invalid("meta.k8s.io", "DeleteOptions", "", [cause])
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = integer(call.query, "gracePeriodSeconds")
    if grace is not None and grace < 0:
        grace = 1
    conditions = body.get("preconditions") or {}
    dry = body.get("dryRun") or []
    if dry not in ([], ["All"]):
        words = f"Unsupported value: {dry}: supported values: All"
        cause = Cause("FieldValueNotSupported", words, "dryRun")
        raise status.invalid("meta.k8s.io", "DeleteOptions", "", [cause])
    return _Deletion(
        policy,
        grace,
        conditions.get("uid", ""),
        conditions.get("resourceVersion", ""),
        call.dry_run or bool(dry),
    )
