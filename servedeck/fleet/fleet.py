"""The live picture: joins what the reflectors bring into one view for each serving.

A change marks only the servings that it concerns; `flush` builds those anew and tells which views
really changed. Objects find each other by uid (a Pod's ReplicaSet, that one's Deployment, an
Event's object), never by name or label, and may come in any order.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from servedeck.cluster.watch.reflector import Change
from servedeck.fleet import view_builder
from servedeck.fleet.index import (
    Children,
    Related,
    Services,
    controller,
    event_keys,
    http_route_keys,
    identity,
    ingress_keys,
    virtual_service_keys,
)
from servedeck.fleet.views import Key, PodView, ServingView
from servedeck.serving import accelerators, endpoint
from servedeck.serving.endpoint import Endpoint
from servedeck.serving.objects import detection
from servedeck.serving.objects.records import (
    SERVING_LABEL,
    Deployment,
    Event,
    HorizontalPodAutoscaler,
    HTTPRoute,
    Ingress,
    Pod,
    ReplicaSet,
    ScaledObject,
    Service,
    VirtualService,
)
from servedeck.serving.status import rollout, status
from servedeck.serving.status.diagnosis import Finding, diagnose
from servedeck.serving.status.pods import SortKey, sort_key

_log = logging.getLogger(__name__)

UNLABELLED = f"!{SERVING_LABEL}"
"""Selector of the Pods and ReplicaSets that do not bear the serving's label."""


class Sight(StrEnum):
    """How much is known of the ReplicaSets and Pods of one selector."""

    WAITING = "waiting"
    """Not all listed yet: servings that need them keep the view they had, or none."""
    CLEAR = "clear"
    DENIED = "denied"
    """May not be read: servings are judged by their Deployment alone."""


@dataclass(slots=True)
class _Seen:
    """What was last made of one Pod."""

    pod: Pod
    finding: Finding
    view: PodView
    order: SortKey
    stale: bool = False
    """An Event about the Pod came or went since."""


class Fleet:
    """The servings of a cluster or of one namespace. Not for use by several threads."""

    def __init__(self, default_host: str = "", scheme: str = "https") -> None:
        self._default_host = default_host
        self._scheme = scheme
        self._labelled = Sight.CLEAR
        self._unlabelled = Sight.CLEAR

        self._deployments: Related[Deployment, Key] = Related(
            lambda deployment: (Key(deployment.metadata.namespace, deployment.metadata.name),)
        )
        self._replicasets: Children[ReplicaSet] = Children("Deployment")
        self._pods: Children[Pod] = Children("ReplicaSet")
        self._events: Related[Event, str] = Related(event_keys)
        self._services = Services()
        self._http_routes: Related[HTTPRoute, Key] = Related(http_route_keys)
        self._virtual_services: Related[VirtualService, Key] = Related(virtual_service_keys)
        self._ingresses: Related[Ingress, Key] = Related(ingress_keys)
        self._scaled_objects: Related[ScaledObject, Key] = Related(_target)
        self._autoscalers: Related[HorizontalPodAutoscaler, Key] = Related(_target)

        self._views: dict[Key, ServingView] = {}
        self._dirty: dict[Key, None] = {}  # a set that keeps its order: oldest change first
        self._seen: dict[str, _Seen] = {}  # by the Pod's uid
        self._endpoints: dict[Key, Endpoint] = {}
        self._needing_unlabelled: set[Key] = set()
        self._due: dict[Key, datetime] = {}
        self._due_order: list[tuple[datetime, Key]] = []

        self._handlers: dict[type[Any], Callable[[Any, bool, bool], None]] = {
            Deployment: self._put_deployment,
            ReplicaSet: self._put_replicaset,
            Pod: self._put_pod,
            Event: self._put_event,
            Service: self._put_service,
            HTTPRoute: self._put_http_route,
            VirtualService: self._put_virtual_service,
            Ingress: self._put_ingress,
            ScaledObject: self._put_scaled_object,
            HorizontalPodAutoscaler: self._put_autoscaler,
        }

    # -- what is shown --------------------------------------------------------------------------

    def view(self, key: Key) -> ServingView | None:
        """The serving as of the last flush, None where there is none."""
        return self._views.get(key)

    def views(self) -> list[ServingView]:
        """All servings as of the last flush, in no particular order."""
        return list(self._views.values())

    def __len__(self) -> int:
        return len(self._views)

    # -- what comes in --------------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """Takes a change in and marks the servings that it concerns. Kinds that no serving is
        made of, and the mark that a list is complete, change nothing."""
        handler = self._handlers.get(type(change.record))
        if handler is not None:
            handler(
                change.record,
                change.type == "DELETED",
                change.kind.label_selector == UNLABELLED,
            )

    def set_sight(self, labelled: Sight, unlabelled: Sight) -> None:
        """Says how much is known of the Pods and ReplicaSets with and without the label."""
        if (labelled, unlabelled) != (self._labelled, self._unlabelled):
            self._labelled, self._unlabelled = labelled, unlabelled
            self._mark_all()

    def set_host(self, default_host: str, scheme: str) -> None:
        """Host and scheme of endpoint URLs where no route names one."""
        if (default_host, scheme) != (self._default_host, self._scheme):
            self._default_host, self._scheme = default_host, scheme
            self._endpoints.clear()
            self._mark_all()

    @property
    def needs_unlabelled(self) -> bool:
        """Whether a serving has Pods or ReplicaSets without the label, or may have."""
        return bool(self._needing_unlabelled)

    @property
    def pending(self) -> bool:
        """Whether a flush has something to do."""
        return bool(self._dirty)

    def next_due(self) -> datetime | None:
        """When a flush is needed although nothing changed (an error that is forgiven with time);
        None for never."""
        while self._due_order:
            due, key = self._due_order[0]
            if self._due.get(key) == due:
                return due
            heapq.heappop(self._due_order)
        return None

    def flush(self, now: datetime, limit: int | None = None) -> frozenset[Key]:
        """Builds the marked servings anew, at most `limit` of them, and returns those whose view
        changed, came or went."""
        while (due := self.next_due()) is not None and due <= now:
            _, key = heapq.heappop(self._due_order)
            del self._due[key]
            self._dirty[key] = None
        changed: list[Key] = []
        left = len(self._dirty) if limit is None else limit
        while self._dirty and left:
            left -= 1
            key = next(iter(self._dirty))
            del self._dirty[key]
            try:
                differs = self._rebuild(key, now)
            except Exception as error:  # one odd object must not hide the others
                _log.exception("view of %s", key)
                differs = self._show(key, view_builder.unreadable(key, self._current(key), error))
            if differs:
                changed.append(key)
        return frozenset(changed)

    # -- marking --------------------------------------------------------------------------------

    def _mark_all(self) -> None:
        self._dirty.update(dict.fromkeys(self._deployments.keys()))

    def _mark_deployment(self, uid: str) -> None:
        deployment = self._deployments.get(uid)
        if deployment is not None:
            self._dirty[Key(deployment.metadata.namespace, deployment.metadata.name)] = None

    def _mark_replicaset(self, uid: str) -> None:
        replicaset = self._replicasets.get(uid)
        if replicaset is not None:
            self._mark_deployment(controller(replicaset, "Deployment"))

    def _mark_known(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if self._deployments.has(key):
                self._dirty[key] = None

    def _mark_endpoints(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._endpoints.pop(key, None)
        self._mark_known(keys)

    def _mark_behind(self, services: Iterable[Key]) -> None:
        for name in services:
            self._mark_endpoints(self._services.servings(name))

    def _put_deployment(self, deployment: Deployment, gone: bool, _: bool) -> None:
        serving = not gone and detection.is_serving(deployment)
        for key in self._deployments.put(deployment, gone=not serving):
            self._dirty[key] = None
            self._endpoints.pop(key, None)
            current = self._current(key)
            self._services.place(key, current)
            if current is not None and SERVING_LABEL not in current.spec.template.metadata.labels:
                # Known before the first flush, so that their Pods are asked for at once.
                self._needing_unlabelled.add(key)

    def _put_replicaset(self, replicaset: ReplicaSet, gone: bool, second: bool) -> None:
        for owner in self._replicasets.put(replicaset, gone=gone, second=second):
            self._mark_deployment(owner)

    def _put_pod(self, pod: Pod, gone: bool, second: bool) -> None:
        for owner in self._pods.put(pod, gone=gone, second=second):
            self._mark_replicaset(owner)
        if self._pods.get(uid := identity(pod)) is None:
            self._seen.pop(uid, None)

    def _put_event(self, event: Event, gone: bool, _: bool) -> None:
        for uid in self._events.put(event, gone=gone):
            if (pod := self._pods.get(uid)) is not None:
                self._forget(uid)
                self._mark_replicaset(controller(pod, "ReplicaSet"))
            else:
                self._mark_replicaset(uid)
                self._mark_deployment(uid)

    def _forget(self, pod_uid: str) -> None:
        seen = self._seen.get(pod_uid)
        if seen is not None:
            seen.stale = True

    def _put_service(self, service: Service, gone: bool, _: bool) -> None:
        self._mark_endpoints(self._services.put(service, gone=gone))

    def _put_http_route(self, route: HTTPRoute, gone: bool, _: bool) -> None:
        self._mark_behind(self._http_routes.put(route, gone=gone))

    def _put_virtual_service(self, route: VirtualService, gone: bool, _: bool) -> None:
        self._mark_behind(self._virtual_services.put(route, gone=gone))

    def _put_ingress(self, route: Ingress, gone: bool, _: bool) -> None:
        self._mark_behind(self._ingresses.put(route, gone=gone))

    def _put_scaled_object(self, scaler: ScaledObject, gone: bool, _: bool) -> None:
        self._mark_known(self._scaled_objects.put(scaler, gone=gone))

    def _put_autoscaler(self, scaler: HorizontalPodAutoscaler, gone: bool, _: bool) -> None:
        self._mark_known(self._autoscalers.put(scaler, gone=gone))

    # -- building -------------------------------------------------------------------------------

    def _current(self, key: Key) -> Deployment | None:
        """The Deployment of that name. While one is replaced by another of the same name both may
        be known for a moment; the younger one counts."""
        return max(
            self._deployments.about(key),
            key=lambda deployment: (
                (created := deployment.metadata.creation_timestamp) is not None
                and created.timestamp(),
                identity(deployment),
            ),
            default=None,
        )

    def _rebuild(self, key: Key, now: datetime) -> bool:
        """Builds one view anew; returns whether it changed."""
        deployment = self._current(key)
        if deployment is None:
            self._endpoints.pop(key, None)
            self._due.pop(key, None)
            self._needing_unlabelled.discard(key)
            return self._views.pop(key, None) is not None
        replicasets = list(self._replicasets.of(deployment.metadata.uid))
        self._learn_labels(key, deployment, replicasets)
        sight = self._sight(key)
        if sight is Sight.WAITING:
            return False
        seen = [
            self._see(key, pod, _is_old(replicaset, deployment), now)
            for replicaset in replicasets
            for pod in self._pods.of(replicaset.metadata.uid)
        ]
        self._schedule(key, view_builder.next_judgement(each.finding for each in seen), now)
        return self._show(
            key, self._build(key, deployment, replicasets, seen, sight is Sight.CLEAR)
        )

    def _show(self, key: Key, view: ServingView) -> bool:
        before = self._views.get(key)
        if view == before:
            return False
        self._views[key] = view
        return True

    def _learn_labels(
        self, key: Key, deployment: Deployment, replicasets: list[ReplicaSet]
    ) -> None:
        """Finds out whether Pods or ReplicaSets without the label belong to the serving.

        Those of a template that lacks it do, and those of the past of one that was labelled
        lately: then Pods of older ReplicaSets still run, but no older ReplicaSet bears the label.
        """
        counts = deployment.status
        if (
            SERVING_LABEL not in deployment.spec.template.metadata.labels
            or any(self._replicasets.from_second(each.metadata.uid) for each in replicasets)
            or (
                self._labelled is Sight.CLEAR
                and counts.replicas > counts.updated_replicas
                and not any(_is_old(each, deployment) for each in replicasets)
            )
        ):
            self._needing_unlabelled.add(key)
        else:
            self._needing_unlabelled.discard(key)

    def _sight(self, key: Key) -> Sight:
        if key not in self._needing_unlabelled:
            return self._labelled
        both = (self._labelled, self._unlabelled)
        for sight in (Sight.WAITING, Sight.DENIED):
            if sight in both:
                return sight
        return Sight.CLEAR

    def _see(self, key: Key, pod: Pod, old_revision: bool, now: datetime) -> _Seen:
        """What the Pod looks like; judged anew only where it, its Events or the time demand it."""
        uid = identity(pod)
        seen = self._seen.get(uid)
        if (
            seen is not None
            and seen.pod is pod
            and not seen.stale
            and seen.view.old_revision is old_revision
            and (seen.finding.until is None or seen.finding.until > now)
        ):
            return seen
        events = self._events_about(pod.metadata.uid)
        finding = diagnose(pod, events, now)
        view = view_builder.pod_view(
            pod,
            finding,
            events,
            namespace=key.namespace,
            old_revision=old_revision,
            before=seen.view if seen is not None else None,
        )
        seen = _Seen(pod, finding, view, sort_key(pod, finding.health))
        self._seen[uid] = seen
        return seen

    def _events_about(self, *uids: str) -> list[Event]:
        """By name, so that Events of the same second keep their order however they came."""
        events = [event for uid in uids for event in self._events.about(uid)]
        events.sort(key=lambda event: event.metadata.name)
        return events

    def _schedule(self, key: Key, due: datetime | None, now: datetime) -> None:
        if due is None or due <= now:
            self._due.pop(key, None)
        elif self._due.get(key) != due:
            self._due[key] = due
            heapq.heappush(self._due_order, (due, key))

    def _build(
        self,
        key: Key,
        deployment: Deployment,
        replicasets: list[ReplicaSet],
        seen: list[_Seen],
        pods_known: bool,
    ) -> ServingView:
        verdict = status.judge(
            deployment, replicasets, [(each.pod, each.finding) for each in seen], pods_known
        )
        resource, count = detection.accelerator(deployment)
        meta = deployment.metadata
        events = self._events_about(meta.uid, *(each.metadata.uid for each in replicasets))
        return ServingView(
            key=key,
            uid=meta.uid,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message,
            failing=verdict.failing,
            rollout=rollout.badge(deployment),
            ready=verdict.ready,
            desired=deployment.spec.replicas,
            template=detection.template(deployment),
            model=detection.model(deployment),
            accelerator=accelerators.display_name(resource) if resource else "",
            accelerator_resource=resource,
            accelerator_count=count,
            restarts=sum(each.view.restarts for each in seen),
            endpoint=self._endpoint(key, deployment),
            scaler=view_builder.scaler_text(
                self._scaled_objects.about(key), self._autoscalers.about(key)
            ),
            image=detection.image(deployment),
            created=meta.creation_timestamp,
            labels=meta.labels,
            description=meta.annotations.description,
            managed=detection.is_managed(deployment),
            pods=tuple(each.view for each in sorted(seen, key=lambda each: each.order)),
            events=view_builder.event_views(events) if events else (),
        )

    def _endpoint(self, key: Key, deployment: Deployment) -> Endpoint:
        found = self._endpoints.get(key)
        if found is None:
            services = self._services.of(key)
            names = [key, *(Key(key.namespace, each.metadata.name) for each in services)]
            found = endpoint.resolve(
                deployment,
                services,
                _leading(self._http_routes, names),
                _leading(self._virtual_services, names),
                _leading(self._ingresses, names),
                self._default_host,
            )
            if not found.source.startswith("Ingress "):
                # Only an Ingress says itself whether it answers to https; for the others, which
                # leave that to their gateway, the settings know.
                url = found.url.replace("https://", f"{self._scheme}://", 1)
                found = replace(found, url=url)
            self._endpoints[key] = found
        return found


R = TypeVar("R", HTTPRoute, VirtualService, Ingress)


def _leading(routes: Related[R, Key], names: list[Key]) -> list[R]:
    """Routes to Services of these names, each once, in an order that does not depend on theirs."""
    found = {identity(route): route for name in names for route in routes.about(name)}
    return [found[uid] for uid in sorted(found)]


def _target(scaler: ScaledObject | HorizontalPodAutoscaler) -> tuple[Key, ...]:
    """The Deployment that a scaler scales."""
    target = scaler.spec.scale_target_ref
    if target.kind != "Deployment":
        return ()
    return (Key(scaler.metadata.namespace, target.name),)


def _is_old(replicaset: ReplicaSet, deployment: Deployment) -> bool:
    """Whether the ReplicaSet is of an older revision than the Deployment's current one."""
    revision = deployment.metadata.annotations.revision
    return replicaset.metadata.annotations.revision != revision
