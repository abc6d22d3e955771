"""What is in the way of a change of a split that is another one by now, without a cluster."""

from __future__ import annotations

from typing import Any, cast

import pytest

from servedeck.changes.live_objects import LiveObjects
from servedeck.changes.traffic_split import planning
from servedeck.changes.traffic_split.plan import TrafficAction, TrafficOptions, TrafficPlan
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import OtherSide, TrafficState, find_rules
from servedeck.cluster.http.connection import Connection
from servedeck.commands.traffic_text import state_lines
from servedeck.serving.objects.traffic_split import SplitTarget
from tests.changes.traffic_split.test_state import deployment, route, service

SPLIT, PROMOTE, ABORT = TrafficAction
SHOWN = OtherSide("llama-2", "llama-2")
GONE = (
    "Service llama-2, which the requests are divided with, is not in namespace chat any more; "
    "abort, so that all go to llama again."
)


def read(*backends: str, other: str = "") -> TrafficState:
    """Of llama, whose requests are divided with `backends`; `other` is the serving behind them."""
    weights = [("llama", 90), *((one, 10) for one in backends)]
    live = LiveObjects([deployment(), service(), route(*weights)])
    target = SplitTarget(backends[0], 80) if backends else None
    side = Side(other, target, deployment(other)) if other else None
    return find_rules("chat", "llama", live, side)


async def plan(
    monkeypatch: pytest.MonkeyPatch, state: TrafficState, action: TrafficAction, **options: Any
) -> TrafficPlan:
    async def read_state(*_: Any) -> TrafficState:
        return state

    async def preview(*_: Any, **__: Any) -> list[Any]:
        return []

    monkeypatch.setattr(planning, "read_state", read_state)
    monkeypatch.setattr(planning, "preview_writes", preview)
    weight = 20 if action is SPLIT else None
    wanted = TrafficOptions(action, "chat", "llama", weight=weight, **options)
    return await planning.plan_traffic(cast(Connection, None), wanted)


@pytest.mark.parametrize("action", [SPLIT, PROMOTE, ABORT])
async def test_another_one_than_was_shown_is_not_changed(
    monkeypatch: pytest.MonkeyPatch, action: TrafficAction
) -> None:
    state = read("llama-3", other="llama-3")
    found = await plan(monkeypatch, state, action, shown=SHOWN)
    assert found.blocked == (
        "The requests of chat/llama are divided with llama-3 (llama-3) now, not with llama-2 "
        "(llama-2) any more, so nothing is changed; look at the split again."
    )
    assert found.changes == ()
    # A command names what it finds, and asks.
    assert not (await plan(monkeypatch, state, action)).blocked
    state = read("llama-2", other="llama-2")
    assert not (await plan(monkeypatch, state, action, shown=SHOWN)).blocked


async def test_another_serving_behind_the_same_service_is_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = read("llama-2", other="llama-3")
    for action in (SPLIT, PROMOTE):
        found = await plan(monkeypatch, state, action, shown=SHOWN)
        assert "with llama-3 (llama-2) now, not with llama-2 (llama-2)" in found.blocked
    assert not (await plan(monkeypatch, state, ABORT, shown=SHOWN)).blocked


async def test_a_share_that_was_taken_away_meanwhile_is_not_given_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = await plan(monkeypatch, read(), SPLIT, shown=SHOWN)
    assert "llama-2 gets no share of the requests of chat/llama any more" in found.blocked
    found = await plan(monkeypatch, read(), PROMOTE, shown=SHOWN)
    assert "there is nothing to promote" in found.blocked
    found = await plan(monkeypatch, read(), ABORT, shown=SHOWN)
    assert (found.blocked, found.unchanged) == ("", "All requests of chat/llama go to it already.")


@pytest.mark.parametrize("shown", [None, SHOWN, OtherSide("llama-2", "canary")])
async def test_without_the_service_of_the_other_it_can_only_be_aborted(
    monkeypatch: pytest.MonkeyPatch, shown: OtherSide | None
) -> None:
    state = read("llama-2")
    assert state.gone == GONE
    for action in (SPLIT, PROMOTE):
        assert (await plan(monkeypatch, state, action, shown=shown)).blocked == GONE
    assert not (await plan(monkeypatch, state, ABORT, shown=shown)).blocked


def test_that_the_service_of_the_other_is_gone_is_shown() -> None:
    assert list(state_lines(read("llama-2"), {}))[-1] == f"  {GONE}"
    assert not any("any more" in one for one in state_lines(read("llama-2", other="x"), {}))
    assert read().gone == "" and read("a", "b").gone == ""
