"""The parts of the create form that need no screen."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from servedeck.atomic_file import write_text
from servedeck.changes.draft import EMPTY_VARIABLE, Draft
from servedeck.changes.draft_store import DraftStore
from servedeck.serving.spec.templates import TEMPLATES
from tests.tui.fake_change_service import PLATFORM, FakeInventory
from tui import plan_text
from tui.action_tables.action import SECTION_KEYS
from tui.screens.create import env_rows, field_options, files, review_text, steps
from tui.screens.create.draft_autosave import DraftAutosave
from widgets.styled_line import plain_text


def make_draft(template: str = "vllm") -> Draft:
    draft = Draft(template, "team-a")
    draft.texts["name"] = "llama"
    if "settings.model" in draft.texts:
        draft.texts["settings.model"] = "m"
    return draft


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_text_of_a_draft_has_a_place_in_the_form_and_in_the_review(template: str) -> None:
    draft = make_draft(template)
    draft.texts["accelerator"] = "nvidia.com/gpu"  # without one it has no count
    shown = {
        item.path
        for step in (1, 2)
        for item in steps.form_items(step, draft, ())
        if isinstance(item, steps.FieldItem)
    }
    assert shown == set(draft.texts)
    reviewed = {path for section in steps.review_sections(draft) for path in section.paths}
    assert reviewed == set(draft.texts) | set(draft.rows)
    for path in shown:
        assert steps.field_help(path, draft)
        assert steps.step_of(path) == (1 if path in basic_step_paths() else 2)


@pytest.mark.parametrize(
    ("command", "arguments", "server"),
    [
        ("sh -c", "'exec vllm serve org/m --port 8080'", "vllm"),
        ("bash -lc 'python3 -m sglang.launch_server --model-path org/m'", "", "sglang"),
        ("vllm serve org/m", "--port 8080", ""),
        ("/start.sh", "", ""),
        ("sh -c", "'exec my-server'", ""),
        ("sh -c 'vllm", "", ""),
        ("", "", ""),
    ],
)
def test_flags_in_a_shell_script_are_said_to_have_no_fields(
    command: str, arguments: str, server: str
) -> None:
    draft = make_draft("custom")
    usual = {
        path: steps.field_help(path, draft) for path in ("image", "command", "settings.arguments")
    }
    draft.texts |= {
        "image": "vllm/vllm-openai:v0.11.0",
        "command": command,
        "settings.arguments": arguments,
    }
    for path in ("command", "settings.arguments"):
        expected = f"A shell script starts {server}: its flags" if server else usual[path]
        assert steps.field_help(path, draft).startswith(expected)
    assert steps.field_help("image", draft) == usual["image"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_section_of_the_review_has_a_key(template: str) -> None:
    draft = make_draft(template)
    draft.texts |= {"readiness_path": "/ready", "liveness_path": "/live"}
    assert len(steps.review_sections(draft)) <= len(SECTION_KEYS.split(","))


def basic_step_paths() -> set[str]:
    return {"name", "namespace", "description", "template"}


def test_pasted_variables_replace_those_of_the_same_name_and_keep_their_order() -> None:
    draft = make_draft()
    draft.rows["env"] = [
        {**EMPTY_VARIABLE, "name": "A", "source": "secret", "ref": "s", "key": "k"},
        dict(EMPTY_VARIABLE),
        {**EMPTY_VARIABLE, "name": "Z", "value": "z"},
    ]
    taken = env_rows.import_env(draft, "env", "B=2\nA=1\n=x\nC=3", row_index=1)
    assert taken.summary == (
        "2 variables added; 1 variable changed; line 3 could not be read and is marked in the list."
    )
    rows = draft.rows["env"]
    assert [row["name"] or row["value"] for row in rows] == ["A", "B", "=x", "C", "Z"]
    assert (rows[0]["value"], rows[0]["source"]) == ("1", "")


def test_a_bad_line_becomes_a_variable_once_it_reads_as_one() -> None:
    draft = make_draft()
    env_rows.import_env(draft, "env", "FOO BAR")
    assert not env_rows.reparse_line(draft, "env", 0)
    draft.rows["env"][0]["value"] = "FOO=BAR"
    assert env_rows.reparse_line(draft, "env", 0)
    assert draft.rows["env"] == [{**EMPTY_VARIABLE, "name": "FOO", "value": "BAR"}]


def test_the_source_of_a_value_goes_round_and_what_was_written_comes_back() -> None:
    row = {**EMPTY_VARIABLE, "name": "A", "value": "1"}
    for source in ("secret", "config_map", ""):
        env_rows.cycle_source(row)
        assert row["source"] == source
    assert row["value"] == "1"


def test_rows_into_which_nothing_was_written_are_dropped() -> None:
    draft = make_draft()
    draft.rows["env"] = [dict(EMPTY_VARIABLE), {**EMPTY_VARIABLE, "name": "A"}]
    assert env_rows.remove_blank_rows(draft) == {"env.0": "", "env.1": "env.0"}
    assert [row["name"] for row in draft.rows["env"]] == ["A"]
    assert not env_rows.remove_blank_rows(draft)


def test_accelerators_of_the_nodes_are_offered_with_where_they_are_free() -> None:
    offered = {
        one.key: one
        for one in field_options.field_choices("accelerator", make_draft(), FakeInventory())
    }
    assert offered[""].label == "None"
    assert offered["nvidia.com/gpu"].detail.endswith("3 of 24 free: gpu-node-1 2, gpu-node-3 1")
    assert "4 of 4 free" in offered["furiosa.ai/rngd"].detail
    assert plain_text(
        field_options.field_note("accelerator", make_draft(), FakeInventory())
    ).startswith("proposed by the template; NVIDIA GPU: 3")


def test_choices_do_without_a_cluster() -> None:
    assert field_options.field_choices("namespace", make_draft(), None) == []
    assert [one.key for one in field_options.field_choices("accelerator", make_draft(), None)] == [
        "",
        "nvidia.com/gpu",
        "furiosa.ai/rngd",
    ]


def test_a_secret_in_a_line_that_could_not_be_read_is_masked_too() -> None:
    row = {**EMPTY_VARIABLE, "source": "line", "value": 'export HF_TOKEN="hf_abcdefghijkl'}
    assert review_text.is_masked(row)
    assert not review_text.is_masked({**row, "value": "FOO BAR"})


def test_yaml_shows_no_secret_unless_asked_for() -> None:
    draft = make_draft()
    draft.rows["env"] = [{**EMPTY_VARIABLE, "name": "HF_TOKEN", "value": "hf_abcdefghijkl"}]
    draft.texts["transformer.image"] = "t:1"
    draft.rows["transformer.env"] = [{**EMPTY_VARIABLE, "name": "API_KEY", "value": "sesame-open"}]
    spec, _ = draft.validate()
    assert spec is not None
    for view in ("objects", "document"):
        hidden = "\n".join(
            plain_text(one.line)
            for one in plan_text.yaml_entries(spec, PLATFORM, view, reveal=False)
        )
        assert "hf_abc" not in hidden
        assert "sesame" not in hidden
        shown = "\n".join(
            plain_text(one.line)
            for one in plan_text.yaml_entries(spec, PLATFORM, view, reveal=True)
        )
        assert "hf_abcdefghijkl" in shown
        assert "sesame-open" in shown


def test_a_private_file_is_for_its_owner_alone_also_where_it_was_open(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("old and longer")
    file.chmod(0o644)
    write_text(file, "new", private=True)
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_text_or_too_large_is_rejected_in_words(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UnicodeDecodeError) as broken:
        files.read_text(file)
    assert files.describe_file_error(broken.value) == "it is not UTF-8 text."
    file.write_bytes(b"x" * (files.MAX_FILE_BYTES + 1))
    with pytest.raises(OSError) as large:
        files.read_text(file)
    assert files.describe_file_error(large.value) == "it is larger than 4 MiB."


def test_a_file_that_cannot_be_written_keeps_what_it_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = tmp_path / "mine.yaml", tmp_path / "link.yaml"
    file.write_text("mine")
    file.chmod(0o640)
    link.symlink_to(file)
    full = os.open("/dev/full", os.O_WRONLY)
    with monkeypatch.context() as patch:
        patch.setattr("os.open", lambda *_: full)
        with pytest.raises(OSError, match="No space left"):
            write_text(file, "other", private=False)
    assert file.read_text() == "mine"
    write_text(link, "모델", private=False)
    assert file.read_bytes() == "모델".encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    write_text(link, "secret", private=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert link.is_symlink()
    assert set(tmp_path.iterdir()) == {file, link}


def test_a_pipe_is_neither_waited_for_nor_written_over(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        files.read_text(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        write_text(pipe, "x", private=False)
    assert pipe.is_fifo()


async def test_a_save_that_begins_after_closing_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: asyncio.Future[Callable[[], bool]] = asyncio.get_running_loop().create_future()

    async def to_thread(write: Callable[[], bool]) -> bool:
        began.set_result(write)
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr("tui.screens.create.draft_autosave.asyncio.to_thread", to_thread)
    store, draft = DraftStore("https://a", tmp_path), make_draft()
    autosave = DraftAutosave(draft, lambda: store)
    draft.texts["description"] = "old"
    save = asyncio.create_task(autosave.save())
    late = await began
    draft.texts["description"] = "new"
    save.cancel()
    autosave.close()
    assert late() is False
    (left,) = store.list_saved()
    assert left.draft.texts["description"] == "new"


async def test_a_discarded_draft_is_not_written_again(tmp_path: Path) -> None:
    store, draft = DraftStore("https://a", tmp_path), make_draft()
    autosave = DraftAutosave(draft, lambda: store)
    assert await autosave.save() == ""
    assert list(tmp_path.iterdir()) == []
    draft.texts["description"] = "chat"
    assert await autosave.save() == ""
    assert len(list(tmp_path.iterdir())) == 1
    await autosave.delete_draft()
    draft.texts["name"] = "other"
    assert await autosave.save() == ""
    autosave.close()
    assert list(tmp_path.iterdir()) == []
