"""Servings with the gate of the temperature on a real API server: their kubelet, the exporters of
their accelerators in a real Prometheus, and controllers as processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from servedeck.serving.temperature import TEMPERATURE_ANNOTATION, TEMPERATURE_GATE
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.objects import JsonObject, deployment, timestamp
from tests.control_plane.pod_statuses import container_status, running_state
from tests.control_plane.prometheus import Exporter, run_prometheus
from tests.waiting import wait_until, with_timeout

POLICY = "threshold=85,recovery=75,seconds=1"
GATE = {"readinessGates": [{"conditionType": TEMPERATURE_GATE}]}


class Accelerators:
    """What the exporters say. Those of NVIDIA name the Pod in labels that Prometheus has renamed,
    those of Furiosa in its own.

    The values have their time with them, so that a scrape that fails because the machine is busy
    does not make them unknown; without it Prometheus forgets them at once.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.exporter = Exporter()
        self.exporter.pages = {one: partial(self._page, one) for one in ("/dcgm", "/furiosa")}
        self.url = ""
        """Of Prometheus."""
        self.with_time = True
        self.is_failing = False
        """Whether the exporters answer with what is no page."""
        self._lines: Mapping[str, Sequence[str]] = {}

    def set(self, temperatures: Mapping[str, float]) -> None:
        """°C of the hottest accelerator of the Pods; every other one is of Furiosa."""
        nvidia, furiosa = [], []
        for number, (pod, value) in enumerate(sorted(temperatures.items())):
            if number % 2:
                labels = f'namespace="{self.namespace}",pod="{pod}",device="npu0"'
                for kind, one in (("peak", value), ("ambient", 149)):
                    name = f'furiosa_npu_hw_temperature{{{labels},label="{kind}"}}'
                    furiosa.append(f"{name} {one}")
                continue
            labels = f'exported_namespace="{self.namespace}",exported_pod="{pod}"'
            for gpu, one in enumerate((value - 20, value, "NaN")):
                nvidia.append(f'DCGM_FI_DEV_GPU_TEMP{{{labels},gpu="{gpu}"}} {one}')
        self._lines = {"/dcgm": nvidia, "/furiosa": furiosa}

    def _page(self, path: str, _seconds: float) -> bytes:
        if self.is_failing:
            return b"{ no page"
        end = f" {time.time() * 1000:.0f}\n" if self.with_time else "\n"
        return "".join(f"{one}{end}" for one in self._lines.get(path, ())).encode()


@contextmanager
def running_accelerators(namespace: str) -> Iterator[Accelerators]:
    accelerators = Accelerators(namespace)
    targets = {
        "/dcgm": {"namespace": "gpu-operator", "pod": "dcgm-exporter-bbbbb"},
        "/furiosa": {"job": "furiosa"},
    }
    with (
        accelerators.exporter.serve(),
        run_prometheus(accelerators.exporter, targets) as url,
    ):
        accelerators.url = url
        yield accelerators


class Kubelet:
    """Reports the Pods of a namespace as kubelets do: a Pod is Ready while its containers are and
    its gate is open. It also sees whether somebody is always in traffic."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane = plane
        self._namespace = namespace
        self.broken: set[str] = set()
        """Pods whose containers are not ready."""
        self.pods: dict[str, JsonObject] = {}
        """As they were seen last, by name."""
        self.was_empty = False
        """Whether at a moment nobody was in traffic, since this was set to False."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Kubelet]:
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            with suppress(OSError, RequestError):
                found = await asyncio.to_thread(self._plane.list_pods, self._namespace)
                self.pods = {one["metadata"]["name"]: one for one in found}
                self.was_empty |= bool(found) and not self.in_traffic()
                for one in found:
                    await self._report(one)
            await asyncio.sleep(0.02)

    async def _report(self, pod: JsonObject) -> None:
        name = pod["metadata"]["name"]
        containers = name not in self.broken
        gates = [one["conditionType"] for one in pod["spec"].get("readinessGates", ())]
        is_open = all(condition(pod, one).get("status") == "True" for one in gates)
        wanted = {"ContainersReady": containers, "Ready": containers and is_open}
        changed = {
            kind: value
            for kind, value in wanted.items()
            if condition(pod, kind).get("status") != str(value)
        }
        if not changed or "nodeName" not in pod["spec"]:
            return
        status = {
            "phase": "Running",
            "conditions": [
                {"type": kind, "status": str(value), "lastTransitionTime": timestamp()}
                for kind, value in changed.items()
            ],
            "containerStatuses": [container_status(running_state(), ready=containers)],
        }
        await asyncio.to_thread(self._plane.set_pod_status, pod, status)

    def in_traffic(self) -> set[str]:
        """Names of the Pods that are Ready, and whose gate is open at the same moment."""
        return {
            name
            for name, pod in self.pods.items()
            if condition(pod, "Ready").get("status") == "True"
            and condition(pod, TEMPERATURE_GATE).get("status") == "True"
        }

    def reasons(self) -> dict[str, str]:
        """Of the conditions of the gate, by name of the Pod; "" for none."""
        found = ((name, condition(pod, TEMPERATURE_GATE)) for name, pod in self.pods.items())
        return {name: one.get("reason", "") for name, one in found}

    async def until(self, reasons: Mapping[str, str]) -> None:
        """Wait until the conditions have these reasons, and Pods are Ready by them."""

        def is_so() -> bool:
            passing = {name for name, one in reasons.items() if one != "Hot"}
            return self.reasons() == reasons and self.in_traffic() == passing - self.broken

        await wait_until(is_so, str(reasons), describe_state=lambda: str(self.reasons()))

    def gate(self, name: str) -> JsonObject:
        return condition(self.pods[name], TEMPERATURE_GATE)


def condition(pod: JsonObject, kind: str) -> JsonObject:
    """A condition of a Pod; {} for none."""
    found = pod["status"].get("conditions", ())
    return next((one for one in found if one["type"] == kind), {})


def make_serving(
    plane: ControlPlane, namespace: str, name: str, replicas: int, policy: str | None = POLICY
) -> list[str]:
    """A Deployment whose Pods have the gate; the names of its Pods, sorted."""
    body = deployment(name, replicas=replicas, hold=True, pod_spec=GATE)
    if policy is not None:
        body["metadata"]["annotations"] = {TEMPERATURE_ANNOTATION: policy}
    plane.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    pods = plane.wait_for_pods(namespace, name, replicas)
    return sorted(one["metadata"]["name"] for one in pods)


def set_policy(plane: ControlPlane, namespace: str, name: str, policy: str | None) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    plane.request("PATCH", path, {"metadata": {"annotations": {TEMPERATURE_ANNOTATION: policy}}})


class ControllerProcess:
    """`servedeck controller`, of one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str, url: str, **flags: Any) -> None:
        self.log = ""
        options = {
            "kubeconfig": kubeconfig,
            "namespace": namespace,
            "lease_namespace": namespace,
            "prometheus_url": url,
            "interval": 0.3,
            "lease_duration": 20,
            "renew_deadline": 15,
            "retry_period": 1,
            "host": "127.0.0.1",
            "port": 0,
        } | flags
        self._flags = [
            f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value != ""
        ]
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self, until: str = "Probes are answered") -> None:
        """Start it, and wait for a line of its log."""
        self.log = ""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "servedeck", "controller", *self._flags),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self._reader = asyncio.create_task(self._read())
        await self.until(until)

    async def until(self, text: str) -> None:
        """Wait until the log has this text."""
        await wait_until(
            lambda: text in self.log or self.has_ended, text, describe_state=lambda: self.log
        )
        assert text in self.log, self.log

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.returncode is not None

    @property
    def url(self) -> str:
        """Of its probes."""
        found = re.search(r"Probes are answered on \S+ port (\d+)", self.log)
        assert found, self.log
        return f"http://127.0.0.1:{found[1]}"

    @property
    def identity(self) -> str:
        """As the Lease names it, once it has acted."""
        found = re.search(r"This controller, (\S+), holds", self.log)
        assert found, self.log
        return found[1]

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self, number: signal.Signals) -> int:
        """Send the signal; the exit code."""
        assert self._process is not None and self._reader is not None
        self.send(number)
        code = await with_timeout(self._process.wait())
        await with_timeout(self._reader)
        return code

    async def close(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            await self._reader

    async def _read(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self.log += line.decode()


@asynccontextmanager
async def closing(*controllers: ControllerProcess) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await asyncio.gather(*(one.close() for one in controllers))
