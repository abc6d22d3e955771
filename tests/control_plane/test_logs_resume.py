"""All lines of a serving arrive once and in order through a rollout, restarts and cut connections;
`benchmarks/log_acceptance.py` does the same for longer and at the required rate."""

from __future__ import annotations

import asyncio

from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.log_reading import ServingReader, read_serving
from tests.control_plane.log_writers import ServingWriter
from tests.control_plane.proxies import TcpProxy
from tests.waiting import wait_until

PODS = 4
RATE = 2000


async def test_each_line_arrives_once_and_in_order(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.create_deployment(namespace, "llama", replicas=PODS, keep=True, minReadySeconds=1)
    control_plane.wait_until_ready(namespace, "llama", PODS)
    reader = ServingReader()
    proxy = TcpProxy(control_plane.url)
    with ServingWriter(control_plane, namespace, "llama", RATE, chunk_lines=10) as writer:
        async with proxy.serve():
            kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
            async with read_serving(kubeconfig, namespace, "llama", reader):
                await disturb(control_plane, namespace, writer, reader, proxy)
                writer.stop_writing()
                written = writer.written
                await wait_until(
                    lambda: not reader.check.compare(written).lost,
                    "all lines",
                    describe_state=lambda: reader.check.compare_each(written),
                )
                assert reader.check.compare(written).is_exact, reader.check.compare_each(written)
    assert reader.check.other == []
    assert len(written) == 2 * PODS + 2
    assert sum("restarted, exit 137 OOMKilled (restart 1)" in each for each in reader.notices) == 2
    assert sum("ended, exit code 0" in each for each in reader.notices) == PODS


async def disturb(
    plane: ControlPlane,
    namespace: str,
    writer: ServingWriter,
    reader: ServingReader,
    proxy: TcpProxy,
) -> None:
    """What happens while the reader reads."""

    async def receive_more() -> None:
        count = reader.check.count + RATE // 4
        await wait_until(lambda: reader.check.count >= count, "more lines")

    async def cut_node(pod: str, byte_count: int) -> None:
        log = writer.container_log(pod)
        log.cut_after(byte_count)
        await wait_until(lambda: not log.pending_cuts, "the cut")
        await receive_more()

    async def cut_client() -> None:
        await wait_until(proxy.reset_busiest, "a connection")
        await receive_more()

    old = set(writer.running_pods)
    await receive_more()
    for number, pod in enumerate(sorted(old)):
        await cut_node(pod, 1000 + number)
    await cut_client()
    await asyncio.to_thread(writer.restart_container, min(old))
    await receive_more()
    await asyncio.to_thread(
        plane.kubectl, "-n", namespace, "rollout", "restart", "deployment/llama"
    )
    await wait_until(lambda: set(writer.running_pods) - old, "a new Pod")
    await cut_client()
    await asyncio.to_thread(plane.restart, "kube-apiserver")
    await asyncio.to_thread(plane.restart_waiting_controllers)
    await receive_more()
    await wait_until(
        lambda: len(writer.running_pods) == PODS and old.isdisjoint(writer.running_pods),
        "the end of the rollout",
        describe_state=lambda: writer.running_pods,
    )
    new = min(writer.running_pods)
    await asyncio.to_thread(writer.restart_container, new)
    await receive_more()
    for byte_count in (1, 140, 777):
        await cut_node(new, byte_count)
    await cut_client()
    await wait_until(lambda: not writer.ending_pods, "the end of the old Pods")
    await receive_more()
