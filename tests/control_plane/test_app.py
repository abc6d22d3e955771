"""The app on a real connection: what its screen shows is what a list made now says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from servedeck.cluster.auth.kubeconfig import Target
from servedeck.config import Settings
from servedeck.fleet.query import counts, sort
from servedeck.fleet.session import Live
from servedeck.serving.status.status import Status
from tests.control_plane import objects
from tests.control_plane.checks import assert_true, listed
from tests.control_plane.plane import ControlPlane
from tests.control_plane.test_storms import unrest
from tests.tui.helpers import screen_text
from tests.waiting import LIMIT, until
from tui.app import ServedeckApp
from tui.log_service import ConnectedCluster
from widgets.serving_rows import Rows


class Operator:
    """The app, and hands and eyes on it."""

    def __init__(self, app: ServedeckApp, live: Live, pilot: Pilot[None]) -> None:
        self.app = app
        self.live = live
        self.pilot = pilot

    @property
    def screen(self) -> str:
        return screen_text(self.app)

    async def sees(
        self, condition: Callable[[str], object], what: str, limit: float = LIMIT
    ) -> str:
        """The screen once it meets the condition."""
        await until(lambda: condition(self.screen), what, limit, sign=lambda: f"on\n{self.screen}")
        return self.screen

    async def row(self, name: str, *texts: str, limit: float = LIMIT) -> str:
        """The line of a serving once it shows all the texts."""

        def line(screen: str) -> str:
            for each in screen.split("\n"):
                if f" {name} " in each and all(text in each for text in texts):
                    return each
            return ""

        return line(await self.sees(line, f"{name} with {texts}", limit))

    async def shows_truth(self, plane: ControlPlane, namespace: str, limit: float = LIMIT) -> None:
        """The rows of the table are those of a list made now, in their order."""
        await assert_true(self.live, plane, namespace, limit)
        views = sort(await asyncio.to_thread(lambda: listed(plane, namespace).values()), "", False)
        await self.sees(lambda _: self.app.servings.table.rows == Rows().of(views), "truth")
        assert self.app.servings.header._heading.counts == counts(views)


@asynccontextmanager
async def operator(
    kubeconfig: Path, namespace: str, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Operator]:
    live = Live(Target(kubeconfig=(kubeconfig,), namespace=namespace), Settings())
    app = ServedeckApp(live, ConnectedCluster(lambda: live.connection))
    try:
        async with app.run_test(size=size) as pilot:
            yield Operator(app, live, pilot)
    finally:
        await live.close()


async def test_list_follows_create_scale_break_and_delete(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    async with operator(kubeconfig, namespace) as me:
        await me.sees(lambda text: "No servings" in text or "live" in text, "empty list")
        control_plane.deploy(namespace, "llama", replicas=2)
        await me.row("llama", "Ready", "2/2")
        control_plane.kubectl("scale", "-n", namespace, "deployment/llama", "--replicas=3")
        await me.row("llama", "Ready", "3/3")
        control_plane.deploy(namespace, "broken", hold=True)
        (pod,) = control_plane.wait_for_pods(namespace, "broken", 1)
        control_plane.set_pod_status(pod, objects.crash_loop_oom())
        await me.row("broken", "Error", "OOMKilled", "0/1")
        await me.shows_truth(control_plane, namespace)
        control_plane.kubectl("delete", "-n", namespace, "deployment/broken")
        await me.sees(lambda text: "broken" not in text, "list without it")
        await me.shows_truth(control_plane, namespace)


async def test_an_open_status_follows_the_events(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.deploy(namespace, "llama", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
    control_plane.set_pod_status(pod, objects.loading())
    name = pod["metadata"]["name"]
    assert control_plane.kubelet
    last = "torch.OutOfMemoryError: CUDA out of memory"
    control_plane.kubelet.write(namespace, name, "loading weights", last, previous=True)
    async with operator(kubeconfig, namespace, (120, 40)) as me:
        await me.row("llama", "Starting")
        await me.pilot.press("space")
        await me.sees(lambda text: name in text, "status")
        control_plane.warn(pod, "BackOff", "Back-off restarting failed container")
        control_plane.set_pod_status(pod, objects.crash_loop_oom())
        text = await me.sees(lambda text: last in text and "OOMKilled" in text, "whole status")
        assert "0/1" in text
        assert Status.ERROR.recovery.split(".")[0] in " ".join(text.split())
        assert "BackOff" in text or "Back-off" in text


async def test_log_of_a_pod_is_followed(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.deploy(namespace, "llama")
    control_plane.wait_ready(namespace, "llama", 1)
    (pod,) = control_plane.pods(namespace, "llama")
    name = pod["metadata"]["name"]
    kubelet = control_plane.kubelet
    assert kubelet
    kubelet.write(namespace, name, *(f"line {number}" for number in range(300)))
    async with operator(kubeconfig, namespace) as me:
        await me.row("llama", "Ready")
        await me.pilot.press("l")
        await me.sees(lambda text: "line 299" in text, "last line")
        kubelet.write(namespace, name, "Uvicorn running on http://0.0.0.0:8000")
        await me.sees(lambda text: "Uvicorn running" in text, "new line")


async def test_list_stays_while_the_api_server_is_away(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.deploy(namespace, "llama", replicas=2)
    async with operator(kubeconfig, namespace) as me:
        await me.row("llama", "Ready", "2/2")
        control_plane.kill("kube-apiserver")
        await me.sees(lambda text: "retry" in text, "word about the loss")
        await me.row("llama", "Ready", "2/2")
        await asyncio.to_thread(control_plane.start)
        control_plane.deploy(namespace, "new")
        await me.pilot.press("ctrl+r")
        await me.row("new", "Ready")
        await me.sees(lambda text: "live" in text.split("\n")[0], "live header")
        await me.shows_truth(control_plane, namespace)


async def test_screen_is_the_truth_after_a_storm(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    async with operator(kubeconfig, namespace, (200, 60)) as me:
        async with unrest(control_plane, namespace) as changed:
            await changed(30)
            await asyncio.to_thread(control_plane.restart)
            await me.pilot.press("ctrl+r")
            await changed(30)
        await me.shows_truth(control_plane, namespace)


async def test_forbidden_list_says_what_is_missing(
    control_plane: ControlPlane, namespace: str
) -> None:
    kubeconfig = control_plane.kubeconfig("nobody", namespace=namespace)
    async with operator(kubeconfig, namespace) as me:
        text = await me.sees(lambda text: "forbidden" in text, "refusal")
        assert "deployments" in text
