"""Deploying from the create form, also if it stops halfway."""

from __future__ import annotations

import asyncio

import pytest

from tests.tui.create_form import (
    MODEL,
    focus_field,
    form_of,
    go_to_step,
    run_form,
    type_text,
    wait_until_deployed,
)
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import wait_for, wait_for_text


async def test_replicas_that_would_stay_pending_delay_a_deploy(
    change_service: FakeChangeService,
) -> None:
    change_service.dry_run_gate = asyncio.Event()
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "replicas")
        await pilot.press("ctrl+u")
        await type_text(pilot, "9")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "Running the API server's dry run")
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "The serving is deployed after the dry run succeeds")
        change_service.dry_run_gate.set()
        await wait_for_text(pilot, "will stay Pending", "ctrl+s again to deploy")
        assert change_service.applied_objects == {}
        await pilot.press("ctrl+s")
        await wait_until_deployed(pilot, change_service)


async def test_a_deploy_that_stops_halfway_says_what_was_created_and_can_continue_or_delete_it(
    change_service: FakeChangeService,
) -> None:
    change_service.rejections = {"Service": "The API server was lost."}
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await pilot.press("ctrl+s")
        await wait_for_text(
            pilot,
            "Service team-a/llama-chat: The API server was lost.",
            "Deployment team-a/llama-chat was created.",
            "continues where it stopped",
        )
        await pilot.press("u")
        await wait_for_text(pilot, "This deletes Deployment team-a/llama-chat")
        await pilot.press("y")
        await wait_for(pilot, lambda: change_service.applied_objects == {}, "undo")
        await wait_for_text(pilot, "Deleted what was created")
        await wait_for(
            pilot, lambda: form_of(pilot).deployer.dry_run.plan is not None, "a new dry run"
        )
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "continues where it stopped")
        change_service.rejections = {}
        await pilot.press("ctrl+s")
        await wait_until_deployed(pilot, change_service)


async def test_another_name_after_an_unfinished_deploy_asks_for_the_deletion_first(
    change_service: FakeChangeService,
) -> None:
    change_service.rejections = {"Service": "It is rejected."}
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "It is rejected.")
        change_service.rejections = {}
        await pilot.press("1")
        await wait_for_text(pilot, "Service Template")
        await type_text(pilot, "-2")
        await pilot.press("ctrl+n", "ctrl+n")
        await wait_for(
            pilot, lambda: form_of(pilot).deployer.dry_run.plan is not None, "the dry run"
        )
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "is left from the previous attempt")
        assert len(change_service.applied_objects) == 1


@pytest.mark.parametrize("part", ["review", "deploy"])
async def test_an_internal_error_is_reported_and_the_form_stays(
    change_service: FakeChangeService, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("metadata")

    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        if part == "review":
            monkeypatch.setattr(change_service, "make_plan", broken)
        await pilot.press("ctrl+n")
        if part == "deploy":
            await wait_for_text(pilot, "The API server accepts it")
            monkeypatch.setattr(change_service, "deploy", broken)
            await pilot.press("ctrl+s")
        await wait_for_text(pilot, "metadata")
        monkeypatch.undo()
        await pilot.press("r")
        await wait_for_text(pilot, "The API server accepts it")
        await pilot.press("ctrl+s")
        await wait_until_deployed(pilot, change_service)


async def test_leaving_the_review_cancels_a_request_to_deploy(
    change_service: FakeChangeService,
) -> None:
    change_service.dry_run_gate = asyncio.Event()
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "Running the API server's dry run")
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "The serving is deployed after the dry run succeeds")
        await pilot.press("ctrl+p")
        await wait_for_text(pilot, "Accelerator Count")
        change_service.dry_run_gate.set()
        form = form_of(pilot)
        await wait_for(pilot, lambda: form.deployer.dry_run.plan is not None, "the dry run")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")
        assert change_service.applied_objects == {}
