"""Choosing the Secret and the key of a variable from a list."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tests.tui.create_form import MODEL, focus_field, form_of, go_to_step, run_form, type_text
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import screen_text, wait_for, wait_for_text
from tui.screens.create.option_picker import OptionPicker

SECRETS = {"huggingface": ["token", "refresh"], "registry": [".dockerconfigjson"]}


@pytest.fixture
def with_secrets(change_service: FakeChangeService) -> FakeChangeService:
    change_service.key_sources["secret", "team-a"] = SECRETS
    change_service.key_sources["config_map", "team-a"] = {"flags": ["level", "mode"]}
    return change_service


async def add_variable(pilot: Pilot[None]) -> None:
    await go_to_step(pilot, 2)
    await type_text(pilot, MODEL)
    await focus_field(pilot, "add.env")
    await pilot.press("enter")
    await type_text(pilot, "HF_TOKEN=")


async def wait_for_form(pilot: Pilot[None]) -> None:
    await wait_for(pilot, lambda: pilot.app.screen is form_of(pilot), "the form")


def row_of(pilot: Pilot[None]) -> dict[str, str]:
    return form_of(pilot).draft.rows["env"][0]


def reference_of(pilot: Pilot[None]) -> tuple[str, str, str]:
    row = row_of(pilot)
    return row["source"], row["ref"], row["key"]


async def test_a_secret_and_its_key_are_chosen_for_a_literal_value(
    with_secrets: FakeChangeService,
) -> None:
    async with run_form(with_secrets) as pilot:
        await add_variable(pilot)
        await type_text(pilot, "typed")
        await pilot.press("f2")
        screen = await wait_for_text(pilot, "Secrets of namespace team-a", "Opaque  2 keys")
        assert "refresh" not in screen
        await type_text(pilot, "hug")
        await pilot.press("enter")
        await wait_for_text(pilot, "Keys of Secret huggingface", "refresh")
        await type_text(pilot, "tok")
        await pilot.press("enter")
        await wait_for_text(pilot, "← Secret", "huggingface", "token")
        assert reference_of(pilot) == ("secret", "huggingface", "token")
        assert row_of(pilot)["value"] == "typed"
        await pilot.press("ctrl+z")
        await wait_for(pilot, lambda: row_of(pilot)["source"] == "", "the value before")
        assert row_of(pilot)["value"] == "typed"


async def test_the_only_key_is_filled_in_at_once(with_secrets: FakeChangeService) -> None:
    async with run_form(with_secrets) as pilot:
        await add_variable(pilot)
        await pilot.press("f2")
        await wait_for_text(pilot, "registry")
        await type_text(pilot, "registry")
        await pilot.press("enter")
        await wait_for(pilot, lambda: row_of(pilot)["key"], "the key")
        assert reference_of(pilot) == ("secret", "registry", ".dockerconfigjson")


@pytest.mark.parametrize("lists", [1, 2])
async def test_escape_keeps_what_was_typed(with_secrets: FakeChangeService, lists: int) -> None:
    async with run_form(with_secrets) as pilot:
        await add_variable(pilot)
        await pilot.press("ctrl+t")
        await wait_for_text(pilot, "← Secret")
        await type_text(pilot, "mine")
        await pilot.press("f2")
        await wait_for_text(pilot, "Secrets of namespace team-a")
        if lists == 2:
            await type_text(pilot, "hug")
            await pilot.press("enter")
            await wait_for_text(pilot, "Keys of Secret huggingface")
        await pilot.press("escape")
        await wait_for_form(pilot)
        assert reference_of(pilot) == ("secret", "mine", "")
        assert getattr(form_of(pilot).focused, "path", "") == "env.0.ref"


async def test_the_keys_of_a_typed_object_are_listed_at_the_key(
    with_secrets: FakeChangeService,
) -> None:
    async with run_form(with_secrets) as pilot:
        await add_variable(pilot)
        await pilot.press("ctrl+t", "ctrl+t")
        await wait_for_text(pilot, "← ConfigMap")
        await type_text(pilot, "flags")
        await pilot.press("enter", "f2")
        await wait_for_text(pilot, "Keys of ConfigMap flags", "mode")
        await pilot.press("down", "enter")
        await wait_for_form(pilot)
        assert reference_of(pilot) == ("config_map", "flags", "mode")


async def test_where_nothing_may_be_listed_it_is_said_and_typing_is_possible(
    with_secrets: FakeChangeService,
) -> None:
    reason = "Secrets of namespace team-a may not be listed: needs list on secrets."
    with_secrets.key_source_errors["secret"] = reason
    async with run_form(with_secrets) as pilot:
        await add_variable(pilot)
        await pilot.press("ctrl+t")
        await wait_for_text(pilot, "← Secret")
        await pilot.press("f2")
        await wait_for_text(pilot, reason)
        await type_text(pilot, "huggingface")
        assert row_of(pilot)["ref"] == "huggingface"
        await pilot.press("enter", "f2")  # one object may be readable where the list is not
        await wait_for_text(pilot, "Keys of Secret huggingface")


async def test_a_chosen_name_is_kept_where_its_keys_may_not_be_read(
    with_secrets: FakeChangeService,
) -> None:
    reason = "The keys of Secret huggingface may not be read."
    with_secrets.key_source_errors["huggingface"] = reason
    async with run_form(with_secrets) as pilot:
        await add_variable(pilot)
        await pilot.press("f2")
        await wait_for_text(pilot, "huggingface")
        await pilot.press("enter")
        await wait_for_text(pilot, reason, "← Secret")
        assert reference_of(pilot) == ("secret", "huggingface", "")
        await type_text(pilot, "token")
        assert row_of(pilot)["key"] == "token"


async def test_another_field_has_no_secrets(with_secrets: FakeChangeService) -> None:
    async with run_form(with_secrets) as pilot:
        await go_to_step(pilot, 2)
        await pilot.press("f2")
        await wait_for_text(
            pilot, "Only a variable's value and image pull Secrets are chosen from Secrets"
        )
        assert not isinstance(pilot.app.screen, OptionPicker)
        assert "Secrets of" not in screen_text(pilot.app)


async def go_to_pull_secrets(pilot: Pilot[None]) -> None:
    await go_to_step(pilot, 2)
    await type_text(pilot, MODEL)
    await focus_field(pilot, "image_pull_secrets")


async def test_image_pull_secrets_are_chosen_one_after_the_other(
    with_secrets: FakeChangeService,
) -> None:
    with_secrets.key_sources["secret", "team-a"] = SECRETS | {"mirror": [".dockercfg"]}
    with_secrets.secret_types = {
        "registry": "kubernetes.io/dockerconfigjson",
        "mirror": "kubernetes.io/dockercfg",
    }
    async with run_form(with_secrets) as pilot:
        await go_to_pull_secrets(pilot)
        await type_text(pilot, "typed,")
        await pilot.press("f2")
        screen = await wait_for_text(pilot, "Image pull Secrets of namespace team-a", "mirror")
        assert "huggingface" not in screen
        await type_text(pilot, "registry")
        await pilot.press("enter")
        texts = form_of(pilot).draft.texts
        await wait_for(pilot, lambda: texts["image_pull_secrets"] == "typed registry", "the word")
        await pilot.press("f2")
        screen = await wait_for_text(pilot, "Image pull Secrets of namespace team-a", "mirror")
        assert "dockerconfigjson" not in screen
        await pilot.press("enter")
        await wait_for(
            pilot, lambda: texts["image_pull_secrets"] == "typed registry mirror", "both words"
        )
        await wait_for_form(pilot)
        await type_text(pilot, "-2")
        await wait_for(
            pilot, lambda: texts["image_pull_secrets"] == "typed registry mirror-2", "typed on"
        )
        await pilot.press("f2")
        await wait_for_text(pilot, "Image pull Secrets of namespace team-a", "mirror")
        await pilot.press("escape")
        await wait_for_form(pilot)
        assert texts["image_pull_secrets"] == "typed registry mirror-2"


async def test_without_an_image_pull_secret_a_message_says_so(
    with_secrets: FakeChangeService,
) -> None:
    async with run_form(with_secrets) as pilot:
        await go_to_pull_secrets(pilot)
        await pilot.press("f2")
        await wait_for_text(pilot, "has no Secret of type kubernetes.io/dockerconfigjson")
