"""What is said when a route could not be written, and what was written before."""

from __future__ import annotations

from typing import Any, cast

import pytest

from servedeck.changes.edit.guarded_writes import WriteOutcome, WriteState
from servedeck.changes.live_objects import LiveObjects
from servedeck.changes.object_writes import ObjectWrite
from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split import execution
from servedeck.changes.traffic_split.execution import describe_action, run_traffic
from servedeck.changes.traffic_split.plan import (
    RouteChange,
    TrafficAction,
    TrafficOptions,
    TrafficPlan,
)
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import TrafficState
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.rejection import Rejection, RejectionReason

OPTIONS = TrafficOptions(TrafficAction.SPLIT, "chat", "llama", "llama-2", 10)
STATE = TrafficState(
    "chat", "llama", LiveObjects(), Side("llama", None, {}), Side("llama-2", None, {})
)


def change(name: str) -> RouteChange:
    ref = ObjectRef("gateway.networking.k8s.io/v1", "HTTPRoute", "chat", name)
    return RouteChange(ObjectWrite(ref, {}, live={}), {})


PLAN = TrafficPlan(OPTIONS, STATE, changes=(change("a"), change("b")))


async def run(
    monkeypatch: pytest.MonkeyPatch, *outcomes: WriteOutcome, plan: TrafficPlan = PLAN
) -> tuple[Outcome, str]:
    left = list(outcomes)

    async def write(*_: Any, **__: Any) -> WriteOutcome:
        return left.pop(0)

    monkeypatch.setattr(execution, "write_guarded", write)
    result = await run_traffic(cast(Connection, None), plan)
    assert left == []
    return result.outcome, result.message


WRITTEN = WriteOutcome(WriteState.WRITTEN)
CONFLICT = Rejection(RejectionReason.CONFLICT, "conflict with flux", (".spec.rules",))
BEFORE = " Written before: HTTPRoute a; do it again for the rest."


async def test_all_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await run(monkeypatch, WRITTEN, WRITTEN)
    assert found == (Outcome.DONE, "llama-2 gets 10 % of the requests of chat/llama.")


@pytest.mark.parametrize(
    ("second", "outcome", "message"),
    [
        (
            WriteOutcome(WriteState.CHANGED),
            Outcome.OUTDATED,
            "HTTPRoute chat/b was changed by somebody else meanwhile, so it was not written.",
        ),
        (
            WriteOutcome(WriteState.REJECTED, rejection=CONFLICT),
            Outcome.OUTDATED,
            "HTTPRoute chat/b was changed by somebody else meanwhile, so it was not written.",
        ),
        (
            WriteOutcome(
                WriteState.REJECTED, rejection=Rejection(RejectionReason.PERMISSION, "No.")
            ),
            Outcome.REJECTED,
            "HTTPRoute chat/b was not written: No.",
        ),
        (
            WriteOutcome(WriteState.NOT_WRITTEN, error="It does not answer."),
            Outcome.REJECTED,
            "HTTPRoute chat/b was not written: It does not answer.",
        ),
        (
            WriteOutcome(WriteState.UNKNOWN, error="The answer was lost."),
            Outcome.UNKNOWN,
            "Whether HTTPRoute chat/b was written is not known: The answer was lost.",
        ),
    ],
)
async def test_what_was_written_before_is_said(
    monkeypatch: pytest.MonkeyPatch, second: WriteOutcome, outcome: Outcome, message: str
) -> None:
    assert await run(monkeypatch, WRITTEN, second) == (outcome, message + BEFORE)
    # Nothing is written after a failure.
    assert await run(monkeypatch, second) == (outcome, message.replace("chat/b", "chat/a"))


async def test_a_plan_that_does_nothing_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = TrafficPlan(OPTIONS, STATE, blocked="No.", changes=PLAN.changes)
    assert await run(monkeypatch, plan=blocked) == (Outcome.REJECTED, "No.")
    unchanged = TrafficPlan(OPTIONS, STATE, unchanged="It is so.", changes=PLAN.changes)
    assert await run(monkeypatch, plan=unchanged) == (Outcome.UNCHANGED, "It is so.")


def test_actions_as_a_question_has_them() -> None:
    def text(action: TrafficAction, weight: int | None = None) -> str:
        return describe_action(TrafficOptions(action, "chat", "llama", "", weight), "llama-2")

    assert text(TrafficAction.SPLIT, 5) == "Send 5 % of the requests of chat/llama to llama-2"
    assert text(TrafficAction.PROMOTE) == "Send all requests of chat/llama to llama-2"
    assert text(TrafficAction.ABORT) == "Send all requests of chat/llama to it again"
