"""Objects of one kind that match a selector, kept up to date by a watch while a part of the page
needs them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar, cast

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.resources import EVENT, Resource
from servedeck.cluster.watch.debounce import Debouncer
from servedeck.cluster.watch.decode import RecordDecoder, parse_object
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.cluster.watch.reflector import Reflector, ReflectorPhase
from servedeck.serving.objects.records import Event, LabeledMeta, Record, WholeObject
from servedeck.serving.spec.mapping.json_values import JsonObject

COALESCE_SECONDS = 0.07
"""Seconds within which changes after the first one are reported together."""

MAX_EVENTS = 10_000
"""Events of a namespace that are kept; the oldest are dropped."""

R = TypeVar("R", bound=Record)

_WHOLE_OBJECTS = RecordDecoder(WholeObject)


class ObjectQuery(NamedTuple):
    """Which objects are watched."""

    resource: Resource
    namespace: str
    """"" for cluster-scoped objects."""
    name: str = ""
    """Only the object of this name; "" for all."""
    label_selector: str = ""
    field_selector: str = ""


class LiveObject:
    """One object as the API server sent it."""

    def __init__(self, resource: Resource, record: WholeObject) -> None:
        self.resource = resource
        self.record = record

    @property
    def metadata(self) -> LabeledMeta:
        """Its metadata, sanitized."""
        return self.record.metadata

    @property
    def json_text(self) -> str:
        """Its JSON, not sanitized."""
        return self.record.json_text

    @cached_property
    def value(self) -> JsonObject:
        """Its fields, sanitized. Entries of a list have neither kind nor apiVersion; they are
        added."""
        return {**self._kind, **parse_object(self.record.json_text)}

    def parse_unsanitized(self) -> JsonObject:
        """Its fields, not sanitized, for a text in which they are escaped. Takes 10 ms for 1 MB."""
        return {**self._kind, **parse_object(self.record.json_text, sanitized=False)}

    @property
    def _kind(self) -> JsonObject:
        return {"apiVersion": self.resource.api_version, "kind": self.resource.kind}


def decompress_object(resource: Resource, compressed_json: bytes) -> LiveObject | None:
    """An object from `servedeck.serving.objects.records.Deployment.compressed_json`; None for
    b""."""
    if not compressed_json:
        return None
    record = _WHOLE_OBJECTS.decode(zlib.decompress(compressed_json)).record
    return LiveObject(resource, record)


class RecordWatch(Generic[R]):
    """Records of one kind, from `start` to `close`.

    `on_change` is called on the event loop after changes of the records or of the state: after the
    first one at once, those within COALESCE_SECONDS after it together.
    """

    def __init__(
        self,
        connection: Connection,
        kind: ResourceKind,
        namespace: str | None,
        on_change: Callable[[], None],
    ) -> None:
        self._kind = kind
        self._on_change = on_change
        self._reflector = Reflector(
            connection,
            kind,
            namespace or None,
            lambda _change: self._request_flush(),
            lambda _reflector: self._handle_state(),
        )
        self._last_state = (False, "", False)
        """Whether it was settled, the missing permission, and whether the kind is missing."""
        self._debouncer: Debouncer | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to watch. Needs a running event loop."""
        self._debouncer = Debouncer(self._flush, COALESCE_SECONDS)
        self._task = asyncio.create_task(
            self._reflector.run(), name=f"servedeck watch {self._kind.resource_name}"
        )

    async def close(self) -> None:
        """Stop the watch; the records stay."""
        if self._debouncer is not None:
            self._debouncer.close()
        # The exception of the task refers to the TLS connection, with its 256 KiB of buffer, which
        # would be in memory as long as this watch: until a full garbage collection.
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def records(self) -> list[R]:
        """The records, in no particular order."""
        return cast("list[R]", list(self._reflector.records.values()))

    @property
    def is_settled(self) -> bool:
        """Whether the records are listed, or it is known that they cannot be."""
        return self._reflector.synced or self._reflector.phase in (
            ReflectorPhase.FORBIDDEN,
            ReflectorPhase.MISSING,
        )

    @property
    def missing_permission(self) -> str:
        """The missing verb and resource in one sentence; "" if they may be listed and watched, or
        the cluster does not have the kind."""
        forbidden = self._reflector.phase is ReflectorPhase.FORBIDDEN
        return self._reflector.error if forbidden else ""

    @property
    def is_kind_missing(self) -> bool:
        """Whether the cluster does not have the kind."""
        return self._reflector.phase is ReflectorPhase.MISSING

    def _handle_state(self) -> None:
        # The others, such as the begin of the list, would only delay the records that follow.
        state = (self.is_settled, self.missing_permission, self.is_kind_missing)
        if state != self._last_state:
            self._last_state = state
            self._request_flush()

    def _request_flush(self) -> None:
        if self._debouncer is not None:
            self._debouncer.request()

    def _flush(self) -> bool:
        self._on_change()
        return True


class ObjectWatch(RecordWatch[WholeObject]):
    """Whole objects that match a query."""

    def __init__(
        self, connection: Connection, query: ObjectQuery, on_change: Callable[[], None]
    ) -> None:
        selectors = [query.field_selector, f"metadata.name={query.name}" if query.name else ""]
        kind = ResourceKind(
            query.resource,
            WholeObject,
            label_selector=query.label_selector,
            field_selector=",".join(filter(None, selectors)),
            optional=True,
            first_list_from_cache=bool(query.name or query.label_selector),
        )
        super().__init__(connection, kind, query.namespace, on_change)
        self.query = query
        self._objects: dict[str, LiveObject] = {}

    @property
    def objects(self) -> list[LiveObject]:
        """The objects, by name. One that did not change is the same instance as before."""
        before, self._objects = self._objects, {}
        for record in self.records:
            known = before.get(record.metadata.uid)
            if known is None or known.record is not record:
                known = LiveObject(self.query.resource, record)
            self._objects[record.metadata.uid] = known
        return sorted(self._objects.values(), key=lambda one: one.metadata.name)

    @property
    def newest(self) -> LiveObject | None:
        """The object that was created last: while an object is replaced by another one of the same
        name, both may exist."""
        return max(self.objects, key=lambda one: _created_key(one.metadata), default=None)


class EventWatch(RecordWatch[Event]):
    """Events of a namespace, of every type; those about one object if its uid is given."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        on_change: Callable[[], None],
        *,
        object_uid: str = "",
    ) -> None:
        kind = ResourceKind(
            EVENT,
            Event,
            field_selector=f"involvedObject.uid={object_uid}" if object_uid else "",
            has_bookmarks=False,
            max_records=MAX_EVENTS,
        )
        super().__init__(connection, kind, namespace, on_change)


def _created_key(metadata: LabeledMeta) -> tuple[float, str]:
    created = metadata.creation_timestamp
    return (0.0 if created is None else created.timestamp()), metadata.uid
