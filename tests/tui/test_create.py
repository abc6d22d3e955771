from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from servedeck.changes.draft import EMPTY_VARIABLE, Draft
from servedeck.changes.draft_store import DraftFile, DraftStore
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects import manifests
from servedeck.serving.objects.diff import AdmissionChange
from servedeck.serving.spec.document import to_yaml
from servedeck.serving.spec.issues import error
from servedeck.serving.spec.spec import ServingSpec
from tests.tui import fakes
from tests.tui.fake_change_service import PLATFORM, PVCS, FakeChangeService
from tests.tui.helpers import make_app, post_keys, screen_text, wait_for, wait_for_text
from tests.waiting import WAIT_SECONDS
from tui.app import ServedeckApp
from tui.screens.create.form_view import FormView
from tui.screens.create.wizard import CreateScreen

SIZES = [(80, 24), (120, 40)]
MODEL = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture
def bench(tmp_path: Path) -> FakeChangeService:
    return FakeChangeService(tmp_path / "drafts")


@asynccontextmanager
async def run_app(
    bench: FakeChangeService, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[Pilot[None]]:
    app = make_app(change_service=bench, **options)
    async with app.run_test(size=size) as pilot:
        await wait_for(pilot, lambda: screen_text(app).strip(), "the first paint")
        yield pilot


@asynccontextmanager
async def run_form(
    bench: FakeChangeService, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[Pilot[None]]:
    async with run_app(bench, size, **options) as pilot:
        app_of(pilot).servings.set_namespace("team-a")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
        yield pilot


def app_of(pilot: Pilot[None]) -> ServedeckApp:
    assert isinstance(pilot.app, ServedeckApp)
    return pilot.app


def form_of(pilot: Pilot[None]) -> CreateScreen:
    return next(one for one in pilot.app.screen_stack if isinstance(one, CreateScreen))


def footer_of(pilot: Pilot[None]) -> str:
    return screen_text(pilot.app).splitlines()[-1]


async def type_text(pilot: Pilot[None], text: str) -> None:
    await pilot.press(*text)


async def paste(pilot: Pilot[None], text: str) -> None:
    assert pilot.app.screen.focused is not None
    pilot.app.screen.focused.post_message(events.Paste(text))
    await pilot.pause()


async def focus_field(pilot: Pilot[None], path: str) -> None:
    """Press tab until the field has the focus, so that a test fails where it cannot be reached."""
    form = form_of(pilot)
    for _ in range(80):
        if getattr(form.focused, "path", "") == path:
            return
        await pilot.press("tab")
    raise AssertionError(f"{path} is not reached by tab")


async def go_to_step(pilot: Pilot[None], step: int, name: str = "llama-chat") -> None:
    form = form_of(pilot)
    await focus_field(pilot, "name")
    await type_text(pilot, name)
    await pilot.press("ctrl+n")
    await wait_for_text(pilot, "Accelerator Count")
    if step == 3:
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: form.deployer.dry_run.plan is not None, "the dry run")


async def wait_until_deployed(pilot: Pilot[None], bench: FakeChangeService) -> None:
    """Wait for all objects, and for their progress under the list."""
    await wait_for(pilot, lambda: app_of(pilot).servings.rollout_progress.key, "the progress")
    assert len(bench.applied_objects) == 3


# -- the whole way ------------------------------------------------------------------------------


async def test_what_was_typed_is_written_at_once_where_the_program_ends(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await type_text(pilot, "llama")
        await asyncio.to_thread(app_of(pilot).prepare_forced_exit)  # as the watchdog does it
        (path,) = bench.drafts_dir.glob("*.json")
        assert "llama" in path.read_text()


@pytest.mark.parametrize("size", SIZES)
async def test_an_operator_deploys_a_model_with_name_and_model_alone(
    bench: FakeChangeService, size: tuple[int, int]
) -> None:
    source = fakes.FakeSource().add_views(*fakes.fleet())
    async with run_form(bench, size, source=source) as pilot:
        await type_text(pilot, "llama-chat")
        await pilot.press("enter", "enter", "enter", "enter")
        await wait_for_text(pilot, "Accelerator Count")
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n", "ctrl+s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        assert [place.kind for place in bench.applied_objects] == [
            "Deployment",
            "Service",
            "HTTPRoute",
        ]
        deployment = next(iter(bench.applied_objects.values()))
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
    assert bench.draft_store is not None
    assert bench.draft_store.list_saved() == []


async def test_keys_that_come_before_the_form_has_fields_do_nothing(
    bench: FakeChangeService,
) -> None:
    async with run_app(bench) as pilot:
        await pilot.press("n")
        await wait_for(pilot, lambda: len(pilot.app.screen_stack) == 2, "the form")
        form = form_of(pilot).query_one(FormView)
        order = form.field_order
        editors, order.editors = order.editors, ()  # as before the first step is shown
        for action in ("form.next_field", "form.move", "form.move_section"):
            key = {"form.move": ("down",), "form.move_section": ("pagedown",)}.get(action, ())
            await form_of(pilot).action_do(action, *key)
        order.editors = editors
        await wait_for_text(pilot, "Service Name")


async def test_keys_that_come_faster_than_the_screen_go_where_they_are_meant(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        form = form_of(pilot)
        tabs = ["tab"] * 10
        post_keys(pilot, *"llama", *["enter"] * 4, *MODEL, *tabs, "enter", *"A=b", "ctrl+n")
        await wait_for(pilot, lambda: form.deployer.dry_run.plan is not None, "the dry run")
        assert form.draft.texts["name"] == "llama"
        assert form.draft.texts["settings.model"] == MODEL
        assert [(row["name"], row["value"]) for row in form.draft.rows["env"]] == [("A", "b")]


@pytest.mark.parametrize("size", SIZES)
async def test_every_field_is_reached_explained_and_seen_by_keyboard(
    bench: FakeChangeService, size: tuple[int, int]
) -> None:
    async with run_form(bench, size) as pilot:
        form = form_of(pilot)
        for step, count in ((1, 4), (2, 20)):
            seen: set[str] = set()
            while (path := getattr(form.focused, "path", "")) not in seen:
                seen.add(path)
                await pilot.press("down")
                await pilot.pause()
                assert form.focused is not None
                line = form.focused.region
                visible = form.form.region
                assert visible.contains_region(line), f"{path} is off the screen"
                assert form.help_bar.lines, f"{path} has no help"
            assert len(seen) >= count, seen
            if step == 1:
                await go_to_step(pilot, 2)


# -- what is wrong ------------------------------------------------------------------------------


async def test_an_error_is_shown_once_the_field_was_left_and_goes_when_mended(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await type_text(pilot, "Llama")
        assert "lowercase" not in screen_text(pilot.app)
        await pilot.press("enter")
        await wait_for_text(pilot, "lowercase letters")
        await pilot.press("up", "ctrl+u")
        await type_text(pilot, "llama")
        await wait_for(pilot, lambda: "lowercase" not in screen_text(pilot.app), "no error")


async def test_a_step_with_errors_is_not_left_and_the_first_one_has_the_cursor(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
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
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
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
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "transformer.command")
        await type_text(pilot, "serve --fast")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "transformer's image is missing")


async def test_a_warning_is_shown_and_does_not_hold_up(bench: FakeChangeService) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "accelerator")
        await pilot.press("left", "left")
        await wait_for_text(pilot, "usual images need a GPU")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")


# -- choosing -----------------------------------------------------------------------------------


async def test_the_form_shows_how_many_accelerators_are_free_on_which_nodes(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await wait_for_text(pilot, "3 of 24 free", "gpu-node-1 2")
        bench.inventory.nodes = bench.inventory.nodes and bench.inventory.nodes[:1]
        bench.inventory.on_change()
        await wait_for_text(pilot, "2 of 8 free")
        await focus_field(pilot, "accelerator")
        await pilot.press("space")
        await wait_for_text(pilot, "2 of 8 free: gpu-node-1 2", "Furiosa RNGD", "no node has it")
        await pilot.press("escape")
        bench.inventory.nodes = None
        bench.inventory.unavailable_reasons = (
            "Which nodes have free accelerators is not known: 403.",
        )
        bench.inventory.on_change()
        await wait_for_text(pilot, "is not known: 403")


async def test_a_long_list_is_narrowed_by_typing_and_another_value_can_be_written(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
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


async def test_a_project_that_cannot_be_listed_can_be_written(bench: FakeChangeService) -> None:
    bench.inventory.known_namespaces = None
    async with run_form(bench) as pilot:
        await focus_field(pilot, "namespace")
        await type_text(pilot, "m")
        await wait_for_text(pilot, "as typed")
        await type_text(pilot, "ine")
        await pilot.press("enter")
        assert form_of(pilot).draft.texts["namespace"] == "mine"


async def test_another_template_brings_its_fields_and_what_was_typed_comes_back(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+p")
        await focus_field(pilot, "template")
        await pilot.press("right", "right")
        await wait_for_text(pilot, "Custom")
        await pilot.press("ctrl+n")
        screen = await wait_for_text(pilot, "Accelerator Count", "Data Volumes")
        assert "Model" not in screen
        await pilot.press("ctrl+p")
        await focus_field(pilot, "template")
        await pilot.press("right", "ctrl+n")
        await wait_for_text(pilot, MODEL)


# -- volumes ------------------------------------------------------------------------------------


async def test_a_volume_is_picked_from_the_project_with_what_is_known_of_it(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench, (120, 50)) as pilot:
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
    spec = bench.planned_specs[-1]
    assert [(one.pvc, one.mount_path, one.read_only) for one in spec.volumes] == [
        ("datasets", "/data", True)
    ]


async def test_a_volume_that_was_not_picked_leaves_no_row(bench: FakeChangeService) -> None:
    async with run_form(bench) as pilot:
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


async def test_a_raw_block_device_cannot_be_picked(bench: FakeChangeService) -> None:
    async with run_form(bench) as pilot:
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
    bench: FakeChangeService, tmp_path: Path, path: str, key: str
) -> None:
    file = tmp_path / "other.yaml"
    other = Draft("vllm", "team-a")
    other.texts |= {"name": "other", "settings.model": MODEL}
    spec, _ = other.validate()
    assert spec is not None
    file.write_text(to_yaml(spec))
    async with run_form(bench) as pilot:
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
        bench.inventory.on_change()
        await wait_for(pilot, lambda: not form.inventory_watch.changed, "the news")
        assert form.draft.rows[path] == []
        assert form.step == {"ctrl+p": 1, "ctrl+n": 3, "ctrl+o": 1}[key]


async def test_rows_after_a_blank_one_keep_their_problems_and_the_cursor(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
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


async def test_a_row_is_removed_by_its_key(bench: FakeChangeService) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "A=1")
        await pilot.press("ctrl+r")
        await wait_for_text(pilot, "Removed A")
        assert form_of(pilot).draft.rows["env"] == []


# -- environment --------------------------------------------------------------------------------


async def test_an_equals_sign_ends_the_name_and_secrets_are_masked_until_asked_for(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "HF_TOKEN=hf_abcdefghijkl")
        screen = await wait_for_text(pilot, "•••")
        assert "hf_abc" not in screen
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "hf_abcdefghijkl")
        await pilot.press("ctrl+g")
        await wait_for(pilot, lambda: "hf_abc" not in screen_text(pilot.app), "dots again")
        [row] = form_of(pilot).draft.rows["env"]
        assert (row["name"], row["value"]) == ("HF_TOKEN", "hf_abcdefghijkl")


async def test_pasted_lines_become_rows_and_bad_ones_are_kept_to_be_mended(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await paste(pilot, "# comment\nexport A=1\nB='two words'\nFOO BAR\n")
        await wait_for_text(
            pilot, "2 variables added; line 4 could not be read", "FOO BAR", "Line 4:"
        )
        form = form_of(pilot)
        assert getattr(form.focused, "path", "") == "env.2.value"
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "to continue")
        await pilot.press("ctrl+u")
        await type_text(pilot, "FOO=BAR")
        await pilot.press("enter")
        await wait_for(
            pilot, lambda: form.draft.rows["env"][2]["source"] == "", "the line to be read"
        )
        assert {row["name"]: row["value"] for row in form.draft.rows["env"]} == {
            "A": "1",
            "B": "two words",
            "FOO": "BAR",
        }


async def test_an_env_file_is_loaded_by_its_path(bench: FakeChangeService, tmp_path: Path) -> None:
    file = tmp_path / "prod.env"
    file.write_text('A=1\nKEY="two\nlines"\nnot a variable\n')
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await focus_field(pilot, "load.env")
        await pilot.press("enter")
        await wait_for_text(pilot, "Load variables from an env file")
        await pilot.press("ctrl+u")
        await type_text(pilot, str(tmp_path / "none.env"))
        await pilot.press("enter")
        await wait_for_text(pilot, "does not exist")
        await pilot.press("ctrl+u")
        await type_text(pilot, str(file))
        await pilot.press("enter")
        await wait_for_text(pilot, "2 variables added; line 4 could not be read", "two⏎lines")
        rows = form_of(pilot).draft.rows["env"]
        assert rows[1]["value"] == "two\nlines"


async def test_a_value_comes_from_a_key_of_a_secret(bench: FakeChangeService) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "HF_TOKEN=")
        await pilot.press("ctrl+t")
        await wait_for_text(pilot, "← Secret")
        await type_text(pilot, "huggingface")
        await pilot.press("enter")
        await type_text(pilot, "token")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")
    [variable] = bench.planned_specs[-1].env
    assert variable.secret is not None
    assert (variable.secret.name, variable.secret.key) == ("huggingface", "token")


async def test_a_pasted_certificate_stays_one_value(bench: FakeChangeService) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "CA=")
        await paste(pilot, "-----BEGIN-----\nAbCd\n-----END-----\n")
        [row] = form_of(pilot).draft.rows["env"]
        assert row["value"] == "-----BEGIN-----\nAbCd\n-----END-----"


async def test_one_pasted_line_goes_into_a_field_once_and_without_escapes(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await focus_field(pilot, "description")
        await paste(pilot, "chat \x1b]52;c;eA==\x07for all")
        assert form_of(pilot).draft.texts["description"] == "chat for all"


# -- the third step -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_the_review_says_what_will_be_what_admission_changes_and_leads_to_fields(
    bench: FakeChangeService, size: tuple[int, int]
) -> None:
    bench.admission_changes = (
        AdmissionChange(".spec.template.spec.containers[sidecar]", "", '{"image":"\x1b[31mistio"}'),
        AdmissionChange(".spec.replicas", "1", "2"),
    )
    async with run_form(bench, size) as pilot:
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


async def test_what_the_cluster_refuses_is_said_and_leads_to_its_field(
    bench: FakeChangeService,
) -> None:
    bench.dry_run_issues = [
        error("name", "Service team-a/llama-chat exists already, made by kubectl.")
    ]
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 3)
        await wait_for_text(pilot, "exists already, made by kubectl")
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "Cannot deploy, 1 error")
        assert bench.applied_objects == {}
        await pilot.press("g", "down", "enter")
        await wait_for(pilot, lambda: getattr(form_of(pilot).focused, "path", "") == "name", "Name")
        await wait_for_text(pilot, "llama-chat")


async def test_yaml_of_the_objects_and_of_the_document_without_secrets(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench, (120, 60)) as pilot:
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


async def test_the_footer_names_first_what_the_step_is_there_for(bench: FakeChangeService) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 1, name="llama")
        assert footer_of(pilot).startswith(" ctrl+n next  ctrl+p back")
        assert "ctrl+s" not in footer_of(pilot)
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "The API server accepts it")
        assert footer_of(pilot).startswith(" ctrl+s deploy  ctrl+p back  esc close  enter edit")
        assert "y YAML" in footer_of(pilot)
        assert "ctrl+n" not in footer_of(pilot)


async def test_the_help_names_keys_as_they_are_typed(bench: FakeChangeService) -> None:
    async with run_form(bench, (100, 60)) as pilot:
        await pilot.press("f1")
        screen = await wait_for_text(pilot, "Create: the fields", "  =  ")
        assert "equals_sign" not in screen
        await pilot.press("escape")
        await go_to_step(pilot, 3)
        await pilot.press("f1")
        await wait_for_text(pilot, "1-7           Go to the section with that number")


async def test_a_digit_without_a_section_says_how_many_there_are(bench: FakeChangeService) -> None:
    async with run_form(bench) as pilot:
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


async def test_replicas_that_would_stay_pending_hold_up_a_hasty_deploy(
    bench: FakeChangeService,
) -> None:
    bench.dry_run_gate = asyncio.Event()
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "replicas")
        await pilot.press("ctrl+u")
        await type_text(pilot, "9")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "Running the API server's dry run")
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "It deploys after the dry run succeeds")
        bench.dry_run_gate.set()
        await wait_for_text(pilot, "will stay Pending", "ctrl+s again deploys")
        assert bench.applied_objects == {}
        await pilot.press("ctrl+s")
        await wait_until_deployed(pilot, bench)


async def test_a_lost_connection_is_said_loses_nothing_and_can_be_tried_again(
    bench: FakeChangeService,
) -> None:
    bench.connection_error = (
        "https://127.0.0.1:6443 refuses connections; is the API server running?"
    )
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "refuses connections", "The form is kept")
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "refuses connections")
        bench.connection_error = ""
        await pilot.press("r")
        await wait_for_text(pilot, "The API server accepts it", "llama-chat")


async def test_a_deploy_that_stops_halfway_says_what_was_made_and_can_go_on_or_undo(
    bench: FakeChangeService,
) -> None:
    bench.refusals = {"Service": "The API server was lost."}
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 3)
        await pilot.press("ctrl+s")
        await wait_for_text(
            pilot,
            "Service team-a/llama-chat: The API server was lost.",
            "Deployment team-a/llama-chat was created.",
            "continues where it stopped",
        )
        await pilot.press("u")
        await wait_for_text(pilot, "This deletes Deployment team-a/llama-chat")
        await pilot.press("y")
        await wait_for(pilot, lambda: bench.applied_objects == {}, "undo")
        await wait_for_text(pilot, "Removed what was created")
        await wait_for(
            pilot, lambda: form_of(pilot).deployer.dry_run.plan is not None, "a new dry run"
        )
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "continues where it stopped")
        bench.refusals = {}
        await pilot.press("ctrl+s")
        await wait_until_deployed(pilot, bench)


async def test_another_name_after_half_a_deploy_asks_for_the_undo_first(
    bench: FakeChangeService,
) -> None:
    bench.refusals = {"Service": "It is refused."}
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 3)
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "It is refused.")
        bench.refusals = {}
        await pilot.press("1")
        await wait_for_text(pilot, "Service Template")
        await type_text(pilot, "-2")
        await pilot.press("ctrl+n", "ctrl+n")
        await wait_for(
            pilot, lambda: form_of(pilot).deployer.dry_run.plan is not None, "the dry run"
        )
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "is left from the previous attempt")
        assert len(bench.applied_objects) == 1


# -- keeping what was typed ---------------------------------------------------------------------


def saved_draft_names(bench: FakeChangeService) -> list[str]:
    """The names in the drafts on disk, open or left."""
    files = bench.drafts_dir.glob("*.json")
    return sorted(json.loads(file.read_text())["texts"]["name"] for file in files)


async def test_a_document_pasted_by_mistake_is_refused_in_one_sentence(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await paste(pilot, "a document " * 90_000)
        await wait_for_text(pilot, "At most 16,384 characters are allowed")
        assert form_of(pilot).draft.texts["name"] == ""
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await paste(pilot, "A=1\n" + "b" * 1_000_000)
        await wait_for_text(pilot, "A line is too long")
        assert len(form_of(pilot).draft.rows["env"]) == 1


async def test_an_accidental_escape_asks_and_the_draft_is_offered_again(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("escape")
        await wait_for_text(pilot, "Close the form?", "Keep editing")
        await pilot.press("enter")
        await wait_for_text(pilot, "Service Name", "llama")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "Saved draft", "llama")
        await pilot.press("c")
        await wait_for_text(pilot, "Service Name", "llama")
        await pilot.press("escape", "d")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
        assert form_of(pilot).draft.texts["name"] == ""


async def test_a_draft_goes_on_where_it_was_left_and_asks_for_its_secrets(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench, (120, 40)) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "HF_TOKEN=s3cr3t")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        assert "s3cr3t" not in "".join(file.read_text() for file in bench.drafts_dir.iterdir())
        await pilot.press("n")
        await wait_for_text(pilot, "Saved draft")
        await pilot.press("c")
        await wait_for_text(pilot, "Detailed Settings", "HF_TOKEN")
        form = form_of(pilot)
        await wait_for(
            pilot, lambda: getattr(form.focused, "path", "") == "env.0.value", "the same field"
        )
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "not saved in the draft: enter it again")
        await type_text(pilot, "again")
        await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: form.step == 3, "the third step")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "Saved draft")
        await pilot.press("c")
        await wait_for_text(pilot, "not saved in the draft: enter it again")
        assert form_of(pilot).step == 3


async def test_forms_open_in_two_windows_never_touch_what_was_typed_in_the_other(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as one, run_form(bench) as other:
        await type_text(one, "llama")
        await wait_for(one, lambda: saved_draft_names(bench) == ["llama"], "the draft on disk")
        await type_text(other, "qwen")
        await wait_for(other, lambda: saved_draft_names(bench) == ["llama", "qwen"], "both drafts")
        await other.press("escape", "d")
        await wait_for(
            other, lambda: saved_draft_names(bench) == ["llama"], "the one that was given up gone"
        )
        await other.press("n")
        await wait_for_text(
            other, "Service Name"
        )  # the draft that is open elsewhere is not offered
        await type_text(other, "gemma")
        await other.press("escape", "s")
        await wait_for(other, lambda: saved_draft_names(bench) == ["gemma", "llama"], "both drafts")
    async with run_app(bench) as third:
        app_of(third).servings.set_namespace("team-a")
        await third.press("n")
        await wait_for_text(third, "2 saved drafts", "1  gemma", "2  llama")
        await third.press("1")
        await wait_for_text(third, "Service Name", "gemma")


async def test_a_new_form_and_a_clone_leave_the_draft_that_was_left(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "Saved draft", "Start over")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
        await type_text(pilot, "qwen")
        await wait_for(pilot, lambda: saved_draft_names(bench) == ["llama", "qwen"], "both drafts")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "2 saved drafts")
        await pilot.press("d")
        await wait_for_text(pilot, "Service Name")
        assert saved_draft_names(bench) == []


async def test_a_draft_that_another_window_took_first_is_not_taken_twice(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "Saved draft")
        assert bench.draft_store is not None
        (left,) = bench.draft_store.list_saved()
        assert left.file.acquire() == left.draft
        await pilot.press("c")
        await wait_for_text(pilot, "open in another window or was discarded")
        assert saved_draft_names(bench) == ["llama"]


async def test_a_form_into_which_nothing_was_typed_is_left_at_once_and_keeps_no_draft(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await pilot.press("escape")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
    assert bench.draft_store is not None
    assert bench.draft_store.list_saved() == []


async def test_the_draft_is_on_disk_a_moment_after_it_was_typed(bench: FakeChangeService) -> None:
    async with run_form(bench) as pilot:
        await type_text(pilot, "llama")
        await wait_for(pilot, lambda: saved_draft_names(bench) == ["llama"], "the draft on disk")


async def test_a_draft_that_cannot_be_kept_is_said(
    bench: FakeChangeService, tmp_path: Path
) -> None:
    bench.drafts_dir.write_text("a file where the folder should be")
    async with run_app(bench) as pilot:
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name", "cannot be read")
        await type_text(pilot, "llama")
        await wait_for_text(pilot, "The draft cannot be saved")


async def test_yaml_is_saved_asks_before_writing_over_and_is_loaded_again(
    bench: FakeChangeService, tmp_path: Path
) -> None:
    file = tmp_path / "llama.yaml"
    file.write_text("mine")
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+y")
        await wait_for_text(pilot, "Save the serving as YAML", "llama-chat.yaml")
        await pilot.press("ctrl+u")
        await type_text(pilot, str(file))
        await pilot.press("enter")
        await wait_for(pilot, lambda: "exists; enter again" in flowing_text(pilot), "the question")
        assert file.read_text() == "mine"
        await pilot.press("enter")
        await wait_for_text(pilot, "Saved as")
        assert "kind: Serving" in file.read_text()
        await focus_field(pilot, "settings.model")
        await pilot.press("ctrl+u", "ctrl+o")
        await wait_for_text(pilot, "Load a serving from YAML")
        await type_text(pilot, str(file))
        await pilot.press("enter")
        await wait_for_text(pilot, "Loaded")
        assert form_of(pilot).draft.texts["settings.model"] == MODEL
        file.write_text("kind: Other\n")
        await pilot.press("ctrl+o")
        await type_text(pilot, str(file))
        await pilot.press("enter")
        await wait_for(
            pilot, lambda: "This must be servedeck.dev/v1" in flowing_text(pilot), "why not"
        )
        assert form_of(pilot).draft.texts["settings.model"] == MODEL


def flowing_text(pilot: Pilot[None]) -> str:
    """The screen with its line breaks as blanks: a sentence may go over two lines."""
    return " ".join(screen_text(pilot.app).split())


# -- from the list ------------------------------------------------------------------------------


async def test_the_key_is_off_with_the_reason_where_nothing_may_be_created(
    bench: FakeChangeService,
) -> None:
    bench.create_disabled_reason = "Needs create on deployments.apps in namespace team-a."
    async with run_app(bench) as pilot:
        await pilot.press("n")
        await wait_for_text(pilot, "Needs create on deployments.apps")
    async with run_app(bench, readonly=True) as pilot:
        await pilot.press("C")
        await wait_for_text(pilot, "runs with --readonly")


async def test_a_clone_has_the_settings_of_the_serving_and_says_what_it_leaves_behind(
    bench: FakeChangeService,
) -> None:
    spec = ServingSpec(
        name="llama-8b",
        namespace="team-a",
        template="vllm",
        image="vllm/vllm-openai:v0.11.0",
        accelerator="nvidia.com/gpu",
        settings={"model": MODEL},
    )
    built = manifests.build_manifests(spec, PLATFORM)
    bench.objects[NamespacedName("team-a", "llama-8b")] = built
    source = fakes.FakeSource().add_views(fakes.serving("llama-8b"))
    async with run_app(bench, source=source) as pilot:
        await pilot.press("C")
        await wait_for_text(pilot, "llama-8b-copy", "Service Name")
        assert form_of(pilot).draft.texts["settings.model"] == MODEL
        await pilot.press("escape")
        pod = built[0]["spec"]["template"]["spec"]
        pod["nodeSelector"] = {"\x1b[2Jzone": "a"}
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("C")
        screen = await wait_for_text(pilot, "are not copied", "nodeSelector")
        assert "\x1b" not in screen
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-8b-copy")
        bench.connection_error = "The API server is away."
        await pilot.press("escape")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("C")
        await wait_for_text(pilot, "cannot be cloned: The API server is away.")


async def test_the_app_opens_with_the_form_filled_from_a_draft(bench: FakeChangeService) -> None:
    draft = Draft("vllm", "team-a")
    draft.texts |= {"name": "from-a-file", "settings.model": MODEL}
    draft.rows["env"] = [{**EMPTY_VARIABLE, "name": "A", "value": "\x1b[31mred"}]
    async with run_app(bench, initial_draft=draft) as pilot:
        screen = await wait_for_text(pilot, "from-a-file", "Service Template")
        await pilot.press("ctrl+n")
        await focus_field(pilot, "env.0.value")
        screen = await wait_for_text(pilot, "red")
        assert "\x1b" not in screen


async def test_keys_typed_before_the_form_is_open_go_to_the_form(bench: FakeChangeService) -> None:
    app = make_app(initial_draft=Draft(namespace="team-a"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "11 servings")
        post_keys(pilot, *"llama")
        app.change_service = bench
        await wait_for_text(pilot, "Service Name", "llama")
        assert form_of(pilot).draft.texts["name"] == "llama"
        assert len(app.screen_stack) == 2


async def test_a_form_opened_before_the_connection_gets_its_namespace_with_it(
    bench: FakeChangeService,
) -> None:
    bench.namespace = ""
    async with run_app(bench, initial_draft=Draft()) as pilot:
        await wait_for_text(pilot, "Service Name", "choose one")
        bench.namespace = "team-a"
        await wait_for_text(pilot, "team-a")
        assert form_of(pilot).draft.texts["namespace"] == "team-a"


async def test_the_shelf_of_a_closed_terminal_is_found_by_the_next_start(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("ctrl+q")
    (left,) = DraftStore("https://127.0.0.1:6443", bench.drafts_dir).list_saved()
    assert left.draft.texts["name"] == "llama"


@pytest.mark.parametrize("part", ["review", "deploy"])
async def test_a_fault_of_our_own_is_said_and_the_form_goes_on(
    bench: FakeChangeService, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("metadata")

    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        if part == "review":
            monkeypatch.setattr(bench, "make_plan", broken)
        await pilot.press("ctrl+n")
        if part == "deploy":
            await wait_for_text(pilot, "The API server accepts it")
            monkeypatch.setattr(bench, "deploy", broken)
            await pilot.press("ctrl+s")
        await wait_for_text(pilot, "metadata")
        monkeypatch.undo()
        await pilot.press("r")
        await wait_for_text(pilot, "The API server accepts it")
        await pilot.press("ctrl+s")
        await wait_until_deployed(pilot, bench)


async def test_leaving_for_later_is_not_ended_by_the_save_after_the_last_key(
    bench: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, goes_on = DraftFile._write_atomically, threading.Event()

    def slow(slot: DraftFile, saved: Mapping[str, Any]) -> None:
        goes_on.wait(WAIT_SECONDS)
        write(slot, saved)

    async with run_form(bench) as pilot:
        monkeypatch.setattr(DraftFile, "_write_atomically", slow)
        await type_text(pilot, "llama")
        await pilot.press("escape", "s")
        form_of(pilot).autosave._start_save()  # as the timer does
        await pilot.pause()
        goes_on.set()
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        assert saved_draft_names(bench) == ["llama"]


async def test_a_disk_that_does_not_answer_keeps_nobody(
    bench: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr("tui.screens.create.draft_autosave.WRITE_TIMEOUT", 0.1)
    monkeypatch.setattr("servedeck.changes.draft_store.WRITE_LOCK_TIMEOUT", 0.1)
    try:
        async with run_form(bench) as pilot:
            monkeypatch.setattr(
                DraftFile, "_write_atomically", lambda *_: answers.wait(WAIT_SECONDS)
            )
            await type_text(pilot, "llama")
            post_keys(pilot, "ctrl+c")
            await wait_for_text(pilot, "The draft is not saved yet", "again quits")
            post_keys(pilot, "ctrl+c")
            await wait_for(pilot, lambda: app_of(pilot).exiting, "the end")
            assert app_of(pilot).return_code == 1
    finally:
        answers.set()


async def test_what_is_taken_back_on_another_step_is_kept_with_that_step(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "Accelerator Count")
        await pilot.press("ctrl+z")
        form = form_of(pilot)
        assert (form.step, form.draft.step, form.draft.focused_field) == (1, 1, "name")


async def test_leaving_for_later_stays_where_the_draft_cannot_be_kept(
    bench: FakeChangeService, tmp_path: Path
) -> None:
    async with run_form(bench) as pilot:
        bench.drafts_dir.write_text("a file where the folder should be")
        await type_text(pilot, "llama")
        await pilot.press("escape", "s")
        await wait_for_text(pilot, "The draft cannot be saved", "Keep editing")
        assert form_of(pilot).autosave._timer is None  # which would replace that sentence
        assert form_of(pilot).draft.texts["name"] == "llama"


async def test_a_paste_of_thousands_of_lines_is_refused_in_a_sentence(
    bench: FakeChangeService,
) -> None:
    async with run_form(bench) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await paste(pilot, "A=1\n" * 5_000)
        await wait_for_text(pilot, "5,000 lines; paste at most 500 at once.")
