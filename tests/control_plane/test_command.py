"""The command as a separate process: `servedeck get servings`, and the screen in a real terminal
while the API server is killed and restarted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import clean_environment
from benchmarks.terminal import BenchmarkTerminal
from tests.control_plane import objects, pod_statuses
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.waiting import WAIT_SECONDS

SERVEDECK_PATH = str(Path(sys.executable).with_name("servedeck"))


def get_servings(kubeconfig: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SERVEDECK_PATH, "get", "servings", "--kubeconfig", str(kubeconfig), *args],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
        env=clean_environment(kubeconfig, str(kubeconfig.parent)),
    )


def create_failing_and_ready(plane: ControlPlane, namespace: str) -> None:
    """A Ready serving "good" with two replicas, and "bad", OOMKilled."""
    plane.create_deployment(namespace, "good", replicas=2)
    plane.create_deployment(namespace, "bad", hold=True)
    plane.wait_until_ready(namespace, "good", 2)
    (pod,) = plane.wait_for_pods(namespace, "bad", 1)
    plane.set_pod_status(pod, pod_statuses.crash_loop_oom())


def test_table_shows_what_the_list_shows(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    create_failing_and_ready(control_plane, namespace)
    result = get_servings(kubeconfig, "-n", namespace)
    assert (result.returncode, result.stderr) == (0, "")
    _, *lines = result.stdout.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert set(rows) == {"bad", "good"}
    assert "Error" in rows["bad"] and "OOMKilled" in rows["bad"] and "0/1" in rows["bad"]
    assert "Ready" in rows["good"] and "2/2" in rows["good"]


def test_json_is_what_a_list_says(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    create_failing_and_ready(control_plane, namespace)
    result = get_servings(kubeconfig, "-n", namespace, "-o", "json")
    assert result.returncode == 0, result.stderr
    items: list[dict[str, Any]] = json.loads(result.stdout)["items"]
    assert {item["name"]: (item["status"], item["ready"]) for item in items} == {
        "bad": ("Error", 0),
        "good": ("Ready", 2),
    }
    assert get_servings(kubeconfig, "-n", namespace, "-o", "name").stdout.split() == [
        "deployment.apps/bad",
        "deployment.apps/good",
    ]


def test_watch_prints_a_json_line_for_each_change(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    process = subprocess.Popen(
        [SERVEDECK_PATH, "get", "servings", "-n", namespace, "--watch", "-o", "json"],
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(kubeconfig, str(kubeconfig.parent)),
    )
    assert process.stdout
    try:
        control_plane.create_deployment(namespace, "llama", replicas=1)
        changes = []
        for line in process.stdout:
            changes.append(json.loads(line))
            if changes[-1]["object"]["status"] == "Ready":
                break
        assert changes[0]["type"] == "ADDED"
        assert {change["object"]["name"] for change in changes} == {"llama"}
        control_plane.kubectl("delete", "-n", namespace, "deployment/llama")
        assert any('"type":"DELETED"' in line for line in process.stdout)
    finally:
        process.kill()
        process.communicate()


def test_exit_code_and_one_line_error_without_a_server(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    kubeconfig = control_plane.write_kubeconfig(server="https://127.0.0.1:1")
    result = get_servings(kubeconfig, "-n", "default")
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert "127.0.0.1:1" in result.stderr


def test_forbidden_namespace_is_reported(control_plane: ControlPlane, namespace: str) -> None:
    result = get_servings(control_plane.write_kubeconfig("nobody"), "-n", namespace)
    assert result.returncode == 1
    assert "deployments" in result.stderr


@contextlib.contextmanager
def screen(kubeconfig: Path, home: Path, *args: str) -> Iterator[BenchmarkTerminal]:
    terminal = BenchmarkTerminal(
        [SERVEDECK_PATH, *args], (80, 24), clean_environment(kubeconfig, str(home))
    )
    try:
        yield terminal
    finally:
        terminal.close()


def wait_for_screen(
    terminal: BenchmarkTerminal, condition: Callable[[str], object], what: str
) -> None:
    """Wait until the screen text meets the condition."""
    found = terminal.wait(lambda: bool(condition("\n".join(terminal.screen_lines()))), WAIT_SECONDS)
    assert found is not None, f"no {what} within {WAIT_SECONDS:g} s on\n" + "\n".join(
        terminal.screen_lines()
    )


def test_screen_lives_through_a_killed_api_server(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tmp_path: Path
) -> None:
    create_failing_and_ready(control_plane, namespace)
    with screen(kubeconfig, tmp_path, "-n", namespace) as terminal:
        wait_for_screen(terminal, lambda text: "good" in text and "OOMKilled" in text, "list")
        screen_before = "\n".join(terminal.screen_lines()[:3])
        control_plane.kill("kube-apiserver")
        wait_for_screen(
            terminal, lambda text: text.split("\n")[:3] != screen_before.split("\n"), "warning"
        )
        assert "good" in "\n".join(terminal.screen_lines()), "the list was blanked"
        control_plane.start()
        control_plane.create_deployment(namespace, "newcomer")
        wait_for_screen(terminal, lambda text: "newcomer" in text, "newcomer")
        wait_for_screen(
            terminal, lambda text: "2 Ready" in text or "2 ✓" in text or "✓ 2" in text, "2"
        )
        terminal.send_keys("q")
        ended = wait_for(lambda: terminal.closed, "the end")
        assert ended


def test_screen_in_tmux_at_80x24(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tmp_path: Path
) -> None:
    if shutil.which("tmux") is None:
        if os.environ.get("SERVEDECK_REQUIRE_SERVERS") == "1":
            pytest.fail("tmux not found; on Debian: apt install tmux")
        pytest.skip("tmux not found")
    socket = f"servedeck-{uuid.uuid4().hex[:8]}"
    env = clean_environment(kubeconfig, str(tmp_path)) | {"TMUX_TMPDIR": str(tmp_path)}

    def tmux(*args: str) -> str:
        result = subprocess.run(
            ["tmux", "-L", socket, *args], capture_output=True, text=True, check=True, env=env
        )
        return result.stdout

    tmux("new-session", "-d", "-x", "80", "-y", "24", f"{SERVEDECK_PATH} -n {namespace}")
    try:
        control_plane.kubectl(
            "apply", "-n", namespace, "-f", "-", input=objects.deployment("llama", replicas=2)
        )
        wait_for(lambda: "2/2" in tmux("capture-pane", "-p"), "the serving in tmux")
        pane = tmux("capture-pane", "-p")
        assert "llama" in pane and "Ready" in pane
        control_plane.restart("kube-apiserver")
        control_plane.kubectl("scale", "-n", namespace, "deployment/llama", "--replicas=3")
        wait_for(lambda: "3/3" in tmux("capture-pane", "-p"), "the change in tmux")
        tmux("send-keys", "q")

        def ended() -> bool:
            listed = subprocess.run(
                ["tmux", "-L", socket, "list-sessions"], capture_output=True, check=False, env=env
            )
            return listed.returncode != 0

        wait_for(ended, "servedeck to end at q")
    finally:
        subprocess.run(["tmux", "-L", socket, "kill-server"], check=False, env=env)
