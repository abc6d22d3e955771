"""PATCH in its four forms: JSON patch, merge patch, strategic merge patch, server-side apply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from servedeck.demo.api import field_set, managed_fields, patches, request_bodies, scale, status
from servedeck.demo.api.managed_fields import FieldManager
from servedeck.demo.api.request import ApiRequest, parse_bool
from servedeck.demo.api.request_bodies import TypeMismatchError
from servedeck.demo.api.request_decoding import (
    IGNORE,
    STRICT,
    check_options,
    check_url,
    default_and_validate,
    prepare_for_store,
    strict_errors,
)
from servedeck.demo.api.schema import SCALE, SchemaNode, schema_by_name, schema_of
from servedeck.demo.api.status import StatusCause, StatusError
from servedeck.demo.api.write_handlers import HandlerResult, put_scale
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.json_copy import copy_json

Json = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def handle_patch(store: ObjectStore, call: ApiRequest) -> HandlerResult:
    kinds: tuple[str, ...] = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)
    if call.resource.builtin:
        kinds += (STRATEGIC_PATCH,)
    if call.content_type not in kinds:
        raise StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    if call.content_type == APPLY_PATCH:
        return _server_side_apply(store, call)
    check_options(call, "PatchOptions")
    change = _read_patch(call)
    old = store.get(call.resource, call.namespace, call.name)
    if call.subresource == "scale":
        before, node = scale.scale_of(old), schema_by_name(SCALE)
    else:
        before, node = old, schema_of(call.resource)
    patched = _apply_patch(call, node, before, change)
    try:
        checked = request_bodies.check_type(node, patched)
    except TypeMismatchError as error:
        raise _invalid_patch_error(call, change, patched, str(error)) from None
    errors = sorted(strict_errors(checked.unknown, []))
    mode = call.query.get("fieldValidation", "")
    if errors and mode == STRICT:
        detail = f"strict decoding error: {', '.join(errors)}"
        raise _invalid_patch_error(call, change, patched, detail)
    warnings = [] if mode == IGNORE else errors
    obj = checked.data
    obj.setdefault("metadata", {})
    if call.subresource == "scale":
        return HandlerResult(200, put_scale(store, call, obj), warnings)
    check_url(call, obj, named=True)
    prepared = prepare_for_store(store, call, obj, old, call.subresource)
    written = store.update(call.resource, prepared, call.subresource, dry_run=call.dry_run)
    return HandlerResult(200, written, warnings)


def _read_patch(call: ApiRequest) -> Any:
    start = "" if call.content_type == STRATEGIC_PATCH else "error decoding patch: "
    try:
        data = request_bodies.parse_json(call.body).data
    except ValueError as error:
        raise status.bad_request(f"{start}{error}") from None
    if call.content_type == JSON_PATCH:
        if not isinstance(data, list):
            found = request_bodies.go_json_type(data)
            raise status.bad_request(
                f"{start}json: cannot unmarshal {found} into Go value of type "
                "[]handlers.jsonPatchOp"
            )
        if len(data) > 10_000:
            raise status.too_large(
                f"The allowed maximum operations in a JSON patch is 10000, got {len(data)}"
            )
        for operation in data:
            _check_operation(operation, start)
    elif not isinstance(data, dict):
        found = request_bodies.go_json_type(data)
        raise status.bad_request(
            f"{start}json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        )
    return data


def _check_operation(operation: Any, start: str) -> None:
    """StatusError 400 where Go cannot decode an operation; null counts as left out. Source:
    apiserver pkg/endpoints/handlers/patch.go, jsonPatchOp."""
    if operation is None:
        return
    if not isinstance(operation, dict):
        raise status.bad_request(
            f"{start}json: cannot unmarshal {request_bodies.go_json_type(operation)} into Go value "
            "of type handlers.jsonPatchOp"
        )
    for name in ("op", "from", "path"):
        value = operation.get(name)
        if value is not None and not isinstance(value, str):
            raise status.bad_request(
                f"{start}json: cannot unmarshal {request_bodies.go_json_type(value)} into Go "
                f"struct field jsonPatchOp.{name} of type string"
            )


def _apply_patch(call: ApiRequest, node: SchemaNode, obj: Json, change: Any) -> Json:
    if call.content_type == JSON_PATCH:
        patched = patches.json_patch(obj, change)
        if not isinstance(patched, dict):
            raise status.bad_request("the patch does not leave an object")
        if request_bodies.is_too_deep(patched):
            raise status.bad_request(request_bodies.TOO_DEEP)
        return patched
    if call.content_type == MERGE_PATCH:
        return patches.merge_patch(obj, change)
    return patches.strategic_patch(node, obj, change)


def _invalid_patch_error(call: ApiRequest, change: Any, patched: Json, detail: str) -> StatusError:
    """422 that quotes the patch (strategic) or its result, as the real server does."""
    if call.content_type == STRATEGIC_PATCH:
        shown = patches.format_go_value(change)
        if " of type " in detail:
            detail = f"unrecognized type: {detail.rpartition(' ')[2]}"
    else:
        shown = json.dumps(patched, separators=(",", ":"), ensure_ascii=False)
    message = f"Invalid value: {json.dumps(shown, ensure_ascii=False)}: {detail}"
    return status.invalid("", "", "", [StatusCause("FieldValueInvalid", message, "patch")])


# -- server-side apply ------------------------------------------------------------------------


def _server_side_apply(store: ObjectStore, call: ApiRequest) -> HandlerResult:
    resource, node = call.resource, schema_of(call.resource)
    if not call.query.get("fieldManager"):
        detail = "Required value: is required for apply patch"
        cause = StatusCause("FieldValueRequired", detail, "fieldManager")
        raise status.invalid("meta.k8s.io", "PatchOptions", "", [cause])
    check_options(call, "PatchOptions")
    config = _read_configuration(call)
    old = store.find(resource, call.namespace, call.name)
    if old is None and call.subresource:
        raise status.not_found(resource.group, resource.plural, call.name)
    if old is None and (uid := config["metadata"].get("uid")):
        why = (
            f"uid mismatch: the provided object specified uid {uid}, and no existing object was "
            "found"
        )
        raise status.conflict(resource.group, resource.plural, call.name, why)
    version = config["metadata"].get("resourceVersion")
    manager = FieldManager(call.field_manager, "Apply", resource.api_version, call.subresource)
    config = _without_reset_fields(call, config)
    force = parse_bool(call.query, "force")
    merged = managed_fields.merge_apply_configuration(
        node, old, config, manager, store.timestamp(), force=force
    )
    try:
        checked = request_bodies.check_type(node, merged)
    except TypeMismatchError as error:
        described = _describe_object(call, config)
        kind = f"{resource.api_version}, Kind={resource.kind}"
        raise StatusError(
            500,
            "",
            f"failed to convert new object ({described}) to proper version: unable to convert "
            f"unstructured object to {kind}: {error}",
        ) from None
    obj = checked.data
    if old is not None and obj["metadata"].get("uid", "") != old["metadata"]["uid"]:
        detail = f"Invalid value: {json.dumps(obj['metadata']['uid'])}: field is immutable"
        cause = StatusCause("FieldValueInvalid", detail, "metadata.uid")
        raise status.invalid(resource.group, resource.kind, call.name, [cause, cause])
    obj["metadata"]["managedFields"] = merged["metadata"].get("managedFields") or []
    check_url(call, obj, named=True)
    prepared = default_and_validate(resource, obj, old, call.subresource)
    if old is None:
        return HandlerResult(201, store.create(resource, prepared, dry_run=call.dry_run))
    if version:
        prepared["metadata"]["resourceVersion"] = version
    written = store.update(resource, prepared, call.subresource, dry_run=call.dry_run)
    return HandlerResult(200, written)


def _without_reset_fields(call: ApiRequest, config: Json) -> Json:
    """Without the fields that this subresource cannot set (GetResetFields of the strategies)."""
    if call.subresource == "status":
        return {k: v for k, v in config.items() if k != "spec"}
    if call.resource.has_status:
        return {k: v for k, v in config.items() if k != "status"}
    return config


def _read_configuration(call: ApiRequest) -> Json:
    resource, node = call.resource, schema_of(call.resource)
    try:
        config = request_bodies.parse_yaml(call.body).data
    except ValueError as error:
        raise status.bad_request(
            f"error decoding YAML: error converting YAML to JSON: {error}"
        ) from None
    if not isinstance(config, dict):
        found = request_bodies.go_json_type(config)
        raise status.bad_request(
            f"error decoding YAML: json: cannot unmarshal {found} into Go value of type "
            "map[string]interface {}"
        )
    version, kind = str(config.get("apiVersion") or ""), str(config.get("kind") or "")
    if (version, kind) != (resource.api_version, resource.kind):
        shown = version if "/" in version else f"/{version}"
        raise status.bad_request(f"invalid object type: {shown}, Kind={kind}")
    if not isinstance(config.setdefault("metadata", {}), dict):
        config["metadata"] = {}
    if config["metadata"].get("managedFields"):
        raise status.bad_request("metadata.managedFields must be nil")
    config = _without_nulls(config)
    errors = list(_schema_errors(node, config, ()))
    if not errors and (duplicate := managed_fields.find_duplicate(node, config)):
        errors = [duplicate]
    if errors:
        joined = "\n  ".join(errors)
        text = errors[0] if len(errors) == 1 else f"errors:\n  {joined}"
        raise StatusError(
            500,
            "",
            f"failed to create typed patch object ({_describe_object(call, config)}): {text}",
        )
    return copy_json(config)  # type: ignore[no-any-return]


def _describe_object(call: ApiRequest, config: Json) -> str:
    meta, resource = config["metadata"], call.resource
    name = f"{meta.get('namespace', '')}/{meta.get('name', '')}"
    return f"{name}; {resource.api_version}, Kind={resource.kind}"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


def _schema_errors(node: SchemaNode, value: Any, path: field_set.FieldPath) -> Iterator[str]:
    """The errors of a configuration that does not fit its type. Source: structured-merge-diff
    typed/validate.go."""
    where = field_set.format_path(path)
    form = node.form
    if form in ("struct", "map"):
        if not isinstance(value, dict):
            yield f"{where}: expected map, got &{{{patches.format_go_value(value)}}}"
            return
        for name, item in value.items():
            child = node.fields.get(name) if form == "struct" else node.element
            inner = (*path, f"f:{name}")
            if child is None:
                yield f"{field_set.format_path(inner)}: field not declared in schema"
            else:
                yield from _schema_errors(child, item, inner)
    elif form == "list":
        if not isinstance(value, list):
            yield f"{where}: expected list, got &{{{patches.format_go_value(value)}}}"
            return
        for index, item in enumerate(value):
            if node.list_type == "map" and not isinstance(item, dict):
                yield (
                    f"{where}: element {index}: associative list with keys may not have non-map "
                    "elements"
                )
                continue
            keyed = node.list_type in ("map", "set")
            key = field_set.item_key(node, item) if keyed else f"i:{index}"
            yield from _schema_errors(node.element, item, (*path, key))
    elif form in ("int32", "int64", "float64"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            found = request_bodies.go_json_type(value)
            yield f"{where}: expected numeric (int or float), got {found}"
    elif form == "bool":
        if not isinstance(value, bool):
            yield f"{where}: expected boolean, got &{{{patches.format_go_value(value)}}}"
    elif form in ("string", "time") and not isinstance(value, str):
        shown = patches.format_go_value(value)
        yield f"{where}: expected string, got &value.valueUnstructured{{Value:{shown}}}"
