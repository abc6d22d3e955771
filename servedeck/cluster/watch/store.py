"""Store of decoded records, which emits their changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from servedeck.cluster.http.errors import InvalidResponseError
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.cluster.watch.kinds import ResourceKind

_log = logging.getLogger(__name__)

Records = dict[str, Any]
"""Records by uid ("namespace/name" for an object without a uid)."""


class RecordChange(NamedTuple):
    kind: ResourceKind
    type: Literal["ADDED", "MODIFIED", "DELETED", "SYNC"]
    record: Any
    """The current record, or the last one for DELETED; None for SYNC, which marks a complete
    list."""


class RecordStore:
    """Records of one kind. Each change is emitted once, after it was stored."""

    def __init__(self, kind: ResourceKind, on_change: Callable[[RecordChange], None]) -> None:
        self.records: Records = {}
        self.problem_count = 0
        """Number of objects that could not be decoded, or only in part."""
        self.last_problem = ""
        """Reason for the last decoding problem."""
        self._kind = kind
        self._on_change = on_change
        self._decoder = RecordDecoder(kind.record_type)

    def put(self, raw: msgspec.Raw) -> str:
        """Store an added or modified object; returns its resource version, "" if it has none."""
        key, record = self._decode(raw)
        if record is None:
            return ""
        version: str = record.metadata.resource_version
        before = self.records.get(key)
        if not self._passes_filter(record):
            if self.records.pop(key, None) is not None:
                self.emit("DELETED", before)
            return version
        if _is_unchanged(before, record):
            return version
        if self._kind.max_records:
            self.records.pop(key, None)  # orders the records by last change
        self.records[key] = record
        self.emit("ADDED" if before is None else "MODIFIED", record)
        while self._kind.max_records and len(self.records) > self._kind.max_records:
            self.emit("DELETED", self.records.pop(next(iter(self.records))))
        return version

    def remove(self, raw: msgspec.Raw) -> str:
        """Remove a deleted object; returns the resource version of the deletion."""
        key, record = self._decode(raw)
        if record is None:
            return ""
        if self.records.pop(key, None) is not None:
            self.emit("DELETED", record)
        version: str = record.metadata.resource_version
        return version

    def add_to_list(self, raw: msgspec.Raw, pending_list: Records) -> None:
        """Add an object to a list in progress; an unchanged object keeps its existing record."""
        key, record = self._decode(raw)
        if record is not None and self._passes_filter(record):
            before = self.records.get(key)
            pending_list[key] = before if _is_unchanged(before, record) else record
            if self._kind.max_records and len(pending_list) > 2 * self._kind.max_records:
                self._drop_oldest(pending_list)

    def remove_from_list(self, raw: msgspec.Raw, pending_list: Records) -> None:
        """Remove an object from a list in progress."""
        key, _ = self._decode(raw)
        pending_list.pop(key, None)

    def replace_all(self, new_records: Records) -> Iterator[None]:
        """Replace all records with a complete list and emit the differences.

        Yields after each record, so that the caller can yield to the event loop.
        """
        if self._kind.max_records and len(new_records) > self._kind.max_records:
            self._drop_oldest(new_records)
        old_records, self.records = self.records, new_records
        for key in old_records.keys() - new_records.keys():
            self.emit("DELETED", old_records[key])
            yield
        for key, record in list(new_records.items()):
            before = old_records.get(key)
            if before is None:
                self.emit("ADDED", record)
            elif before is not record:
                self.emit("MODIFIED", record)
            yield
        self.emit("SYNC", None)

    def clear(self) -> None:
        """Remove all records."""
        removed, self.records = self.records, {}
        for record in removed.values():
            self.emit("DELETED", record)

    def emit(self, type_: Literal["ADDED", "MODIFIED", "DELETED", "SYNC"], record: Any) -> None:
        try:
            self._on_change(RecordChange(self._kind, type_, record))
        except Exception:  # a callback that fails for one object must still receive the others
            _log.exception("the callback for %s of %s failed", type_, self._kind.resource_name)

    def record_problem(self, problem: str) -> None:
        """Record an object that cannot be decoded."""
        self.problem_count += 1
        self.last_problem = problem

    def _decode(self, raw: msgspec.Raw) -> tuple[str, Any]:
        """Key and record of an object; the record is None if it cannot be decoded."""
        try:
            record, problem = self._decoder.decode(raw)
        except InvalidResponseError as error:
            self.record_problem(str(error))
            return "", None
        meta = record.metadata
        key = meta.uid or (f"{meta.namespace}/{meta.name}" if meta.name else "")
        if problem or not key:
            self.record_problem(f"{meta.namespace}/{meta.name}: {problem or 'it has no name'}")
        return key, record if key else None

    def _passes_filter(self, record: Any) -> bool:
        return self._kind.record_filter is None or self._kind.record_filter(record)

    def _drop_oldest(self, records: Records) -> None:
        """Remove the oldest records beyond `max_records`."""

        def age(key: str) -> tuple[bool, Any]:
            created = records[key].metadata.creation_timestamp
            return created is not None, created

        for key in sorted(records, key=age)[: len(records) - self._kind.max_records]:
            del records[key]


def _is_unchanged(before: Any, record: Any) -> bool:
    version = record.metadata.resource_version
    return before is not None and version and before.metadata.resource_version == version
