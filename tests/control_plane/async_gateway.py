"""The async queue of a serving on a real API server: gateway processes on a real Valkey, an
inference server in a process, and the Services that lead to them."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from servedeck.async_queue.tasks import Task
from servedeck.gateway.settings import make_settings
from servedeck.gateway.stores.opening import open_store
from servedeck.gateway.stores.store import TaskStore
from servedeck.serving.conventions import ASYNC_LABEL
from servedeck.serving.objects.async_routes import async_gateway_name, async_view_secret_name
from tests.control_plane import objects, pod_statuses
from tests.control_plane.control_plane import ControlPlane, RequestError, wait_for
from tests.control_plane.inference_process import InferenceProcess, running_inference_process
from tests.control_plane.processes import ReservedPort
from tests.control_plane.prometheus import own_address
from tests.gateway.process.rig import GatewayProcess
from tests.gateway.valkey_server import ValkeyServer

SERVING = "llama"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
SECRET_KEYS = {"secret": "s" * 64, "admin-key": "the-admin-key", "view-key": "the-view-key"}
CALLER = "Bearer caller"
ALL_STATES = None
_AT_ONCE = 32
"""Requests that are submitted at the same time."""


class AsyncGateway:
    """Of the serving `llama`. Callers are answered by one process, tasks delivered by another, as
    in the Pods that servedeck makes."""

    def __init__(
        self,
        plane: ControlPlane,
        namespace: str,
        folder: Path,
        valkey: ValkeyServer,
        inference: InferenceProcess,
        **settings: Any,
    ) -> None:
        self.plane = plane
        self.namespace = namespace
        self.valkey = valkey
        self.inference = inference
        self.address = own_address()
        self.pod = ""
        """Of the serving."""
        self._ports = [ReservedPort() for _ in range(3)]
        """They stay, as those of a Pod whose container starts again."""
        self._settings = self._write_settings(folder) | settings
        self.accept = self._process(folder / "accept", "accept", *self._ports[:2])
        self.deliver = self._process(folder / "deliver", "deliver", None, self._ports[2])

    def _write_settings(self, folder: Path) -> dict[str, Any]:
        for name, value in SECRET_KEYS.items():
            (folder / name).write_text(value)
        return {
            "serving": f"{self.namespace}/{SERVING}",
            "store": self.valkey.url,
            "service": f"{self.namespace}/{SERVING}:80",
            "secret_file": str(folder / "secret"),
            "admin_key_file": str(folder / "admin-key"),
            "view_key_file": str(folder / "view-key"),
            "host": "0.0.0.0",
            "admin_host": "0.0.0.0",
            "pod_concurrency": 4,
            "max_depth": 10_000,
            "lease": 2.0,
        }

    def _process(
        self, folder: Path, role: str, port: ReservedPort | None, admin_port: ReservedPort
    ) -> GatewayProcess:
        folder.mkdir()
        numbers = {"port": port.number if port else 0, "admin_port": admin_port.number}
        return GatewayProcess(folder, **self._settings | numbers | {"role": role})

    # -- processes ------------------------------------------------------------------------------

    async def start(self) -> None:
        await asyncio.gather(self.accept.start(), self.deliver.start())

    async def kill(self) -> None:
        """kill -9 of both."""
        await asyncio.gather(self.accept.end(signal.SIGKILL), self.deliver.end(signal.SIGKILL))

    async def close(self) -> None:
        await asyncio.gather(self.accept.close(), self.deliver.close())
        for one in self._ports:
            one.close()

    # -- objects --------------------------------------------------------------------------------

    def create_objects(self) -> None:
        """The serving with its Pod, the Secrets of the gateway, and Services that lead here."""
        self.plane.create_deployment(self.namespace, SERVING)
        self.plane.wait_until_ready(self.namespace, SERVING, 1)
        [pod] = self.plane.wait_for_pods(self.namespace, SERVING, 1)
        self.pod = pod["metadata"]["name"]
        self._lead(SERVING, self.pod, "http", self.inference.port)
        self.create_gateway_objects()

    def create_gateway_objects(self) -> None:
        """Those of them that are not there."""
        name = async_gateway_name(SERVING)
        self._create_deployment(name)
        self._create_secret(name, SECRET_KEYS)
        view = {"view-key": SECRET_KEYS["view-key"]}
        self._create_secret(async_view_secret_name(SERVING), view)
        self._create_gateway_pod(name)
        callers, operators, _ = self._ports
        self._lead(name, name, "http", callers.number)
        self._lead(f"{name}-admin", name, "http-admin", operators.number)

    def _create_deployment(self, name: str) -> None:
        """By it servedeck knows that the serving has a queue; its Pod is made here."""
        body = objects.deployment(name, managed=False, replicas=0)
        body["metadata"]["labels"] |= {
            ASYNC_LABEL: SERVING,
            "app.kubernetes.io/managed-by": "servedeck",
        }
        self.plane.create(f"/apis/apps/v1/namespaces/{self.namespace}/deployments", body)

    def _create_secret(self, name: str, keys: Mapping[str, str]) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        self.plane.create(f"{self._core}/secrets", {"metadata": {"name": name}, "data": data})

    def _create_gateway_pod(self, name: str) -> None:
        """The API server connects only to the addresses of Pods."""
        spec = {"nodeName": "node-000", "containers": [{"name": "accept", "image": "gateway"}]}
        metadata = {"name": name, "annotations": {objects.HOLD_ANNOTATION: "true"}}
        self.plane.create(f"{self._core}/pods", {"metadata": metadata, "spec": spec})
        pod = self.plane.request("GET", f"{self._core}/pods/{name}")
        address = {"podIP": self.address, "podIPs": [{"ip": self.address}]}
        self.plane.set_pod_status(pod, pod_statuses.ready_status() | address)

    def _lead(self, service: str, pod: str, port_name: str, port: int) -> None:
        spec = {"ports": [{"name": port_name, "port": 80, "targetPort": port}]}
        self.plane.create(f"{self._core}/services", {"metadata": {"name": service}, "spec": spec})
        reference = {"kind": "Pod", "namespace": self.namespace, "name": pod}
        subset = {
            "addresses": [{"ip": self.address, "targetRef": reference}],
            "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        }
        self.plane.create(
            f"{self._core}/endpoints", {"metadata": {"name": service}, "subsets": [subset]}
        )

    def wait_until_led(self) -> None:
        """Wait until the API server's proxy reaches the gateway."""
        service = f"{async_gateway_name(SERVING)}-admin"

        def is_led() -> bool:
            try:
                self.plane.request("GET", f"{self._core}/services/{service}:80/proxy/-/async/queue")
            except RequestError as error:
                return error.status == 401  # the gateway's own answer
            return False

        wait_for(is_led, "the Service to lead to the gateway")

    @property
    def _core(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    # -- tasks ----------------------------------------------------------------------------------

    async def submit(self, models: Sequence[str]) -> list[str]:
        """Submit a request for each of the models, as callers do; the ids in their order."""
        left = list(enumerate(models))
        ids = [""] * len(left)
        headers = {"X-Async": "true", "Authorization": CALLER}

        async def submit_some(session: aiohttp.ClientSession) -> None:
            while left:
                at, model = left.pop()
                async with session.post(
                    f"{self.accept.public_url}/v1/chat/completions",
                    headers=headers,
                    json={"model": model, "messages": [{"role": "user", "content": "Hello"}]},
                ) as response:
                    assert response.status == 202, await response.text()
                    ids[at] = (await response.json())["id"]

        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(submit_some(session) for _ in range(_AT_ONCE)))
        return ids

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[TaskStore]:
        store = open_store(make_settings(self._settings))
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    async def stored_tasks(self) -> list[Task]:
        """All tasks, the newest first."""
        async with self.open_store() as store:
            return await store.page(ALL_STATES, "", 10_000)


@asynccontextmanager
async def running_async_gateway(
    plane: ControlPlane, namespace: str, folder: Path, **settings: Any
) -> AsyncIterator[AsyncGateway]:
    """Once the API server's proxy reaches it. The gateway finds the API server by the environment's
    KUBECONFIG. `settings` are of the gateway."""
    valkey = await asyncio.to_thread(ValkeyServer, folder / "valkey")
    try:
        async with running_inference_process(own_address()) as inference:
            gateway = AsyncGateway(plane, namespace, folder, valkey, inference, **settings)
            try:
                await asyncio.to_thread(gateway.create_objects)
                await gateway.start()
                await asyncio.to_thread(gateway.wait_until_led)
                yield gateway
            finally:
                await gateway.close()
    finally:
        await asyncio.to_thread(valkey.close)


@pytest.fixture
def folder(control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For the files of a gateway, which finds the API server by the environment."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.write_kubeconfig()))
    return tmp_path


@pytest.fixture
async def gateway(
    control_plane: ControlPlane, namespace: str, folder: Path
) -> AsyncIterator[AsyncGateway]:
    async with running_async_gateway(control_plane, namespace, folder) as gateway:
        yield gateway
