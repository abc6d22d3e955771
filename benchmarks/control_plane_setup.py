"""The benchmark environment: a control plane with many servings, and changing Pods.

    python -m benchmarks.control_plane_setup churn URL TOKEN --rate 100 --seconds 60

changes Pods at that rate; the benchmark runs it as a separate process, so that the load generator
does not share an interpreter with the timing code.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.control_plane import objects
from tests.control_plane.control_plane import ControlPlane

NAMESPACE_COUNT = 10
QUIET_SECONDS = 5.0
"""Seconds without a change after which Pods are idle: kwok's second writes came within four."""
API_SERVER_ARGS = ("--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000")


def open_client(url: str, token: str) -> aiohttp.ClientSession:
    """A client that does not verify the control plane's self-signed certificate."""
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    return aiohttp.ClientSession(
        url,
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(ssl=tls, limit=32),
    )


def build_serving(number: int, replicas: int) -> tuple[str, dict[str, Any]]:
    """Namespace and Deployment of one serving, "srv-007" in "team-7"."""
    body = objects.deployment(f"srv-{number:03}", replicas=replicas)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": f"SETTING_{n}", "value": "x" * 20} for n in range(10)]
    container["readinessProbe"] = {"httpGet": {"path": "/health", "port": 8000}}
    return f"team-{number % NAMESPACE_COUNT}", body


async def create_servings(plane: ControlPlane, numbers: Sequence[int], replicas: int) -> float:
    """Create the servings with these numbers and wait until every Pod is ready and no longer
    changes: if kwok lags on its watch, it sets a Pod ready again and reverts changes made
    meanwhile. Returns the duration in seconds."""
    start = time.monotonic()
    async with open_client(plane.url, plane.tokens["admin"]) as http:

        async def create(path: str, body: dict[str, Any]) -> None:
            async with http.post(path, json=body) as answer:
                if answer.status not in (201, 409):
                    raise RuntimeError(f"{path}: {answer.status} {await answer.text()}")

        await asyncio.gather(
            *(
                create("/api/v1/namespaces", {"metadata": {"name": f"team-{n}"}})
                for n in range(NAMESPACE_COUNT)
            )
        )
        made = [build_serving(number, replicas) for number in numbers]
        await asyncio.gather(
            *(create(f"/apis/apps/v1/namespaces/{ns}/deployments", body) for ns, body in made)
        )
        names = {body["metadata"]["name"] for _, body in made}
        wanted = len(made) * replicas
        limit = 120 + wanted / 10
        ready = 0
        while time.monotonic() - start < limit:
            async with http.get("/apis/apps/v1/deployments?resourceVersion=0") as answer:
                items = (await answer.json())["items"]
            ready = sum(
                item["status"].get("readyReplicas", 0)
                for item in items
                if item["metadata"]["name"] in names
            )
            if ready >= wanted:
                break
            await asyncio.sleep(1)
        else:
            raise TimeoutError(f"{ready} of {wanted} Pods were ready after {limit:.0f} s")
        async with asyncio.timeout(limit):
            await _wait_until_quiet(http)
        return time.monotonic() - start


async def _wait_until_quiet(http: aiohttp.ClientSession) -> None:
    """Wait until no Pod was modified for `QUIET_SECONDS`."""
    async with http.get("/api/v1/pods", params={"limit": 1}) as answer:
        version = (await answer.json())["metadata"]["resourceVersion"]
    async with http.get(
        "/api/v1/pods",
        params={"watch": 1, "resourceVersion": version},
        headers={"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"},
        timeout=aiohttp.ClientTimeout(total=None),
    ) as watch:
        with suppress(TimeoutError):
            while await asyncio.wait_for(watch.content.readany(), QUIET_SECONDS):
                pass


async def churn_pods(url: str, token: str, rate: float, seconds: float) -> dict[str, float]:
    """Add a restart to random Pods at a constant rate, even if the server does not keep up; returns
    the number of changes."""
    counts = {"changed": 0, "failed": 0}
    async with open_client(url, token) as http:
        async with http.get("/api/v1/pods?resourceVersion=0") as answer:
            items = (await answer.json())["items"]
        pods = [
            (item["metadata"]["namespace"], item["metadata"]["name"], statuses)
            for item in items
            if (statuses := item["status"].get("containerStatuses"))
        ]

        changing: set[tuple[str, str]] = set()
        """Pods with a request in flight: two requests for one Pod may arrive out of order."""

        async def change() -> None:
            namespace, name, statuses = random.choice(pods)
            while (namespace, name) in changing:
                namespace, name, statuses = random.choice(pods)
            changing.add((namespace, name))
            statuses[0]["restartCount"] += 1
            async with http.patch(
                f"/api/v1/namespaces/{namespace}/pods/{name}/status",
                data=json.dumps({"status": {"containerStatuses": statuses}}),
                headers={"Content-Type": "application/strategic-merge-patch+json"},
            ) as answer:
                await answer.read()  # else the connection is closed, and each change opens another
                counts["changed" if answer.status == 200 else "failed"] += 1
            changing.discard((namespace, name))

        start = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0, start + number / rate - time.monotonic()))
                tasks.create_task(change())
        took = time.monotonic() - start
    return counts | {"per_second": round(counts["changed"] / took, 1)}


def start_control_plane(root: Path | None, nodes: int) -> ControlPlane:
    """A running control plane with nodes, but without servings."""
    plane = ControlPlane(root, api_args=API_SERVER_ARGS)
    try:
        plane.start()
        plane.add_crds()
        plane.add_nodes(nodes)
    except BaseException:
        plane.stop()
        raise
    return plane


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["churn"])
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    print(json.dumps(asyncio.run(churn_pods(args.url, args.token, args.rate, args.seconds))))


if __name__ == "__main__":
    main()
