"""One container of a Pod on its node: created, started, probed, restarted.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go, and client-go
util/flowcontrol/backoff.go for the back-off.
"""

from __future__ import annotations

from dataclasses import replace

from servedeck.demo import event_messages
from servedeck.demo.clock import seconds, stamp
from servedeck.demo.controllers.kubelet import images
from servedeck.demo.controllers.kubelet.environment import MissingConfigError, environment
from servedeck.demo.controllers.kubelet.probes import Probe
from servedeck.demo.controllers.kubelet.pulling import BACKOFF_FIRST, BACKOFF_MOST, SYNC, Pulling
from servedeck.demo.store import Json
from servedeck.demo.workloads import failure_simulation, server
from servedeck.demo.workloads.failure_simulation import Cause, Plan
from servedeck.demo.workloads.instance import Instance
from servedeck.demo.workloads.log import Log

_RELIST = 1.0
"""Seconds until the kubelet sees that a container ended."""


class ContainerWorker(Pulling):
    """The whole life of a container, from its image to its last instance."""

    # -- the way up --------------------------------------------------------------------------------

    def _create(self) -> None:
        try:
            self._env = environment(self._store, self.pod.object, self.spec)
        except MissingConfigError as error:
            self._event(event_messages.FAILED, error=error)
            self._wait("CreateContainerConfigError", str(error))
            self._later(SYNC, self.begin)
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
        self._event(event_messages.CREATED)
        if self.instance.plan.cause is Cause.NO_PROGRAM:
            self._cannot_run(now)
            return
        self._event(event_messages.STARTED)
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
        plan = failure_simulation.plan(runs, pod.annotations, memory, pod.uid, number)
        if self.init and not self.sidecar:
            plan = Plan(None, 1.0 + (number + len(self.name)) % 4, 0, "Completed")
        return Instance(
            pod.namespace, pod.name, pod.uid, self.name, number, started, runs, plan,
            pod.kubelet.traffic.share(pod.serving, pod.load), pod.product, memory,
        )  # fmt: skip

    def _cannot_run(self, now: float) -> None:
        assert self.instance is not None
        text = event_messages.COMMAND_MISSING.format(command=self.instance.server.missing_program)
        self._event(event_messages.FAILED, error=text)
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
            self._event(event_messages.UNHEALTHY, probe=kind.capitalize(), output=output)

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
        self._event(event_messages.KILLING_UNHEALTHY, probe=probe)
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
        self._event(event_messages.KILLING)
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
        expired = finished - self._crash_since > 2 * BACKOFF_MOST
        fresh = not self._crash_backoff or expired
        if not fresh and now - finished < self._crash_backoff:
            self._crash_wait()
            self._event(
                event_messages.CRASH_BACKOFF,
                pod=self.pod.name,
                namespace=self.pod.namespace,
                uid=self.pod.uid,
            )
            self._later(finished + self._crash_backoff - now, lambda: self._restart(finished))
            return
        self._crash_backoff = BACKOFF_FIRST if fresh else min(BACKOFF_MOST, self._crash_backoff * 2)
        self._crash_since = now
        self.begin()

    def _crash_wait(self) -> None:
        self._wait(
            "CrashLoopBackOff",
            event_messages.CRASH_WAITING.format(
                delay=event_messages.go_duration(self._crash_backoff),
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
        self._crash_backoff = min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** max(0, self.restarts - 1))
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
