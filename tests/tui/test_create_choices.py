"""Fields of the create form whose values are chosen from a list."""

from __future__ import annotations

from tests.tui.create_form import MODEL, focus_field, form_of, go_to_step, run_form, type_text
from tests.tui.edit_form import EditDriver
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import screen_text, wait_for, wait_for_text


async def test_the_form_shows_how_many_accelerators_are_free_on_which_nodes(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await wait_for_text(pilot, "3 of 24 free", "gpu-node-1 2")
        change_service.inventory.nodes = (
            change_service.inventory.nodes and change_service.inventory.nodes[:1]
        )
        change_service.inventory.on_change()
        await wait_for_text(pilot, "2 of 8 free")
        await focus_field(pilot, "accelerator")
        await pilot.press("space")
        await wait_for_text(pilot, "2 of 8 free: gpu-node-1 2", "Furiosa RNGD", "no node has it")
        await pilot.press("escape")
        change_service.inventory.nodes = None
        change_service.inventory.unavailable_reasons = (
            "Which nodes have free accelerators is not known: 403.",
        )
        change_service.inventory.on_change()
        await wait_for_text(pilot, "is not known: 403")


async def test_a_long_list_is_narrowed_by_typing_and_another_value_can_be_written(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await focus_field(pilot, "settings.quantization")
        await pilot.press("f", "p", "8", "underscore")
        await wait_for_text(pilot, "fp8_per_tensor")
        await pilot.press("ctrl+u")
        await type_text(pilot, "of-next-year")
        await wait_for_text(pilot, "as typed")
        await pilot.press("enter")
        await wait_for_text(pilot, "of-next-year")
        assert form_of(pilot).draft.texts["settings.quantization"] == "of-next-year"


async def test_a_namespace_that_cannot_be_listed_can_be_written(
    change_service: FakeChangeService,
) -> None:
    change_service.inventory.known_namespaces = None
    async with run_form(change_service) as pilot:
        await focus_field(pilot, "namespace")
        await type_text(pilot, "m")
        await wait_for_text(pilot, "as typed")
        await type_text(pilot, "ine")
        await pilot.press("enter")
        assert form_of(pilot).draft.texts["namespace"] == "mine"


async def test_another_template_brings_its_fields_and_what_was_typed_comes_back(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+p")
        await focus_field(pilot, "template")
        await pilot.press("right", "right")
        await wait_for_text(pilot, "Custom")
        await pilot.press("ctrl+n")
        screen = await wait_for_text(pilot, "Accelerator", "Data Volumes")
        assert "Model" not in screen
        await pilot.press("ctrl+p")
        await focus_field(pilot, "template")
        await pilot.press("right", "ctrl+n")
        await wait_for_text(pilot, MODEL)


async def test_the_default_rollout_depends_on_the_accelerator_until_one_is_chosen(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await focus_field(pilot, "rollout")
        await wait_for_text(pilot, "Default", "replace with an accelerator, surge without")
        spec, _ = form_of(pilot).draft.validate()
        assert spec is None or spec.rollout == "replace"  # the template chooses an accelerator
        await pilot.press("right")
        await wait_for_text(pilot, "a new Pod starts first, beside the old ones")
        assert form_of(pilot).draft.texts["rollout"] == "surge"
        await pilot.press("space")
        await wait_for_text(pilot, "an old Pod stops first, one at a time", "recreate")
        await type_text(pilot, "maxSurge 2, maxUnavailable 0")
        await wait_for_text(pilot, "as typed")
        await pilot.press("enter")
        assert form_of(pilot).draft.texts["rollout"] == "maxSurge 2, maxUnavailable 0"


async def test_an_existing_rollout_of_another_kind_is_among_the_choices(driver: EditDriver) -> None:
    await driver.open()
    await driver.focus("rollout")
    await driver.wait_for_text("maxSurge 25%, maxUnavailable 25%")
    await driver.press("right")
    await driver.wait_for_text("Rollout maxSurge 25%, maxUnavailable 25% → surge")
    await driver.press("left")
    await driver.wait_for_text("No changes")
    await driver.press("space")
    screen = await driver.wait_for_text("as it is", "all old Pods stop first")
    assert "Default" not in screen


async def test_accelerators_are_counted_where_there_is_one(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        draft = form_of(pilot).draft
        await focus_field(pilot, "accelerator_count")
        await type_text(pilot, "x")
        assert draft.texts["accelerator_count"] == "1x"
        await focus_field(pilot, "accelerator")
        await pilot.press("left", "left")
        await wait_for(pilot, lambda: not draft.texts["accelerator"], "None")
        assert "Accelerator Count" not in screen_text(pilot.app)
        # What cannot be read does not count while it has no meaning, and comes back.
        assert not any(one.field == "accelerator_count" for one in draft.validate()[1])
        await pilot.press("right", "right")
        await wait_for_text(pilot, "Accelerator Count", "1x")


async def test_what_the_template_proposes_is_said(change_service: FakeChangeService) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        proposed = form_of(pilot).draft.template.image
        screen = await wait_for_text(pilot, "proposed by the template; NVIDIA GPU: 3 of 24 free")
        assert screen.count("proposed by the template") == 2
        assert form_of(pilot).draft.texts["image"] == proposed
        await focus_field(pilot, "image")
        await type_text(pilot, "x")
        await wait_for_text(pilot, f"the template proposes {proposed}")


async def test_a_data_type_is_written_as_in_the_documentation(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service, (120, 40)) as pilot:
        await go_to_step(pilot, 2)
        screen = await wait_for_text(pilot, "Data Type")
        row = next(line for line in screen.splitlines() if "Data Type" in line)
        assert row.split()[2] == "Auto"
        assert form_of(pilot).draft.texts["settings.dtype"] == "auto"
        await focus_field(pilot, "settings.dtype")
        await pilot.press("right")
        assert form_of(pilot).draft.texts["settings.dtype"] == "half"
        await pilot.press("space")
        await wait_for_text(pilot, "default")
        await type_text(pilot, "auto")
        await pilot.press("enter")
        assert form_of(pilot).draft.texts["settings.dtype"] == "auto"
