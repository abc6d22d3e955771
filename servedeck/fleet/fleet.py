"""The live views: joins the records of the reflectors into one view for each serving.

A change marks only the affected servings; `flush` rebuilds those and returns the views that
actually changed. Objects are joined by uid (a Pod's ReplicaSet, the ReplicaSet's Deployment, an
Event's object), never by name or label, and may arrive in any order. Workloads of other kinds than
Deployment are in `other_workloads`.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Set
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from servedeck.cluster.watch.kinds import STATEFUL_SET_PODS
from servedeck.cluster.watch.reflector import RecordChange
from servedeck.fleet import view_builder
from servedeck.fleet.gateway_index import GatewayIndex
from servedeck.fleet.index import (
    HasMetadata,
    OwnedRecords,
    RecordIndex,
    ServiceIndex,
    any_pool,
    async_gateway_servings,
    controller_uid,
    event_object_uids,
    http_route_backends,
    ingress_backends,
    openshift_route_backends,
    pool_name,
    record_uid,
    virtual_service_backends,
)
from servedeck.fleet.other_workloads import OtherWorkloads
from servedeck.fleet.pool_index import PoolIndex
from servedeck.fleet.serving_pods import OwnedPods, ServingPods
from servedeck.fleet.view_builder import WorkloadFacts
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving import endpoint
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.endpoint import Endpoint
from servedeck.serving.objects import detection
from servedeck.serving.objects.gateway_records import (
    AnyGateway,
    Gateway,
    IstioGateway,
    ListenerSet,
)
from servedeck.serving.objects.openshift_records import Route
from servedeck.serving.objects.pool_records import AlphaInferencePool, InferencePool, Pool
from servedeck.serving.objects.records import (
    Deployment,
    Event,
    HorizontalPodAutoscaler,
    HTTPRoute,
    Ingress,
    ObjectReference,
    Pod,
    ReplicaSet,
    ScaledObject,
    Service,
    VirtualService,
    Workload,
)
from servedeck.serving.route_candidates import pool_key
from servedeck.serving.status import rollout, status
from servedeck.serving.status.blocked_rollout import BlockedRollout, find_blocked_rollout
from servedeck.serving.status.ended_instances import EndedInstance, LogFinding

_log = logging.getLogger(__name__)

UNLABELED_SELECTOR = f"!{SERVING_LABEL}"
"""Selector of the Pods and ReplicaSets without the serving's label."""


class Completeness(StrEnum):
    """Completeness of the lists of ReplicaSets and Pods of one selector."""

    PENDING = "pending"
    """Not all listed yet: servings that need them keep their previous view, or have none."""
    COMPLETE = "complete"
    FORBIDDEN = "forbidden"
    """Listing is forbidden: the status of servings is derived from their Deployment only."""


class Fleet:
    """The servings of a cluster or of one namespace. Not thread-safe."""

    def __init__(self, default_host: str = "", scheme: str = "") -> None:
        self._default_host = default_host
        self._scheme = scheme
        self._labeled_completeness = Completeness.COMPLETE
        self._unlabeled_completeness = Completeness.COMPLETE
        self._stateful_set_completeness = Completeness.COMPLETE

        self._deployments: RecordIndex[Deployment, NamespacedName] = RecordIndex(
            lambda deployment: (
                NamespacedName(deployment.metadata.namespace, deployment.metadata.name),
            )
        )
        self._async_gateways: RecordIndex[Deployment, NamespacedName] = RecordIndex(
            async_gateway_servings
        )
        self._replicasets: OwnedRecords[ReplicaSet] = OwnedRecords("Deployment")
        self._pods: OwnedRecords[Pod] = OwnedRecords("ReplicaSet")
        self._others = OtherWorkloads()
        self._events: RecordIndex[Event, str] = RecordIndex(event_object_uids)
        self._services = ServiceIndex()
        self._http_routes: RecordIndex[HTTPRoute, NamespacedName] = RecordIndex(http_route_backends)
        self._pools = PoolIndex(self._http_routes)
        self._virtual_services: RecordIndex[VirtualService, NamespacedName] = RecordIndex(
            virtual_service_backends
        )
        self._gateways = GatewayIndex()
        self._openshift_routes: RecordIndex[Route, NamespacedName] = RecordIndex(
            openshift_route_backends
        )
        self._ingresses: RecordIndex[Ingress, NamespacedName] = RecordIndex(ingress_backends)
        self._scaled_objects: RecordIndex[ScaledObject, NamespacedName] = RecordIndex(_scale_target)
        self._autoscalers: RecordIndex[HorizontalPodAutoscaler, NamespacedName] = RecordIndex(
            _scale_target
        )

        self._views: dict[NamespacedName, ServingView] = {}
        self._dirty: dict[NamespacedName, None] = {}  # an ordered set: oldest change first
        self._serving_pods: dict[NamespacedName, ServingPods] = {}
        self._stale_pods: set[str] = set()
        """uids of Pods about which an Event was added or deleted since they were evaluated."""
        self._log_findings: dict[str, dict[str, LogFinding]] = {}
        """By uid of the Pod and container."""
        self._endpoints: dict[NamespacedName, Endpoint] = {}
        self._workload_facts: dict[NamespacedName, WorkloadFacts] = {}
        self._keys_needing_unlabeled: set[NamespacedName] = set()
        self._reevaluate_at: dict[NamespacedName, datetime] = {}
        self._reevaluation_heap: list[tuple[datetime, NamespacedName]] = []

        self._handlers: dict[type[Any], Callable[[Any, bool, bool], None]] = {
            Deployment: self._apply_deployment,
            ReplicaSet: self._apply_replicaset,
            Pod: self._apply_pod,
            Event: self._apply_event,
            Service: self._apply_service,
            HTTPRoute: self._apply_http_route,
            InferencePool: self._apply_pool,
            AlphaInferencePool: self._apply_pool,
            VirtualService: self._apply_virtual_service,
            Gateway: self._apply_gateway,
            ListenerSet: self._apply_gateway,
            IstioGateway: self._apply_gateway,
            Route: self._apply_openshift_route,
            Ingress: self._apply_ingress,
            ScaledObject: self._apply_scaled_object,
            HorizontalPodAutoscaler: self._apply_autoscaler,
        } | dict.fromkeys(OtherWorkloads.RECORD_TYPES, self._apply_other)

    # -- views ----------------------------------------------------------------------------------

    def view(self, key: NamespacedName) -> ServingView | None:
        """The serving as of the last flush, None if there is none."""
        return self._views.get(key)

    def views(self) -> list[ServingView]:
        """All servings as of the last flush, in no particular order."""
        return list(self._views.values())

    def __len__(self) -> int:
        return len(self._views)

    def deployment(self, key: NamespacedName) -> Deployment | None:
        """The Deployment of a serving; None if it is unknown, or the serving is another kind."""
        return self._current_deployment(key) if key.is_deployment else None

    def workload(self, key: NamespacedName) -> Workload | None:
        """The workload of a serving of any kind, a Deployment or one in its form; None if it is
        unknown."""
        return self._current_workload(key)

    def related_objects(self, key: NamespacedName) -> list[ObjectReference]:
        """The Services of a serving, the routes to it, its autoscalers, and the StatefulSets of a
        LeaderWorkerSet."""
        services = self._services.services_of(key)
        names = [key, *(NamespacedName(key.namespace, each.metadata.name) for each in services)]
        workload = self._current_workload(key)
        labels = workload.spec.template.metadata.labels if workload is not None else {}
        pool_names = self._pools.names_for(key.namespace, labels)
        found: list[HasMetadata] = [
            *services,
            *_routes_to_services(self._http_routes, [*names, *pool_names]),
            *_routes_to_services(self._virtual_services, names),
            *_routes_to_services(self._openshift_routes, names),
            *_routes_to_services(self._ingresses, names),
            *self._scaled_objects.lookup(key),
            *self._autoscalers.lookup(key),
            *self._others.stateful_sets_of(key),
        ]
        return [
            ObjectReference(type(one).__name__, meta.namespace, meta.name, meta.uid)
            for one in found
            for meta in (one.metadata,)
        ]

    def warning_events(self, key: NamespacedName) -> list[Event]:
        """The Warnings about a serving's Deployment, its ReplicaSets and Pods."""
        deployment = self._current_deployment(key)
        if deployment is None:
            return []
        uids = [deployment.metadata.uid]
        for uid in self._replicasets.owned_by(deployment.metadata.uid):
            uids += [uid, *self._pods.owned_by(uid)]
        return [event for uid in uids for event in self._events.lookup(uid)]

    def unexplained_ends(self, key: NamespacedName) -> list[EndedInstance]:
        """Instances of a serving's containers that crashed and of which only the exit code is
        known; at most one of a Pod, in no particular order."""
        pods = self._serving_pods.get(key)
        return pods.unexplained_ends if pods is not None else []

    # -- changes --------------------------------------------------------------------------------

    def apply(self, change: RecordChange) -> None:
        """Apply a change and mark the affected servings. Kinds that are not part of a serving, and
        the end of a list, have no effect."""
        handler = self._handlers.get(type(change.record))
        deleted = change.type == "DELETED"
        if change.kind.label_selector == STATEFUL_SET_PODS.label_selector:
            self._apply_stateful_set_pod(change.record, deleted)
        elif handler is not None:
            handler(change.record, deleted, change.kind.label_selector == UNLABELED_SELECTOR)

    def set_completeness(
        self,
        labeled: Completeness,
        unlabeled: Completeness,
        stateful_set: Completeness = Completeness.COMPLETE,
        *,
        leader_worker_sets_settled: bool = True,
    ) -> None:
        """Set the completeness of the Pods and ReplicaSets with and without the label, and of the
        Pods of StatefulSets, and whether all LeaderWorkerSets are listed, or cannot be."""
        if (labeled, unlabeled) != (self._labeled_completeness, self._unlabeled_completeness):
            self._labeled_completeness, self._unlabeled_completeness = labeled, unlabeled
            self._dirty.update(dict.fromkeys(self._deployments.keys()))
        if stateful_set is not self._stateful_set_completeness:
            self._stateful_set_completeness = stateful_set
            self._dirty.update(dict.fromkeys(self._others.keys()))
        self._mark_others(self._others.set_leader_worker_sets_settled(leader_worker_sets_settled))

    def set_host(self, default_host: str, scheme: str) -> None:
        """Set the host of endpoint URLs for routes that have none, and the scheme of those of
        HTTPRoutes and VirtualServices, "" for that of the listeners of their Gateways."""
        if (default_host, scheme) != (self._default_host, self._scheme):
            self._default_host, self._scheme = default_host, scheme
            self._endpoints.clear()
            self._mark_all()

    def reevaluate_pods(self) -> None:
        """Evaluate every Pod again with the next flush: the clock was corrected."""
        for pods in self._serving_pods.values():
            pods.mark_all_stale()
        self._mark_all()

    def set_log_line(self, instance: EndedInstance, line: str) -> None:
        """Set the line with a known error in the log of an instance, "" for none: it is part of the
        failure cause with the next flush."""
        uid = instance.pod_uid
        pod = self._pods.get(uid)
        if pod is None and self._others.get_pod(uid) is None:
            return
        findings = self._log_findings.setdefault(uid, {})
        before = findings.get(instance.container)
        findings[instance.container] = LogFinding(instance.id, instance.exit_code, line)
        if line or (before is not None and before.line):
            self._mark_pod(uid, pod)

    @property
    def needs_unlabeled(self) -> bool:
        """Whether a serving has Pods or ReplicaSets without the label, or may have."""
        return bool(self._keys_needing_unlabeled)

    @property
    def needs_stateful_set_pods(self) -> bool:
        """Whether a serving has Pods of StatefulSets."""
        return self._others.needs_stateful_set_pods

    @property
    def has_pending(self) -> bool:
        """Whether a flush is needed."""
        return bool(self._dirty)

    def pending(self) -> Set[NamespacedName]:
        """The servings that a flush would rebuild."""
        return self._dirty.keys()

    def next_reevaluation(self) -> datetime | None:
        """When a flush is needed even without a change (an error that expires); None for never."""
        while self._reevaluation_heap:
            due, key = self._reevaluation_heap[0]
            if self._reevaluate_at.get(key) == due:
                return due
            heapq.heappop(self._reevaluation_heap)
        return None

    def flush(self, now: datetime, limit: int | None = None) -> frozenset[NamespacedName]:
        """Rebuild the marked servings, at most `limit` of them, and return those whose view
        changed, was added or was deleted."""
        while (due := self.next_reevaluation()) is not None and due <= now:
            _, key = heapq.heappop(self._reevaluation_heap)
            del self._reevaluate_at[key]
            self._dirty[key] = None
        changed: list[NamespacedName] = []
        left = len(self._dirty) if limit is None else limit
        while self._dirty and left:
            left -= 1
            key = next(iter(self._dirty))
            if self.flush_serving(key, now):
                changed.append(key)
        return frozenset(changed)

    def flush_serving(self, key: NamespacedName, now: datetime) -> bool:
        """Rebuild one serving; returns whether its view changed, was added or was deleted."""
        self._dirty.pop(key, None)
        try:
            return self._rebuild_view(key, now)
        except Exception as error:  # one invalid object must not hide the others
            _log.exception("view of %s", key)
            self._serving_pods.pop(key, None)
            return self._store_view(
                key, view_builder.unreadable_view(key, self._current_workload(key), error)
            )

    # -- marking --------------------------------------------------------------------------------

    def _mark_all(self) -> None:
        self._dirty.update(dict.fromkeys((*self._deployments.keys(), *self._others.keys())))

    def _mark_deployment(self, uid: str) -> None:
        deployment = self._deployments.get(uid)
        if deployment is not None:
            self._dirty[NamespacedName(deployment.metadata.namespace, deployment.metadata.name)] = (
                None
            )

    def _mark_replicaset(self, uid: str) -> None:
        replicaset = self._replicasets.get(uid)
        if replicaset is not None:
            self._mark_deployment(controller_uid(replicaset, "Deployment"))

    def _mark_existing(self, keys: Iterable[NamespacedName]) -> None:
        for key in keys:
            if self._deployments.has_key(key) or self._others.has_key(key):
                self._dirty[key] = None

    def _invalidate_endpoints(self, keys: Iterable[NamespacedName]) -> None:
        for key in keys:
            self._endpoints.pop(key, None)
        self._mark_existing(keys)

    def _invalidate_endpoints_of_services(self, services: Iterable[NamespacedName]) -> None:
        for name in services:
            self._invalidate_endpoints(self._services.servings_behind(name))

    def _apply_deployment(self, deployment: Deployment, deleted: bool, _: bool) -> None:
        serving = not deleted and detection.is_serving(deployment)
        for key in self._deployments.update(deployment, deleted=not serving):
            self._dirty[key] = None
            self._endpoints.pop(key, None)
            current = self._current_deployment(key)
            self._services.update_serving(key, current)
            if current is not None and SERVING_LABEL not in current.spec.template.metadata.labels:
                # Determined before the first flush, so that their Pods are requested immediately.
                self._keys_needing_unlabeled.add(key)
            self._mark_others(self._others.update_deployment(key, current))
        self._mark_existing(self._async_gateways.update(deployment, deleted=deleted))

    def _apply_other(self, record: Any, deleted: bool, _: bool) -> None:
        self._mark_others(self._others.update(record, deleted=deleted))
        if deleted:
            self._forget_pod(record_uid(record))

    def _mark_others(self, keys: Iterable[NamespacedName]) -> None:
        """Mark servings of other kinds whose own objects have changed."""
        for key in keys:
            self._dirty[key] = None
            self._endpoints.pop(key, None)
            found = self._others.find(key)
            self._services.update_serving(key, found.workload if found is not None else None)

    def _apply_stateful_set_pod(self, pod: Pod, deleted: bool) -> None:
        self._mark_existing(self._others.update_pod(pod, deleted=deleted))
        if deleted:
            self._forget_pod(record_uid(pod))

    def _forget_pod(self, uid: str) -> None:
        self._stale_pods.discard(uid)
        self._log_findings.pop(uid, None)

    def _apply_replicaset(self, replicaset: ReplicaSet, deleted: bool, unlabeled: bool) -> None:
        for owner in self._replicasets.update(replicaset, deleted=deleted, unlabeled=unlabeled):
            self._mark_deployment(owner)

    def _apply_pod(self, pod: Pod, deleted: bool, unlabeled: bool) -> None:
        for owner in self._pods.update(pod, deleted=deleted, unlabeled=unlabeled):
            self._mark_replicaset(owner)
        if self._pods.get(uid := record_uid(pod)) is None:
            self._forget_pod(uid)

    def _apply_event(self, event: Event, deleted: bool, _: bool) -> None:
        for uid in self._events.update(event, deleted=deleted):
            pod = self._pods.get(uid)
            if pod is not None or self._others.get_pod(uid) is not None:
                self._mark_pod(uid, pod)
            if pod is None:
                self._mark_replicaset(uid)
                self._mark_deployment(uid)
                self._mark_existing(self._others.keys_of_object(uid))

    def _mark_pod(self, uid: str, pod: Pod | None) -> None:
        """Evaluate a Pod again with the next flush; `pod` is it if a ReplicaSet owns it."""
        self._stale_pods.add(uid)
        if pod is not None:
            self._mark_replicaset(controller_uid(pod, "ReplicaSet"))
        else:
            self._mark_existing(self._others.keys_of_object(uid))

    def _apply_service(self, service: Service, deleted: bool, _: bool) -> None:
        self._invalidate_endpoints(self._services.update(service, deleted=deleted))

    def _apply_http_route(self, route: HTTPRoute, deleted: bool, _: bool) -> None:
        self._gateways.update_route(route, deleted=deleted)
        backends = self._http_routes.update(route, deleted=deleted)
        self._invalidate_http_route(backends)

    def _invalidate_http_route(self, backends: Set[NamespacedName]) -> None:
        self._invalidate_endpoints_of_services(backends)
        namespaces = {one.namespace for one in backends if one == any_pool(one.namespace)}
        self._pools.note_routes(namespaces)
        for namespace in namespaces:
            known = {
                pool_name(key): pool for key, pool in self._pools.in_namespace(namespace).items()
            }
            for name in backends:
                if name.namespace != namespace or "/" not in name.name:
                    continue
                if name in known:
                    selector = known[name].selector
                    self._invalidate_endpoints(self._services.selected(namespace, selector))
                else:
                    self._invalidate_namespace(namespace)

    def _apply_pool(self, pool: Pool, deleted: bool, _: bool) -> None:
        found = self._pools.update(pool, deleted=deleted)
        if found.is_same:
            return
        namespace = pool.metadata.namespace
        states = (pool,) if found.before is None else (found.before, pool)
        for one in states:
            self._invalidate_endpoints(self._services.selected(namespace, one.selector))
        is_new = (found.before is not None) != found.is_known
        if is_new and self._http_routes.has_key(pool_name(pool_key(pool))):
            # Whether it selects their Pods was not known, or is not any more.
            self._invalidate_namespace(namespace)

    def _invalidate_namespace(self, namespace: str) -> None:
        known = (*self._deployments.keys(), *self._others.keys())
        self._invalidate_endpoints([key for key in known if key.namespace == namespace])

    def _apply_gateway(self, gateway: AnyGateway, deleted: bool, _: bool) -> None:
        http_routes, virtual_services = self._gateways.update(gateway, deleted=deleted)
        for http_route in http_routes:
            self._invalidate_http_route(set(http_route_backends(http_route)))
        for virtual_service in virtual_services:
            self._invalidate_endpoints_of_services(virtual_service_backends(virtual_service))

    def _apply_virtual_service(self, route: VirtualService, deleted: bool, _: bool) -> None:
        self._gateways.update_route(route, deleted=deleted)
        self._invalidate_endpoints_of_services(
            self._virtual_services.update(route, deleted=deleted)
        )

    def _apply_openshift_route(self, route: Route, deleted: bool, _: bool) -> None:
        self._invalidate_endpoints_of_services(
            self._openshift_routes.update(route, deleted=deleted)
        )

    def _apply_ingress(self, route: Ingress, deleted: bool, _: bool) -> None:
        self._invalidate_endpoints_of_services(self._ingresses.update(route, deleted=deleted))

    def _apply_scaled_object(self, autoscaler: ScaledObject, deleted: bool, _: bool) -> None:
        self._mark_existing(self._scaled_objects.update(autoscaler, deleted=deleted))

    def _apply_autoscaler(
        self, autoscaler: HorizontalPodAutoscaler, deleted: bool, _: bool
    ) -> None:
        self._mark_existing(self._autoscalers.update(autoscaler, deleted=deleted))

    # -- building -------------------------------------------------------------------------------

    def _current_deployment(self, key: NamespacedName) -> Deployment | None:
        """The Deployment of that name. While it is replaced by another of the same name, both may
        exist briefly; the newer one is used."""
        return max(
            self._deployments.lookup(key),
            key=lambda deployment: (
                (created := deployment.metadata.creation_timestamp) is not None
                and created.timestamp(),
                record_uid(deployment),
            ),
            default=None,
        )

    def _current_workload(self, key: NamespacedName) -> Workload | None:
        if key.is_deployment:
            return self._current_deployment(key)
        other = self._others.find(key)
        return other.workload if other is not None else None

    def _rebuild_view(self, key: NamespacedName, now: datetime) -> bool:
        """Rebuild one view; returns whether it changed."""
        if not key.is_deployment:
            return self._rebuild_other(key, now)
        deployment = self._current_deployment(key)
        if deployment is None:
            return self._remove_view(key)
        replicasets = list(self._replicasets.owned_by(deployment.metadata.uid).values())
        self._update_needs_unlabeled(key, deployment, replicasets)
        completeness = self._completeness_of(key)
        if completeness is Completeness.PENDING:
            return False
        pods = self._serving_pods_of(key)
        owners = [
            OwnedPods(
                self._pods.owned_by(record_uid(replicaset)),
                record_uid(replicaset),
                replicaset.metadata.annotations.revision,
                _is_old_revision(replicaset, deployment),
                self._pods.take_changes(record_uid(replicaset), pods),
            )
            for replicaset in replicasets
        ]
        self._evaluate_pods(key, pods, owners, now)
        serving_status = status.evaluate(
            deployment,
            replicasets,
            pods.not_serving,
            completeness is Completeness.COMPLETE,
            serving_count=pods.serving_count,
        )
        events = self._events_of(
            deployment.metadata.uid, *(each.metadata.uid for each in replicasets)
        )
        badge, blocked = rollout.rollout_badge(deployment), None
        if badge and (waiting := pods.new_without_resources):
            blocked = find_blocked_rollout(deployment, waiting, pods.old_pods())
        view = self._build_view(
            key,
            deployment,
            serving_status,
            pods,
            events,
            rollout_badge=badge if blocked is None else rollout.BLOCKED_BADGE,
            blocked=blocked,
            pods_known=completeness is Completeness.COMPLETE,
        )
        return self._store_view(key, view)

    def _rebuild_other(self, key: NamespacedName, now: datetime) -> bool:
        """Rebuild the view of a serving that is no Deployment; returns whether it changed."""
        other = self._others.find(key)
        if other is None:
            return self._remove_view(key)
        completeness = Completeness.COMPLETE
        if other.needs_stateful_set_pods:
            completeness = self._stateful_set_completeness
        if completeness is Completeness.PENDING:
            return False
        owned = {record_uid(pod): pod for pod in other.pods}
        pods = self._serving_pods_of(key)
        self._evaluate_pods(key, pods, [OwnedPods(owned)], now)
        events = self._events_of(*other.event_uids)
        serving_status = other.evaluate(
            [pods.diagnosed(uid) for uid in owned],
            events,
            completeness is Completeness.COMPLETE,
        )
        view = self._build_view(
            key,
            other.workload,
            serving_status,
            pods,
            events,
            rollout_badge=other.rollout,
            pods_known=completeness is Completeness.COMPLETE,
        )
        return self._store_view(key, other.complete(view))

    def _remove_view(self, key: NamespacedName) -> bool:
        self._serving_pods.pop(key, None)
        self._endpoints.pop(key, None)
        self._workload_facts.pop(key, None)
        self._reevaluate_at.pop(key, None)
        self._keys_needing_unlabeled.discard(key)
        return self._views.pop(key, None) is not None

    def _store_view(self, key: NamespacedName, view: ServingView) -> bool:
        before = self._views.get(key)
        if view == before:
            return False
        self._views[key] = view
        return True

    def _update_needs_unlabeled(
        self, key: NamespacedName, deployment: Deployment, replicasets: list[ReplicaSet]
    ) -> None:
        """Determine whether Pods or ReplicaSets without the label belong to the serving.

        They do if the Pod template lacks the label, or got it recently: then Pods of older
        ReplicaSets still run, but no older ReplicaSet has the label.
        """
        counts = deployment.status
        if (
            SERVING_LABEL not in deployment.spec.template.metadata.labels
            or any(self._replicasets.is_only_unlabeled(each.metadata.uid) for each in replicasets)
            or (
                self._labeled_completeness is Completeness.COMPLETE
                and counts.replicas > counts.updated_replicas
                and not any(_is_old_revision(each, deployment) for each in replicasets)
            )
        ):
            self._keys_needing_unlabeled.add(key)
        else:
            self._keys_needing_unlabeled.discard(key)

    def _completeness_of(self, key: NamespacedName) -> Completeness:
        if key not in self._keys_needing_unlabeled:
            return self._labeled_completeness
        both = (self._labeled_completeness, self._unlabeled_completeness)
        for completeness in (Completeness.PENDING, Completeness.FORBIDDEN):
            if completeness in both:
                return completeness
        return Completeness.COMPLETE

    def _serving_pods_of(self, key: NamespacedName) -> ServingPods:
        pods = self._serving_pods.get(key)
        if pods is None:
            pods = self._serving_pods[key] = ServingPods(
                key.namespace, self._events_of, lambda uid: self._log_findings.get(uid, {})
            )
        return pods

    def _evaluate_pods(
        self, key: NamespacedName, pods: ServingPods, owners: list[OwnedPods], now: datetime
    ) -> None:
        pods.update(owners, now, self._stale_pods)
        self._schedule_reevaluation(key, pods.reevaluate_at, now)

    def _events_of(self, *uids: str) -> list[Event]:
        """Sorted by name, so that the order of Events in the same second does not depend on
        arrival."""
        events = [event for uid in uids for event in self._events.lookup(uid)]
        events.sort(key=lambda event: event.metadata.name)
        return events

    def _schedule_reevaluation(
        self, key: NamespacedName, reevaluate_at: datetime | None, now: datetime
    ) -> None:
        if reevaluate_at is None or reevaluate_at <= now:
            self._reevaluate_at.pop(key, None)
        elif self._reevaluate_at.get(key) != reevaluate_at:
            self._reevaluate_at[key] = reevaluate_at
            heapq.heappush(self._reevaluation_heap, (reevaluate_at, key))

    def _build_view(
        self,
        key: NamespacedName,
        deployment: Workload,
        serving_status: status.ServingStatus,
        pods: ServingPods,
        events: list[Event],
        *,
        rollout_badge: str,
        pods_known: bool,
        blocked: BlockedRollout | None = None,
    ) -> ServingView:
        facts = self._workload_facts.get(key)
        if facts is None or facts.workload is not deployment:
            facts = self._workload_facts[key] = view_builder.find_workload_facts(deployment)
        accelerator, server = facts.accelerators, facts.server
        meta = deployment.metadata
        return ServingView(
            key=key,
            uid=meta.uid,
            status=serving_status.status,
            reason=serving_status.reason,
            message=serving_status.message,
            failing=serving_status.failing_count,
            rollout=rollout_badge,
            rollout_message=blocked.message if blocked is not None else "",
            rollout_way_out=blocked.way_out if blocked is not None else "",
            ready=serving_status.ready_count,
            desired=deployment.spec.replicas,
            template=server.template,
            model=server.model,
            model_source=server.model_source,
            owner=facts.owner,
            accelerator=accelerator.name,
            accelerator_resource=accelerator.resource,
            accelerator_count=accelerator.number,
            restarts=pods.restart_count,
            endpoint=self._resolve_endpoint(key, deployment),
            autoscaler=view_builder.format_autoscalers(
                self._scaled_objects.lookup(key), self._autoscalers.lookup(key)
            ),
            image=facts.image,
            server_container=server.container.name if server.container is not None else "",
            created=meta.creation_timestamp,
            labels=meta.labels,
            description=meta.annotations.description,
            objectives=meta.annotations.objectives,
            managed=facts.managed,
            pods_known=pods_known,
            pods=pods.views,
            events=view_builder.build_event_views(events) if events else (),
            revision=meta.annotations.revision,
            has_async_queue=self._async_gateways.has_key(key),
        )

    def _resolve_endpoint(self, key: NamespacedName, deployment: Workload) -> Endpoint:
        found = self._endpoints.get(key)
        if found is None:
            services = self._services.services_of(key)
            names = [
                NamespacedName(key.namespace, name)
                for name in (key.name, *(each.metadata.name for each in services))
            ]
            labels = deployment.spec.template.metadata.labels
            pool_names = self._pools.names_for(key.namespace, labels)
            http_routes = _routes_to_services(self._http_routes, [*names, *pool_names])
            unknown = self._pools.routes_to_unknown(key.namespace)
            found = endpoint.resolve_endpoint(
                deployment,
                services,
                [*http_routes, *(one for one in unknown if one not in http_routes)],
                _routes_to_services(self._virtual_services, names),
                _routes_to_services(self._ingresses, names),
                self._default_host,
                openshift_routes=_routes_to_services(self._openshift_routes, names),
                kind=key.kind,
                pools=self._pools.in_namespace(key.namespace),
                gateways=self._gateways.known,
                scheme=self._scheme,
            )
            self._endpoints[key] = found
        return found


R = TypeVar("R", HTTPRoute, VirtualService, Route, Ingress)


def _routes_to_services(
    routes: RecordIndex[R, NamespacedName], service_names: list[NamespacedName]
) -> list[R]:
    """Routes to Services of these names, without duplicates, in an order independent of the names'
    order."""
    found = {record_uid(route): route for name in service_names for route in routes.lookup(name)}
    return [found[uid] for uid in sorted(found)]


def _scale_target(autoscaler: ScaledObject | HorizontalPodAutoscaler) -> tuple[NamespacedName, ...]:
    """The workload that an autoscaler scales."""
    target = autoscaler.spec.scale_target_ref
    return (NamespacedName(autoscaler.metadata.namespace, target.name, target.kind),)


def _is_old_revision(replicaset: ReplicaSet, deployment: Deployment) -> bool:
    """Whether the ReplicaSet is of an older revision than the Deployment's current one."""
    revision = deployment.metadata.annotations.revision
    return replicaset.metadata.annotations.revision != revision
