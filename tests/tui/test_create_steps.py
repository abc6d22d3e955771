"""The steps of the create form: from the first key to the deployed serving, and its errors."""

from __future__ import annotations

import pytest

from servedeck.fleet.views import NamespacedName
from tests.tui import fakes
from tests.tui.create_form import (
    MODEL,
    SIZES,
    app_of,
    focus_field,
    form_of,
    go_to_step,
    run_app,
    run_form,
    type_text,
)
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import post_keys, screen_text, wait_for, wait_for_text
from tui.screens.create.form_view import FormView
from widgets.form_rows import TextField


@pytest.mark.parametrize("size", SIZES)
async def test_an_operator_deploys_a_model_with_name_and_model_alone(
    change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    source = fakes.FakeSource().add_views(*fakes.fleet())
    async with run_form(change_service, size, source=source) as pilot:
        await type_text(pilot, "llama-chat")
        await pilot.press("enter", "enter", "enter", "enter")
        await wait_for_text(pilot, "Accelerator Count")
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n", "ctrl+s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        assert [place.kind for place in change_service.applied_objects] == [
            "Deployment",
            "Service",
            "HTTPRoute",
        ]
        deployment = next(iter(change_service.applied_objects.values()))
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        assert container["args"][0] == MODEL
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        key = NamespacedName("team-a", "llama-chat")
        await wait_for(
            pilot, lambda: app_of(pilot).servings.rollout_progress.key == key, "the progress"
        )
        starting = fakes.serving("llama-chat", pods=(), ready=0, desired=1)
        source.add_views(starting)
        await wait_for(
            pilot, lambda: app_of(pilot).servings.table.cursor_key == key, "the cursor on it"
        )
        await wait_for_text(pilot, "✓ requested", "↻ scheduled")
        await pilot.press("escape")
        await wait_for(pilot, lambda: "scheduled" not in screen_text(pilot.app), "no ladder")
    assert change_service.draft_store is not None
    assert change_service.draft_store.list_saved() == []


async def test_keys_that_come_before_the_form_has_fields_do_nothing(
    change_service: FakeChangeService,
) -> None:
    async with run_app(change_service) as pilot:
        await pilot.press("n")
        await wait_for(pilot, lambda: len(pilot.app.screen_stack) == 2, "the form")
        form = form_of(pilot).query_one(FormView)
        rows = form.rows
        form.set_rows(())  # as before the first step is shown
        for action in ("form.next_field", "form.move", "form.move_section"):
            key = {"form.move": ("down",), "form.move_section": ("pagedown",)}.get(action, ())
            await form_of(pilot).action_do(action, *key)
        form.set_rows(rows)
        await wait_for_text(pilot, "Service Name")


async def test_keys_that_come_faster_than_the_screen_go_where_they_are_meant(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        form = form_of(pilot)
        tabs = ["tab"] * 22
        post_keys(pilot, *"llama", *["enter"] * 4, *MODEL, *tabs, "enter", *"A=b", "ctrl+n")
        await wait_for(pilot, lambda: form.deployer.dry_run.plan is not None, "the dry run")
        assert form.draft.texts["name"] == "llama"
        assert form.draft.texts["settings.model"] == MODEL
        assert [(row["name"], row["value"]) for row in form.draft.rows["env"]] == [("A", "b")]


@pytest.mark.parametrize("size", SIZES)
async def test_every_field_is_reached_explained_and_seen_by_keyboard(
    change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    async with run_form(change_service, size) as pilot:
        form = form_of(pilot)
        for step, count in ((1, 4), (2, 20)):
            seen: set[str] = set()
            while (path := getattr(form.focused, "path", "")) not in seen:
                seen.add(path)
                await pilot.press("down")
                await pilot.pause()
                field = form.form.focused_field
                assert field is not None
                line = form.form.field_region(field)
                visible = form.form.region
                assert visible.contains_region(line), f"{path} is off the screen"
                if isinstance(field, TextField):
                    assert form.form.editor.region == line
                assert form.help_bar.lines, f"{path} has no help"
            assert len(seen) >= count, seen
            if step == 1:
                await go_to_step(pilot, 2)


async def test_an_error_is_shown_once_the_field_was_left_and_goes_when_corrected(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await type_text(pilot, "Llama")
        assert "lowercase" not in screen_text(pilot.app)
        await pilot.press("enter")
        await wait_for_text(pilot, "lowercase letters")
        await pilot.press("up", "ctrl+u")
        await type_text(pilot, "llama")
        await wait_for(pilot, lambda: "lowercase" not in screen_text(pilot.app), "no error")


async def test_a_step_with_errors_is_not_left_and_the_first_one_has_the_cursor(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "to continue")
        assert form_of(pilot).step == 1
        await go_to_step(pilot, 2)
        await focus_field(pilot, "cpu")
        await pilot.press("ctrl+u")
        await type_text(pilot, "lots")
        await focus_field(pilot, "settings.model")
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "to continue")
        assert getattr(form_of(pilot).focused, "path", "") == "cpu"
        await wait_for_text(pilot, "lots", "✗")


async def test_the_first_invalid_field_in_the_forms_order_gets_the_cursor(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)  # without a model
        form = form_of(pilot)
        await focus_field(pilot, "settings.tensor_parallel_size")
        await pilot.press("ctrl+u")
        await type_text(pilot, "many")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "to continue")
        assert getattr(form.focused, "path", "") == "settings.model"
        await type_text(pilot, MODEL)
        await focus_field(pilot, "cpu")
        await pilot.press("ctrl+u")
        await type_text(pilot, "abc")
        await focus_field(pilot, "image")
        await pilot.press("ctrl+u")
        await type_text(pilot, "Foo Bar")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "to continue", "Foo Bar", "✗")
        assert getattr(form.focused, "path", "") == "image"


async def test_the_error_of_the_last_field_of_a_small_screen_is_seen(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "transformer.command")
        await type_text(pilot, "serve --fast")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "transformer's image is missing")


async def test_a_warning_is_shown_and_does_not_hold_up(change_service: FakeChangeService) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "accelerator")
        await pilot.press("left", "left")
        await wait_for_text(pilot, "usual images need a GPU")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")


async def test_what_is_taken_back_on_another_step_is_kept_with_that_step(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "Accelerator Count")
        await pilot.press("ctrl+z")
        form = form_of(pilot)
        assert (form.step, form.draft.step, form.draft.focused_field) == (1, 1, "name")
