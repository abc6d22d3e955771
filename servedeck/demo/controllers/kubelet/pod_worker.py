"""One Pod on its node: its volumes, the order of its containers, its deletion.

Source: kubernetes pkg/kubelet/kubelet_pods.go.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from servedeck.demo import event_messages
from servedeck.demo.controllers.kubelet.container_state import ContainerContext, SingleTimer
from servedeck.demo.controllers.kubelet.container_worker import ContainerWorker
from servedeck.demo.controllers.kubelet.environment import missing_volumes
from servedeck.demo.controllers.kubelet.node_services import NodeServices
from servedeck.demo.controllers.kubelet.pod_info import pod_info
from servedeck.demo.controllers.kubelet.pod_status import (
    PodStatusInput,
    pod_status,
    readiness_gate_message,
)
from servedeck.demo.event_messages import EventMessage
from servedeck.demo.store.objects import Json

_MOUNT_RETRY_INITIAL_SECONDS = 0.5
_MOUNT_RETRY_MAX_SECONDS = 122.0


class PodWorker:
    """`on_change` is called when the status has changed, `on_stopped` when all containers of a
    Pod that is being deleted have ended. `object` is the Pod as the store holds it; the kubelet
    keeps it current."""

    def __init__(
        self,
        services: NodeServices,
        pod: Json,
        *,
        on_change: Callable[[], None],
        on_stopped: Callable[[], None],
    ) -> None:
        self._services = services
        self._on_change = on_change
        self._on_stopped = on_stopped
        self.object = pod
        self.info = pod_info(services.store, pod)
        self._init = [
            self._container(spec, init=True) for spec in self.info.spec.get("initContainers") or ()
        ]
        self._main = [
            self._container(spec, init=False, receives_traffic=index == 0)
            for index, spec in enumerate(self.info.spec.get("containers") or ())
        ]
        self.gates_changed()
        self._next_step = SingleTimer(services.clock)
        self._mounted = False
        self._mount_delay = 0.0
        self._stopping = False
        self._started_at = services.clock.timestamp()

    def _container(
        self, spec: Json, *, init: bool, receives_traffic: bool = False
    ) -> ContainerWorker:
        context = ContainerContext(
            self._services,
            self.info,
            spec,
            init=init,
            record=self._record,
            on_change=self._container_changed,
        )
        return ContainerWorker(context, receives_traffic=receives_traffic)

    @property
    def containers(self) -> list[ContainerWorker]:
        return [*self._init, *self._main]

    @property
    def main_container(self) -> ContainerWorker | None:
        """The first container that is no init container."""
        return self._main[0] if self._main else None

    # -- starting ---------------------------------------------------------------------------------

    def start(self) -> None:
        rng = random.Random(f"{self.info.uid}/begin")  # noqa: S311 - a delay, not a secret
        self._next_step.after(0.4 + rng.random(), self._mount)
        self._container_changed()

    def _mount(self) -> None:
        missing = list(missing_volumes(self._services.store, self.info))
        if not missing:
            self._mounted = True
            self._start_due_containers()
            return
        for volume, kind, name in missing:
            self._record(event_messages.MOUNT_FAILED, volume=volume, kind=kind, name=name)
        self._mount_delay = min(
            _MOUNT_RETRY_MAX_SECONDS, self._mount_delay * 2 or _MOUNT_RETRY_INITIAL_SECONDS
        )
        self._next_step.after(self._mount_delay, self._mount)

    def _start_due_containers(self) -> None:
        """Starts the init container whose turn it is; after the last one, the main containers."""
        for container in self._init:
            if container.sidecar and container.started:
                continue
            if not container.sidecar and container.exit_code == 0:
                continue
            if container.is_unstarted:
                container.start()
            return
        for container in self._main:
            if container.is_unstarted:
                container.start()

    def resume(self) -> None:
        """Resumes the Pod from its saved status."""
        status = self.object.get("status") or {}
        self._started_at = status.get("startTime") or self._started_at
        saved = {
            entry["name"]: entry
            for field in ("initContainerStatuses", "containerStatuses")
            for entry in status.get(field) or ()
        }
        ran = [c for c in self.containers if _has_run(saved.get(c.name) or {})]
        if not ran:
            self.start()
            return
        self._mounted = True
        for container in ran:
            container.resume(saved[container.name])
        self._start_due_containers()

    def gates_changed(self) -> None:
        """The conditions of the Pod's readiness gates may be others, on which its traffic
        depends."""
        is_open = not readiness_gate_message(self.info, self.object.get("status") or {})
        for container in self._main:
            container.set_gates_open(is_open)

    def config_changed(self) -> None:
        """A ConfigMap or Secret of the namespace changed."""
        if not self._mounted and self._next_step.pending and not self._stopping:
            self._next_step.after(0.5, self._mount)
        for container in self.containers:
            container.config_changed()

    # -- ending -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """The Pod is being deleted: its containers stop, within the grace period."""
        if self._stopping:
            return
        self._stopping = True
        longest = max((container.stop() for container in self.containers), default=0.0)
        grace = float(self.object["metadata"].get("deletionGracePeriodSeconds") or 0)
        self._next_step.after(min(longest, grace) + 0.3, self._stopped)

    def _stopped(self) -> None:
        for container in self.containers:
            container.finish_stop()
        self._on_stopped()

    def discard(self) -> None:
        """The Pod has been deleted from the API."""
        self._stopping = True
        self._next_step.cancel()
        for container in self.containers:
            container.discard()

    # -- called by the containers -----------------------------------------------------------------

    def _container_changed(self) -> None:
        """The next init container may be due, and the status has to be written."""
        if self._init and self._mounted and not self._stopping:
            self._services.clock.call_later(0.0, self._advance)
        self._on_change()

    def _advance(self) -> None:
        if not self._stopping:
            self._start_due_containers()

    def _record(self, message: EventMessage, /, *, path: str = "", **values: object) -> None:
        self._services.recorder.record(
            self.object, message, path=path, host=self.info.node, **values
        )

    # -- status -----------------------------------------------------------------------------------

    def status(self, old: Json, now: str) -> Json:
        """The Pod's status, in place of `old`."""
        given = PodStatusInput(
            self.info,
            self._init,
            self._main,
            self._mounted,
            self._started_at,
            self.object["metadata"].get("generation", 1),
        )
        return pod_status(given, old, now)


def _has_run(saved: Json) -> bool:
    states = (saved.get("state") or {}).keys()
    return bool(saved.get("lastState")) or bool(states & {"running", "terminated"})
