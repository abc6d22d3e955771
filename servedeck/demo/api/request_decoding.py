"""Prepares the objects that clients send for the store: decodes them, checks them against their
type and the URL, sets defaults, validates, and tracks their field manager."""

from __future__ import annotations

from typing import Any, NamedTuple

from servedeck.demo.api import defaults, managed_fields, request_bodies, status
from servedeck.demo.api.managed_fields import FieldManager
from servedeck.demo.api.request import ApiRequest
from servedeck.demo.api.request_bodies import ParsedBody, TypeMismatchError
from servedeck.demo.api.schema import schema_of
from servedeck.demo.api.status import StatusCause
from servedeck.demo.api.validation import object_validation
from servedeck.demo.resources import BY_KIND, Resource
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.json_copy import copy_json

Json = dict[str, Any]

_FIELD_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
STRICT, IGNORE = "Strict", "Ignore"


class DecodedObject(NamedTuple):
    """An object that fits its type, and warnings for the client."""

    obj: Json
    warnings: list[str]


def check_options(call: ApiRequest, kind: str) -> None:
    """StatusError 422 for an invalid dryRun, fieldManager or fieldValidation. `kind` is that of
    the options: CreateOptions, UpdateOptions, PatchOptions or DeleteOptions."""
    causes = []
    if (dry := call.query.get("dryRun")) not in (None, "", "All"):
        message = f'Unsupported value: ["{dry}"]: supported values: "All"'
        causes.append(StatusCause("FieldValueNotSupported", message, "dryRun"))
    if len(call.query.get("fieldManager", "").encode()) > 128:
        message = "Too long: may not be more than 128 bytes"
        causes.append(StatusCause("FieldValueTooLong", message, "fieldManager"))
    if (validate := call.query.get("fieldValidation", "")) not in _FIELD_VALIDATIONS:
        listed = ", ".join(f'"{word}"' for word in _FIELD_VALIDATIONS)
        message = f'Unsupported value: "{validate}": supported values: {listed}'
        causes.append(StatusCause("FieldValueNotSupported", message, "fieldValidation"))
    if causes:
        raise status.invalid("meta.k8s.io", kind, "", causes)


def strict_errors(unknown: list[str], duplicates: list[str]) -> list[str]:
    """The errors of strict decoding, such as `unknown field "spec.x"`."""
    found = [f'unknown field "{path}"' for path in unknown]
    return found + [f'duplicate field "{path}"' for path in duplicates]


def decode_object(call: ApiRequest) -> DecodedObject:
    """The object in the body of a POST or PUT. StatusError 400 or 415."""
    resource = call.resource
    parsed: ParsedBody = request_bodies.read_body(call.body, call.content_type, resource.kind)
    data = parsed.data
    _check_kind(resource, data)
    start = (
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
    )
    try:
        checked = request_bodies.check_type(schema_of(resource), data)
    except TypeMismatchError as error:
        raise status.bad_request(f"{start}{error}") from None
    errors = strict_errors(checked.unknown, parsed.duplicates)
    mode = call.query.get("fieldValidation", "")
    if errors and mode == STRICT:
        raise status.bad_request(f"{start}strict decoding error: {', '.join(errors)}")
    obj = checked.data
    obj.setdefault("metadata", {})
    check_url(call, obj, named=bool(call.name))
    return DecodedObject(obj, [] if mode == IGNORE else errors)


def _check_kind(resource: Resource, data: Json) -> None:
    version, kind = data.get("apiVersion"), data.get("kind")
    if not version and not kind:
        return
    if (version, kind) == (resource.api_version, resource.kind):
        return
    if isinstance(version, str) and isinstance(kind, str) and (version, kind) in BY_KIND:
        group = (version.rpartition("/")[0] or "v1").split(".")[0]
        short = version.rpartition("/")[2]
        target = resource.group.split(".")[0] or "core"
        why = f"converting ({group if '/' in version else short}.{kind}) to "
        why += f"({target}.{resource.kind}): unknown conversion"
    else:
        why = f'no kind "{kind}" is registered for version "{version}" in scheme'
        why += ' "pkg/runtime/scheme.go:111"'
        short = resource.version
    raise status.bad_request(
        f'{kind} in version "{short}" cannot be handled as a {resource.kind}: {why}'
    )


def check_url(call: ApiRequest, obj: Json, *, named: bool) -> None:
    """Takes name and namespace from the URL where the object has none; StatusError 400 where they
    differ."""
    meta = obj["metadata"]
    if named:
        if not meta.get("name"):
            meta["name"] = call.name
        if meta["name"] != call.name:
            raise status.bad_request(
                f"the name of the object ({meta['name']}) does not match the name on the URL "
                f"({call.name})"
            )
    if not call.resource.namespaced:
        meta.pop("namespace", None)
        return
    if meta.get("namespace") and meta["namespace"] != call.namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    meta["namespace"] = call.namespace


def prepare_for_store(
    store: ObjectStore, call: ApiRequest, obj: Json, old: Json | None, subresource: str = ""
) -> Json:
    """The object with defaults and managedFields. StatusError 422 for an invalid one."""
    resource = call.resource
    obj = default_and_validate(resource, obj, old, subresource)
    manager = FieldManager(call.field_manager, "Update", resource.api_version, subresource)
    return managed_fields.track_update(schema_of(resource), old, obj, manager, store.timestamp())


def default_and_validate(
    resource: Resource, obj: Json, old: Json | None, subresource: str = ""
) -> Json:
    """Sets defaults and validates; keeps the parts that this write cannot change."""
    obj = copy_json(obj)
    obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
    if subresource == "status" and old is not None:
        meta = dict(old["metadata"])
        for field in ("managedFields", "resourceVersion", "uid"):
            if field in obj["metadata"]:
                meta[field] = obj["metadata"][field]
        kept = {name: value for name, value in old.items() if name != "status"}
        object_validation.validate_status(resource, obj)
        return {**kept, "metadata": meta, "status": obj.get("status") or {}}
    if resource.has_status:
        obj.pop("status", None)
        if old is not None and "status" in old:
            obj["status"] = old["status"]
        elif (node := schema_of(resource).fields.get("status")) and node.is_value:
            obj["status"] = {}
    if old is not None:
        _keep_allocated_fields(resource, obj, old)
    defaults.set_defaults(resource, obj)
    object_validation.validate_object(resource, obj, old)
    return obj


def _keep_allocated_fields(resource: Resource, obj: Json, old: Json) -> None:
    """Keeps what the server allocated to a Service where a PUT leaves it out."""
    if resource.kind == "Service":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if field in old["spec"] and not obj.get("spec", {}).get(field):
                obj.setdefault("spec", {})[field] = old["spec"][field]
