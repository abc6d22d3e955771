"""For any changes in any order, the incremental views equal those of a newly built fleet."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.cluster.watch.reflector import RecordChange
from servedeck.fleet.fleet import Completeness, Fleet
from servedeck.fleet.index import record_uid
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.conventions import SERVING_LABEL
from tests.fleet import factories

NAMES = ("llama", "qwen")
DEPLOYMENT_UIDS = ("d-1", "d-2", "d-3")
REPLICASET_UIDS = ("r-1", "r-2", "r-3")
POD_UIDS = ("p-1", "p-2", "p-3", "p-4")
names = st.sampled_from(NAMES)
revisions = st.sampled_from(("1", "2"))


class FleetStateMachine(RuleBasedStateMachine):
    """Each rule is one change as reported by a reflector; `live_records` is what lists would
    return."""

    @initialize(seed=st.integers(0, 1 << 30))
    def set_up_fleet(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.fleet = Fleet()
        self.completeness = (Completeness.COMPLETE, Completeness.COMPLETE)
        self.host, self.scheme = "", ""
        self.now = factories.START
        self.live_records: dict[tuple[ResourceKind, str], Any] = {}
        self.published_views: dict[NamespacedName, ServingView] = {}

    def put_record(self, record: Any, kind: ResourceKind | None = None) -> None:
        kind = kind or factories.KIND_BY_RECORD[type(record)]
        place = (kind, record_uid(record))
        known = place in self.live_records
        self.live_records[place] = record
        self.fleet.apply(RecordChange(kind, "MODIFIED" if known else "ADDED", record))

    @rule(
        name=names,
        uid=st.sampled_from(DEPLOYMENT_UIDS),
        revision=revisions,
        replicas=st.integers(0, 3),
        labeled=st.booleans(),
        app=st.sampled_from(("", "chat", "code")),
        ready=st.integers(0, 3),
    )
    def put_deployment(
        self,
        name: str,
        uid: str,
        revision: str,
        replicas: int,
        labeled: bool,
        app: str,
        ready: int,
    ) -> None:
        # A uid belongs to one name permanently; its number determines which is newer.
        uid = f"{uid}-{name}"
        self.put_record(
            factories.deployment(
                name,
                uid,
                revision=revision,
                replicas=replicas,
                labeled=labeled,
                labels={"app": app} if app else {},
                created=factories.START + timedelta(seconds=int(uid[2])),
                ready_replicas=ready,
                status_replicas=ready,
                updated_replicas=ready // 2,
            )
        )

    @rule(
        uid=st.sampled_from(REPLICASET_UIDS),
        owner=st.sampled_from(("", *DEPLOYMENT_UIDS)),
        name=names,
        revision=revisions,
        labeled=st.booleans(),
    )
    def put_replicaset(self, uid: str, owner: str, name: str, revision: str, labeled: bool) -> None:
        record = factories.replicaset(uid, f"{owner}-{name}" if owner else "", revision=revision)
        self.put_record(record, None if labeled else factories.UNLABELED_REPLICA_SETS)

    @rule(
        uid=st.sampled_from(POD_UIDS),
        owner=st.sampled_from(("", *REPLICASET_UIDS)),
        state=st.sampled_from(("ready", "restarted", "crashing", "running", "pending")),
        labeled=st.booleans(),
    )
    def put_pod(self, uid: str, owner: str, state: str, labeled: bool) -> None:
        status = {
            "ready": factories.ready_status(),
            "restarted": factories.ready_status(1, self.now),
            "crashing": factories.crashing_status(self.now),
            "running": factories.crashing_status(self.now, waiting=False),
            "pending": factories.PENDING_STATUS,
        }[state]
        self.put_record(
            factories.pod(uid, owner, status), None if labeled else factories.UNLABELED_PODS
        )

    @rule(
        uid=st.sampled_from(("e-1", "e-2", "e-3")),
        about=st.sampled_from((*POD_UIDS, *REPLICASET_UIDS, "d-1-llama", "")),
        reason=st.sampled_from(("BackOff", "FailedMount", "Unhealthy")),
    )
    def put_event(self, uid: str, about: str, reason: str) -> None:
        kind = {"p": "Pod", "r": "ReplicaSet"}.get(about[:1], "Deployment")
        self.put_record(
            factories.event(about, uid, kind=kind, reason=reason, last_timestamp=self.now)
        )

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
    def put_service(self, name: str, selector: dict[str, str], uid: str) -> None:
        self.put_record(factories.service(name, selector, f"{uid}-{name}"))

    @rule(
        name=st.sampled_from(("x", "y")),
        to=st.sampled_from((*NAMES, "api")),
        kind=st.sampled_from(("http", "istio", "openshift", "ingress")),
        parent=st.sampled_from(("Gateway", "ListenerSet")),
        host=st.sampled_from(("ai.example", "*.example")),
        gateway=st.sampled_from(("main", "other")),
    )
    def put_route(
        self, name: str, to: str, kind: str, parent: str, host: str, gateway: str
    ) -> None:
        match kind:
            case "http":
                self.put_record(
                    factories.http_route(
                        name,
                        to,
                        namespace="infra",
                        host=host,
                        gateway_name=gateway,
                        parent_kind=parent,
                    )
                )
            case "istio":
                self.put_record(factories.virtual_service(name, f"{to}.team-a"))
            case "openshift":
                made_from = name if host.startswith("*") else ""
                self.put_record(factories.openshift_route(name, to, ingress_name=made_from))
            case _:
                self.put_record(factories.ingress(name, to))

    @rule(name=names, keda=st.booleans(), most=st.integers(1, 3))
    def put_scaler(self, name: str, keda: bool, most: int) -> None:
        self.put_record(
            factories.scaled_object(name, most)
            if keda
            else factories.autoscaler(name, f"of-{most}")
        )

    @rule(
        name=st.sampled_from(("main", "other")),
        protocol=st.sampled_from(("HTTP", "HTTPS")),
        port=st.sampled_from((443, 8080)),
        make=st.sampled_from((factories.istio_gateway, factories.gateway, factories.listener_set)),
    )
    def put_gateway(self, name: str, protocol: str, port: int, make: Any) -> None:
        self.put_record(make(protocol, port, name=name))

    @rule(
        serving=names,
        name=st.sampled_from(("", "", "other-async")),
        namespace=st.sampled_from(("team-a", "team-b")),
        manager=st.sampled_from(("servedeck", "servedeck", "helm")),
    )
    def put_async_gateway(self, serving: str, name: str, namespace: str, manager: str) -> None:
        self.put_record(
            factories.async_gateway(serving, name=name, namespace=namespace, manager=manager)
        )

    @rule(data=st.data())
    def delete_record(self, data: st.DataObject) -> None:
        if self.live_records:
            places = sorted(
                self.live_records, key=lambda place: (place[0].list_path(None), place[1])
            )
            place = data.draw(st.sampled_from(places))
            self.fleet.apply(RecordChange(place[0], "DELETED", self.live_records.pop(place)))

    @rule()
    def relist(self) -> None:
        for (kind, _), record in self.shuffled_records():
            self.fleet.apply(RecordChange(kind, "MODIFIED", record))

    @rule(minutes=st.integers(1, 12))
    def advance_time(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(
        labeled=st.sampled_from((Completeness.COMPLETE, Completeness.FORBIDDEN)),
        unlabeled=st.sampled_from((Completeness.COMPLETE, Completeness.FORBIDDEN)),
    )
    def change_completeness(self, labeled: Completeness, unlabeled: Completeness) -> None:
        self.completeness = (labeled, unlabeled)
        self.fleet.set_completeness(*self.completeness)

    @rule(
        host=st.sampled_from(("", "platform.example")),
        scheme=st.sampled_from(("", "http", "https")),
    )
    def change_host(self, host: str, scheme: str) -> None:
        self.host, self.scheme = host, scheme
        self.fleet.set_host(host, scheme)

    @rule(limit=st.integers(0, 2))
    def flush_some(self, limit: int) -> None:
        self.record_changes(self.fleet.flush(self.now, limit))

    def record_changes(self, changed: frozenset[NamespacedName]) -> None:
        views = {view.key: view for view in self.fleet.views()}
        differ = {
            key
            for key in views.keys() | self.published_views.keys()
            if views.get(key) != self.published_views.get(key)
        }
        assert changed == differ
        self.published_views = views

    def shuffled_records(self) -> list[tuple[tuple[ResourceKind, str], Any]]:
        items = list(self.live_records.items())
        self.random.shuffle(items)
        return items

    @invariant()
    def equals_rebuilt_fleet(self) -> None:
        if self.random.random() < 0.5:
            return  # let changes pile up between two flushes
        self.record_changes(self.fleet.flush(self.now))
        assert not self.fleet.has_pending
        fresh = Fleet(self.host, self.scheme)
        fresh.set_completeness(*self.completeness)
        for (kind, _), record in self.shuffled_records():
            fresh.apply(RecordChange(kind, "ADDED", record))
        fresh.flush(self.now)
        assert self.published_views == {view.key: view for view in fresh.views()}
        assert self.fleet.needs_unlabeled == fresh.needs_unlabeled
        assert self.fleet.next_reevaluation() == fresh.next_reevaluation()


TestFleetStateMachine = FleetStateMachine.TestCase
