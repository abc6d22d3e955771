"""docs/tasks.md: its commands work as they are written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck.async_queue.tasks import Task, TaskState
from servedeck.commands.tasks_text import task_json
from servedeck.demo.process import spawn
from tests.waiting import WAIT_SECONDS

PAGE = (Path(__file__).parents[2] / "docs/tasks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


def test_the_commands_of_the_page(kubeconfig: Path, tmp_path: Path) -> None:
    """One shell runs all blocks, as a reader does."""
    (tmp_path / "servedeck").write_text(f'#!/bin/sh\nexec {sys.executable} -m servedeck "$@"\n')
    (tmp_path / "servedeck").chmod(0o755)
    marked = [f"{block}echo; echo ---- >&2; echo ----\n" for block in BLOCKS]
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": str(tmp_path),
        "KUBECONFIG": str(kubeconfig),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(marked)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    submitted, failed, listed, changed, _ = done.stdout.split("----\n")
    assert json.loads(submitted)["object"] == "chat.completion"
    assert failed.splitlines()[-2:] == ["It has not completed.", ""]
    [id] = {one.split()[1] for one in failed.splitlines() if one.startswith("20")}
    assert "completed" in listed and f"{id}: failed (refused)" in listed
    retried, planned, *_ = changed.splitlines()
    assert retried == "The task was retried." and planned.endswith("would be retried.")
    assert not [one for one in done.stderr.splitlines() if "Traceback" in one], done.stderr


def test_the_fields_of_the_json_are_those_of_the_page() -> None:
    task = Task(
        id="a",
        state=TaskState.PENDING,
        attempt=0,
        max_attempts=3,
        urgency=3,
        created=0.0,
        deadline=1.0,
    )
    [example] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)
    assert list(json.loads(example)) == list(task_json(task, 0.0))
