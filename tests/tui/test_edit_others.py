"""Others change a serving while its form is open: merged, shown, asked; nothing is overwritten
unseen and nothing typed is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from servedeck.changes.edit.edit import Edit, EditPlan
from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.fleet.views import NamespacedName
from tests.tui.edit_form import KEY, EditDriver, container_of, image_of
from tests.tui.fakes import FakeChanges
from tests.tui.helpers import post_keys, screen_text
from tui.ports.change_service import Inventory
from tui.screens.confirm_dialog import ConfirmDialog
from tui.screens.edit.edit_dialog import EditDialog

WITHOUT_AUTOSCALER = NamespacedName("chat", "llama-33-70b")
THEIRS = "vllm/vllm-openai:theirs"


async def wait_until_asked(driver: EditDriver) -> str:
    await driver.press("ctrl+s")
    return await driver.wait_for_text("Others changed Image, too", "Keep yours", "Take theirs")


async def test_what_others_change_is_shown_at_once_with_who_changed_it(driver: EditDriver) -> None:
    form = await driver.open()
    before = image_of(await driver.read())
    await driver.set_image(THEIRS)
    await driver.wait_for_text(f"kubectl-edit changed Image: {before} → {THEIRS}")
    assert form.form.get_text("image") == THEIRS
    assert form.change_count == 0


async def test_another_field_is_merged_without_a_question(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("cpu", "7")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("kubectl-edit changed Image")
    await driver.plan()
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    stored = await driver.read()
    assert image_of(stored) == THEIRS
    assert container_of(stored)["resources"]["requests"]["cpu"] == "7"


async def test_the_same_field_is_asked_about_with_base_theirs_mine_and_who(
    driver: EditDriver,
) -> None:
    await driver.open()
    before = image_of(await driver.read())
    await driver.retype("image", "mine:1")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("Others changed 1 field that you changed, too", f"is {THEIRS} now")
    await wait_until_asked(driver)
    assert f"When you began: {before}" in driver.text
    assert f"Now: {THEIRS}, changed by kubectl-edit" in driver.text
    assert "Yours: mine:1" in driver.text
    assert image_of(await driver.read()) == THEIRS


async def test_the_question_about_an_endpoint_has_the_path_that_the_template_set(
    driver: EditDriver,
) -> None:
    await driver.open()
    await driver.retype("readiness_path", "/v1/models")

    def change(deployment: dict[str, Any]) -> None:
        container_of(deployment)["readinessProbe"]["httpGet"]["path"] = "/healthz"

    await driver.change(change)
    await driver.wait_for_text("Readiness Endpoint was /health, is /healthz now")
    await driver.press("ctrl+s")
    await driver.wait_for_text("When you began: /health Now: /healthz", "Yours: /v1/models")


async def test_escape_in_the_question_decides_nothing(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.retype("image", "mine:1")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("that you changed, too")
    await wait_until_asked(driver)
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is form, "the form")
    assert form.form.get_text("image") == "mine:1"
    await wait_until_asked(driver)


@pytest.mark.parametrize(("key", "image"), [("m", "mine:1"), ("t", THEIRS)])
async def test_the_answer_decides_what_is_saved(driver: EditDriver, key: str, image: str) -> None:
    await driver.open()
    await driver.retype("cpu", "7")
    await driver.retype("image", "mine:1")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("that you changed, too")
    await wait_until_asked(driver)
    await driver.press(key)
    await driver.wait_for(
        lambda: isinstance(driver.app.screen, EditDialog) and driver.app.screen.is_plan_shown,
        "the plan",
    )
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    assert image_of(await driver.read()) == image


async def test_an_answer_to_a_question_that_changed_meanwhile_asks_again(
    driver: EditDriver,
) -> None:
    form = await driver.open()
    await driver.retype("image", "mine:1")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("that you changed, too")
    await wait_until_asked(driver)
    await driver.set_image("again:2")
    await driver.wait_for(lambda: form.edit.base.image == "again:2", "the form to know")
    await driver.press("m")
    await driver.wait_for_text("Now: again:2", "Yours: mine:1")
    assert image_of(await driver.read()) == "again:2"


@pytest.mark.parametrize("answer", ["m", "t"])
async def test_a_second_question_about_a_field_has_the_value_when_the_edit_began(
    driver: EditDriver, answer: str
) -> None:
    form = await driver.open()
    before = image_of(await driver.read())
    await driver.retype("cpu", "7")
    await driver.retype("image", "mine:1")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("that you changed, too")
    await wait_until_asked(driver)
    await driver.press(answer)
    await shown_plan(driver)
    await driver.press("n")
    await driver.wait_for(lambda: driver.app.screen is form, "the form")
    await driver.retype("image", "mine:2")
    await driver.set_image("again:2")
    await driver.wait_for_text(f"Image was {before}, is again:2 now")
    await wait_until_asked(driver)
    assert f"When you began: {before} Now: again:2" in driver.text


async def test_a_value_that_others_change_back_is_not_asked_about(driver: EditDriver) -> None:
    form = await driver.open()
    before = image_of(await driver.read())
    await driver.retype("image", "mine:1")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("that you changed, too")
    await driver.set_image(before)
    await driver.wait_for(lambda: form.edit.base.image == before, "the form to know")
    assert form.conflicts == []
    await driver.plan()


async def test_a_reset_field_is_not_asked_about(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.retype("image", "mine:1")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("that you changed, too")
    await driver.press("ctrl+o")
    await driver.wait_for(lambda: form.change_count == 0, "no change")
    assert form.conflicts == []


async def test_a_change_of_others_beside_a_text_with_an_error_is_asked_about(
    driver: EditDriver,
) -> None:
    await driver.open()
    await driver.retype("memory", "16 GB")
    await driver.retype("image", "mine:1")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("that you changed, too")
    await driver.retype("memory", "16Gi")
    await wait_until_asked(driver)
    assert "Yours: mine:1" in driver.text


async def test_typing_goes_on_where_the_cursor_is(driver: EditDriver) -> None:
    form = await driver.open()
    before = image_of(await driver.read())
    await driver.focus("image")
    await driver.press("home", "a")
    await driver.set_replicas(2)
    await driver.wait_for_text("changed Replicas")
    await driver.press("b")
    await driver.wait_for(lambda: form.form.get_text("image") == f"ab{before}", "the text")


async def test_keys_typed_while_rows_are_rebuilt_reach_their_field(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.focus("description")
    await driver.press("end")
    text = form.form.get_text("description")
    post_keys(driver.pilot, *"abcdefghij")
    await driver.change(
        lambda one: container_of(one)["env"].insert(0, {"name": "ADDED", "value": "1"})
    )
    post_keys(driver.pilot, *"klmnop")
    await driver.wait_for_text("Environment Variable ADDED")
    await driver.wait_for(
        lambda: form.form.get_text("description") == f"{text}abcdefghijklmnop", "the text"
    )


async def test_an_empty_row_stays_for_what_is_about_to_be_typed(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.focus("add.env")
    await driver.press("enter")
    await driver.change(
        lambda one: container_of(one)["env"].insert(0, {"name": "ADDED", "value": "1"})
    )
    await driver.wait_for_text("Environment Variable ADDED")
    await driver.press("N", "E", "W")
    await driver.wait_for(lambda: form.edit.draft.rows["env"][-1]["name"] == "NEW", "the name")


async def test_undo_goes_back_over_a_change_of_others(driver: EditDriver) -> None:
    form = await driver.open()
    before = image_of(await driver.read())
    await driver.focus("image")
    await driver.press("x")
    await driver.set_replicas(2)
    await driver.wait_for_text("changed Replicas")
    await driver.press("ctrl+z")
    await driver.wait_for(lambda: form.form.get_text("image") == before, "the text")
    assert form.change_count == 0
    assert form.form.get_text("replicas") == "2"


async def test_a_change_of_nothing_that_the_form_shows_changes_nothing(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.focus("image")
    await driver.press("x")
    fields = list(form.form.fields)
    await driver.change(lambda one: one["spec"].update(progressDeadlineSeconds=777))
    await driver.plan()
    await driver.press("n")
    assert list(form.form.fields) == fields
    assert form.change_count == 1


async def test_a_deleted_serving_keeps_the_form_and_cannot_be_saved(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.retype("image", "mine:1")
    await driver.delete()
    await driver.wait_for_text("The serving was deleted; the draft is kept")
    await driver.press("ctrl+s")
    await driver.wait_for_text("there is nothing to save to")
    heading = screen_text(driver.app).splitlines()[0]
    assert "deleted" in heading
    assert "Ready" not in heading
    await driver.press("escape")
    await driver.wait_for_text("offered again when this name is created again")
    assert form.form.get_text("image") == "mine:1"


async def test_a_serving_created_again_is_compared_with_the_new_one(driver: EditDriver) -> None:
    await driver.open()
    before = await driver.read()
    await driver.retype("cpu", "7")
    await driver.delete()
    container_of(before)["image"] = THEIRS
    await driver.create(before)
    await driver.wait_for_text("The serving was deleted and created again", f"→ {THEIRS}")
    await driver.plan()
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    stored = await driver.read()
    assert (image_of(stored), stored["metadata"]["uid"] != before["metadata"]["uid"]) == (
        THEIRS,
        True,
    )


async def test_a_change_that_cannot_be_read_is_read_with_the_next_one(driver: EditDriver) -> None:
    form = await driver.open()
    driver.changes.import_error = ConnectionLostError("Connection refused.")
    await driver.set_image(THEIRS)
    await driver.wait_for_text("The serving changed and cannot be read: Connection refused.")
    driver.changes.import_error = None
    await driver.set_replicas(2)
    await driver.wait_for(lambda: form.edit.base.image == THEIRS, "the new image")


# -- Services and routes ------------------------------------------------------------------------

SERVICE_PATH = f"/api/v1/namespaces/{KEY.namespace}/services/{KEY.name}"
ROUTE_PATH = f"/apis/gateway.networking.k8s.io/v1/namespaces/{KEY.namespace}/httproutes/{KEY.name}"


async def test_a_change_of_the_service_or_the_route_is_shown_at_once(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.retype("cpu", "7")
    await driver.change_object(SERVICE_PATH, lambda one: one["spec"]["ports"][0].update(port=81))
    await driver.wait_for_text(f"kubectl-edit changed Service {KEY.name}: spec.ports[80]")
    await driver.change_object(ROUTE_PATH, lambda one: one["spec"].update(hostnames=["a.test"]))
    await driver.wait_for_text(f"kubectl-edit changed HTTPRoute {KEY.name} spec.hostnames")
    assert form.form.get_text("cpu") == "7"
    assert form.change_count == 1


async def test_a_deleted_service_is_shown_at_once(driver: EditDriver) -> None:
    await driver.open()
    await driver.other.request("DELETE", SERVICE_PATH)
    await driver.wait_for_text(f"Service {KEY.name} was deleted or does not lead to the serving")


async def test_the_status_of_a_route_does_not_read_the_serving_again(driver: EditDriver) -> None:
    await driver.open()
    count = driver.changes.import_count
    route = await driver.other.get_json(ROUTE_PATH)
    route["status"] = {"parents": []}
    await driver.other.request("PUT", f"{ROUTE_PATH}/status", body=route)
    # A change that is read: by then the status was seen, too.
    await driver.change_object(ROUTE_PATH, lambda one: one["spec"].update(hostnames=["a.test"]))
    await driver.wait_for_text(f"kubectl-edit changed HTTPRoute {KEY.name} spec.hostnames")
    assert driver.changes.import_count == count + 1


async def test_a_closed_form_watches_nothing_and_is_opened_again_empty(driver: EditDriver) -> None:
    form = await driver.open()
    await driver.retype("cpu", "7")
    follower = form._follower
    await driver.press("escape")
    await driver.wait_for_text("Leave the form?")
    await driver.press("d")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    await driver.wait_for(lambda: not follower.is_watching, "the end of the watches")
    assert form.inventory_watch.inventory is None
    assert await driver.open() is form
    assert form.change_count == 0
    assert form.form.get_text("cpu") != "7"
    await driver.press("ctrl+z")
    await driver.wait_for_text("Nothing to undo.")


# -- the plan is open ---------------------------------------------------------------------------


async def test_a_plan_is_made_again_when_others_change_the_serving(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("cpu", "7")
    await driver.plan()
    await driver.set_image(THEIRS)
    await driver.wait_for_text("The serving was changed meanwhile; the plan was made again.")
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan")
    assert not driver.dialog.saves
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    assert image_of(await driver.read()) == THEIRS


async def test_a_plan_is_made_again_when_others_change_the_service(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("cpu", "7")
    await driver.plan()
    await driver.change_object(SERVICE_PATH, lambda one: one["spec"]["ports"][0].update(port=81))
    await driver.wait_for_text("The serving was changed meanwhile; the plan was made again.")
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan")
    assert not driver.dialog.saves
    await driver.press("y")
    await driver.wait_for_text("The change was saved")
    service = await driver.other.get_json(SERVICE_PATH)
    assert service["spec"]["ports"][0]["port"] == 81


async def test_a_description_of_others_is_shown_and_planned_at_once(driver: EditDriver) -> None:
    """It does not change the generation of the Deployment."""
    form = await driver.open()
    await driver.retype("cpu", "7")
    await driver.set_description("theirs")
    await driver.wait_for(lambda: form.edit.base.description == "theirs", "the description")
    assert form.change_count == 1
    await driver.plan()
    await driver.set_description("theirs again")
    await driver.wait_for_text("The serving was changed meanwhile; the plan was made again.")
    assert (await shown_plan(driver)).spec.description == "theirs again"


async def test_a_plan_is_made_again_when_the_serving_gets_an_autoscaler(
    driver: EditDriver,
) -> None:
    """Which changes no object of the serving."""
    await driver.open(WITHOUT_AUTOSCALER)
    await driver.retype("replicas", "5")
    await driver.plan()
    await driver.other.request(
        "POST",
        f"/apis/autoscaling/v2/namespaces/{WITHOUT_AUTOSCALER.namespace}/horizontalpodautoscalers",
        body={
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "llm-hpa"},
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": WITHOUT_AUTOSCALER.name,
                },
                "minReplicas": 2,
                "maxReplicas": 6,
            },
        },
    )
    await driver.wait_for_text("llm-hpa sets the replicas")
    await driver.press("y")
    assert driver.changes.save_count == 0


async def test_a_plan_that_changes_no_replicas_stays_when_the_autoscaler_is_listed_after_it(
    driver: EditDriver,
) -> None:
    await driver.open()
    await driver.retype("cpu", "7")
    await driver.plan()
    plan = await shown_plan(driver)
    dialog = driver.dialog
    dialog._autoscaler_at_start = ""  # as if the list of autoscalers had come after the plan
    dialog.on_changes(FakeChanges(frozenset((KEY,))))
    assert dialog.plan is plan


async def test_a_change_while_the_plan_is_made_is_not_missed(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("cpu", "7")
    plan_edit = driver.changes.plan_edit
    planned, answered = asyncio.Event(), asyncio.Event()

    async def plan_slowly(edit: Edit, inventory: Inventory, **options: Any) -> EditPlan:
        found = await plan_edit(edit, inventory, **options)
        planned.set()
        await answered.wait()
        return found

    driver.changes.plan_edit = plan_slowly  # type: ignore[method-assign]
    await driver.press("ctrl+s")
    await driver.wait_for(planned.is_set, "the first plan")
    await driver.set_image(THEIRS)
    answered.set()
    await driver.wait_for_text("The serving was changed meanwhile; the plan was made again.")
    assert (await shown_plan(driver)).spec.image == THEIRS


async def shown_plan(driver: EditDriver) -> EditPlan:
    """The plan that is shown."""
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan")
    plan = driver.dialog.plan
    assert plan is not None
    return plan


async def test_a_conflict_that_comes_while_the_plan_is_open_is_asked_about(
    driver: EditDriver,
) -> None:
    await driver.open()
    await driver.retype("image", "mine:1")
    await driver.plan()
    await driver.set_image(THEIRS)
    await driver.wait_for(lambda: isinstance(driver.app.screen, ConfirmDialog), "the question")
    await driver.wait_for_text(f"Now: {THEIRS}", "Yours: mine:1")
    assert driver.changes.save_count == 0


async def test_a_plan_of_a_deleted_serving_cannot_be_confirmed(driver: EditDriver) -> None:
    await driver.open()
    await driver.retype("image", "mine:1")
    await driver.plan()
    await driver.delete()
    await driver.wait_for_text("There is no Deployment", "The form is kept")
    assert "the plan was made again" not in driver.text
    await driver.press("y")
    assert driver.changes.save_count == 0
    await driver.press("n")
    await driver.wait_for_text("The serving was deleted")
    assert KEY.name in screen_text(driver.app)
