"""The records that a reflector holds, and what changes in them."""

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
"""Records by uid ("namespace/name" for an object without one)."""


class RecordChange(NamedTuple):
    kind: ResourceKind
    type: Literal["ADDED", "MODIFIED", "DELETED", "SYNC"]
    record: Any
    """The record as it is now, or was last; None for SYNC, which says that the store is complete
    as of one moment."""


class RecordStore:
    """Records of one kind. Each change is told once, after it was made."""

    def __init__(self, kind: ResourceKind, on_change: Callable[[RecordChange], None]) -> None:
        self.records: Records = {}
        self.problem_count = 0
        """Objects that could not be read, or only in part."""
        self.last_problem = ""
        """What was wrong with the last of them."""
        self._kind = kind
        self._on_change = on_change
        self._decoder = RecordDecoder(kind.record_type)

    def put(self, raw: msgspec.Raw) -> str:
        """Take in an added or changed object; its version, "" where it has none."""
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
            self.records.pop(key, None)  # keeps the records in order of their last change
        self.records[key] = record
        self.emit("ADDED" if before is None else "MODIFIED", record)
        while self._kind.max_records and len(self.records) > self._kind.max_records:
            self.emit("DELETED", self.records.pop(next(iter(self.records))))
        return version

    def remove(self, raw: msgspec.Raw) -> str:
        """Drop a deleted object; the version of its deletion."""
        key, record = self._decode(raw)
        if record is None:
            return ""
        if self.records.pop(key, None) is not None:
            self.emit("DELETED", record)
        version: str = record.metadata.resource_version
        return version

    def add_to_list(self, raw: msgspec.Raw, pending_list: Records) -> None:
        """Take an object into a list that is being made; what is unchanged stays our record."""
        key, record = self._decode(raw)
        if record is not None and self._passes_filter(record):
            before = self.records.get(key)
            pending_list[key] = before if _is_unchanged(before, record) else record
            if self._kind.max_records and len(pending_list) > 2 * self._kind.max_records:
                self._drop_oldest(pending_list)

    def remove_from_list(self, raw: msgspec.Raw, pending_list: Records) -> None:
        """Drop an object from a list that is being made."""
        key, _ = self._decode(raw)
        pending_list.pop(key, None)

    def replace_all(self, fresh: Records) -> Iterator[None]:
        """Put a complete list in place of all records, telling only what differs.

        One step for each record; the caller may let others run in between.
        """
        if self._kind.max_records and len(fresh) > self._kind.max_records:
            self._drop_oldest(fresh)
        old, self.records = self.records, fresh
        for key in old.keys() - fresh.keys():
            self.emit("DELETED", old[key])
            yield
        for key, record in list(fresh.items()):
            before = old.get(key)
            if before is None:
                self.emit("ADDED", record)
            elif before is not record:
                self.emit("MODIFIED", record)
            yield
        self.emit("SYNC", None)

    def clear(self) -> None:
        """Drop all records."""
        gone, self.records = self.records, {}
        for record in gone.values():
            self.emit("DELETED", record)

    def emit(self, type_: Literal["ADDED", "MODIFIED", "DELETED", "SYNC"], record: Any) -> None:
        try:
            self._on_change(RecordChange(self._kind, type_, record))
        except Exception:  # a listener that fails on one object must not keep others from it
            _log.exception("%s of %s was not taken", type_, self._kind.resource_name)

    def record_problem(self, problem: str) -> None:
        """Count an object that cannot be read."""
        self.problem_count += 1
        self.last_problem = problem

    def _decode(self, raw: msgspec.Raw) -> tuple[str, Any]:
        """Key and record of an object; the record is None where nothing can be made of it."""
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
        """Drop the oldest beyond the bound of the kind."""

        def age(key: str) -> tuple[bool, Any]:
            created = records[key].metadata.creation_timestamp
            return created is not None, created

        for key in sorted(records, key=age)[: len(records) - self._kind.max_records]:
            del records[key]


def _is_unchanged(before: Any, record: Any) -> bool:
    version = record.metadata.resource_version
    return before is not None and version and before.metadata.resource_version == version
