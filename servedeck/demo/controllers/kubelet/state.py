"""What is known of a container at each moment, and how it reaches the Pod's status."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from servedeck.demo.clock import Timer
from servedeck.demo.controllers.kubelet import images
from servedeck.demo.controllers.kubelet.probes import Probe
from servedeck.demo.event_messages import Word
from servedeck.demo.store import Json
from servedeck.demo.workloads.instance import Instance

if TYPE_CHECKING:
    from servedeck.demo.controllers.kubelet.pod import PodWorker


class ContainerState:
    """State, last state and counts of one container, and the one step that it waits for."""

    def __init__(self, pod: PodWorker, spec: Json, *, init: bool) -> None:
        self.pod = pod
        self.spec = spec
        self.name = str(spec["name"])
        self.init = init
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        self.state: Json = {}
        self.last: Json = {}
        self.restarts = 0
        self.ready = False
        self.started = False
        self.instance: Instance | None = None
        self.previous: Instance | None = None
        self._ports: dict[str, int] = {
            port["name"]: int(port.get("containerPort") or 0)
            for port in spec.get("ports") or ()
            if port.get("name")
        }
        self._store, self._clock = pod.kubelet.store, pod.kubelet.clock
        self._image = images.Image("")
        self._number = 0
        self._crash_backoff = 0.0
        self._crash_since = 0.0
        self._env: dict[str, str] = {}
        self._step: Timer | None = None
        self._death: Timer | None = None
        self._probes: list[Probe] = []

    # -- what the Pod's status says ----------------------------------------------------------------

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    @property
    def latest(self) -> Instance | None:
        """The instance whose log is the container's: the one that runs, or the last that did."""
        return self.instance

    @property
    def before(self) -> Instance | None:
        """The instance before that, or while none runs the last that ended."""
        waits = "waiting" in self.state and "terminated" in self.last
        return self.instance if waits else self.previous

    def status(self) -> Json:
        image = str(self.spec.get("image") or "")
        waiting = {"waiting": {"reason": self.pod.creating}}
        found: Json = {
            "name": self.name,
            "state": self.state or waiting,
            "lastState": self.last,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self._image.reference or image if self._has_run else image,
            "imageID": self._image.digest if self._has_run else "",
            "started": self.started,
        }
        if self._has_run:
            found["containerID"] = self._id(self._number)
        return found

    @property
    def _has_run(self) -> bool:
        return bool(self.last) or "running" in self.state or "terminated" in self.state

    # -- helpers -----------------------------------------------------------------------------------

    def _wait(self, reason: str, message: str = "") -> None:
        waiting = {"reason": reason} | ({"message": message} if message else {})
        if self.state != {"waiting": waiting}:
            if "terminated" in self.state:
                self.last = {"terminated": self.state["terminated"]}
            self.state = {"waiting": waiting}
            self.pod.changed()

    def _later(self, delay: float, then: object) -> None:
        assert callable(then)
        self._cancel_step()

        def run() -> None:
            self._step = None
            then()

        self._step = self._clock.after(delay, run)

    def _cancel_step(self) -> None:
        if self._step is not None:
            self._step.cancel()
            self._step = None

    def _stop_probes(self) -> None:
        for probe in self._probes:
            probe.stop()
        self._probes.clear()

    def _event(self, word: Word, **values: object) -> None:
        self.pod.event(word, self.name, init=self.init, **values)

    def _id(self, number: int) -> str:
        text = f"{self.pod.uid}/{self.name}/{number}"
        return f"containerd://{hashlib.sha256(text.encode()).hexdigest()}"
