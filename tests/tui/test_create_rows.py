"""Rows of the create form: volumes, and rows that are empty or removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from servedeck.changes.draft import Draft
from servedeck.serving.spec.document import to_yaml
from tests.tui.create_form import MODEL, focus_field, form_of, go_to_step, run_form, type_text
from tests.tui.fake_change_service import PVCS, FakeChangeService
from tests.tui.helpers import wait_for, wait_for_text


async def test_a_volume_is_picked_from_the_namespace_with_what_is_known_of_it(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service, (120, 50)) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await wait_for_text(pilot, "model-cache", "/dev/shm", "system default, read-only")
        await focus_field(pilot, "add.volumes")
        await pilot.press("enter")
        await wait_for_text(pilot, "500Gi RWX Bound, used by train-0, train-1", "50Gi RWO Pending")
        await type_text(pilot, "data")
        await pilot.press("enter", "enter")
        await type_text(pilot, "/dev/shm")
        await pilot.press("enter", "right")
        await wait_for_text(pilot, "used by dshm", "used by train-0")
        await pilot.press("up", "ctrl+u")
        await type_text(pilot, "/data")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it", "read-only")
    spec = change_service.planned_specs[-1]
    assert [(one.pvc, one.mount_path, one.read_only) for one in spec.volumes] == [
        ("datasets", "/data", True)
    ]


async def test_a_volume_that_was_not_picked_leaves_no_row(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        rows = form_of(pilot).draft.rows
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.volumes")
        await pilot.press("enter")
        await wait_for_text(pilot, PVCS[0].name)
        await pilot.press("escape")
        await wait_for(pilot, lambda: not rows["volumes"], "the empty row to go")
        await focus_field(pilot, "add.volumes")
        await pilot.press("enter")
        await wait_for_text(pilot, PVCS[0].name)
        await type_text(pilot, "data")
        await pilot.press("enter")
        await wait_for(pilot, lambda: rows["volumes"][0]["pvc"] == "datasets", "the volume")
        await focus_field(pilot, "volumes.0.pvc")
        await pilot.press("space")
        await wait_for_text(pilot, "used by train-0")
        await pilot.press("escape")
        await wait_for_text(pilot, "PVC *", "datasets ◂▸")
        assert rows["volumes"][0]["pvc"] == "datasets"


async def test_a_raw_block_device_cannot_be_picked(change_service: FakeChangeService) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.volumes")
        await pilot.press("enter")
        await wait_for_text(pilot, PVCS[0].name)
        await type_text(pilot, "raw")
        await pilot.press("enter")
        await wait_for_text(pilot, "raw block device; choose one with a filesystem")


@pytest.mark.parametrize("key", ["ctrl+p", "ctrl+n", "ctrl+o"])
@pytest.mark.parametrize("path", ["volumes", "env"])
async def test_a_row_that_stayed_blank_goes_with_the_step(
    change_service: FakeChangeService, tmp_path: Path, path: str, key: str
) -> None:
    file = tmp_path / "other.yaml"
    other = Draft("vllm", "team-a")
    other.texts |= {"name": "other", "settings.model": MODEL}
    spec, _ = other.validate()
    assert spec is not None
    file.write_text(to_yaml(spec))
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, f"add.{path}")
        await pilot.press("enter")
        form = form_of(pilot)
        if path == "volumes":
            await wait_for_text(pilot, PVCS[0].name)
            await pilot.press("enter")
        await wait_for(pilot, lambda: pilot.app.screen is form, "the form again")
        if path == "volumes":  # as in a draft that was left while its claim was being chosen
            form.draft.rows[path][0]["pvc"] = ""
        assert len(form.draft.rows[path]) == 1
        await pilot.press(key)
        if key == "ctrl+o":
            await pilot.press("ctrl+u")
            await type_text(pilot, str(file))
            await pilot.press("enter")
            await wait_for_text(pilot, "Loaded")
        # The cluster's news come whenever they like, also while the fields are out of sight.
        change_service.inventory.on_change()
        await wait_for(pilot, lambda: not form.inventory_watch.changed, "the news")
        assert form.draft.rows[path] == []
        assert form.step == {"ctrl+p": 1, "ctrl+n": 3, "ctrl+o": 1}[key]


async def test_rows_after_a_blank_one_keep_their_problems_and_the_cursor(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "2BAD")
        await pilot.press("tab", "tab", "shift+tab", "ctrl+p")
        await wait_for_text(pilot, "Service Template")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "2BAD", "✗")
        form = form_of(pilot)
        assert getattr(form.focused, "path", "") == "env.0.value"
        assert "env.1" not in form.form.touched


async def test_a_row_is_removed_by_its_key(change_service: FakeChangeService) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "A=1")
        await pilot.press("ctrl+r")
        await wait_for_text(pilot, "Removed A")
        assert form_of(pilot).draft.rows["env"] == []
