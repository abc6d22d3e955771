"""Drafts of edits: kept while typing, offered again, merged with what others changed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from servedeck.changes.draft_store import DraftFile
from servedeck.demo.cluster import DemoCluster
from tests.tui.edit_form import KEY, EditDriver, container_of, image_of, run_app, saved_drafts
from tests.tui.helpers import post_keys
from tui.screens.edit.edit_screen import EditScreen

THEIRS = "vllm/vllm-openai:theirs"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


async def keep_draft(driver: EditDriver, path: str = "image", text: str = "mine:1") -> None:
    """Change a field and leave the form with a saved draft."""
    await driver.open()
    await driver.retype(path, text)
    await driver.press("escape", "s")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")


async def reopen(driver: EditDriver, answer: str) -> None:
    await driver.press("e")
    await driver.wait_for_text("Unsaved changes of", "Continue", "Start over")
    await driver.press(answer)


async def test_a_saved_draft_is_offered_and_continued(driver: EditDriver) -> None:
    await keep_draft(driver)
    await driver.wait_for_text("The draft of chat/llama-31-8b is saved.")
    await reopen(driver, "c")
    await driver.wait_for(lambda: driver.is_open, "the form")
    assert driver.form.form.get_text("image") == "mine:1"
    assert driver.form.change_count == 1


async def test_starting_over_discards_the_draft(driver: EditDriver) -> None:
    await keep_draft(driver)
    await reopen(driver, "n")
    await driver.wait_for(lambda: driver.is_open, "the form")
    assert driver.form.change_count == 0
    assert saved_drafts(driver) == []


async def test_escape_in_that_question_changes_and_deletes_nothing(driver: EditDriver) -> None:
    await keep_draft(driver)
    files = {one: one.read_text() for one in saved_drafts(driver)}
    await reopen(driver, "escape")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    assert {one: one.read_text() for one in saved_drafts(driver)} == files
    await reopen(driver, "c")
    await driver.wait_for(lambda: driver.is_open, "the form")


async def test_a_continued_draft_asks_about_what_others_changed_since(driver: EditDriver) -> None:
    await keep_draft(driver)
    await driver.set_image(THEIRS)
    await reopen(driver, "c")
    await driver.wait_for_text("Others changed 1 field that you changed, too")
    await driver.press("ctrl+s")
    await driver.wait_for_text(f"Now: {THEIRS}, changed by kubectl-edit", "Yours: mine:1")


async def test_an_undecided_conflict_is_asked_about_after_a_restart(
    tmp_path: Path,
) -> None:
    async with DemoCluster(live=False) as demo:
        async with run_app(demo, tmp_path) as driver:
            await driver.open()
            await driver.retype("image", "mine:1")
            await driver.set_image(THEIRS)
            await driver.wait_for_text("that you changed, too")
            await driver.press("ctrl+c")
        async with run_app(demo, tmp_path) as driver:
            await driver.wait_for(lambda: driver.app.servings.table.select(KEY), "the serving")
            await reopen(driver, "c")
            await driver.wait_for_text("that you changed, too", f"is {THEIRS} now")
            await driver.press("ctrl+s")
            await driver.wait_for_text("Others changed Image, too")
            assert image_of(await driver.read()) == THEIRS


async def test_the_draft_is_on_disk_where_the_program_ends(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("image", "mine:1")
    await asyncio.to_thread(driver.app.prepare_forced_exit)
    (path,) = saved_drafts(driver)
    assert json.loads(path.read_text())["texts"]["image"] == "mine:1"


async def test_quitting_says_that_the_changes_are_kept(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("image", "mine:1")
    notice = driver.form.exit_notice
    await driver.press("ctrl+c")
    await driver.wait_for(lambda: driver.app.exiting, "the end")
    assert "saved as a draft; e offers it again" in notice()


async def test_quitting_the_demo_does_not_say_so(driver: EditDriver) -> None:
    driver.changes.has_temporary_drafts = True
    await driver.open()
    await driver.retype("image", "mine:1")
    notice = driver.form.exit_notice
    await driver.press("ctrl+c")
    await driver.wait_for(lambda: driver.app.exiting, "the end")
    assert notice() == (
        f"The changes of {KEY} are not kept: the drafts of the demo are deleted when it ends."
    )


async def test_a_form_without_changes_leaves_no_draft_to_offer(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.focus("image")
    await driver.press("x")
    await form.autosave.save_now()
    await driver.press("backspace")
    await driver.wait_for(lambda: form.change_count == 0, "no change")
    await asyncio.to_thread(driver.app.prepare_forced_exit)
    form.autosave.close()  # as at the end of the program
    form._form_closing._close_form("")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    await driver.press("e")
    await driver.wait_for(lambda: isinstance(driver.app.screen, EditScreen), "the form")


async def test_a_draft_that_another_window_has_open_is_left_alone(driver: EditDriver) -> None:
    await keep_draft(driver)
    (path,) = saved_drafts(driver)
    other = DraftFile(path)
    assert other.acquire() is not None
    form = await driver.open()
    assert form.change_count == 0
    await driver.retype("cpu", "7")
    await form.autosave.save_now()
    assert len(saved_drafts(driver)) == 2
    other.release()


async def test_a_draft_opened_elsewhere_after_it_was_offered_is_not_taken(
    driver: EditDriver,
) -> None:
    await keep_draft(driver)
    (path,) = saved_drafts(driver)
    await driver.press("e")
    await driver.wait_for_text("Unsaved changes of")
    other = DraftFile(path)
    assert other.acquire() is not None
    await driver.press("c")
    await driver.wait_for_text("That draft is open in another window or was discarded.")
    other.release()


async def test_two_windows_see_what_the_other_saves(tmp_path: Path) -> None:
    async with (
        DemoCluster(live=False) as demo,
        run_app(demo, tmp_path) as one,
    ):
        await one.open()
        await one.retype("cpu", "7")
        await one.set_image(THEIRS, manager="servedeck")  # as the other window does
        await one.wait_for_text("servedeck changed Image")
        await one.plan()
        await one.press("y")
        await one.wait_for_text("The change was saved")
        stored = await one.read()
        assert image_of(stored) == THEIRS
        assert container_of(stored)["resources"]["requests"]["cpu"] == "7"


async def test_a_saved_edit_leaves_no_draft(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.retype("description", "new")
    await form.autosave.save_now()
    await driver.plan()
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    assert saved_drafts(driver) == []


async def test_a_draft_that_cannot_be_written_keeps_the_form_open(driver: EditDriver) -> None:
    driver.drafts.write_text("a file where the folder should be")
    form = await driver.open()
    await driver.retype("image", "mine:1")
    await driver.press("escape", "s")
    await driver.wait_for_text("The draft cannot be saved", "The form stays open.")
    post_keys(driver.pilot, "ctrl+c")
    await driver.wait_for_text("again to quit without it")
    assert form.form.get_text("image") == "mine:1"


@pytest.mark.parametrize("name", ["HF_TOKEN", "PLAIN"])
async def test_no_secret_is_written_to_the_draft(driver: EditDriver, name: str) -> None:
    await driver.change(lambda one: container_of(one)["env"].append({"name": name, "value": TOKEN}))
    form = await driver.open()
    await driver.retype("image", "mine:1")
    await form.autosave.save_now()
    (path,) = saved_drafts(driver)
    assert TOKEN not in path.read_text()
