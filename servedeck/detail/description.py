"""Everything that is known about one serving, as text and as JSON: `servedeck describe`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from servedeck.detail.cards import Card, CardRow
from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.detail.detail_service import DetailService, EventWatch
from servedeck.detail.overview import setting_cards, status_rows
from servedeck.detail.rollout import Rollouts, build_rollouts
from servedeck.detail.rollout_text import changed_by, command_line, format_rollouts
from servedeck.detail.serving_events import EventSelection, event_objects
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.duration import format_duration
from servedeck.serving.objects.records import Event, ObjectReference
from servedeck.serving.status.event_history import EventEntry, EventHistory, join_events
from servedeck.serving.status.status_start import find_status_start
from servedeck.serving.status.timeline import TimelineEntry, merge_entries, since_text
from servedeck.serving.status.timeline_objects import derive_entries
from servedeck.serving.text import MASK, cell_width, one_line

MAX_TEXT_EVENTS = 50
"""Events that the text has; the JSON has all."""


class ServingViews(Protocol):
    """The part of a `servedeck.fleet.fleet.Fleet` that is described."""

    def views(self) -> Sequence[ServingView]: ...

    def related_objects(self, key: NamespacedName) -> Sequence[ObjectReference]: ...


@dataclass(frozen=True, slots=True)
class Description:
    """What is known about one serving."""

    view: ServingView
    status: tuple[CardRow, ...]
    cards: tuple[Card, ...]
    rollouts: Rollouts | None
    """None while the Deployment is unknown."""
    events: tuple[EventEntry, ...]
    """The newest at the end."""
    timeline: tuple[TimelineEntry, ...]
    """The newest at the end."""
    missing_permissions: tuple[str, ...]
    """What may not be read, in a sentence each."""


class DescriptionWatch:
    """Watches what the description of a serving needs besides its view, until `close`."""

    def __init__(
        self, detail_service: DetailService, key: NamespacedName, on_change: Callable[[], None]
    ) -> None:
        """Start to watch. `on_change` is called on the event loop after changes."""
        self._deployment_watch = DeploymentWatch(detail_service, key, on_change)
        self._event_watch: EventWatch | None = detail_service.watch_events(key.namespace, on_change)

    @property
    def is_settled(self) -> bool:
        """Whether all is listed, or it is known that it cannot be."""
        events = self._event_watch
        return self._deployment_watch.is_settled and (events is None or events.is_settled)

    async def close(self) -> None:
        await self._deployment_watch.close()
        if self._event_watch is not None:
            await self._event_watch.close()

    def describe(
        self,
        view: ServingView,
        fleet: ServingViews,
        now: datetime,
        observed: Sequence[TimelineEntry] = (),
        history: EventHistory | None = None,
    ) -> Description:
        """The serving as it is now. `observed` is the timeline that servedeck recorded; `history`
        has the Events that it saw, and gets those of now."""
        watch = self._deployment_watch
        deployment = watch.deployment
        value = deployment.value if deployment is not None else None
        replicasets = [one.value for one in watch.replicasets]
        derived = derive_entries(value or {}, replicasets, view.pods)
        timeline = merge_entries(derived, observed)
        start = find_status_start(view.status, view.pods, value or {}, replicasets)
        missing = [watch.missing_permission]
        if self._event_watch is not None:
            missing.append(self._event_watch.missing_permission)
        events = self._events(view, value, fleet)
        if history is not None:
            history.record(view.uid, events)
        entries = join_events(events) if history is None else history.entries(view.uid)
        rollouts = None
        if value is not None:
            rollouts = build_rollouts(
                value, replicasets, view, missing_permission=watch.missing_permission
            )
        return Description(
            view,
            status_rows(view, since_text(timeline, view.status, now, start)),
            setting_cards(view, value),
            rollouts,
            tuple(entries),
            timeline,
            tuple(filter(None, missing)),
        )

    def _events(
        self, view: ServingView, deployment: dict[str, Any] | None, fleet: ServingViews
    ) -> list[Event]:
        if self._event_watch is None:
            return []
        objects = event_objects(
            view,
            deployment or {},
            self._deployment_watch.replicasets,
            fleet.related_objects(view.key),
            (one.key for one in fleet.views()),
        )
        return EventSelection().select(self._event_watch.records, objects)


# -- text -------------------------------------------------------------------------------------


def format_description(description: Description, now: datetime) -> list[str]:
    """The description as lines of text, without values that look secret."""
    view = description.view
    lines = [f"Name:       {view.key.name}", f"Namespace:  {view.key.namespace}"]
    if description.missing_permissions:
        lines += [f"Note:       {one}" for one in description.missing_permissions]
    lines += _format_card(Card("status", "Status", description.status), now)
    lines += ["", "Pods", *_format_pods(view, now)]
    for card in description.cards:
        lines += _format_card(card, now)
    if description.rollouts is not None:
        rollouts = format_rollouts(description.rollouts, now)
        lines += ["", "Rollouts", *(f"  {line}".rstrip() for line in rollouts)]
    lines += ["", "Timeline", *(f"  {line}" for line in format_timeline(description.timeline))]
    lines += ["", "Events"]
    if len(description.events) > MAX_TEXT_EVENTS:
        count = len(description.events)
        lines.append(f"  The last {MAX_TEXT_EVENTS} of {count}; -o json has all.")
    lines += [f"  {line}" for line in format_events(description.events[-MAX_TEXT_EVENTS:])]
    return [" ".join(line.splitlines()) for line in lines]


def _format_card(card: Card, now: datetime) -> list[str]:
    lines = ["", card.title]
    width = max((cell_width(row.label) for row in card.rows), default=0)
    for row in card.rows:
        label = row.label + ":" + " " * (width - cell_width(row.label))
        lines.append(f"  {label}  {_row_text(row, now)}".rstrip())
    return lines if card.rows else [*lines, f"  {card.empty_text}"]


def _row_text(row: CardRow, now: datetime) -> str:
    if row.time is not None:
        return f"{_utc(row.time)} ({_age(row.time, now)} ago)"
    value = MASK if row.looks_secret else one_line(row.value)
    note = f"({one_line(row.note)})" if row.value and row.note else one_line(row.note)
    return " ".join(filter(None, (value, note))) or "<none>"


def _format_pods(view: ServingView, now: datetime) -> list[str]:
    if not view.pods:
        return [f"  {view.no_pods_text}"]
    headings = ("POD", "STATUS", "READY", "RESTARTS", "AGE", "NODE", "REASON")
    rows = [headings]
    rows += [
        (
            pod.name,
            pod.status,
            pod.ready,
            str(pod.restarts),
            _age(pod.created, now) if pod.created is not None else "",
            pod.node or "-",
            pod.reason or "-",
        )
        for pod in view.pods
    ]
    widths = [max(map(cell_width, set(column))) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(map(_pad, row, widths)).rstrip()  # of thousands of Pods, in 5 ms
        for row in rows
    ]


def _pad(text: str, width: int) -> str:
    return text.ljust(width) if text.isascii() else text + " " * (width - cell_width(text))


def format_timeline(timeline: Sequence[TimelineEntry]) -> list[str]:
    """The entries, one line each, with their time in UTC."""
    return [f"{_utc(entry.end)}  {entry.text}" for entry in timeline] or ["Nothing is known."]


def format_events(events: Sequence[EventEntry]) -> list[str]:
    """The Events, one line each, with the time of the last one in UTC."""
    if not events:
        return ["No Events."]
    lines = []
    for one in events:
        count = f" x{one.count}" if one.count > 1 else ""
        when = _utc(one.last) if one.last is not None else " " * 20
        lines.append(
            f"{when}  {one.type}  {one.reason}{count}  {one.kind.lower()}/{one.name}  "
            f"{one_line(one.message)}"
        )
    return lines


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _age(time: datetime, now: datetime) -> str:
    return format_duration(max((now - time).total_seconds(), 0.0))


# -- JSON -------------------------------------------------------------------------------------


def description_json(description: Description) -> dict[str, Any]:
    """What the description adds to the JSON of `get servings`; values that look secret are
    masked."""
    rollouts = description.rollouts
    return {
        "statusDetails": {row.key: _row_json(row) for row in description.status},
        "settings": {
            card.key: [{"label": row.label, **_row_json(row)} for row in card.rows]
            for card in description.cards
        },
        "rollout": None if rollouts is None else _rollouts_json(rollouts),
        "timeline": [
            {
                "time": _utc(entry.time),
                "lastTime": _utc(entry.end),
                "kind": entry.kind.value,
                "text": entry.text,
                "observed": entry.observed,
            }
            for entry in description.timeline
        ],
        "allEvents": [
            {
                "firstTime": _utc(one.first) if one.first is not None else None,
                "lastTime": _utc(one.last) if one.last is not None else None,
                "type": one.type,
                "reason": one.reason,
                "message": one.message,
                "count": one.count,
                "object": {"kind": one.kind, "name": one.name},
                "source": one.source,
            }
            for one in description.events
        ],
        "missingPermissions": list(description.missing_permissions),
    }


def _row_json(row: CardRow) -> dict[str, Any]:
    value: Any = MASK if row.looks_secret else row.value
    if row.time is not None:
        value = _utc(row.time)
    found = {"value": value}
    if row.note:
        found["note"] = row.note
    return found


def _rollouts_json(rollouts: Rollouts) -> dict[str, Any]:
    return {
        "message": rollouts.status.message,
        "heldUpBy": rollouts.hold_up,
        "revisions": [
            {
                "revision": one.number,
                "current": one.is_current,
                "created": _utc(one.created) if one.created is not None else None,
                "image": one.image,
                "command": command_line(one),
                "change": one.change,
                "changedBy": changed_by(one),
                "changeCause": one.change_cause,
                "desired": one.desired,
                "ready": one.ready,
            }
            for one in rollouts.revisions
        ],
    }
