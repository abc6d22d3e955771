"""Port-forwards and commands in containers through a real API server, to a kubelet that speaks the
same protocol as the real one."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.exec import CommandFailedError, CommandTarget, run_command
from servedeck.cluster.http.errors import ApiError, ClusterError, ReadOnlyError
from servedeck.cluster.port_forward import PodConnectionError, connect_to_pod
from servedeck.commands.port_forward import run_port_forward
from servedeck.fleet.session import ClusterSession
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.fake_kubelet import FakeKubelet
from tests.control_plane.kubelet_streams import CommandResult
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_roles import rules_of
from tests.waiting import wait_until, with_timeout

PORT = 8000
LARGE = bytes(range(256)) * (16 << 10)
"""4 MiB, more than all buffers on the way hold."""


@asynccontextmanager
async def process(reply: bytes) -> AsyncIterator[tuple[str, int]]:
    """Something that listens: it answers "large" with LARGE, and any other line with `reply` and
    the line."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(LARGE if line == b"large\n" else reply + line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()


def kubelet_of(plane: ControlPlane) -> FakeKubelet:
    assert plane.kubelet is not None
    return plane.kubelet


def create_serving(plane: ControlPlane, namespace: str) -> str:
    """A Ready serving "llama"; the name of its Pod."""
    plane.create_deployment(namespace, "llama")
    plane.wait_until_ready(namespace, "llama", 1)
    (pod,) = plane.wait_for_pods(namespace, "llama", 1)
    return str(pod["metadata"]["name"])


async def test_bytes_arrive_at_the_port_and_back(
    control_plane: ControlPlane, namespace: str
) -> None:
    pod = create_serving(control_plane, namespace)
    async with process(b"hello ") as address, open_connection(control_plane) as connection:
        kubelet_of(control_plane).processes[namespace, pod, PORT] = address
        async with connect_to_pod(connection, namespace, pod, PORT) as opened:
            await opened.write(b"world\n")
            assert await with_timeout(opened.read()) == b"hello world\n"
            await opened.write(b"large\n")
            received = bytearray()
            while len(received) < len(LARGE):
                received += await with_timeout(opened.read())
            assert received == LARGE


async def test_a_port_where_nothing_listens_is_refused(
    control_plane: ControlPlane, namespace: str
) -> None:
    pod = create_serving(control_plane, namespace)
    async with (
        open_connection(control_plane) as connection,
        connect_to_pod(connection, namespace, pod, PORT) as opened,
    ):
        with pytest.raises(PodConnectionError, match="Nothing listens on port 8000") as raised:
            await with_timeout(opened.read())
        assert not raised.value.was_connected


async def test_a_pod_that_does_not_exist_is_named(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        with pytest.raises(ApiError, match='pods "gone" not found') as raised:
            async with connect_to_pod(connection, namespace, "gone", PORT):
                pass
        assert raised.value.code == 404


async def test_a_forward_follows_a_ready_pod_through_a_rollout(
    control_plane: ControlPlane, namespace: str
) -> None:
    first = create_serving(control_plane, namespace)
    stop, out = asyncio.Event(), io.StringIO()
    file = control_plane.write_kubeconfig()
    session = ClusterSession(ConnectionOptions(kubeconfig=(file,), namespace=namespace))

    def lines() -> list[str]:
        return out.getvalue().splitlines()

    async def ask() -> bytes:
        local = int(lines()[0].split(" ")[1].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        writer.write(b"who\n")
        answer = await with_timeout(reader.readline())
        writer.close()
        return answer

    async with process(b"first ") as one, process(b"second ") as two:
        processes = kubelet_of(control_plane).processes
        processes[namespace, first, PORT] = one
        forwarding = asyncio.create_task(
            run_port_forward(session, "llama", f"0:{PORT}", stop=stop, out=out)
        )
        await wait_until(lambda: lines() or forwarding.done(), "the forward")
        assert f"→ {namespace}/llama, Pod {first}, port {PORT}" in lines()[0]
        assert await ask() == b"first who\n"
        control_plane.kubectl("-n", namespace, "rollout", "restart", "deployment/llama")

        def new_pod() -> str:
            names = [one["metadata"]["name"] for one in control_plane.list_pods(namespace)]
            return next((name for name in names if name != first), "")

        second = await wait_until(new_pod, "the new Pod", interval=0.2)
        processes[namespace, second, PORT] = two
        await wait_until(lambda: f"Pod {second}," in lines()[-1], "the forward to the new Pod")
        assert await ask() == b"second who\n"
        stop.set()
        assert await with_timeout(forwarding) == 0


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        ([], "create"),
        ([{"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create"]}], "get"),
        ([{"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get"]}], "create"),
    ],
)
async def test_a_missing_verb_is_named_before_anything_listens(
    control_plane: ControlPlane,
    namespace: str,
    rules: list[dict[str, object]],
    missing: str,
) -> None:
    create_serving(control_plane, namespace)
    grant_role(control_plane, namespace, "viewer", [*rules_of("viewer"), *rules])
    file = control_plane.write_kubeconfig("viewer")
    session = ClusterSession(ConnectionOptions(kubeconfig=(file,), namespace=namespace))
    with pytest.raises(ClusterError, match=f"Needs {missing} on pods/portforward in namespace"):
        await run_port_forward(session, "llama", f"0:{PORT}", stop=asyncio.Event())


async def test_an_operator_may_forward_and_run(control_plane: ControlPlane, namespace: str) -> None:
    pod = create_serving(control_plane, namespace)
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    kubelet_of(control_plane).commands["date",] = CommandResult(b"today\n")
    async with (
        process(b"hello ") as address,
        open_connection(control_plane, user="member") as connection,
    ):
        kubelet_of(control_plane).processes[namespace, pod, PORT] = address
        async with connect_to_pod(connection, namespace, pod, PORT) as opened:
            await opened.write(b"you\n")
            assert await with_timeout(opened.read()) == b"hello you\n"
        target = CommandTarget(namespace, pod, "")
        assert await with_timeout(run_command(connection, target, ["date"], lambda _: None)) == 0


async def test_a_command_has_its_output_and_its_exit_code(
    control_plane: ControlPlane, namespace: str
) -> None:
    pod = create_serving(control_plane, namespace)
    command = ["sh", "-c", "ls /x; exit 2"]
    text = "".join(f"line {number}\n" for number in range(20_000)).encode()
    kubelet_of(control_plane).commands[tuple(command)] = CommandResult(text, b"no /x\n", 2)
    lines: list[str] = []
    async with open_connection(control_plane) as connection:
        target = CommandTarget(namespace, pod, "inference-server")
        code = await with_timeout(run_command(connection, target, command, lines.extend))
    assert code == 2
    assert lines == [*(f"line {number}" for number in range(20_000)), "no /x"]
    assert f"exec/{namespace}/{pod}/inference-server" in kubelet_of(control_plane).requests


async def test_a_program_that_the_image_lacks_is_an_error(
    control_plane: ControlPlane, namespace: str
) -> None:
    pod = create_serving(control_plane, namespace)
    async with open_connection(control_plane) as connection:
        target = CommandTarget(namespace, pod, "")
        with pytest.raises(CommandFailedError, match=r"executable file not found in \$PATH"):
            await with_timeout(run_command(connection, target, ["vim"], lambda _: None))


async def test_a_command_without_permission_does_not_reach_the_kubelet(
    control_plane: ControlPlane, namespace: str
) -> None:
    pod = create_serving(control_plane, namespace)
    grant_role(control_plane, namespace, "viewer", rules_of("viewer"))
    target = CommandTarget(namespace, pod, "")
    before = list(kubelet_of(control_plane).requests)
    async with open_connection(control_plane, user="viewer") as connection:
        with pytest.raises(ApiError, match='resource "pods/exec"'):
            await run_command(connection, target, ["date"], lambda _: None)
    async with open_connection(control_plane, readonly=True) as connection:
        with pytest.raises(ReadOnlyError):
            await run_command(connection, target, ["date"], lambda _: None)
    assert kubelet_of(control_plane).requests == before
