"""`servedeck bundle` on a real control plane: what is in the archive, and that no secret is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from servedeck.bundle.bundle import BundleProgress, BundleResult, BundleSource, save_bundle
from servedeck.bundle.options import BundleOptions
from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import MASK
from tests.bundle.archive_files import read_archive
from tests.control_plane import pod_statuses
from tests.control_plane.assertions import started_session
from tests.control_plane.control_plane import ControlPlane, JsonObject, wait_for
from tests.control_plane.objects import HOLD_ANNOTATION
from tests.control_plane.page import apply, foreign_deployment, to_list
from tests.control_plane.test_describe import run_servedeck
from tests.control_plane.test_other_workloads import stateful_set
from tests.waiting import with_timeout

OF_SECRETS = {
    "env": "Sapphire-River-0001",
    "env_from": "Sapphire-River-0002",
    "file": "Sapphire-River-0003",
    "pull": "Sapphire-River-0004",
    "unused": "Sapphire-River-0005",
    "line_a": "Sapphire-River-0006",
    "line_b": "Sapphire-River-0007",
}
"""Values of Secrets."""
LITERALS = {
    "variable": "Amber-Forest-0001",
    "flag": "Amber-Forest-0002",
    "word": "Amber-Forest-0003",
    "annotation": "Amber-Forest-0004",
    "config": "Amber-Forest-0005",
    "header": "Amber-Forest-0006",
    "url": "Amber-Forest-0007",
    "event": "Amber-Forest-0008",
    "log": "Amber-Forest-0009",
    "message": "Amber-Forest-0010",
    "cause": "Amber-Forest-0011",
    "token": "hf_AmberForest00120000000000",
}
"""Values that are secret by their name or shape."""
SEEN = "Visible-Meadow"
"""A text that must be in each place, so that the place is in the bundle at all."""


def secrets() -> list[JsonObject]:
    pull = {"auths": {"registry.example.com": {"username": "u", "password": OF_SECRETS["pull"]}}}
    config = f"{OF_SECRETS['line_a']}\n{OF_SECRETS['line_b']}\n"
    values: dict[str, JsonObject] = {
        "hf": {"token": OF_SECRETS["env"]},
        "all": {"LEVEL": OF_SECRETS["env_from"]},
        "file": {"config": config, "key": OF_SECRETS["file"]},
        "unused": {"token": OF_SECRETS["unused"]},
    }
    found: list[JsonObject] = [
        {"kind": "Secret", "metadata": {"name": name}, "stringData": data}
        for name, data in values.items()
    ]
    docker = {
        "kind": "Secret",
        "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps(pull)},
    }
    return [*found, docker]


def serving() -> JsonObject:
    """A serving with a secret in every place, held back from kwok."""
    env = OF_SECRETS["env"]
    container = {
        "name": "server",
        "image": "vllm/vllm-openai:v0.10.0",
        "command": ["vllm", "serve", "org/model"],
        "args": ["--api-key", LITERALS["word"], f"--token={LITERALS['flag']}", "--x", env],
        "env": [
            {"name": "SEEN", "value": SEEN},
            {"name": "API_TOKEN", "value": LITERALS["variable"]},
            {"name": "PLAIN", "value": f"x{env}x"},
            {"name": "DB", "value": f"postgres://user:{LITERALS['url']}@db/x"},
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
        ],
        "envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": "settings"}}],
        "readinessProbe": {
            "httpGet": {
                "path": "/health",
                "port": 8000,
                "httpHeaders": [{"name": "Authorization", "value": LITERALS["header"]}],
            }
        },
        "volumeMounts": [{"name": "file", "mountPath": "/file"}],
    }
    init = {"name": "download", "image": "curlimages/curl:8.10.1"}
    body = foreign_deployment(
        "chat",
        {
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "initContainers": [init],
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [{"name": "file", "secret": {"secretName": "file"}}],
        },
    )
    body["metadata"]["annotations"] = {
        "example.com/api-token": LITERALS["annotation"],
        "example.com/note": f"{SEEN} {OF_SECRETS['file']} {LITERALS['token']}",
        "kubernetes.io/change-cause": f"set env DB_PASSWORD={LITERALS['cause']}",
    }
    body["spec"]["template"]["metadata"]["annotations"] = {
        HOLD_ANNOTATION: "true",
        "note": OF_SECRETS["pull"],
    }
    return body


def config_map() -> JsonObject:
    ini = f"seen = {SEEN}\n[db]\npassword = {LITERALS['config']}\nother = {OF_SECRETS['env']}\n"
    return {
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"app.ini": ini, "MODE": OF_SECRETS["env_from"]},
    }


def start_serving(plane: ControlPlane, namespace: str) -> JsonObject:
    """The serving, its Pod crashed, with Events; the Pod."""
    apply(plane, namespace, to_list(*secrets(), config_map(), serving()))
    (pod,) = wait_for(lambda: scheduled_pods(plane, namespace), "the Pod")
    message = f"{SEEN} password={LITERALS['message']} {OF_SECRETS['env']}"
    last = pod_statuses.terminated_state(1, message=message)
    status = {
        "phase": "Running",
        "conditions": pod_statuses.conditions(False),
        "initContainerStatuses": [
            pod_statuses.container_status(
                pod_statuses.terminated_state(0, "Completed"), ready=True, name="download"
            )
        ],
        "containerStatuses": [
            pod_statuses.container_status(
                pod_statuses.waiting_state("CrashLoopBackOff", message),
                restarts=3,
                last=last,
                name="server",
            )
        ],
    }
    plane.set_pod_status(pod, status)
    text = f"{SEEN}: db_password={LITERALS['event']} got {OF_SECRETS['env_from']}"
    plane.create_warning_event(pod, "BackOff", text)
    return pod


def scheduled_pods(plane: ControlPlane, namespace: str) -> list[JsonObject]:
    return [one for one in plane.list_pods(namespace) if "nodeName" in one["spec"]]


def write_logs(plane: ControlPlane, namespace: str, pod: str) -> None:
    assert plane.kubelet
    for container, previous in (("server", False), ("server", True), ("download", False)):
        lines = [SEEN, f"api_key: {LITERALS['log']}", f"using {LITERALS['token']}"]
        for value in OF_SECRETS.values():
            encoded = base64.b64encode(f"user:{value}".encode()).decode()
            lines += [f"got {value}", f"env {{'X': '{value}'}}", f"b64 {encoded}"]
        for value in LITERALS.values():
            lines.append(f"args --token={value}")
        lines += [f"again {LITERALS['variable']} {LITERALS['word']} {LITERALS['header']}"]
        plane.kubelet.write(namespace, pod, *lines, container=container, previous=previous)


def find_secrets(files: dict[str, bytes]) -> list[tuple[str, str]]:
    """(file, secret) of each secret that is in a file, as it is or in base64."""
    found = []
    for path, content in files.items():
        for value in (*OF_SECRETS.values(), *LITERALS.values()):
            forms = (value.encode(), base64.b64encode(value.encode()).rstrip(b"=")[:-1])
            found += [(path, value) for form in forms if form in content]
    return found


def test_no_secret_of_the_cluster_is_in_the_archive(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tmp_path: Path
) -> None:
    pod = start_serving(control_plane, namespace)["metadata"]["name"]
    write_logs(control_plane, namespace, pod)
    archive = tmp_path / "bundle.tar.gz"
    result = run_servedeck(kubeconfig, "bundle", f"{namespace}/chat", "-o", str(archive))
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{archive}\n"
    assert "at most 100Mi before compression and 2m" in result.stderr
    files = read_archive(archive)
    logs = [f"logs/{pod}/{name}.log" for name in ("server", "server.previous", "download")]
    (replicaset,) = (path for path in files if path.startswith("objects/ReplicaSet-"))
    objects = ["objects/Deployment-chat.yaml", "objects/ConfigMap-settings.yaml", replicaset]
    for path in (*objects, *logs, f"objects/Pod-{pod}.yaml", "events.txt", "events.json"):
        assert SEEN in files[path].decode(), path
        assert MASK in files[path].decode(), path
    for path in ("description.txt", "description.json", "timeline.txt", "rollouts.txt"):
        assert files[path], path
    assert not [path for path in files if "Secret" in path]
    node = files["nodes.txt"].decode()
    assert "nvidia.com/gpu" in node or "furiosa.ai/rngd" in node
    assert files["errors.txt"] == b"Nothing is missing.\n"
    index = files["index.html"].decode()
    (read,) = (line for line in index.splitlines() if line.startswith("<li>By value"))
    assert all(f" {name}" in read for name in ("file", "pull", "hf", "all"))
    assert "unused" not in index
    for path in files:
        assert path == "index.html" or f'href="{path}"' in index, path
    # The value of a Secret that the serving does not name is not known, and not redacted.
    unused = OF_SECRETS["unused"]
    assert {value for _path, value in find_secrets(files)} == {unused}
    assert {path for path, _value in find_secrets(files)} == set(logs)


def test_a_viewer_gets_the_rest_and_the_reasons(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    pod = start_serving(control_plane, namespace)["metadata"]["name"]
    apps = {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"]}
    core = {"apiGroups": [""], "resources": ["pods", "events"]}
    rules = [{**one, "verbs": ["get", "list", "watch"]} for one in (apps, core)]
    control_plane.grant("member", rules, namespace=namespace, name="bundle")
    kubeconfig = control_plane.write_kubeconfig("member", namespace=namespace)
    archive = tmp_path / "bundle.tar.gz"
    result = run_servedeck(kubeconfig, "bundle", "chat", "-n", namespace, "-o", str(archive))
    assert result.returncode == 0, result.stderr
    files = read_archive(archive)
    errors = files["errors.txt"].decode()
    assert f"Secret hf: Not allowed: needs get on secrets in namespace {namespace}." in errors
    assert "Not allowed: needs get on nodes." in errors
    assert "needs get on pods and on pods/log" in errors
    assert "needs list and watch on services" in errors
    assert f"objects/Pod-{pod}.yaml" in files
    index = files["index.html"].decode()
    assert "could not be read, so they were redacted only where they look secret" in index
    assert not {value for _path, value in find_secrets(files)} & set(LITERALS.values())


def test_a_stateful_set_with_its_pod(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tmp_path: Path
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    control_plane.create(path, stateful_set("llama"))
    wait_for(lambda: scheduled_pods(control_plane, namespace), "the Pod")
    archive = tmp_path / "bundle.tar.gz"
    name = f"{namespace}/llama"
    result = run_servedeck(kubeconfig, "bundle", name, "-o", str(archive))
    assert result.returncode == 0, result.stderr
    files = read_archive(archive)
    assert "kind: StatefulSet" in files["objects/StatefulSet-llama.yaml"].decode()
    assert "objects/Pod-llama-0.yaml" in files
    assert f"StatefulSet {namespace}/llama" in files["index.html"].decode()


async def bundle_of(
    kubeconfig: Path,
    namespace: str,
    path: Path,
    on_progress: Callable[[BundleProgress], None],
    options: BundleOptions | None = None,
) -> BundleResult:
    async with started_session(kubeconfig, namespace) as session:
        view = session.fleet.view(NamespacedName(namespace, "chat"))
        assert view is not None
        assert session.connection is not None
        source = BundleSource(session.connection, session.fleet, view, (), session.server_now())
        return await with_timeout(
            save_bundle(source, path, options or BundleOptions(), on_progress)
        )


def once(step: str, action: Callable[[], None]) -> Callable[[BundleProgress], None]:
    """Run the action when the bundle comes to a step."""
    done = False

    def on_progress(progress: BundleProgress) -> None:
        nonlocal done
        if progress.step == step and not done:
            done = True
            action()

    return on_progress


async def test_a_pod_that_is_deleted_meanwhile_is_named(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tmp_path: Path
) -> None:
    pod = start_serving(control_plane, namespace)["metadata"]["name"]
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}"

    def is_gone() -> bool:
        return pod not in {one["metadata"]["name"] for one in control_plane.list_pods(namespace)}

    def delete() -> None:
        control_plane.request("DELETE", f"{path}?gracePeriodSeconds=0")
        wait_for(is_gone, "the end of the Pod")

    archive = tmp_path / "bundle.tar.gz"
    result = await bundle_of(kubeconfig, namespace, archive, once("Reading objects", delete))
    problems = dict(result.problems)
    assert problems[f"Pod {pod}"] == "It does not exist, or was deleted meanwhile."
    assert "was deleted, and its log with it" in problems[f"Log of {pod}/server"]
    assert "objects/Deployment-chat.yaml" in read_archive(archive)
    assert not result.lost


async def test_what_was_read_is_kept_when_the_api_server_is_lost(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tmp_path: Path
) -> None:
    pod = start_serving(control_plane, namespace)["metadata"]["name"]
    archive = tmp_path / "bundle.tar.gz"

    try:
        result = await bundle_of(
            kubeconfig,
            namespace,
            archive,
            once("Reading logs", lambda: control_plane.kill("kube-apiserver")),
        )
    finally:
        control_plane.start()
    assert result.lost
    files = read_archive(archive)
    assert f"objects/Pod-{pod}.yaml" in files
    assert "The API server was lost while this bundle was made" in files["index.html"].decode()
    assert f"Log of {pod}/server: " in files["errors.txt"].decode()
    assert find_secrets(files) == []


async def test_logs_with_anything_in_them(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tmp_path: Path
) -> None:
    pod = start_serving(control_plane, namespace)["metadata"]["name"]
    assert control_plane.kubelet
    secret = OF_SECRETS["env"]
    hostile = "\x1b[31mred\x1b[0m \x1b]0;title\x07\udcff\udcfe\x00\u202e<script>alert(1)</script>"
    long_line = "x" * 60_000 + secret + "y" * 10_000_000
    split = f"{secret[:9]}\x1b[0m{secret[9:]}"
    control_plane.kubelet.write(
        namespace, pod, "first", hostile, long_line, split, "last \N{ROCKET}", container="server"
    )
    archive = tmp_path / "bündel \N{ROCKET}.tar.gz"
    await bundle_of(kubeconfig, namespace, archive, lambda _progress: None)
    files = read_archive(archive)
    log = files[f"logs/{pod}/server.log"].decode()
    lines = [line.partition(" ")[2] for line in log.splitlines()]
    assert lines[0] == "first"
    assert lines[1] == "red \ufffd\ufffd<script>alert(1)</script>"
    assert lines[2].endswith("more bytes]")
    assert len(lines[2]) < 70_000
    assert lines[3:] == [MASK, "last \N{ROCKET}"]
    assert find_secrets(files) == []
    index = files["index.html"].decode()
    assert "<script" not in index
    assert "\x1b" not in index


@pytest.mark.parametrize("size", [1 << 20, 2 << 20])
async def test_the_oldest_lines_are_left_out_where_the_size_limit_is_reached(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tmp_path: Path, size: int
) -> None:
    pod = start_serving(control_plane, namespace)["metadata"]["name"]
    assert control_plane.kubelet
    lines = [f"line {number} {'x' * 1000}" for number in range(3000)]
    for container in ("server", "download"):
        control_plane.kubelet.write(namespace, pod, *lines, container=container)
    archive = tmp_path / "bundle.tar.gz"
    options = BundleOptions(max_bytes=size)
    result = await bundle_of(kubeconfig, namespace, archive, lambda _progress: None, options)
    files = read_archive(archive)
    assert sum(map(len, files.values())) < size
    log = files[f"logs/{pod}/server.log"].decode().splitlines()
    assert "older lines left out." in log[0]
    assert " line 2999 " in log[-1]
    left_out = int(log[0].split()[1].replace(",", ""))
    assert left_out + len(log) - 1 == 3000
    problems = dict(result.problems)
    assert problems[f"Log of {pod}/server"] == f"{left_out:,} older lines left out: size limit."
    assert " line 2999 " in files[f"logs/{pod}/download.log"].decode()
    assert len(files[f"logs/{pod}/download.log"]) < len(files[f"logs/{pod}/server.log"])
