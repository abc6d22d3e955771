"""Environment variables in the create form: typed, pasted, from files and from Secrets."""

from __future__ import annotations

from pathlib import Path

from tests.tui.create_form import (
    MODEL,
    focus_field,
    form_of,
    go_to_step,
    paste,
    run_form,
    type_text,
)
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import screen_text, wait_for, wait_for_text


async def test_an_equals_sign_ends_the_name_and_secrets_are_masked_until_asked_for(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
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


async def test_pasted_lines_become_rows_and_invalid_ones_are_kept_for_correction(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
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


async def test_an_env_file_is_loaded_by_its_path(
    change_service: FakeChangeService, tmp_path: Path
) -> None:
    file = tmp_path / "prod.env"
    file.write_text('A=1\nKEY="two\nlines"\nnot a variable\n')
    async with run_form(change_service) as pilot:
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


async def test_a_value_comes_from_a_key_of_a_secret(change_service: FakeChangeService) -> None:
    async with run_form(change_service) as pilot:
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
    [variable] = change_service.planned_specs[-1].env
    assert variable.secret is not None
    assert (variable.secret.name, variable.secret.key) == ("huggingface", "token")


async def test_a_pasted_certificate_stays_one_value(change_service: FakeChangeService) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "CA=")
        await paste(pilot, "-----BEGIN-----\nAbCd\n-----END-----\n")
        [row] = form_of(pilot).draft.rows["env"]
        assert row["value"] == "-----BEGIN-----\nAbCd\n-----END-----"


async def test_one_pasted_line_goes_into_a_field_once_and_without_escapes(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await focus_field(pilot, "description")
        await paste(pilot, "chat \x1b]52;c;eA==\x07for all")
        assert form_of(pilot).draft.texts["description"] == "chat for all"


async def test_a_document_pasted_by_mistake_is_a_one_line_error(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await paste(pilot, "a document " * 90_000)
        await wait_for_text(pilot, "At most 16,384 characters are allowed")
        assert form_of(pilot).draft.texts["name"] == ""
        await go_to_step(pilot, 2)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await paste(pilot, "A=1\n" + "b" * 1_000_000)
        await wait_for_text(pilot, "A line is too long")
        assert len(form_of(pilot).draft.rows["env"]) == 1


async def test_a_paste_of_thousands_of_lines_is_a_one_line_error(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await paste(pilot, "A=1\n" * 5_000)
        await wait_for_text(pilot, "5,000 lines; paste at most 500 at once.")
