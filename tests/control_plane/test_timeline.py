"""The timeline on a real API server: what is observed, and what the objects tell of before."""

from __future__ import annotations

from pathlib import Path

from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_app import AppDriver, running_app
from tui.screens.timeline import TimelineScreen
from widgets.styled_line import plain_text


def changes(driver: AppDriver) -> list[tuple[str, str]]:
    """What each line says and who knows it, in order."""
    assert isinstance(driver.app.screen, TimelineScreen)
    return [
        (plain_text(row.cells[3]), plain_text(row.cells[4]))  # type: ignore[arg-type]
        for row in driver.app.screen.table.rows
    ]


async def wait_for_change(driver: AppDriver, text: str, source: str) -> None:
    await driver.wait_for_screen(
        lambda _: any(text in one and by == source for one, by in changes(driver)), text
    )


async def test_changes_before_and_while_servedeck_runs(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "chat")
    control_plane.wait_until_ready(namespace, "chat", 1)
    set_image = ("set", "image", "-n", namespace, "deployment/chat")
    control_plane.kubectl(*set_image, "*=vllm/vllm-openai:v2")
    control_plane.kubectl("rollout", "status", "-n", namespace, "deployment/chat")
    async with running_app(kubeconfig, namespace, (160, 40)) as driver:
        await driver.wait_for_row("chat", "Ready")
        await driver.pilot.press("enter", "t")
        await driver.wait_for_screen(lambda text: "Timeline of" in text, "the timeline")
        await wait_for_change(driver, "created", "objects")
        await wait_for_change(driver, "rollout to revision 2 (image v2)", "objects")
        await wait_for_change(driver, "Ready when servedeck saw it first", "servedeck")

        control_plane.kubectl("scale", "-n", namespace, "deployment/chat", "--replicas=2")
        await wait_for_change(driver, "scaled from 1 to 2 replicas", "servedeck")
        control_plane.kubectl(*set_image, "*=vllm/vllm-openai:v3")
        await wait_for_change(driver, "rollout to revision 3 (image v3)", "servedeck")
        await wait_for_change(driver, "rollout of revision 3 finished", "servedeck")
        rollouts = [one for one, _by in changes(driver) if one.startswith("rollout to revision 3")]
        assert len(rollouts) == 1

        control_plane.kubectl("scale", "-n", namespace, "deployment/chat", "--replicas=0")
        await driver.wait_for_screen(
            lambda text: "Scaled Down since" in text and "scaled from 2 to 0 replicas" in text,
            "since when, and why",
        )


async def test_restarts_and_a_serving_made_again(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "chat", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "chat", 1)
    control_plane.set_pod_status(pod, pod_statuses.model_loading())
    async with running_app(kubeconfig, namespace, (160, 40)) as driver:
        await driver.wait_for_row("chat", "Starting")
        await driver.pilot.press("enter", "t")
        await driver.wait_for_screen(lambda text: "Timeline of" in text, "the timeline")
        await wait_for_change(driver, "Starting when servedeck saw it first", "servedeck")
        control_plane.set_pod_status(pod, pod_statuses.crash_loop_oom())
        await wait_for_change(driver, "restarted after OOMKilled (Pod …", "servedeck")
        await wait_for_change(driver, "Starting → Error: OOMKilled", "servedeck")
        await driver.wait_for_screen(lambda text: "Error since" in text, "since when")

        control_plane.kubectl("delete", "-n", namespace, "deployment/chat", "--wait=true")
        await wait_for_change(driver, "deleted", "servedeck")
        await driver.pilot.press("escape", "escape")
        control_plane.create_deployment(namespace, "chat")
        await driver.wait_for_row("chat", "Ready")
        await driver.pilot.press("enter", "t")
        await driver.wait_for_screen(lambda text: "Timeline of" in text, "the timeline")
        await wait_for_change(driver, "created", "objects")
        assert not any("OOMKilled" in one or one == "deleted" for one, _by in changes(driver))
