"""The client of an async queue, and `servedeck tasks`, on a real gateway through the Service proxy
of a real API server."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from servedeck import cli
from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import NotPermittedError, UnreachableError
from servedeck.async_queue.queue_api import FeedChanges, QueueChanged, Side, TaskQuery
from servedeck.async_queue.queue_api import TestRequest as Submission
from servedeck.async_queue.tasks import TaskAction, TaskState
from servedeck.cluster.http.connection import Connection
from servedeck.commands.tasks_watch import TaskWatch
from servedeck.gateway.process import running_gateway
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.objects import HOLD_ANNOTATION
from tests.control_plane.prometheus import own_address
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.gateway.process.rig import ANSWER, InferenceServer
from tests.gateway.process.test_running_gateway import settings
from tests.waiting import wait_until, with_timeout

KEYS = {"admin-key": "administrator", "view-key": "viewer"}
POD = {
    "metadata": {"name": "gateway", "annotations": {HOLD_ANNOTATION: "true"}},
    "spec": {"nodeName": "node-000", "containers": [{"name": "gateway", "image": "gateway"}]},
}
REQUEST = Submission("POST", "/v1/chat/completions?x=a%20b", (), b'{"model": "llama"}')


class Cluster:
    """The serving llama with a gateway that runs in this process."""

    def __init__(self, plane: ControlPlane, namespace: str, server: InferenceServer) -> None:
        self.plane, self.namespace, self.server = plane, namespace, server
        self.core = f"/api/v1/namespaces/{namespace}"

    def create_secret(self, name: str, keys: dict[str, str]) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        self.plane.create(f"{self.core}/secrets", {"metadata": {"name": name}, "data": data})

    def create_pod(self) -> None:
        """The API server connects only to the addresses of Pods."""
        self.plane.create(f"{self.core}/pods", POD)
        pod = self.plane.request("GET", f"{self.core}/pods/gateway")
        address = {"podIP": own_address(), "podIPs": [{"ip": own_address()}]}
        self.plane.set_pod_status(pod, pod_statuses.ready_status() | address)

    def create_service(self, name: str, port: int, probe: str) -> None:
        ports = [{"name": "http", "port": 80}]
        self.plane.create(
            f"{self.core}/services", {"metadata": {"name": name}, "spec": {"ports": ports}}
        )
        reference = {"kind": "Pod", "namespace": self.namespace, "name": "gateway"}
        addresses = [{"ip": own_address(), "targetRef": reference}]
        subset = {"addresses": addresses, "ports": [{"name": "http", "port": port}]}
        self.plane.create(
            f"{self.core}/endpoints", {"metadata": {"name": name}, "subsets": [subset]}
        )

        def leads_here() -> bool:
            self.plane.request("GET", f"{self.core}/services/{name}:80/proxy{probe}")
            return True

        wait_for(leads_here, f"Service {name} to lead to the gateway")

    def client(self, connection: Connection) -> AsyncQueueClient:
        return AsyncQueueClient(connection, self.namespace, "llama")


@pytest.fixture
async def cluster(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> AsyncIterator[Cluster]:
    for name, key in KEYS.items():
        (tmp_path / name).write_text(key)
    async with InferenceServer().serving() as server:
        made = settings(
            tmp_path,
            serving=f"{namespace}/llama",
            host=own_address(),
            admin_host=own_address(),
            upstreams=(server.url,),
            pod_concurrency=1,
            admin_key_file=tmp_path / "admin-key",
            view_key_file=tmp_path / "view-key",
        )
        async with running_gateway(made) as gateway:
            await with_timeout(gateway.wait_until_open())
            assert gateway.public_port is not None and gateway.admin_port is not None
            found = Cluster(control_plane, namespace, server)

            def create(public_port: int, admin_port: int) -> None:
                found.create_secret("llama-async", KEYS)
                found.create_secret("llama-async-view", {"view-key": KEYS["view-key"]})
                found.create_pod()
                found.create_service("llama-async", public_port, "/-/async/queue")
                found.create_service("llama-async-admin", admin_port, "/readyz")

            await asyncio.to_thread(create, gateway.public_port, gateway.admin_port)
            yield found


@asynccontextmanager
async def asking(cluster: Cluster, user: str = "admin") -> AsyncIterator[AsyncQueueClient]:
    async with open_connection(cluster.plane, user=user, namespace=cluster.namespace) as connection:
        yield cluster.client(connection)


async def test_a_request_from_its_submission_to_its_response(cluster: Cluster) -> None:
    async with asking(cluster) as client:
        page = await client.list_tasks(TaskQuery())
        assert page.items == []
        id = await client.submit(REQUEST)
        states: list[TaskState | None] = []
        is_queue_known = False

        async def follow() -> None:
            nonlocal is_queue_known
            async with aclosing(client.follow(page.feed)) as messages:
                async for message in messages:
                    if isinstance(message, FeedChanges):
                        states.extend(one.state for one in message.events)
                    is_queue_known = is_queue_known or isinstance(message, QueueChanged)
                    if TaskState.COMPLETED in states and is_queue_known:
                        return

        await with_timeout(follow())
        assert states == [TaskState.PENDING, TaskState.PROCESSING, TaskState.COMPLETED]
        assert (await client.request_head(id)).path == REQUEST.path
        parts = [await client.read_body(id, Side.REQUEST, first, 7) for first in (0, 7, 14, 21)]
        assert b"".join(one.data for one in parts) == REQUEST.body
        assert [one.size for one in parts] == [len(REQUEST.body)] * 4
        assert (
            str(ANSWER["id"]).encode()
            in (await client.read_body(id, Side.RESPONSE, 0, 1 << 20)).data
        )


async def test_tasks_are_chosen_and_cancelled(cluster: Cluster) -> None:
    cluster.server.open.clear()
    async with asking(cluster) as client:
        await client.pause()
        ids = [await client.submit(REQUEST) for _ in range(3)]
        found = await client.change_tasks(TaskAction.CANCEL, ids[:1])
        assert (found.changed, found.missing) == (1, 0)
        found = await client.change_matching(TaskAction.CANCEL, TaskQuery(None, "model:llama"))
        assert found.changed == 2
        page = await client.read_tasks(ids)
        assert {one.state for one in page.items} == {TaskState.CANCELLED}


async def test_a_viewer_sees_tasks_without_their_bodies(cluster: Cluster) -> None:
    def rule(resource: str, name: str) -> dict[str, Any]:
        return {
            "apiGroups": [""],
            "resources": [resource],
            "verbs": ["get"],
            "resourceNames": [name],
        }

    rules = [rule("secrets", "llama-async-view"), rule("services/proxy", "llama-async-admin:80")]
    async with asking(cluster) as client:
        id = await client.submit(REQUEST)
    await asyncio.to_thread(grant_role, cluster.plane, cluster.namespace, "viewer", rules)
    async with asking(cluster, "viewer") as client:
        page = await client.list_tasks(TaskQuery())
        assert [one.id for one in page.items] == [id]
        assert client.may_read_bodies is False
        async with aclosing(client.follow(page.feed)) as messages:
            await with_timeout(anext(messages))
        with pytest.raises(NotPermittedError, match="needs get on secrets llama-async in"):
            await client.read_body(id, Side.REQUEST, 0, 10)
        with pytest.raises(NotPermittedError, match="needs get on secrets llama-async in"):
            await client.change_tasks(TaskAction.CANCEL, [id])
        with pytest.raises(NotPermittedError, match="services/proxy"):
            await client.submit(REQUEST)
    async with asking(cluster, "nobody") as client:
        with pytest.raises(NotPermittedError, match="llama-async-view or llama-async"):
            await client.queue_status()


async def test_the_api_server_is_lost_and_nothing_is_missed(cluster: Cluster) -> None:
    cluster.server.open.clear()
    out, err = io.StringIO(), io.StringIO()
    async with asking(cluster) as client:
        ids = [await client.submit(REQUEST) for _ in range(2)]
        watch = TaskWatch(client, ids, out=out, err=err)
        running = asyncio.create_task(watch.run())
        await wait_until(lambda: "processing" in out.getvalue())
        async with aclosing(client.follow("")) as messages:
            await with_timeout(anext(messages))
            await asyncio.to_thread(cluster.plane.kill, "kube-apiserver")
            with pytest.raises(UnreachableError):
                while True:
                    await with_timeout(anext(messages))
        cluster.server.open.set()
        await wait_until(lambda: len(cluster.server.arrived) == 2)
        await asyncio.to_thread(cluster.plane.restart)
        await asyncio.to_thread(cluster.plane.restart_waiting_controllers)
        await with_timeout(running)
    lines = [one.split()[1:3] for one in out.getvalue().splitlines()]
    for id in ids:
        assert [state for one, state in lines if one == id][-2:] == ["processing", "completed"]
    assert watch.all_completed and "Retrying." in err.getvalue()


async def test_the_command_line(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    file = cluster.plane.write_kubeconfig(namespace=cluster.namespace)

    async def run(*words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(
            cli.main, ["tasks", "llama", *words, "--kubeconfig", str(file)]
        )
        written = capfd.readouterr()
        return code, written.out, written.err

    code, out, err = await run("submit", "-d", '{"model": "llama"}', "--wait")
    assert code == 0 and str(ANSWER["id"]) in out, err
    id = err.split()[-1]
    code, out, err = await run("--no-headers")
    assert (code, out.split()[:2]) == (0, [id, "completed"]), err
    code, out, err = await run("get", id, "--request")
    assert (code, out) == (0, '{"model": "llama"}'), err
