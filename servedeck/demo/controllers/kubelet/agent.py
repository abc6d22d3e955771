"""The kubelets of all nodes in one: a worker for each Pod that is bound to a node."""

from __future__ import annotations

from servedeck.demo.clock import Timer
from servedeck.demo.controllers.base import Context, key_of
from servedeck.demo.controllers.kubelet.container import ContainerWorker
from servedeck.demo.controllers.kubelet.pod import PodWorker
from servedeck.demo.resources import CONFIGMAPS, PODS, SECRETS
from servedeck.demo.store import Change, Json
from servedeck.demo.workloads.failure_simulation import Cause
from servedeck.demo.workloads.instance import Instance
from servedeck.demo.workloads.traffic import Traffic


class Kubelet:
    def __init__(self, context: Context, traffic: Traffic) -> None:
        self.store = context.store
        self.clock = context.clock
        self.recorder = context.recorder
        self.traffic = traffic
        self._workers: dict[str, PodWorker] = {}
        self._images: set[tuple[str, str]] = set()
        self._writes: dict[str, Timer] = {}
        context.store.subscribe(self._pod_changed, PODS)
        context.store.subscribe(self._config_changed, CONFIGMAPS)
        context.store.subscribe(self._config_changed, SECRETS)

    def resync(self) -> None:
        """Takes up the Pods that the store holds already."""
        for pod in self.store.list(PODS):
            if (
                not (pod.get("spec") or {}).get("nodeName")
                or pod["metadata"]["uid"] in self._workers
            ):
                continue
            worker = self._workers[pod["metadata"]["uid"]] = PodWorker(self, pod)
            worker.resume()
            if "deletionTimestamp" in pod["metadata"]:
                worker.end()

    # -- images on nodes ---------------------------------------------------------------------------

    def has_image(self, node: str, reference: str) -> bool:
        return (node, reference) in self._images

    def add_image(self, node: str, reference: str) -> None:
        self._images.add((node, reference))

    # -- for the workloads and the story -----------------------------------------------------------

    def container(self, uid: str, name: str) -> ContainerWorker | None:
        """The container of the Pod with this uid."""
        worker = self._workers.get(uid)
        if worker is None:
            return None
        return next((c for c in worker.containers if c.name == name), None)

    def instances(self, uid: str) -> list[Instance]:
        """What runs in the Pod now."""
        worker = self._workers.get(uid)
        if worker is None:
            return []
        return [c.instance for c in worker.containers if c.instance is not None and c.running]

    def crash(self, uid: str, cause: Cause) -> None:
        """Makes the Pod's first container die at once."""
        worker = self._workers.get(uid)
        if worker is not None and worker.main:
            worker.main[0].crash(cause)

    def hang(self, uid: str) -> None:
        """Makes the Pod's first container stop answering."""
        worker = self._workers.get(uid)
        if worker is not None and worker.main:
            worker.main[0].hang()

    # -- for the workers ---------------------------------------------------------------------------

    def write(self, worker: PodWorker) -> None:
        """Writes the Pod's status, once for all that changes at this moment."""
        if worker.uid not in self._writes:
            self._writes[worker.uid] = self.clock.after(0.0, lambda: self._write(worker))

    def _write(self, worker: PodWorker) -> None:
        self._writes.pop(worker.uid, None)
        pod = self.store.find(PODS, worker.namespace, worker.name)
        if pod is None or pod["metadata"]["uid"] != worker.uid:
            return
        status = worker.status(pod.get("status") or {}, self.clock.stamp())

        def write(obj: Json) -> None:
            obj["status"] = status

        self.store.mutate(PODS, *key_of(pod), write, "status")

    def remove(self, worker: PodWorker) -> None:
        """The last status, then the Pod goes."""
        pod = self.store.find(PODS, worker.namespace, worker.name)
        if pod is None or pod["metadata"]["uid"] != worker.uid:
            return
        self._write(worker)
        self.store.delete(PODS, *key_of(pod), grace=0)

    def share(self, container: ContainerWorker) -> None:
        if container.instance is not None:
            self.traffic.ready(
                container.pod.serving,
                container.instance.key,
                container.instance.share,
                self.clock.time(),
            )

    def unshare(self, container: ContainerWorker) -> None:
        if container.instance is not None:
            now = self.clock.time()
            self.traffic.gone(container.pod.serving, container.instance.key, now)

    # -- news --------------------------------------------------------------------------------------

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if change.type == "DELETED":
            if worker is not None:
                del self._workers[uid]
                worker.discard()
            return
        if worker is None:
            finished = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
            if (pod.get("spec") or {}).get("nodeName") and not finished:
                worker = self._workers[uid] = PodWorker(self, pod)
                worker.begin()
        if worker is None:
            return
        worker.object = pod
        if "deletionTimestamp" in pod["metadata"]:
            worker.end()
        elif _gates(change.old) != _gates(pod):
            self.write(worker)

    def _config_changed(self, change: Change) -> None:
        namespace = change.object["metadata"]["namespace"]
        for worker in list(self._workers.values()):
            if worker.namespace == namespace:
                worker.config_changed()


def _gates(pod: Json | None) -> list[tuple[str, str]]:
    """The conditions that somebody else sets for readiness gates."""
    wanted = {
        g.get("conditionType") for g in ((pod or {}).get("spec") or {}).get("readinessGates") or ()
    }
    conditions = ((pod or {}).get("status") or {}).get("conditions") or ()
    return [(c["type"], c["status"]) for c in conditions if c["type"] in wanted]
