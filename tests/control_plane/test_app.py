"""The app on a real connection: its screen matches a fresh list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.config import Settings
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.fleet.query import count_by_status, sort_views
from servedeck.fleet.session import ClusterSession
from servedeck.serving.status.status import Status
from tests.control_plane import pod_statuses
from tests.control_plane.assertions import assert_matches_cluster, list_views
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_disruptions import random_changes
from tests.tui.helpers import screen_text
from tests.waiting import WAIT_SECONDS, wait_until
from tui.app import ServedeckApp
from tui.log_service import ClusterLogService
from widgets.serving_rows import ServingRowBuilder


class AppDriver:
    """Drives the app and reads its screen."""

    def __init__(self, app: ServedeckApp, live: ClusterSession, pilot: Pilot[None]) -> None:
        self.app = app
        self.live = live
        self.pilot = pilot

    @property
    def screen_text(self) -> str:
        return screen_text(self.app)

    async def wait_for_screen(
        self, condition: Callable[[str], object], what: str, limit: float = WAIT_SECONDS
    ) -> str:
        """The screen text once it meets the condition."""
        await wait_until(
            lambda: condition(self.screen_text),
            what,
            limit,
            describe_state=lambda: f"on\n{self.screen_text}",
        )
        return self.screen_text

    async def wait_for_row(self, name: str, *texts: str, limit: float = WAIT_SECONDS) -> str:
        """The line of a serving once it contains all the texts."""

        def line(screen: str) -> str:
            for each in screen.split("\n"):
                if f" {name} " in each and all(text in each for text in texts):
                    return each
            return ""

        return line(await self.wait_for_screen(line, f"{name} with {texts}", limit))

    async def assert_rows_match_cluster(
        self, plane: ControlPlane, namespace: str, limit: float = WAIT_SECONDS
    ) -> None:
        """Assert that the rows of the table match a fresh list, in the same order."""
        await assert_matches_cluster(self.live, plane, namespace, limit)
        views = sort_views(
            await asyncio.to_thread(lambda: list_views(plane, namespace).values()), "", False
        )
        await self.wait_for_screen(
            lambda _: self.app.servings.table.rows == ServingRowBuilder().build_rows(views), "truth"
        )
        assert self.app.servings.header._data.counts == count_by_status(views)


@asynccontextmanager
async def running_app(
    kubeconfig: Path, namespace: str, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[AppDriver]:
    live = ClusterSession(
        ConnectionOptions(kubeconfig=(kubeconfig,), namespace=namespace), Settings()
    )
    app = ServedeckApp(
        live,
        ClusterLogService(lambda: live.connection),
        ClusterDetailService(lambda: live.connection),
    )
    try:
        async with app.run_test(size=size) as pilot:
            yield AppDriver(app, live, pilot)
    finally:
        await live.close()


async def test_list_follows_create_scale_break_and_delete(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    async with running_app(kubeconfig, namespace) as driver:
        await driver.wait_for_screen(
            lambda text: "No servings" in text or "live" in text, "empty list"
        )
        control_plane.create_deployment(namespace, "llama", replicas=2)
        await driver.wait_for_row("llama", "Ready", "2/2")
        control_plane.kubectl("scale", "-n", namespace, "deployment/llama", "--replicas=3")
        await driver.wait_for_row("llama", "Ready", "3/3")
        control_plane.create_deployment(namespace, "broken", hold=True)
        (pod,) = control_plane.wait_for_pods(namespace, "broken", 1)
        control_plane.set_pod_status(pod, pod_statuses.crash_loop_oom())
        await driver.wait_for_row("broken", "Error", "OOMKilled", "0/1")
        await driver.assert_rows_match_cluster(control_plane, namespace)
        control_plane.kubectl("delete", "-n", namespace, "deployment/broken")
        await driver.wait_for_screen(lambda text: "broken" not in text, "list without it")
        await driver.assert_rows_match_cluster(control_plane, namespace)


async def test_an_open_status_follows_the_events(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
    control_plane.set_pod_status(pod, pod_statuses.model_loading())
    name = pod["metadata"]["name"]
    assert control_plane.kubelet
    last = "torch.OutOfMemoryError: CUDA out of memory"
    control_plane.kubelet.write(namespace, name, "loading weights", last, previous=True)
    async with running_app(kubeconfig, namespace, (120, 40)) as driver:
        await driver.wait_for_row("llama", "Starting")
        await driver.pilot.press("space")
        await driver.wait_for_screen(lambda text: name in text, "status")
        control_plane.create_warning_event(pod, "BackOff", "Back-off restarting failed container")
        control_plane.set_pod_status(pod, pod_statuses.crash_loop_oom())
        text = await driver.wait_for_screen(
            lambda text: (
                last in text
                and "OOMKilled" in text
                and ("BackOff" in text or "Back-off" in text)
                and Status.ERROR.recovery.split(".")[0] in " ".join(text.split())
            ),
            "whole status",
        )
        assert "0/1" in text


async def test_log_of_a_pod_is_followed(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama")
    control_plane.wait_until_ready(namespace, "llama", 1)
    (pod,) = control_plane.list_pods(namespace, "llama")
    name = pod["metadata"]["name"]
    kubelet = control_plane.kubelet
    assert kubelet
    kubelet.write(namespace, name, *(f"line {number}" for number in range(300)))
    async with running_app(kubeconfig, namespace) as driver:
        await driver.wait_for_row("llama", "Ready")
        await driver.pilot.press("l")
        await driver.wait_for_screen(lambda text: "line 299" in text, "last line")
        kubelet.write(namespace, name, "Uvicorn running on http://0.0.0.0:8000")
        await driver.wait_for_screen(lambda text: "Uvicorn running" in text, "new line")


async def test_the_list_stays_while_the_api_server_is_unavailable(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama", replicas=2)
    async with running_app(kubeconfig, namespace) as driver:
        await driver.wait_for_row("llama", "Ready", "2/2")
        control_plane.kill("kube-apiserver")
        await driver.wait_for_screen(lambda text: "retry" in text, "word about the loss")
        await driver.wait_for_row("llama", "Ready", "2/2")
        await asyncio.to_thread(control_plane.start)
        control_plane.create_deployment(namespace, "new")
        await driver.pilot.press("ctrl+r")
        await driver.wait_for_row("new", "Ready")
        await driver.wait_for_screen(lambda text: "live" in text.split("\n")[0], "live header")
        await driver.assert_rows_match_cluster(control_plane, namespace)


async def test_the_screen_matches_the_cluster_after_many_changes(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    async with running_app(kubeconfig, namespace, (200, 60)) as driver:
        async with random_changes(control_plane, namespace) as changed:
            await changed(30)
            await asyncio.to_thread(control_plane.restart)
            await driver.pilot.press("ctrl+r")
            await changed(30)
        await driver.assert_rows_match_cluster(control_plane, namespace)


async def test_forbidden_list_says_what_is_missing(
    control_plane: ControlPlane, namespace: str
) -> None:
    kubeconfig = control_plane.write_kubeconfig("nobody", namespace=namespace)
    async with running_app(kubeconfig, namespace) as driver:
        text = await driver.wait_for_screen(lambda text: "forbidden" in text, "rejection")
        assert "deployments" in text
