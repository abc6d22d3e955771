"""Whatever comes in whatever order: the incremental views are those of a fleet built anew."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from servedeck.cluster.watch.kinds import Kind
from servedeck.cluster.watch.reflector import Change
from servedeck.fleet.fleet import Fleet, Sight
from servedeck.fleet.index import identity
from servedeck.fleet.views import Key, ServingView
from servedeck.serving.objects.records import SERVING_LABEL
from tests.fleet import make

NAMES = ("llama", "qwen")
DEPLOYMENT_UIDS = ("d-1", "d-2", "d-3")
REPLICASET_UIDS = ("r-1", "r-2", "r-3")
POD_UIDS = ("p-1", "p-2", "p-3", "p-4")
names = st.sampled_from(NAMES)
revisions = st.sampled_from(("1", "2"))


class Sequences(RuleBasedStateMachine):
    """Each rule is one change as a reflector reports it; `world` is what the lists would say."""

    @initialize(seed=st.integers(0, 1 << 30))
    def begin(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.fleet = Fleet()
        self.sight = (Sight.CLEAR, Sight.CLEAR)
        self.host = ""
        self.now = make.START
        self.world: dict[tuple[Kind, str], Any] = {}
        self.shown: dict[Key, ServingView] = {}

    def put(self, record: Any, kind: Kind | None = None) -> None:
        kind = kind or make.KIND_OF[type(record)]
        place = (kind, identity(record))
        known = place in self.world
        self.world[place] = record
        self.fleet.apply(Change(kind, "MODIFIED" if known else "ADDED", record))

    @rule(
        name=names,
        uid=st.sampled_from(DEPLOYMENT_UIDS),
        revision=revisions,
        replicas=st.integers(0, 3),
        labelled=st.booleans(),
        app=st.sampled_from(("", "chat", "code")),
        ready=st.integers(0, 3),
    )
    def deploy(
        self,
        name: str,
        uid: str,
        revision: str,
        replicas: int,
        labelled: bool,
        app: str,
        ready: int,
    ) -> None:
        # A uid is of one name for ever; which is younger is its number.
        uid = f"{uid}-{name}"
        self.put(
            make.deployment(
                name,
                uid,
                revision=revision,
                replicas=replicas,
                labelled=labelled,
                labels={"app": app} if app else {},
                created=make.START + timedelta(seconds=int(uid[2])),
                ready_replicas=ready,
                replicas_=ready,
                updated_replicas=ready // 2,
            )
        )

    @rule(
        uid=st.sampled_from(REPLICASET_UIDS),
        owner=st.sampled_from(("", *DEPLOYMENT_UIDS)),
        name=names,
        revision=revisions,
        labelled=st.booleans(),
    )
    def replicate(self, uid: str, owner: str, name: str, revision: str, labelled: bool) -> None:
        record = make.replicaset(uid, f"{owner}-{name}" if owner else "", revision=revision)
        self.put(record, None if labelled else make.UNLABELLED_REPLICASETS)

    @rule(
        uid=st.sampled_from(POD_UIDS),
        owner=st.sampled_from(("", *REPLICASET_UIDS)),
        state=st.sampled_from(("ready", "restarted", "crashing", "running", "pending")),
        labelled=st.booleans(),
    )
    def run(self, uid: str, owner: str, state: str, labelled: bool) -> None:
        status = {
            "ready": make.ready_status(),
            "restarted": make.ready_status(1, self.now),
            "crashing": make.crashing_status(self.now),
            "running": make.crashing_status(self.now, waiting=False),
            "pending": make.PENDING,
        }[state]
        self.put(make.pod(uid, owner, status), None if labelled else make.UNLABELLED_PODS)

    @rule(
        uid=st.sampled_from(("e-1", "e-2", "e-3")),
        about=st.sampled_from((*POD_UIDS, *REPLICASET_UIDS, "d-1-llama", "")),
        reason=st.sampled_from(("BackOff", "FailedMount", "Unhealthy")),
    )
    def happen(self, uid: str, about: str, reason: str) -> None:
        kind = {"p": "Pod", "r": "ReplicaSet"}.get(about[:1], "Deployment")
        self.put(make.event(about, uid, kind=kind, reason=reason, last_timestamp=self.now))

    @rule(
        name=st.sampled_from((*NAMES, "api")),
        selector=st.sampled_from(
            (
                {},
                {"app": "chat"},
                {"app": "code", SERVING_LABEL: "llama"},
                {SERVING_LABEL: "llama"},
                {SERVING_LABEL: "qwen"},
            )
        ),
        uid=st.sampled_from(("s-1", "s-2")),
    )
    def serve(self, name: str, selector: dict[str, str], uid: str) -> None:
        self.put(make.service(name, selector, f"{uid}-{name}"))

    @rule(
        name=st.sampled_from(("x", "y")),
        to=st.sampled_from((*NAMES, "api")),
        kind=st.sampled_from(("http", "istio", "ingress")),
        host=st.sampled_from(("ai.example", "*.example")),
    )
    def route(self, name: str, to: str, kind: str, host: str) -> None:
        match kind:
            case "http":
                self.put(make.http_route(name, to, namespace="infra", host=host))
            case "istio":
                self.put(make.virtual_service(name, f"{to}.team-a"))
            case _:
                self.put(make.ingress(name, to))

    @rule(name=names, keda=st.booleans(), most=st.integers(1, 3))
    def scale(self, name: str, keda: bool, most: int) -> None:
        self.put(make.scaled_object(name, most) if keda else make.autoscaler(name, f"of-{most}"))

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.world:
            places = sorted(self.world, key=lambda place: (place[0].path(None), place[1]))
            place = data.draw(st.sampled_from(places))
            self.fleet.apply(Change(place[0], "DELETED", self.world.pop(place)))

    @rule()
    def relist(self) -> None:
        for (kind, _), record in self.shuffled():
            self.fleet.apply(Change(kind, "MODIFIED", record))

    @rule(minutes=st.integers(1, 12))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(
        labelled=st.sampled_from((Sight.CLEAR, Sight.DENIED)),
        unlabelled=st.sampled_from((Sight.CLEAR, Sight.DENIED)),
        host=st.sampled_from(("", "platform.example")),
    )
    def learn(self, labelled: Sight, unlabelled: Sight, host: str) -> None:
        self.sight, self.host = (labelled, unlabelled), host
        self.fleet.set_sight(*self.sight)
        self.fleet.set_host(host, "https")

    @rule(limit=st.integers(0, 2))
    def flush_a_part(self, limit: int) -> None:
        self.note(self.fleet.flush(self.now, limit))

    def note(self, changed: frozenset[Key]) -> None:
        views = {view.key: view for view in self.fleet.views()}
        differ = {
            key for key in views.keys() | self.shown.keys() if views.get(key) != self.shown.get(key)
        }
        assert changed == differ
        self.shown = views

    def shuffled(self) -> list[tuple[tuple[Kind, str], Any]]:
        items = list(self.world.items())
        self.random.shuffle(items)
        return items

    @invariant()
    def equals_a_fleet_built_anew(self) -> None:
        if self.random.random() < 0.5:
            return  # let changes pile up between two flushes
        self.note(self.fleet.flush(self.now))
        assert not self.fleet.pending
        fresh = Fleet(self.host)
        fresh.set_sight(*self.sight)
        for (kind, _), record in self.shuffled():
            fresh.apply(Change(kind, "ADDED", record))
        fresh.flush(self.now)
        assert self.shown == {view.key: view for view in fresh.views()}
        assert self.fleet.needs_unlabelled == fresh.needs_unlabelled
        assert self.fleet.next_due() == fresh.next_due()


TestSequences = Sequences.TestCase
