"""The state of one container, its part of the Pod's status, and the one step it waits for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from servedeck.demo.clock import Clock, Timer
from servedeck.demo.controllers.kubelet.images import ResolvedImage
from servedeck.demo.controllers.kubelet.node_services import NodeServices, RecordEvent
from servedeck.demo.controllers.kubelet.pod_info import PodInfo
from servedeck.demo.event_messages import EventMessage
from servedeck.demo.store.objects import Json


class SingleTimer:
    """At most one pending call: a new one replaces the one before it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timer: Timer | None = None

    @property
    def pending(self) -> bool:
        return self._timer is not None

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        self.at(self._clock.time() + seconds, callback)

    def at(self, when: float, callback: Callable[[], None]) -> None:
        self.cancel()

        def run() -> None:
            self._timer = None
            callback()

        self._timer = self._clock.call_at(when, run)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@dataclass
class ContainerStateTracker:
    """What `containerStatuses` says of one container. `instances`: how many have been started
    before the current one."""

    pod: PodInfo
    name: str
    configured_image: str
    state: Json = field(default_factory=dict)
    last_state: Json = field(default_factory=dict)
    restarts: int = 0
    instances: int = 0
    ready: bool = False
    started: bool = False
    image: ResolvedImage = field(default_factory=lambda: ResolvedImage(""))

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def has_run(self) -> bool:
        return bool(self.last_state) or self.running or "terminated" in self.state

    @property
    def waiting_reason(self) -> str:
        return str(self.state.get("waiting", {}).get("reason", ""))

    @property
    def exit_code(self) -> int | None:
        terminated = self.state.get("terminated")
        return None if terminated is None else int(terminated["exitCode"])

    @property
    def container_id(self) -> str:
        text = f"{self.pod.uid}/{self.name}/{self.instances}"
        return f"containerd://{hashlib.sha256(text.encode()).hexdigest()}"

    def set_waiting(self, reason: str, message: str = "") -> bool:
        """Whether that changes the state."""
        waiting = {"reason": reason} | ({"message": message} if message else {})
        if self.state == {"waiting": waiting}:
            return False
        self._keep_last_state()
        self.state = {"waiting": waiting}
        return True

    def set_running(self, started_at: str) -> None:
        self._keep_last_state()
        self.state = {"running": {"startedAt": started_at}}

    def _keep_last_state(self) -> None:
        if "terminated" in self.state:
            self.last_state = {"terminated": self.state["terminated"]}

    def to_json(self) -> Json:
        """As core/v1 ContainerStatus."""
        status: Json = {
            "name": self.name,
            "state": self.state or {"waiting": {"reason": self.pod.initial_reason}},
            "lastState": self.last_state,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self.image.reference or self.configured_image
            if self.has_run
            else self.configured_image,
            "imageID": self.image.digest if self.has_run else "",
            "started": self.started,
        }
        if self.has_run:
            status["containerID"] = self.container_id
        return status


class ContainerContext:
    """One container of a Pod, as its image puller and its worker share it. `on_change` is called
    when the container's status has changed."""

    def __init__(
        self,
        services: NodeServices,
        pod: PodInfo,
        spec: Json,
        *,
        init: bool,
        record: RecordEvent,
        on_change: Callable[[], None],
    ) -> None:
        self.services = services
        self.pod = pod
        self.spec = spec
        self.name = str(spec["name"])
        self.init = init
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        self.status = ContainerStateTracker(pod, self.name, str(spec.get("image") or ""))
        self.next_step = SingleTimer(services.clock)
        self._record = record
        self.on_change = on_change

    @property
    def now(self) -> float:
        return self.services.clock.time()

    def wait(self, reason: str, message: str = "") -> None:
        """Puts the container into the state "waiting"."""
        if self.status.set_waiting(reason, message):
            self.on_change()

    def event(self, message: EventMessage, /, **values: object) -> None:
        """Records an Event about this container."""
        field_name = "initContainers" if self.init else "containers"
        path = f"spec.{field_name}{{{self.name}}}"
        self._record(message, path=path, container=self.name, **values)
