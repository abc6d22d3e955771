"""The control plane itself, which the other tests rely on."""

from __future__ import annotations

import socket
import subprocess
import sys

import psutil
import pytest

from tests.control_plane import objects, pod_statuses
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.fixtures import require_servers


def test_a_deployment_of_kubectl_becomes_ready(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", input=objects.deployment("llama"))
    control_plane.wait_until_ready(namespace, "llama", 1)
    table = control_plane.kubectl("get", "pods", "-n", namespace, "--no-headers")
    assert table.split()[1:4] == ["1/1", "Running", "0"]


def test_a_held_pod_shows_the_status_that_the_test_writes(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.create_deployment(namespace, "llama", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
    control_plane.set_pod_status(pod, pod_statuses.crash_loop_oom())
    table = control_plane.kubectl("get", "pods", "-n", namespace, "--no-headers")
    assert "0/1   CrashLoopBackOff   4 (" in table


def test_logs_come_from_the_fake_kubelet(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.create_deployment(namespace, "llama")
    control_plane.wait_until_ready(namespace, "llama", 1)
    (pod,) = control_plane.list_pods(namespace, "llama")
    name = pod["metadata"]["name"]
    assert control_plane.kubelet
    control_plane.kubelet.write(namespace, name, "one", "two", "three")
    assert control_plane.kubectl("logs", "-n", namespace, name, "--tail=2") == "two\nthree\n"
    control_plane.kubelet.end_log(namespace, name)
    control_plane.kubelet.write(namespace, name, "four")
    assert control_plane.kubectl("logs", "-n", namespace, name) == "four\n"


def test_the_api_server_comes_back_on_the_same_port_after_kill_9(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.create_deployment(namespace, "llama")
    before = control_plane.processes["kube-apiserver"].pid
    control_plane.restart("kube-apiserver")
    assert control_plane.processes["kube-apiserver"].pid != before
    control_plane.wait_until_ready(namespace, "llama", 1)


def test_compaction_moves_the_oldest_readable_revision(
    control_plane: ControlPlane, namespace: str
) -> None:
    listed = control_plane.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")
    control_plane.create(
        f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "later"}}
    )
    assert control_plane.compact_etcd() > int(listed["metadata"]["resourceVersion"])


def test_a_process_ends_with_a_test_run_that_is_killed(control_plane: ControlPlane) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.control_plane.processes import ProcessSpawner\n"
        "child = ProcessSpawner().start(['/bin/sleep', '600'], Path('/dev/null'))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert run.stdout
    pid = int(run.stdout.readline())
    assert psutil.pid_exists(pid)
    run.kill()
    run.communicate()
    wait_for(lambda: not psutil.pid_exists(pid), "the child to end")


def test_a_port_that_another_program_took_meanwhile_is_replaced() -> None:
    require_servers()
    with socket.socket() as other:
        plane = ControlPlane()
        taken = plane.ports["etcd"].number
        other.bind(("127.0.0.1", taken))
        other.listen()
        try:
            plane.start(["etcd"])
            assert plane.ports["etcd"].number != taken
        finally:
            plane.stop()


def test_wait_for_names_what_it_waited_for() -> None:
    with pytest.raises(TimeoutError, match="the moon; last seen: 0"):
        wait_for(lambda: 0, "the moon", limit=0)
