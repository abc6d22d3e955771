"""The autoscalers of a serving and their Events, watched while a part of the page shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from servedeck.cluster.resources import HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT, Resource
from servedeck.detail.candidates import Candidates, may_name
from servedeck.detail.serving_object_refs import scales
from servedeck.fleet.views import NamespacedName
from servedeck.serving.scaling.read_scaler import read_rescale, read_scaler_states
from servedeck.serving.scaling.scaler_state import Rescale, ScalerState
from servedeck.serving.status.events import event_time, newest_first
from servedeck.serving.text import one_line

if TYPE_CHECKING:
    from servedeck.detail.detail_service import DetailService, EventWatch, ObjectWatch
    from servedeck.detail.object_watch import LiveObject

MAX_SCALER_EVENTS = 20
"""The newest Events that are given."""


@dataclass(frozen=True, slots=True)
class ScalerEvent:
    """An Event of an autoscaler. Its texts are sanitized and have one line."""

    time: datetime | None
    object_title: str
    """ "HorizontalPodAutoscaler/keda-hpa-chat"."""
    type: str
    """ "Normal" or "Warning"."""
    reason: str
    message: str
    """ "New size: 3; reason: …"."""


class ScalerWatch:
    """Open until `close`. Autoscalers name their target in their spec, so those of the whole
    namespace are watched."""

    def __init__(
        self, detail_service: DetailService, key: NamespacedName, on_change: Callable[[], None]
    ) -> None:
        """Start to watch. `on_change` is called on the event loop after changes, those in quick
        succession together."""
        self._detail_service = detail_service
        self._key = key
        self._on_change = on_change
        self._event_watches: dict[str, EventWatch] = {}
        """By the uid of the autoscaler."""
        self._closing: list[EventWatch] = []
        self._is_closed = False
        self._states: tuple[ScalerState, ...] = ()
        """As computed last."""
        self._states_source: tuple[object, ...] | None = None
        """What they were computed from."""
        self._candidates = {one: Candidates() for one in (SCALED_OBJECT, HORIZONTAL_POD_AUTOSCALER)}
        self._scaled_objects = self._watch(SCALED_OBJECT)
        self._hpas = self._watch(HORIZONTAL_POD_AUTOSCALER)
        self._watch_events()

    def _watch(self, resource: Resource) -> ObjectWatch | None:
        # Imported late: it loads the client, for which the first frame does not wait.
        from servedeck.detail.object_watch import ObjectQuery

        query = ObjectQuery(resource, self._key.namespace)
        return self._detail_service.watch_objects(query, self._update)

    # -- a Watch ------------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether both kinds are listed, or it is known that they cannot be."""
        return all(one is not None and one.is_settled for one in (self._scaled_objects, self._hpas))

    @property
    def missing_permission(self) -> str:
        """The missing verb and resource in one sentence; "" if there is none."""
        watches = (one for one in (self._scaled_objects, self._hpas) if one is not None)
        return next(filter(None, (one.missing_permission for one in watches)), "")

    async def close(self) -> None:
        """Stop all watches; what was read stays."""
        self._is_closed = True
        watches = (self._scaled_objects, self._hpas, *self._event_watches.values(), *self._closing)
        for watch in watches:
            if watch is not None:
                await watch.close()

    # -- what was read ------------------------------------------------------------------------

    @property
    def states(self) -> tuple[ScalerState, ...]:
        """The autoscalers of the serving, a ScaledObject together with its HPA; usually one."""
        own, own_hpas = self._own_scaled_objects, self._own_hpas
        is_forbidden = _is_forbidden(self._hpas)
        events = [watch.records for watch in self._event_watches.values()]
        source = (own, own_hpas, is_forbidden, events)
        if source != self._states_source:
            self._states_source = source
            hpas = None if is_forbidden else [one.value for one in own_hpas]
            found = read_scaler_states([one.value for one in own], hpas)
            self._states = tuple(
                replace(one, last_rescale=self._last_rescale(one)) for one in found
            )
        return self._states

    @property
    def note(self) -> str:
        """Why autoscalers may be missing from `states`, one sentence; "" where they are not."""
        if missing := self.missing_permission:
            return f"Not everything about scaling is known: {one_line(missing)}"
        scaled = self._scaled_objects
        if scaled is not None and scaled.is_kind_missing:
            return (
                "KEDA is not installed: the cluster has no ScaledObjects (scaledobjects.keda.sh)."
            )
        return ""

    @property
    def events(self) -> tuple[ScalerEvent, ...]:
        """The Events of the autoscalers, the newest first."""
        records = [one for watch in self._event_watches.values() for one in watch.records]
        return tuple(
            ScalerEvent(
                event_time(one),
                f"{one.involved_object.kind}/{one.involved_object.name}",
                one.type,
                one_line(one.reason),
                one_line(one.message),
            )
            for one in newest_first(records)[:MAX_SCALER_EVENTS]
        )

    def _last_rescale(self, state: ScalerState) -> Rescale | None:
        """What the newest Event about a change of the replicas says."""
        uids = [one.metadata.uid for one in self._own_hpas if one.metadata.name == state.hpa_name]
        watches = [self._event_watches[uid] for uid in uids if uid in self._event_watches]
        events = newest_first(one for watch in watches for one in watch.records)
        found = (read_rescale(one.reason, one.message) for one in events)
        return next((one for one in found if one is not None), None)

    @property
    def watches(self) -> Mapping[Resource, ObjectWatch]:
        """The watches of both kinds, of the whole namespace; none while there is no connection."""
        both = {SCALED_OBJECT: self._scaled_objects, HORIZONTAL_POD_AUTOSCALER: self._hpas}
        return {resource: one for resource, one in both.items() if one is not None}

    def own_objects(self, resource: Resource) -> tuple[LiveObject, ...]:
        """The objects of one of both kinds that scale the serving, by name."""
        watch = self.watches.get(resource)
        if watch is None:
            return ()
        return self._candidates[resource].find(
            watch.objects,
            self._key,
            lambda one: may_name(one, (self._key.name,)) and scales(one.value, self._key),
        )

    @property
    def _own_scaled_objects(self) -> tuple[LiveObject, ...]:
        return self.own_objects(SCALED_OBJECT)

    @property
    def _own_hpas(self) -> tuple[LiveObject, ...]:
        return self.own_objects(HORIZONTAL_POD_AUTOSCALER)

    # -- changes ------------------------------------------------------------------------------

    def _update(self) -> None:
        if not self._is_closed:
            self._watch_events()
        self._on_change()

    def _watch_events(self) -> None:
        """Watch the Events of the autoscalers that there are now, each by its uid."""
        own = (*self._own_scaled_objects, *self._own_hpas)
        wanted = {one.metadata.uid for one in own if one.metadata.uid}
        for uid in wanted - self._event_watches.keys():
            watch = self._detail_service.watch_events(
                self._key.namespace, self._on_change, object_uid=uid
            )
            if watch is not None:
                self._event_watches[uid] = watch
        for uid in self._event_watches.keys() - wanted:
            self._closing.append(self._event_watches.pop(uid))


def _is_forbidden(watch: ObjectWatch | None) -> bool:
    return watch is not None and bool(watch.missing_permission)
