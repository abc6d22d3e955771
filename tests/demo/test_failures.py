"""Images, configuration and crashes: the status, reason and Events of each failure, in the wording
of Kubernetes, and that a repaired object recovers."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.demo.resources import (
    CONFIGMAPS,
    PODS,
    SECRETS,
)
from servedeck.demo.workloads import failure_simulation
from servedeck.demo.workloads.instance_log import InstanceLog
from tests.demo.cluster_fixture import ClusterFixture, container_of, started_cluster

Json = dict[str, Any]


def wait_for_reason(cluster: ClusterFixture, reason: str) -> str:
    """Waits for the container to wait for that reason; its message."""

    def reached() -> bool:
        statuses = cluster.pods() and cluster.pod()["status"].get("containerStatuses")
        return bool(statuses) and cluster.state()[1] == reason

    cluster.until(reached)
    return cluster.state()[2]


def repair(cluster: ClusterFixture, **change: Any) -> None:
    cluster.edit(lambda obj: container_of(obj).update(change))
    cluster.advance(0)
    cluster.until(lambda: cluster.ready() and len(cluster.pods()) == 1)


# -- images ----------------------------------------------------------------------------------------


def test_a_tag_that_does_not_exist() -> None:
    cluster = started_cluster(image="vllm/vllm-openai:v0.99.0")
    error = (
        "rpc error: code = NotFound desc = failed to pull and unpack image "
        '"docker.io/vllm/vllm-openai:v0.99.0": failed to resolve reference '
        '"docker.io/vllm/vllm-openai:v0.99.0": docker.io/vllm/vllm-openai:v0.99.0: not found'
    )
    assert wait_for_reason(cluster, "ErrImagePull") == error
    message = wait_for_reason(cluster, "ImagePullBackOff")
    assert message == f'Back-off pulling image "vllm/vllm-openai:v0.99.0": ErrImagePull: {error}'
    assert f'Failed to pull image "vllm/vllm-openai:v0.99.0": {error}' in cluster.messages("Failed")
    assert {"Error: ErrImagePull", "Error: ImagePullBackOff"} <= set(cluster.messages("Failed"))
    assert cluster.messages("BackOff") == ['Back-off pulling image "vllm/vllm-openai:v0.99.0"']
    assert cluster.pod()["status"]["phase"] == "Pending"
    wait_for_reason(cluster, "ErrImagePull")  # the two alternate
    repair(cluster, image="vllm/vllm-openai:v0.33.0")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("nobody/nothing:1", "pull access denied, repository does not exist or may require"),
        ("registry.acme.example/private/llm:1", "401 Unauthorized"),
        ("registry.acme.local/llm:1", "dial tcp: lookup registry.acme.local: no such host"),
    ],
)
def test_other_reasons_why_an_image_cannot_be_pulled(image: str, words: str) -> None:
    assert words in wait_for_reason(started_cluster(image=image), "ErrImagePull")


def test_a_name_that_is_no_image() -> None:
    cluster = started_cluster(image="vLLM/Server:latest")
    assert wait_for_reason(cluster, "InvalidImageName").endswith("invalid reference format")
    assert "Error: InvalidImageName" in cluster.messages("Failed")


def test_a_pull_takes_time_and_the_next_one_finds_the_image() -> None:
    cluster = started_cluster(replicas=1)
    cluster.until(cluster.ready)
    (pulled,) = cluster.messages("Pulled")
    assert pulled.startswith('Successfully pulled image "vllm/vllm-openai:v0.33.0" in 3')
    assert pulled.endswith("including waiting). Image size: 9816312905 bytes.")
    cluster.store.delete(PODS, "lab", cluster.pod()["metadata"]["name"])
    cluster.advance(30)
    cluster.until(cluster.ready)
    assert (
        'Container image "vllm/vllm-openai:v0.33.0" already present on machine and can be accessed '
        "by the pod" in cluster.messages("Pulled")
    )


# -- configuration ---------------------------------------------------------------------------------


def test_a_missing_secret_that_is_created_later() -> None:
    reference = {"secretKeyRef": {"name": "hf-token", "key": "token"}}
    cluster = started_cluster(env=[{"name": "HF_TOKEN", "valueFrom": reference}])
    assert wait_for_reason(cluster, "CreateContainerConfigError") == 'secret "hf-token" not found'
    assert 'Error: secret "hf-token" not found' in cluster.messages("Failed")
    cluster.create(SECRETS, {"metadata": {"namespace": "lab", "name": "hf-token"}, "data": {}})
    cluster.advance(15)
    assert cluster.state()[2] == "couldn't find key token in Secret lab/hf-token"
    data = {"token": "aGY="}
    cluster.store.mutate(SECRETS, "lab", "hf-token", lambda obj: obj.update(data=data))
    assert cluster.until(cluster.ready) < 120


def test_a_missing_configmap() -> None:
    reference = {"configMapKeyRef": {"name": "settings", "key": "level"}}
    cluster = started_cluster(env=[{"name": "LEVEL", "valueFrom": reference}])
    assert (
        wait_for_reason(cluster, "CreateContainerConfigError") == 'configmap "settings" not found'
    )


def test_a_volume_of_a_missing_configmap() -> None:
    cluster = started_cluster(volumes=[{"name": "templates", "configMap": {"name": "chat"}}])
    cluster.until(lambda: bool(cluster.events("FailedMount")))
    assert cluster.messages("FailedMount") == [
        'MountVolume.SetUp failed for volume "templates" : configmap "chat" not found'
    ]
    assert cluster.state()[1] == "ContainerCreating"
    cluster.create(CONFIGMAPS, {"metadata": {"namespace": "lab", "name": "chat"}, "data": {}})
    cluster.until(cluster.ready)


def test_a_command_that_the_image_does_not_hold() -> None:
    cluster = started_cluster(command=["vlm", "serve"])
    text = (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
        'runc create failed: unable to start container process: exec: "vlm": executable file not '
        "found in $PATH: unknown"
    )
    assert wait_for_reason(cluster, "RunContainerError") == text
    assert f"Error: {text}" in cluster.messages("Failed")
    wait_for_reason(cluster, "CrashLoopBackOff")
    last = cluster.container()["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("StartError", 128)
    repair(cluster, command=["vllm", "serve"])


# -- crashes ---------------------------------------------------------------------------------------

CRASHES: list[tuple[str, Json, int, str, str]] = [
    (
        "unknown option",
        {"args": ["Qwen/Qwen3-8B", "--max-model-length", "8192"]},
        2,
        "Error",
        "vllm serve: error: unrecognized arguments: --max-model-length 8192",
    ),
    (
        "bad value",
        {"args": ["Qwen/Qwen3-8B", "--dtype", "int3"]},
        2,
        "Error",
        "argument --dtype: invalid choice: 'int3' (choose from 'auto', 'half',",
    ),
    (
        "unknown model",
        {"args": ["acme/does-not-exist"]},
        1,
        "Error",
        "OSError: acme/does-not-exist is not a local folder and is not a valid model identifier",
    ),
    (
        "gated model",
        {"args": ["meta-llama/Llama-3.1-8B-Instruct", "--max-model-len", "8192"]},
        1,
        "Error",
        "Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct",
    ),
    (
        "too few GPUs",
        {"args": ["Qwen/Qwen3-8B", "--tensor-parallel-size", "4"]},
        1,
        "Error",
        "RuntimeError: Engine core initialization failed",
    ),
    (
        "weights too large",
        {"args": ["Qwen/Qwen3-72B", "--max-model-len", "4096"], "memory": "200Gi"},
        1,
        "Error",
        "RuntimeError: Engine core initialization failed",
    ),
    (
        "context too long",
        {"args": ["Qwen/Qwen3-32B", "--max-model-len", "131072"], "memory": "200Gi"},
        1,
        "Error",
        "RuntimeError: Engine core initialization failed",
    ),
    ("memory limit", {"memory": "5Gi"}, 137, "OOMKilled", "Loading safetensors checkpoint shards"),
]


@pytest.mark.parametrize(
    ("options", "code", "reason", "words"), [c[1:] for c in CRASHES], ids=[c[0] for c in CRASHES]
)
def test_a_server_that_cannot_start(options: Json, code: int, reason: str, words: str) -> None:
    cluster = started_cluster(**options)
    wait_for_reason(cluster, "CrashLoopBackOff")
    last = cluster.container()["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (code, reason)
    assert words in last["message"]
    assert not cluster.container()["ready"]
    assert cluster.pod()["status"]["phase"] == "Running"
    cluster.edit(
        lambda obj: container_of(obj).update(
            args=["Qwen/Qwen3-8B", "--max-model-len", "8192"],
            resources={"limits": {"memory": "48Gi", "nvidia.com/gpu": "1"}},
        )
    )
    cluster.advance(0)
    cluster.until(lambda: cluster.ready() and len(cluster.pods()) == 1)


def test_the_log_of_a_server_without_device_memory_says_so() -> None:
    cluster = started_cluster(args=["Qwen/Qwen3-72B", "--max-model-len", "4096"], memory="200Gi")
    wait_for_reason(cluster, "CrashLoopBackOff")
    worker = cluster.controllers.kubelet.container(
        cluster.pod()["metadata"]["uid"], "inference-server"
    )
    assert worker is not None and worker.previous_instance is not None
    text = "\n".join(
        line.text
        for b in InstanceLog(worker.previous_instance).blocks(0, cluster.clock.time())
        for line in b
    )
    assert "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate" in text
    assert "GPU 0 has a total capacity of 79.20 GiB" in text


def test_the_back_off_doubles_up_to_five_minutes() -> None:
    cluster = started_cluster(memory="5Gi")
    delays: list[str] = []

    def changed(_: object) -> None:
        statuses = cluster.pods() and cluster.pod()["status"].get("containerStatuses")
        if statuses and cluster.state()[1] == "CrashLoopBackOff":
            delay = cluster.state()[2].split()[1]
            if delay not in delays:
                delays.append(delay)

    cluster.store.subscribe(changed, PODS)
    cluster.advance(1800)
    assert delays == ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s"]
    meta = cluster.pod()["metadata"]
    assert cluster.state()[2].endswith(
        f"restarting failed container=inference-server pod={meta['name']}_lab({meta['uid']})"
    )
    (event,) = [e for e in cluster.events("BackOff") if e["type"] == "Warning"]
    assert event["message"] == (
        f"Back-off restarting failed container inference-server in pod {meta['name']}_lab"
        f"({meta['uid']})"
    )
    assert event["count"] >= len(delays)


def test_the_first_crash_restarts_at_once_and_keeps_the_log_of_the_previous_instance() -> None:
    cluster = started_cluster(annotations={failure_simulation.CRASH_AFTER_ANNOTATION: "10m"})
    cluster.until(cluster.ready)
    cluster.until(lambda: cluster.container()["restartCount"] == 1)
    assert cluster.state()[0] == "running"
    last = cluster.container()["lastState"]["terminated"]
    assert last["exitCode"] == 1
    assert "EngineDeadError" in last["message"]
    worker = cluster.controllers.kubelet.container(
        cluster.pod()["metadata"]["uid"], "inference-server"
    )
    assert (
        worker is not None and worker.previous_instance is not None and worker.instance is not None
    )
    assert worker.instance.number == 1 and worker.previous_instance.number == 0
    tail = [
        line.text for line in InstanceLog(worker.previous_instance).tail(40, cluster.clock.time())
    ]
    assert any("CUDA error: an illegal memory access" in line for line in tail)


def test_a_leak_is_killed_by_the_kernel() -> None:
    cluster = started_cluster(annotations={failure_simulation.LEAK_AFTER_ANNOTATION: "5m"})
    cluster.until(cluster.ready)
    cluster.until(lambda: cluster.container()["restartCount"] == 1)
    last = cluster.container()["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "OOMKilled")
