"""Instances of containers whose logs are followed through a real API server, and what is said where
a log cannot be read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from servedeck.logs.instances import LogSelection
from servedeck.logs.lines import NOTICE_SOURCE
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.log_serving import Serving
from tests.waiting import wait_until

END = b"the end"


@pytest.fixture
def serving(control_plane: ControlPlane, namespace: str) -> Serving:
    return Serving(control_plane, namespace)


# -- instances -------------------------------------------------------------------------------------


async def test_a_container_that_restarts(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write("first")
    async with serving.reading():
        await serving.wait_for_line(b"first")
        log.write_partial("killed in the middle of a li")
        serving.restart()
        log.write("second")
        await serving.wait_for_line(b"second")
        log.write("more")
        serving.restart(1, "Error", restarts=2)
        log.write("third")
        await serving.wait_for_line(b"third")
    assert serving.shown() == [
        "first",
        "killed in the middle of a li",
        "[pod restarted, exit 137 OOMKilled (restart 1)]",
        "second",
        "more",
        "[pod restarted, exit 1 (restart 2)]",
        "third",
    ]
    sources = [line.source for line in serving.reader.lines if line.source != NOTICE_SOURCE]
    assert sources == [sources[0], sources[0], sources[2], sources[2], sources[4]]
    assert len(set(sources)) == 3


async def test_lines_that_a_restart_leaves_on_the_node_while_the_connection_is_lost(
    serving: Serving,
) -> None:
    serving.create()
    log = serving.log()
    log.write("first")
    async with serving.reading():
        await serving.wait_for_line(b"first")
        await asyncio.to_thread(serving.plane.kill, "kube-apiserver")
        log.write("last words")
        log.restart()
        log.write("second")
        await asyncio.to_thread(serving.plane.start)
        await asyncio.to_thread(serving.plane.restart_waiting_controllers)
        last = pod_statuses.terminated_state(137, "OOMKilled", ago=0)
        running = pod_statuses.running_state()
        serving.report(pod_statuses.container_status(running, ready=True, restarts=1, last=last))
        await serving.wait_for_notice("restarted")
        log.write(END)
        await serving.wait_for_line(END)
    assert serving.shown() == [
        "first",
        "last words",
        "[pod restarted, exit 137 OOMKilled (restart 1)]",
        "second",
        END.decode(),
    ]


async def test_a_container_that_crashed_before_is_read_from_its_last_run(serving: Serving) -> None:
    serving.create()
    serving.log().write("Traceback")
    serving.restart(1, "Error")
    serving.log().write("starting")
    async with serving.reading():
        await serving.wait_for_line(b"starting")
    assert serving.shown() == ["Traceback", "[pod restarted, exit 1 (restart 1)]", "starting"]


async def test_a_container_that_waits_for_its_restart_is_read_once(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write("Traceback")
    log.crash()
    last = pod_statuses.terminated_state(1, "Error", ago=0)
    waiting = pod_statuses.waiting_state("CrashLoopBackOff")
    serving.report(pod_statuses.container_status(waiting, restarts=1, last=last), ready=False)
    async with serving.reading() as streams:
        await wait_until(lambda: streams.state.waiting, "the state")
        assert list(streams.state.waiting.values()) == ["CrashLoopBackOff"]
        log.write("next run")
        running = pod_statuses.running_state()
        serving.report(pod_statuses.container_status(running, restarts=2, last=last))
        await serving.wait_for_line(b"next run")
    texts = [text for text in serving.shown() if not text.startswith("[")]
    assert texts == ["Traceback", "next run"]
    assert "[pod restarted, exit 1 (restart 2)]" in serving.shown()


async def test_a_previous_log_that_the_node_no_longer_has(serving: Serving) -> None:
    serving.create()
    serving.log().write("first")
    serving.restart(1, "Error")
    serving.log().remove_previous()
    serving.log().write("second")
    async with serving.reading():
        await serving.wait_for_line(b"second")
    assert serving.reader.texts == [b"second"]
    assert any("removed from the node" in notice for notice in serving.reader.notices)


async def test_a_previous_log_that_never_was(serving: Serving) -> None:
    serving.create()
    serving.log().write("only")
    async with serving.reading(selection=LogSelection(previous=True)):
        await serving.wait_for_line(b"only")
    assert serving.shown() == ["only"]


async def test_init_containers_come_first(serving: Serving) -> None:
    serving.create(hold=True, init=True)
    init, server = serving.log(container="download"), serving.log()
    init.write("fetching")
    server.wait_to_start("PodInitializing")
    waiting = pod_statuses.container_status(pod_statuses.waiting_state("PodInitializing"))
    running = pod_statuses.container_status(pod_statuses.running_state(), name="download")
    serving.plane.set_pod_status(
        serving.pods[0], pod_statuses.pod_status("Pending", waiting, init=running)
    )
    async with serving.reading() as streams:
        await serving.wait_for_line(b"fetching")
        await wait_until(lambda: "PodInitializing" in streams.state.waiting.values(), "the state")
        init.write("fetched")
        init.finish()
        server.write("loading")
        ended = pod_statuses.container_status(
            pod_statuses.terminated_state(0, "Completed", ago=0), name="download"
        )
        status = pod_statuses.pod_status(
            "Running", pod_statuses.container_status(pod_statuses.running_state()), init=ended
        )
        serving.plane.set_pod_status(serving.pods[0], status)
        await serving.wait_for_line(b"loading")
        await serving.wait_for_notice("download ended, exit code 0")
    assert serving.reader.texts == [b"fetching", b"fetched", b"loading"]


# -- refusals --------------------------------------------------------------------------------------


async def test_a_role_without_pods_log_is_named_once(serving: Serving) -> None:
    serving.create(3)
    kinds = {"": ("pods", "events", "services"), "apps": ("deployments", "replicasets")}
    rules: list[dict[str, Any]] = [
        {"apiGroups": [group], "resources": [name], "verbs": ["get", "list", "watch"]}
        for group, names in kinds.items()
        for name in names
    ]
    serving.plane.grant("viewer", rules, namespace=serving.namespace)
    serving.user = "viewer"
    async with serving.reading() as streams:
        await wait_until(lambda: streams.state.refusals, "the refusal")
    (sentence,) = streams.state.refusals
    assert "needs get on pods and on pods/log" in sentence and serving.namespace in sentence
    assert serving.reader.texts == [] and len(serving.reader.notices) <= 1


async def test_a_container_that_cannot_start(serving: Serving) -> None:
    serving.create(hold=True)
    serving.log().wait_to_start("ErrImagePull")
    serving.plane.set_pod_status(serving.pods[0], pod_statuses.image_pull_error())
    async with serving.reading() as streams:
        await wait_until(lambda: "ImagePullBackOff" in streams.state.waiting.values(), "the state")
        serving.log().write("started")
        serving.plane.set_pod_status(serving.pods[0], pod_statuses.ready_status())
        await serving.wait_for_line(b"started")
        assert not streams.state.waiting


async def test_a_node_that_is_not_reachable(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write("one")
    async with serving.reading() as streams:
        await serving.wait_for_line(b"one")
        serving.kubelet.stop()
        try:
            await wait_until(
                lambda: any("The node" in text for text in streams.state.reconnecting.values()),
                "the state",
                describe_state=lambda: streams.state,
            )
            log.write("two")
        finally:
            serving.kubelet.start()
        await serving.wait_for_line(b"two")
        await wait_until(lambda: not streams.state.reconnecting, "the state")
    assert serving.reader.texts == [b"one", b"two"]


async def test_an_error_of_the_node_is_retried(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write("one")
    log.fail(500, "the runtime does not answer", times=2)
    async with serving.reading():
        await serving.wait_for_line(b"one")
        log.fail(500, "the runtime does not answer", times=2)
        log.cut_all()
        log.write("two")
        await serving.wait_for_line(b"two")
    assert serving.reader.texts == [b"one", b"two"]


async def test_a_pod_that_is_deleted(serving: Serving) -> None:
    serving.create(2)
    for number in range(2):
        serving.log(number).write(f"pod {number}")
    async with serving.reading():
        await wait_until(lambda: len(serving.reader.texts) == 2, "both Pods")
        path = f"/api/v1/namespaces/{serving.namespace}/pods/{serving.pod}"
        await asyncio.to_thread(serving.plane.request, "DELETE", path)
        serving.log().write("last words")
        serving.log().finish()
        await serving.wait_for_notice(f"{serving.pod} was deleted")
    assert sorted(serving.reader.texts) == [b"last words", b"pod 0", b"pod 1"]
