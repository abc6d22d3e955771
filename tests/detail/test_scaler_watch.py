"""The autoscalers of a serving as they are watched."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from servedeck.detail.scaler_watch import MAX_SCALER_EVENTS, ScalerWatch
from servedeck.fleet.views import NamespacedName
from tests.serving.scaling.autoscalers import hpa, scaled_object
from tests.tui.fake_detail_service import FakeDetailService

KEY = NamespacedName("prod", "chat")
NOW = datetime(2026, 7, 1, 12, 2, tzinfo=UTC)


class Opened:
    """A watch, and how often it has told of a change."""

    def __init__(self, service: FakeDetailService) -> None:
        self.changes = 0
        self.watch = ScalerWatch(service, KEY, self._count)

    def _count(self) -> None:
        self.changes += 1


def rescaled(text: str, second: int, uid: str = "uid-hpa-keda-hpa-chat", **more: Any) -> Any:
    return {
        "metadata": {"name": f"e{second}", "namespace": "prod", "uid": f"e{second}-{uid}"},
        "involvedObject": {
            "kind": "HorizontalPodAutoscaler",
            "namespace": "prod",
            "name": "keda-hpa-chat",
            "uid": uid,
        },
        "type": "Normal",
        "reason": "SuccessfulRescale",
        "message": text,
        "lastTimestamp": f"2026-07-01T12:00:{second:02d}Z",
        **more,
    }


async def test_the_state_follows_the_objects_and_their_events() -> None:
    service = FakeDetailService()
    opened = Opened(service)
    assert (opened.watch.states, opened.watch.events, opened.watch.note) == ((), (), "")
    service.put(scaled_object(), hpa(desired=3), hpa("other", target="b", owner="b"))
    assert opened.changes
    (state,) = opened.watch.states
    assert (state.name, state.hpa_name, state.current) == ("chat", "keda-hpa-chat", 3)
    assert opened.watch.states is opened.watch.states  # computed once
    service.put_events(
        rescaled("New size: 3; reason: external metric s1-prometheus above target", 5),
        rescaled("New size: 2; reason: All metrics below target", 3),
        rescaled("New size: 9; reason: All metrics below target", 9, "uid-hpa-other"),
    )
    (state,) = opened.watch.states
    assert state.sentence(NOW).endswith("; scaled up 2m ago")
    first, second = opened.watch.events
    assert first.message == "New size: 3; reason: external metric s1-prometheus above target"
    assert first.object_title == "HorizontalPodAutoscaler/keda-hpa-chat"
    assert (second.time, second.type) == (datetime(2026, 7, 1, 12, 0, 3, tzinfo=UTC), "Normal")
    before = opened.changes
    service.put(hpa(current=3, desired=5))
    assert opened.changes > before
    assert opened.watch.states[0].desired == 5


async def test_only_the_newest_events_are_given() -> None:
    service = FakeDetailService(hpa())
    opened = Opened(service)
    service.put_events(*(rescaled("New size: 1; reason: x", second) for second in range(30)))
    seconds = [one.time.second for one in opened.watch.events if one.time is not None]
    assert seconds == list(range(29, 29 - MAX_SCALER_EVENTS, -1))


async def test_events_of_autoscalers_that_went_are_no_longer_given() -> None:
    service = FakeDetailService(scaled_object(), hpa())
    opened = Opened(service)
    service.put_events(rescaled("New size: 3; reason: x", 5))
    assert len(opened.watch.events) == 1
    service.remove("uid-hpa-keda-hpa-chat")
    assert not any(opened.watch.events)
    (state,) = opened.watch.states
    assert state.problems[0].startswith("Its HPA keda-hpa-chat does not exist")
    await opened.watch.close()
    assert service.open_watches == []


async def test_a_closed_watch_opens_nothing_more() -> None:
    service = FakeDetailService(scaled_object())
    opened = Opened(service)
    await opened.watch.close()
    count = len(service.watches)
    service.put(hpa())
    opened.watch._update()
    assert len(service.watches) == count
    assert opened.watch.states[0].name == "chat"  # what was read stays readable


async def test_what_may_not_be_read_is_said() -> None:
    service = FakeDetailService(scaled_object())
    sentence = "You may not list horizontalpodautoscalers in prod."
    service.missing_permissions["horizontalpodautoscalers.autoscaling"] = sentence
    opened = Opened(service)
    assert opened.watch.missing_permission == sentence
    assert opened.watch.note == f"Not everything about scaling is known: {sentence}"
    assert opened.watch.states[0].problems == ()  # not that there is no HPA


async def test_a_cluster_without_keda() -> None:
    service = FakeDetailService(hpa("mine", owner=""))
    service.missing_kinds.add("scaledobjects.keda.sh")
    opened = Opened(service)
    assert opened.watch.note == (
        "KEDA is not installed: the cluster has no ScaledObjects (scaledobjects.keda.sh)."
    )
    assert [one.name for one in opened.watch.states] == ["mine"]
    service.is_loading = True
    assert not opened.watch.is_settled


async def test_texts_of_events_are_on_one_line() -> None:
    service = FakeDetailService(hpa())
    opened = Opened(service)
    service.put_events(rescaled("New size: 3;\x1b[2J reason:\n x", 1, reason="A\nB"))
    (event,) = opened.watch.events
    assert (event.reason, event.message) == ("A B", "New size: 3; reason: x")
