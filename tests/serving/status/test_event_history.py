"""What is joined, what stays, and what is dropped."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from servedeck.serving.objects.records import Event
from servedeck.serving.status.event_history import (
    EventHistory,
    count_warnings,
    event_key,
    join_events,
)
from servedeck.serving.status.events import newest_first
from tests.serving.factories import NOW, ago, event


def kubelet_event(uid: str, message: str = "Back-off", **fields: Any) -> Event:
    metadata = {"name": fields.pop("name", uid), "uid": uid}
    return event("BackOff", message, metadata=metadata, **fields)


def messages(history: EventHistory, serving: str = "s") -> list[str]:
    return [entry.message for entry in history.entries(serving)]


def test_equal_events_about_one_object_are_one_entry_with_count_first_and_last_time() -> None:
    (entry,) = join_events(
        [
            kubelet_event("a", count=7, firstTimestamp=ago(minutes=9), when=ago(minutes=5)),
            kubelet_event("b", count=3, firstTimestamp=ago(minutes=4), when=ago(minutes=1)),
        ]
    )
    assert entry.count == 10
    assert entry.first == NOW - timedelta(minutes=9)
    assert entry.last == NOW - timedelta(minutes=1)


@pytest.mark.parametrize("turn", [1, -1])
def test_events_of_one_moment_have_an_order_that_does_not_depend_on_their_arrival(
    turn: int,
) -> None:
    events = [
        kubelet_event("a", f"message {name}", name=name, when=ago(minutes=1))
        for name in ("chat-x.1", "chat-x.2", "chat-y.1")
    ]
    assert [one.message for one in join_events(events[::turn])] == [
        "message chat-x.1",
        "message chat-x.2",
        "message chat-y.1",
    ]


def test_both_formats_are_joined() -> None:
    series = {"count": 4, "lastObservedTime": ago(minutes=1)}
    (entry,) = join_events(
        [
            event(
                "FailedScheduling",
                when=None,
                metadata={"uid": "a"},
                eventTime=ago(minutes=30),
                series=series,
                reportingComponent="default-scheduler",
            )
        ]
    )
    assert (entry.count, entry.source) == (4, "default-scheduler")
    assert entry.first == NOW - timedelta(minutes=30)
    assert entry.last == NOW - timedelta(minutes=1)


def test_another_object_reason_message_or_type_is_another_entry() -> None:
    base = kubelet_event("a")
    other_pod = {"involvedObject": {"kind": "Pod", "uid": "other"}}
    others = [
        kubelet_event("b", **other_pod),
        event("Failed", "Back-off", metadata={"uid": "c"}),
        kubelet_event("d", "other"),
        kubelet_event("e", type="Normal"),
    ]
    entries = join_events([base, *others])
    assert len(entries) == 5
    assert count_warnings(entries) == 4


def test_the_newest_entry_is_last_and_a_repeat_moves_it_there() -> None:
    history = EventHistory()
    history.record("s", [kubelet_event("b", "b", when=ago(minutes=2))])
    history.record("s", [kubelet_event("a", "a", when=ago(minutes=9))])
    assert messages(history) == ["a", "b"]
    history.record("s", [kubelet_event("a", "a", count=2, when=ago(minutes=1))])
    assert messages(history) == ["b", "a"]


def test_events_of_one_second_are_in_the_order_in_which_they_were_recorded() -> None:
    """client-go: the timestamps are whole seconds, the name ends with the nanoseconds."""
    second = int(NOW.timestamp()) * 10**9

    def named(message: str, milliseconds: int) -> Event:
        name = f"chat-7f9c.{second + milliseconds * 10**6:x}"
        metadata = {"name": name, "uid": message}
        return event("ScalingReplicaSet", message, metadata=metadata, when=ago(seconds=0))

    events = [named("from 1 to 0", 310), named("from 0 to 1", 20), named("from 2 to 1", 250)]
    assert [entry.message for entry in join_events(events)] == [
        *("from 0 to 1", "from 2 to 1", "from 1 to 0")
    ]
    assert [one.message for one in newest_first(events)] == [
        *("from 1 to 0", "from 2 to 1", "from 0 to 1")
    ]
    repeated = named("from 0 to 1", 20)
    later = msgspec.structs.replace(repeated, count=2, last_timestamp=NOW + timedelta(seconds=9))
    assert [entry.message for entry in join_events([events[0], later])] == [
        *("from 1 to 0", "from 0 to 1")
    ]


@pytest.mark.parametrize("name", ["e", "e.18c", "e.zzzzzzzzzzzzzzzz", "e.ffffffffffffffff"])
def test_a_name_that_is_no_time_changes_no_order(name: str) -> None:
    old = kubelet_event("a", "a", when=ago(minutes=2), name=name)
    new = kubelet_event("b", "b", when=ago(minutes=1))
    assert [entry.message for entry in join_events([new, old])] == ["a", "b"]


def test_recording_an_event_again_changes_nothing_and_its_new_count_replaces_the_old_one() -> None:
    history = EventHistory()
    first = kubelet_event("a", count=2)
    assert history.record("s", [first]) == {event_key(first)}
    (entry,) = history.entries("s")
    assert history.record("s", [first]) == frozenset()
    assert history.entries("s")[0] is entry
    history.record("s", [kubelet_event("a", count=5, when=ago(seconds=1))])
    assert history.entries("s")[0].count == 5


def test_an_event_that_the_api_server_dropped_stays_with_its_count() -> None:
    history = EventHistory()
    history.record("s", [kubelet_event("a", count=5, when=ago(minutes=70))])
    history.record("s", [kubelet_event("b", count=1, when=ago(minutes=1))])
    (entry,) = history.entries("s")
    assert entry.count == 6


def test_the_count_is_right_for_any_number_of_events_and_any_order() -> None:
    many = [kubelet_event(str(at), when=ago(seconds=1000 - at)) for at in range(300)]
    history = EventHistory()
    history.record("s", many[:200][::-1])
    history.record("s", many)
    history.record("s", many)
    assert history.entries("s")[0].count == 300


def test_each_serving_has_its_own_entries() -> None:
    history = EventHistory()
    history.record("s", [kubelet_event("a", "a")])
    assert messages(history, "other") == []
    assert history.entry("other", event_key(kubelet_event("a", "a"))) is None
    entry = history.entry("s", event_key(kubelet_event("a", "a")))
    assert entry is history.entries("s")[0]


def test_the_oldest_entries_of_a_serving_are_dropped_and_do_not_come_back() -> None:
    history = EventHistory(max_entries_per_serving=3)
    many = [kubelet_event(str(at), str(at), when=ago(minutes=10 - at)) for at in range(5)]
    history.record("s", many)
    assert messages(history) == ["2", "3", "4"]
    assert history.dropped_count("s") == 2
    history.record("s", many)
    assert messages(history) == ["2", "3", "4"]
    assert history.dropped_count("s") == 2
    assert len(history) == 3


def test_the_oldest_entries_of_all_servings_are_dropped() -> None:
    history = EventHistory(max_entries=600)
    for serving in ("old", "new"):
        minutes = 50 if serving == "old" else 5
        history.record(
            serving,
            [kubelet_event(str(at), str(at), when=ago(minutes=minutes)) for at in range(301)],
        )
    assert len(history) == 100
    assert not history.entries("old")
    assert len(history.entries("new")) == 100
    assert history.dropped_count("old") == 301
    assert history.dropped_count("new") == 201


def test_an_event_without_times_is_the_oldest() -> None:
    assert [one.message for one in join_events([kubelet_event("a", "a"), Event(message="b")])] == [
        "b",
        "a",
    ]
