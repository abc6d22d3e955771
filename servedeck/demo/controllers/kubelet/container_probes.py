"""The probes of one running instance: startup first, then readiness and liveness."""

from __future__ import annotations

from collections.abc import Callable

from servedeck.demo import event_messages
from servedeck.demo.controllers.kubelet.container_state import ContainerContext
from servedeck.demo.controllers.kubelet.probe_runner import ProbeRunner
from servedeck.demo.workloads.instance import SimulatedInstance


class ContainerProbes:
    """`set_ready` is called with the result of the readiness probe, `kill` with the kind of a
    startup or liveness probe that has failed too often."""

    def __init__(
        self,
        container: ContainerContext,
        *,
        set_ready: Callable[[bool], None],
        kill: Callable[[str], None],
    ) -> None:
        self._container = container
        self._set_ready = set_ready
        self._kill = kill
        self._probes: list[ProbeRunner] = []
        self._ports: dict[str, int] = {
            port["name"]: int(port.get("containerPort") or 0)
            for port in container.spec.get("ports") or ()
            if port.get("name")
        }

    def start(
        self, instance: SimulatedInstance, *, started: bool = False, ready: bool = False
    ) -> None:
        """`started`, `ready`: what a saved state says of an instance that is resumed."""
        self._container.status.started = started or "startupProbe" not in self._container.spec
        if self._container.status.started:
            self._start_regular(instance, ready=ready)
        else:
            self._start("startup", instance, lambda ok: self._startup_probed(instance, ok))

    def stop(self) -> None:
        for probe in self._probes:
            probe.stop()
        self._probes.clear()

    def reschedule(self) -> None:
        """The instance's health changed against its plan."""
        for probe in self._probes:
            probe.reschedule()

    def _start_regular(self, instance: SimulatedInstance, *, ready: bool = False) -> None:
        if "readinessProbe" in self._container.spec:
            self._start("readiness", instance, self._readiness_probed, passed=ready)
            if ready:
                self._set_ready(True)
        else:
            self._set_ready(True)
        if "livenessProbe" in self._container.spec:
            self._start("liveness", instance, self._liveness_probed, passed=ready)

    def _start(
        self,
        kind: str,
        instance: SimulatedInstance,
        on_result: Callable[[bool], None],
        *,
        passed: bool = False,
    ) -> None:
        def on_failure(output: str) -> None:
            self._container.event(event_messages.UNHEALTHY, probe=kind.capitalize(), output=output)

        probe = ProbeRunner(
            self._container.services.clock,
            self._container.spec[f"{kind}Probe"],
            instance,
            self._container.pod.address,
            self._ports,
            on_result,
            on_failure,
            passed=passed,
        )
        self._probes.append(probe)
        probe.start()

    def _startup_probed(self, instance: SimulatedInstance, ok: bool) -> None:
        if not ok:
            self._kill("startup")
            return
        self.stop()
        self._container.status.started = True
        self._start_regular(instance)
        self._container.on_change()

    def _readiness_probed(self, ok: bool) -> None:
        self._set_ready(ok)
        self._container.on_change()

    def _liveness_probed(self, ok: bool) -> None:
        if not ok:
            self._kill("liveness")
