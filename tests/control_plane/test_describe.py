"""`servedeck describe` and `servedeck open` as processes on a real control plane."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.measure import clean_environment
from servedeck.serving.text import MASK
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.page import SECRET_VALUE, apply, serving_with_secret
from tests.waiting import WAIT_SECONDS

ROOT = Path(__file__).parents[2]


def run_servedeck(kubeconfig: Path, *args: str) -> subprocess.CompletedProcess[str]:
    home = str(kubeconfig.parent)
    return subprocess.run(
        [sys.executable, "-m", "servedeck", *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
        env=clean_environment(kubeconfig, home) | {"PYTHONPATH": str(ROOT)},
    )


def only_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


@pytest.fixture
def second_namespace(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    name = f"{namespace}-2"
    control_plane.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")


def section(text: str, title: str) -> list[str]:
    """The lines of a section without their indent."""
    lines = text.splitlines()
    start = lines.index(title) + 1
    end = next((at for at in range(start, len(lines)) if not lines[at]), len(lines))
    return [line.strip() for line in lines[start:end]]


def test_text_has_what_kubectl_made(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    apply(control_plane, namespace, serving_with_secret())
    control_plane.wait_until_ready(namespace, "chat", 1)
    (pod,) = control_plane.list_pods(namespace)
    for args in ((f"{namespace}/chat",), ("chat", "-n", namespace)):
        result = run_servedeck(kubeconfig, "describe", *args)
        assert (result.returncode, result.stderr) == (0, "")
        text = result.stdout
        assert text.splitlines()[:2] == ["Name:       chat", f"Namespace:  {namespace}"]
        assert "Health:          ✓ Ready" in " ".join(section(text, "Status"))
        _, row = section(text, "Pods")
        assert row.split()[:3] == [pod["metadata"]["name"], "Running", "1/1"]
        assert "vllm/vllm-openai:v0.10.0" in " ".join(section(text, "Container"))
        environment = [line.split() for line in section(text, "Environment Variables")]
        assert ["LEVEL:", "debug"] in environment
        assert ["HF_TOKEN:", MASK, *["(Secret", "hf,", "key", "token)"]] in [
            [line[0], *line[1:]] for line in environment
        ] or ["HF_TOKEN:", *["Secret", "hf,", "key", "token"]] in environment
        assert "created" in " ".join(section(text, "Timeline"))
        assert "ScalingReplicaSet" in " ".join(section(text, "Events"))
        assert SECRET_VALUE not in text


def test_json_has_what_kubectl_made_and_why_it_fails(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "bad", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "bad", 1)
    control_plane.set_pod_status(pod, pod_statuses.crash_loop_oom())
    control_plane.create_warning_event(pod, "BackOff", "Back-off restarting failed container")
    result = run_servedeck(kubeconfig, "describe", "bad", "-n", namespace, "-o", "json")
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert (found["name"], found["namespace"], found["status"]) == ("bad", namespace, "Error")
    assert "OOMKilled" in found["statusDetails"]["health"]["value"]
    settings = {row["label"]: row["value"] for rows in found["settings"].values() for row in rows}
    assert settings["Image"] == "vllm/vllm-openai:v0.10.0"
    assert settings["Inference Port"] == "8000"
    (revision,) = found["rollout"]["revisions"]
    assert (revision["revision"], revision["current"]) == (1, True)
    assert "BackOff" in [one["reason"] for one in found["allEvents"]]
    assert found["missingPermissions"] == []


def test_a_viewer_without_replicasets_gets_the_rest_and_the_missing_permission(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.create_deployment(namespace, "chat")
    control_plane.wait_until_ready(namespace, "chat", 1)
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]}]
    control_plane.grant("member", rules, namespace=namespace, name="describe")
    kubeconfig = control_plane.write_kubeconfig("member", namespace=namespace)
    result = run_servedeck(kubeconfig, "describe", f"{namespace}/chat")
    assert result.returncode == 0, result.stderr
    for resource in ("replicasets.apps", "events"):
        assert (
            f"Note:       Cannot list {resource} in namespace {namespace}: needs list and watch on"
            f" {resource}."
        ) in result.stdout.splitlines()
    assert "vllm/vllm-openai:v0.10.0" in " ".join(section(result.stdout, "Container"))


def test_an_unknown_name_fails_with_one_sentence(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    result = run_servedeck(kubeconfig, "describe", f"{namespace}/nope")
    assert (result.returncode, result.stdout) == (1, "")
    assert only_line(result.stderr) == (
        f"servedeck: There is no serving nope in namespace {namespace}."
    )


def test_a_name_in_two_namespaces_fails_and_names_them(
    control_plane: ControlPlane, namespace: str, second_namespace: str, kubeconfig: Path
) -> None:
    # Not "chat": a serving of an earlier test may still be there while its namespace is deleted.
    name = f"serving-{namespace}"
    for one in (namespace, second_namespace):
        control_plane.create_deployment(one, name)
        control_plane.wait_until_ready(one, name, 1)
    result = run_servedeck(kubeconfig, "describe", name, "-A")
    assert (result.returncode, result.stdout) == (1, "")
    assert only_line(result.stderr) == (
        f"servedeck: Several namespaces have a serving {name}: {namespace}, {second_namespace};"
        " name one with -n."
    )
    result = run_servedeck(kubeconfig, "describe", f"{second_namespace}/{name}")
    assert result.returncode == 0, result.stderr
    assert f"Namespace:  {second_namespace}" in result.stdout.splitlines()


def test_an_unknown_tab_is_a_usage_error(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    result = run_servedeck(kubeconfig, "open", f"{namespace}/chat", "--tab", "nope")
    assert (result.returncode, result.stdout) == (2, "")
    assert only_line(result.stderr) == (
        "servedeck: There is no tab nope; "
        "choose one of overview, metrics, logs, async-queue, settings, events, rollouts, yaml."
    )
