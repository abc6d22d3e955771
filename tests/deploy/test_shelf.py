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

from servedeck.deploy.draft import VARIABLE, Draft
from servedeck.deploy.shelf import Shelf
from tests.waiting import LIMIT


def typed(name: str) -> Draft:
    draft = Draft("vllm", "team-a")
    draft.texts |= {"name": name, "cpu": "lots"}
    draft.rows["env"] = [{**VARIABLE, "name": "HF_TOKEN", "value": "hf_secret"}]
    return draft


def test_what_was_typed_survives_on_disk_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    draft, folder = typed("llama"), tmp_path / "drafts"
    shelf = Shelf("https://a", folder)
    assert shelf.left() == []
    slot = shelf.slot()
    slot.write(draft.dump())
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
        slot.write(typed(name).dump())
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
        "from servedeck.deploy.draft import Draft; from servedeck.deploy.shelf import Shelf;"
        f"Shelf('https://a', Path({str(tmp_path)!r})).slot().write(Draft('vllm', 'p').dump());"
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

    monkeypatch.setattr("servedeck.deploy.shelf.json.dump", slow)
    slot = Shelf("https://a", tmp_path).slot()
    first = threading.Thread(target=slot.write, args=(typed("old").dump(),))
    second = threading.Thread(target=slot.write, args=(typed("new").dump(),))
    first.start()
    assert begun.wait(LIMIT)
    lock, asks = slot._turn, threading.Event()

    class Noted:
        """The lock that the slot has, and word of whoever asks for it."""

        def __enter__(self) -> None:
            asks.set()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
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


def test_the_latest_draft_comes_first(tmp_path: Path) -> None:
    shelf = Shelf("https://a", tmp_path)
    for at, name in enumerate(("old", "new", "middle")):
        slot = shelf.slot()
        slot.write(typed(name).dump())
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
    slot.write(typed("llama").dump())
    full = os.open("/dev/full", os.O_WRONLY)
    partial = tmp_path / ".draft-partial"
    partial.touch()
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkstemp", lambda **_: (full, str(partial)))
        with pytest.raises(OSError, match="No space left"):
            slot.write(typed("llama-2").dump())
    assert list(tmp_path.iterdir()) == [slot.path]
    slot.release()
    assert [left.draft for left in shelf.left()] == [typed("llama")]
