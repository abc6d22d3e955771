"""What to do next about the traffic of a serving, from its state."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from servedeck.changes.traffic_split.state import RevisionState, TrafficState
from servedeck.serving.text import one_line

_SHOWN_DIFFERENCES = 3
"""Fields that a sentence names; of more, only the number."""


class Step(StrEnum):
    """The value is the word of the command; "" for what is no change of the traffic."""

    CANARY = "canary"
    SPLIT = "split"
    PROMOTE = "promote"
    FINISH = "finish"
    ABORT = "abort"
    OTHER = ""


class NextStep(NamedTuple):
    step: Step
    text: str
    """Of OTHER, whole sentences; else what follows the key or the command: "sends all requests to
    llama-2." Sanitized."""
    other: str = ""
    """Of SPLIT: the serving that it is proposed for, sanitized; "" for any."""


def next_steps(state: TrafficState) -> Iterator[NextStep]:
    """The steps that are possible now, the usual one first; none if the weights are not changed."""
    if state.problem or state.gone or state.is_asked_missing or not state.live.objects:
        return
    if not state.is_split:
        yield from _before_split(state)
    elif not state.is_promoted:
        yield from _while_split(state)
    elif state.revision is None:
        yield NextStep(
            Step.ABORT,
            f"gives the requests back to {state.main.label}; scale it down when you no longer need "
            "that.",
        )
    else:
        yield _after_promotion(state, state.revision)


def _before_split(state: TrafficState) -> Iterator[NextStep]:
    main, revision = state.main.label, state.revision
    if revision is None:
        share = "sends a share of the requests to another serving of the namespace."
        other = state.other.label if state.other is not None else ""
        if other:
            share = f"sends a share of the requests to {other}."
        yield NextStep(Step.SPLIT, share, other)
        yield NextStep(
            Step.CANARY,
            f"creates a second revision of {main}, a serving of its own beside it, which gets no "
            "requests until it is sent a share.",
        )
        return
    name = revision.side.label
    if not revision.differences:
        yield NextStep(
            Step.OTHER,
            f"{name}, a revision of {main}, has the same settings and gets no requests: edit it "
            "to try something, or delete it.",
        )
        return
    if not revision.side.ready:
        yield NextStep(
            Step.OTHER,
            f"{name}, a revision of {main}, has no ready replica yet: wait until it is Ready "
            "before it gets a share.",
        )
    yield NextStep(
        Step.SPLIT,
        f"sends a share of the requests to {name}, a revision of {main} "
        f"({_list_differences(revision)}).",
        name,
    )


def _while_split(state: TrafficState) -> Iterator[NextStep]:
    other = state.other
    if other is None:
        return
    main, name = state.main.label, other.label
    if other.is_serving and not other.ready:
        yield NextStep(
            Step.ABORT,
            f"gives all requests back to {main}: {name} has no ready replica, so its share fails.",
        )
        return
    yield NextStep(
        Step.SPLIT,
        f"raises the share of {name} as long as its errors and its P95 are no worse than those of "
        f"{main}.",
        name,
    )
    yield NextStep(Step.PROMOTE, f"then sends all requests to {name}, at once and reversibly.")


def _after_promotion(state: TrafficState, revision: RevisionState) -> NextStep:
    main, name = state.main, revision.side.label
    if revision.differences:
        return NextStep(
            Step.FINISH,
            f"takes the settings of {name} over into {main.label} "
            f"({_list_differences(revision)}). {name} answers all requests meanwhile, so a restart "
            f"of the Pods of {main.label} interrupts nothing.",
        )
    has_all = f"{main.label} has the settings of {name}"
    if not main.desired:
        return NextStep(
            Step.OTHER,
            f"{has_all}, but 0 replicas: scale it up, then give it the requests back.",
        )
    if not main.is_rolled_out:
        return NextStep(
            Step.OTHER,
            f"{has_all} and is being rolled out ({main.replicas}): wait until it is Ready, then "
            "give it the requests back.",
        )
    return NextStep(
        Step.ABORT,
        f"gives the requests back to {main.label}, which has the settings of {name} now, and takes "
        f"{name} out of the route; delete {name} then.",
    )


def _list_differences(revision: RevisionState) -> str:
    """ "image, env.A", "5 settings"."""
    names = [one_line(one.name) for one in revision.differences]
    if len(names) > _SHOWN_DIFFERENCES:
        return f"{len(names)} settings"
    return ", ".join(names)
