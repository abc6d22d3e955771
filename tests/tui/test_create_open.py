"""Ways to the create form: the list, a clone, a draft given at the start, a YAML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from servedeck.changes.draft import EMPTY_VARIABLE, Draft
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects import manifests
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.strategies import platform_with_pool
from tests.tui import fakes
from tests.tui.create_form import (
    MODEL,
    app_of,
    flowing_text,
    focus_field,
    form_of,
    go_to_step,
    run_app,
    run_form,
    type_text,
)
from tests.tui.fake_change_service import PLATFORM, FakeChangeService
from tests.tui.helpers import make_app, post_keys, wait_for, wait_for_text


async def test_the_key_is_disabled_with_the_reason_where_nothing_may_be_created(
    change_service: FakeChangeService,
) -> None:
    change_service.create_disabled_reason = "Needs create on deployments.apps in namespace team-a."
    async with run_app(change_service) as pilot:
        await pilot.press("n")
        await wait_for_text(pilot, "Needs create on deployments.apps")
    async with run_app(change_service, readonly=True) as pilot:
        await pilot.press("C")
        await wait_for_text(pilot, "runs with --readonly")


def add_serving_to_clone(change_service: FakeChangeService) -> JsonObject:
    """The Pod template of a serving that can be cloned."""
    spec = ServingSpec(
        name="llama-8b",
        namespace="team-a",
        template="vllm",
        image="vllm/vllm-openai:v0.11.0",
        accelerator="nvidia.com/gpu",
        settings={"model": MODEL},
    )
    built = manifests.build_manifests(spec, PLATFORM)
    change_service.objects[NamespacedName("team-a", "llama-8b")] = built
    pod: JsonObject = built[0]["spec"]["template"]["spec"]
    return pod


async def test_a_clone_has_the_settings_of_the_serving_and_says_what_it_leaves_behind(
    change_service: FakeChangeService,
) -> None:
    pod = add_serving_to_clone(change_service)
    source = fakes.FakeSource().add_views(fakes.serving("llama-8b"))
    async with run_app(change_service, source=source) as pilot:
        await pilot.press("C")
        await wait_for_text(pilot, "llama-8b-copy", "Service Name")
        assert form_of(pilot).draft.texts["settings.model"] == MODEL
        await pilot.press("escape")
        pod["affinity"] = {"\x1b[2Jzone": "a"}
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("C")
        screen = await wait_for_text(pilot, "are not copied", "affinity")
        assert "\x1b" not in screen
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-8b-copy")
        await pilot.press("ctrl+n", "ctrl+n")
        await wait_for_text(pilot, "! Not copied: Deployment", "affinity")
        change_service.connection_error = "The API server is away."
        await pilot.press("escape")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("C")
        await wait_for_text(pilot, "cannot be cloned: The API server is away.")


async def test_keys_in_the_packet_of_the_clone_key_go_to_its_dialog(
    change_service: FakeChangeService,
) -> None:
    add_serving_to_clone(change_service)["affinity"] = {"zone": "a"}
    source = fakes.FakeSource().add_views(fakes.serving("llama-8b"))
    async with run_app(change_service, source=source) as pilot:
        post_keys(pilot, "C", "l", "c")
        await wait_for_text(pilot, "llama-8b-copy", "Service Name")
        stack = [type(one).__name__ for one in app_of(pilot).screen_stack]
        assert stack[-2:] == ["ServingsScreen", "CreateScreen"]


@pytest.mark.parametrize(("namespace", "is_said"), [("", True), ("team-a", False)])
async def test_the_namespace_of_the_row_under_the_cursor_is_said_to_be_so(
    change_service: FakeChangeService, namespace: str, is_said: bool
) -> None:
    source = fakes.FakeSource().add_views(fakes.serving("llama-8b"))
    async with run_app(change_service, source=source) as pilot:
        app_of(pilot).servings.set_namespace(namespace)
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
        assert form_of(pilot).draft.texts["namespace"] == "team-a"
        said = "All namespaces are shown: the namespace team-a is that of llama-8b."
        if is_said:
            await wait_for(pilot, lambda: said in flowing_text(pilot), "where it comes from")
        else:
            assert "All namespaces" not in flowing_text(pilot)


async def test_a_clone_does_not_get_the_pool_of_the_original(
    change_service: FakeChangeService,
) -> None:
    spec = ServingSpec(
        name="llama-8b",
        namespace="team-a",
        template="vllm",
        image="vllm/vllm-openai:v0.11.0",
        accelerator="nvidia.com/gpu",
        settings={"model": MODEL},
        load_balancing="prefix-aware",
    )
    platform = platform_with_pool(PLATFORM, spec)
    key = NamespacedName("team-a", "llama-8b")
    change_service.objects[key] = manifests.build_manifests(spec, platform)
    change_service.engines = platform.engines
    source = fakes.FakeSource().add_views(fakes.serving("llama-8b"))
    async with run_app(change_service, source=source) as pilot:
        await pilot.press("C")
        await wait_for_text(pilot, "are not copied", "Load Balancing prefix-aware")
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-8b-copy")
        assert form_of(pilot).draft.texts.get("load_balancing", "off") == "off"


@pytest.mark.parametrize("key", ["c", "enter", "x"])
async def test_the_answers_are_in_sight_however_much_a_clone_does_not_copy(
    change_service: FakeChangeService, key: str
) -> None:
    built = manifests.build_manifests(
        ServingSpec(name="llama-8b", namespace="team-a", template="custom", image="i"), PLATFORM
    )
    pod = built[0]["spec"]["template"]["spec"]
    pod["containers"] += [{"name": f"sidecar-{number}", "image": "x"} for number in range(44)]
    change_service.objects[NamespacedName("team-a", "llama-8b")] = built
    source = fakes.FakeSource().add_views(fakes.serving("llama-8b"))
    async with run_app(change_service, source=source, size=(80, 24)) as pilot:
        await pilot.press("C")
        screen = await wait_for_text(pilot, "are not copied", "page keys scroll it")
        lines = [line.rstrip() for line in screen.split("\n")]
        assert len(lines) == 24
        assert "▌ c  Continue            without them; the review lists them" in lines[-4]
        assert "  x  Cancel" in lines[-3]
        assert lines[-1].split("  ")[:2] == [" c Continue", "x Cancel"]
        assert "sidecar-43" not in screen
        await pilot.press(*["pagedown"] * 10)
        await wait_for_text(pilot, "sidecar-43", "x  Cancel")
        await pilot.press(key)
        if key == "x":
            servings = app_of(pilot).servings
            await wait_for(pilot, lambda: app_of(pilot).screen is servings, "the list")
        else:
            await wait_for_text(pilot, "llama-8b-copy", "Service Name")


async def test_the_app_opens_with_the_form_filled_from_a_draft(
    change_service: FakeChangeService,
) -> None:
    draft = Draft("vllm", "team-a")
    draft.texts |= {"name": "from-a-file", "settings.model": MODEL}
    draft.rows["env"] = [{**EMPTY_VARIABLE, "name": "A", "value": "\x1b[31mred"}]
    async with run_app(change_service, initial_draft=draft) as pilot:
        screen = await wait_for_text(pilot, "from-a-file", "Service Template")
        await pilot.press("ctrl+n")
        await focus_field(pilot, "env.0.value")
        screen = await wait_for_text(pilot, "red")
        assert "\x1b" not in screen


async def test_keys_typed_before_the_form_is_open_go_to_the_form(
    change_service: FakeChangeService,
) -> None:
    app = make_app(initial_draft=Draft(namespace="team-a"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "11 servings")
        post_keys(pilot, *"llama")
        app.change_service = change_service
        await wait_for_text(pilot, "Service Name", "llama")
        assert form_of(pilot).draft.texts["name"] == "llama"
        assert len(app.screen_stack) == 2


async def test_a_form_opened_before_the_connection_gets_its_namespace_with_it(
    change_service: FakeChangeService,
) -> None:
    change_service.namespace = ""
    async with run_app(change_service, initial_draft=Draft()) as pilot:
        await wait_for_text(pilot, "Service Name", "choose one")
        change_service.namespace = "team-a"
        await wait_for_text(pilot, "team-a")
        assert form_of(pilot).draft.texts["namespace"] == "team-a"


async def test_yaml_is_saved_asks_before_writing_over_and_is_loaded_again(
    change_service: FakeChangeService, tmp_path: Path
) -> None:
    file = tmp_path / "llama.yaml"
    file.write_text("mine")
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await pilot.press("ctrl+y")
        await wait_for_text(pilot, "Save the serving as YAML", "llama-chat.yaml")
        await pilot.press("ctrl+u")
        await type_text(pilot, str(file))
        await pilot.press("enter")
        await wait_for(
            pilot, lambda: "exists; press enter again" in flowing_text(pilot), "the question"
        )
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
