"""The environment of `benchmarks.metrics_tab`: a control plane with one vLLM serving of 50 Pods, a
Prometheus with their day, a proxy before it, and the server that answers for all Pods."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.metrics_past import run_prometheus_with_past
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import ProcessSpawner
from tests.waiting import WAIT_SECONDS, wait_until_sync

NAMESPACE, SERVING = "chat", "llama"
PODS = 50


class Environment(NamedTuple):
    kubeconfig: Path
    prometheus_url: str
    """Of the proxy."""
    prometheus_log: Path
    """The answers of Prometheus, for `metrics_servers.read_passed`."""
    pods_log: Path
    """The same of the Pods."""


@contextmanager
def run_environment() -> Iterator[Environment]:
    """Start everything; about a minute and a half."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="servedeck-tab-")))
        spawner = ProcessSpawner()
        stack.callback(spawner.close)
        plane = stack.enter_context(ControlPlane(folder / "plane"))
        plane.add_crds()
        plane.add_nodes(2)
        pods_log, proxy_log = folder / "pods.jsonl", folder / "proxy.jsonl"
        host = _own_address()
        port = _start(stack, spawner, folder, "pods", pods_log, host)
        names = _create_serving(plane, host, port)
        past = folder / "prometheus"
        past.mkdir()
        url = stack.enter_context(
            run_prometheus_with_past(past, NAMESPACE, names, log=folder / "prometheus.log")
        )
        proxy_port = _start(stack, spawner, folder, "proxy", proxy_log, url)
        yield Environment(
            plane.write_kubeconfig(namespace=NAMESPACE),
            f"http://127.0.0.1:{proxy_port}",
            proxy_log,
            pods_log,
        )


def _start(
    stack: ExitStack, spawner: ProcessSpawner, folder: Path, kind: str, log: Path, target: str
) -> int:
    """Start a server of `benchmarks.metrics_servers`; its port."""
    output = folder / f"{kind}.out"
    argv = [sys.executable, "-m", "benchmarks.metrics_servers", kind, str(log), target]
    process = spawner.start(argv, output)
    stack.callback(process.kill)

    def port() -> int | None:
        if process.poll() is not None:
            raise RuntimeError(output.read_text())
        text = output.read_text()
        return int(text) if text.endswith("\n") else None

    return wait_until_sync(port, f"the server {kind}", WAIT_SECONDS) or 0


def _create_serving(plane: ControlPlane, host: str, port: int) -> list[str]:
    """A Deployment whose Pods are Ready, and all have one address; the names of the Pods."""
    plane.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    container = {
        "name": "inference-server",
        "image": "vllm/vllm-openai:v0.33.0",
        "args": ["--model", "org/llama", "--port", str(port)],
    }
    plane.create_deployment(
        NAMESPACE, SERVING, replicas=PODS, hold=True, pod_spec={"containers": [container]}
    )
    pods = plane.wait_for_pods(NAMESPACE, SERVING, PODS)
    status = pod_statuses.ready_status() | {"podIP": host, "podIPs": [{"ip": host}]}
    for pod in pods:
        plane.set_pod_status(pod, status)
    return [pod["metadata"]["name"] for pod in pods]


def _own_address() -> str:
    """An address of this machine that the API server connects to as a Pod's: it refuses those of
    the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])
