"""Watches: the changes of a kind as lines of JSON, with bookmarks and an end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from servedeck.demo.api import selectors, status
from servedeck.demo.api.read_handlers import source
from servedeck.demo.api.request import (
    Call,
    Form,
    ListOptions,
    form_of,
    list_options,
    too_large_version,
)
from servedeck.demo.api.tables.table import partial, table
from servedeck.demo.resources import EVENTS
from servedeck.demo.store.changes import Change, Subscription
from servedeck.demo.store.store import Store

Json = dict[str, Any]
Predicate = Callable[[Json], bool]

BOOKMARK_SECONDS = 60.0
_BEFORE_END = 2.0
"""A last bookmark comes this long before the end (apiserver cacher/cache_watcher.go)."""
_SHORTEST, _LONGEST = 1800.0, 3600.0
"""Seconds of a watch that names no timeout lie between these (apiserver handlers/get.go)."""


async def watch(store: Store, call: Call, request: web.BaseRequest) -> web.StreamResponse:
    """Answers until the timeout, the client's end or an error, which is sent in the stream."""
    options = list_options(call, watch=True)
    session = _Session(store, call, options, form_of(call))
    try:
        subscription: Subscription | status.StatusError = session.begin()
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
        pass  # the client has gone: there is nobody to tell
    finally:
        subscription.close()
    return response


class _Session:
    def __init__(self, store: Store, call: Call, options: ListOptions, form: Form) -> None:
        self.store, self.call, self.options, self.form = store, call, options, form
        self.resource, self.convert = source(call.resource)
        self.matches = self._predicate()
        self.first = True
        self.initial: list[Json] = []
        self.version = 0

    def _predicate(self) -> Predicate:
        call = self.call
        selected = selectors.matcher(call.resource, self.options.labels, self.options.fields)

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

    def begin(self) -> Subscription:
        """Takes the first state, where the client wants it, and what follows it."""
        wanted, store = self.options.version, self.store
        if self.options.initial and wanted and wanted > store.version:
            raise too_large_version(wanted, store.version)
        if self.options.initial or (not wanted and self.options.initial is None):
            self.initial = [obj for obj in store.list(self.resource) if self.matches(obj)]
            self.version = store.version
            return store.watch(self.resource)
        self.version = wanted or store.version
        return store.watch(self.resource, self.version)

    async def run(self, subscription: Subscription, response: web.StreamResponse) -> None:
        if self.initial:
            await response.write(b"".join(self._event("ADDED", obj) for obj in self.initial))
            self.initial = []
        if self.options.initial and self.options.bookmarks:
            await response.write(self._bookmark(self.version, end_of_initial=True))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        lasts = self.options.timeout or random.uniform(_SHORTEST, _LONGEST)  # noqa: S311
        end = begun + lasts
        # Events are not served from the watch cache, so they come without bookmarks.
        bookmarks = self.options.bookmarks and self.resource is not EVENTS
        mark = min(begun + BOOKMARK_SECONDS, end - _BEFORE_END) if bookmarks else end
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
                left = end - _BEFORE_END
                mark = min(mark + BOOKMARK_SECONDS, left) if mark < left else end

    def _lines(self, changes: list[Change]) -> list[bytes]:
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
                # it left the selection: the state it had in it, at the version of the change
                meta = {**change.old["metadata"], "resourceVersion": str(change.version)}
                lines.append(self._event("DELETED", {**change.old, "metadata": meta}))
        return lines

    def _event(self, kind: str, obj: Json) -> bytes:
        if self.convert:
            obj = self.convert(obj)
        return _line(kind, self._shape(obj))

    def _shape(self, obj: Json) -> Json:
        if self.form.kind == "partial":
            return partial(obj)
        if self.form.kind != "table":
            return obj
        first, self.first = self.first, False
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        now = self.store.clock.now()
        include = self.form.include
        return table(self.call.resource, [obj], meta, now, include=include, columns=first)

    def _bookmark(self, version: int, *, end_of_initial: bool = False) -> bytes:
        meta: Json = {"resourceVersion": str(version)}
        if end_of_initial:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = self.call.resource
        if self.form.kind == "table":
            empty = table(resource, [], meta, self.store.clock.now(), columns=False)
            return _line("BOOKMARK", empty)
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        return _line("BOOKMARK", obj)


def _line(kind: str, obj: Json) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"
