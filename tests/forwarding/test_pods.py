"""Which Pod a connection goes to."""

from __future__ import annotations

from datetime import timedelta

import pytest

from servedeck.fleet.views import NamespacedName, PodView, ServingView
from servedeck.forwarding.pods import PodChoice, is_usable, usable_pods
from tests.fleet.factories import START, pod_view, serving_view


def view(*pods: PodView) -> ServingView:
    return serving_view(pods=pods)


@pytest.mark.parametrize(
    "fields",
    [{"is_ready": False}, {"status": "Terminating"}, {"status": "Unknown"}, {"finished": True}],
)
def test_a_pod_that_is_not_ready_or_leaves_is_not_used(fields: dict[str, object]) -> None:
    assert is_usable(pod_view())
    assert not is_usable(pod_view(**fields))


def test_the_current_revision_comes_first_and_then_the_oldest_pod() -> None:
    old = pod_view("old", old_revision=True, created=START - timedelta(days=9))
    young = pod_view("young", created=START + timedelta(minutes=1))
    first = pod_view("first", created=START)
    assert [one.name for one in usable_pods(view(old, young, first))] == ["first", "young", "old"]


def test_the_choice_stays_while_its_pod_is_ready() -> None:
    choice = PodChoice()
    assert choice.update(view(pod_view("b")))
    better = pod_view("a", created=START - timedelta(days=1))
    assert not choice.update(view(better, pod_view("b")))
    assert choice.pod is not None and choice.pod.name == "b"
    assert choice.update(view(better, pod_view("b", status="Terminating")))
    assert choice.pod.name == "a"


def test_without_a_ready_pod_there_is_no_choice() -> None:
    choice = PodChoice()
    assert not choice.update(view(pod_view(is_ready=False)))
    assert not choice.update(None)
    assert choice.pod is None


def test_a_wanted_pod_comes_first() -> None:
    choice = PodChoice("uid-b")
    choice.update(view(pod_view("a", created=START - timedelta(days=1)), pod_view("b")))
    assert choice.pod is not None and choice.pod.name == "b"


def test_a_pod_that_has_refused_is_not_chosen_while_there_is_another() -> None:
    choice = PodChoice()
    both = view(pod_view("a"), pod_view("b"))
    choice.update(both)
    assert choice.pod is not None and choice.pod.name == "a"
    assert choice.update_without(both, {"uid-a"}) is True
    assert choice.pod.name == "b"
    assert choice.update_without(both, {"uid-a"}) is False
    assert choice.update_without(both, {"uid-a", "uid-b"}) is None
    assert choice.pod.name == "b"


def test_only_the_leaders_of_a_leader_worker_set_serve() -> None:
    names = ("llama-0-1", "llama-1", "llama-0", "llama-1-1")
    pods = tuple(pod_view(name) for name in names)
    key = NamespacedName("team-a", "llama", "LeaderWorkerSet")
    assert [one.name for one in usable_pods(serving_view(key=key, pods=pods))] == [
        "llama-0",
        "llama-1",
    ]
