from __future__ import annotations

from datetime import timedelta

from servedeck.serving.objects.records import Event
from servedeck.serving.status.events import event_count, event_time, latest_distinct, newest_first
from tests.serving.factories import NOW, ago, event


def test_both_event_formats_have_time_and_count() -> None:
    kubelet = event("BackOff", count=7, when=ago(minutes=2))
    assert event_time(kubelet) == NOW - timedelta(minutes=2)
    assert event_count(kubelet) == 7
    scheduler = event("FailedScheduling", when=None, eventTime=ago(minutes=9))
    assert event_time(scheduler) == NOW - timedelta(minutes=9)
    assert event_count(scheduler) == 1
    series = event(
        "FailedScheduling",
        when=None,
        eventTime=ago(minutes=9),
        series={"count": 29, "lastObservedTime": ago(minutes=1)},
    )
    assert event_time(series) == NOW - timedelta(minutes=1)
    assert event_count(series) == 29


def test_an_event_without_times_goes_by_its_creation_or_comes_last() -> None:
    created = event("A", when=None, metadata={"creationTimestamp": ago(days=1)})
    assert event_time(created) == NOW - timedelta(days=1)
    assert newest_first([Event(), created])[0] is created
    assert event_time(Event()) is None


def test_the_latest_tell_each_text_once() -> None:
    old = event("BackOff", "same", when=ago(minutes=5))
    new = event("BackOff", "same", when=ago(minutes=1))
    other = event("Unhealthy", "same", when=ago(minutes=3))
    assert latest_distinct([old, other, new]) == [new, other]
    assert latest_distinct([old, other, new], 1) == [new]
