"""The commands name the known error in the log of a crashed container, as the list does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from servedeck import cli
from servedeck.commands import describe
from servedeck.commands import session as command_session
from servedeck.fleet import crash_logs
from tests.bundle.archive_files import read_archive
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.kubelet_logs import ContainerLog
from tests.waiting import WAIT_SECONDS

LINE = "vllm: error: unrecognized arguments: --omni"
REASON = "Unknown argument"
CAUSE = "inference-server does not know the arguments --omni (restarted 7 times)."
EXIT_CODE = "inference-server exited with code 1 (restarted 7 times)"
RunCommand = Callable[..., tuple[int, str, str]]
"""Runs a command with these arguments; its exit code, standard output and standard error."""
ONLY_LISTS = (("", ("pods", "events")), ("apps", ("deployments", "replicasets")))


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """In this process, with time limits that a busy machine does not exceed."""
    for module, name in (
        (command_session, "OPTIONAL_LISTS_TIMEOUT"),
        (command_session, "CRASH_LOGS_TIMEOUT"),
        (describe, "LISTS_TIMEOUT"),
        (crash_logs, "READ_TIMEOUT"),
    ):
        monkeypatch.setattr(module, name, WAIT_SECONDS)

    def run(kubeconfig: Path, *args: str) -> tuple[int, str, str]:
        code = cli.main([*args, "--kubeconfig", str(kubeconfig)])
        return code, *capsys.readouterr()

    return run


def crash(plane: ControlPlane, namespace: str, name: str = "bad") -> ContainerLog:
    """A serving whose container crashed; its Pod keeps only the exit code."""
    plane.create_deployment(namespace, name, hold=True)
    (pod,) = plane.wait_for_pods(namespace, name, 1)
    assert plane.kubelet is not None
    log = plane.kubelet.log(namespace, pod["metadata"]["name"])
    log.write("INFO starting", LINE, "bye")
    log.crash()
    status = pod_statuses.crash_loop()
    ended = status["containerStatuses"][0]["lastState"]["terminated"]
    ended["containerID"] = f"containerd://{name}"
    plane.set_pod_status(pod, status)
    return log


def healthy(plane: ControlPlane, namespace: str) -> ContainerLog:
    plane.create_deployment(namespace, "good")
    plane.wait_until_ready(namespace, "good", 1)
    (pod,) = plane.list_pods(namespace, "good")
    assert plane.kubelet is not None
    return plane.kubelet.log(namespace, pod["metadata"]["name"])


def test_get_names_the_cause_and_reads_only_the_log_of_the_crash(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, run_command: RunCommand
) -> None:
    crashed, other = crash(control_plane, namespace), healthy(control_plane, namespace)
    get = ("get", "servings", "-n", namespace)
    code, out, err = run_command(kubeconfig, *get)
    assert (code, err) == (0, "")
    assert REASON in out
    _, out, _ = run_command(kubeconfig, *get, "bad", "-o", "json")
    assert json.loads(out)["message"].startswith(CAUSE)
    assert (len(crashed.requests), other.requests) == (2, [])
    for arguments in (["good"], ["-o", "name"]):
        assert run_command(kubeconfig, *get, *arguments)[0] == 0
    assert len(crashed.requests) == 2


def test_describe_names_the_cause_and_reads_no_other_log(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, run_command: RunCommand
) -> None:
    crashed, other = crash(control_plane, namespace), crash(control_plane, namespace, "other")
    code, out, err = run_command(kubeconfig, "describe", "bad", "-n", namespace)
    assert (code, err) == (0, "")
    assert CAUSE in out and EXIT_CODE not in out
    assert (len(crashed.requests), other.requests) == (1, [])


def test_wait_names_the_cause_when_it_fails(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, run_command: RunCommand
) -> None:
    crash(control_plane, namespace)
    args = ("wait", "bad", "-n", namespace, "--for=ready", "--timeout", "0")
    code, out, err = run_command(kubeconfig, *args)
    assert (code, out) == (1, "")
    assert CAUSE in err.splitlines()[-1]


def test_a_bundle_names_the_cause(
    control_plane: ControlPlane,
    namespace: str,
    kubeconfig: Path,
    run_command: RunCommand,
    tmp_path: Path,
) -> None:
    crash(control_plane, namespace)
    archive = tmp_path / "bundle.tar.gz"
    code, _, err = run_command(kubeconfig, "bundle", "bad", "-n", namespace, "-o", str(archive))
    assert code == 0, err
    files = read_archive(archive)
    for name in ("index.html", "description.txt"):
        assert CAUSE in files[name].decode()


def test_without_permission_for_logs_the_exit_code_is_shown(
    control_plane: ControlPlane, namespace: str, run_command: RunCommand
) -> None:
    crash(control_plane, namespace)
    rules = [
        {"apiGroups": [group], "resources": list(names), "verbs": ["get", "list", "watch"]}
        for group, names in ONLY_LISTS
    ]
    control_plane.grant("member", rules, namespace=namespace, name="causes")
    kubeconfig = control_plane.write_kubeconfig("member", namespace=namespace)
    code, out, _ = run_command(kubeconfig, "get", "servings", "bad", "-o", "json")
    assert (code, json.loads(out)["message"]) == (0, EXIT_CODE)
    code, out, _ = run_command(kubeconfig, "describe", "bad")
    assert code == 0 and EXIT_CODE in out
