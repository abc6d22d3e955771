"""The records that a reflector holds, and what changes in them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from servedeck.cluster.http.errors import AnswerError
from servedeck.cluster.watch.decode import Decoder
from servedeck.cluster.watch.kinds import Kind

_log = logging.getLogger(__name__)

Records = dict[str, Any]
"""Records by uid ("namespace/name" for an object without one)."""


class Change(NamedTuple):
    kind: Kind
    type: Literal["ADDED", "MODIFIED", "DELETED", "SYNC"]
    record: Any
    """The record as it is now, or was last; None for SYNC, which says that the store is complete
    as of one moment."""


class Store:
    """Records of one kind. Each change is told once, after it was made."""

    def __init__(self, kind: Kind, on_change: Callable[[Change], None]) -> None:
        self.records: Records = {}
        self.bad = 0
        """Objects that could not be read, or only in part."""
        self.problem = ""
        """What was wrong with the last of them."""
        self._kind = kind
        self._on_change = on_change
        self._decoder = Decoder(kind.record)

    def put(self, raw: msgspec.Raw) -> str:
        """Take in an added or changed object; its version, "" where it has none."""
        key, record = self._read(raw)
        if record is None:
            return ""
        version: str = record.metadata.resource_version
        before = self.records.get(key)
        if not self._wanted(record):
            if self.records.pop(key, None) is not None:
                self.tell("DELETED", before)
            return version
        if _same(before, record):
            return version
        if self._kind.most:
            self.records.pop(key, None)  # keeps the records in order of their last change
        self.records[key] = record
        self.tell("ADDED" if before is None else "MODIFIED", record)
        while self._kind.most and len(self.records) > self._kind.most:
            self.tell("DELETED", self.records.pop(next(iter(self.records))))
        return version

    def remove(self, raw: msgspec.Raw) -> str:
        """Drop a deleted object; the version of its deletion."""
        key, record = self._read(raw)
        if record is None:
            return ""
        if self.records.pop(key, None) is not None:
            self.tell("DELETED", record)
        version: str = record.metadata.resource_version
        return version

    def collect(self, raw: msgspec.Raw, into: Records) -> None:
        """Take an object into a list that is being made; what is unchanged stays our record."""
        key, record = self._read(raw)
        if record is not None and self._wanted(record):
            before = self.records.get(key)
            into[key] = before if _same(before, record) else record
            if self._kind.most and len(into) > 2 * self._kind.most:
                self._trim(into)

    def discard(self, raw: msgspec.Raw, from_: Records) -> None:
        """Drop an object from a list that is being made."""
        key, _ = self._read(raw)
        from_.pop(key, None)

    def replace(self, fresh: Records) -> Iterator[None]:
        """Put a complete list in place of all records, telling only what differs.

        One step for each record; the caller may let others run in between.
        """
        if self._kind.most and len(fresh) > self._kind.most:
            self._trim(fresh)
        old, self.records = self.records, fresh
        for key in old.keys() - fresh.keys():
            self.tell("DELETED", old[key])
            yield
        for key, record in list(fresh.items()):
            before = old.get(key)
            if before is None:
                self.tell("ADDED", record)
            elif before is not record:
                self.tell("MODIFIED", record)
            yield
        self.tell("SYNC", None)

    def clear(self) -> None:
        """Drop all records."""
        gone, self.records = self.records, {}
        for record in gone.values():
            self.tell("DELETED", record)

    def tell(self, type_: Literal["ADDED", "MODIFIED", "DELETED", "SYNC"], record: Any) -> None:
        try:
            self._on_change(Change(self._kind, type_, record))
        except Exception:  # a listener that fails on one object must not keep others from it
            _log.exception("%s of %s was not taken", type_, self._kind.resource)

    def note(self, problem: str) -> None:
        """Count an object that cannot be read."""
        self.bad += 1
        self.problem = problem

    def _read(self, raw: msgspec.Raw) -> tuple[str, Any]:
        """Key and record of an object; the record is None where nothing can be made of it."""
        try:
            record, problem = self._decoder.decode(raw)
        except AnswerError as error:
            self.note(str(error))
            return "", None
        meta = record.metadata
        key = meta.uid or (f"{meta.namespace}/{meta.name}" if meta.name else "")
        if problem or not key:
            self.note(f"{meta.namespace}/{meta.name}: {problem or 'it has no name'}")
        return key, record if key else None

    def _wanted(self, record: Any) -> bool:
        return self._kind.keep is None or self._kind.keep(record)

    def _trim(self, records: Records) -> None:
        """Drop the oldest beyond the bound of the kind."""

        def age(key: str) -> tuple[bool, Any]:
            created = records[key].metadata.creation_timestamp
            return created is not None, created

        for key in sorted(records, key=age)[: len(records) - self._kind.most]:
            del records[key]


def _same(before: Any, record: Any) -> bool:
    version = record.metadata.resource_version
    return before is not None and version and before.metadata.resource_version == version
