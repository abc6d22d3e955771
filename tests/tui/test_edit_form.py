"""The form of edit mode: fields, save bar, notes, resetting, leaving."""

from __future__ import annotations

import pytest

from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.serving.spec.spec import FIELDS
from servedeck.serving.text import MASK
from tests.tui.edit_form import (
    KEY,
    EditDriver,
    container_of,
    image_of,
    intent,
    saved_drafts,
)
from tests.tui.helpers import screen_text
from tui.screens.confirm_dialog import ConfirmDialog
from tui.screens.edit.edit_flow import FORM_NAME
from tui.screens.edit.edit_screen import EditScreen

SECRET = "sk-abcdefghijklmnopqrstuvwxyz0123"


async def test_a_changed_field_shows_what_it_was_and_counts_as_a_change(
    driver: EditDriver,
) -> None:
    await driver.open()
    before = image_of(await driver.read())
    await driver.focus("image")
    await driver.press("x")
    await driver.wait_for_text(
        f"was {before}", "1 change ctrl+s Save", f"Image {before} → {before}x"
    )


async def test_save_changes_is_a_button_of_the_save_bar(driver: EditDriver) -> None:
    form = await driver.open()
    assert "[ Save Changes ]" not in driver.text
    await driver.focus("image")
    await driver.press("x")
    await driver.wait_for_text("[ Save Changes ]")
    region = form.button_bar.region
    assert region.right == driver.app.size.width
    await driver.pilot.click(offset=(region.x + 3, region.y))
    await driver.wait_for(driver._is_planned, "the plan")
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is form, "the form")
    assert form.form.path == "image"


async def test_a_text_that_means_the_same_value_is_no_change(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.focus("transformer.image")
    await driver.press("space")
    await driver.wait_for(lambda: form.edit.draft.texts["transformer.image"] == " ", "the text")
    await driver.wait_for_text("No changes")
    assert "was empty" not in screen_text(driver.app)
    await driver.press("t")
    await driver.wait_for_text("was empty", "1 change ")
    await driver.press("backspace")
    await driver.wait_for_text("No changes")
    assert "was empty" not in screen_text(driver.app)
    await driver.press("escape")  # and without a question
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")


async def test_a_form_that_was_mounted_ahead_shows_its_serving(driver: EditDriver) -> None:
    await driver.app.servings.edit_flow.prepare()
    ahead = driver.app.get_screen(FORM_NAME)
    assert ahead.is_attached
    assert ahead not in driver.app.screen_stack
    assert await driver.open() is ahead
    await driver.wait_for_text(f"Edit {KEY}", image_of(await driver.read()), "No changes")


async def test_saving_changes_that_field_alone(driver: EditDriver) -> None:
    await driver.open()
    before = await driver.read()
    await driver.focus("image")
    await driver.press("x")
    await driver.plan()
    await driver.wait_for_text("restarts Pods", "3 Pods restart")
    await driver.press("y")
    await driver.wait_for_text("The change was saved", "u undoes it")
    after = await driver.read()
    assert image_of(after) == f"{image_of(before)}x"
    expected = intent(before)
    container_of(expected)["image"] = image_of(after)
    assert intent(after) == expected


async def test_the_readiness_path_of_the_template_can_be_changed_alone(
    driver: EditDriver,
) -> None:
    form = await driver.open()
    await driver.focus("liveness_path")
    await driver.wait_for_text("Readiness Endpoint /health", "Liveness Endpoint")
    await driver.retype("readiness_path", "/ready")
    dialog = await driver.plan()
    assert dialog.plan is not None
    assert [(one.path, one.old, one.new) for one in dialog.plan.fields] == [
        (("readiness_path",), "/health", "/ready")
    ]
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is form, "the form")
    await driver.retype("readiness_path", "/health")
    await driver.wait_for_text("No changes")


async def test_an_unchanged_form_has_nothing_to_save_and_closes_without_a_question(
    driver: EditDriver,
) -> None:
    await driver.open()
    await driver.press("ctrl+s")
    await driver.wait_for_text("Nothing is changed")
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    assert saved_drafts(driver) == []


async def test_an_error_is_counted_when_it_is_shown_at_its_field(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("cpu", "x")
    await driver.wait_for_text("1 change ctrl+s Save")
    await driver.press("tab")
    await driver.wait_for_text("'x' is not a quantity", "1 change 1 error ctrl+s Save")


async def test_an_error_is_counted_at_once_where_saving_shows_it(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("cpu", "x")
    await driver.press("ctrl+s")
    await driver.wait_for_text("Not saved, 1 error", "1 change 1 error ctrl+s Save")


async def test_a_field_is_reset_alone(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.retype("cpu", "7")
    await driver.retype("memory", "77Gi")
    await driver.wait_for_text("2 changes")
    await driver.press("ctrl+o")
    await driver.wait_for_text("1 change ", " CPU 8 → 7")
    assert form.edit.changed_paths == ("cpu",)


async def test_undo_brings_back_what_was_reset(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.retype("cpu", "7")
    await driver.press("ctrl+o")
    await driver.wait_for(lambda: form.change_count == 0, "no change")
    await driver.press("ctrl+z")
    await driver.wait_for(lambda: form.form.get_text("cpu") == "7", "the text")


async def test_an_unchanged_field_cannot_be_reset(driver: EditDriver) -> None:
    await driver.open()
    await driver.press("ctrl+o")
    await driver.wait_for_text("The field under the cursor is unchanged")


async def test_an_error_is_shown_at_its_field_and_nothing_is_planned(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.retype("memory", "16 GB")
    await driver.focus("image")
    await driver.press("ctrl+s")
    await driver.wait_for_text("Not saved, 1 error:", "✗")
    assert driver.app.screen is form
    assert getattr(form.focused, "path", "") == "memory"


async def test_leaving_with_changes_asks_once_and_escape_changes_nothing(
    driver: EditDriver,
) -> None:
    form = await driver.open()
    await driver.focus("image")
    await driver.press("x", "escape")
    await driver.wait_for_text(
        "Leave the form?",
        "It has 1 unsaved change.",
        "offered again when you edit this serving",
        "the changes are lost",
    )
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is form, "the form")
    assert form.edit.changed_paths == ("image",)


async def test_discarding_changes_deletes_their_draft(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.focus("image")
    await driver.press("x")
    await form.autosave.save_now()
    assert len(saved_drafts(driver)) == 1
    await driver.press("escape", "d")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    assert saved_drafts(driver) == []


async def test_an_error_counts_as_a_change_that_would_be_lost(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("memory", "16 GB")
    await driver.press("escape")
    await driver.wait_for_text("Leave the form?", "1 unsaved change")


async def test_a_removed_variable_comes_back_with_undo(driver: EditDriver) -> None:
    form = await driver.open()
    rows = form.edit.draft.rows["env"]
    assert rows
    name = rows[0]["name"]
    await driver.focus("env.0.name")
    await driver.press("ctrl+r")
    await driver.wait_for_text(f"Removed {name}")
    await driver.wait_for(lambda: form.change_count == 1, "the change")
    await driver.press("ctrl+z")
    await driver.wait_for(lambda: form.change_count == 0, "no change")


async def test_a_removed_variable_is_reset_where_variables_are_added(driver: EditDriver) -> None:
    form = await driver.open()
    name = form.edit.draft.rows["env"][0]["name"]
    await driver.retype("description", "stays")
    await driver.focus("env.0.name")
    await driver.press("ctrl+r")
    await driver.wait_for(lambda: form.change_count == 2, "both changes")
    await driver.focus("add.env")
    await driver.press("ctrl+o")
    await driver.wait_for(lambda: form.change_count == 1, "the other change")
    assert form.edit.draft.rows["env"][0]["name"] == name


async def test_an_added_row_without_text_is_no_change(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.focus("add.env")
    await driver.press("enter")
    await driver.wait_for(
        lambda: getattr(form.focused, "path", "").endswith(".name"), "the new row"
    )
    assert form.change_count == 0


async def test_secrets_of_others_are_masked_until_they_are_asked_for(driver: EditDriver) -> None:
    await driver.change(lambda one: container_of(one)["args"].extend(["--api-key", SECRET]))
    form = await driver.open()
    await driver.focus("settings.additional_arguments")
    await driver.wait_for(lambda: MASK[0] in screen_text(driver.app), "the mask")
    assert SECRET not in screen_text(driver.app)
    await driver.press("ctrl+g")
    await driver.wait_for_text("Secret values are shown", SECRET)
    await driver.press("ctrl+g")
    await driver.wait_for(lambda: SECRET not in screen_text(driver.app), "the mask")
    await driver.press("end", "space", "-", "x")
    await driver.wait_for(lambda: form.change_count >= 1, "the change")
    assert SECRET not in screen_text(driver.app)
    await driver.plan()
    assert SECRET not in screen_text(driver.app)


@pytest.mark.parametrize("size", [(20, 10), (40, 8), (80, 24), (200, 50)])
async def test_the_form_and_its_dialogs_fit_any_terminal(
    driver: EditDriver, size: tuple[int, int]
) -> None:
    await driver.pilot.resize_terminal(*size)
    form = await driver.open()
    await driver.focus("description")
    await driver.press(*"x" * 300)
    await driver.wait_for(lambda: form.change_count == 1, "the change")
    focused = form.focused
    assert focused is not None
    assert form.form.region.contains_region(focused.region)
    await driver.plan()
    await driver.press("n")
    await driver.press("escape")
    await driver.wait_for(lambda: isinstance(driver.app.screen, ConfirmDialog), "the question")
    await driver.press("k")
    await driver.wait_for(lambda: isinstance(driver.app.screen, EditScreen), "the form")


@pytest.mark.parametrize("path", ["rollout", "temperature_policy", "auto_scaling"])
async def test_the_help_of_a_field_is_shown_whole_at_80_columns(
    driver: EditDriver, path: str
) -> None:
    await driver.open()
    await driver.pilot.resize_terminal(80, 24)
    await driver.focus(path)
    await driver.wait_for_text(f"{FIELDS[path].help} (space lists, left and right choose)")
    focused = driver.form.focused
    assert focused is not None
    assert driver.form.form.region.contains_region(focused.region)
    await driver.focus("image")
    await driver.wait_for_text(f"{FIELDS['image'].help} ")


async def test_the_help_lists_the_keys_of_the_form(driver: EditDriver) -> None:
    await driver.open()
    await driver.press("f1")
    await driver.wait_for_text("Edit a serving", "ctrl+o")
    await driver.press("escape")
    await driver.wait_for_text("No changes")


async def test_a_serving_of_another_tool_keeps_its_absent_fields(driver: EditDriver) -> None:
    def strip(deployment: dict[str, object]) -> None:
        container = container_of(deployment)
        for name in ("resources", "readinessProbe", "livenessProbe", "startupProbe", "env"):
            container.pop(name, None)

    await driver.change(strip)
    await driver.open()
    before = await driver.read()
    await driver.focus("image")
    await driver.press("x")
    await driver.plan()
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    expected = intent(before)
    container_of(expected)["image"] += "x"
    assert intent(await driver.read()) == expected


async def test_replicas_of_an_autoscaler_cannot_be_changed_in_the_form(driver: EditDriver) -> None:
    await driver.open()
    await driver.focus("replicas")
    await driver.wait_for_text("set by the autoscaler (KEDA 1-3)")
    before = driver.form.edit.draft.texts["replicas"]
    for keys in (("9",), ("end", "backspace"), ("home", "ctrl+k", "9")):
        await driver.press(*keys)
        await driver.wait_for_text("The autoscaler (KEDA 1-3) sets the replicas", "No changes")
        assert driver.form.edit.draft.texts["replicas"] == before
        assert driver.form.form.editor.value == before


async def test_a_serving_that_cannot_be_read_is_not_opened(driver: EditDriver) -> None:
    driver.changes.import_error = ConnectionLostError("Connection refused.")
    await driver.wait_for(lambda: driver.app.servings.table.select(KEY), "the serving")
    await driver.press("e")
    await driver.wait_for_text(f"{KEY} cannot be edited: Connection refused.")
    assert driver.app.screen is driver.app.servings


async def test_the_owner_that_takes_changes_back_is_named_first(driver: EditDriver) -> None:
    await driver.change(
        lambda one: one["metadata"]["labels"].update({"argocd.argoproj.io/instance": "models"})
    )
    await driver.open()
    await driver.wait_for_text("Argo CD application models manages this Deployment")
