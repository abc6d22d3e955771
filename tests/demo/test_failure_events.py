"""The exact messages of the Events of each failure. Those of the kubelet cannot be compared with a
real one here, so they are written out; servedeck/demo/event_messages.py names their sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from servedeck.demo import event_messages
from servedeck.demo.resources import DEPLOYMENTS, RESOURCEQUOTAS
from servedeck.demo.workloads import failure_simulation
from tests.demo.cluster_fixture import ClusterFixture, container_of, deployment

Json = dict[str, Any]


class Case(NamedTuple):
    failure: str
    options: Json
    """For `deployment`."""
    container: Json
    """Fields of the container."""
    warnings: dict[str, list[str]]
    """Messages by reason; POD, UID, IP stand for the Pod's."""
    normal: dict[str, list[str]] = {}


def reference(kind: str, name: str, key: str) -> list[Json]:
    return [{"name": "X", "valueFrom": {f"{kind}KeyRef": {"name": name, "key": key}}}]


NOT_FOUND = (
    "rpc error: code = NotFound desc = failed to pull and unpack image "
    '"docker.io/vllm/vllm-openai:v0.99.0": failed to resolve reference '
    '"docker.io/vllm/vllm-openai:v0.99.0": docker.io/vllm/vllm-openai:v0.99.0: not found'
)
BACK_OFF = "Back-off restarting failed container inference-server in pod POD_lab(UID)"
TIMEOUT = (
    'Get "http://IP:8000/health": context deadline exceeded (Client.Timeout exceeded while '
    "awaiting headers)"
)
CASES = (
    Case(
        "no such tag",
        {"image": "vllm/vllm-openai:v0.99.0"},
        {},
        {
            "Failed": [
                f'Failed to pull image "vllm/vllm-openai:v0.99.0": {NOT_FOUND}',
                "Error: ErrImagePull",
                "Error: ImagePullBackOff",
            ]
        },
        {
            "Pulling": ['Pulling image "vllm/vllm-openai:v0.99.0"'],
            "BackOff": ['Back-off pulling image "vllm/vllm-openai:v0.99.0"'],
        },
    ),
    Case(
        "no such repository",
        {"image": "nobody/nothing:1"},
        {},
        {
            "Failed": [
                'Failed to pull image "nobody/nothing:1": failed to pull and unpack image '
                '"docker.io/nobody/nothing:1": failed to resolve reference '
                '"docker.io/nobody/nothing:1": pull access denied, repository does not exist or '
                "may require authorization: server message: insufficient_scope: authorization "
                "failed",
                "Error: ErrImagePull",
                "Error: ImagePullBackOff",
            ]
        },
    ),
    Case(
        "no image's name",
        {"image": "vLLM/Server:latest"},
        {},
        {
            "InspectFailed": [
                'Failed to apply default image tag "vLLM/Server:latest": couldn\'t parse image '
                'name "vLLM/Server:latest": invalid reference format'
            ],
            "Failed": ["Error: InvalidImageName"],
        },
    ),
    Case(
        "never pulled",
        {},
        {"imagePullPolicy": "Never"},
        {
            "ErrImageNeverPull": [
                'Container image "vllm/vllm-openai:v0.33.0" is not present with pull policy of '
                "Never"
            ],
            "Failed": ["Error: ErrImageNeverPull"],
        },
    ),
    Case(
        "no Secret",
        {"env": reference("secret", "hf-token", "token")},
        {},
        {"Failed": ['Error: secret "hf-token" not found']},
    ),
    Case(
        "no ConfigMap",
        {"env": reference("configMap", "settings", "level")},
        {},
        {"Failed": ['Error: configmap "settings" not found']},
    ),
    Case(
        "no ConfigMap to mount",
        {"volumes": [{"name": "templates", "configMap": {"name": "chat"}}]},
        {},
        {
            "FailedMount": [
                'MountVolume.SetUp failed for volume "templates" : configmap "chat" not found'
            ]
        },
    ),
    Case(
        "no such program",
        {"command": ["vlm", "serve"]},
        {},
        {
            "Failed": [
                "Error: failed to create containerd task: failed to create shim task: OCI runtime "
                "create failed: runc create failed: unable to start container process: exec: "
                '"vlm": executable file not found in $PATH: unknown'
            ],
            "BackOff": [BACK_OFF],
        },
    ),
    Case(
        "a crash",
        {"args": ["Qwen/Qwen3-8B", "--no-such-option"]},
        {},
        {"BackOff": [BACK_OFF]},
        {"Created": ["Container created"], "Started": ["Container started"]},
    ),
    Case("out of memory", {"memory": "5Gi"}, {}, {"BackOff": [BACK_OFF]}),
    Case(
        "a hang",
        {"annotations": {failure_simulation.HANG_AFTER_ANNOTATION: "5m"}},
        {},
        {
            "Unhealthy": [
                f"Readiness probe failed: {TIMEOUT}",
                f"Liveness probe failed: {TIMEOUT}",
            ]
        },
        {"Killing": ["Container inference-server failed liveness probe, will be restarted"]},
    ),
    Case(
        "not ready",
        {"annotations": {failure_simulation.UNREADY_AFTER_ANNOTATION: "5m"}},
        {"livenessProbe": None},
        {"Unhealthy": ["Readiness probe failed: HTTP probe failed with statuscode: 503"]},
    ),
    Case(
        "a start too slow",
        {},
        {"startupProbe": {"httpGet": {"path": "/health", "port": 8000}, "failureThreshold": 2}},
        {
            "Unhealthy": [
                'Startup probe failed: Get "http://IP:8000/health": dial tcp IP:8000: connect: '
                "connection refused"
            ]
        },
        {"Killing": ["Container inference-server failed startup probe, will be restarted"]},
    ),
    Case(
        "no room",
        {"gpus": 16},
        {},
        {
            "FailedScheduling": [
                "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to "
                "deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for "
                "scheduling."
            ]
        },
    ),
    Case(
        "quota",
        {"gpus": 3},
        {},
        {
            "FailedCreate": [
                'Error creating: pods "POD" is forbidden: exceeded quota: accelerators, '
                "requested: requests.nvidia.com/gpu=3, used: requests.nvidia.com/gpu=0, limited: "
                "requests.nvidia.com/gpu=2"
            ]
        },
    ),
)


@pytest.mark.parametrize("case", CASES, ids=[case.failure for case in CASES])
def test_the_events_of_a_failure(case: Case) -> None:
    cluster = ClusterFixture()
    cluster.node()
    if case.failure == "quota":
        hard = {"requests.nvidia.com/gpu": "2"}
        meta = {"namespace": "lab", "name": "accelerators"}
        cluster.create(RESOURCEQUOTAS, {"metadata": meta, "spec": {"hard": hard}})
    body = deployment(**case.options)
    container = container_of(body)
    container.update(case.container)
    container = {name: value for name, value in container.items() if value is not None}
    body["spec"]["template"]["spec"]["containers"] = [container]
    cluster.create(DEPLOYMENTS, body)
    wanted = {("Warning", *pair) for pair in pairs(case.warnings)}
    wanted |= {("Normal", *pair) for pair in pairs(case.normal)}
    cluster.until(lambda: wanted <= read_events(cluster))


def test_every_warning_of_the_demo_is_covered() -> None:
    covered = {pair for case in CASES for pair in pairs(case.warnings)}
    scalers = (event_messages.Component.KEDA, event_messages.Component.HPA)  # see test_keda
    for message in vars(event_messages).values():
        if not isinstance(message, event_messages.EventMessage) or message.component in scalers:
            continue
        if message.type == "Warning":
            pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(message.template))
            assert any(
                reason == message.reason and re.fullmatch(pattern, m) for reason, m in covered
            ), message


def pairs(messages: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    for reason, texts in messages.items():
        yield from ((reason, text) for text in texts)


def read_events(cluster: ClusterFixture) -> set[tuple[str, str, str]]:
    """(type, reason, message) of all Events, without what differs between Pods."""
    found = set()
    addresses = [pod["status"].get("podIP") for pod in cluster.pods()]
    for event in cluster.events():
        message = event["message"].replace(event["involvedObject"]["uid"], "UID")
        message = re.sub(r"llm-[a-z0-9]{8,10}-[a-z0-9]{5}", "POD", message)
        for address in filter(None, addresses):
            message = message.replace(address, "IP")
        found.add((event["type"], event["reason"], message))
    return found
