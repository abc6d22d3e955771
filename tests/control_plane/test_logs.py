"""Logs of a serving through a real API server: nothing is lost or repeated, and what cannot be read
is named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from servedeck.logs.instances import LogSelection
from servedeck.logs.lines import NOTICE_SOURCE, ns_to_stamp
from servedeck.logs.streams import LogSince, LogStreams
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.fake_kubelet import FakeKubelet
from tests.control_plane.kubelet_logs import ContainerLog
from tests.control_plane.log_reading import EVERYTHING, ServingReader, read_serving
from tests.waiting import wait_until

SECOND = 10**9
NOON = 1_764_504_000 * SECOND
END = b"the end"


class Serving:
    """A serving of one Pod, or more, and a reader of its logs."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.pods: list[dict[str, Any]] = []
        self.reader = ServingReader(keeps_lines=True)
        self.user = "admin"

    def create(self, replicas: int = 1, **options: Any) -> None:
        self.plane.create_deployment(self.namespace, "llama", replicas=replicas, **options)
        if options.get("hold"):
            self.pods = self.plane.wait_for_pods(self.namespace, "llama", replicas)
        else:
            self.plane.wait_until_ready(self.namespace, "llama", replicas)
            self.pods = self.plane.list_pods(self.namespace, "llama")

    @property
    def kubelet(self) -> FakeKubelet:
        assert self.plane.kubelet
        return self.plane.kubelet

    @property
    def pod(self) -> str:
        """Name of the first Pod."""
        name: str = self.pods[0]["metadata"]["name"]
        return name

    def log(self, number: int = 0, container: str = "inference-server") -> ContainerLog:
        return self.kubelet.log(self.namespace, self.pods[number]["metadata"]["name"], container)

    def report(self, container: dict[str, Any], *, ready: bool = True, number: int = 0) -> None:
        """Write the status of a Pod with this one of its container."""
        status = pod_statuses.pod_status("Running", container, ready=ready)
        self.plane.set_pod_status(self.pods[number], status)

    def restart(self, exit_code: int = 137, reason: str = "OOMKilled", restarts: int = 1) -> None:
        """The container ends, and its next instance starts."""
        self.log().restart()
        last = pod_statuses.terminated_state(exit_code, reason, ago=0)
        running = pod_statuses.running_state()
        self.report(
            pod_statuses.container_status(running, ready=True, restarts=restarts, last=last)
        )

    @asynccontextmanager
    async def reading(
        self, since: LogSince = EVERYTHING, **options: Any
    ) -> AsyncIterator[LogStreams]:
        kubeconfig = self.plane.write_kubeconfig(self.user)
        async with read_serving(
            kubeconfig, self.namespace, "llama", self.reader, since=since, **options
        ) as streams:
            yield streams

    async def wait_for_line(self, text: bytes) -> None:
        await wait_until(
            lambda: any(line.text == text for line in self.reader.lines),
            f"the line {text!r}",
            describe_state=lambda: self.reader.lines[-20:],
        )

    async def wait_for_notice(self, text: str) -> None:
        await wait_until(
            lambda: any(text in notice for notice in self.reader.notices),
            f"the notice {text!r}",
            describe_state=lambda: self.reader.lines[-20:],
        )

    async def wait_until_followed(self, number: int = 0) -> None:
        await wait_until(lambda: self.log(number).open_count, "the stream")

    def shown(self) -> list[str]:
        """All lines as text; notices in brackets, without the names of Pods."""
        return [
            f"[{line.text.decode().replace(self.pod, 'pod')}]"
            if line.source == NOTICE_SOURCE
            else line.text.decode()
            for line in self.reader.lines
        ]


@pytest.fixture
def serving(control_plane: ControlPlane, namespace: str) -> Serving:
    return Serving(control_plane, namespace)


@pytest.fixture
def seoul(control_plane: ControlPlane) -> Iterator[None]:
    """Nodes whose time zone is not UTC."""
    assert control_plane.kubelet
    control_plane.kubelet.logs.zone = timezone(timedelta(hours=9))
    yield
    control_plane.kubelet.logs.zone = UTC


# -- nothing is lost or repeated -------------------------------------------------------------------


@pytest.mark.parametrize("clean", [False, True])
async def test_a_stream_that_is_cut_at_each_byte_of_a_line(serving: Serving, clean: bool) -> None:
    serving.create()
    log = serving.log()
    expected: list[bytes] = []
    async with serving.reading():
        await serving.wait_until_followed()
        for size in range(len(ns_to_stamp(NOON)) + len(b" 00\n") + 1):
            text = b"%02d" % size
            expected.append(text)
            log.cut_after(size, clean=clean)
            log.write(text)
            await wait_until(lambda: not log.pending_cuts, "the cut")
            await serving.wait_for_line(text)
        log.write(END)
        await serving.wait_for_line(END)
    assert serving.reader.texts == [*expected, END]
    assert serving.reader.notices == []


async def test_bursts_in_one_nanosecond_that_are_cut(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    expected = [b"line %d" % number for number in range(60)]
    log.write(*expected[:20], at=NOON)
    async with serving.reading():
        await serving.wait_for_line(expected[19])
        for first in range(20, 60, 5):
            log.cut_after(100)
            log.write(*expected[first : first + 5], at=NOON)
            await wait_until(lambda: not log.pending_cuts, "the cut")
            await serving.wait_for_line(expected[first + 4])
        log.write(END, at=NOON + 1)
        await serving.wait_for_line(END)
    assert serving.reader.texts == [*expected, END]


async def test_a_clock_that_steps_back(serving: Serving) -> None:
    """By any time while the first connection lasts, by a second after it was lost: the kubelet
    omits what is earlier than the time since which a log is requested, also of later lines."""
    serving.create()
    log = serving.log()
    halves = [0, 3, -20, -19, 5, 4, 4, 3, 2, 3, 60, 58, 59]
    expected = [b"line %d" % number for number in range(len(halves))]
    async with serving.reading():
        await serving.wait_until_followed()
        for number, half in enumerate(halves):
            if number >= 5:
                log.cut_after(20)
            log.write(expected[number], at=NOON + half * SECOND // 2)
            await serving.wait_for_line(expected[number])
            assert not log.pending_cuts
        log.write(END, at=NOON + 60 * SECOND)
        await serving.wait_for_line(END)
    assert serving.reader.texts == [*expected, END]


async def test_any_bytes_and_a_last_line_without_an_end(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    lines = [b"\xff\xfe\x00", b"", b"\x1b[31mred\x1b[0m", b" 12%\r 50%\r100%", b"x" * 300_000]
    log.write(*lines)
    async with serving.reading():
        log.write_partial(b"a part, ")
        await serving.wait_for_line(lines[-1])
        log.write_partial(b"and the last words")
        log.finish()
        ended = pod_statuses.container_status(pod_statuses.terminated_state(0, "Completed"))
        serving.report(ended, ready=False)
        await serving.wait_for_notice("ended, exit code 0")
    assert serving.reader.texts == [*lines, b"a part, and the last words"]
    assert serving.reader.lines[-1].source == NOTICE_SOURCE


async def test_a_file_that_is_rotated_while_it_is_followed(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write("one")
    async with serving.reading():
        await serving.wait_for_line(b"one")
        log.write("two")
        log.rotate()
        log.write("three")
        await serving.wait_for_line(b"three")
    assert serving.shown() == ["one", "two", "three"]


async def test_a_file_that_is_rotated_while_the_connection_is_lost(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write("one", at=NOON)
    async with serving.reading():
        await serving.wait_for_line(b"one")
        serving.kubelet.stop()
        try:
            log.write("two", at=NOON + SECOND)
            log.rotate()
            log.write("three", at=NOON + 2 * SECOND)
        finally:
            serving.kubelet.start()
        await serving.wait_for_line(b"three")
    notice = (
        "[pod: the node rotated its log while the connection was lost; lines may be missing here]"
    )
    assert serving.shown() == ["one", notice, "three"]


async def test_the_clock_of_the_nodes_has_another_time_zone(
    serving: Serving, seoul: object
) -> None:
    serving.create()
    log = serving.log()
    log.write("one", at=NOON)
    async with serving.reading():
        await serving.wait_for_line(b"one")
        log.cut_all()
        log.write("two", at=NOON + 5)
        await serving.wait_for_line(b"two")
    stamps = [ns_to_stamp(NOON), ns_to_stamp(NOON + 5)]
    assert [line.stamp for line in serving.reader.lines] == stamps
    assert serving.reader.texts == [b"one", b"two"]


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


# -- which lines, in which order -------------------------------------------------------------------


async def test_the_last_lines_and_those_that_follow(serving: Serving) -> None:
    serving.create()
    log = serving.log()
    log.write(*(f"line {number}" for number in range(300)))
    async with serving.reading(LogSince(tail=3)):
        await serving.wait_for_line(b"line 299")
        log.cut_all()
        log.write("line 300")
        await serving.wait_for_line(b"line 300")
    assert serving.shown() == ["line 297", "line 298", "line 299", "line 300"]


async def test_the_lines_of_some_time(serving: Serving) -> None:
    serving.create()
    now = time.time_ns()
    log = serving.log()
    log.write("old", "recent", at=[now - 7200 * SECOND, now - 1800 * SECOND])
    async with serving.reading(LogSince(seconds=3600)):
        await serving.wait_for_line(b"recent")
        log.cut_all()
        log.write("new")
        await serving.wait_for_line(b"new")
    assert serving.shown() == ["recent", "new"]


async def test_what_several_pods_wrote_is_merged_by_time(serving: Serving) -> None:
    serving.create(2)
    for number in range(2):
        stamps = [NOON + (2 * at + number) * SECOND for at in range(50)]
        serving.log(number).write(*(f"{2 * at + number}" for at in range(50)), at=stamps)
    async with serving.reading():
        await wait_until(lambda: len(serving.reader.texts) == 100, "all lines")
    assert serving.reader.texts == [str(number).encode() for number in range(100)]


async def test_more_pods_than_streams(serving: Serving) -> None:
    serving.create(3)
    for number in range(3):
        serving.log(number).write(f"pod {number}")
    async with serving.reading(max_open=2) as streams:
        await wait_until(lambda: len(serving.reader.texts) == 2, "two Pods")
        await wait_until(lambda: streams.state.queued == 1, "the queue")
        assert (streams.state.open, streams.state.wanted) == (2, 3)
        first = int(serving.reader.texts[0][-1:])
        serving.log(first).finish()
        ended = pod_statuses.container_status(pod_statuses.terminated_state(0, "Completed"))
        serving.report(ended, ready=False, number=first)
        await wait_until(lambda: len(serving.reader.texts) == 3, "the third Pod")
    assert sorted(serving.reader.texts) == [b"pod 0", b"pod 1", b"pod 2"]


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
