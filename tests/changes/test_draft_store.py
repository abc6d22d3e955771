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

from servedeck.changes.draft import VARIABLE, Draft
from servedeck.changes.draft_store import KEPT_FOR, Shelf
from tests.waiting import LIMIT


def typed(name: str) -> Draft:
    draft = Draft("vllm", "team-a")
    draft.texts |= {"name": name, "cpu": "lots"}
    draft.rows["env"] = [{**VARIABLE, "name": "LOG_LEVEL", "value": "all"}]
    return draft


def test_what_was_typed_survives_on_disk_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    draft, folder = typed("llama"), tmp_path / "drafts"
    shelf = Shelf("https://a", folder)
    assert shelf.left() == []
    slot = shelf.slot()
    slot.write(draft.saved())
    slot.release()
    (left,) = Shelf("https://a", folder).left()
    assert left.draft == draft
    assert Shelf("https://b", folder).left() == []
    assert stat.S_IMODE(slot.path.stat().st_mode) == 0o600
    assert left.slot.take() == draft
    left.slot.clear()
    assert list(folder.iterdir()) == []


def test_the_draft_of_an_open_form_is_neither_offered_nor_taken(tmp_path: Path) -> None:
    shelf = Shelf("https://a", tmp_path)
    slot = shelf.slot()
    for name in ("llama", "llama-2"):  # the second file takes the place of the first
        slot.write(typed(name).saved())
        assert shelf.left() == []
    slot.release()
    (left,) = shelf.left()
    (same,) = shelf.left()
    assert left.slot.take() == typed("llama-2")
    assert same.slot.take() is None
    left.slot.clear()
    assert same.slot.take() is None


def test_what_a_killed_process_leaves_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path;"
        "from servedeck.changes.draft import Draft;"
        "from servedeck.changes.draft_store import Shelf;"
        f"Shelf('https://a', Path({str(tmp_path)!r})).slot().write(Draft('vllm', 'p').saved());"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=LIMIT)
    (left,) = Shelf("https://a", tmp_path).left()
    assert left.draft == Draft("vllm", "p")


def test_a_slow_write_never_overtakes_what_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    dump = json.dump

    def slow(saved: object, file: TextIO) -> None:
        if threading.current_thread() is first:
            begun.set()
            goes_on.wait(LIMIT)
        dump(saved, file)

    monkeypatch.setattr("servedeck.changes.draft_store.json.dump", slow)
    monkeypatch.setattr("servedeck.changes.draft_store.TURN", LIMIT)
    slot = Shelf("https://a", tmp_path).slot()
    first = threading.Thread(target=slot.write, args=(typed("old").saved(),))
    second = threading.Thread(target=slot.write, args=(typed("new").saved(),))
    first.start()
    assert begun.wait(LIMIT)
    lock, asks = slot._turn, threading.Event()

    class Noted:
        """The lock that the slot has, and word of whoever asks for it."""

        def acquire(self, timeout: float) -> bool:
            asks.set()
            return lock.acquire()

        def release(self) -> None:
            lock.release()

    monkeypatch.setattr(slot, "_turn", Noted())
    second.start()
    assert asks.wait(LIMIT)
    assert slot.path.exists() is False, "nothing is written while another writes"
    goes_on.set()
    first.join()
    second.join()
    slot.release()
    assert [left.draft for left in Shelf("https://a", tmp_path).left()] == [typed("new")]


def test_a_write_that_begins_late_gives_way_to_what_was_asked_for_since(tmp_path: Path) -> None:
    shelf = Shelf("https://a", tmp_path)
    slot = shelf.slot()
    late = slot.writer(typed("old").saved())
    slot.write(typed("new").saved())
    assert late() is False
    late = slot.writer(typed("old").saved())
    slot.release()
    assert late() is False
    assert [left.draft for left in shelf.left()] == [typed("new")], "it is there, and free"
    assert slot.take() == typed("new")
    late = slot.writer(typed("old").saved())
    slot.clear()
    assert late() is False
    assert list(tmp_path.iterdir()) == []
    assert slot.writer(typed("again").saved())() is True
    slot.release()
    assert [left.draft for left in shelf.left()] == [typed("again")]


def test_the_latest_draft_comes_first(tmp_path: Path) -> None:
    shelf = Shelf("https://a", tmp_path)
    for at, name in enumerate(("old", "new", "middle")):
        slot = shelf.slot()
        slot.write(typed(name).saved())
        slot.release()
        os.utime(slot.path, (0, {"old": 1, "middle": 2, "new": 3}[name]))
        assert len(shelf.left()) == at + 1
    assert [left.draft.texts["name"] for left in shelf.left()] == ["new", "middle", "old"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"texts": 3, "rows": []}', '{"texts": {"cpu": 5}, "rows": {"env": [1]}}'],
)
def test_a_damaged_file_never_keeps_the_form_from_opening(tmp_path: Path, text: str) -> None:
    shelf = Shelf("https://a", tmp_path)
    shelf.slot().path.write_text(text)
    for left in shelf.left():
        assert left.draft.texts["cpu"] == "0.5"


def test_a_disk_that_is_full_keeps_the_last_draft_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf("https://a", tmp_path)
    slot = shelf.slot()
    slot.write(typed("llama").saved())
    full = os.open("/dev/full", os.O_WRONLY)
    partial = tmp_path / ".draft-partial"
    partial.touch()
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkstemp", lambda **_: (full, str(partial)))
        with pytest.raises(OSError, match="No space left"):
            slot.write(typed("llama-2").saved())
    assert list(tmp_path.iterdir()) == [slot.path]
    slot.release()
    assert [left.draft for left in shelf.left()] == [typed("llama")]


def test_what_looks_secret_is_not_in_the_file_and_is_asked_for_again(tmp_path: Path) -> None:
    secrets = ["hf_abcdefghijklmnop", "s3cr3t", "sk-0123456789abcdefgh", "p4ssw0rd", "tok3n"]
    draft = Draft("vllm", "team-a")
    draft.texts |= {"name": "llama", "command": f"serve --api-key {secrets[1]} --port 8000"}
    draft.rows["env"] = [
        {**VARIABLE, "name": "HF_HOME", "value": secrets[0]},
        {**VARIABLE, "name": "API_KEY", "value": secrets[1]},
        {**VARIABLE, "name": "MAX_TOKENS", "value": "4096"},
        {**VARIABLE, "source": "line", "value": f"MY PASSWORD={secrets[3]}", "ref": "4"},
        {**VARIABLE, "name": "TOKEN", "source": "secret", "ref": "hub", "key": "token"},
    ]
    draft.rows["transformer.env"] = [
        {**VARIABLE, "name": "ARGS", "value": f"--key={secrets[2]}"},
        {**VARIABLE, "name": "AUTH_TOKEN", "value": secrets[4]},
    ]
    slot = Shelf("https://a", tmp_path).slot()
    slot.write(draft.saved())
    slot.release()
    text = slot.path.read_text()
    assert not [secret for secret in secrets if secret in text]
    (left,) = Shelf("https://a", tmp_path).left()
    again = left.draft
    assert again.texts["name"] == "llama"
    assert again.rows["env"][2] == draft.rows["env"][2]
    assert again.rows["env"][4] == draft.rows["env"][4]
    _, found = again.check()
    told = {one.field for one in found if "not kept in the draft: enter it again" in one.message}
    assert told == {
        *("command", "env.0.value", "env.1.value", "env.3"),
        *("transformer.env.0.value", "transformer.env.1.value"),
    }
    assert Draft.load(again.saved()).saved() == again.saved()
    again.texts["command"] = "serve"
    again.rows["env"][0]["value"] = "/models"
    again.rows["env"][1]["value"] = "another"
    told = {one.field for one in again.check()[1] if "not kept" in one.message}
    assert told == {"env.3", "transformer.env.0.value", "transformer.env.1.value"}


def test_where_the_form_was_left_is_kept(tmp_path: Path) -> None:
    draft = typed("llama")
    draft.step, draft.field = 2, "settings.model"
    slot = Shelf("https://a", tmp_path).slot()
    slot.write(draft.saved())
    slot.release()
    (left,) = Shelf("https://a", tmp_path).left()
    assert (left.draft.step, left.draft.field) == (2, "settings.model")
    for odd in ({"step": 7}, {"step": "2"}, {"step": 2, "field": 3}):
        assert Draft.load(odd).step == 1


def test_old_drafts_are_dropped_unless_they_are_open(tmp_path: Path) -> None:
    shelf = Shelf("https://a", tmp_path)
    now = 1e9
    slots = {}
    for name, age in (("old", KEPT_FOR + 1), ("open", KEPT_FOR + 1), ("new", KEPT_FOR - 1)):
        slot = slots[name] = (shelf if name != "old" else Shelf("https://b", tmp_path)).slot()
        slot.write(typed(name).saved())
        if name != "open":
            slot.release()
        os.utime(slot.path, (now - age, now - age))
    assert shelf.drop_old(now) == 1
    assert sorted(tmp_path.iterdir()) == sorted(slots[name].path for name in ("open", "new"))
    assert shelf.drop_old(now) == 0
    assert Shelf("https://a", tmp_path / "none").drop_old(now) == 0


def test_an_entry_that_is_no_draft_hides_none_and_unfinished_ones_go(tmp_path: Path) -> None:
    shelf = Shelf("https://a", tmp_path)
    slot = shelf.slot()
    slot.write(typed("llama").saved())
    slot.release()
    folder, unfinished = shelf.slot().path, tmp_path / ".draft-1"
    folder.mkdir()
    (tmp_path / "a.json").symlink_to(tmp_path / "nowhere")
    unfinished.touch()
    for path in (folder, unfinished):
        os.utime(path, (0, 0))
    assert shelf.drop_old(KEPT_FOR + 1) == 0
    assert not unfinished.exists()
    assert [left.draft for left in shelf.left()] == [typed("llama")]


def test_a_write_that_never_ends_keeps_no_other_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.changes.draft_store.TURN", 0.05)
    slot = Shelf("https://a", tmp_path).slot()
    with slot._turn:
        with pytest.raises(TimeoutError):
            slot.write(typed("llama").saved())
        slot.release()
    slot.write(typed("llama").saved())
    assert slot.path.exists()
