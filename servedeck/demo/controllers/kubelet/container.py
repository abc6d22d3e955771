"""One container of a Pod on its node: pulled, created, started, probed, restarted.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go, pkg/kubelet/images, and
client-go util/flowcontrol/backoff.go for the back-offs.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from servedeck.demo import words
from servedeck.demo.clock import Timer, seconds, stamp
from servedeck.demo.controllers.kubelet import images
from servedeck.demo.controllers.kubelet.environment import MissingConfigError, environment
from servedeck.demo.controllers.kubelet.probes import Probe
from servedeck.demo.store import Json
from servedeck.demo.words import Word
from servedeck.demo.workloads import behaviour, server
from servedeck.demo.workloads.behaviour import Cause, Plan
from servedeck.demo.workloads.instance import Instance
from servedeck.demo.workloads.log import Log

if TYPE_CHECKING:
    from servedeck.demo.controllers.kubelet.pod import PodWorker

_BACKOFF_FIRST = 10.0
_BACKOFF_MOST = 300.0
_SYNC = 12.0
"""Seconds until the kubelet looks at a Pod again that it could not bring up."""
_RELIST = 1.0
"""Seconds until the kubelet sees that a container ended."""


class ContainerWorker:
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
        self._pull_backoff = 0.0
        self._pull_error = ""
        self._env: dict[str, str] = {}
        self._step: Timer | None = None
        self._death: Timer | None = None
        self._probes: list[Probe] = []

    # -- what the Pod's status says ----------------------------------------------------------------

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def finished(self) -> bool:
        return "terminated" in self.state and self._step is None

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

    # -- the way up --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Brings the container up; also called again by what made it wait."""
        self._cancel_step()
        image = str(self.spec.get("image") or "")
        secret = bool(self.pod.spec.get("imagePullSecrets"))
        self._image = images.find(image, secret=secret)
        if not self._image.reference:
            self._event(words.INSPECT_FAILED, image=image)
            self._event(words.FAILED, error="InvalidImageName")
            text = words.IMAGE_NAME_INVALID.format(image=image)
            self._wait("InvalidImageName", text)
            self._later(_SYNC * 5, self.begin)
            return
        policy = self.spec.get("imagePullPolicy") or (
            "Always" if image.endswith(":latest") else "IfNotPresent"
        )
        present = self.pod.kubelet.has_image(self.pod.node, self._image.reference)
        if policy == "Never" and not present:
            self._event(words.NEVER_PULL, image=image)
            self._event(words.FAILED, error="ErrImageNeverPull")
            self._wait("ErrImageNeverPull", words.NEVER_PULL.text.format(image=image))
            self._later(_SYNC * 5, self.begin)
        elif present and policy != "Always":
            self._event(words.IMAGE_PRESENT, image=image)
            self._create()
        else:
            self._pull(image, present=present)

    def _pull(self, image: str, *, present: bool) -> None:
        self._event(words.PULLING, image=image)
        if not self.state:
            self._wait(self.pod.creating)
        told = behaviour.duration(self.pod.annotations.get(behaviour.PULL))
        took = told if told is not None else self._image.seconds
        took = 0.9 if present and not self._image.error else took

        def done() -> None:
            if self._image.error:
                self._pull_failed(image)
                return
            self._pull_backoff = 0.0
            self._event(
                words.PULLED,
                image=image,
                took=words.go_duration(round(took, 3)),
                size=self._image.size,
            )
            self.pod.kubelet.add_image(self.pod.node, self._image.reference)
            self._create()

        self._later(took, done)

    def _pull_failed(self, image: str) -> None:
        self._pull_error = self._image.error
        self._event(words.PULL_FAILED, image=image, error=self._pull_error)
        self._event(words.FAILED, error="ErrImagePull")
        self._wait("ErrImagePull", self._pull_error)
        self._pull_backoff = min(_BACKOFF_MOST, self._pull_backoff * 2 or _BACKOFF_FIRST)
        until = self._clock.time() + self._pull_backoff

        def back_off() -> None:
            if self._clock.time() >= until:
                self.begin()
                return
            self._event(words.PULL_BACKOFF, image=image)
            self._event(words.FAILED, error="ImagePullBackOff")
            text = words.PULL_WAITING.format(image=image, error=self._pull_error)
            self._wait("ImagePullBackOff", text)
            self._later(max(0.5, until - self._clock.time()), self.begin)

        self._later(min(_SYNC, self._pull_backoff) - 0.5, back_off)

    def _create(self) -> None:
        try:
            self._env = environment(self._store, self.pod.object, self.spec)
        except MissingConfigError as error:
            self._event(words.FAILED, error=error)
            self._wait("CreateContainerConfigError", str(error))
            self._later(_SYNC, self.begin)
            return
        self._later(0.3, self._start)

    def config_changed(self) -> None:
        """A ConfigMap or Secret of the namespace changed."""
        if self.state.get("waiting", {}).get("reason") == "CreateContainerConfigError":
            self._later(1.0, self.begin)

    def _start(self) -> None:
        self._cancel_step()
        now = self._clock.time()
        if self._has_run:
            self._number += 1
            self.restarts += 1
        self.previous, self.instance = self.instance or self.previous, self._instance(now)
        self._event(words.CREATED)
        if self.instance.plan.cause is Cause.NO_PROGRAM:
            self._cannot_run(now)
            return
        self._event(words.STARTED)
        if "terminated" in self.state:
            self.last = {"terminated": self.state["terminated"]}
        self.state = {"running": {"startedAt": stamp(now)}}
        self._run()
        self.pod.changed()

    def _instance(self, started: float, number: int | None = None) -> Instance:
        number = self._number if number is None else number
        pod = self.pod
        runs = server.read(self.spec, self._env)
        memory = server.gpu_memory(pod.product)
        plan = behaviour.plan(runs, pod.annotations, memory, pod.uid, number)
        if self.init and not self.sidecar:
            plan = Plan(None, 1.0 + (number + len(self.name)) % 4, 0, "Completed")
        return Instance(
            pod.namespace, pod.name, pod.uid, self.name, number, started, runs, plan,
            pod.kubelet.traffic.share(pod.serving, pod.load), pod.product, memory,
        )  # fmt: skip

    def _cannot_run(self, now: float) -> None:
        assert self.instance is not None
        text = words.COMMAND_MISSING.format(command=self.instance.server.missing_program)
        self._event(words.FAILED, error=text)
        self.instance.ended = now
        ended = {
            "exitCode": 128,
            "reason": "StartError",
            "message": text,
            "startedAt": stamp(0),
            "finishedAt": stamp(now),
            "containerID": self._id(self._number),
        }
        self.last = {"terminated": ended}
        self._wait("RunContainerError", text)
        self._later(_RELIST, lambda: self._restart(now))

    # -- running -----------------------------------------------------------------------------------

    def _run(self, *, started: bool = False, ready: bool = False) -> None:
        """Sets off what a running instance brings: its probes and its end."""
        assert self.instance is not None
        plan = self.instance.plan
        if plan.dies_after is not None:
            self._death = self._clock.at(self.instance.started + plan.dies_after, self._dies)
        self.started = started or "startupProbe" not in self.spec
        if self.started:
            self._after_startup(ready=ready)
        else:
            self._probe("startup", self._startup)

    def _after_startup(self, *, ready: bool = False) -> None:
        if "readinessProbe" in self.spec:
            self._probe("readiness", self._readiness, passed=ready)
            if ready:
                self._set_ready(True)
        else:
            self._set_ready(True)
        if "livenessProbe" in self.spec:
            self._probe("liveness", self._liveness, passed=ready)

    def _probe(self, kind: str, changed: object, *, passed: bool = False) -> None:
        assert self.instance is not None and callable(changed)

        def unhealthy(output: str) -> None:
            self._event(words.UNHEALTHY, probe=kind.capitalize(), output=output)

        probe = Probe(
            self._clock, self.spec[f"{kind}Probe"], self.instance, self.pod.address, self._ports,
            changed, unhealthy, passed=passed,
        )  # fmt: skip
        self._probes.append(probe)
        probe.start()

    def _startup(self, ok: bool) -> None:
        if not ok:
            self._kill_unhealthy("startup")
            return
        self._stop_probes()
        self.started = True
        self._after_startup()
        self.pod.changed()

    def _readiness(self, ok: bool) -> None:
        self._set_ready(ok)
        self.pod.changed()

    def _liveness(self, ok: bool) -> None:
        if not ok:
            self._kill_unhealthy("liveness")

    def _set_ready(self, ready: bool) -> None:
        self.ready = ready
        self.pod.share_traffic(self)

    # -- the end -----------------------------------------------------------------------------------

    def crash(self, cause: Cause) -> None:
        """Makes the running instance die at once, as an accident of the story."""
        if self.instance is None or not self.running:
            return
        after = self._clock.time() - self.instance.started + 1.0
        plan = self.instance.plan
        code, reason = (137, "OOMKilled") if cause is Cause.LEAK else (1, "Error")
        self.instance.plan = replace(
            plan, dies_after=after, exit_code=code, reason=reason, cause=cause
        )
        if self._death is not None:
            self._death.cancel()
        self._death = self._clock.after(1.0, self._dies)

    def hang(self) -> None:
        """Makes the running instance stop answering, as an accident of the story."""
        if self.instance is None or not self.ready:
            return
        elapsed = self._clock.time() - self.instance.started
        self.instance.plan = replace(self.instance.plan, hangs_at=elapsed)
        for probe in self._probes:
            probe.poke()

    def _dies(self) -> None:
        assert self.instance is not None
        self._exit(self.instance.plan.exit_code, self.instance.plan.reason)

    def _kill_unhealthy(self, probe: str) -> None:
        assert self.instance is not None
        self._event(words.KILLING_UNHEALTHY, probe=probe)
        self._stop_probes()
        self._set_ready(False)
        self.pod.changed()
        hangs = self.instance.plan.health(self._clock.time() - self.instance.started) != 200
        grace = float(self.pod.spec.get("terminationGracePeriodSeconds", 30))
        code = 137 if hangs else 143
        self.instance.killed = True
        self._later(grace if hangs else 2.0, lambda: self._exit(code, "Error"))

    def stop(self) -> float:
        """Asks the instance to end, because the Pod goes; seconds that it takes."""
        self._cancel_step()
        self._stop_probes()
        if self._death is not None:
            self._death.cancel()
        if self.instance is None or not self.running:
            return 0.0
        self._event(words.KILLING)
        self.instance.killed = True
        grace = float(self.pod.spec.get("terminationGracePeriodSeconds", 30))
        hangs = self.instance.plan.health(self._clock.time() - self.instance.started) == -1
        return grace if hangs else min(grace, 2.0 + self.instance.rng("stop").uniform(0.5, 3.0))

    def stopped(self) -> None:
        """The instance has ended because the Pod goes."""
        if self.running:
            self._exit(0, "Completed", restart=False)

    def discard(self) -> None:
        """The Pod is gone."""
        self._cancel_step()
        self._stop_probes()
        if self._death is not None:
            self._death.cancel()
        if self.instance is not None and self.instance.ended is None:
            self.instance.ended = self._clock.time()
        self._set_ready(False)

    def _exit(self, code: int, reason: str, *, restart: bool = True) -> None:
        assert self.instance is not None
        now = self._clock.time()
        self.instance.ended = now
        self._stop_probes()
        self._cancel_step()
        if self._death is not None:
            self._death.cancel()
        self._set_ready(False)
        self.started = False
        ended: Json = {
            "exitCode": code,
            "reason": reason,
            "startedAt": stamp(self.instance.started),
            "finishedAt": stamp(now),
            "containerID": self._id(self._number),
        }
        if code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            text = Log(self.instance).last_words()
            if text:
                ended["message"] = text
        self.state = {"terminated": ended}
        if restart and self._restarts(code):
            self._later(_RELIST, lambda: self._restart(now))
        self.pod.changed()

    def _restarts(self, code: int) -> bool:
        policy = self.pod.spec.get("restartPolicy") or "Always"
        if self.init and not self.sidecar:
            return code != 0 and policy != "Never"
        return policy == "Always" or self.sidecar or (policy == "OnFailure" and code != 0)

    def _restart(self, finished: float) -> None:
        """Starts again, or waits out the back-off (doBackOff)."""
        self._cancel_step()
        now = self._clock.time()
        expired = finished - self._crash_since > 2 * _BACKOFF_MOST
        fresh = not self._crash_backoff or expired
        if not fresh and now - finished < self._crash_backoff:
            self._crash_wait()
            self._event(
                words.CRASH_BACKOFF,
                pod=self.pod.name,
                namespace=self.pod.namespace,
                uid=self.pod.uid,
            )
            self._later(finished + self._crash_backoff - now, lambda: self._restart(finished))
            return
        self._crash_backoff = (
            _BACKOFF_FIRST if fresh else min(_BACKOFF_MOST, self._crash_backoff * 2)
        )
        self._crash_since = now
        self.begin()

    def _crash_wait(self) -> None:
        self._wait(
            "CrashLoopBackOff",
            words.CRASH_WAITING.format(
                delay=words.go_duration(self._crash_backoff),
                container=self.name,
                pod=self.pod.name,
                namespace=self.pod.namespace,
                uid=self.pod.uid,
            ),
        )

    # -- taking up what a saved state says ---------------------------------------------------------

    def resume(self, found: Json) -> None:
        """Goes on from the container's status in a saved state."""
        self.state, self.last = found.get("state") or {}, found.get("lastState") or {}
        self.restarts = self._number = int(found.get("restartCount") or 0)
        self._image = images.find(str(self.spec.get("image") or ""), secret=True)
        self._crash_backoff = min(_BACKOFF_MOST, _BACKOFF_FIRST * 2 ** max(0, self.restarts - 1))
        try:
            self._env = environment(self._store, self.pod.object, self.spec)
        except MissingConfigError:
            self._env = {}
        before = self.last.get("terminated")
        if before is not None:
            self.previous = self._instance(seconds(before["startedAt"]), max(0, self._number - 1))
            self.previous.ended = seconds(before["finishedAt"])
            self._crash_since = self.previous.ended
        running, ended = self.state.get("running"), self.state.get("terminated")
        reason = (self.state.get("waiting") or {}).get("reason")
        if running is not None:
            self.instance = self._instance(seconds(running["startedAt"]))
            self._run(started=bool(found.get("started")), ready=bool(found.get("ready")))
        elif ended is not None:
            self.instance = self._instance(seconds(ended["startedAt"]))
            self.instance.ended = seconds(ended["finishedAt"])
            if self._restarts(int(ended["exitCode"])):
                self._later(_RELIST, lambda: self._restart(seconds(ended["finishedAt"])))
        elif reason == "CrashLoopBackOff" and self.previous is not None:
            finished = self.previous.ended or self._clock.time()
            self.instance, self.previous = self.previous, None
            self._later(_RELIST, lambda: self._restart(finished))
        else:
            self.begin()

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
