from __future__ import annotations

from servedeck.fleet.index import OwnedRecords
from servedeck.serving.objects.records import Pod
from tests.fleet.factories import pod


def test_each_reader_is_told_what_changed_since_it_asked_last() -> None:
    pods: OwnedRecords[Pod] = OwnedRecords("ReplicaSet")
    first, second = object(), object()
    pods.update(pod("p-1", "r-1"), deleted=False, unlabeled=False)
    assert pods.take_changes("r-1", first) is None, "unknown at first"
    assert pods.take_changes("r-1", first) == set()
    pods.update(pod("p-2", "r-1"), deleted=False, unlabeled=False)
    pods.update(pod("p-3", "r-2"), deleted=False, unlabeled=False)
    pods.update(pod("p-1", "r-1"), deleted=True, unlabeled=False)
    assert pods.take_changes("r-1", first) == {"p-1", "p-2"}
    pods.update(pod("p-2", "r-2"), deleted=False, unlabeled=False)
    assert pods.take_changes("r-1", first) is None, "nothing is kept for an owner without Pods"
    assert pods.take_changes("r-never", first) is None
    assert not pods._changes
    pods.update(pod("p-4", "r-1"), deleted=False, unlabeled=False)
    assert pods.take_changes("r-1", first) is None
    assert pods.take_changes("r-1", second) is None, "another reader has read its changes"
    assert pods.take_changes("r-1", first) is None


def test_a_record_that_changes_its_owner_is_a_change_of_both() -> None:
    pods: OwnedRecords[Pod] = OwnedRecords("ReplicaSet")
    reader = object()
    for uid, owner in (("p-1", "r-1"), ("p-2", "r-1"), ("p-3", "r-2")):
        pods.update(pod(uid, owner), deleted=False, unlabeled=False)
    pods.take_changes("r-1", reader)
    pods.take_changes("r-2", reader)
    pods.update(pod("p-1", "r-2"), deleted=False, unlabeled=False)
    assert pods.take_changes("r-1", reader) == {"p-1"}
    assert pods.take_changes("r-2", reader) == {"p-1"}
