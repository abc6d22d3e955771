"""A second revision in the traffic of a serving: what the next step is, and what is refused,
without a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.live_objects import LiveObjects
from servedeck.changes.traffic_split.next_step import NextStep, Step, next_steps
from servedeck.changes.traffic_split.revisions import find_takeover_problem
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import TrafficState, compare_revision, find_rules
from servedeck.serving.conventions import REVISION_LABEL
from servedeck.serving.objects.traffic_split import SplitTarget
from tests.changes.traffic_split.test_state import deployment, route, service

CANARY = "llama-canary"


def serving(
    name: str = "llama", image: str = "vllm/vllm-openai:v1", *, of: str = "", **status: int
) -> dict[str, Any]:
    """A Deployment with 3 replicas that are ready, unless `status` says other numbers."""
    found = deployment(name, labels={REVISION_LABEL: of} if of else {})
    [container] = found["spec"]["template"]["spec"]["containers"]
    container |= {"image": image, "args": ["--model", "org/model"]}
    ready = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3}
    found["status"] = ready | status
    return found


MAIN, NEW = serving(), serving(CANARY, "vllm/vllm-openai:v2", of="llama")
SAME = serving(CANARY, of="llama")


def state(
    weight: int | None = None,
    *,
    main: dict[str, Any] = MAIN,
    other: dict[str, Any] = NEW,
    objects: tuple[dict[str, Any], ...] = (),
) -> TrafficState:
    """Of llama, with `weight` percent of the requests for the other; None for no split."""
    backends = [("llama", 100)] if weight is None else [("llama", 100 - weight), (CANARY, weight)]
    live = LiveObjects([main, service(), route(*backends), *objects])
    side = Side(CANARY, SplitTarget(CANARY, 80), other)
    found = find_rules("chat", "llama", live, side if weight is not None else None)
    if not side.revision_of:
        return found
    its_objects = LiveObjects([other, service(CANARY, CANARY)])
    return replace(found, revision=compare_revision(found, side, its_objects))


def steps(found: TrafficState) -> list[Step]:
    return [one.step for one in next_steps(found)]


def first(found: TrafficState) -> NextStep:
    return next(next_steps(found))


# -- the next step --------------------------------------------------------------------------------


def test_before_there_is_a_revision() -> None:
    found = replace(state(), revision=None)
    assert steps(found) == [Step.SPLIT, Step.CANARY]
    assert first(found).text.startswith("sends a share of the requests to another serving")


def test_a_revision_that_gets_no_requests_yet() -> None:
    assert first(state()) == (
        Step.SPLIT,
        "sends a share of the requests to llama-canary, a revision of llama (image).",
        CANARY,
    )
    waiting = state(other=serving(CANARY, "vllm/vllm-openai:v2", of="llama", readyReplicas=0))
    assert steps(waiting) == [Step.OTHER, Step.SPLIT]
    assert "has no ready replica yet: wait until it is Ready" in first(waiting).text
    assert steps(state(other=SAME)) == [Step.OTHER]
    assert "has the same settings and gets no requests: edit it" in first(state(other=SAME)).text


def test_while_requests_are_divided() -> None:
    assert steps(state(10)) == [Step.SPLIT, Step.PROMOTE]
    found = state(10, other=serving(CANARY, "vllm/vllm-openai:v2", of="llama", readyReplicas=0))
    assert steps(found) == [Step.ABORT] and "has no ready replica" in first(found).text


def test_after_the_promotion() -> None:
    assert first(state(100)) == (
        Step.FINISH,
        "takes the settings of llama-canary over into llama (image). llama-canary answers all "
        "requests meanwhile, so a restart of the Pods of llama interrupts nothing.",
        "",
    )
    for status in ({"updatedReplicas": 1}, {"readyReplicas": 2, "availableReplicas": 2}):
        found = state(100, main=serving(**status), other=SAME)
        assert steps(found) == [Step.OTHER]
        assert "is being rolled out (" in first(found).text
    stopped = serving(replicas=0, updatedReplicas=0, availableReplicas=0, readyReplicas=0)
    stopped["spec"]["replicas"] = 0
    smaller = serving(CANARY, of="llama")
    smaller["spec"]["replicas"] = 0
    found = state(100, main=stopped, other=smaller)
    assert "but 0 replicas: scale it up" in first(found).text
    found = state(100, other=SAME)
    assert steps(found) == [Step.ABORT]
    assert "delete llama-canary then" in first(found).text


def test_of_another_serving_the_first_one_can_be_scaled_down() -> None:
    found = state(100, other=serving(CANARY, "vllm/vllm-openai:v2"))
    assert steps(found) == [Step.ABORT] and "scale it down" in first(found).text


def test_nothing_is_next_where_the_weights_are_not_changed() -> None:
    for found in (
        state(100, objects=(route(("llama", 1), ("x", 1), ("y", 1)),)),
        replace(state(), is_asked_missing=True),
        replace(state(10), other=None, revision=None),
    ):
        assert steps(found) == []


def test_many_differences_are_counted() -> None:
    other = serving(CANARY, "vllm/vllm-openai:v2", of="llama")
    [container] = other["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": name, "value": "1"} for name in "ABC"]
    assert "(4 settings)" in first(state(other=other)).text


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (replace(state(), revision=None), "so there is nothing to finish"),
        (state(10), "llama still gets a share of the requests; promote llama-canary first"),
        (
            state(100, objects=(route(("llama", 1), name="second"),)),
            "llama still gets a share of the requests",
        ),
        (state(100, other=serving(CANARY)), "is a serving of its own, no revision of llama"),
        (
            state(100, other=serving(CANARY, "vllm/vllm-openai:v2", of="llama", readyReplicas=0)),
            "llama-canary has no ready replica, so nothing would answer",
        ),
        (replace(state(100), other=None, revision=None), "is not in namespace chat any more"),
    ],
)
def test_what_is_in_the_way_of_taking_over_is_said(found: TrafficState, message: str) -> None:
    assert message in find_takeover_problem(found)


def test_it_is_taken_over_after_the_promotion() -> None:
    assert find_takeover_problem(state(100)) == ""
    deleted = {**MAIN, "metadata": {**MAIN["metadata"], "deletionTimestamp": "2026-01-01"}}
    assert find_takeover_problem(state(100, main=deleted)) == "The serving is being deleted."


def test_a_revision_without_a_share_names_the_serving_whose_traffic_it_is() -> None:
    live = LiveObjects([NEW, service(CANARY, CANARY)])
    found = find_rules("chat", CANARY, live, None)
    assert found.problem == (
        "llama-canary is a revision of llama and has no endpoint of its own; send it a share in "
        "the traffic of llama."
    )
