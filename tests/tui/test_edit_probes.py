"""The fields of the probes in edit mode: endpoints are tried, a start-up time is proposed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from servedeck.cluster.http.errors import ClusterError
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.detail.endpoint_try import EndpointAnswer, EndpointTarget
from tests.tui.edit_form import KEY, EditDriver, container_of

STARTUP = "startup_seconds"


async def test_an_endpoint_is_tried_on_a_running_pod(driver: EditDriver) -> None:
    await driver.open()
    await driver.focus("image")
    assert "try endpoint" not in driver.text
    await driver.focus("readiness_path")
    await driver.wait_for_text("ctrl+p try endpoint")
    await driver.press("ctrl+p")
    await driver.wait_for_text("GET /health → 200 in", "Pod llama-31-8b-")
    assert "No changes" in driver.text


async def test_the_keys_of_the_probes_are_in_the_footer_of_a_narrow_terminal(
    driver: EditDriver,
) -> None:
    await driver.open()
    await driver.pilot.resize_terminal(80, 24)
    await driver.focus("liveness_path")
    await driver.wait_for_text("ctrl+p try endpoint", "f1 help")
    await driver.focus(STARTUP)
    await driver.wait_for_text("ctrl+p enter proposed time", "f1 help")


async def test_an_endpoint_that_fails_is_warned_about_at_the_field_and_in_the_plan(
    driver: EditDriver,
) -> None:
    await driver.open()
    await driver.retype("liveness_path", "/nowhere")
    await driver.press("ctrl+p")
    await driver.wait_for_text("GET /nowhere → 404 in", "so that Pods would be restarted again")
    dialog = await driver.plan()
    assert dialog.plan is not None
    (found,) = [one for one in dialog.plan.issues if one.field == "liveness_path"]
    assert not found.is_error
    await driver.wait_for_text("answers /nowhere with 404")
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is driver.form, "the form")
    await driver.retype("liveness_path", "/health")
    await driver.wait_for(lambda: "/nowhere with 404" not in driver.text, "no warning")
    await driver.press("ctrl+p")
    await driver.wait_for_text("GET /health → 200 in")


async def test_what_was_tried_and_is_not_wanted_is_not_in_the_plan(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("liveness_path", "/nowhere")
    await driver.press("ctrl+p")
    await driver.wait_for_text("GET /nowhere → 404 in")
    await driver.retype("liveness_path", "/health")
    await driver.retype("image", "mine:1")
    dialog = await driver.plan()
    assert dialog.plan is not None
    assert [one for one in dialog.plan.issues if one.field == "liveness_path"] == []


async def test_an_error_is_one_sentence_and_no_warning(
    driver: EditDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def refuse(_: object, target: EndpointTarget, path: str) -> EndpointAnswer:
        await gate.wait()
        raise ClusterError(f"Nothing listens on port {target.port} of that Pod.")

    monkeypatch.setattr(ClusterDetailService, "try_endpoint", refuse)
    form = await driver.open()
    await driver.focus("readiness_path")
    await driver.press("ctrl+p")
    await driver.wait_for_text("GET /health …")
    gate.set()
    await driver.wait_for_text("Nothing listens on port 8000 of that Pod.")
    assert [one for one in form._issues if one.field == "readiness_path"] == []


async def test_two_endpoints_are_tried_at_the_same_time(
    driver: EditDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    ended: list[str] = []

    async def wait(_: object, target: EndpointTarget, path: str) -> EndpointAnswer:
        try:
            await gate.wait()
        finally:
            ended.append(path)
        raise ClusterError(f"Nothing answers at {path}.")

    monkeypatch.setattr(ClusterDetailService, "try_endpoint", wait)
    await driver.open()
    await driver.retype("readiness_path", "/ready")
    await driver.press("ctrl+p")
    await driver.retype("liveness_path", "/alive")
    await driver.press("ctrl+p")
    await driver.wait_for_text("GET /ready …", "GET /alive …")
    assert not ended
    gate.set()
    await driver.wait_for_text("Nothing answers at /ready.", "Nothing answers at /alive.")


async def test_a_form_that_is_closed_tries_nothing_more(
    driver: EditDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    async def wait(_: object, target: EndpointTarget, path: str) -> EndpointAnswer:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(path)
        raise ClusterError("Not reached.")

    monkeypatch.setattr(ClusterDetailService, "try_endpoint", wait)
    await driver.open()
    for name in ("readiness_path", "liveness_path"):
        await driver.focus(name)
        await driver.press("ctrl+p")
    await driver.wait_for(lambda: driver.text.count("GET /health …") == 2, "both")
    await driver.press("escape")
    await driver.wait_for(lambda: len(ended) == 2, "the end of both")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There is no endpoint to try; enter a path such as /health."),
        ("health", "An endpoint is a path from the root; enter /health."),
    ],
)
async def test_what_cannot_be_tried(driver: EditDriver, text: str, message: str) -> None:
    await driver.open()
    await driver.retype("readiness_path", text)
    await driver.press("ctrl+p")
    await driver.wait_for_text(message)


async def test_a_probe_of_another_kind_is_named_and_kept(driver: EditDriver) -> None:
    probe = {"exec": {"command": ["cat", "/tmp/ready"]}}

    def change(deployment: dict[str, Any]) -> None:
        container_of(deployment)["readinessProbe"] = probe

    await driver.change(change)
    await driver.open()
    await driver.focus("readiness_path")
    await driver.wait_for_text(
        "Now: command cat /tmp/ready, which stays unless the field is changed."
    )
    await driver.retype("liveness_path", "/live")
    await driver.plan()
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    assert container_of(await driver.read())["readinessProbe"]["exec"] == probe["exec"]


async def test_the_key_says_where_it_works(driver: EditDriver) -> None:
    await driver.open()
    await driver.focus("image")
    await driver.press("ctrl+p")
    await driver.wait_for_text(
        "This key is for the fields Readiness Endpoint, Liveness Endpoint, Start-up Endpoint and "
        "Start-up Time (s)."
    )


async def test_without_a_running_pod_there_is_none_to_try(
    driver: EditDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.detail.endpoint_try.choose_pod", lambda _view: None)
    await driver.open()
    await driver.focus("readiness_path")
    await driver.press("ctrl+p")
    await driver.wait_for_text(f"No Pod of {KEY} runs its inference server")


async def test_the_last_starts_propose_a_startup_time(driver: EditDriver) -> None:
    view = driver.app.source.fleet.view(KEY)
    assert view is not None
    starts = driver.app.history.starts.durations(view.uid)
    assert starts
    await driver.open()
    await driver.focus(STARTUP)
    await driver.wait_for_text(
        "Start-up Time (s) 1800", "starts took", "Proposed: 600.", "ctrl+p enter proposed time"
    )
    await driver.press("ctrl+p")
    await driver.wait_for_text("Start-up Time (s) 600", "was 1800", "1 change")
    await driver.press("ctrl+p")
    await driver.wait_for_text("The proposed start-up time is entered.")
    await driver.press("ctrl+z")
    await driver.wait_for_text("Start-up Time (s) 1800", "No changes")
    await driver.press("ctrl+x")
    await driver.plan()
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    probe = container_of(await driver.read())["startupProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (10, 60)


async def test_a_shorter_time_than_the_last_starts_is_warned_about(driver: EditDriver) -> None:
    view = driver.app.source.fleet.view(KEY)
    assert view is not None
    longest = max(driver.app.history.starts.durations(view.uid))
    assert longest > 10
    await driver.open()
    await driver.retype(STARTUP, "10")
    await driver.focus("liveness_path")
    await driver.wait_for_text("The last starts took up to", "Pods that take longer than 10s are")
    dialog = await driver.plan()
    assert dialog.plan is not None
    assert STARTUP in [one.field for one in dialog.plan.issues]


async def test_a_startup_probe_is_taken_off_by_an_empty_field(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype(STARTUP, "")
    await driver.plan()
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    assert "startupProbe" not in container_of(await driver.read())
