"""Saving an edit: the plan, its confirmation, what fails in between, and undo."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from servedeck.changes.edit.edit import EditPlan
from servedeck.changes.edit.save import LostWrite, SaveResult, SaveState
from servedeck.cluster.http.errors import ConnectionFailedError, ConnectionLostError
from tests.tui.edit_form import (
    KEY,
    EditDriver,
    container_of,
    image_of,
    intent,
    saved_drafts,
)
from tests.tui.helpers import post_keys, screen_text
from tui.ports.app_context import Undoable
from tui.screens.edit.edit_dialog import EditDialog
from tui.screens.edit.edit_screen import EditScreen

LOST = ConnectionLostError("Connection refused by the API server.")


async def start(driver: EditDriver, image: str = "mine:1") -> None:
    """Open the form and change the image, which restarts Pods."""
    await driver.open()
    await driver.retype("image", image)


async def test_the_cursor_is_on_back_if_pods_restart(driver: EditDriver) -> None:
    await start(driver)
    dialog = await driver.plan()
    assert not dialog.saves
    await driver.press("enter")
    await driver.wait_for(lambda: driver.app.screen is driver.form, "the form")
    assert driver.changes.save_count == 0


async def test_the_cursor_is_on_save_if_no_pod_restarts(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("description", "new")
    dialog = await driver.plan()
    await driver.wait_for_text("No Pod restarts.")
    assert dialog.saves


@pytest.mark.parametrize("key", ["y", "down"])
async def test_a_confirmation_before_the_plan_is_shown_saves_nothing_later(
    driver: EditDriver, key: str
) -> None:
    driver.changes.plan_gate = asyncio.Event()
    await start(driver)
    await driver.press("ctrl+s")
    await driver.wait_for_text("Running the API server's dry run")
    await driver.press(key)
    await driver.wait_for_text("confirm when the plan is shown")
    driver.changes.plan_gate.set()
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan")
    assert not driver.dialog.saves  # that key has chosen nothing either
    assert driver.changes.save_count == 0


async def test_a_key_that_comes_with_the_plan_saves_nothing(
    driver: EditDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has seen the plan when the key is read."""
    await start(driver)
    show_plan = EditDialog._show_plan

    def show_with_key(dialog: EditDialog, plan: EditPlan) -> None:
        show_plan(dialog, plan)
        post_keys(driver.pilot, "y")

    monkeypatch.setattr(EditDialog, "_show_plan", show_with_key)
    dialog = await driver.plan()
    await driver.wait_for_text("That key was pressed before this was shown; press it again.")
    assert not dialog.saves
    assert driver.changes.save_count == 0
    await driver.press("y")
    await driver.wait_for_text("The change was saved")


@pytest.mark.parametrize(("field", "key"), [("image", "down"), ("description", "enter")])
async def test_a_key_that_was_read_before_the_plan_was_shown_moves_and_saves_nothing(
    driver: EditDriver, field: str, key: str
) -> None:
    await driver.open()
    await driver.retype(field, "mine:1")
    dialog = await driver.plan()
    saves = dialog.saves
    dialog._shown_at = monotonic() + 3600  # the key is read before
    await driver.press(key)
    await driver.wait_for_text("That key was pressed before this was shown; press it again.")
    assert dialog.saves is saves
    assert driver.changes.save_count == 0


async def test_the_key_that_scrolls_a_long_plan_is_in_the_footer(driver: EditDriver) -> None:
    await start(driver)
    await driver.plan()
    await driver.wait_for_text("choose esc")
    await driver.pilot.resize_terminal(80, 8)
    await driver.wait_for_text("choose, pgdn scroll")
    await driver.press("pagedown")
    await driver.wait_for(lambda: driver.dialog.text_view.scroll_y > 0, "the rest of the plan")
    await driver.pilot.resize_terminal(80, 24)
    await driver.wait_for_text("choose esc")


async def test_any_error_of_the_plan_is_told(driver: EditDriver) -> None:
    driver.changes.plan_error = ValueError("no such thing")
    await start(driver)
    await driver.press("ctrl+s")
    await driver.wait_for_text("Unexpected ValueError: no such thing. The form is kept.")


async def test_the_message_to_wait_for_the_plan_goes_with_the_plan(driver: EditDriver) -> None:
    driver.changes.plan_gate = asyncio.Event()
    await start(driver)
    await driver.press("ctrl+s")
    await driver.wait_for_text("Running the API server's dry run")
    await driver.press("y")
    await driver.wait_for_text("Waiting for the API server; confirm when the plan is shown.")
    driver.changes.plan_gate.set()
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan")
    await driver.wait_for(lambda: "confirm when the plan" not in driver.text, "no message")


async def test_a_field_that_another_manager_set_is_named_by_its_label(driver: EditDriver) -> None:
    await driver.set_image("theirs:1", manager="kubectl-client-side-apply")
    await start(driver)
    dialog = await driver.plan()
    await driver.wait_for_text("kubectl-client-side-apply has set Image; servedeck takes it over.")
    assert not dialog.saves
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    assert image_of(await driver.read()) == "mine:1"


async def test_without_the_api_server_there_is_no_plan_and_the_form_is_kept(
    driver: EditDriver,
) -> None:
    driver.changes.plan_error = LOST
    await start(driver)
    await driver.press("ctrl+s")
    await driver.wait_for_text(f"{LOST} The form is kept.", "nothing can be saved")
    await driver.press("y")
    assert driver.changes.save_count == 0
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is driver.form, "the form")
    assert driver.form.change_count == 1


async def test_the_api_server_is_lost_before_anything_is_sent(driver: EditDriver) -> None:
    await start(driver)
    await driver.plan()
    driver.changes.save_error = driver.changes.plan_error = LOST
    await driver.press("y")
    await driver.wait_for_text("Nothing was saved.", f"{LOST} The form is kept.")
    await driver.press("y")
    assert driver.changes.save_count == 1
    driver.changes.plan_error = None
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan, without a key")
    assert "Nothing was saved." in driver.text
    assert driver.changes.save_count == 1


async def lose_answer(driver: EditDriver) -> None:
    """Save, and lose the answer; the API server answers again afterwards."""
    dialog = await driver.plan()
    plan = dialog.plan
    assert plan is not None
    version = plan.current.objects.deployment["metadata"]["resourceVersion"]
    unknown = SaveResult(
        SaveState.UNKNOWN,
        plan,
        "Connection reset. It is not known whether the change was saved.",
        lost=LostWrite(plan.change_plan.writes[0].ref, version),
    )

    async def lose(*_arguments: object, **_options: object) -> SaveResult:
        driver.changes.save_count += 1
        driver.changes.plan_error = LOST
        return unknown

    driver.changes.save_edit = lose  # type: ignore[method-assign]
    await driver.press("y")
    await driver.wait_for_text("It is not known whether the change was saved", str(LOST))
    driver.changes.plan_error = None


@pytest.mark.parametrize("was_saved", [True, False])
async def test_after_a_lost_answer_the_dialog_says_what_became_of_it(
    driver: EditDriver, was_saved: bool
) -> None:
    await start(driver)
    await lose_answer(driver)
    await driver.wait_for_text("does not have the change so far", "may still save it")
    assert "was not saved" not in driver.text
    assert not driver.dialog.saves
    await driver.change(
        lambda one: (
            container_of(one).update(image="mine:1")
            if was_saved
            else one["spec"].update(minReadySeconds=1)
        ),
        manager="servedeck",
    )
    answer = "was saved" if was_saved else "was not saved"
    await driver.wait_for_text(f"The API server answers again: the change {answer}.")
    assert driver.changes.save_count == 1
    # Back on the page, it can be undone as any saved change.
    assert (driver.app.undoable.edit is not None) is was_saved


async def test_a_second_key_while_it_is_saved_writes_nothing_twice(driver: EditDriver) -> None:
    await start(driver)
    await driver.plan()
    driver.changes.save_gate = asyncio.Event()
    await driver.press("y")
    await driver.wait_for_text("Waiting for the API server")
    await driver.press("y", "enter", "escape", "n")
    await driver.wait_for_text("It is being saved; wait for the result.")
    driver.changes.save_gate.set()
    await driver.wait_for_text("The change was saved")
    assert driver.changes.save_count == 1


async def test_quitting_while_it_is_saved_finishes_it_first(driver: EditDriver) -> None:
    await start(driver)
    dialog = await driver.plan()
    driver.changes.save_gate = asyncio.Event()
    await driver.press("y")
    await driver.wait_for_text("Waiting for the API server")
    post_keys(driver.pilot, "ctrl+c")
    await driver.wait_for_text(
        "It is being saved: it is finished first; press ctrl+c again to quit at once."
    )
    assert f"Whether the change of {KEY} was saved is not known" in dialog.exit_notice()
    assert not driver.app.exiting
    form = driver.form
    driver.changes.save_gate.set()
    await driver.wait_for(lambda: driver.app.exiting, "the exit")
    assert driver.app.return_code == 0
    assert form.exit_notice() == ""  # nothing is kept as a draft
    assert saved_drafts(driver) == []
    assert image_of(await driver.read()) == "mine:1"


async def test_a_second_request_to_quit_does_not_wait_for_the_save(driver: EditDriver) -> None:
    await start(driver)
    await driver.plan()
    driver.changes.save_gate = asyncio.Event()
    await driver.press("y")
    await driver.wait_for_text("Waiting for the API server")
    post_keys(driver.pilot, "ctrl+c", "ctrl+c")
    await driver.wait_for(lambda: driver.app.exiting, "the exit")
    assert driver.app.return_code == 1


async def test_it_stays_open_after_a_request_to_quit_if_it_is_not_saved(
    driver: EditDriver,
) -> None:
    await start(driver)
    await driver.plan()
    driver.changes.save_gate = asyncio.Event()
    await driver.press("y")
    await driver.wait_for_text("Waiting for the API server")
    post_keys(driver.pilot, "ctrl+c")
    await driver.wait_for_text("it is finished first")
    driver.changes.save_error = ValueError("no such thing")
    driver.changes.save_gate.set()
    await driver.wait_for_text("Unexpected ValueError: no such thing")
    driver.changes.save_error = None
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is driver.form, "the form")
    await driver.plan()
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    assert not driver.app.exiting


async def test_a_change_between_confirmation_and_answer_is_planned_again(
    driver: EditDriver,
) -> None:
    await driver.open()
    await driver.retype("cpu", "7")
    await driver.plan()
    driver.changes.save_gate = asyncio.Event()
    await driver.press("y")
    await driver.wait_for_text("Waiting for the API server")
    await driver.set_image("theirs:1")
    driver.changes.save_gate.set()
    await driver.wait_for_text("changed by somebody else meanwhile; the plan was made again")
    assert container_of(await driver.read())["resources"]["requests"]["cpu"] != "7"
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan")
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    stored = await driver.read()
    assert image_of(stored) == "theirs:1"
    assert container_of(stored)["resources"]["requests"]["cpu"] == "7"


SERVICE_PATH = f"/api/v1/namespaces/{KEY.namespace}/services/{KEY.name}"


REST = ("Left of the last change:", f"changes 1 field of Service {KEY}")


async def save_in_part(driver: EditDriver) -> EditScreen:
    """Save another port, of which the Service is not written; its target is a number."""
    await driver.change_object(
        SERVICE_PATH, lambda one: one["spec"]["ports"][0].update(targetPort=8000)
    )
    form = await driver.open()
    await driver.retype("inference_port", "8123")
    await driver.plan()
    connection = driver.changes._require_connection()
    request = connection.request

    async def fail(method: str, path: str, **options: Any) -> Any:
        is_dry_run = ("dryRun", "All") in options.get("params", ())
        if method == "PATCH" and path == SERVICE_PATH and not is_dry_run:
            raise ConnectionFailedError("Connection refused.")
        return await request(method, path, **options)

    connection.request = fail  # type: ignore[method-assign]
    await driver.press("y")
    await driver.wait_for_text(f"Service {KEY} was not saved. Deployment {KEY} was saved", *REST)
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan of the rest")
    connection.request = request  # type: ignore[method-assign]
    return form


async def go_back_to(driver: EditDriver, form: EditScreen) -> None:
    """Close the dialog, and wait until the form has the Deployment as it is now."""
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is form, "the form")
    await driver.wait_for(lambda: not form.change_count, "the Deployment as it is now")
    await driver.wait_for_text("Saved in part", "Save the rest")


@pytest.mark.parametrize("from_form", [False, True], ids=["dialog", "form"])
async def test_the_rest_of_a_change_that_was_saved_in_part_is_saved_from_the_same_form(
    driver: EditDriver, from_form: bool
) -> None:
    form = await save_in_part(driver)
    if from_form:
        await go_back_to(driver, form)
        await driver.plan()
        await driver.wait_for_text(*REST)
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    service = await driver.other.get_json(SERVICE_PATH)
    assert service["spec"]["ports"][0]["targetPort"] == 8123
    # The form does not remember it for the next serving.
    await driver.open()
    await driver.wait_for_text("No changes")


async def test_a_form_that_is_closed_names_what_was_not_saved(driver: EditDriver) -> None:
    await go_back_to(driver, await save_in_part(driver))
    await driver.press("escape")
    await driver.wait_for_text(
        f"Service {KEY} was not saved with the last change; correct it with kubectl edit."
    )


# -- undo ---------------------------------------------------------------------------------------


async def save(driver: EditDriver) -> None:
    await start(driver)
    await driver.plan()
    await driver.press("y")
    await driver.wait_for_text("u undoes it")


async def test_undo_puts_the_field_back_with_a_plan(driver: EditDriver) -> None:
    before = await driver.read()
    await save(driver)
    await driver.press("u")
    await driver.wait_for_text(f"Undo the change of {KEY}", "mine:1 →", "y Undo", "n Back")
    assert "Back to the form" not in driver.text
    assert "Save Changes" not in driver.text
    # The old Pods still run: the new one could not come up in the meantime.
    restarts = "restarts Pods" in driver.text
    assert restarts is ("No Pod restarts" not in driver.text)
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    assert intent(await driver.read()) == intent(before)


async def test_a_restart_after_an_edit_leaves_the_undo_of_the_edit(driver: EditDriver) -> None:
    before = await driver.read()
    await save(driver)
    await driver.press("r")
    await driver.wait_for_text("y  Restart")
    await driver.press("y")
    await driver.wait_for_text("u undoes the change before it.")
    await driver.press("u")
    await driver.wait_for_text(f"Undo the change of {KEY}", "mine:1 →", "y Undo")
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    assert image_of(await driver.read()) == image_of(before)


async def test_undo_is_refused_after_a_change_of_others(driver: EditDriver) -> None:
    await save(driver)
    await driver.set_image("theirs:1")
    await driver.press("u")
    await driver.wait_for_text("changed since; the change cannot be undone")
    assert image_of(await driver.read()) == "theirs:1"


async def test_undo_says_so_if_others_change_the_field_while_its_plan_is_open(
    driver: EditDriver,
) -> None:
    await save(driver)
    await driver.press("u")
    await driver.wait_for(
        lambda: isinstance(driver.app.screen, EditDialog) and driver.app.screen.is_plan_shown,
        "the plan",
    )
    await driver.set_image("theirs:1")
    await driver.wait_for_text(f"Others changed Image of {KEY} since; the change is not undone.")
    assert image_of(await driver.read()) == "theirs:1"


async def test_undo_can_be_tried_again_when_the_api_server_was_lost(driver: EditDriver) -> None:
    await save(driver)
    begin_undo = driver.changes.begin_undo

    async def fail(point: object) -> object:
        raise LOST

    driver.changes.begin_undo = fail  # type: ignore[assignment,method-assign]
    await driver.press("u")
    await driver.wait_for_text(f"Nothing is undone yet: {LOST}")
    driver.changes.begin_undo = begin_undo  # type: ignore[method-assign]
    await driver.press("u")
    await driver.wait_for_text(f"Undo the change of {KEY}")


async def test_undo_of_another_context_is_refused(driver: EditDriver) -> None:
    await save(driver)
    edit = driver.app.undoable.edit
    assert edit is not None
    driver.app.undoable = Undoable("another-context", (), edit)
    await driver.press("u")
    await driver.wait_for_text("The last change was made in context another-context")
    assert "Undo the change" not in screen_text(driver.app)
