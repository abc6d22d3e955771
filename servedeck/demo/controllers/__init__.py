"""The controllers of the demo cluster, as kube-controller-manager, scheduler and kubelet."""

from __future__ import annotations

from servedeck.demo.api.validation.scaling_validation import admit_scaled_object
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import quota
from servedeck.demo.controllers.autoscaling.autoscaler import HorizontalAutoscaler
from servedeck.demo.controllers.autoscaling.keda_operator import KedaOperator
from servedeck.demo.controllers.autoscaling.metric_proposals import MetricReader
from servedeck.demo.controllers.autoscaling.metric_sources import MetricSources
from servedeck.demo.controllers.base import ControllerContext
from servedeck.demo.controllers.deployment import DeploymentController
from servedeck.demo.controllers.endpoints import EndpointsController
from servedeck.demo.controllers.event_recorder import EventRecorder
from servedeck.demo.controllers.garbage_collector import GarbageCollector
from servedeck.demo.controllers.gateway import (
    BackendTrafficPolicyController,
    HTTPRouteController,
)
from servedeck.demo.controllers.kubelet.kubelet import Kubelet
from servedeck.demo.controllers.replicaset import ReplicaSetController
from servedeck.demo.controllers.scheduler import Scheduler
from servedeck.demo.controllers.traffic_routing import TrafficRouting
from servedeck.demo.faults import Isolation, call_directly
from servedeck.demo.prometheus.query_engine import QueryEngine
from servedeck.demo.prometheus.replica_history import ReplicaHistory
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads.traffic import Traffic

__all__ = ["ControllerManager"]


class ControllerManager:
    """All controllers of one store. They act when the clock moves. What they do with a store that
    was loaded goes through `isolation`, Pod by Pod for the kubelet."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        seed: int = 0,
        *,
        isolation: Isolation = call_directly,
    ) -> None:
        self._isolation = isolation
        self.recorder = EventRecorder(store, clock)
        self.traffic = Traffic(seed)
        context = ControllerContext(store, clock, self.recorder, seed, isolation)
        quota_usage = quota.QuotaUsage(store)
        store.admission += [quota_usage.admit_pod, admit_scaled_object]
        self.deployments = DeploymentController(context)
        self.replicasets = ReplicaSetController(context)
        self.scheduler = Scheduler(context)
        self.kubelet = Kubelet(context, self.traffic)
        self.replica_history = ReplicaHistory(store, clock)
        self.query_engine = QueryEngine(self.kubelet.history, self.replica_history, clock)
        self.metric_sources = MetricSources(store, clock, self.kubelet, self.query_engine)
        keda = KedaOperator(context, self.metric_sources)
        reader = MetricReader(keda.external_metric, self.metric_sources.usage)
        self._others = (
            EndpointsController(context),
            quota.QuotaController(context, quota_usage),
            HTTPRouteController(context),
            BackendTrafficPolicyController(context),
            TrafficRouting(context, self.traffic),
            keda,
            HorizontalAutoscaler(context, reader),
            GarbageCollector(context),
        )

    def resync(self) -> None:
        """Reconciles a store that was loaded from a saved state."""
        for resync in (
            self.recorder.resume,
            self.deployments.resync,
            self.replicasets.resync,
            self.scheduler.resync,
            self.kubelet.resync,
            self.replica_history.resync,
            *(other.resync for other in self._others),
        ):
            self._isolation(resync)
