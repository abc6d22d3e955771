"""The tab Async Queue on real gateway processes, a real Valkey and an inference server, reached
through a real API server's Service proxy."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from servedeck.async_queue.live_queue import LivePhase
from servedeck.async_queue.tasks import TaskState
from servedeck.serving.client_examples import curl_command
from tests.control_plane.async_gateway import (
    MODEL,
    SERVING,
    AsyncGateway,
    folder,
    gateway,
    running_async_gateway,
)
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.gateway_stub import GatewayStub
from tests.control_plane.inference_process import ANSWER, BROKEN_MODEL
from tests.control_plane.proxies import TcpProxy
from tests.control_plane.queue_tab import QueueTab, running_tab
from tests.control_plane.test_deploy import grant_role
from tests.control_plane.test_roles import rules_of
from tests.waiting import with_timeout
from tui.screens.task import TaskScreen

__all__ = ["folder", "gateway"]

PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED = TaskState


@pytest.fixture
async def tab(gateway: AsyncGateway, kubeconfig: Path) -> AsyncIterator[QueueTab]:
    async with running_tab(kubeconfig, gateway.namespace) as tab:
        yield tab


async def run_curl(line: str) -> bytes:
    """The output of a command line for a shell."""
    process = await asyncio.create_subprocess_shell(
        line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, problem = await with_timeout(process.communicate())
    assert process.returncode == 0, problem
    return output


# -- tasks ----------------------------------------------------------------------------------------


async def test_a_request_moves_through_the_states(gateway: AsyncGateway, tab: QueueTab) -> None:
    """As the page Connect says to send it, to its response on the screen of the task."""
    await tab.wait_for_text("No task is stored.", "Queue Depth 0")
    await gateway.inference.configure(is_open=False)
    await tab.press("p", "p")
    await tab.wait_for_text("is paused: no task is taken until it is resumed")
    line = curl_command(gateway.accept.public_url, "/v1/chat/completions", MODEL, True)
    assert "X-Async: true" in line
    accepted = await run_curl(line.replace("<token>", "token"))
    id = json.loads(accepted)["id"]
    await tab.wait_for_states({id: PENDING})
    await tab.wait_for_text("Queue Depth 1", "Processing 0 of 4", "The queue is paused")
    await tab.press("p")
    await tab.wait_for_states({id: PROCESSING})
    await tab.wait_for_text("Queue Depth 0", "Processing 1 of 4", f"processed by {gateway.pod}")
    await tab.press("enter")
    await tab.wait_for(lambda: isinstance(tab.app.screen, TaskScreen), "the task")
    await tab.wait_for_text("Processing", gateway.pod)
    await gateway.inference.configure(is_open=True)
    await tab.wait_for_text("Completed")
    await tab.press("3")
    await tab.wait_for_text("POST /v1/chat/completions", "Hello")
    assert "Bearer token" not in tab.screen_text
    await tab.press("4")
    await tab.wait_for_text("200", ANSWER)
    await tab.press("escape")
    await tab.wait_for_states({id: COMPLETED})
    await tab.wait_for_text("12+7")


async def test_a_thousand_tasks_half_of_which_fail_are_retried_and_drained(
    gateway: AsyncGateway, tab: QueueTab
) -> None:
    await gateway.inference.configure(broken_status=400)
    await gateway.submit([MODEL, BROKEN_MODEL] * 500)
    await tab.wait_for_text("Queue Depth 0", "500 failed in 1h", "Failed 500", "Completed 500")
    await tab.press("f", "f", "f", "f")
    await tab.wait_for(lambda: set(tab.states.values()) == {FAILED}, "failed tasks alone")
    await tab.wait_for_text("refused: The inference server answered with the status 400.")
    await gateway.inference.configure(broken_status=200)
    await tab.press("N")
    await tab.wait_for_text("Retry 500 tasks", "500 tasks now")
    # They were submitted with credentials, which are deleted.
    await tab.press("w", "y")
    await tab.wait_for_text("500 tasks retried", "Failed 0", "Completed 1,000")
    await tab.wait_for_text("No task is Failed.")
    states = Counter(one.state for one in await gateway.stored_tasks())
    assert states == {COMPLETED: 1000}


async def test_pending_tasks_are_purged_once_the_name_is_typed(
    gateway: AsyncGateway, tab: QueueTab
) -> None:
    await gateway.inference.configure(is_open=False)
    ids = await gateway.submit([MODEL] * 30)
    await tab.wait_for_text("Pending 26", "Processing 4")
    await tab.press("D")
    await tab.wait_for_text("Cancel 26 pending tasks", f"Type {SERVING} to confirm")
    await tab.press("enter")
    await tab.wait_for_text(f"Type {SERVING} to confirm.")
    await tab.type(SERVING)
    await tab.press("enter")
    await tab.wait_for_text("26 tasks cancelled", "Pending 0", "Cancelled 26", "Processing 4")
    await gateway.inference.configure(is_open=True)
    await tab.wait_for_text("Completed 4", "Processing 0")
    await tab.wait_until_as_stored(gateway)
    assert set(tab.states) == set(ids)


async def test_the_marked_tasks_are_cancelled(gateway: AsyncGateway, tab: QueueTab) -> None:
    await gateway.inference.configure(is_open=False)
    ids = await gateway.submit([MODEL] * 8)
    await tab.wait_for_text("Pending 4", "Processing 4")
    oldest_first = sorted(ids)
    await tab.press("G")
    await tab.wait_for(lambda: tab.pane.table.cursor_key == oldest_first[0], "the oldest task")
    # Of both states, as the newest wait and the oldest are processed.
    states = tab.states
    marked = [oldest_first[0], oldest_first[-1]]
    await tab.press("space", "g")
    await tab.wait_for(lambda: tab.pane.table.cursor_key == oldest_first[-1], "the newest task")
    await tab.press("space")
    await tab.wait_for_text("2 marked")
    await tab.press("X")
    await tab.wait_for_text("Cancel 2 tasks", *{states[one].value for one in marked})
    await tab.press("y")
    await tab.wait_for_text("2 tasks cancelled")
    await tab.wait_for(lambda: [tab.states[one] for one in marked] == [CANCELLED] * 2, "their end")
    await gateway.inference.configure(is_open=True)
    await tab.wait_for_text("Completed 6", "Cancelled 2")
    await tab.wait_until_as_stored(gateway)


# -- what fails -----------------------------------------------------------------------------------


async def test_a_gateway_that_is_killed_is_found_again(
    gateway: AsyncGateway, tab: QueueTab
) -> None:
    await gateway.inference.configure(is_open=False)
    before = await gateway.submit([MODEL] * 6)
    await tab.wait_for_text("Pending 2", "Processing 4")
    await gateway.kill()
    await tab.wait_for_text("reconnecting: The async gateway behind Service", "does not answer:")
    assert set(tab.states) == set(before), "what was shown stays"
    await gateway.inference.configure(is_open=True)
    await gateway.start()
    await tab.wait_for(lambda: "reconnecting:" not in tab.screen_text, "the connection")
    after = await gateway.submit([MODEL] * 2)
    await tab.wait_for_text("Completed 8", "Queue Depth 0")
    await tab.wait_until_as_stored(gateway)
    assert set(tab.states) == {*before, *after}
    assert set(tab.states.values()) == {COMPLETED}


async def test_a_store_that_is_killed_is_named_and_found_again(
    gateway: AsyncGateway, tab: QueueTab
) -> None:
    await gateway.inference.configure(is_open=False)
    before = await gateway.submit([MODEL] * 6)
    await tab.wait_for_text("Pending 2", "Processing 4")
    await asyncio.to_thread(gateway.valkey.kill)
    await tab.wait_for_text("the gateway cannot ask its store:")
    assert set(tab.states) == set(before), "what was shown stays"
    await gateway.inference.configure(is_open=True)
    await asyncio.to_thread(gateway.valkey.start)
    await tab.wait_for(lambda: "cannot ask its store" not in tab.screen_text, "the store")
    after = await gateway.submit([MODEL] * 2)
    await tab.wait_for_text("Completed 8", "Queue Depth 0")
    await tab.wait_until_as_stored(gateway)
    assert set(tab.states) == {*before, *after}
    assert set(tab.states.values()) == {COMPLETED}


async def test_a_tab_that_is_opened_without_the_store_fills_when_it_is_back(
    gateway: AsyncGateway, kubeconfig: Path
) -> None:
    [id] = await gateway.submit([MODEL])
    await asyncio.to_thread(gateway.valkey.kill)
    async with running_tab(kubeconfig, gateway.namespace) as tab:
        await tab.wait_for_text("The store", "It is tried again")
        await asyncio.to_thread(gateway.valkey.start)
        await tab.wait_for_states({id: COMPLETED})


async def test_a_feed_that_is_cut_goes_on_without_a_hole(
    control_plane: ControlPlane, gateway: AsyncGateway
) -> None:
    proxy = TcpProxy(control_plane.url)
    async with proxy.serve():
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with running_tab(kubeconfig, gateway.namespace) as tab:
            await gateway.inference.configure(is_open=False)
            ids = await gateway.submit([MODEL] * 8)
            await tab.wait_for_text("Pending 4", "Processing 4")
            for _ in range(5):
                # All that happens meanwhile comes after it.
                proxy.set_stalled()
                proxy.reset_connections()
                await gateway.inference.configure(is_open=True)
                ids.extend(await gateway.submit([MODEL] * 4))
                await gateway.inference.configure(is_open=False)
                proxy.set_stalled(False)
                proxy.reset_connections()
                await tab.wait_for(lambda: len(tab.states) == len(ids), "all tasks")
            await gateway.inference.configure(is_open=True)
            await tab.wait_for_text(f"Completed {len(ids)}", "Queue Depth 0")
            await tab.wait_until_as_stored(gateway)


async def test_why_nothing_drains_is_said_and_when_it_does_again(
    control_plane: ControlPlane, namespace: str, folder: Path, kubeconfig: Path
) -> None:
    settings = {"max_attempts": 100, "backoff": 0.5, "max_backoff": 1.0}
    async with (
        running_async_gateway(control_plane, namespace, folder, **settings) as gateway,
        running_tab(kubeconfig, namespace) as tab,
    ):
        await gateway.inference.configure(broken_status=503)
        await gateway.submit([BROKEN_MODEL] * 6)
        await tab.wait_for_text("Nothing drains since", "All attempts fail at present.", "503")
        await gateway.inference.configure(broken_status=200)
        await tab.wait_for_text("Completed 6", "Queue Depth 0")
        assert "Nothing drains" not in tab.screen_text
        core = f"/api/v1/namespaces/{namespace}"
        endpoints = control_plane.request("GET", f"{core}/endpoints/{SERVING}")
        control_plane.request("DELETE", f"{core}/endpoints/{SERVING}")
        await tab.wait_for_text("Processing 0 of 0")  # the gateway knows that nobody answers
        await gateway.submit([MODEL] * 2)
        await tab.wait_for_text(
            "Queue Depth 2", "Nothing drains since", f"No Pod of the Service {namespace}/{SERVING}"
        )
        endpoints["metadata"] = {"name": SERVING}
        control_plane.create(f"{core}/endpoints", endpoints)
        await tab.wait_for_text("Completed 8", "Queue Depth 0")
        await tab.wait_until_as_stored(gateway)


# -- who may see it -------------------------------------------------------------------------------


def view_rules(*secrets: str) -> list[dict[str, object]]:
    """Those of a viewer, and of who may see the queue."""
    proxy = {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]}
    named = {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": list(secrets),
        "verbs": ["get"],
    }
    return [*rules_of("viewer"), proxy, *([named] if secrets else [])]


async def test_a_viewer_sees_all_but_the_bodies(
    control_plane: ControlPlane, gateway: AsyncGateway
) -> None:
    [id] = await gateway.submit([MODEL])
    rules = view_rules(f"{SERVING}-async-view")
    grant_role(control_plane, gateway.namespace, "viewer", rules)
    kubeconfig = control_plane.write_kubeconfig("viewer")
    async with running_tab(kubeconfig, gateway.namespace) as tab:
        await tab.wait_for_states({id: COMPLETED})
        await tab.press("enter")
        await tab.wait_for_text("Completed", gateway.pod)
        await tab.press("3")
        await tab.wait_for_text("/v1/chat/completions", f"get on secrets {SERVING}-async")
        assert "Hello" not in tab.screen_text
        await tab.press("4")
        await tab.wait_for_text("200", f"get on secrets {SERVING}-async")
        assert ANSWER not in tab.screen_text
        await tab.press("escape", "p", "p")
        await tab.wait_for_text("It was not paused:", f"needs get on secrets {SERVING}-async")


@pytest.mark.parametrize("rules", [rules_of("viewer"), view_rules()])
async def test_without_permission_it_is_named(
    control_plane: ControlPlane, gateway: AsyncGateway, rules: list[dict[str, object]]
) -> None:
    await gateway.submit([MODEL])
    grant_role(control_plane, gateway.namespace, "nobody", rules)
    kubeconfig = control_plane.write_kubeconfig("nobody")
    async with running_tab(kubeconfig, gateway.namespace) as tab:
        await tab.wait_for_text(
            f"Asking the async gateway needs get on secrets {SERVING}-async-view or"
            f" {SERVING}-async in namespace {gateway.namespace}"
        )
        assert tab.pane._live is not None and tab.pane._live.phase is LivePhase.FORBIDDEN


async def test_without_permission_for_the_proxy_it_is_named(
    control_plane: ControlPlane, gateway: AsyncGateway
) -> None:
    secret = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    grant_role(control_plane, gateway.namespace, "nobody", [*rules_of("viewer"), secret])
    kubeconfig = control_plane.write_kubeconfig("nobody")
    async with running_tab(kubeconfig, gateway.namespace) as tab:
        await tab.wait_for_text(
            "Asking the async gateway needs get and create on services/proxy in namespace"
            f" {gateway.namespace}."
        )


async def test_a_queue_that_is_off_says_how_it_is_turned_on(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, SERVING)
    async with running_tab(kubeconfig, namespace) as tab:
        await tab.wait_for_text("The async queue of this serving is off.", "O turns it on")


async def test_a_queue_that_is_turned_off_and_on_under_the_tab(
    control_plane: ControlPlane, gateway: AsyncGateway, tab: QueueTab
) -> None:
    ids = await gateway.submit([MODEL])
    await tab.wait_for_states({ids[0]: COMPLETED})
    core = f"/api/v1/namespaces/{gateway.namespace}"
    deployments = f"/apis/apps/v1/namespaces/{gateway.namespace}/deployments"
    control_plane.request("DELETE", f"{deployments}/{SERVING}-async")
    for one in ("secrets", "services"):
        control_plane.request("DELETE", f"{core}/{one}/{SERVING}-async")
    control_plane.request("DELETE", f"{core}/services/{SERVING}-async-admin")
    await gateway.kill()
    await tab.wait_for_text("The async queue of this serving is off.")
    assert tab.states == {}
    await gateway.start()
    gateway.create_gateway_objects()
    await tab.wait_for_states({ids[0]: COMPLETED})


async def test_a_gateway_that_is_too_old_says_how_it_is_updated(
    control_plane: ControlPlane, gateway: AsyncGateway, kubeconfig: Path
) -> None:
    """One whose answers lack the time."""
    stub = GatewayStub(control_plane, gateway.namespace)
    with stub.serve():
        async with running_tab(kubeconfig, gateway.namespace) as tab:
            await tab.wait_for_text(
                f"The async gateway {gateway.namespace}/{SERVING}-async does not answer as this"
                " version of servedeck expects",
                "O updates it.",
            )


# -- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-3, 3])
async def test_the_ages_are_by_the_clock_of_the_store(
    gateway: AsyncGateway, kubeconfig: Path, hours: int
) -> None:
    [id] = await gateway.submit([MODEL])

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    async with running_tab(kubeconfig, gateway.namespace, clock=clock) as tab:
        await tab.wait_for_states({id: COMPLETED})
        live = tab.pane._live
        assert live is not None
        stored = (await gateway.stored_tasks())[0]
        assert live.now() - stored.created < 3600
        row = next(line for line in tab.screen_text.split("\n") if id[-8:] in line)
        assert row.split()[-1].endswith("s") or row.split()[-1] in ("1m", "2m"), row
