"""Drafts of the create form: saved while typing, offered again, discarded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from servedeck.changes.draft_store import DraftFile, DraftStore
from tests.tui.create_form import (
    MODEL,
    app_of,
    flowing_text,
    focus_field,
    form_of,
    go_to_step,
    run_app,
    run_form,
    saved_draft_names,
    type_text,
)
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import post_keys, wait_for, wait_for_text
from tests.waiting import WAIT_SECONDS
from tui.screens.create.flow import describe_damaged_drafts
from tui.screens.create.wizard import CreateScreen


async def test_what_was_typed_is_written_at_once_where_the_program_ends(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await type_text(pilot, "llama")
        await asyncio.to_thread(app_of(pilot).prepare_forced_exit)  # as the watchdog does it
        (path,) = change_service.drafts_dir.glob("*.json")
        assert "llama" in path.read_text()


async def test_an_accidental_escape_asks_and_the_draft_is_offered_again(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
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


async def test_a_draft_resumes_where_it_was_left_and_asks_for_its_secrets(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service, (120, 40)) as pilot:
        await go_to_step(pilot, 2)
        await type_text(pilot, MODEL)
        await focus_field(pilot, "add.env")
        await pilot.press("enter")
        await type_text(pilot, "HF_TOKEN=s3cr3t")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        assert "s3cr3t" not in "".join(
            file.read_text() for file in change_service.drafts_dir.iterdir()
        )
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
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as one, run_form(change_service) as other:
        await type_text(one, "llama")
        await wait_for(
            one, lambda: saved_draft_names(change_service) == ["llama"], "the draft on disk"
        )
        await type_text(other, "qwen")
        await wait_for(
            other, lambda: saved_draft_names(change_service) == ["llama", "qwen"], "both drafts"
        )
        await other.press("escape", "d")
        await wait_for(
            other,
            lambda: saved_draft_names(change_service) == ["llama"],
            "the one that was given up gone",
        )
        await other.press("n")
        await wait_for_text(
            other, "Service Name"
        )  # the draft that is open elsewhere is not offered
        await type_text(other, "gemma")
        await other.press("escape", "s")
        await wait_for(
            other, lambda: saved_draft_names(change_service) == ["gemma", "llama"], "both drafts"
        )
    async with run_app(change_service) as third:
        app_of(third).servings.set_namespace("team-a")
        await third.press("n")
        await wait_for_text(third, "2 saved drafts", "1  gemma", "2  llama")
        await third.press("1")
        await wait_for_text(third, "Service Name", "gemma")


async def test_a_new_form_and_a_clone_leave_the_draft_that_was_left(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "Saved draft", "Start over")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
        await type_text(pilot, "qwen")
        await wait_for(
            pilot, lambda: saved_draft_names(change_service) == ["llama", "qwen"], "both drafts"
        )
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "2 saved drafts")
        await pilot.press("d")
        await wait_for_text(pilot, "Service Name")
        assert saved_draft_names(change_service) == []


async def test_a_draft_that_another_window_took_first_is_not_taken_twice(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "Saved draft")
        assert change_service.draft_store is not None
        (left,) = change_service.draft_store.list_saved()
        assert left.file.acquire() == left.draft
        await pilot.press("c")
        await wait_for_text(pilot, "open in another window or was discarded")
        assert saved_draft_names(change_service) == ["llama"]


async def test_a_form_into_which_nothing_was_typed_is_left_at_once_and_keeps_no_draft(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await pilot.press("escape")
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
    assert change_service.draft_store is not None
    assert change_service.draft_store.list_saved() == []


async def test_the_draft_is_on_disk_a_moment_after_it_was_typed(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await type_text(pilot, "llama")
        await wait_for(
            pilot, lambda: saved_draft_names(change_service) == ["llama"], "the draft on disk"
        )


async def test_a_draft_that_cannot_be_kept_is_reported(
    change_service: FakeChangeService, tmp_path: Path
) -> None:
    change_service.drafts_dir.write_text("a file where the folder should be")
    async with run_app(change_service) as pilot:
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name", "cannot be read")
        await type_text(pilot, "llama")
        await wait_for_text(pilot, "The draft cannot be saved")


@pytest.mark.parametrize("saved", [(), ("llama",)])
async def test_a_damaged_draft_is_named_and_not_offered(
    change_service: FakeChangeService, saved: tuple[str, ...]
) -> None:
    store = change_service.draft_store
    assert store is not None
    for name in saved:
        draft_file = store.new_file()
        draft_file.write({"texts": {"name": name}})
        draft_file.release()
    damaged = store.new_file().path
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_text("[" * 100_000)
    async with run_app(change_service) as pilot:
        await pilot.press("n")
        await wait_for_text(pilot, "A saved draft is damaged")
        assert ("was not finished" in flowing_text(pilot)) == bool(saved)
    assert damaged.exists()
    other = Path("/drafts/b.json")
    assert describe_damaged_drafts([Path("/drafts/a.json")]).endswith("; delete /drafts/a.json.")
    assert describe_damaged_drafts([Path("/drafts/a.json"), other, other]) == (
        "3 saved drafts are damaged and cannot be offered; delete a.json and 2 others in /drafts."
    )


async def test_the_draft_of_a_closed_terminal_is_offered_at_the_next_start(
    change_service: FakeChangeService,
) -> None:
    async with run_form(change_service) as pilot:
        await type_text(pilot, "llama")
        await pilot.press("ctrl+q")
    (left,) = DraftStore("https://127.0.0.1:6443", change_service.drafts_dir).list_saved()
    assert left.draft.texts["name"] == "llama"


@pytest.mark.parametrize(
    ("is_demo", "notice"),
    [
        (False, "The form is saved as a draft; n in servedeck opens it again."),
        (True, "The form is not kept: the drafts of the demo are deleted when it ends."),
    ],
)
async def test_the_end_says_whether_the_draft_is_kept(
    change_service: FakeChangeService, is_demo: bool, notice: str
) -> None:
    change_service.has_temporary_drafts = is_demo
    async with run_form(change_service) as pilot:
        await type_text(pilot, "llama")
        form = app_of(pilot).screen
        assert isinstance(form, CreateScreen)
        await pilot.press("ctrl+q")
        await wait_for(pilot, lambda: app_of(pilot).exiting, "the end")
        assert form.exit_notice() == notice


async def test_leaving_for_later_is_not_ended_by_the_save_after_the_last_key(
    change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, goes_on = DraftFile._write_atomically, threading.Event()

    def slow(draft_file: DraftFile, saved: Mapping[str, Any]) -> None:
        goes_on.wait(WAIT_SECONDS)
        write(draft_file, saved)

    async with run_form(change_service) as pilot:
        monkeypatch.setattr(DraftFile, "_write_atomically", slow)
        await type_text(pilot, "llama")
        await pilot.press("escape", "s")
        form_of(pilot).autosave._start_save()  # as the timer does
        await pilot.pause()
        goes_on.set()
        await wait_for(pilot, lambda: app_of(pilot).screen is app_of(pilot).servings, "the list")
        assert saved_draft_names(change_service) == ["llama"]


async def test_an_unresponsive_disk_does_not_block_closing(
    change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr("tui.screens.create.draft_autosave.WRITE_TIMEOUT", 0.1)
    monkeypatch.setattr("servedeck.changes.draft_store.WRITE_LOCK_TIMEOUT", 0.1)
    try:
        async with run_form(change_service) as pilot:
            monkeypatch.setattr(
                DraftFile, "_write_atomically", lambda *_: answers.wait(WAIT_SECONDS)
            )
            await type_text(pilot, "llama")
            post_keys(pilot, "ctrl+c")
            await wait_for_text(pilot, "The draft is not saved yet", "again to quit")
            post_keys(pilot, "ctrl+c")
            await wait_for(pilot, lambda: app_of(pilot).exiting, "the end")
            assert app_of(pilot).return_code == 1
    finally:
        answers.set()


async def test_leaving_for_later_stays_where_the_draft_cannot_be_kept(
    change_service: FakeChangeService, tmp_path: Path
) -> None:
    async with run_form(change_service) as pilot:
        change_service.drafts_dir.write_text("a file where the folder should be")
        await type_text(pilot, "llama")
        await pilot.press("escape", "s")
        await wait_for_text(pilot, "The draft cannot be saved", "Keep editing")
        assert form_of(pilot).autosave._timer is None  # which would replace that sentence
        assert form_of(pilot).draft.texts["name"] == "llama"
