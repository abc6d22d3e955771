"""The page of a serving with Secrets and with missing permissions, on a real control plane."""

from __future__ import annotations

import base64
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.measure import clean_environment
from benchmarks.terminal import BenchmarkTerminal
from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE
from servedeck.serving.text import MASK
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.page import (
    NARROW,
    SECRET_VALUE,
    apply,
    card_rows,
    card_value,
    open_first_pod,
    open_page,
    select_value,
    serving_with_secret,
    wait_for_value,
)
from tests.control_plane.proxies import FaultProxy
from tests.control_plane.test_app import AppDriver, running_app
from tests.control_plane.test_command import wait_for_screen
from tests.control_plane.test_deploy import grant_role
from tests.control_plane.test_roles import rules_of
from tui.panes.events import EventsPane
from tui.panes.logs import LogsPane
from tui.panes.overview import OverviewPane
from tui.panes.rollouts import RolloutsPane
from tui.panes.yaml import YamlPane
from tui.screens.serving import PANES, ServingScreen

ENVIRONMENT = "Environment Variables"
ROOT = Path(__file__).parents[2]
REVEAL_KEY = "\x07"
"""ctrl+g as a terminal sends it."""
DEPLOYMENTS_AND_PODS = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
]


@asynccontextmanager
async def recorded_requests(plane: ControlPlane) -> AsyncIterator[tuple[Path, list[str]]]:
    """A kubeconfig through a proxy, and the method and path of each request to Secrets."""
    found: list[str] = []

    def rule(request: web.Request) -> web.Response | None:
        if "/secrets" in request.path:
            found.append(f"{request.method} {request.path_qs}")
        return None

    token = plane.tokens["admin"]
    async with FaultProxy(plane.url, token, plane.ssl_context).serve() as proxy:
        proxy.rule = rule
        yield plane.write_kubeconfig(server=proxy.url), found


async def test_a_secret_is_read_when_it_is_shown_and_forgotten_when_the_tab_is_left(
    control_plane: ControlPlane, namespace: str
) -> None:
    apply(control_plane, namespace, serving_with_secret())
    control_plane.wait_until_ready(namespace, "chat", 1)
    read = f"GET /api/v1/namespaces/{namespace}/secrets/hf"
    async with (
        recorded_requests(control_plane) as (kubeconfig, requests),
        running_app(kubeconfig, namespace, NARROW) as driver,
    ):
        pane = await open_page(driver, "chat", "Ready")
        masked = f"{MASK}  Secret hf, key token"
        await wait_for_value(driver, pane.cards, ENVIRONMENT, "HF_TOKEN", masked)
        await driver.pilot.press("8")
        await driver.wait_for_screen(lambda text: "kind: Deployment" in text, "the tab YAML")
        await driver.pilot.press("1")
        await select_value(driver, "HF_TOKEN")
        assert requests == [], "it is not read before it is shown"

        await driver.pilot.press("ctrl+g")
        await wait_for_value(driver, pane.cards, ENVIRONMENT, "HF_TOKEN", SECRET_VALUE)
        assert SECRET_VALUE in driver.screen_text
        assert requests == [read]

        await driver.pilot.press("3")
        await driver.wait_for_screen(lambda text: "Ready Replicas" not in text, "another tab")
        await driver.pilot.press("1")
        await wait_for_value(driver, pane.cards, ENVIRONMENT, "HF_TOKEN", masked)
        assert SECRET_VALUE not in driver.screen_text
        await driver.pilot.press("enter")
        await driver.wait_for_screen(lambda text: "The value is masked" in text, "the mask")
        assert SECRET_VALUE not in driver.screen_text
        assert requests == [read]


async def test_a_secret_that_may_not_be_read_stays_masked(
    control_plane: ControlPlane, namespace: str
) -> None:
    apply(control_plane, namespace, serving_with_secret())
    control_plane.wait_until_ready(namespace, "chat", 1)
    grant_role(control_plane, namespace, "viewer", rules_of("viewer"))
    kubeconfig = control_plane.write_kubeconfig("viewer", namespace=namespace)
    async with running_app(kubeconfig, namespace, NARROW) as driver:
        pane = await open_page(driver, "chat", "Ready")
        await wait_for_value(driver, pane.cards, ENVIRONMENT, "HF_TOKEN", MASK)
        await select_value(driver, "HF_TOKEN")
        await driver.pilot.press("ctrl+g")
        sentence = f"Cannot read Secret hf in namespace {namespace}: needs get on secrets."
        await driver.wait_for_screen(lambda text: sentence in text, "the missing permission")
        assert MASK in card_value(pane.cards, ENVIRONMENT, "HF_TOKEN")


@pytest.fixture
def invalid_platform_setting(control_plane: ControlPlane) -> Iterator[str]:
    """A value of the platform's ConfigMap that servedeck logs as invalid."""
    path = f"/api/v1/namespaces/{PLATFORM_NAMESPACE}"
    control_plane.create("/api/v1/namespaces", {"metadata": {"name": PLATFORM_NAMESPACE}})
    body = {"metadata": {"name": PLATFORM_CONFIGMAP}, "data": {"endpoint_scheme": "gopher"}}
    control_plane.create(f"{path}/configmaps", body)
    yield "gopher"
    control_plane.request("DELETE", f"{path}/configmaps/{PLATFORM_CONFIGMAP}")


def test_a_secret_is_not_in_the_log_file(
    control_plane: ControlPlane,
    namespace: str,
    kubeconfig: Path,
    tmp_path: Path,
    invalid_platform_setting: str,
) -> None:
    apply(control_plane, namespace, serving_with_secret())
    control_plane.wait_until_ready(namespace, "chat", 1)
    log = tmp_path / "servedeck.log"
    argv = [sys.executable, "-m", "servedeck", "open", f"{namespace}/chat", "--log-file", str(log)]
    env = clean_environment(kubeconfig, str(tmp_path)) | {"PYTHONPATH": str(ROOT)}
    terminal = BenchmarkTerminal(argv, (100, 50), env)
    try:
        wait_for_screen(terminal, lambda text: "HF_TOKEN" in text, "the page")
        for _ in range(60):
            terminal.send_keys("j" + REVEAL_KEY)
        wait_for_screen(terminal, lambda text: SECRET_VALUE in text, "the value")
        terminal.send_keys("3")
        wait_for_screen(terminal, lambda text: SECRET_VALUE not in text, "another tab")
        terminal.send_keys("q")
        wait_for_screen(terminal, lambda text: "1 Overview" not in text, "the list")
        terminal.send_keys("q")
        assert wait_for(lambda: terminal.closed, "the end")
    finally:
        terminal.close()
    text = log.read_text()
    assert invalid_platform_setting in text, "the log is not written"
    assert SECRET_VALUE not in text
    assert base64.b64encode(SECRET_VALUE.encode()).decode() not in text


async def show_tab(driver: AppDriver, title: str) -> None:
    number = [pane.TITLE for pane in PANES].index(title) + 1
    await driver.pilot.press(str(number))
    screen = driver.app.screen
    assert isinstance(screen, ServingScreen)
    await driver.wait_for_screen(
        lambda _: screen.active_pane is not None and title == screen.active_pane.TITLE, title
    )


async def test_a_viewer_sees_every_tab_and_what_may_not_be_read(
    control_plane: ControlPlane, namespace: str
) -> None:
    apply(control_plane, namespace, serving_with_secret())
    control_plane.wait_until_ready(namespace, "chat", 1)
    (pod,) = control_plane.list_pods(namespace)
    name = pod["metadata"]["name"]
    assert control_plane.kubelet
    control_plane.kubelet.write(namespace, name, "Uvicorn running", container="server")
    grant_role(control_plane, namespace, "viewer", rules_of("viewer"))
    kubeconfig = control_plane.write_kubeconfig("viewer", namespace=namespace)
    async with running_app(kubeconfig, namespace, NARROW) as driver:
        pane = await open_page(driver, "chat", "Ready")
        await wait_for_value(driver, pane.cards, ENVIRONMENT, "LEVEL", "debug")
        # A new role takes effect after a moment, and a forbidden kind is tried again.
        await driver.wait_for_screen(
            lambda _: card_value(pane.cards, "Status", "Settings") == "", "the permissions"
        )
        screen = await open_first_pod(driver, name)
        await driver.wait_for_screen(
            lambda _: (
                "Cannot list nodes: needs list and watch on nodes."
                in " ".join(card_rows(screen.cards).get("Node", ()))
            ),
            "the missing permission for the node",
        )
        assert "server" in " ".join(card_rows(screen.cards))
        await driver.wait_for_screen(
            lambda _: "Scheduled" in " ".join(card_rows(screen.cards)["Events"]), "Events"
        )
        await driver.pilot.press("escape")
        await show_tab(driver, LogsPane.TITLE)
        await driver.wait_for_screen(lambda text: "Uvicorn running" in text, "the log")
        await show_tab(driver, EventsPane.TITLE)
        await driver.wait_for_screen(lambda text: "ScalingReplicaSet" in text, "Events")
        await show_tab(driver, RolloutsPane.TITLE)
        await driver.wait_for_screen(lambda text: "v0.10.0" in text, "the revision")
        await show_tab(driver, YamlPane.TITLE)
        await driver.wait_for_screen(lambda text: "kind: Deployment" in text, "YAML")
        await show_tab(driver, OverviewPane.TITLE)
        await wait_for_value(driver, pane.cards, ENVIRONMENT, "LEVEL", "debug")


async def test_without_events_replicasets_and_nodes_each_place_names_what_is_missing(
    control_plane: ControlPlane, namespace: str
) -> None:
    apply(control_plane, namespace, serving_with_secret())
    control_plane.wait_until_ready(namespace, "chat", 1)
    control_plane.grant("member", DEPLOYMENTS_AND_PODS, namespace=namespace, name="page")
    kubeconfig = control_plane.write_kubeconfig("member", namespace=namespace)
    replicasets, events = (
        f"Cannot list {one} in namespace {namespace}: needs list and watch on {one}."
        for one in ("replicasets.apps", "events")
    )
    async with running_app(kubeconfig, namespace, (80, 50)) as driver:
        pane = await open_page(driver, "chat")
        await wait_for_value(driver, pane.cards, ENVIRONMENT, "LEVEL", "debug")
        await driver.wait_for_screen(
            lambda _: replicasets in " ".join(card_rows(pane.cards)["Status"]), "the Overview"
        )
        # Without ReplicaSets nobody knows whose the Pods are.
        await driver.wait_for_screen(
            lambda text: "Its Pods are not known: Pods or ReplicaSets may not be listed." in text,
            "the card Pods",
        )
        await show_tab(driver, EventsPane.TITLE)
        await driver.wait_for_screen(
            lambda text: events in " ".join(text.split()), "missing permission for Events"
        )
        await show_tab(driver, RolloutsPane.TITLE)
        await driver.wait_for_screen(
            lambda text: replicasets in " ".join(text.split()), "missing permission for ReplicaSets"
        )
        await show_tab(driver, YamlPane.TITLE)
        await driver.wait_for_screen(lambda text: "kind: Deployment" in text, "YAML")


async def test_the_page_of_a_pod_without_events_and_nodes(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.create_deployment(namespace, "chat", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "chat", 1)
    control_plane.set_pod_status(pod, pod_statuses.crash_loop_oom())
    replicasets = {**DEPLOYMENTS_AND_PODS[0], "resources": ["replicasets"]}
    rules = [*DEPLOYMENTS_AND_PODS, replicasets]
    control_plane.grant("member", rules, namespace=namespace, name="page")
    kubeconfig = control_plane.write_kubeconfig("member", namespace=namespace)
    async with running_app(kubeconfig, namespace, (80, 50)) as driver:
        await open_page(driver, "chat", "Error")
        screen = await open_first_pod(driver, pod["metadata"]["name"])
        events = f"Cannot list events in namespace {namespace}: needs list and watch on events."
        for title, sentence in (
            ("Node", "Cannot list nodes: needs list and watch on nodes."),
            ("Events", events),
        ):
            await driver.wait_for_screen(
                lambda _, title=title, sentence=sentence: (  # type: ignore[misc]
                    sentence in " ".join(card_rows(screen.cards).get(title, ()))
                ),
                f"missing permission in the card {title}",
            )
        assert "OOMKilled" in " ".join(card_rows(screen.cards)["History"])
