"""GET of one object and of lists, with selectors, pages, versions and Tables."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from servedeck.demo.api import scale, selectors, status
from servedeck.demo.api.events_v1 import to_events_v1
from servedeck.demo.api.request import (
    ApiRequest,
    ListOptions,
    ResponseFormat,
    parse_list_options,
    response_format,
    version_too_large_error,
)
from servedeck.demo.api.tables.table import make_table, partial_metadata
from servedeck.demo.resources import EVENTS, EVENTS_V1, Resource
from servedeck.demo.store.objects import Key
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]

_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


def storage_of(resource: Resource) -> tuple[Resource, Callable[[Json], Json] | None]:
    """The resource under which the objects are stored, and the conversion to the requested one."""
    return (EVENTS, to_events_v1) if resource is EVENTS_V1 else (resource, None)


def get_object(store: ObjectStore, call: ApiRequest) -> Json:
    """One object, its Scale, or a Table of it."""
    stored, convert = storage_of(call.resource)
    form = response_format(call)
    obj = store.get(stored, call.namespace, call.name)
    if convert:
        obj = convert(obj)
    if call.subresource == "scale":
        return scale.scale_of(obj)
    if form.kind == "table":
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        now = store.clock.now()
        return make_table(call.resource, [obj], meta, now, include=form.include)
    return partial_metadata(obj) if form.kind == "partial" else obj


def list_objects(store: ObjectStore, call: ApiRequest) -> Json:
    """A page of a list, or all of it."""
    options = parse_list_options(call, watch=False)
    form = response_format(call)
    stored, convert = storage_of(call.resource)
    matches = selectors.object_matcher(
        call.resource, options.label_selector, options.field_selector
    )
    objects, version, start = _list_snapshot(store, stored, options, call.namespace)
    items: list[Json] = []
    meta = {"resourceVersion": str(version)}
    more: list[Key] = []
    # resourceVersion=0 is served from the watch cache, which does not page
    limit = 0 if options.version == 0 and not options.continue_token else options.limit
    keys = sorted(key for key in objects if key > start)
    for index, key in enumerate(keys):
        if call.namespace and key[0] != call.namespace:
            continue
        if limit and len(items) == limit:
            more = keys[index:]
            break
        obj = convert(objects[key]) if convert else objects[key]
        if matches is None or matches(obj):
            items.append(obj)
    if more and (left := _remaining_count(more, call.namespace)):
        last = items[-1]["metadata"]
        meta["continue"] = _continue_token(
            version, (last.get("namespace", ""), last["name"]), call.namespace
        )
        if matches is None:
            return list_response(store, call, form, items, {**meta, "remainingItemCount": left})
    return list_response(store, call, form, items, meta)


def _remaining_count(keys: list[Key], namespace: str) -> int:
    return sum(1 for key in keys if not namespace or key[0] == namespace)


def _list_snapshot(
    store: ObjectStore, resource: Resource, options: ListOptions, namespace: str
) -> tuple[dict[Key, Json], int, Key]:
    """The objects to list, their version, and the key after which the page starts."""
    if options.continue_token:
        version, start = _parse_continue_token(options.continue_token)
        start = (namespace or start[0], start[1])
        if version < 0:
            return store.snapshot(resource, store.version), store.version, start
        try:
            return store.snapshot(resource, version), version, start
        except status.StatusError as error:
            error.message = _CONTINUE_EXPIRED
            error.metadata = {"continue": _continue_token(-1, start, namespace)}
            raise
    version = store.version
    if options.version is not None and options.version > version:
        raise version_too_large_error(options.version, version)
    if options.match == "Exact" or (options.version and options.limit and not options.match):
        try:
            return store.snapshot(resource, options.version or 0), options.version or 0, ("", "")
        except status.StatusError as error:
            error.message = "The resourceVersion for the provided list is too old."
            raise
    return store.snapshot(resource, version), version, ("", "")


def _continue_token(version: int, key: Key, namespace: str) -> str:
    """The start of the next page, in base64 (apiserver pkg/storage/continue.go)."""
    start = f"/{key[1]}\0" if namespace else f"{key[0]}/{key[1]}\0"
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse_continue_token(token: str) -> tuple[int, Key]:
    start = "invalid continue token: continue key is not valid: "
    try:
        padded = token + "=" * (-len(token) % 4)
        data = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        namespace, _, name = str(data["start"]).rstrip("\0").rpartition("/")
        return int(data["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise status.bad_request(f"{start}{error}") from None


def list_response(
    store: ObjectStore, call: ApiRequest, form: ResponseFormat, items: list[Json], meta: Json
) -> Json:
    """The items of a list in the format that is asked for."""
    resource = call.resource
    if form.kind == "table":
        return make_table(resource, items, meta, store.clock.now(), include=form.include)
    if form.kind == "partial":
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
            "items": [partial_metadata(obj) for obj in items],
        }
    return to_list(resource, items, meta)


def to_list(resource: Resource, items: list[Json], meta: Json) -> Json:
    """A `<Kind>List`; items of built-in kinds have no kind and apiVersion."""
    if resource.builtin:
        hidden = ("kind", "apiVersion")
        items = [{k: v for k, v in obj.items() if k not in hidden} for obj in items]
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": meta,
        "items": items,
    }
