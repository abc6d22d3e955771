"""One container of a Pod on its node: created, started, probed, restarted.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go, and client-go
util/flowcontrol/backoff.go for the back-off.
"""

from __future__ import annotations

from dataclasses import replace

from servedeck.demo import event_messages
from servedeck.demo.clock import Timer, format_timestamp, parse_timestamp
from servedeck.demo.controllers.kubelet import images
from servedeck.demo.controllers.kubelet.container_probes import ContainerProbes
from servedeck.demo.controllers.kubelet.container_state import ContainerContext
from servedeck.demo.controllers.kubelet.environment import MissingConfigError, resolve_environment
from servedeck.demo.controllers.kubelet.image_puller import (
    BACKOFF_INITIAL_SECONDS,
    BACKOFF_MAX_SECONDS,
    SYNC_SECONDS,
    ImagePuller,
)
from servedeck.demo.store.objects import Json
from servedeck.demo.workloads import failure_simulation, server_config
from servedeck.demo.workloads.failure_simulation import FailureCause, InstancePlan
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.instance_history import InstancePlace
from servedeck.demo.workloads.instance_log import InstanceLog

_RELIST_SECONDS = 1.0
"""Until the kubelet notices that a container ended."""


class ContainerWorker:
    """The life of a container, from the pull of its image to its last instance.

    `receives_traffic`: while it is ready, it gets its share of the serving's requests.
    """

    def __init__(self, container: ContainerContext, *, receives_traffic: bool) -> None:
        self._container = container
        self._status = container.status
        self._clock = container.services.clock
        self._puller = ImagePuller(container, self._create)
        self._probes = ContainerProbes(
            container, set_ready=self._set_ready, kill=self._kill_unhealthy
        )
        self._receives_traffic = receives_traffic
        self._gates_open = True
        self.instance: SimulatedInstance | None = None
        self._previous: SimulatedInstance | None = None
        self._env: dict[str, str] = {}
        self._crash_backoff = 0.0
        self._last_restart = 0.0
        self._exit_timer: Timer | None = None
        self._stopping = False

    # -- what the Pod and the nodes read ----------------------------------------------------------

    @property
    def name(self) -> str:
        return self._container.name

    @property
    def sidecar(self) -> bool:
        return self._container.sidecar

    @property
    def running(self) -> bool:
        return self._status.running

    @property
    def ready(self) -> bool:
        return self._status.ready

    @property
    def started(self) -> bool:
        return self._status.started

    @property
    def exit_code(self) -> int | None:
        return self._status.exit_code

    @property
    def is_unstarted(self) -> bool:
        """Whether the container has not been started yet."""
        return not self._status.state and self.instance is None

    @property
    def has_run(self) -> bool:
        return self._status.has_run

    @property
    def previous_instance(self) -> SimulatedInstance | None:
        """The instance before `instance`; while none runs, the last that ended."""
        waits = "waiting" in self._status.state and "terminated" in self._status.last_state
        return self.instance if waits else self._previous

    def status(self) -> Json:
        return self._status.to_json()

    # -- starting ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Pulls the image and starts the first instance."""
        self._puller.start()

    def _create(self) -> None:
        try:
            self._env = self.environment()
        except MissingConfigError as error:
            self._container.event(event_messages.FAILED, error=error)
            self._container.wait("CreateContainerConfigError", str(error))
            self._container.next_step.after(SYNC_SECONDS, self.start)
            return
        self._container.next_step.after(0.3, self._start_instance)

    def environment(self) -> dict[str, str]:
        container = self._container
        return resolve_environment(container.services.store, container.pod, container.spec)

    def config_changed(self) -> None:
        """A ConfigMap or Secret of the namespace changed."""
        if self._status.waiting_reason == "CreateContainerConfigError":
            self._container.next_step.after(1.0, self.start)

    def _start_instance(self) -> None:
        self._container.next_step.cancel()
        now = self._clock.time()
        if self._status.has_run:
            self._status.instances += 1
            self._status.restarts += 1
        self._previous = self.instance or self._previous
        instance = self.instance = self._new_instance(now, self._status.instances)
        self._container.event(event_messages.CREATED)
        if instance.plan.cause is FailureCause.NO_PROGRAM:
            self._fail_to_start(instance, now)
            return
        self._container.event(event_messages.STARTED)
        self._status.set_running(format_timestamp(now))
        self._watch_instance(instance)
        self._container.on_change()

    def _new_instance(self, started: float, number: int) -> SimulatedInstance:
        container, pod = self._container, self._container.pod
        config = server_config.parse_container(container.spec, self._env)
        memory = server_config.device_memory_gib(pod.accelerator)
        plan = failure_simulation.plan_instance(config, pod.annotations, memory, pod.uid, number)
        if container.init and not container.sidecar:
            plan = InstancePlan(None, 1.0 + (number + len(self.name)) % 4, 0, "Completed")
        instance = SimulatedInstance(
            namespace=pod.namespace,
            pod=pod.name,
            uid=pod.uid,
            container=self.name,
            number=number,
            started=started,
            server=config,
            plan=plan,
            traffic_share=container.services.traffic.new_share(pod.serving, pod.load),
            device=pod.accelerator,
            device_memory=memory,
        )
        place = InstancePlace(
            pod.node, pod.host_address, pod.address, pod.serving, self._status.image.reference
        )
        container.services.history.add(instance, place)
        return instance

    def _fail_to_start(self, instance: SimulatedInstance, now: float) -> None:
        message = event_messages.COMMAND_MISSING.format(command=instance.server.missing_program)
        self._container.event(event_messages.FAILED, error=message)
        instance.ended = now
        self._status.last_state = {
            "terminated": {
                "exitCode": 128,
                "reason": "StartError",
                "message": message,
                "startedAt": format_timestamp(0),
                "finishedAt": format_timestamp(now),
                "containerID": self._status.container_id,
            }
        }
        self._container.wait("RunContainerError", message)
        self._container.next_step.after(_RELIST_SECONDS, lambda: self._restart(now))

    # -- running ----------------------------------------------------------------------------------

    def _watch_instance(
        self, instance: SimulatedInstance, *, started: bool = False, ready: bool = False
    ) -> None:
        """Schedules the planned end of a running instance and starts its probes."""
        if instance.plan.exits_after is not None:
            when = instance.started + instance.plan.exits_after
            self._exit_timer = self._clock.call_at(when, self._end_as_planned)
        self._probes.start(instance, started=started, ready=ready)

    def _set_ready(self, ready: bool) -> None:
        self._status.ready = ready
        self._update_traffic()

    def set_gates_open(self, is_open: bool) -> None:
        """Whether all readiness gates of the Pod are met."""
        if is_open != self._gates_open:
            self._gates_open = is_open
            self._update_traffic()

    def _update_traffic(self) -> None:
        if not self._receives_traffic or self.instance is None:
            return
        traffic, serving = self._container.services.traffic, self._container.pod.serving
        if self._status.ready and self._gates_open and not self._stopping:
            traffic.add_instance(
                serving, self.instance.key, self.instance.traffic_share, self._clock.time()
            )
        else:
            traffic.remove_instance(serving, self.instance.key, self._clock.time())

    # -- ending -----------------------------------------------------------------------------------

    def crash(self, cause: FailureCause) -> None:
        """Makes the running instance die within a second, as an incident."""
        if self.instance is None or not self.running:
            return
        after = self._clock.time() - self.instance.started + 1.0
        code, reason = (137, "OOMKilled") if cause is FailureCause.LEAK else (1, "Error")
        self.instance.plan = replace(
            self.instance.plan, exits_after=after, exit_code=code, reason=reason, cause=cause
        )
        self._cancel_exit()
        self._exit_timer = self._clock.call_later(1.0, self._end_as_planned)

    def hang(self) -> None:
        """Makes the running instance stop answering, as an incident."""
        if self.instance is None or not self.ready:
            return
        elapsed = self._clock.time() - self.instance.started
        self.instance.plan = replace(self.instance.plan, hangs_at=elapsed)
        self._probes.reschedule()

    def _end_as_planned(self) -> None:
        assert self.instance is not None
        self._exit(self.instance.plan.exit_code, self.instance.plan.reason)

    def _cancel_exit(self) -> None:
        if self._exit_timer is not None:
            self._exit_timer.cancel()

    def _kill_unhealthy(self, probe: str) -> None:
        assert self.instance is not None
        self._container.event(event_messages.KILLING_UNHEALTHY, probe=probe)
        self._probes.stop()
        self._set_ready(False)
        self._container.on_change()
        hangs = self.instance.plan.health(self._clock.time() - self.instance.started) != 200
        code = 137 if hangs else 143
        self.instance.killed = True
        delay = self._container.pod.grace_seconds if hangs else 2.0
        self._container.next_step.after(delay, lambda: self._exit(code, "Error"))

    def stop(self) -> float:
        """Asks the instance to end because the Pod is being deleted; the seconds it takes."""
        self._stopping = True
        self._container.next_step.cancel()
        self._probes.stop()
        self._cancel_exit()
        self._update_traffic()
        if self.instance is None or not self.running:
            return 0.0
        self._container.event(event_messages.KILLING)
        self.instance.killed = True
        grace = self._container.pod.grace_seconds
        hangs = self.instance.plan.health(self._clock.time() - self.instance.started) == -1
        return grace if hangs else min(grace, 2.0 + self.instance.rng("stop").uniform(0.5, 3.0))

    def finish_stop(self) -> None:
        """The instance has ended because the Pod is being deleted."""
        if self.running:
            self._exit(0, "Completed", restart=False)

    def discard(self) -> None:
        """The Pod has been deleted."""
        self._stopping = True
        self._container.next_step.cancel()
        self._probes.stop()
        self._cancel_exit()
        if self.instance is not None and self.instance.ended is None:
            self.instance.ended = self._clock.time()
        self._set_ready(False)

    def _exit(self, code: int, reason: str, *, restart: bool = True) -> None:
        assert self.instance is not None
        now = self._clock.time()
        self.instance.ended = now
        self._probes.stop()
        self._container.next_step.cancel()
        self._cancel_exit()
        self._set_ready(False)
        self._status.started = False
        terminated: Json = {
            "exitCode": code,
            "reason": reason,
            "startedAt": format_timestamp(self.instance.started),
            "finishedAt": format_timestamp(now),
            "containerID": self._status.container_id,
        }
        policy = self._container.spec.get("terminationMessagePolicy")
        if code and policy == "FallbackToLogsOnError":
            message = InstanceLog(self.instance).termination_message()
            if message:
                terminated["message"] = message
        self._status.state = {"terminated": terminated}
        if restart and self._will_restart(code):
            self._container.next_step.after(_RELIST_SECONDS, lambda: self._restart(now))
        self._container.on_change()

    def _will_restart(self, code: int) -> bool:
        policy = self._container.pod.restart_policy
        if self._container.init and not self.sidecar:
            return code != 0 and policy != "Never"
        return policy == "Always" or self.sidecar or (policy == "OnFailure" and code != 0)

    def _restart(self, finished: float) -> None:
        """Starts again, or waits out the back-off (doBackOff)."""
        self._container.next_step.cancel()
        now = self._clock.time()
        expired = finished - self._last_restart > 2 * BACKOFF_MAX_SECONDS
        fresh = not self._crash_backoff or expired
        if not fresh and now - finished < self._crash_backoff:
            self._wait_for_backoff()
            delay = finished + self._crash_backoff - now
            self._container.next_step.after(delay, lambda: self._restart(finished))
            return
        self._crash_backoff = (
            BACKOFF_INITIAL_SECONDS if fresh else min(BACKOFF_MAX_SECONDS, self._crash_backoff * 2)
        )
        self._last_restart = now
        self.start()

    def _wait_for_backoff(self) -> None:
        pod = self._container.pod
        names = {"pod": pod.name, "namespace": pod.namespace, "uid": pod.uid}
        message = event_messages.CRASH_WAITING.format(
            delay=event_messages.format_go_duration(self._crash_backoff),
            container=self.name,
            **names,
        )
        self._container.wait("CrashLoopBackOff", message)
        self._container.event(event_messages.CRASH_BACKOFF, **names)

    # -- resuming from a saved state --------------------------------------------------------------

    def resume(self, saved: Json) -> None:
        """Resumes the container from its status in a saved state."""
        status = self._status
        status.state, status.last_state = saved.get("state") or {}, saved.get("lastState") or {}
        status.restarts = status.instances = int(saved.get("restartCount") or 0)
        status.image = images.resolve_image(
            str(self._container.spec.get("image") or ""), has_pull_secret=True
        )
        self._crash_backoff = min(
            BACKOFF_MAX_SECONDS, BACKOFF_INITIAL_SECONDS * 2 ** max(0, status.restarts - 1)
        )
        try:
            self._env = self.environment()
        except MissingConfigError:
            self._env = {}
        last = status.last_state.get("terminated")
        if last is not None:
            number = max(0, status.instances - 1)
            self._previous = self._new_instance(parse_timestamp(last["startedAt"]), number)
            self._previous.ended = parse_timestamp(last["finishedAt"])
            self._last_restart = self._previous.ended
        self._resume_state(saved)

    def _resume_state(self, saved: Json) -> None:
        running, terminated = (
            self._status.state.get("running"),
            self._status.state.get("terminated"),
        )
        number = self._status.instances
        if running is not None:
            self.instance = self._new_instance(parse_timestamp(running["startedAt"]), number)
            self._watch_instance(
                self.instance, started=bool(saved.get("started")), ready=bool(saved.get("ready"))
            )
        elif terminated is not None:
            finished = parse_timestamp(terminated["finishedAt"])
            self.instance = self._new_instance(parse_timestamp(terminated["startedAt"]), number)
            self.instance.ended = finished
            if self._will_restart(int(terminated["exitCode"])):
                self._container.next_step.after(_RELIST_SECONDS, lambda: self._restart(finished))
        elif self._status.waiting_reason == "CrashLoopBackOff" and self._previous is not None:
            finished = self._previous.ended or self._clock.time()
            self.instance, self._previous = self._previous, None
            self._container.next_step.after(_RELIST_SECONDS, lambda: self._restart(finished))
        else:
            self.start()
