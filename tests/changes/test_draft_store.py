from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TextIO

import pytest

from servedeck.changes.draft import EMPTY_VARIABLE, Draft
from servedeck.changes.draft_store import RETENTION_SECONDS, DraftStore
from tests.waiting import WAIT_SECONDS


def make_draft(name: str) -> Draft:
    draft = Draft("vllm", "team-a")
    draft.texts |= {"name": name, "cpu": "lots"}
    draft.rows["env"] = [{**EMPTY_VARIABLE, "name": "LOG_LEVEL", "value": "all"}]
    return draft


def test_what_was_typed_survives_on_disk_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    draft, folder = make_draft("llama"), tmp_path / "drafts"
    store = DraftStore("https://a", folder)
    assert store.list_saved() == []
    draft_file = store.new_file()
    draft_file.write(draft.to_saved_dict())
    draft_file.release()
    (left,) = DraftStore("https://a", folder).list_saved()
    assert left.draft == draft
    assert DraftStore("https://b", folder).list_saved() == []
    assert stat.S_IMODE(draft_file.path.stat().st_mode) == 0o600
    assert left.file.acquire() == draft
    left.file.delete()
    assert list(folder.iterdir()) == []


def test_the_draft_of_an_open_form_is_neither_offered_nor_taken(tmp_path: Path) -> None:
    store = DraftStore("https://a", tmp_path)
    draft_file = store.new_file()
    for name in ("llama", "llama-2"):  # the second file replaces the first
        draft_file.write(make_draft(name).to_saved_dict())
        assert store.list_saved() == []
    draft_file.release()
    (left,) = store.list_saved()
    (same,) = store.list_saved()
    assert left.file.acquire() == make_draft("llama-2")
    assert same.file.acquire() is None
    left.file.delete()
    assert same.file.acquire() is None


def test_what_a_killed_process_leaves_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path;"
        "from servedeck.changes.draft import Draft;"
        "from servedeck.changes.draft_store import DraftStore;"
        f"DraftStore('https://a', Path({str(tmp_path)!r})).new_file()"
        ".write(Draft('vllm', 'p').to_saved_dict());"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=WAIT_SECONDS)
    (left,) = DraftStore("https://a", tmp_path).list_saved()
    assert left.draft == Draft("vllm", "p")


def test_a_slow_write_never_overtakes_what_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    dump = json.dump

    def slow(saved: object, file: TextIO) -> None:
        if threading.current_thread() is first:
            begun.set()
            goes_on.wait(WAIT_SECONDS)
        dump(saved, file)

    monkeypatch.setattr("servedeck.changes.draft_store.json.dump", slow)
    monkeypatch.setattr("servedeck.changes.draft_store.WRITE_LOCK_TIMEOUT", WAIT_SECONDS)
    draft_file = DraftStore("https://a", tmp_path).new_file()
    first = threading.Thread(target=draft_file.write, args=(make_draft("old").to_saved_dict(),))
    second = threading.Thread(target=draft_file.write, args=(make_draft("new").to_saved_dict(),))
    first.start()
    assert begun.wait(WAIT_SECONDS)
    lock, asks = draft_file._write_lock, threading.Event()

    class RecordingLock:
        """Wraps the draft file's lock and records that `acquire` was called."""

        def acquire(self, timeout: float) -> bool:
            asks.set()
            return lock.acquire()

        def release(self) -> None:
            lock.release()

    monkeypatch.setattr(draft_file, "_write_lock", RecordingLock())
    second.start()
    assert asks.wait(WAIT_SECONDS)
    assert draft_file.path.exists() is False, "nothing is written while another writes"
    goes_on.set()
    first.join()
    second.join()
    draft_file.release()
    assert [left.draft for left in DraftStore("https://a", tmp_path).list_saved()] == [
        make_draft("new")
    ]


def test_a_write_that_begins_late_gives_way_to_what_was_asked_for_since(tmp_path: Path) -> None:
    store = DraftStore("https://a", tmp_path)
    draft_file = store.new_file()
    late = draft_file.prepare_write(make_draft("old").to_saved_dict())
    draft_file.write(make_draft("new").to_saved_dict())
    assert late() is False
    late = draft_file.prepare_write(make_draft("old").to_saved_dict())
    draft_file.release()
    assert late() is False
    assert [left.draft for left in store.list_saved()] == [make_draft("new")], (
        "it is there, and free"
    )
    assert draft_file.acquire() == make_draft("new")
    late = draft_file.prepare_write(make_draft("old").to_saved_dict())
    draft_file.delete()
    assert late() is False
    assert list(tmp_path.iterdir()) == []
    assert draft_file.prepare_write(make_draft("again").to_saved_dict())() is True
    draft_file.release()
    assert [left.draft for left in store.list_saved()] == [make_draft("again")]


def test_the_latest_draft_comes_first(tmp_path: Path) -> None:
    store = DraftStore("https://a", tmp_path)
    for at, name in enumerate(("old", "new", "middle")):
        draft_file = store.new_file()
        draft_file.write(make_draft(name).to_saved_dict())
        draft_file.release()
        os.utime(draft_file.path, (0, {"old": 1, "middle": 2, "new": 3}[name]))
        assert len(store.list_saved()) == at + 1
    assert [left.draft.texts["name"] for left in store.list_saved()] == ["new", "middle", "old"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        pytest.param("[" * 100_000, id="nested too deep"),
        '{"texts": 3, "rows": []}',
        '{"texts": {"cpu": 5}, "rows": {"env": [1]}}',
    ],
)
def test_a_damaged_file_never_keeps_the_form_from_opening(tmp_path: Path, text: str) -> None:
    store = DraftStore("https://a", tmp_path)
    whole = store.new_file()
    whole.write(make_draft("llama").to_saved_dict())
    whole.release()
    other = store.new_file().path
    other.write_text(text)
    assert "llama" in [left.draft.texts["name"] for left in store.list_saved()]
    readable = {left.file.path for left in store.list_saved()}
    assert store.list_damaged() == ([] if other in readable else [other])
    for left in store.list_saved():
        if left.draft.texts["name"] != "llama":
            assert left.draft.texts["cpu"] == "0.5"


def test_a_damaged_file_of_another_cluster_is_its_own(tmp_path: Path) -> None:
    other = DraftStore("https://b", tmp_path).new_file().path
    other.write_text("{")
    assert DraftStore("https://a", tmp_path).list_damaged() == []
    assert DraftStore("https://b", tmp_path).list_damaged() == [other]


def test_a_disk_that_is_full_keeps_the_last_draft_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DraftStore("https://a", tmp_path)
    draft_file = store.new_file()
    draft_file.write(make_draft("llama").to_saved_dict())
    full = os.open("/dev/full", os.O_WRONLY)
    created: list[Path] = []

    def open_full(path: Path, *_: int) -> int:
        path.write_text("")
        created.append(path)
        return full

    with monkeypatch.context() as patch:
        patch.setattr("os.open", open_full)
        with pytest.raises(OSError, match="No space left"):
            draft_file.write(make_draft("llama-2").to_saved_dict())
    assert [path.name.startswith(".draft-") for path in created] == [True]
    assert list(tmp_path.iterdir()) == [draft_file.path]
    draft_file.release()
    assert [left.draft for left in store.list_saved()] == [make_draft("llama")]


def test_what_looks_secret_is_not_in_the_file_and_is_asked_for_again(tmp_path: Path) -> None:
    secrets = ["hf_abcdefghijklmnop", "s3cr3t", "sk-0123456789abcdefgh", "p4ssw0rd", "tok3n"]
    draft = Draft("vllm", "team-a")
    draft.texts |= {"name": "llama", "command": f"serve --api-key {secrets[1]} --port 8000"}
    draft.rows["env"] = [
        {**EMPTY_VARIABLE, "name": "HF_HOME", "value": secrets[0]},
        {**EMPTY_VARIABLE, "name": "API_KEY", "value": secrets[1]},
        {**EMPTY_VARIABLE, "name": "MAX_TOKENS", "value": "4096"},
        {**EMPTY_VARIABLE, "source": "line", "value": f"MY PASSWORD={secrets[3]}", "ref": "4"},
        {**EMPTY_VARIABLE, "name": "TOKEN", "source": "secret", "ref": "hub", "key": "token"},
    ]
    draft.rows["transformer.env"] = [
        {**EMPTY_VARIABLE, "name": "ARGS", "value": f"--key={secrets[2]}"},
        {**EMPTY_VARIABLE, "name": "AUTH_TOKEN", "value": secrets[4]},
    ]
    draft_file = DraftStore("https://a", tmp_path).new_file()
    draft_file.write(draft.to_saved_dict())
    draft_file.release()
    text = draft_file.path.read_text()
    assert not [secret for secret in secrets if secret in text]
    (left,) = DraftStore("https://a", tmp_path).list_saved()
    again = left.draft
    assert again.texts["name"] == "llama"
    assert again.rows["env"][2] == draft.rows["env"][2]
    assert again.rows["env"][4] == draft.rows["env"][4]
    _, found = again.validate()
    lost_fields = {
        one.field for one in found if "not saved in the draft: enter it again" in one.message
    }
    assert lost_fields == {
        *("command", "env.0.value", "env.1.value", "env.3"),
        *("transformer.env.0.value", "transformer.env.1.value"),
    }
    assert Draft.from_saved_dict(again.to_saved_dict()).to_saved_dict() == again.to_saved_dict()
    again.texts["command"] = "serve"
    again.rows["env"][0]["value"] = "/models"
    again.rows["env"][1]["value"] = "another"
    lost_fields = {one.field for one in again.validate()[1] if "not saved" in one.message}
    assert lost_fields == {"env.3", "transformer.env.0.value", "transformer.env.1.value"}


def test_where_the_form_was_left_is_kept(tmp_path: Path) -> None:
    draft = make_draft("llama")
    draft.step, draft.focused_field = 2, "settings.model"
    draft_file = DraftStore("https://a", tmp_path).new_file()
    draft_file.write(draft.to_saved_dict())
    draft_file.release()
    (left,) = DraftStore("https://a", tmp_path).list_saved()
    assert (left.draft.step, left.draft.focused_field) == (2, "settings.model")
    for odd in ({"step": 7}, {"step": "2"}, {"step": 2, "field": 3}):
        assert Draft.from_saved_dict(odd).step == 1


def test_old_drafts_are_dropped_unless_they_are_open(tmp_path: Path) -> None:
    store = DraftStore("https://a", tmp_path)
    now = 1e9
    draft_files = {}
    for name, age in (
        ("old", RETENTION_SECONDS + 1),
        ("open", RETENTION_SECONDS + 1),
        ("new", RETENTION_SECONDS - 1),
    ):
        draft_file = draft_files[name] = (
            store if name != "old" else DraftStore("https://b", tmp_path)
        ).new_file()
        draft_file.write(make_draft(name).to_saved_dict())
        if name != "open":
            draft_file.release()
        os.utime(draft_file.path, (now - age, now - age))
    assert store.delete_expired(now) == 1
    assert sorted(tmp_path.iterdir()) == sorted(draft_files[name].path for name in ("open", "new"))
    assert store.delete_expired(now) == 0
    assert DraftStore("https://a", tmp_path / "none").delete_expired(now) == 0


def test_an_entry_that_is_no_draft_hides_none_and_unfinished_ones_go(tmp_path: Path) -> None:
    store = DraftStore("https://a", tmp_path)
    draft_file = store.new_file()
    draft_file.write(make_draft("llama").to_saved_dict())
    draft_file.release()
    folder, unfinished = store.new_file().path, tmp_path / ".draft-1"
    folder.mkdir()
    (tmp_path / "a.json").symlink_to(tmp_path / "nowhere")
    unfinished.touch()
    for path in (folder, unfinished):
        os.utime(path, (0, 0))
    assert store.delete_expired(RETENTION_SECONDS + 1) == 0
    assert not unfinished.exists()
    assert [left.draft for left in store.list_saved()] == [make_draft("llama")]


def test_a_hanging_write_does_not_block_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.changes.draft_store.WRITE_LOCK_TIMEOUT", 0.05)
    draft_file = DraftStore("https://a", tmp_path).new_file()
    with draft_file._write_lock:
        with pytest.raises(TimeoutError):
            draft_file.write(make_draft("llama").to_saved_dict())
        draft_file.release()
    draft_file.write(make_draft("llama").to_saved_dict())
    assert draft_file.path.exists()
