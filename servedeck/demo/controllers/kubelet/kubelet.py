"""The kubelets of all nodes in one object: a worker for each Pod that is bound to a node."""

from __future__ import annotations

from functools import partial

from servedeck.demo.clock import Timer
from servedeck.demo.controllers.base import ControllerContext
from servedeck.demo.controllers.kubelet.container_worker import ContainerWorker
from servedeck.demo.controllers.kubelet.node_services import NodeServices
from servedeck.demo.controllers.kubelet.pod_worker import PodWorker
from servedeck.demo.resources import CONFIGMAPS, PODS, SECRETS
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of
from servedeck.demo.workloads.failure_simulation import FailureCause
from servedeck.demo.workloads.instance import HotSpell, SimulatedInstance
from servedeck.demo.workloads.instance_history import InstanceHistory
from servedeck.demo.workloads.traffic import Traffic


class Kubelet:
    """Runs the Pods of the store. Workers are known by the uid of their Pod."""

    def __init__(self, context: ControllerContext, traffic: Traffic) -> None:
        self._store = context.store
        self._clock = context.clock
        self._isolation = context.isolation
        self._services = NodeServices(context.store, context.clock, context.recorder, traffic)
        self._workers: dict[str, PodWorker] = {}
        self._pending_writes: dict[str, Timer] = {}
        context.store.subscribe(self._pod_changed, PODS)
        context.store.subscribe(self._config_changed, CONFIGMAPS)
        context.store.subscribe(self._config_changed, SECRETS)

    def resync(self) -> None:
        """Resumes the Pods that the store already holds."""
        for pod in self._store.list(PODS):
            if not (pod.get("spec") or {}).get("nodeName"):
                continue
            if pod["metadata"]["uid"] in self._workers:
                continue
            self._isolation(partial(self._resume, pod))

    def _resume(self, pod: Json) -> None:
        worker = self._add_worker(pod)
        worker.resume()
        if "deletionTimestamp" in pod["metadata"]:
            worker.stop()

    def _add_worker(self, pod: Json) -> PodWorker:
        uid: str = pod["metadata"]["uid"]
        worker = PodWorker(
            self._services,
            pod,
            on_change=lambda: self._schedule_write(uid),
            on_stopped=lambda: self._delete_pod(uid),
        )
        self._workers[uid] = worker
        return worker

    # -- for the workloads and the scenario -------------------------------------------------------

    def container(self, uid: str, name: str) -> ContainerWorker | None:
        """The container of the Pod with this uid."""
        worker = self._workers.get(uid)
        if worker is None:
            return None
        return next((c for c in worker.containers if c.name == name), None)

    @property
    def history(self) -> InstanceHistory:
        """What runs and has run lately."""
        return self._services.history

    def pods(self, namespace: str) -> list[Json]:
        """The Pods of a namespace."""
        return self._store.list(PODS, namespace)

    def instances(self, uid: str) -> list[SimulatedInstance]:
        """What runs in the Pod now."""
        worker = self._workers.get(uid)
        if worker is None:
            return []
        return [c.instance for c in worker.containers if c.instance is not None and c.running]

    def crash(self, uid: str, cause: FailureCause) -> None:
        """Makes the Pod's main container die."""
        container = self._main_container(uid)
        if container is not None:
            container.crash(cause)

    def hang(self, uid: str) -> None:
        """Makes the Pod's main container stop answering."""
        container = self._main_container(uid)
        if container is not None:
            container.hang()

    def heat(self, uid: str) -> None:
        """Makes the accelerators of the Pod's main container hot for a few minutes."""
        container = self._main_container(uid)
        if container is not None and container.instance is not None:
            container.instance.hot_spells.append(HotSpell(self._clock.time()))

    def _main_container(self, uid: str) -> ContainerWorker | None:
        worker = self._workers.get(uid)
        return None if worker is None else worker.main_container

    # -- writes -----------------------------------------------------------------------------------

    def _schedule_write(self, uid: str) -> None:
        """Writes the Pod's status once for all changes of this moment."""
        if uid not in self._pending_writes:
            self._pending_writes[uid] = self._clock.call_later(0.0, lambda: self._write(uid))

    def _write(self, uid: str) -> None:
        self._pending_writes.pop(uid, None)
        worker, key = self._workers.get(uid), self._stored_key(uid)
        if worker is None or key is None:
            return
        pod = self._store.get(PODS, *key)
        status = worker.status(pod.get("status") or {}, self._clock.timestamp())

        def write(obj: Json) -> None:
            obj["status"] = status

        self._store.mutate(PODS, *key, write, "status")

    def _delete_pod(self, uid: str) -> None:
        """Writes the last status, then deletes the Pod."""
        self._write(uid)
        key = self._stored_key(uid)
        if key is not None:
            self._store.delete(PODS, *key, grace=0)

    def _stored_key(self, uid: str) -> Key | None:
        """The store's key of the worker's Pod; None where it was deleted or another Pod has its
        name."""
        worker = self._workers.get(uid)
        if worker is None:
            return None
        pod = self._store.find(PODS, worker.info.namespace, worker.info.name)
        return key_of(pod) if pod is not None and pod["metadata"]["uid"] == uid else None

    # -- changes ----------------------------------------------------------------------------------

    def _pod_changed(self, change: StoreChange) -> None:
        pod = change.object
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if change.type == "DELETED":
            if worker is not None:
                del self._workers[uid]
                worker.discard()
                self.history.end_pod(uid, self._clock.time())
            return
        if worker is None:
            finished = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
            if (pod.get("spec") or {}).get("nodeName") and not finished:
                worker = self._add_worker(pod)
                worker.start()
        if worker is None:
            return
        worker.object = pod
        if "deletionTimestamp" in pod["metadata"]:
            worker.stop()
        elif _gate_conditions(change.old) != _gate_conditions(pod):
            worker.gates_changed()
            self._schedule_write(uid)

    def _config_changed(self, change: StoreChange) -> None:
        namespace = change.object["metadata"]["namespace"]
        for worker in list(self._workers.values()):
            if worker.info.namespace == namespace:
                worker.config_changed()


def _gate_conditions(pod: Json | None) -> list[tuple[str, str]]:
    """(type, status) of the conditions that others set for readiness gates."""
    gates = ((pod or {}).get("spec") or {}).get("readinessGates") or ()
    wanted = {one.get("conditionType", "") for one in gates}
    conditions = ((pod or {}).get("status") or {}).get("conditions") or ()
    found = [(c.get("type", ""), c.get("status", "")) for c in conditions]
    return [one for one in found if one[0] in wanted]
