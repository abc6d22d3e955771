"""GET of one object and of lists: selectors, pages, versions, Tables."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from servedeck.demo.api import scale, selectors, status
from servedeck.demo.api.events_v1 import newer
from servedeck.demo.api.request import (
    Call,
    Form,
    ListOptions,
    form_of,
    list_options,
    too_large_version,
)
from servedeck.demo.api.tables.table import partial, table
from servedeck.demo.resources import EVENTS, EVENTS_V1, Resource
from servedeck.demo.store.objects import Key
from servedeck.demo.store.store import Store

Json = dict[str, Any]

_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


def source(resource: Resource) -> tuple[Resource, Callable[[Json], Json] | None]:
    """Where the objects of a resource lie, and what makes them of that resource's version."""
    return (EVENTS, newer) if resource is EVENTS_V1 else (resource, None)


def get(store: Store, call: Call) -> Json:
    """One object, its Scale, or its row."""
    stored, convert = source(call.resource)
    form = form_of(call)
    obj = store.get(stored, call.namespace, call.name)
    if convert:
        obj = convert(obj)
    if call.subresource == "scale":
        return scale.of(obj)
    if form.kind == "table":
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        now = store.clock.now()
        return table(call.resource, [obj], meta, now, include=form.include)
    return partial(obj) if form.kind == "partial" else obj


def list_objects(store: Store, call: Call) -> Json:
    """A page of a list, or all of it."""
    options = list_options(call, watch=False)
    form = form_of(call)
    stored, convert = source(call.resource)
    matches = selectors.matcher(call.resource, options.labels, options.fields)
    objects, version, start = _state(store, stored, options, call.namespace)
    items: list[Json] = []
    meta = {"resourceVersion": str(version)}
    more: list[Key] = []
    # resourceVersion=0 is served from the watch cache, which knows no pages
    limit = 0 if options.version == 0 and not options.token else options.limit
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
    if more and (left := _left(more, call.namespace)):
        last = items[-1]["metadata"]
        meta["continue"] = _token(
            version, (last.get("namespace", ""), last["name"]), call.namespace
        )
        if matches is None:
            return _list(store, call, form, items, {**meta, "remainingItemCount": left})
    return _list(store, call, form, items, meta)


def _left(keys: list[Key], namespace: str) -> int:
    return sum(1 for key in keys if not namespace or key[0] == namespace)


def _state(
    store: Store, resource: Resource, options: ListOptions, namespace: str
) -> tuple[dict[Key, Json], int, Key]:
    """The objects to list, their version, and the key after which the page begins."""
    if options.token:
        version, start = _read_token(options.token)
        start = (namespace or start[0], start[1])
        if version < 0:
            return store.snapshot(resource, store.version), store.version, start
        try:
            return store.snapshot(resource, version), version, start
        except status.StatusError as error:
            error.message = _CONTINUE_EXPIRED
            error.metadata = {"continue": _token(-1, start, namespace)}
            raise
    version = store.version
    if options.version is not None and options.version > version:
        raise too_large_version(options.version, version)
    if options.match == "Exact" or (options.version and options.limit and not options.match):
        try:
            return store.snapshot(resource, options.version or 0), options.version or 0, ("", "")
        except status.StatusError as error:
            error.message = "The resourceVersion for the provided list is too old."
            raise
    return store.snapshot(resource, version), version, ("", "")


def _token(version: int, key: Key, namespace: str) -> str:
    """Where the next page begins, in base64 (apiserver pkg/storage/continue.go)."""
    start = f"/{key[1]}\0" if namespace else f"{key[0]}/{key[1]}\0"
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, Key]:
    start = "invalid continue token: continue key is not valid: "
    try:
        padded = token + "=" * (-len(token) % 4)
        data = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        namespace, _, name = str(data["start"]).rstrip("\0").rpartition("/")
        return int(data["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise status.bad_request(f"{start}{error}") from None


def _list(store: Store, call: Call, form: Form, items: list[Json], meta: Json) -> Json:
    resource = call.resource
    if form.kind == "table":
        return table(resource, items, meta, store.clock.now(), include=form.include)
    if form.kind == "partial":
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
            "items": [partial(obj) for obj in items],
        }
    return list_of(resource, items, meta)


def list_of(resource: Resource, items: list[Json], meta: Json) -> Json:
    """A `<Kind>List`; the items of a built-in kind carry no kind of their own."""
    if resource.builtin:
        hidden = ("kind", "apiVersion")
        items = [{k: v for k, v in obj.items() if k not in hidden} for obj in items]
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": meta,
        "items": items,
    }
