"""The dialog of objectives, on the demo cluster."""

from __future__ import annotations

from servedeck.cluster.http.errors import ClusterError
from servedeck.serving.conventions import OBJECTIVES_ANNOTATION
from servedeck.serving.objectives import ObjectiveKind
from tests.tui.edit_form import KEY, EditDriver
from tests.tui.helpers import wait_for
from tui.objectives_flow import objectives_disabled_reason, open_objectives
from tui.operation_flow import OperationFlow
from tui.screens.edit.edit_dialog import EditDialog
from tui.screens.objectives import ObjectivesDialog

PATH = f"/apis/apps/v1/namespaces/{KEY.namespace}/deployments/{KEY.name}"
VALUES = {ObjectiveKind.P95: 2.314, ObjectiveKind.TTFT: None, ObjectiveKind.ERRORS: 0.0123}


async def open_dialog(driver: EditDriver) -> ObjectivesDialog:
    servings = driver.app.servings
    await driver.wait_for(lambda: servings.table.select(KEY), "the serving")
    view = driver.app.source.fleet.view(KEY)
    assert view is not None
    open_objectives(servings, OperationFlow(servings), view, VALUES)
    await driver.wait_for_text(f"Objectives of {KEY}", "An empty field is no objective.")
    dialog = driver.app.screen
    assert isinstance(dialog, ObjectivesDialog)
    return dialog


async def plan(driver: EditDriver) -> None:
    """Save what is typed, and wait for the plan."""
    await driver.press("enter")

    def is_planned() -> bool:
        screen = driver.app.screen
        return isinstance(screen, EditDialog) and screen.is_plan_shown

    await wait_for(driver.pilot, is_planned, "the plan")


async def set_objectives(driver: EditDriver, text: str | None) -> None:
    """Another client changes the annotation; wait until the list has it."""
    await driver.other.request(
        "PATCH",
        PATH,
        params={"fieldManager": "kubectl-annotate"},
        body={"metadata": {"annotations": {OBJECTIVES_ANNOTATION: text}}},
        content_type="application/merge-patch+json",
    )

    def is_seen() -> bool:
        known = driver.app.source.fleet.deployment(KEY)
        return known is not None and known.metadata.annotations.objectives == (text or "")

    await driver.wait_for(is_seen, "the change in the list")


async def stored(driver: EditDriver) -> str | None:
    found = (await driver.read())["metadata"].get("annotations", {})
    text: str | None = found.get(OBJECTIVES_ANNOTATION)
    return text


def fields(dialog: ObjectivesDialog) -> list[str]:
    return [dialog.query_one(f"#{one}").text for one in ObjectiveKind]  # type: ignore[attr-defined]


async def test_objectives_are_saved_shown_and_undone(driver: EditDriver) -> None:
    before = await driver.read()
    dialog = await open_dialog(driver)
    assert fields(dialog) == ["", "", ""]
    assert "P95 of the time of a request now 2.31 s" in driver.text
    assert "Error rate: failed requests (5xx) now 1.23 %" in driver.text
    assert "no Pod restarts when they change" in driver.text
    await driver.press(*"2s", "tab", *"0.5", "down", *"1%")
    await plan(driver)
    assert "Objectives none → p95=2s ttft=500ms errors=1%" in driver.text
    assert "No Pod restarts." in driver.text
    await driver.press("enter")
    await driver.wait_for_text("The change was saved.", "u undoes it.")
    assert driver.app.screen is driver.app.servings
    assert await stored(driver) == "p95=2s ttft=500ms errors=1%"
    assert (await driver.read())["spec"] == before["spec"]
    dialog = await open_dialog(driver)
    assert fields(dialog) == ["2s", "500ms", "1%"]
    await driver.press("escape", "u")
    await driver.wait_for_text("Undo the change of", "p95=2s ttft=500ms errors=1% →")
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan")
    await driver.press("y")
    await driver.wait_for_text("The change was saved.")
    assert await stored(driver) is None


async def test_the_key_of_the_tab_opens_the_dialog(driver: EditDriver) -> None:
    await driver.wait_for(lambda: driver.app.servings.table.select(KEY), "the serving")
    await driver.press("enter")
    await driver.wait_for_text("Basic Information")
    await driver.press("2", "o")
    await driver.wait_for_text(f"Objectives of {KEY}", "An empty field is no objective.")
    await driver.press("tab", "tab", *"0.5%", "shift+tab", *"300ms")
    await plan(driver)
    await driver.press("y")
    await driver.wait_for_text("The change was saved.")
    assert await stored(driver) == "ttft=300ms errors=0.5%"
    await driver.press("1")
    await driver.wait_for_text("Objectives ttft=300ms errors=0.5%")  # on the card


async def test_an_empty_field_removes_its_objective_and_other_entries_stay(
    driver: EditDriver,
) -> None:
    await set_objectives(driver, "p95=2s itl=20ms errors=1%")
    dialog = await open_dialog(driver)
    assert fields(dialog) == ["2s", "", "1%"]
    assert "Other entries of the annotation are kept: itl=20ms." in driver.text
    await driver.press("ctrl+u")
    await plan(driver)
    await driver.press("y")
    await driver.wait_for_text("The change was saved.")
    assert await stored(driver) == "errors=1% itl=20ms"


async def test_what_is_wrong_is_said_under_its_field_and_nothing_is_lost(
    driver: EditDriver,
) -> None:
    dialog = await open_dialog(driver)
    await driver.press(*"2s", "tab", *"fast", "tab", *"5", "enter")
    await driver.wait_for_text(
        "'fast' is not a time; enter one such as 2s, 500ms or 1m30s.",
        "A share of errors must be less than 100%; did you mean 5%?",
    )
    assert driver.app.screen is dialog
    assert fields(dialog) == ["2s", "fast", "5"]
    await driver.press("backspace")  # the focus is on the first one that is wrong
    assert fields(dialog) == ["2s", "fas", "5"]
    await driver.wait_for(lambda: "is not a time" not in driver.text, "the error to go")
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    assert await stored(driver) is None


async def test_the_form_survives_an_error_of_the_cluster_and_going_back(
    driver: EditDriver,
) -> None:
    dialog = await open_dialog(driver)
    await driver.press(*"2s")
    driver.changes.plan_error = ClusterError("The API server does not answer.")
    await driver.press("enter")
    await driver.wait_for_text("The API server does not answer.")
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is dialog, "the form")
    assert fields(dialog) == ["2s", "", ""]
    driver.changes.plan_error = None
    await plan(driver)
    await driver.press("n")
    await driver.wait_for(lambda: driver.app.screen is dialog, "the form")
    assert fields(dialog) == ["2s", "", ""]
    assert await stored(driver) is None
    await plan(driver)
    driver.changes.save_error = ClusterError("The connection was lost.")
    await driver.press("y")
    await driver.wait_for_text("The connection was lost.")
    driver.changes.save_error = None
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan")
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is dialog, "the form")
    assert fields(dialog) == ["2s", "", ""]


async def test_a_change_by_somebody_else_is_shown_and_not_overwritten(driver: EditDriver) -> None:
    await set_objectives(driver, "p95=2s errors=1%")
    dialog = await open_dialog(driver)
    await driver.press("ctrl+u", *"1s")
    await set_objectives(driver, "p95=3s ttft=1s errors=1%")
    await driver.wait_for_text(
        "Somebody changed the objectives meanwhile: p95=3s ttft=1s errors=1% now."
    )
    await driver.press("enter")
    await driver.wait_for_text(
        "kubectl-annotate changed the objectives meanwhile, from p95=2s errors=1% to p95=3s"
    )
    assert driver.app.screen is dialog
    assert fields(dialog) == ["1s", "1s", "1%"]  # the second one is theirs
    assert await stored(driver) == "p95=3s ttft=1s errors=1%"
    await plan(driver)
    assert "p95=3s ttft=1s errors=1% → p95=1s ttft=1s errors=1%" in driver.text


async def test_a_change_while_the_plan_is_shown_comes_back_to_the_form(driver: EditDriver) -> None:
    dialog = await open_dialog(driver)
    await driver.press(*"1s")
    await plan(driver)
    await set_objectives(driver, "p95=3s")
    await driver.wait_for(lambda: driver.app.screen is dialog, "the form")
    await driver.wait_for_text("changed the objectives meanwhile, from none to p95=3s")
    assert fields(dialog) == ["1s", "", ""]
    assert await stored(driver) == "p95=3s"


async def test_without_a_change_nothing_is_sent(driver: EditDriver) -> None:
    await set_objectives(driver, "p95=2s x=1")
    await open_dialog(driver)
    await driver.press("enter")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    assert driver.changes.save_count == 0
    assert await stored(driver) == "p95=2s x=1"


async def test_what_is_no_target_is_in_its_field(driver: EditDriver) -> None:
    await set_objectives(driver, "p95=[bold]quick")
    dialog = await open_dialog(driver)
    assert fields(dialog) == ["[bold]quick", "", ""]
    await driver.press("enter")
    await driver.wait_for_text("'[bold]quick' is not a time")
    await driver.press("ctrl+u", *"2s")
    await plan(driver)
    await driver.press("y")
    await driver.wait_for_text("The change was saved.")
    assert await stored(driver) == "p95=2s"


async def test_readonly_opens_no_dialog(driver: EditDriver) -> None:
    servings = driver.app.servings
    await driver.wait_for(lambda: servings.table.select(KEY), "the serving")
    driver.app.readonly = True  # as with --readonly
    view = driver.app.source.fleet.view(KEY)
    assert view is not None
    flow = OperationFlow(servings)
    assert "--readonly" in objectives_disabled_reason(flow, view)
    open_objectives(servings, flow, view)
    await driver.wait_for_text("servedeck runs with --readonly")
    assert driver.app.screen is servings
