"""The temperature policy: its annotation, and its decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.temperature import (
    Decision,
    GateReason,
    GateState,
    PolicyPod,
    TemperaturePolicy,
    TemperaturePolicyError,
    decide,
    decide_off,
    format_policy,
    format_temperature,
    parse_policy,
)

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
POLICY = TemperaturePolicy(85, 75, 60)
LONG_AGO = NOW - timedelta(hours=1)
RETURN = "; it gets requests again at 75 °C"

policies = st.integers(1, 150).flatmap(
    lambda threshold: st.builds(
        TemperaturePolicy,
        st.just(threshold),
        st.integers(0, threshold - 1),
        st.integers(0, 86_400),
    )
)


# -- the annotation -----------------------------------------------------------------------------


@given(policies)
def test_a_policy_is_read_as_it_was_written(policy: TemperaturePolicy) -> None:
    assert parse_policy(format_policy(policy)) == policy


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("threshold=85,recovery=75,seconds=60", POLICY),
        (" threshold = 90 , recovery=80 ", TemperaturePolicy(90, 80, 60)),
        ("seconds=0", TemperaturePolicy(85, 75, 0)),
        ("off", None),
        ("Off ", None),
        ("", None),
    ],
)
def test_what_is_missing_is_the_default(text: str, policy: TemperaturePolicy | None) -> None:
    assert parse_policy(text) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threshold=hot", "threshold must be a whole number, not 'hot'."),
        ("threshold=-1", "threshold must be a whole number, not '-1'."),
        ("threshold=", "threshold must be a whole number, not ''."),
        ("threshold=²", "threshold must be a whole number, not '²'."),
        ("threshold=0", "threshold must be from 1 to 150 °C."),
        ("threshold=151", "threshold must be from 1 to 150 °C."),
        ("recovery=85", "recovery must be from 0 °C to less than the threshold, 85 °C."),
        ("seconds=86401", "seconds must be from 0 to 86400."),
        ("threshold=80,threshold=90", "The temperature policy has threshold twice; remove one."),
        (
            "limit=80",
            "'limit=80' is no temperature policy; write threshold=85,recovery=75,seconds=60.",
        ),
        (
            "threshold=80,",
            "'' is no temperature policy; write threshold=85,recovery=75,seconds=60.",
        ),
        (
            "x" * 201,
            "The temperature policy has more than 200 characters;"
            " write threshold=85,recovery=75,seconds=60.",
        ),
    ],
)
def test_a_policy_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(TemperaturePolicyError) as caught:
        parse_policy(text)
    assert str(caught.value) == message


@given(st.text(max_size=60))
def test_any_text_is_a_policy_or_a_sentence(text: str) -> None:
    try:
        parse_policy(text)
    except TemperaturePolicyError as error:
        assert "\n" not in str(error) and "\x1b" not in str(error)


# -- decisions ----------------------------------------------------------------------------------


def pod(
    uid: str,
    temperature: float | None,
    *,
    out: bool = False,
    since: datetime = LONG_AGO,
    ready: bool | None = None,
    able: bool = True,
    gate: bool = True,
) -> PolicyPod:
    state = GateState(not out, "Hot" if out else "Normal", "", since)
    is_ready = ready if ready is not None else able and not out
    return PolicyPod(uid, gate, is_ready, able, temperature, state)


def decided(*pods: PolicyPod, policy: TemperaturePolicy = POLICY) -> dict[str, GateReason]:
    return {uid: one.reason for uid, one in decide(policy, pods, NOW).items()}


def test_from_the_threshold_on_a_pod_is_out_of_traffic() -> None:
    found = decide(POLICY, [pod("a", 91), pod("b", 85), pod("c", 84.9)], NOW)
    assert found == {
        "a": Decision(GateReason.HOT, f"91 °C, above 85 °C{RETURN}"),
        "b": Decision(GateReason.HOT, f"85 °C, not below 85 °C{RETURN}"),
        "c": Decision(GateReason.NORMAL, "84.9 °C, below 85 °C"),
    }
    assert [one.passes for one in found.values()] == [False, False, True]


def test_it_returns_only_at_the_recovery_temperature() -> None:
    other = pod("other", 50)
    assert decided(other, pod("a", 75.1, out=True))["a"] is GateReason.HOT
    assert decided(other, pod("a", 75, out=True))["a"] is GateReason.NORMAL


def test_it_returns_only_after_the_shortest_time() -> None:
    def after(seconds: float) -> GateReason:
        hot = pod("a", 40, out=True, since=NOW - timedelta(seconds=seconds))
        return decided(pod("other", 50), hot)["a"]

    assert [after(59), after(60)] == [GateReason.HOT, GateReason.NORMAL]
    assert [after(-5), after(-3600)] == [GateReason.HOT, GateReason.NORMAL]


def test_a_condition_without_a_time_returns() -> None:
    hot = pod("a", 40, out=True)._replace(state=GateState(False, "Hot"))
    assert decided(pod("other", 50), hot)["a"] is GateReason.NORMAL


def test_an_unknown_temperature_keeps_nobody_out() -> None:
    just_now = pod("a", None, out=True, since=NOW)
    assert decided(just_now, pod("b", None), pod("c", None)._replace(state=None)) == {
        "a": GateReason.UNKNOWN,
        "b": GateReason.UNKNOWN,
        "c": GateReason.UNKNOWN,
    }


def test_of_pods_that_are_all_hot_the_coolest_stays() -> None:
    found = decide(POLICY, [pod("a", 95), pod("b", 90), pod("c", 99)], NOW)
    assert found["b"] == Decision(
        GateReason.LAST_READY_POD, "90 °C, above 85 °C, but no other Pod is ready"
    )
    assert [found["a"].reason, found["c"].reason] == [GateReason.HOT] * 2


def test_a_pod_that_is_not_ready_does_not_count() -> None:
    crashed = pod("crashed", 40, able=False)
    assert decided(pod("a", 95), crashed)["a"] is GateReason.LAST_READY_POD
    # nor one that has just returned, until it is Ready
    returning = pod("returning", 40, out=True)
    assert decided(pod("a", 95), returning) == {
        "a": GateReason.LAST_READY_POD,
        "returning": GateReason.NORMAL,
    }


def test_a_pod_without_the_gate_counts() -> None:
    old = pod("old", 99, gate=False)
    assert decided(pod("a", 95), old) == {"a": GateReason.HOT}


def test_the_last_one_is_not_changed_for_a_cooler_one_that_is_out() -> None:
    assert decided(pod("a", 99), pod("b", 86, out=True)) == {
        "a": GateReason.LAST_READY_POD,
        "b": GateReason.HOT,
    }


def test_a_hot_pod_returns_when_the_last_other_one_fails() -> None:
    crashed = pod("crashed", 40, able=False)
    assert decided(crashed, pod("a", 99, out=True), pod("b", 95, out=True)) == {
        "crashed": GateReason.NORMAL,
        "a": GateReason.HOT,
        "b": GateReason.LAST_READY_POD,
    }


def test_no_hot_pod_returns_while_a_cool_one_becomes_ready() -> None:
    returning = pod("returning", 40, out=True)
    assert decided(returning, pod("a", 99, out=True)) == {
        "returning": GateReason.NORMAL,
        "a": GateReason.HOT,
    }


def test_a_hot_pod_that_could_not_serve_does_not_return() -> None:
    assert decided(pod("a", 99, out=True, able=False)) == {"a": GateReason.HOT}


def test_without_a_policy_no_gate_is_closed() -> None:
    pods = [pod("a", 99, out=True), pod("b", 99, gate=False)]
    assert decide_off(pods, "why") == {"a": Decision(GateReason.OFF, "why")}


def test_it_is_written_again_only_for_another_reason_or_limit() -> None:
    hot = Decision(GateReason.HOT, "91 °C, above 85 °C")
    assert hot.is_told_by(GateState(False, "Hot", "97.5 °C, above 85 °C"))
    assert not hot.is_told_by(None)
    assert not hot.is_told_by(GateState(True, "Hot", "91 °C, above 85 °C"))
    assert not hot.is_told_by(GateState(False, "Hot", "91 °C, above 90 °C"))
    assert not hot.is_told_by(GateState(False, "Other", "91 °C, above 85 °C"))


@pytest.mark.parametrize(("value", "text"), [(91.0, "91 °C"), (91.25, "91.2 °C"), (-3, "-3 °C")])
def test_a_temperature(value: float, text: str) -> None:
    assert format_temperature(value) == text


# -- whatever the Pods are ------------------------------------------------------------------------

states = st.none() | st.builds(
    GateState,
    st.booleans(),
    st.sampled_from([*GateReason, ""]),
    st.just(""),
    st.none() | st.integers(-200, 200).map(lambda one: NOW - timedelta(seconds=one)),
)


@st.composite
def any_pods(draw: st.DrawFn) -> list[PolicyPod]:
    found: list[PolicyPod] = []
    for number in range(draw(st.integers(0, 6))):
        has_gate, able, state = draw(st.booleans()), draw(st.booleans()), draw(states)
        is_open = not has_gate or (state is not None and state.passes)
        is_ready = able and is_open and draw(st.booleans())
        temperature = draw(st.none() | st.floats(0, 160))
        found.append(PolicyPod(str(number), has_gate, is_ready, able, temperature, state))
    return found


@given(policies, any_pods())
def test_the_last_ready_pod_is_never_taken_out(
    policy: TemperaturePolicy, pods: Sequence[PolicyPod]
) -> None:
    found = decide(policy, pods, NOW)
    assert found.keys() == {one.uid for one in pods if one.has_gate}
    ready = [one for one in pods if one.is_ready]
    staying = [one for one in ready if not one.has_gate or found[one.uid].passes]
    assert bool(ready) == bool(staying)
    # and where nobody gets requests, somebody who could does
    able = [one for one in pods if one.could_be_ready]
    if able and not ready:
        assert any(not one.has_gate or found[one.uid].passes for one in able)


@given(policies, any_pods())
def test_each_decision_is_by_the_rules(
    policy: TemperaturePolicy, pods: Sequence[PolicyPod]
) -> None:
    found = decide(policy, pods, NOW)
    last = [uid for uid, one in found.items() if one.reason is GateReason.LAST_READY_POD]
    assert len(last) <= 1
    for one in pods:
        if not one.has_gate:
            continue
        decision, was_out = found[one.uid], one.state is not None and not one.state.passes
        if one.temperature is None:
            assert decision.reason is GateReason.UNKNOWN
        elif one.temperature >= policy.threshold:
            assert decision.reason in (GateReason.HOT, GateReason.LAST_READY_POD)
        elif not was_out:
            assert decision.reason is GateReason.NORMAL
        elif one.temperature > policy.recovery:
            assert decision.reason in (GateReason.HOT, GateReason.LAST_READY_POD)


@given(policies, any_pods())
def test_deciding_twice_changes_nothing(
    policy: TemperaturePolicy, pods: Sequence[PolicyPod]
) -> None:
    """Once the decisions are written and the kubelet has seen them."""
    first = decide(policy, pods, NOW)
    seen: list[PolicyPod] = []
    for one in pods:
        if not one.has_gate:
            seen.append(one)
            continue
        decision = first[one.uid]
        since = NOW if one.state is None or one.state.passes != decision.passes else one.state.since
        state = GateState(decision.passes, decision.reason, decision.message, since)
        is_ready = one.is_ready and decision.passes
        seen.append(one._replace(state=state, is_ready=is_ready))
    second = decide(policy, seen, NOW)
    assert {uid for uid, one in second.items() if not one.passes} == {
        uid for uid, one in first.items() if not one.passes
    }
