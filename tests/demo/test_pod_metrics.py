"""metrics.k8s.io of the demo, as metrics-server answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from servedeck.demo.cluster import DemoCluster
from servedeck.serving.quantity import parse_quantity

PATH = "/apis/metrics.k8s.io/v1beta1/namespaces/chat/pods"


@pytest.fixture
async def get() -> AsyncIterator[Any]:
    """Status and body of a GET."""
    async with DemoCluster(live=False) as demo, aiohttp.ClientSession() as session:
        kubeconfig = json.loads(demo.kubeconfig.read_text())
        server = kubeconfig["clusters"][0]["cluster"]["server"]

        async def ask(path: str, **headers: str) -> tuple[int, Any]:
            async with session.get(server + path, headers=headers) as response:
                return response.status, await response.json()

        yield ask


async def test_pods_of_a_namespace_have_their_usage(get: Any) -> None:
    status, found = await get(PATH)
    assert status == 200
    assert (found["kind"], found["apiVersion"]) == ("PodMetricsList", "metrics.k8s.io/v1beta1")
    assert len(found["items"]) >= 6
    for pod in found["items"]:
        assert pod["metadata"]["namespace"] == "chat" and pod["window"] == "15s"
        assert pod["timestamp"].endswith("Z")
        if pod["metadata"]["name"].startswith("llama-33-70b-async-"):
            assert [one["name"] for one in pod["containers"]] == ["accept", "deliver"]
            continue
        (container,) = pod["containers"]
        assert 0 < parse_quantity(container["usage"]["cpu"]) < 16
        assert 2**30 < parse_quantity(container["usage"]["memory"]) < 64 * 2**30
        assert container["usage"]["cpu"].endswith("n")
        assert container["usage"]["memory"].endswith("Ki")
    name = found["items"][0]["metadata"]["name"]
    assert await get(f"{PATH}/{name}") == (200, found["items"][0])


async def test_labels_choose_pods_and_a_table_names_them(get: Any) -> None:
    _, all_found = await get("/apis/metrics.k8s.io/v1beta1/pods")
    labels = all_found["items"][0]["metadata"]["labels"]
    key, value = next(iter(labels.items()))
    _, found = await get(f"/apis/metrics.k8s.io/v1beta1/pods?labelSelector={key}%3D{value}")
    assert 0 < len(found["items"]) < len(all_found["items"])
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    _, table = await get(PATH, Accept=accept)
    assert table["kind"] == "Table" and len(table["rows"]) >= 6


async def test_a_pod_without_a_running_container_has_none(get: Any) -> None:
    status, found = await get(f"{PATH}/nothing")
    assert (status, found["reason"]) == (404, "NotFound")
    _, pods = await get("/api/v1/namespaces/vision/pods")
    waiting = [
        pod["metadata"]["name"]
        for pod in pods["items"]
        if "waiting" in pod["status"]["containerStatuses"][0]["state"]
    ]
    assert waiting
    for name in waiting:
        status, _ = await get(f"/apis/metrics.k8s.io/v1beta1/namespaces/vision/pods/{name}")
        assert status == 404


async def test_discovery_has_the_group_and_no_more_verbs(get: Any) -> None:
    _, groups = await get("/apis")
    assert "metrics.k8s.io" in [group["name"] for group in groups["groups"]]
    _, listed = await get("/apis/metrics.k8s.io/v1beta1")
    (entry,) = listed["resources"]
    assert (entry["name"], entry["kind"]) == ("pods", "PodMetrics")
    assert sorted(entry["verbs"]) == ["get", "list"]
