"""The objects whose Events a serving shows, and what is selected from those of the namespace."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from servedeck.cluster import resources
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.detail.object_watch import LiveObject
from servedeck.detail.serving_events import EventSelection, event_objects
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.records import Event, ObjectMeta, ObjectReference, WholeObject
from servedeck.serving.status.event_objects import EventObjects
from tests.fleet.factories import pod_view, serving_view


def replicaset(name: str, uid: str) -> LiveObject:
    value: dict[str, Any] = {"metadata": {"name": name, "namespace": "team-a", "uid": uid}}
    record, _ = RecordDecoder(WholeObject).decode(json.dumps(value).encode())
    return LiveObject(resources.REPLICA_SET, record)


def event(uid: str, object_uid: str) -> Event:
    return Event(
        metadata=ObjectMeta(uid=uid),
        involved_object=ObjectReference("Pod", "team-a", "any", object_uid),
    )


def test_the_objects_of_a_serving() -> None:
    view = replace(serving_view("team-a/chat"), uid="d", pods=(pod_view("chat-1-aaaaa", uid="p"),))
    volumes = [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}]
    found = event_objects(
        view,
        {"spec": {"template": {"spec": {"volumes": volumes}}}},
        [replicaset("chat-1", "r")],
        [ObjectReference("Service", "team-a", "chat", "s"), ObjectReference("HTTPRoute", uid="h")],
        [view.key, NamespacedName("team-a", "chat-v2")],
    )
    assert found == EventObjects(
        "team-a", frozenset("dprsh"), frozenset({"chat-1"}), frozenset({"models"})
    )


def test_other_servings_count_if_names_of_pods_may_be_truncated() -> None:
    long, other = "c" * 55, "c" * 54 + "d"
    view = serving_view(f"team-a/{long}")
    keys = [
        view.key,
        NamespacedName("team-a", other),
        NamespacedName("team-b", other + "e"),
        NamespacedName("team-a", "chat"),
    ]
    assert event_objects(view, {}, [], [], keys).other_servings == {other}


def test_only_new_and_changed_events_are_selected() -> None:
    selection = EventSelection()
    objects = EventObjects("team-a", uids=frozenset({"mine"}))
    mine, other = event("a", "mine"), event("b", "other")
    assert selection.select([mine, other], objects) == [mine]
    assert selection.select([mine, other], objects) == []
    changed = event("a", "mine")
    assert selection.select([changed, other], objects) == [changed]


def test_events_are_looked_at_again_when_the_serving_has_other_objects() -> None:
    selection = EventSelection()
    mine, later = event("a", "mine"), event("b", "later")
    objects = EventObjects("team-a", uids=frozenset({"mine"}))
    selection.select([mine, later], objects)
    more = EventObjects("team-a", uids=frozenset({"mine", "later"}))
    assert later in selection.select([mine, later], more)
    assert selection.select([mine, later], more) == []
