"""What `servedeck describe` prints, redacted, as the files of a bundle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from servedeck.bundle.reader import ClusterReader
from servedeck.bundle.redaction import Redactor
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.detail.description import (
    Description,
    DescriptionWatch,
    ServingViews,
    description_json,
    format_description,
    format_events,
    format_timeline,
)
from servedeck.detail.rollout_text import format_rollouts
from servedeck.fleet.view_json import serving_json
from servedeck.fleet.views import EventView, ServingView
from servedeck.serving.status.timeline import TimelineEntry

LISTS_SECONDS = 10.0
"""Seconds to wait for the Deployment, the ReplicaSets and the Events."""


async def read_description(
    reader: ClusterReader,
    view: ServingView,
    fleet: ServingViews,
    timeline: Sequence[TimelineEntry],
    now: datetime,
) -> Description:
    """The description of a serving, not redacted. `timeline` is what servedeck recorded. What may
    not be read, or is not listed in time, is a problem of the reader."""
    changed = asyncio.Event()
    watch = DescriptionWatch(ClusterDetailService(lambda: reader.connection), view.key, changed.set)
    try:
        limit = 0.0 if reader.lost else min(LISTS_SECONDS, reader.seconds_left)
        async with asyncio.timeout(limit):
            while not watch.is_settled:
                changed.clear()
                await changed.wait()
    except TimeoutError:
        reader.add_problem("A part of the description", "The API server did not list it in time.")
    finally:
        await watch.close()
    description = watch.describe(view, fleet, now, timeline)
    for sentence in description.missing_permissions:
        reader.add_problem("A part of the description", sentence)
    return description


def redact_description(description: Description, redactor: Redactor) -> Description:
    """The description with redacted messages. Its settings are masked already; known values are
    masked in the files."""
    text = redactor.text
    rollouts = description.rollouts
    if rollouts is not None:
        revisions = (
            replace(one, change_cause=text(one.change_cause)) for one in rollouts.revisions
        )
        status = replace(rollouts.status, message=text(rollouts.status.message))
        rollouts = replace(
            rollouts, revisions=tuple(revisions), hold_up=text(rollouts.hold_up), status=status
        )
    return replace(
        description,
        rollouts=rollouts,
        view=redact_view(description.view, redactor),
        status=tuple(
            replace(row, value=text(row.value), note=text(row.note)) for row in description.status
        ),
        events=tuple(
            replace(one, key=one.key._replace(message=text(one.key.message)))
            for one in description.events
        ),
        timeline=tuple(replace(one, text=text(one.text)) for one in description.timeline),
    )


def redact_view(view: ServingView, redactor: Redactor) -> ServingView:
    """The view with redacted messages."""
    text = redactor.text

    def redact_events(events: Sequence[EventView]) -> tuple[EventView, ...]:
        return tuple(replace(one, message=text(one.message)) for one in events)

    pods = tuple(
        replace(pod, message=text(pod.message), events=redact_events(pod.events))
        for pod in view.pods
    )
    return replace(
        view,
        message=text(view.message),
        description=text(view.description),
        pods=pods,
        events=redact_events(view.events),
    )


def description_files(
    description: Description, redactor: Redactor, now: datetime
) -> Mapping[str, str]:
    """Path -> text of the files of a redacted description."""
    whole = {**serving_json(description.view), **description_json(description)}
    rollouts = description.rollouts
    lines = {
        "description.txt": format_description(description, now),
        "events.txt": format_events(description.events),
        "timeline.txt": format_timeline(description.timeline),
        "rollouts.txt": ["The Deployment is not known."]
        if rollouts is None
        else format_rollouts(rollouts, now),
    }
    files = {path: redactor.text("\n".join(one) + "\n", names=False) for path, one in lines.items()}
    values = {"description.json": whole, "events.json": whole["allEvents"]}
    for path, value in values.items():
        files[path] = json.dumps(redactor.data(value), indent=2, ensure_ascii=False) + "\n"
    return files
