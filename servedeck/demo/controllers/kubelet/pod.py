"""One Pod on its node: its volumes, its containers in their order, its status, its end.

Source: kubernetes pkg/kubelet/kubelet_pods.go, pkg/kubelet/status/generate.go.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from servedeck.demo import event_messages
from servedeck.demo.clock import Timer
from servedeck.demo.controllers.base import condition, controller_of
from servedeck.demo.controllers.kubelet.container import ContainerWorker
from servedeck.demo.controllers.kubelet.environment import missing_volumes
from servedeck.demo.event_messages import Word
from servedeck.demo.resources import NODES
from servedeck.demo.store import Json
from servedeck.demo.workloads import failure_simulation
from servedeck.serving.objects.records import SERVING_LABEL

if TYPE_CHECKING:
    from servedeck.demo.controllers.kubelet.agent import Kubelet

_MOUNT_FIRST = 0.5
_MOUNT_MOST = 122.0


class PodWorker:
    def __init__(self, kubelet: Kubelet, pod: Json) -> None:
        self.kubelet = kubelet
        self.object = pod
        meta = pod["metadata"]
        self.namespace, self.name, self.uid = meta["namespace"], meta["name"], meta["uid"]
        self.spec: Json = pod["spec"]
        self.node = str(self.spec.get("nodeName") or "")
        self.annotations: dict[str, str] = meta.get("annotations") or {}
        labels = meta.get("labels") or {}
        owner = controller_of(pod) or {}
        name = labels.get(SERVING_LABEL) or labels.get("app") or owner.get("name") or self.name
        self.serving = f"{self.namespace}/{name}"
        self.load = _number(self.annotations.get(failure_simulation.LOAD))
        node = kubelet.store.find(NODES, "", self.node) or {"metadata": {}}
        node_labels = node["metadata"].get("labels") or {}
        self.product = str(
            node_labels.get("nvidia.com/gpu.product")
            or node_labels.get("furiosa.ai/npu.product")
            or ""
        )
        self.init = [
            ContainerWorker(self, c, init=True) for c in self.spec.get("initContainers") or ()
        ]
        self.main = [
            ContainerWorker(self, c, init=False) for c in self.spec.get("containers") or ()
        ]
        rng = random.Random(f"{self.uid}/address")  # noqa: S311 - an address, not a secret
        self.address = f"10.42.{rng.randint(1, 200)}.{rng.randint(2, 250)}"
        self._host_address = _address(node)
        self._mounted = False
        self._mount_delay = 0.0
        self._timer: Timer | None = None
        self._ending = False
        self._started = kubelet.clock.stamp()

    @property
    def containers(self) -> list[ContainerWorker]:
        return [*self.init, *self.main]

    @property
    def creating(self) -> str:
        """What a container waits for that has not run yet."""
        return "PodInitializing" if self.init else "ContainerCreating"

    # -- the way up --------------------------------------------------------------------------------

    def begin(self) -> None:
        rng = random.Random(f"{self.uid}/begin")  # noqa: S311 - a moment, not a secret
        self._timer = self.kubelet.clock.after(0.4 + rng.random(), self._mount)
        self.changed()

    def _mount(self) -> None:
        missing = list(missing_volumes(self.kubelet.store, self.object))
        if not missing:
            self._mounted = True
            self._next()
            return
        for volume, kind, name in missing:
            self.event(event_messages.MOUNT_FAILED, volume=volume, kind=kind, name=name)
        self._mount_delay = min(_MOUNT_MOST, self._mount_delay * 2 or _MOUNT_FIRST)
        self._timer = self.kubelet.clock.after(self._mount_delay, self._mount)

    def _next(self) -> None:
        """Starts the init container that is due, or all others."""
        for container in self.init:
            if container.sidecar and container.started:
                continue
            if not container.sidecar and container.exit_code == 0:
                continue
            if not container.state and container.instance is None:
                container.begin()
            return
        for container in self.main:
            if not container.state and container.instance is None:
                container.begin()

    def resume(self) -> None:
        """Goes on from a saved status."""
        status = self.object.get("status") or {}
        self.address = status.get("podIP") or self.address
        self._started = status.get("startTime") or self._started
        found = {
            entry["name"]: entry
            for field in ("initContainerStatuses", "containerStatuses")
            for entry in status.get(field) or ()
        }
        ran = [c for c in self.containers if _has_run(found.get(c.name) or {})]
        if not ran:
            self.begin()
            return
        self._mounted = True
        for container in ran:
            container.resume(found[container.name])
        self._next()

    def config_changed(self) -> None:
        if not self._mounted and self._timer is not None and not self._ending:
            self._timer.cancel()
            self._timer = self.kubelet.clock.after(0.5, self._mount)
        for container in self.containers:
            container.config_changed()

    # -- the end -----------------------------------------------------------------------------------

    def end(self) -> None:
        """The Pod was asked to go: its containers stop, then it does."""
        if self._ending:
            return
        self._ending = True
        if self._timer is not None:
            self._timer.cancel()
        meta = self.object["metadata"]
        longest = max((container.stop() for container in self.containers), default=0.0)
        grace = float(meta.get("deletionGracePeriodSeconds") or 0)
        self._timer = self.kubelet.clock.after(min(longest, grace) + 0.3, self._ended)
        for container in self.containers:
            self.kubelet.unshare(container)

    def _ended(self) -> None:
        for container in self.containers:
            container.stopped()
        self.kubelet.remove(self)

    def discard(self) -> None:
        """The Pod is gone from the API."""
        self._ending = True
        if self._timer is not None:
            self._timer.cancel()
        for container in self.containers:
            container.discard()

    # -- what the containers tell ------------------------------------------------------------------

    def changed(self) -> None:
        """A container changed: the next init container may be due, the status is written."""
        if self.init and self._mounted and not self._ending:
            self.kubelet.clock.after(0.0, self._advance)
        self.kubelet.write(self)

    def _advance(self) -> None:
        if not self._ending:
            self._next()

    def share_traffic(self, container: ContainerWorker) -> None:
        if container in self.main[:1]:
            if container.ready and not self._ending:
                self.kubelet.share(container)
            else:
                self.kubelet.unshare(container)

    def event(
        self, word: Word, container: str = "", *, init: bool = False, **values: object
    ) -> None:
        field = "initContainers" if init else "containers"
        path = f"spec.{field}{{{container}}}" if container else ""
        # values may name the container too
        named = {"container": container, **values} if container else values
        self.kubelet.recorder.event(self.object, word, path=path, host=self.node, **named)

    # -- status ------------------------------------------------------------------------------------

    def status(self, old: Json, stamp: str) -> Json:
        """The whole status, with times of transition kept from `old`."""
        ready = all(container.ready for container in self.main)
        initialized = all(c.started if c.sidecar else c.exit_code == 0 for c in self.init)
        unready = [c.name for c in self.main if not c.ready]
        uninitialized = [
            c.name for c in self.init if not (c.sidecar and c.started) and c.exit_code != 0
        ]
        phase = self._phase()
        generation = self.object["metadata"].get("generation", 1)
        conditions: list[Json] = []

        def add(type_: str, value: bool, reason: str = "", message: str = "") -> None:
            known = condition({"status": old}, type_)
            text = str(value)
            since = known["lastTransitionTime"] if known and known["status"] == text else stamp
            entry: Json = {
                "type": type_,
                "observedGeneration": generation,
                "status": text,
                "lastProbeTime": None,
                "lastTransitionTime": since,
            }
            if not value:
                entry |= {"reason": reason} | ({"message": message} if message else {})
            conditions.append(entry)

        gates = self._gates(old)
        add("PodReadyToStartContainers", self._mounted)
        listed = " ".join(uninitialized)
        add(
            "Initialized",
            initialized,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{listed}]",
        )
        text = f"containers with unready status: [{' '.join(unready)}]"
        if ready and gates:
            add("Ready", False, "ReadinessGatesNotReady", gates)
        else:
            add("Ready", ready, "ContainersNotReady", text)
        add("ContainersReady", ready, "ContainersNotReady", text)
        add("PodScheduled", True)
        mine = {entry["type"] for entry in conditions}
        others = [c for c in old.get("conditions") or () if c["type"] not in mine]
        found: Json = {
            "observedGeneration": generation,
            "phase": phase,
            "conditions": [*others, *conditions],
            "hostIP": self._host_address,
            "hostIPs": [{"ip": self._host_address}],
            "startTime": self._started,
            "containerStatuses": [container.status() for container in self.main],
            "qosClass": old.get("qosClass", "Burstable"),
        }
        if self._mounted:
            found |= {"podIP": self.address, "podIPs": [{"ip": self.address}]}
        if self.init:
            found["initContainerStatuses"] = [container.status() for container in self.init]
        return found

    def _phase(self) -> str:
        policy = self.spec.get("restartPolicy") or "Always"
        if any(c.exit_code not in (None, 0) for c in self.init) and policy == "Never":
            return "Failed"
        ended = [c.exit_code for c in self.main if c.exit_code is not None]
        if len(ended) == len(self.main) and policy != "Always":
            return "Failed" if any(ended) else "Succeeded"
        if all(c.state.keys() & {"running", "terminated"} or c.last for c in self.main):
            return "Running"
        return "Pending"

    def _gates(self, old: Json) -> str:
        """Why the readiness gates hold the Pod back, "" where they do not."""
        for gate in self.spec.get("readinessGates") or ():
            name = gate.get("conditionType", "")
            known = condition({"status": old}, name)
            if known is None:
                return f'corresponding condition of pod readiness gate "{name}" does not exist.'
            if known["status"] != "True":
                value = known["status"]
                return f'the status of pod readiness gate "{name}" is not "True", but {value}'
        return ""


def _has_run(status: Json) -> bool:
    return bool(status.get("lastState")) or bool(
        (status.get("state") or {}).keys() & {"running", "terminated"}
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _address(node: Json) -> str:
    for entry in (node.get("status") or {}).get("addresses") or ():
        if entry.get("type") == "InternalIP":
            return str(entry.get("address"))
    return "10.20.0.1"
