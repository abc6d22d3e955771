"""The third step of the create form: the result of the dry run, YAML, keys and help."""

from __future__ import annotations

import pytest

from servedeck.serving.objects.field_changes import AdmissionChange
from servedeck.serving.spec.issues import error
from tests.tui.create_form import (
    MODEL,
    SIZES,
    focus_field,
    footer_of,
    form_of,
    go_to_step,
    run_form,
    type_text,
)
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import wait_for, wait_for_text


@pytest.mark.parametrize("size", SIZES)
async def test_the_review_says_what_will_be_what_admission_changes_and_leads_to_fields(
    change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    change_service.admission_changes = (
        AdmissionChange(".spec.template.spec.containers[sidecar]", "", '{"image":"\x1b[31mistio"}'),
        AdmissionChange(".spec.replicas", "1", "2"),
    )
    async with run_form(change_service, size) as pilot:
        await go_to_step(pilot, 3)
        screen = await wait_for_text(
            pilot, "create Deployment team-a/llama-chat", "the replica fits"
        )
        assert "admission changes" in screen
        assert "\x1b" not in screen
        await pilot.press("3")
        await wait_for(
            pilot, lambda: getattr(form_of(pilot).focused, "path", "") == "settings.model", "Model"
        )
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")
        form = form_of(pilot)
        while form.plan_view.path != "cpu":
            await pilot.press("down")
        await pilot.press("enter")
        await wait_for(pilot, lambda: getattr(form.focused, "path", "") == "cpu", "CPU")


async def test_what_the_cluster_rejects_is_reported_and_leads_to_its_field(
    change_service: FakeChangeService,
) -> None:
    change_service.dry_run_issues = [
        error("name", "Service team-a/llama-chat exists already, made by kubectl.")
    ]
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "exists already, made by kubectl")
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "Cannot deploy, 1 error")
        assert change_service.applied_objects == {}
        await pilot.press("g", "down", "enter")
        await wait_for(pilot, lambda: getattr(form_of(pilot).focused, "path", "") == "name", "Name")
        await wait_for_text(pilot, "llama-chat")


async def test_yaml_of_the_objects_and_of_the_document_without_secrets(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service, (120, 60)) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "HF_TOKEN=hf_abcdefghijkl")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")
        assert "enter edit" in footer_of(pilot)
        await pilot.press("y")
        screen = await wait_for_text(pilot, "apiVersion: apps/v1", "kind: Deployment")
        assert "hf_abc" not in screen
        assert "edit" not in footer_of(pilot)
        await pilot.press("enter")
        await wait_for_text(pilot, "y returns to the review")
        await pilot.press("y")
        await wait_for_text(pilot, "servedeck.dev/v1", "kind: Serving")
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "hf_abcdefghijkl")
        await pilot.press("y")
        await wait_for_text(pilot, "1 Basic Information", "enter edit")


async def test_the_footer_names_first_what_the_step_is_there_for(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 1, name="llama")
        assert footer_of(pilot).startswith(" ctrl+n next  ctrl+p back")
        assert "ctrl+s" not in footer_of(pilot)
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")
        assert footer_of(pilot).startswith(" ctrl+s deploy  ctrl+p back  esc close  enter edit")
        assert "y YAML" in footer_of(pilot)
        assert "ctrl+n" not in footer_of(pilot)


async def test_the_help_names_keys_as_they_are_typed(change_service: FakeChangeService) -> None:
    async with run_form(change_service, (100, 60)) as pilot:
        await pilot.press("f1")
        screen = await wait_for_text(pilot, "Create and edit: the fields", "  =  ")
        assert "equals_sign" not in screen
        await pilot.press("escape")
        await go_to_step(pilot, 3)
        await pilot.press("f1")
        await wait_for_text(pilot, "1-7           Go to the section with that number")


async def test_a_digit_without_a_section_says_how_many_there_are(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await focus_field(pilot, "template")
        await pilot.press("right", "right")
        await wait_for_text(pilot, "Custom")
        await go_to_step(pilot, 2)
        await focus_field(pilot, "image")
        await type_text(pilot, "registry.example.com/team/server:1.0")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")
        await pilot.press("7")
        await wait_for_text(pilot, "The review has 6 sections.")


async def test_a_lost_connection_is_reported_loses_nothing_and_can_be_tried_again(
    change_service: FakeChangeService,
) -> None:
    change_service.connection_error = (
        "https://127.0.0.1:6443 refuses connections; is the API server running?"
    )
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "refuses connections", "The form is kept")
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "refuses connections")
        change_service.connection_error = ""
        await pilot.press("r")
        await wait_for_text(pilot, "The API server accepts it", "llama-chat")
