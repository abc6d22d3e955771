"""Why no node accepts a Pod, from the scheduler's message."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from servedeck.serving.capacity import InsufficientResource, format_requests
from servedeck.serving.objects.records import Event, Pod
from servedeck.serving.pod_requests import ResourceList, container_requests
from servedeck.serving.status.cause import Finding, Signal
from servedeck.serving.status.cause_lookup import find_cause, find_main_cause, to_diagnosis
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.events import newest_first
from servedeck.serving.status.pod_fields import find_condition, node_values
from servedeck.serving.status.reasons import shorten


class SchedulingFailure(NamedTuple):
    """The scheduler's message about an unschedulable Pod."""

    node_count: int
    """Number of nodes evaluated."""
    node_reasons: tuple[tuple[int, str], ...]
    """(number of nodes, why they do not fit), in the scheduler's order."""
    prefilter_reasons: tuple[str, ...]
    """Reasons that apply to no particular node, such as a missing PVC."""


_NODES_AVAILABLE_PATTERN = re.compile(
    r"^\d+/(?P<nodes>\d+) nodes are (?:un)?available: ?(?P<body>.*)$", re.DOTALL
)
_VOLCANO_PLUGIN_PATTERN = re.compile(r"^plugin \w+ predicates failed ")
"""What Volcano writes before the reason (volcano-sh/volcano#3191)."""
_PREEMPTION_PATTERN = re.compile(r"\.? (?:no new claims to deallocate, )?preemption:")
_NODE_REASON_PATTERN = re.compile(r"^(\d+) (.+)$", re.DOTALL)
_PVC_NOT_FOUND_PATTERN = re.compile(
    r'^persistentvolumeclaim "[^"]+" (?:not found|is being deleted)'
)
_INSUFFICIENT = "Insufficient "


def diagnose_unscheduled(pod: Pod, events: Sequence[Event] = ()) -> Diagnosis | None:
    """A Pod without a node; None if it has one. The condition is more up to date than Events,
    which are used only if it has no message."""
    scheduled = find_condition(pod, "PodScheduled")
    if scheduled is None:
        if not pod.spec.node_name and pod.status.phase in ("", "Pending"):
            return Diagnosis(PodHealth.PENDING, "Unscheduled", "Not scheduled yet")
        return None
    if scheduled.status == "True":
        return None
    message = scheduled.message or next(
        (event.message for event in newest_first(events) if event.reason == "FailedScheduling"), ""
    )
    why = shorten(message)
    short = insufficient_resources(message)
    asked = _requested_amounts(pod, short)
    fit = describe_unschedulable(message)
    if asked:
        fit = f"{fit}; it requests {format_requests(asked)} on one node"
    finding = Finding(
        Signal.SCHEDULING,
        scheduled.reason or "Unschedulable",
        message,
        {**node_values(pod), "fit": fit, "why": why, "colon_why": f": {why}" if why else ""},
    )
    found = find_main_cause([finding])
    assert found is not None, "the table has a row for every unscheduled Pod"
    # The values are complete sentences of bounded length.
    text = fit if found.cause.text == "{fit}" else found.text
    return to_diagnosis(found, text)._replace(
        insufficient_resources=tuple(
            InsufficientResource(key, amount, short[key]) for key, amount in asked.items()
        )
    )


def _requested_amounts(pod: Pod, resources: Collection[str]) -> ResourceList:
    """The Pod's requests of these resources; those that it does not request are omitted."""
    if not resources:
        return {}
    all_asked = container_requests(pod.spec.containers, pod.spec.init_containers)
    return {key: all_asked[key] for key in resources if all_asked.get(key)}


def parse_scheduling_failure(message: str) -> SchedulingFailure | None:
    """Parse the scheduler's message; None for another text.

    Source: kubernetes v1.36 pkg/scheduler/framework/types.go, FitError.Error.
    """
    match = _NODES_AVAILABLE_PATTERN.match(message)
    if match is None or len(match["nodes"]) > 9:
        return None
    body = _PREEMPTION_PATTERN.split(match["body"], maxsplit=1)[0].strip().rstrip(".")
    reasons: list[tuple[int, str]] = []
    prefilter: list[str] = []
    for part in re.split(r", (?=\d+ )", body):
        counted = _NODE_REASON_PATTERN.match(part.strip())
        if counted is not None and len(counted[1]) <= 9:
            why = _VOLCANO_PLUGIN_PATTERN.sub("", counted[2].rstrip("."))
            # Schedulers before 1.22 counted the nodes for it.
            if (missing := _PVC_NOT_FOUND_PATTERN.match(why)) is not None:
                prefilter.append(missing[0])
            else:
                reasons.append((int(counted[1]), why))
        elif part:
            prefilter.append(part.strip().removesuffix(". not found"))
    return SchedulingFailure(int(match["nodes"]), tuple(reasons), tuple(prefilter))


def insufficient_resources(message: str) -> dict[str, int]:
    """The resources of which nodes have too little free, according to the scheduler, with the
    number of nodes."""
    found = parse_scheduling_failure(message)
    return {
        why.removeprefix(_INSUFFICIENT): nodes
        for nodes, why in (found.node_reasons if found is not None else ())
        if why.startswith(_INSUFFICIENT)
    }


def describe_unschedulable(message: str) -> str:
    """Why no node fits the Pod, insufficient resources first; "" if the message is not about
    nodes."""
    found = parse_scheduling_failure(message)
    if found is None or not (found.node_reasons or found.prefilter_reasons):
        return ""
    if found.prefilter_reasons:
        return shorten(f"It cannot be scheduled: {', '.join(found.prefilter_reasons)}")
    if not found.node_count:
        return "The cluster has no nodes"
    ordered = sorted(found.node_reasons, key=lambda reason: not reason[1].startswith(_INSUFFICIENT))
    parts = ", ".join(f"{nodes} {_describe_node_reason(why)}" for nodes, why in ordered)
    return shorten(f"0 of {found.node_count} nodes fit: {parts}")


def _describe_node_reason(why: str) -> str:
    found = find_cause(Finding(Signal.NODE_REASON, why, why))
    assert found is not None, "the table has a row for every reason of nodes"
    return found.text
