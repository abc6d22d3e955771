"""The controllers of the demo cluster, as kube-controller-manager, scheduler and kubelet."""

from __future__ import annotations

from servedeck.demo.clock import Clock
from servedeck.demo.controllers import quota
from servedeck.demo.controllers.base import ControllerContext
from servedeck.demo.controllers.deployment import DeploymentController
from servedeck.demo.controllers.endpoints import EndpointsController
from servedeck.demo.controllers.event_recorder import EventRecorder
from servedeck.demo.controllers.garbage_collector import GarbageCollector
from servedeck.demo.controllers.gateway_keda import HTTPRouteController, ScaledObjectController
from servedeck.demo.controllers.kubelet.kubelet import Kubelet
from servedeck.demo.controllers.replica_history import ReplicaHistory
from servedeck.demo.controllers.replicaset import ReplicaSetController
from servedeck.demo.controllers.scheduler import Scheduler
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads.traffic import Traffic

__all__ = ["ControllerManager"]


class ControllerManager:
    """All controllers of one store. They act when the clock moves."""

    def __init__(self, store: ObjectStore, clock: Clock, seed: int = 0) -> None:
        self.recorder = EventRecorder(store, clock)
        self.traffic = Traffic(seed)
        context = ControllerContext(store, clock, self.recorder, seed)
        store.admission.append(quota.admit_pod)
        self.deployments = DeploymentController(context)
        self.replicasets = ReplicaSetController(context)
        self.scheduler = Scheduler(context)
        self.kubelet = Kubelet(context, self.traffic)
        self.replica_history = ReplicaHistory(store, clock)
        self._others = (
            EndpointsController(context),
            quota.QuotaController(context),
            HTTPRouteController(context),
            ScaledObjectController(context),
            GarbageCollector(context),
        )

    def resync(self) -> None:
        """Reconciles a store that was loaded from a saved state."""
        self.recorder.resume()
        for controller in (self.deployments, self.replicasets, self.scheduler, self.kubelet):
            controller.resync()
        self.replica_history.resync()
        for other in self._others:
            other.resync()
