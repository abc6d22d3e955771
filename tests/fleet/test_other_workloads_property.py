"""For any changes of workloads of all kinds in any order, the incremental views equal those of a
newly built fleet."""

from __future__ import annotations

import random
from typing import Any

import pytest

from servedeck.cluster.watch.kinds import STATEFUL_SET_PODS, ResourceKind
from servedeck.cluster.watch.reflector import RecordChange
from servedeck.fleet.fleet import Fleet
from servedeck.fleet.index import record_uid
from tests.fleet import factories, workload_factory
from tests.fleet.test_other_workloads import NOW, member

STATES = (factories.ready_status(), factories.crashing_status(), factories.PENDING_STATUS)
STATEFUL_SETS: dict[str, tuple[str, tuple[str, str] | None]] = {
    "sts-llama": ("llama", None),
    "sts-llama-2": ("llama", None),
    "sts-big": ("big", ("LeaderWorkerSet", "lws-big")),
    "sts-m-0": ("m-0", ("Pod", "m-0")),
}
"""Name and controller by uid: two of one name, and those of a LeaderWorkerSet and of a leader."""


def make_record(rng: random.Random) -> tuple[ResourceKind | None, Any]:
    """A record of a random kind; the kind is None for the usual one."""
    match rng.randrange(8):
        case 0 | 1:
            uid = rng.choice(tuple(STATEFUL_SETS))
            name, owner = STATEFUL_SETS[uid]
            is_serving = rng.random() < 0.8
            container = workload_factory.VLLM if is_serving else workload_factory.POSTGRES
            group = "big" if owner is not None else ""
            return None, workload_factory.stateful_set(
                name, uid, replicas=rng.randrange(3), container=container, owner=owner, group=group
            )
        case 2 | 3:
            owner_uid = rng.choice(tuple(STATEFUL_SETS))
            uid = "m-0" if owner_uid == "sts-big" else rng.choice(("m-1", "m-2"))
            return STATEFUL_SET_PODS, member(uid, owner_uid, rng.choice(STATES))
        case 4:
            size, replicas = rng.randrange(1, 4), rng.randrange(3)
            return None, workload_factory.leader_worker_set("big", replicas=replicas, size=size)
        case 5:
            service = rng.choice(("", "bert"))
            labels = {"serving.kserve.io/inferenceservice": service} if service else {}
            return None, factories.deployment(rng.choice(("bert-1", "bert-2")), labels=labels)
        case 6:
            ready = rng.choice(("True", "False", ""))
            return None, workload_factory.inference_service("bert", ready)
    if rng.random() < 0.5:
        return None, workload_factory.plain_pod("solo", rng.choice(STATES))
    about = rng.choice(("sts-llama", "sts-m-0", "lws-big", "m-0", "m-1", "pod-solo"))
    return None, factories.event(about, f"e-{about}", reason="FailedCreate")


@pytest.mark.parametrize("seed", range(10))
def test_the_views_are_those_of_a_new_fleet(seed: int) -> None:
    rng = random.Random(seed)
    fleet = Fleet()
    live: dict[tuple[ResourceKind, str], Any] = {}
    for _ in range(120):
        if live and rng.random() < 0.25:
            place = rng.choice(list(live))
            fleet.apply(RecordChange(place[0], "DELETED", live.pop(place)))
        else:
            kind, record = make_record(rng)
            kind = kind or factories.KIND_BY_RECORD[type(record)]
            place = kind, record_uid(record)
            fleet.apply(RecordChange(kind, "MODIFIED" if place in live else "ADDED", record))
            live[place] = record
        before = {view.key: view for view in fleet.views()}
        changed = fleet.flush(NOW)
        shown = {view.key: view for view in fleet.views()}
        keys = before.keys() | shown.keys()
        assert changed == {key for key in keys if before.get(key) != shown.get(key)}
        fresh = Fleet()
        items = list(live.items())
        rng.shuffle(items)
        for (kind, _), record in items:
            fresh.apply(RecordChange(kind, "ADDED", record))
        fresh.flush(NOW)
        assert shown == {view.key: view for view in fresh.views()}
        assert fleet.needs_stateful_set_pods == fresh.needs_stateful_set_pods
