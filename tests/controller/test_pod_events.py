"""Events about the changes of a Pod."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from servedeck.cluster.http.errors import ApiError
from servedeck.controller.pod_events import EventRecorder, PodEvent, event_name, event_of
from servedeck.controller.records import GatedPod
from servedeck.serving.objects.records import Event, ObjectMeta
from servedeck.serving.status.events import recorded_at
from servedeck.serving.temperature import Decision, GateReason, GateState
from tests.controller.fake_api import FakeApi

HOT, NORMAL, UNKNOWN, LAST, OFF = (Decision(one, "why") for one in GateReason)
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
POD = GatedPod(metadata=ObjectMeta(name="llama-1-a", namespace="chat", uid="u"))


def state(decision: Decision) -> GateState:
    return GateState(decision.passes, decision.reason, decision.message, NOW)


@pytest.mark.parametrize(
    ("before", "decision", "event"),
    [
        (None, HOT, ("Warning", "TemperatureHigh", "Taken out of traffic: why.")),
        (NORMAL, HOT, ("Warning", "TemperatureHigh", "Taken out of traffic: why.")),
        (LAST, HOT, ("Warning", "TemperatureHigh", "Taken out of traffic: why.")),
        (NORMAL, LAST, ("Warning", "TemperatureHigh", "Kept in traffic: why.")),
        (HOT, LAST, ("Warning", "TemperatureHigh", "Back in traffic: why.")),
        (HOT, NORMAL, ("Normal", "TemperatureNormal", "Back in traffic: why.")),
        (HOT, UNKNOWN, ("Warning", "TemperatureUnknown", "Back in traffic: why.")),
        (HOT, OFF, ("Normal", "TemperaturePolicyOff", "Back in traffic: why.")),
        (LAST, NORMAL, ("Normal", "TemperatureNormal", "Cooled down in traffic: why.")),
        (HOT, HOT, None),
        (LAST, LAST, None),
        (None, NORMAL, None),
        (None, UNKNOWN, None),
        (NORMAL, UNKNOWN, None),
        (UNKNOWN, NORMAL, None),
        (LAST, UNKNOWN, None),
        (NORMAL, OFF, None),
    ],
)
def test_the_event_of_a_change(
    before: Decision | None, decision: Decision, event: tuple[str, str, str] | None
) -> None:
    assert event_of(state(before) if before else None, decision) == event


def test_names_of_equal_events_are_equal_and_tell_no_time() -> None:
    event = PodEvent("Normal", "TemperatureNormal", "Back in traffic: why.")
    name = event_name(POD.metadata, event)
    assert name == event_name(POD.metadata, PodEvent(*event))
    others = {
        event_name(ObjectMeta(name="llama-1-a", uid="v"), event),
        event_name(POD.metadata, event._replace(message="other")),
        event_name(POD.metadata, event._replace(reason="other")),
    }
    assert len({name, *others}) == 4
    assert recorded_at(Event(metadata=ObjectMeta(name=name))) is None
    long = event_name(ObjectMeta(name=f"{'a' * 199}.{'b' * 53}", uid="u"), event)
    assert len(long) <= 253 and ".." not in long


async def test_an_equal_event_is_counted() -> None:
    api = FakeApi()
    recorder, event = EventRecorder(api.connection, "me"), PodEvent("Normal", "Reason", "why")
    for minute in range(3):
        await recorder.record(POD, event, NOW.replace(minute=minute))
    [stored] = api.objects.values()
    assert (stored["count"], stored["firstTimestamp"], stored["lastTimestamp"]) == (
        3,
        "2026-11-30T12:00:00Z",
        "2026-11-30T12:02:00Z",
    )
    assert stored["involvedObject"]["uid"] == "u" and stored["reportingInstance"] == "me"


async def test_one_that_cannot_be_written_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    recorder = EventRecorder(api.connection, "me")
    for number in range(2):
        api.fail = ApiError(403, "Forbidden", f"no event {number}")
        await recorder.record(POD, PodEvent("Normal", "Reason", "why"), NOW)
    assert [one.message for one in caplog.records] == [
        "No Event about the Pod chat/llama-1-a: The server forbids this (403): no event 0."
    ]


async def test_that_a_namespace_is_deleted_is_no_problem(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    causes = [{"reason": "NamespaceTerminating", "message": "namespace chat is being terminated"}]
    api.fail = ApiError(403, "Forbidden", "no", details={"causes": causes})
    await EventRecorder(api.connection, "me").record(POD, PodEvent("Normal", "R", "why"), NOW)
    assert caplog.records == []
