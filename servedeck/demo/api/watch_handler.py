"""Watches: the changes of a kind as lines of JSON, with bookmarks and a timeout."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from servedeck.demo.api import selectors, status
from servedeck.demo.api.read_handlers import storage_of
from servedeck.demo.api.request import (
    ApiRequest,
    ListOptions,
    ResponseFormat,
    parse_list_options,
    response_format,
    version_too_large_error,
)
from servedeck.demo.api.tables.table import make_table, partial_metadata
from servedeck.demo.resources import EVENTS
from servedeck.demo.store.changes import StoreChange, Subscription
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]
Predicate = Callable[[Json], bool]

BOOKMARK_SECONDS = 60.0
_LAST_BOOKMARK_SECONDS = 2.0
"""The last bookmark is sent this long before the end (apiserver cacher/cache_watcher.go)."""
_MIN_SECONDS, _MAX_SECONDS = 1800.0, 3600.0
"""The duration of a watch without a timeout is between these (apiserver handlers/get.go)."""


async def handle_watch(
    store: ObjectStore, call: ApiRequest, request: web.BaseRequest
) -> web.StreamResponse:
    """Streams events until the timeout, a disconnect, or an error, which is sent as an event."""
    options = parse_list_options(call, watch=True)
    session = _WatchSession(store, call, options, response_format(call))
    try:
        subscription: Subscription | status.StatusError = session.subscribe()
    except status.StatusError as error:
        if error.code != 410:
            raise
        subscription = error
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    if isinstance(subscription, status.StatusError):
        await response.write(_line("ERROR", subscription.body()))
        return response
    try:
        await session.run(subscription, response)
    except ConnectionError:
        pass  # the client has disconnected
    finally:
        subscription.close()
    return response


class _WatchSession:
    def __init__(
        self, store: ObjectStore, call: ApiRequest, options: ListOptions, form: ResponseFormat
    ) -> None:
        self.store, self.call, self.options, self.response_format = store, call, options, form
        self.resource, self.convert = storage_of(call.resource)
        self.matches = self._predicate()
        self.first_event = True
        self.initial: list[Json] = []
        self.version = 0

    def _predicate(self) -> Predicate:
        call = self.call
        selected = selectors.object_matcher(
            call.resource, self.options.label_selector, self.options.field_selector
        )

        def matches(obj: Json) -> bool:
            meta = obj["metadata"]
            if call.namespace and meta.get("namespace") != call.namespace:
                return False
            if call.name and meta["name"] != call.name:
                return False
            if selected is None:
                return True
            return selected(self.convert(obj) if self.convert else obj)

        return matches

    def subscribe(self) -> Subscription:
        """Lists the initial objects, where requested, and subscribes to later changes."""
        wanted, store = self.options.version, self.store
        if self.options.send_initial_events and wanted and wanted > store.version:
            raise version_too_large_error(wanted, store.version)
        if self.options.send_initial_events or (
            not wanted and self.options.send_initial_events is None
        ):
            self.initial = [obj for obj in store.list(self.resource) if self.matches(obj)]
            self.version = store.version
            return store.watch(self.resource)
        self.version = wanted or store.version
        return store.watch(self.resource, self.version)

    async def run(self, subscription: Subscription, response: web.StreamResponse) -> None:
        if self.initial:
            await response.write(b"".join(self._event("ADDED", obj) for obj in self.initial))
            self.initial = []
        if self.options.send_initial_events and self.options.bookmarks:
            await response.write(self._bookmark(self.version, end_of_initial=True))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        lasts = self.options.timeout or random.uniform(_MIN_SECONDS, _MAX_SECONDS)  # noqa: S311
        end = begun + lasts
        # Events are not served from the watch cache and therefore have no bookmarks
        bookmarks = self.options.bookmarks and self.resource is not EVENTS
        mark = min(begun + BOOKMARK_SECONDS, end - _LAST_BOOKMARK_SECONDS) if bookmarks else end
        if mark <= begun:
            mark = end
        while (now := loop.time()) < end and not subscription.overflowed:
            changes = await subscription.next(max(0.0, min(mark, end) - now))
            if lines := b"".join(self._lines(changes)):
                await response.write(lines)
            if changes:
                self.version = max(self.version, changes[-1].version)
            elif loop.time() >= mark and mark < end:
                self.version = max(self.version, self.store.version)
                await response.write(self._bookmark(self.version))
                left = end - _LAST_BOOKMARK_SECONDS
                mark = min(mark + BOOKMARK_SECONDS, left) if mark < left else end

    def _lines(self, changes: list[StoreChange]) -> list[bytes]:
        lines = []
        for change in changes:
            if change.version <= self.version:
                continue
            was = change.old is not None and self.matches(change.old)
            gone = change.type == "DELETED"
            now = not gone and self.matches(change.object)
            if now:
                lines.append(self._event("MODIFIED" if was else "ADDED", change.object))
            elif was and gone:
                lines.append(self._event("DELETED", change.object))
            elif was and change.old is not None:
                # no longer selected: the last selected state, with the version of the change
                meta = {**change.old["metadata"], "resourceVersion": str(change.version)}
                lines.append(self._event("DELETED", {**change.old, "metadata": meta}))
        return lines

    def _event(self, kind: str, obj: Json) -> bytes:
        if self.convert:
            obj = self.convert(obj)
        return _line(kind, self._shape(obj))

    def _shape(self, obj: Json) -> Json:
        if self.response_format.kind == "partial":
            return partial_metadata(obj)
        if self.response_format.kind != "table":
            return obj
        first, self.first_event = self.first_event, False
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        now = self.store.clock.now()
        include = self.response_format.include
        return make_table(self.call.resource, [obj], meta, now, include=include, columns=first)

    def _bookmark(self, version: int, *, end_of_initial: bool = False) -> bytes:
        meta: Json = {"resourceVersion": str(version)}
        if end_of_initial:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = self.call.resource
        if self.response_format.kind == "table":
            empty = make_table(resource, [], meta, self.store.clock.now(), columns=False)
            return _line("BOOKMARK", empty)
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        return _line("BOOKMARK", obj)


def _line(kind: str, obj: Json) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"
