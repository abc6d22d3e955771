"""Which Events are those of a serving, and which are those of another one."""

from __future__ import annotations

import pytest

from servedeck.serving.objects.records import Event, ObjectReference
from servedeck.serving.status.event_objects import (
    EventObjects,
    may_be_truncated,
    mounted_pvc_names,
)


def about(kind: str, name: str, uid: str = "unknown", namespace: str = "team-a") -> Event:
    return Event(involved_object=ObjectReference(kind, namespace, name, uid))


CHAT = EventObjects(
    namespace="team-a",
    uids=frozenset({"deployment", "replicaset", "pod"}),
    replicaset_names=frozenset({"chat-6b8f9c7d5"}),
    pvc_names=frozenset({"models"}),
)


@pytest.mark.parametrize(
    ("event", "included"),
    [
        (about("Deployment", "chat", "deployment"), True),
        (about("Deployment", "chat", "an earlier one of that name"), False),
        (about("ReplicaSet", "chat-6b8f9c7d5", "replicaset"), True),
        (about("ReplicaSet", "chat-v2-6b8f9c7d5"), False),
        (about("Pod", "any-name", "pod"), True),
        (about("Pod", "chat-6b8f9c7d5-x8k2p"), True),
        (about("Pod", "chat-6b8f9c7d5-x8k2p", namespace="team-b"), False),
        (about("Pod", "chat-v2-6b8f9c7d5-x8k2p"), False),
        (about("Pod", "chat-6b8f9c7d5"), False),
        (about("Pod", "chat-6b8f9c7d5-0"), False),
        (about("Pod", "chat-6b8f9c7d5-x8k2p9"), False),
        (about("Pod", "chat-6b8f9c7d5x8k2p"), False),
        (about("Pod", "chat"), False),
        (about("PersistentVolumeClaim", "models"), True),
        (about("PersistentVolumeClaim", "models", namespace="team-b"), False),
        (about("PersistentVolumeClaim", "models-2"), False),
        (about("Service", "models"), False),
        (Event(), False),
    ],
)
def test_events_of_chat_and_never_those_of_chat_v2(event: Event, included: bool) -> None:
    assert CHAT.includes(event) is included


def long_serving(name: str, *others: str) -> EventObjects:
    return EventObjects(
        "team-a",
        replicaset_names=frozenset({f"{name}-6b8f9c7d5"}),
        other_servings=frozenset(others),
    )


def generated_name(replicaset: str) -> str:
    """As the API server makes it: `base` of at most 58 characters, and five more."""
    return f"{replicaset}-"[:58] + "x8k2p"


@pytest.mark.parametrize("length", range(40, 64))
def test_pods_whose_names_are_truncated(length: int) -> None:
    name = "c" * length
    pod = about("Pod", generated_name(f"{name}-6b8f9c7d5"))
    assert long_serving(name).includes(pod)
    assert not long_serving("d" * length).includes(pod)
    assert may_be_truncated(name) or len(f"{name}-6b8f9c7d5-") <= 58


def test_a_truncated_name_that_may_be_of_another_serving_is_of_none() -> None:
    name = "c" * 57
    pod = about("Pod", generated_name(f"{name}-a-6b8f9c7d5"))
    assert long_serving(f"{name}-a").includes(pod)
    assert not long_serving(f"{name}-a", f"{name}-b").includes(pod)


def test_a_short_name_at_the_start_of_a_long_one_is_another_serving() -> None:
    name = "chat-" + "v" * 45
    pod = about("Pod", generated_name(f"{name}-6b8f9c7d5"))
    assert not may_be_truncated("chat")
    assert long_serving(name).includes(pod)
    assert not CHAT.includes(pod)


def test_pvcs_of_the_template_and_of_ephemeral_volumes() -> None:
    volumes = [
        {"name": "models", "persistentVolumeClaim": {"claimName": "shared-models"}},
        {"name": "cache", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "wrong", "persistentVolumeClaim": {"claimName": 5}},
        "wrong",
    ]
    deployment = {"spec": {"template": {"spec": {"volumes": volumes}}}}
    assert mounted_pvc_names(deployment, frozenset({"chat-1"})) == {
        "shared-models",
        "chat-1-cache",
    }
    assert mounted_pvc_names({}, frozenset({"chat-1"})) == frozenset()
