"""Each way in which a serving fails: what its status, its reason and its Events say, in the words
of Kubernetes; and that mending the object heals it."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.demo.resources import (
    CONFIGMAPS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    RESOURCEQUOTAS,
    SECRETS,
)
from servedeck.demo.workloads import failure_simulation
from servedeck.demo.workloads.instance_log import Log
from tests.demo.cluster_fixture import World, container_of

Json = dict[str, Any]


def started(**options: Any) -> World:
    world = World()
    world.node()
    world.deploy(**options)
    return world


def waiting(world: World, reason: str) -> str:
    """Waits for the container to wait for that reason; its message."""

    def reached() -> bool:
        statuses = world.pods() and world.pod()["status"].get("containerStatuses")
        return bool(statuses) and world.state()[1] == reason

    world.until(reached)
    return world.state()[2]


def mend(world: World, **change: Any) -> None:
    world.edit(lambda obj: container_of(obj).update(change))
    world.advance(0)
    world.until(lambda: world.ready() and len(world.pods()) == 1)


# -- images ----------------------------------------------------------------------------------------


def test_a_tag_that_does_not_exist() -> None:
    world = started(image="vllm/vllm-openai:v0.99.0")
    error = (
        "rpc error: code = NotFound desc = failed to pull and unpack image "
        '"docker.io/vllm/vllm-openai:v0.99.0": failed to resolve reference '
        '"docker.io/vllm/vllm-openai:v0.99.0": docker.io/vllm/vllm-openai:v0.99.0: not found'
    )
    assert waiting(world, "ErrImagePull") == error
    message = waiting(world, "ImagePullBackOff")
    assert message == f'Back-off pulling image "vllm/vllm-openai:v0.99.0": ErrImagePull: {error}'
    assert f'Failed to pull image "vllm/vllm-openai:v0.99.0": {error}' in world.messages("Failed")
    assert {"Error: ErrImagePull", "Error: ImagePullBackOff"} <= set(world.messages("Failed"))
    assert world.messages("BackOff") == ['Back-off pulling image "vllm/vllm-openai:v0.99.0"']
    assert world.pod()["status"]["phase"] == "Pending"
    waiting(world, "ErrImagePull")  # the two alternate
    mend(world, image="vllm/vllm-openai:v0.33.0")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("nobody/nothing:1", "pull access denied, repository does not exist or may require"),
        ("registry.acme.example/private/llm:1", "401 Unauthorized"),
        ("registry.acme.local/llm:1", "dial tcp: lookup registry.acme.local: no such host"),
    ],
)
def test_other_reasons_why_an_image_cannot_be_pulled(image: str, words: str) -> None:
    assert words in waiting(started(image=image), "ErrImagePull")


def test_a_name_that_is_no_image() -> None:
    world = started(image="vLLM/Server:latest")
    assert waiting(world, "InvalidImageName").endswith("invalid reference format")
    assert "Error: InvalidImageName" in world.messages("Failed")


def test_a_pull_takes_its_time_and_the_next_finds_the_image() -> None:
    world = started(replicas=1)
    world.until(world.ready)
    (pulled,) = world.messages("Pulled")
    assert pulled.startswith('Successfully pulled image "vllm/vllm-openai:v0.33.0" in 3')
    assert pulled.endswith("including waiting). Image size: 9816312905 bytes.")
    world.store.delete(PODS, "lab", world.pod()["metadata"]["name"])
    world.advance(30)
    world.until(world.ready)
    assert (
        'Container image "vllm/vllm-openai:v0.33.0" already present on machine and can be accessed '
        "by the pod" in world.messages("Pulled")
    )


# -- configuration ---------------------------------------------------------------------------------


def test_a_missing_secret_and_its_coming() -> None:
    reference = {"secretKeyRef": {"name": "hf-token", "key": "token"}}
    world = started(env=[{"name": "HF_TOKEN", "valueFrom": reference}])
    assert waiting(world, "CreateContainerConfigError") == 'secret "hf-token" not found'
    assert 'Error: secret "hf-token" not found' in world.messages("Failed")
    world.create(SECRETS, {"metadata": {"namespace": "lab", "name": "hf-token"}, "data": {}})
    world.advance(15)
    assert world.state()[2] == "couldn't find key token in Secret lab/hf-token"
    data = {"token": "aGY="}
    world.store.mutate(SECRETS, "lab", "hf-token", lambda obj: obj.update(data=data))
    assert world.until(world.ready) < 120


def test_a_missing_configmap() -> None:
    reference = {"configMapKeyRef": {"name": "settings", "key": "level"}}
    world = started(env=[{"name": "LEVEL", "valueFrom": reference}])
    assert waiting(world, "CreateContainerConfigError") == 'configmap "settings" not found'


def test_a_volume_of_a_missing_configmap() -> None:
    world = started(volumes=[{"name": "templates", "configMap": {"name": "chat"}}])
    world.until(lambda: bool(world.events("FailedMount")))
    assert world.messages("FailedMount") == [
        'MountVolume.SetUp failed for volume "templates" : configmap "chat" not found'
    ]
    assert world.state()[1] == "ContainerCreating"
    world.create(CONFIGMAPS, {"metadata": {"namespace": "lab", "name": "chat"}, "data": {}})
    world.until(world.ready)


def test_a_command_that_the_image_does_not_hold() -> None:
    world = started(command=["vlm", "serve"])
    text = (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
        'runc create failed: unable to start container process: exec: "vlm": executable file not '
        "found in $PATH: unknown"
    )
    assert waiting(world, "RunContainerError") == text
    assert f"Error: {text}" in world.messages("Failed")
    waiting(world, "CrashLoopBackOff")
    last = world.container()["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("StartError", 128)
    mend(world, command=["vllm", "serve"])


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
    world = started(**options)
    waiting(world, "CrashLoopBackOff")
    last = world.container()["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (code, reason)
    assert words in last["message"]
    assert not world.container()["ready"]
    assert world.pod()["status"]["phase"] == "Running"
    world.edit(
        lambda obj: container_of(obj).update(
            args=["Qwen/Qwen3-8B", "--max-model-len", "8192"],
            resources={"limits": {"memory": "48Gi", "nvidia.com/gpu": "1"}},
        )
    )
    world.advance(0)
    world.until(lambda: world.ready() and len(world.pods()) == 1)


def test_the_log_of_a_server_without_device_memory_says_so() -> None:
    world = started(args=["Qwen/Qwen3-72B", "--max-model-len", "4096"], memory="200Gi")
    waiting(world, "CrashLoopBackOff")
    worker = world.controllers.kubelet.container(world.pod()["metadata"]["uid"], "inference-server")
    assert worker is not None and worker.previous_instance is not None
    text = "\n".join(
        line.text for b in Log(worker.previous_instance).blocks(0, world.clock.time()) for line in b
    )
    assert "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate" in text
    assert "GPU 0 has a total capacity of 79.20 GiB" in text


def test_the_back_off_doubles_up_to_five_minutes() -> None:
    world = started(memory="5Gi")
    delays: list[str] = []

    def changed(_: object) -> None:
        statuses = world.pods() and world.pod()["status"].get("containerStatuses")
        if statuses and world.state()[1] == "CrashLoopBackOff":
            delay = world.state()[2].split()[1]
            if delay not in delays:
                delays.append(delay)

    world.store.subscribe(changed, PODS)
    world.advance(1800)
    assert delays == ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s"]
    meta = world.pod()["metadata"]
    assert world.state()[2].endswith(
        f"restarting failed container=inference-server pod={meta['name']}_lab({meta['uid']})"
    )
    (event,) = [e for e in world.events("BackOff") if e["type"] == "Warning"]
    assert event["message"] == (
        f"Back-off restarting failed container inference-server in pod {meta['name']}_lab"
        f"({meta['uid']})"
    )
    assert event["count"] == 3, "the recorder's limit holds back the rest"


def test_the_first_crash_restarts_at_once_and_keeps_the_log_of_the_previous_instance() -> None:
    world = started(annotations={failure_simulation.CRASH: "10m"})
    world.until(world.ready)
    world.until(lambda: world.container()["restartCount"] == 1)
    assert world.state()[0] == "running"
    last = world.container()["lastState"]["terminated"]
    assert last["exitCode"] == 1
    assert "EngineDeadError" in last["message"]
    worker = world.controllers.kubelet.container(world.pod()["metadata"]["uid"], "inference-server")
    assert (
        worker is not None and worker.previous_instance is not None and worker.instance is not None
    )
    assert worker.instance.number == 1 and worker.previous_instance.number == 0
    tail = [line.text for line in Log(worker.previous_instance).tail(40, world.clock.time())]
    assert any("CUDA error: an illegal memory access" in line for line in tail)


def test_a_leak_is_killed_by_the_kernel() -> None:
    world = started(annotations={failure_simulation.LEAK: "5m"})
    world.until(world.ready)
    world.until(lambda: world.container()["restartCount"] == 1)
    last = world.container()["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "OOMKilled")


# -- probes ----------------------------------------------------------------------------------------


def test_a_server_that_stops_answering_is_killed_by_its_liveness_probe() -> None:
    world = started(annotations={failure_simulation.HANG: "5m"})
    world.until(world.ready)
    address = world.pod()["status"]["podIP"]
    world.until(lambda: not world.container()["ready"])
    world.until(lambda: world.container()["restartCount"] == 1)
    url = f"http://{address}:8000/health"
    timeout = (
        f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    )
    assert {f"Readiness probe failed: {timeout}", f"Liveness probe failed: {timeout}"} <= set(
        world.messages("Unhealthy")
    )
    assert world.messages("Killing") == [
        "Container inference-server failed liveness probe, will be restarted"
    ]
    assert world.container()["lastState"]["terminated"]["exitCode"] == 137
    world.until(world.ready)


def test_a_server_that_says_503_is_not_ready() -> None:
    world = started(annotations={failure_simulation.UNREADY: "5m"})
    world.edit(lambda obj: container_of(obj).pop("livenessProbe"))
    world.advance(0)
    world.until(world.ready)
    world.until(lambda: not world.container()["ready"])
    assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in world.messages(
        "Unhealthy"
    )
    ready = world.condition("Ready", world.pod())
    assert ready is not None and ready["reason"] == "ContainersNotReady"
    assert ready["message"] == "containers with unready status: [inference-server]"
    assert world.container()["restartCount"] == 0


def test_while_the_model_loads_the_startup_probe_fails_and_nothing_is_restarted() -> None:
    world = started()
    world.until(lambda: bool(world.events("Unhealthy")))
    address = world.pod()["status"]["podIP"]
    assert world.messages("Unhealthy") == [
        f'Startup probe failed: Get "http://{address}:8000/health": dial tcp {address}:8000: '
        "connect: connection refused"
    ]
    assert not world.container()["started"]
    world.until(world.ready)
    assert world.container()["restartCount"] == 0
    (event,) = world.events("Unhealthy")
    assert event["count"] > 2, "the same Event is counted, not written anew"
    assert event["involvedObject"]["fieldPath"] == "spec.containers{inference-server}"


def test_a_startup_probe_that_gives_up_kills() -> None:
    world = World()
    world.node()
    probe = {"httpGet": {"path": "/health", "port": 8000}, "failureThreshold": 2}
    world.deploy()
    world.edit(lambda obj: container_of(obj).update(startupProbe=probe))
    world.until(lambda: bool(world.events("Killing")))
    assert world.messages("Killing") == [
        "Container inference-server failed startup probe, will be restarted"
    ]


# -- scheduling ------------------------------------------------------------------------------------


def test_nothing_fits_and_the_scheduler_counts_why() -> None:
    world = World()
    world.node("full", gpus=1)
    world.node("cordoned", unschedulable=True)
    world.node("tainted", taints=[{"key": "maintenance", "effect": "NoSchedule"}])
    world.node("cpu", gpus=0)
    world.deploy("first")
    world.until(lambda: world.ready("first"))
    world.deploy("llm")
    world.until(lambda: bool(world.events("FailedScheduling")))
    message = (
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were "
        "unschedulable, 2 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: "
        "0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is "
        "not helpful for scheduling."
    )
    (event,) = world.events("FailedScheduling")
    assert event["message"] == message
    assert event["reportingComponent"] == "default-scheduler" and event["lastTimestamp"] is None
    pod = next(p for p in world.pods() if p["metadata"]["labels"]["app"] == "llm")
    scheduled = world.condition("PodScheduled", pod)
    assert scheduled is not None
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert scheduled["message"] == message
    world.store.mutate(NODES, "", "cordoned", lambda node: node.update(spec={}))
    world.until(world.ready)


def test_a_node_selector_and_a_toleration() -> None:
    world = World()
    world.node("gpu", taints=[{"key": "nvidia.com/gpu", "value": "x", "effect": "NoSchedule"}])

    def change(spec: Json) -> None:
        world.edit(lambda obj: obj["spec"]["template"]["spec"].update(spec))

    world.deploy(strategy={"type": "Recreate"})
    change({"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-B200"}})
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    change({"tolerations": tolerations})
    world.until(lambda: bool(world.events("FailedScheduling")))
    world.advance(60)
    assert "1 node(s) didn't match Pod's node affinity/selector" in str(world.pod()["status"])
    change({"nodeSelector": None})
    world.advance(0)
    world.until(world.ready)


def test_a_freed_accelerator_goes_to_the_pod_that_waits() -> None:
    world = World()
    world.node(gpus=1)
    world.deploy("first")
    world.until(lambda: world.ready("first"))
    world.deploy("llm")
    world.advance(60)
    assert not world.ready()
    world.edit(lambda obj: obj["spec"].update(replicas=0), "first")
    world.until(world.ready, limit=200)


def test_a_missing_claim() -> None:
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "nope"}}
    world = started(volumes=[claim])
    world.until(lambda: bool(world.events("FailedScheduling")))
    assert 'persistentvolumeclaim "nope" not found' in world.messages("FailedScheduling")[0]
    world.create(
        PERSISTENTVOLUMECLAIMS,
        {
            "metadata": {"namespace": "lab", "name": "nope"},
            "spec": {"accessModes": ["ReadWriteOnce"]},
            "status": {"phase": "Bound"},
        },
    )
    world.until(world.ready)


# -- quota -----------------------------------------------------------------------------------------


def test_a_quota_refuses_pods_and_the_deployment_says_so() -> None:
    world = World()
    world.node()
    world.create(
        RESOURCEQUOTAS,
        {
            "metadata": {"namespace": "lab", "name": "accelerators"},
            "spec": {"hard": {"requests.nvidia.com/gpu": "2", "pods": "10"}},
        },
    )
    world.deploy(replicas=3)
    world.advance(120)
    assert len(world.pods()) == 2
    failure = world.condition("ReplicaFailure")
    assert failure is not None
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
    words = (
        "is forbidden: exceeded quota: accelerators, requested: requests.nvidia.com/gpu=1, "
        "used: requests.nvidia.com/gpu=2, limited: requests.nvidia.com/gpu=2"
    )
    assert failure["message"].startswith('pods "llm-') and failure["message"].endswith(words)
    created = world.events("FailedCreate", kind="ReplicaSet")
    assert created and created[0]["message"].startswith('Error creating: pods "llm-')
    quota = world.store.get(RESOURCEQUOTAS, "lab", "accelerators")
    assert quota["status"]["used"] == {"pods": "2", "requests.nvidia.com/gpu": "2"}
    hard = {"requests.nvidia.com/gpu": "4"}
    world.store.mutate(
        RESOURCEQUOTAS, "lab", "accelerators", lambda obj: obj["spec"].update(hard=hard)
    )
    world.until(world.ready, limit=1200)
    assert world.condition("ReplicaFailure") is None


# -- Events ----------------------------------------------------------------------------------------


def test_events_go_after_an_hour_and_a_recorder_limits_what_repeats() -> None:
    world = started(image="vllm/vllm-openai:v0.99.0")
    world.advance(7200)
    pulls = [e for e in world.events() if e["involvedObject"]["kind"] == "Pod"]
    # a burst of 25 in the first minutes, then one in five minutes
    assert sum(event["count"] or 1 for event in pulls) <= 25 + 7200 / 300 + 2
    assert world.events("ScalingReplicaSet") == []
    assert all(e["lastTimestamp"] or e["eventTime"] for e in world.events())


def test_events_that_differ_in_a_name_alone_are_combined_from_the_tenth_on() -> None:
    world = World()
    world.node()
    quota = {"metadata": {"namespace": "lab", "name": "none"}, "spec": {"hard": {"pods": "0"}}}
    world.create(RESOURCEQUOTAS, quota)
    world.deploy()
    world.advance(500)
    refused = world.events("FailedCreate")
    combined = [e for e in refused if e["message"].startswith("(combined from similar events): ")]
    assert (len(refused), len(combined)) == (10, 1)
    assert combined[0]["count"] > 3
    assert 'Error creating: pods "llm-' in combined[0]["message"]


def test_a_namespace_goes_with_all_that_is_in_it() -> None:
    world = started(replicas=2)
    world.until(world.ready)
    world.store.delete(NAMESPACES, "", "lab")
    world.advance(120)
    assert world.store.find(NAMESPACES, "", "lab") is None
    assert world.pods() == [] and world.events() == []
