"""The store: versions, change logs, deletion, watches, saving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servedeck.demo.api.status import StatusError
from servedeck.demo.resources import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, RESOURCES
from servedeck.demo.store.changes import StoreChange, Subscription
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.store.update_strategy import SPEC_AND_STATUS

Json = dict[str, Any]


@pytest.fixture
def store() -> ObjectStore:
    made = ObjectStore(seed=1)
    made.create(NAMESPACES, {"metadata": {"name": "a"}})
    return made


def configmap(name: str = "c", **data: str) -> Json:
    return {"metadata": {"name": name, "namespace": "a"}, "data": data}


def pod(name: str = "p", **spec: Any) -> Json:
    return {"metadata": {"name": name, "namespace": "a"}, "spec": spec}


def rejection(code: int, call: Any, *args: Any, **options: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        call(*args, **options)
    assert caught.value.code == code
    return caught.value


def test_one_version_counts_for_all_kinds(store: ObjectStore) -> None:
    first = store.create(CONFIGMAPS, configmap())
    second = store.create(PODS, pod())
    versions = [int(obj["metadata"]["resourceVersion"]) for obj in (first, second)]
    assert versions == [store.version - 1, store.version]


def test_a_stored_object_is_a_copy(store: ObjectStore) -> None:
    mine = configmap(k="v")
    store.create(CONFIGMAPS, mine)
    mine["data"]["k"] = "changed"
    assert store.get(CONFIGMAPS, "a", "c")["data"] == {"k": "v"}


def test_the_same_seed_gives_the_same_names(store: ObjectStore) -> None:
    def names(seed: int) -> list[str]:
        other = ObjectStore(seed=seed)
        other.create(NAMESPACES, {"metadata": {"name": "a"}})
        body = {"metadata": {"generateName": "x-", "namespace": "a"}}
        made = [other.create(CONFIGMAPS, body)["metadata"] for _ in range(3)]
        return [meta["name"] + meta["uid"] for meta in made]

    assert names(3) == names(3) != names(4)


def test_a_write_without_a_difference_makes_no_change(store: ObjectStore) -> None:
    made = store.create(CONFIGMAPS, configmap(k="v"))
    seen: list[StoreChange] = []
    store.subscribe(seen.append)
    assert store.update(CONFIGMAPS, configmap(k="v")) is made
    assert not seen


def test_the_status_has_a_write_of_its_own(store: ObjectStore) -> None:
    store.create(DEPLOYMENTS, {"metadata": {"name": "d", "namespace": "a"}, "spec": {"x": 1}})

    def change(obj: Json) -> None:
        obj["spec"]["x"] = 2
        obj["status"] = {"y": 1}

    both = store.mutate(DEPLOYMENTS, "a", "d", change, "status")
    assert (both["spec"], both["status"]) == ({"x": 1}, {"y": 1})
    assert both["metadata"]["generation"] == 1
    both = store.mutate(DEPLOYMENTS, "a", "d", lambda o: o["spec"].update(x=3))
    assert (both["spec"], both["status"]) == ({"x": 3}, {"y": 1})
    assert both["metadata"]["generation"] == 2
    both = store.mutate(DEPLOYMENTS, "a", "d", change, SPEC_AND_STATUS)
    assert (both["spec"], both["metadata"]["generation"]) == ({"x": 2}, 2)


def test_a_pod_on_a_node_waits_for_its_kubelet(store: ObjectStore) -> None:
    store.create(PODS, pod(nodeName="n"))
    going = store.delete(PODS, "a", "p")
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    assert store.delete(PODS, "a", "p") == going
    shorter = store.delete(PODS, "a", "p", grace=5)
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    store.delete(PODS, "a", "p", grace=0)
    assert store.find(PODS, "a", "p") is None


def test_a_pod_without_a_node_is_deleted_at_once(store: ObjectStore) -> None:
    store.create(PODS, pod())
    store.delete(PODS, "a", "p")
    assert store.find(PODS, "a", "p") is None


def test_propagation_leaves_work_for_the_garbage_collector(store: ObjectStore) -> None:
    for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        store.create(CONFIGMAPS, configmap(policy.lower()))
        going = store.delete(CONFIGMAPS, "a", policy.lower(), propagation=policy)
        assert going["metadata"]["finalizers"] == [finalizer]
        store.mutate(CONFIGMAPS, "a", policy.lower(), lambda o: o["metadata"].update(finalizers=[]))
        assert store.find(CONFIGMAPS, "a", policy.lower()) is None


def test_listeners_get_changes_in_order_even_if_one_of_them_writes(store: ObjectStore) -> None:
    received: list[str] = []

    def writes(change: StoreChange) -> None:
        if change.type == "ADDED":
            store.mutate(CONFIGMAPS, "a", "c", lambda o: o.update(data={"k": "v"}))

    store.subscribe(writes, CONFIGMAPS)
    store.subscribe(lambda change: received.append(change.type), CONFIGMAPS)
    store.create(CONFIGMAPS, configmap())
    assert received == ["ADDED", "MODIFIED"]


async def test_a_watch_resumes_where_it_ended(store: ObjectStore) -> None:
    since = store.version
    store.create(CONFIGMAPS, configmap("one"))
    watch = store.watch(CONFIGMAPS, since)
    store.create(PODS, pod())
    store.delete(CONFIGMAPS, "a", "one")
    changes = await watch.next(1)
    assert [change.type for change in changes] == ["ADDED", "DELETED"]
    assert await watch.next(0.01) == []
    watch.close()
    store.create(CONFIGMAPS, configmap("two"))
    assert await watch.next(0.01) == []


async def test_a_reader_that_is_too_slow_overflows(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Subscription, "MAX_PENDING", 3)
    watch = store.watch(CONFIGMAPS)
    for number in range(5):
        store.create(CONFIGMAPS, configmap(str(number)))
    assert watch.overflowed
    assert await watch.next(1) == []


def test_history_is_bounded() -> None:
    store = ObjectStore(history=3)
    store.create(NAMESPACES, {"metadata": {"name": "a"}})
    since = store.version
    for number in range(5):
        store.create(CONFIGMAPS, configmap(str(number)))
    error = rejection(410, store.watch, CONFIGMAPS, since)
    assert error.message == f"too old resource version: {since} ({since + 2})"
    store.watch(CONFIGMAPS, since + 2).close()
    store.watch(PODS, since).close()  # each kind has its own


def test_a_snapshot_is_the_state_of_then(store: ObjectStore) -> None:
    store.create(CONFIGMAPS, configmap("kept", k="old"))
    store.create(CONFIGMAPS, configmap("gone"))
    then = store.version
    store.mutate(CONFIGMAPS, "a", "kept", lambda o: o.update(data={"k": "new"}))
    store.delete(CONFIGMAPS, "a", "gone")
    store.create(CONFIGMAPS, configmap("late"))
    found = store.snapshot(CONFIGMAPS, then)
    assert {key[1] for key in found} == {"kept", "gone"}
    assert found["a", "kept"]["data"] == {"k": "old"}


def test_a_saved_store_is_loaded(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    made = store.create(CONFIGMAPS, configmap(k="v"))
    store.dump(file)
    other = ObjectStore()
    other.load(file)
    assert other.get(CONFIGMAPS, "a", "c") == made
    assert other.version == store.version
    rejection(410, other.watch, CONFIGMAPS, store.version - 1)
    fresh = other.create(CONFIGMAPS, configmap("d"))
    assert fresh["metadata"]["uid"] != made["metadata"]["uid"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"resourceVersion": 1, "objects": {"v1/nope": [{}]}}', "\xff"]
)
def test_a_file_without_a_state_is_rejected(store: ObjectStore, tmp_path: Path, text: str) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="does not hold the state of a demo cluster"):
        store.load(file)
    assert store.find(NAMESPACES, "", "a") is not None


def test_the_table_of_resources_is_consistent() -> None:
    assert len({r.key for r in RESOURCES}) == len(RESOURCES)
    for resource in RESOURCES:
        assert resource.plural == resource.plural.lower()
        json.dumps(resource.verbs)
