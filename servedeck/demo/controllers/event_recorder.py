"""Writes Events as Kubernetes' recorders do: counted, de-duplicated, limited, gone after an hour.

Sources: client-go tools/record/events_cache.go (aggregation from 10 similar ones in 10 minutes on,
a burst of 25 for each object and then one in 5 minutes), tools/events/event_broadcaster.go (series
in the dialect of events.k8s.io), kube-apiserver --event-ttl.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeVar

from servedeck.demo.clock import Clock, parse_timestamp
from servedeck.demo.event_messages import Component, EventMessage
from servedeck.demo.resources import EVENTS
from servedeck.demo.store.objects import Json
from servedeck.demo.store.store import ObjectStore

T = TypeVar("T")

TTL = 3600.0
_SIMILAR = 10
_WINDOW = 600.0
_BURST = 25
_REFILL = 300.0
_SERIES_END = 360.0
_SERIES_REFRESH = 1800.0
_REMEMBERED = 4096
"""Entries of each of the recorder's memories (maxLruCacheEntries)."""


@dataclass
class _Bucket:
    tokens: float
    since: float


@dataclass
class _Similar:
    last: float = 0.0
    messages: set[str] = field(default_factory=set)


@dataclass
class _Series:
    namespace: str
    name: str
    count: int
    last: float
    written: int = 1


class _Memory(OrderedDict[tuple[str, ...], T]):
    """Forgets what was written longest ago."""

    def __setitem__(self, key: tuple[str, ...], value: T) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > _REMEMBERED:
            self.popitem(last=False)


class EventRecorder:
    """Records Events about objects of one store."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: _Memory[tuple[str, int]] = _Memory()
        self._similar: _Memory[_Similar] = _Memory()
        self._buckets: _Memory[_Bucket] = _Memory()
        self._series: _Memory[_Series] = _Memory()
        self._serial = 0

    def record(
        self, obj: Json, word: EventMessage, *, path: str = "", host: str = "", **values: object
    ) -> None:
        """Records that `word`, filled with `values`, happened to the object (or to the part of it
        at the field `path`), as seen by the component on `host`."""
        message = word.template.format(**values)[:1024]
        if word.action:
            self._newer(obj, word, message)
        else:
            self._classic(obj, word, message, path, host)

    def resume(self) -> None:
        """Takes up Events that the store holds already: they still expire, and those that come
        again are counted on."""
        for event in self._store.list(EVENTS):
            meta = event["metadata"]
            last = event.get("lastTimestamp") or event.get("eventTime") or meta["creationTimestamp"]
            self._expire(meta["namespace"], meta["name"], parse_timestamp(last))
            if event.get("lastTimestamp"):
                key = (*_subject(event), event["type"], event["reason"], event["message"])
                self._known[key] = (meta["name"], event.get("count", 1))

    # -- the dialect of the kubelet and the controllers -----------------------------------------

    def _classic(self, obj: Json, word: EventMessage, message: str, path: str, host: str) -> None:
        now, stamp = self._clock.time(), self._clock.timestamp()
        draft = self._draft(obj, path) | {
            "reason": word.reason,
            "message": message,
            "type": word.type,
            "source": {"component": word.component.value} | ({"host": host} if host else {}),
        }
        subject = _subject(draft)
        if not self._allowed(subject, now):
            return
        # those that are combined are one Event, which says the newest
        alike = (*subject, word.type, word.reason)
        combined = self._many(alike, message, now)
        if combined:
            message = f"(combined from similar events): {message}"
        key = (*alike, "" if combined else message)
        name, count = self._known.get(key, ("", 0))
        namespace = draft["metadata"]["namespace"]
        if name and self._store.find(EVENTS, namespace, name) is not None:

            def again(event: Json) -> None:
                event["count"] = count + 1
                event["lastTimestamp"] = stamp
                event["message"] = message

            self._store.mutate(EVENTS, namespace, name, again)
        else:
            name = self._create(
                draft
                | {
                    "message": message,
                    "firstTimestamp": stamp,
                    "lastTimestamp": stamp,
                    "count": count + 1,
                    "eventTime": None,
                    "reportingComponent": word.component.value,
                    "reportingInstance": host,
                }
            )
        self._known[key] = (name, count + 1)

    def _allowed(self, subject: tuple[str, ...], now: float) -> bool:
        bucket = self._buckets.setdefault(subject, _Bucket(_BURST, now))
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.since) / _REFILL)
        bucket.since = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _many(self, key: tuple[str, ...], message: str, now: float) -> bool:
        """Whether so many Events differ in their message alone that they are combined."""
        similar = self._similar.setdefault(key, _Similar())
        if now - similar.last > _WINDOW:
            similar.messages.clear()
        similar.last = now
        if len(similar.messages) < _SIMILAR:
            similar.messages.add(message)
        return len(similar.messages) >= _SIMILAR

    # -- the dialect of the scheduler -----------------------------------------------------------

    def _newer(self, obj: Json, word: EventMessage, message: str) -> None:
        now, micro = self._clock.time(), self._clock.micro_timestamp()
        draft = self._draft(obj, "")
        key = (draft["involvedObject"]["uid"], word.type, word.reason, word.action)
        series = self._series.get(key)
        if series is not None and now - series.last > _SERIES_END:
            self._write(series, now)
            series = None
        if series is None:
            name = self._create(
                draft
                | {
                    "reason": word.reason,
                    "message": message,
                    "type": word.type,
                    "source": {},
                    "firstTimestamp": None,
                    "lastTimestamp": None,
                    "eventTime": micro,
                    "action": word.action,
                    "reportingComponent": word.component.value,
                    "reportingInstance": f"{word.component}-demo-control-plane",
                }
            )
            self._series[key] = _Series(draft["metadata"]["namespace"], name, 1, now)
            return
        series.count += 1
        series.last = now
        if series.count == 2:
            self._write(series, now)
            self._clock.call_later(_SERIES_REFRESH, lambda: self._write(series, self._clock.time()))

    def _write(self, series: _Series, now: float) -> None:
        """Brings a series' count into its Event."""
        if series.count <= series.written:
            return
        series.written = series.count
        if self._store.find(EVENTS, series.namespace, series.name) is None:
            return

        def again(event: Json) -> None:
            event["series"] = {
                "count": series.count,
                "lastObservedTime": _micro(series.last),
            }

        self._store.mutate(EVENTS, series.namespace, series.name, again)

    # -- both -----------------------------------------------------------------------------------

    def _draft(self, obj: Json, path: str) -> Json:
        meta = obj["metadata"]
        reference: Json = {
            "kind": obj["kind"],
            "namespace": meta.get("namespace", ""),
            "name": meta["name"],
            "uid": meta["uid"],
            "apiVersion": obj["apiVersion"],
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        if path:
            reference["fieldPath"] = path
        namespace = meta.get("namespace") or "default"
        return {"metadata": {"namespace": namespace}, "involvedObject": reference}

    def _create(self, event: Json) -> str:
        now = self._clock.time()
        self._serial += 1
        subject = event["involvedObject"]["name"]
        name = f"{subject}.{int(now * 1e6) * 1000 + self._serial % 1000:x}"
        event["metadata"] = event["metadata"] | {"name": name}
        try:
            self._store.create(EVENTS, event)
        except Exception as error:
            # a namespace that goes away takes no more Events; a recorder only logs that
            if getattr(error, "code", 0) not in (403, 404, 409):
                raise
            return name
        self._expire(event["metadata"]["namespace"], name, now)
        return name

    def _expire(self, namespace: str, name: str, last: float) -> None:
        def check() -> None:
            event = self._store.find(EVENTS, namespace, name)
            if event is None:
                return
            series = event.get("series") or {}
            recorded = series.get("lastObservedTime") or event.get("lastTimestamp")
            newest = parse_timestamp(recorded) if recorded else last
            if newest + TTL <= self._clock.time():
                self._store.delete(EVENTS, namespace, name)
            else:
                self._expire(namespace, name, newest)

        self._clock.call_at(last + TTL, check)


def _subject(event: Json) -> tuple[str, ...]:
    about, source = event["involvedObject"], event.get("source") or {}
    component = source.get("component") or Component.SCHEDULER.value
    return (
        component,
        source.get("host", ""),
        about.get("uid", ""),
        about.get("name", ""),
        about.get("fieldPath", ""),
    )


def _micro(time: float) -> str:
    return Clock(time).micro_timestamp()
