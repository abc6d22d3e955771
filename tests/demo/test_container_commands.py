"""Commands in the demo's containers, and connections to their ports."""

from __future__ import annotations

import pytest

from servedeck.demo.api.kubelet_api import CommandOutput, ExecutableNotFoundError
from servedeck.demo.workloads.runtime import NodeRuntime
from tests.demo.cluster_fixture import ClusterFixture
from tests.waiting import with_timeout


async def run(cluster: ClusterFixture, runtime: NodeRuntime, *command: str) -> CommandOutput:
    pod = cluster.pod()
    return await runtime.run_command(pod, pod["spec"]["containers"][0]["name"], command)


async def test_the_environment_and_the_name_are_those_of_the_pod(
    cluster: ClusterFixture, runtime: NodeRuntime
) -> None:
    name = cluster.pod()["metadata"]["name"]
    assert f"HOSTNAME={name}\n" in (await run(cluster, runtime, "env")).out.decode()
    assert (await run(cluster, runtime, "cat", "/etc/hostname")).out.decode() == f"{name}\n"
    assert (await run(cluster, runtime, "sh", "-c", "echo $HOSTNAME")).out.decode() == f"{name}\n"


async def test_the_accelerators_are_those_of_the_container(
    cluster: ClusterFixture, runtime: NodeRuntime
) -> None:
    assert "NVIDIA-H100" in (await run(cluster, runtime, "nvidia-smi")).out.decode()


async def test_an_unknown_program_is_an_error_and_127_in_a_shell(
    cluster: ClusterFixture, runtime: NodeRuntime
) -> None:
    with pytest.raises(ExecutableNotFoundError):
        await run(cluster, runtime, "vim")
    output = await run(cluster, runtime, "sh", "-c", "vim")
    assert (output.exit_code, output.err) == (127, b"sh: 1: vim: not found\n")
    assert (await run(cluster, runtime, "sh", "-c", "env | sort")).exit_code == 2


async def test_a_connection_speaks_http(cluster: ClusterFixture, runtime: NodeRuntime) -> None:
    reader, writer = await runtime.connect(cluster.pod(), 8000)
    for path in ("/health", "/v1/models"):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await with_timeout(reader.readuntil(b"\r\n\r\n"))
        assert head.startswith(b"HTTP/1.1 200 OK")
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        await with_timeout(reader.readexactly(int(length.split(b":")[1])))
    writer.close()


async def test_a_port_where_nothing_listens_is_refused(
    cluster: ClusterFixture, runtime: NodeRuntime
) -> None:
    with pytest.raises(ConnectionRefusedError):
        await runtime.connect(cluster.pod(), 9)
