"""Writes Events: repeated ones are counted in one object, and each lives for an hour after it last
occurred.

Sources: client-go tools/record/event.go and tools/events/event_broadcaster.go, kube-apiserver
--event-ttl. Rate limits and the combination of similar Events are left out: no screen shows them.
"""

from __future__ import annotations

from servedeck.demo.api.status import StatusError
from servedeck.demo.clock import Clock, parse_timestamp
from servedeck.demo.event_messages import EventMessage
from servedeck.demo.resources import EVENTS
from servedeck.demo.store.objects import Json, Key, key_of
from servedeck.demo.store.store import ObjectStore

_TTL_SECONDS = 3600.0
_MAX_MESSAGE_LENGTH = 1024

_EventIdentity = tuple[str, ...]


class EventRecorder:
    """Records Events about the objects of one store."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[_EventIdentity, Key] = {}
        self._serial = 0

    def record(
        self,
        obj: Json,
        message: EventMessage,
        /,
        *,
        path: str = "",
        host: str = "",
        **values: object,
    ) -> None:
        """Records an Event about the object, or about the part of it at the field `path`, as the
        component on `host` reports it. `values` fill the message."""
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
        event: Json = {
            "metadata": {"namespace": meta.get("namespace") or "default"},
            "involvedObject": reference,
            "reason": message.reason,
            "message": message.template.format(**values)[:_MAX_MESSAGE_LENGTH],
            "type": message.type,
            "reportingComponent": message.component.value,
        }
        if message.action:
            self._set_events_v1_fields(event, message)
        else:
            self._set_core_v1_fields(event, message, host)
        self._write(event)

    def resume(self) -> None:
        """Continues with the Events of a loaded store: their counts go on, and they
        expire."""
        for event in self._store.list(EVENTS):
            self._known[_identity(event)] = key_of(event)
            self._expire_later(key_of(event), _last_time(event))

    def _set_core_v1_fields(self, event: Json, message: EventMessage, host: str) -> None:
        """As the kubelet and the controllers write Events."""
        now = self._clock.timestamp()
        source = {"component": message.component.value} | ({"host": host} if host else {})
        event |= {
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "eventTime": None,
            "reportingInstance": host,
        }

    def _set_events_v1_fields(self, event: Json, message: EventMessage) -> None:
        """As the scheduler writes Events."""
        event |= {
            "source": {},
            "firstTimestamp": None,
            "lastTimestamp": None,
            "eventTime": self._clock.micro_timestamp(),
            "action": message.action,
            "reportingInstance": f"{message.component}-demo-control-plane",
        }

    def _write(self, event: Json) -> None:
        identity = _identity(event)
        known = self._known.get(identity)
        if known is not None and self._store.find(EVENTS, *known) is not None:
            self._store.mutate(EVENTS, *known, self._count_again)
            return
        key = self._create(event)
        if key is not None:
            self._known[identity] = key

    def _count_again(self, event: Json) -> None:
        if event.get("action"):
            count = (event.get("series") or {}).get("count", 1) + 1
            event["series"] = {"count": count, "lastObservedTime": self._clock.micro_timestamp()}
        else:
            event["count"] += 1
            event["lastTimestamp"] = self._clock.timestamp()

    def _create(self, event: Json) -> Key | None:
        now = self._clock.time()
        self._serial += 1
        suffix = f"{int(now * 1e6) * 1000 + self._serial % 1000:x}"
        event["metadata"]["name"] = f"{event['involvedObject']['name']}.{suffix}"
        try:
            self._store.create(EVENTS, event)
        except StatusError as error:
            # a namespace that is being deleted accepts no Events; a real recorder only logs that
            if error.code not in (403, 404, 409):
                raise
            return None
        self._expire_later(key_of(event), now)
        return key_of(event)

    def _expire_later(self, key: Key, last: float) -> None:
        def check() -> None:
            event = self._store.find(EVENTS, *key)
            if event is None:
                return
            latest = _last_time(event)
            if latest + _TTL_SECONDS > self._clock.time():
                self._expire_later(key, latest)
                return
            self._known.pop(_identity(event), None)
            self._store.delete(EVENTS, *key)

        self._clock.call_at(last + _TTL_SECONDS, check)


def _identity(event: Json) -> _EventIdentity:
    """Events with the same identity are counted in one object. As upstream, the message is a part
    of it only in core/v1."""
    about = event.get("involvedObject") or {}
    return (
        event.get("reportingComponent", ""),
        event.get("reportingInstance", ""),
        about.get("uid", ""),
        about.get("name", ""),
        about.get("fieldPath", ""),
        event.get("type", ""),
        event.get("reason", ""),
        event.get("action", ""),
        "" if event.get("action") else event.get("message", ""),
    )


def _last_time(event: Json) -> float:
    series = event.get("series") or {}
    text = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return parse_timestamp(text or event["metadata"]["creationTimestamp"])
