"""`servedeck port-forward`: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from servedeck import cli
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError, ReadOnlyError
from servedeck.commands.port_forward import run_gateway_forward, run_port_forward
from servedeck.demo.cluster import DemoCluster
from servedeck.demo.resources import DEPLOYMENTS, PODS
from servedeck.fleet.session import ClusterSession
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout

NAME = "llama-31-8b"


def make_session(
    demo: DemoCluster, *, context: str = "demo", readonly: bool = False
) -> ClusterSession:
    return ClusterSession(
        ConnectionOptions(
            kubeconfig=(demo.kubeconfig,), context=context, namespace="chat", readonly=readonly
        )
    )


async def test_the_address_the_serving_and_the_pod_are_printed() -> None:
    stop, out, err = asyncio.Event(), io.StringIO(), io.StringIO()
    async with DemoCluster(live=False) as demo:
        running = asyncio.create_task(
            run_port_forward(make_session(demo), NAME, ":8000", stop=stop, out=out, err=err)
        )
        await wait_until(lambda: out.getvalue() or running.done(), "the line")
        words = out.getvalue().split()
        assert words[0] == "Forwarding" and words[1].startswith("127.0.0.1:")
        assert words[2:5] == ["→", f"chat/{NAME},", "Pod"]
        assert words[5].startswith(f"{NAME}-") and words[6:] == ["port", "8000"]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(words[1].split(":")[1]))
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await with_timeout(reader.read())).startswith(b"HTTP/1.1 200")
        writer.close()
        stop.set()
        assert await with_timeout(running) == 0
        assert err.getvalue() == ""


async def test_a_connection_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servedeck.forwarding.port_forward.REFUSED_SECONDS", 0.0)
    stop, out, err = asyncio.Event(), io.StringIO(), io.StringIO()
    async with DemoCluster(live=False) as demo:
        running = asyncio.create_task(
            run_port_forward(make_session(demo), NAME, ":9999", stop=stop, out=out, err=err)
        )
        await wait_until(lambda: out.getvalue() or running.done(), "the line")
        port = int(out.getvalue().split()[1].split(":")[1])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await wait_until(err.getvalue, "the error")
        assert err.getvalue() == (
            "servedeck: Nothing listens on port 9999 of the Pod (connection refused).\n"
        )
        writer.close()
        stop.set()
        assert await with_timeout(running) == 0


async def test_a_viewer_is_told_the_missing_verb() -> None:
    async with DemoCluster(live=False) as demo:
        session = make_session(demo, context="demo-viewer")
        with pytest.raises(ClusterError, match="Needs create on pods/portforward in"):
            await run_port_forward(session, NAME, "", stop=asyncio.Event())


async def test_readonly_forwards_nothing() -> None:
    async with DemoCluster(live=False) as demo:
        with pytest.raises(ReadOnlyError):
            await run_port_forward(
                make_session(demo, readonly=True), NAME, "", stop=asyncio.Event()
            )


async def test_a_port_in_use_is_one_sentence() -> None:
    async with DemoCluster(live=False) as demo:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(ClusterError, match=f"127.0.0.1:{port} is in use by another"):
                await run_port_forward(
                    make_session(demo), NAME, f"{port}:8000", stop=asyncio.Event()
                )


def test_wrong_ports_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["port-forward", "chat/llama", "http"]) == 2
    assert "'http' is not a port; write [[LOCAL:]REMOTE]" in capsys.readouterr().err


def test_ctrl_c_is_the_regular_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "servedeck", "port-forward", "--demo", f"chat/{NAME}", ":8000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = f"http://{line.split()[1]}/v1/models"
        with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as response:
            assert response.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_SECONDS) == 0


# -- to an async gateway --------------------------------------------------------------------------


@pytest.fixture
async def gateway_demo() -> AsyncIterator[tuple[DemoCluster, Connection]]:
    async with DemoCluster(live=False) as demo:
        demo.clock.start(60.0)
        connection = await Connection.open(
            ConnectionOptions(kubeconfig=(demo.kubeconfig,), context="demo", namespace="chat")
        )
        yield demo, connection
        await connection.close()


async def test_a_gateway_is_forwarded_to_while_any_of_its_pods_is_ready(
    gateway_demo: tuple[DemoCluster, Connection],
) -> None:
    demo, connection = gateway_demo
    stop, out, err = asyncio.Event(), io.StringIO(), io.StringIO()
    running = asyncio.create_task(
        run_gateway_forward(connection, "llama-33-70b", ":8081", stop=stop, out=out, err=err)
    )
    await wait_until(lambda: out.getvalue() or running.done(), "the line")
    where = out.getvalue().split()[1]
    text = f"Forwarding {where} → the async gateway of chat/llama-33-70b, port 8081\n"
    assert out.getvalue() == text

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(where.split(":")[1]))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        try:
            return await with_timeout(reader.read())
        finally:
            writer.close()

    def pods() -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in demo.store.list(PODS, "chat")
            if "llama-33-70b-async-" in pod["metadata"]["name"]
        ]

    async def scale(replicas: int) -> None:
        def write(obj: dict[str, Any]) -> None:
            obj["spec"]["replicas"] = replicas

        demo.store.mutate(DEPLOYMENTS, "chat", "llama-33-70b-async", write)
        await wait_until(lambda: ready() == len(pods()) == replicas, "the Pods")

    def ready() -> int:
        status = demo.store.get(DEPLOYMENTS, "chat", "llama-33-70b-async")["status"]
        return int(status.get("readyReplicas", 0))

    async def ask_until_answered() -> None:
        """A connection may meet the moment in which a Pod ends."""
        while True:
            with contextlib.suppress(ConnectionError):
                if (await ask()).startswith(b"HTTP/1.1 200"):
                    return

    await with_timeout(ask_until_answered())
    first = pods()[0]
    await scale(2)
    demo.store.delete(PODS, "chat", first)
    await with_timeout(ask_until_answered())
    await scale(0)
    with contextlib.suppress(ConnectionError):
        assert await ask() == b""
    text = "servedeck: chat/llama-33-70b has no async gateway with Pods.\n"
    await wait_until(lambda: err.getvalue().endswith(text), "the error")
    stop.set()
    assert await with_timeout(running) == 0


async def test_a_serving_without_a_gateway_is_named(
    gateway_demo: tuple[DemoCluster, Connection],
) -> None:
    _, connection = gateway_demo
    with pytest.raises(ClusterError, match=r"chat/llama-31-8b has no async gateway"):
        await run_gateway_forward(connection, NAME, "", stop=asyncio.Event())
