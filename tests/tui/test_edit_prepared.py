"""The form of a page that is prepared before it is opened."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.cluster.http.errors import ConnectionLostError
from tests.tui.edit_form import KEY, EditDriver, image_of
from tui.screens.edit import edit_flow
from tui.screens.edit.edit_screen import EditScreen
from tui.screens.serving import ServingScreen

SERVICE = f"/api/v1/namespaces/{KEY.namespace}/services/{KEY.name}"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit_flow, "PREPARE_SECONDS", 0.01)


async def show_page(driver: EditDriver) -> ServingScreen:
    """Open the page of the serving."""
    servings = driver.app.servings
    await driver.wait_for(lambda: servings.table.select(KEY), f"{KEY} in the list")
    await driver.press("enter")
    await driver.wait_for(lambda: isinstance(driver.app.screen, ServingScreen), "the page")
    page = driver.app.screen
    assert isinstance(page, ServingScreen)
    return page


async def open_page(driver: EditDriver) -> ServingScreen:
    """Open the page of the serving, and wait until its form is prepared."""
    page = await show_page(driver)
    await wait_until_prepared(driver, page)
    return page


async def wait_until_prepared(driver: EditDriver, page: ServingScreen) -> None:
    await driver.wait_for(lambda: page.edit_flow.is_prepared, "the prepared form")


async def prepare(driver: EditDriver, page: ServingScreen) -> None:
    """Do what the timer of a page does, and wait until it is done."""
    await page.edit_flow.prepare()
    workers = driver.app.workers
    await workers.wait_for_complete([one for one in workers if one.group == edit_flow.PREPARING])


async def open_form(driver: EditDriver) -> EditScreen:
    await driver.press("e")
    await driver.wait_for(lambda: driver.is_open, "the form")
    return driver.form


def refuse_reads(driver: EditDriver) -> None:
    driver.changes.import_error = ConnectionLostError("The API server cannot be reached.")


async def test_it_opens_without_a_request(driver: EditDriver) -> None:
    await open_page(driver)
    refuse_reads(driver)
    await open_form(driver)
    await driver.wait_for_text(f"Edit {KEY}", image_of(await driver.read()), "No changes")


async def test_it_has_what_others_changed_since_it_was_prepared(driver: EditDriver) -> None:
    page = await open_page(driver)
    await driver.set_image("example.com/vllm:others")
    await wait_until_prepared(driver, page)
    refuse_reads(driver)
    await open_form(driver)
    text = await driver.wait_for_text("example.com/vllm:others", "No changes")
    assert "changed" not in text.replace("No changes", "")


async def test_a_change_of_the_service_is_read_before_it_is_opened(driver: EditDriver) -> None:
    page = await open_page(driver)
    reads = driver.changes.import_count
    await driver.change_object(
        SERVICE, lambda one: one["metadata"].setdefault("labels", {}).update(team="search")
    )
    await driver.wait_for(lambda: driver.changes.import_count > reads, "the serving read again")
    await wait_until_prepared(driver, page)


async def test_changes_after_it_is_opened_are_shown(driver: EditDriver) -> None:
    await open_page(driver)
    await open_form(driver)
    await driver.focus("description")
    await driver.press("x")
    await driver.set_image("example.com/vllm:others")
    await driver.wait_for_text("changed Image", "example.com/vllm:others", "1 change")


async def test_a_serving_that_cannot_be_read_again_says_so_when_it_is_opened(
    driver: EditDriver,
) -> None:
    page = await open_page(driver)
    refuse_reads(driver)
    await driver.set_image("example.com/vllm:others")
    await driver.wait_for(lambda: not page.edit_flow.is_prepared, "the failed read")
    await driver.press("e")
    await driver.wait_for_text(f"{KEY} cannot be edited: The API server cannot be reached.")
    driver.changes.import_error = None
    await open_form(driver)
    await driver.wait_for_text("example.com/vllm:others", "No changes")


async def test_a_saved_draft_is_offered(driver: EditDriver) -> None:
    page = await open_page(driver)
    form = await open_form(driver)
    await driver.focus("image")
    await driver.press("x")
    await driver.wait_for_text("1 change ctrl+s Save")
    form.autosave.write_now()
    form.autosave.close()  # as if the terminal had been closed
    form.dismiss()
    await driver.wait_for(lambda: driver.app.screen is page, "the page")
    await driver.press("e")
    await driver.wait_for_text(f"Unsaved changes of {KEY}", "c Continue")
    await driver.press("c")
    await driver.wait_for_text("1 change ctrl+s Save")


async def test_a_form_that_is_left_is_prepared_again_without_its_changes(
    driver: EditDriver,
) -> None:
    page = await open_page(driver)
    before = await open_form(driver)
    assert not page.edit_flow.is_prepared  # the form follows the serving itself
    await driver.focus("image")
    await driver.press("x")
    await driver.wait_for_text("1 change ctrl+s Save")
    await driver.press("escape")
    await driver.wait_for_text("Leave the form?")
    await driver.press("d")
    await driver.wait_for(lambda: driver.app.screen is page, "the page")
    await wait_until_prepared(driver, page)
    assert await open_form(driver) is before
    await driver.wait_for_text(image_of(await driver.read()), "No changes")


async def test_a_closed_page_prepares_nothing(driver: EditDriver) -> None:
    page = await open_page(driver)
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    assert not page.edit_flow.is_prepared
    reads = driver.changes.import_count
    await driver.set_image("example.com/vllm:others")
    assert driver.changes.import_count == reads


async def test_a_page_that_closed_under_its_form_prepares_nothing(driver: EditDriver) -> None:
    page = await open_page(driver)
    form = await open_form(driver)
    page.edit_flow.stop_following()  # as when the context is switched
    form.dismiss()
    await driver.wait_for(lambda: driver.app.screen is page, "the page")
    reads = driver.changes.import_count
    await prepare(driver, page)
    assert driver.changes.import_count == reads
    assert not page.edit_flow.is_prepared


async def test_a_serving_is_prepared_once(driver: EditDriver) -> None:
    page = await open_page(driver)
    reads = driver.changes.import_count
    await prepare(driver, page)  # a timer that ends late
    assert driver.changes.import_count == reads


async def test_the_next_serving_of_a_page_is_prepared(driver: EditDriver) -> None:
    page = await open_page(driver)
    await driver.press("right_square_bracket")
    await driver.wait_for(lambda: page.key != KEY, "the next serving")
    await wait_until_prepared(driver, page)
    key = page.key
    form = await open_form(driver)
    assert form.key == key
    await driver.wait_for_text(f"Edit {key}")


async def test_without_permission_nothing_is_prepared(
    driver: EditDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reason(*_: Any) -> str:
        return "Not permitted: patch deployments.apps."

    monkeypatch.setattr(type(driver.changes), "operation_disabled_reason", reason)
    page = await show_page(driver)
    await prepare(driver, page)
    assert not page.edit_flow.is_prepared
