"""Bundles of servings of the demo cluster."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from servedeck.bundle import log_files
from servedeck.bundle.archive import ArchiveWriter
from servedeck.bundle.bundle import BundleProgress, BundleSource, directory_name, save_bundle
from servedeck.bundle.options import BundleOptions, describe_estimate, log_streams
from servedeck.bundle.reader import PARALLEL_REQUESTS
from servedeck.bundle.redaction import Redactor
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ApiError, ReadTimeoutError
from servedeck.config import Settings
from servedeck.demo.cluster import DemoCluster
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import NamespacedName
from tests.bundle.archive_files import read_archive
from tests.waiting import wait_until, with_timeout

CRASHED = NamespacedName("search", "qwen3-embedding-8b")
READY = NamespacedName("chat", "llama-31-8b")
STEPS = (
    "Reading objects",
    "Reading Events",
    "Reading nodes",
    "Writing objects",
    "Reading logs",
)
"""What a bundle does, in this order."""


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False) as cluster:
        yield cluster


@asynccontextmanager
async def source_of(
    demo: DemoCluster, key: NamespacedName, context: str | None = None
) -> AsyncIterator[BundleSource]:
    target = ConnectionOptions(kubeconfig=(demo.kubeconfig,), context=context, all_namespaces=True)
    session = ClusterSession(target, Settings(), tune_gc=False)
    await session.start()
    try:
        await wait_until(lambda: session.state.settled, describe_state=lambda: session.state)
        view = session.fleet.view(key)
        assert view is not None
        assert session.connection is not None
        yield BundleSource(session.connection, session.fleet, view, (), session.server_now())
    finally:
        await session.close()


async def bundle_files(
    demo: DemoCluster,
    key: NamespacedName,
    path: Path,
    options: BundleOptions | None = None,
    *,
    context: str | None = None,
) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files of a bundle, and what is missing in it."""
    async with source_of(demo, key, context) as source:
        result = await with_timeout(save_bundle(source, path, options or BundleOptions()))
    return read_archive(path), dict(result.problems)


async def test_a_bundle_has_all_of_a_crashed_serving(demo: DemoCluster, tmp_path: Path) -> None:
    files, problems = await bundle_files(demo, CRASHED, tmp_path / "bundle.tar.gz")
    assert problems == {}
    (pod,) = (path.split("/")[1] for path in files if path.endswith("inference-server.log"))
    for path in (
        f"logs/{pod}/inference-server.previous.log",
        f"objects/Pod-{pod}.yaml",
        "objects/Deployment-qwen3-embedding-8b.yaml",
        "objects/Service-qwen3-embedding-8b.yaml",
        "objects/HTTPRoute-qwen3-embedding-8b.yaml",
    ):
        assert files[path], path
    assert "OOMKilled" in files["description.txt"].decode()
    described = json.loads(files["description.json"])
    assert described["status"] == "Error"
    assert json.loads(files["events.json"]) == described["allEvents"]
    assert "BackOff" in files["events.txt"].decode()
    assert "MemoryPressure" in files["nodes.txt"].decode()
    assert "REVISION" in files["rollouts.txt"].decode()
    for path, content in files.items():
        if path.endswith(".yaml"):
            assert yaml.safe_load(content)["kind"] in path
    deployment = yaml.safe_load(files["objects/Deployment-qwen3-embedding-8b.yaml"])
    assert "managedFields" not in deployment["metadata"]


async def test_the_index_links_each_file_and_needs_nothing_else(
    demo: DemoCluster, tmp_path: Path
) -> None:
    files, _ = await bundle_files(demo, CRASHED, tmp_path / "bundle.tar.gz")
    index = files["index.html"].decode()
    for path in files.keys() - {"index.html"}:
        assert f'href="{path}"' in index
    for text in ("OOMKilled", "search/qwen3-embedding-8b: Error", "What was redacted", "10"):
        assert text in index
    for outside in ("<script", "src=", 'http-equiv="refresh', "@import", "url("):
        assert outside not in index
    assert "Nothing: everything that belongs to a bundle was read." in index


async def test_a_viewer_may_not_read_secrets_and_the_index_says_so(
    demo: DemoCluster, tmp_path: Path
) -> None:
    key = NamespacedName("chat", "llama-33-70b")
    files, problems = await bundle_files(demo, key, tmp_path / "b.tar.gz", context="demo-viewer")
    secrets = [what for what in problems if what.startswith("Secret ")]
    assert secrets
    assert problems[secrets[0]] == "Not allowed: needs get on secrets in namespace chat."
    assert "redacted only where they look secret" in files["index.html"].decode()


async def test_what_the_limits_are_is_said_before_and_in_the_index(
    demo: DemoCluster, tmp_path: Path
) -> None:
    options = BundleOptions(max_bytes=5 << 20, timeout=90, tail_lines=7, since=7200.0)
    async with source_of(demo, READY) as source:
        assert describe_estimate(source.view, options) == (
            "Bundle of chat/llama-31-8b: 3 Pods, 3 logs; at most 5Mi before compression and 90s."
        )
    files, _ = await bundle_files(demo, READY, tmp_path / "bundle.tar.gz", options)
    limits = (
        "At most 5Mi before compression and 90s; of each log the last 7 lines of the last 120m."
    )
    assert limits in files["index.html"].decode()
    logs = [content for path, content in files.items() if path.startswith("logs/")]
    assert logs
    assert all(len(log.splitlines()) <= 7 for log in logs)


async def test_the_end_of_each_log_in_bytes(demo: DemoCluster, tmp_path: Path) -> None:
    options = BundleOptions(tail_lines=None, tail_bytes=10_000)
    files, problems = await bundle_files(demo, READY, tmp_path / "bundle.tar.gz", options)
    logs = [content for path, content in files.items() if path.startswith("logs/")]
    assert [9_000 < len(log) <= 10_000 for log in logs] == [True] * 3
    assert all(log.decode().splitlines()[0].endswith("Older lines left out.") for log in logs)
    assert problems == {}


async def test_failing_pods_and_containers_come_first(demo: DemoCluster) -> None:
    async with source_of(demo, NamespacedName("chat", "exaone-40-32b")) as source:
        streams = log_streams(source.view.pods)
    assert streams[0].pod.reason == "Unschedulable"
    assert [one.pod.reason for one in streams[1:]] == [""] * (len(streams) - 1)


async def test_of_a_pod_the_failing_container_comes_first_with_both_instances(
    demo: DemoCluster,
) -> None:
    async with source_of(demo, CRASHED) as source:
        (pod,) = source.view.pods
    init = replace(pod.containers[0], name="init", init=True, has_previous=False)
    streams = log_streams([replace(pod, containers=(init, *pod.containers))])
    assert [(one.container.name, one.previous) for one in streams] == [
        ("inference-server", False),
        ("inference-server", True),
        ("init", False),
    ]


async def test_a_reached_time_limit_leaves_logs_out_and_keeps_the_rest(
    demo: DemoCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_args: object, **_options: object) -> AsyncIterator[list[str]]:
        yield ["2026-11-28T12:00:00Z begun"]
        await asyncio.Event().wait()

    monkeypatch.setattr(log_files, "read_log", never)
    options = BundleOptions(timeout=20.0)  # what is read before the logs fits on a busy machine
    files, problems = await bundle_files(demo, CRASHED, tmp_path / "bundle.tar.gz", options)
    assert "description.txt" in files
    reasons = {why for what, why in problems.items() if what.startswith("Log of ")}
    assert reasons
    assert reasons <= {
        "The time limit was reached; its newest lines are missing.",
        "The time limit was reached before it was read.",
    }


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ReadTimeoutError("It sent nothing."), "Not requested: node {} does not return logs."),
        (
            ApiError(500, message="dial tcp 10.0.0.1:10250: i/o timeout"),
            "Not requested: node {} does not return logs.",
        ),
        (ApiError(403, message="forbidden"), "Not requested: logs may not be read."),
    ],
)
async def test_where_one_log_says_that_no_other_can_be_read_they_are_not_requested(
    demo: DemoCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    asked = 0

    async def fail(*_args: object, **_options: object) -> AsyncIterator[list[str]]:
        nonlocal asked
        asked += 1
        if asked:
            raise error
        yield []

    monkeypatch.setattr(log_files, "read_log", fail)
    async with source_of(demo, CRASHED) as source:
        (pod,) = source.view.pods
        names = [f"container-{number}" for number in range(20)]
        containers = tuple(replace(pod.containers[0], name=name) for name in names)
        view = replace(source.view, pods=(replace(pod, containers=containers),))
        path = tmp_path / "bundle.tar.gz"
        result = await save_bundle(replace(source, view=view), path, BundleOptions())
    assert asked <= 2 * PARALLEL_REQUESTS
    problems = [why for what, why in result.problems if what.startswith("Log of ")]
    assert len(problems) == len(log_streams(view.pods))
    assert problems.count(reason.format(pod.node)) == len(problems) - asked


async def test_pods_that_may_not_be_listed_are_missing(demo: DemoCluster, tmp_path: Path) -> None:
    async with source_of(demo, CRASHED) as source:
        view = replace(source.view, pods=(), pods_known=False)
        path = tmp_path / "bundle.tar.gz"
        result = await save_bundle(replace(source, view=view), path, BundleOptions())
    why = "Its Pods are not known: Pods or ReplicaSets may not be listed."
    assert dict(result.problems)["Pods and their logs"] == why


async def test_a_log_without_lines_is_named(
    demo: DemoCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_args: object, **_options: object) -> AsyncIterator[list[str]]:
        for batch in ():
            yield batch

    monkeypatch.setattr(log_files, "read_log", nothing)
    files, problems = await bundle_files(demo, CRASHED, tmp_path / "bundle.tar.gz")
    reasons = [why for what, why in problems.items() if what.startswith("Log of ")]
    assert reasons == ["It has no lines."] * 2
    assert not [path for path in files if path.startswith("logs/")]


async def test_an_object_that_is_nested_too_deep_is_left_out(
    demo: DemoCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Redactor.learn_from

    def fail(self: Redactor, obj: Mapping[str, Any]) -> None:
        if obj["kind"] == "Pod":
            raise RecursionError
        learn(self, obj)

    monkeypatch.setattr(Redactor, "learn_from", fail)
    files, problems = await bundle_files(demo, CRASHED, tmp_path / "bundle.tar.gz")
    (pod,) = (what for what in problems if what.startswith("Pod "))
    assert problems[pod] == "It is nested too deep."
    assert not [path for path in files if path.startswith("objects/Pod-")]


async def cancel_at(step: str, source: BundleSource, path: Path) -> None:
    """Cancel a bundle when it comes to a step."""
    task: asyncio.Task[object]

    def on_progress(progress: BundleProgress) -> None:
        if progress.step == step:
            task.cancel()

    task = asyncio.create_task(save_bundle(source, path, BundleOptions(), on_progress))
    with pytest.raises(asyncio.CancelledError):
        await with_timeout(task)


@pytest.mark.parametrize("step", STEPS)
async def test_a_canceled_bundle_leaves_no_file(
    demo: DemoCluster, tmp_path: Path, step: str
) -> None:
    async with source_of(demo, CRASHED) as source:
        await cancel_at(step, source, tmp_path / "bundle.tar.gz")
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk_leaves_no_file(
    demo: DemoCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = ArchiveWriter.add

    def full(self: ArchiveWriter, path: str, data: bytes) -> None:
        if path.startswith("objects/"):
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, path, data)

    monkeypatch.setattr(ArchiveWriter, "add", full)
    async with source_of(demo, CRASHED) as source:
        with pytest.raises(OSError, match="No space left"):
            await save_bundle(source, tmp_path / "bundle.tar.gz", BundleOptions())
    assert list(tmp_path.iterdir()) == []


async def test_progress_comes_to_each_step_in_order(demo: DemoCluster, tmp_path: Path) -> None:
    seen: list[BundleProgress] = []
    async with source_of(demo, READY) as source:
        await save_bundle(source, tmp_path / "bundle.tar.gz", BundleOptions(), seen.append)
    assert tuple(dict.fromkeys(one.step for one in seen)) == STEPS
    logs = [(one.done, one.total) for one in seen if one.step == "Reading logs"]
    assert logs == [(0, 3), (1, 3), (2, 3)]


async def test_the_name_has_namespace_serving_and_time(demo: DemoCluster) -> None:
    async with source_of(demo, READY) as source:
        name = directory_name(source.view, source.now)
    assert name == f"chat-llama-31-8b-{source.now:%Y%m%dT%H%M%SZ}"
