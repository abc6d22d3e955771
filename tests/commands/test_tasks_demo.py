"""`servedeck tasks` as it is typed, on a demo cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck import cli
from servedeck.commands.tasks import read_body
from servedeck.commands.tasks_text import format_tokens
from servedeck.demo.process import spawn
from tests.async_queue.fake_queue import FakeQueue
from tests.waiting import WAIT_SECONDS

SERVING = "npu-lab/exaone-35-78b"
"""Of the demo, whose async queue is on."""


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


class Command:
    def __init__(self, kubeconfig: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._kubeconfig, self._capfd = kubeconfig, capfd

    def __call__(self, *words: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["tasks", *words, "--kubeconfig", str(self._kubeconfig)])
        except SystemExit as error:  # argparse
            code = int(str(error.code))
        written = self._capfd.readouterr()
        return code, written.out, written.err


@pytest.fixture
def command(
    kubeconfig: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Command(kubeconfig, capfd)


def test_a_request_from_its_submission_to_its_response(command: Command, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"messages": [{"role": "user", "content": "Hello"}]}')
    code, out, err = command(SERVING, "submit", "-d", f"@{body}", "--wait")
    assert code == 0, err
    assert json.loads(out)["object"] == "chat.completion"
    id = err.split()[-1]
    code, out, err = command(SERVING, "--state", "completed", "--no-headers")
    assert code == 0 and id in [line.split()[0] for line in out.splitlines()], err
    code, out, err = command(SERVING, "get", id, "--request")
    assert (code, out) == (0, body.read_text()), err
    code, out, err = command(SERVING, "get", id, "--response")
    assert code == 0 and json.loads(out)["object"] == "chat.completion"
    code, out, err = command(SERVING, "get", id, "-o", "json")
    assert (code, json.loads(out)["state"]) == (0, "completed"), err
    code, out, err = command(SERVING, "watch", id)
    assert code == 0 and out.split()[1:3] == [id, "completed"], err
    code, out, err = command(SERVING, "cancel", id, "-y")
    assert (code, out) == (1, "The task was not cancelled: it had completed before.\n"), err


def test_a_task_that_fails_is_retried(command: Command) -> None:
    code, out, err = command(SERVING, "submit", "-d", "no JSON", "-o", "json")
    assert code == 0, err
    id = json.loads(out)["id"]
    code, _, err = command(SERVING, "watch", id, "--timeout", "5m")
    assert code == 1, err
    code, out, err = command(SERVING, "retry", "--filter", f"id:{id}", "-y")
    assert (code, out) == (0, "1 task retried.\n"), err
    code, out, err = command(SERVING, "watch", id)
    assert code == 1 and out.splitlines()[-1].split()[2] == "failed", err
    code, out, err = command(SERVING, "list", "--filter", "error:400", "-o", "json")
    assert id in [one["id"] for one in json.loads(out)["items"]], err


def test_a_serving_without_a_queue(command: Command) -> None:
    code, out, err = command("chat/qwen3-32b-awq")
    assert code == 1 and "the async queue is off" in err and not out
    code, out, err = command(SERVING, "get", "unknown")
    assert (code, err) == (1, "servedeck: No task of this id is stored.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a/b/c",), "is not NAME or NAMESPACE/NAME"),
        ((SERVING, "--filter", "age:soon"), "--filter: age:soon is no age"),
        ((SERVING, "list", "--state", "done"), "invalid choice"),
        ((SERVING, "--limit", "-1"), "--limit is a number of tasks"),
        ((SERVING, "get", "a", "--request", "-o", "json"), "leave out -o"),
        ((SERVING, "get", "a", "--request", "--response"), "not allowed with"),
        ((SERVING, "watch", "--timeout", "soon"), "is not a duration"),
        ((SERVING, "cancel"), "Give ids of tasks, or --all, --state or --filter."),
        ((SERVING, "retry"), "Give ids of tasks, or --failed or --filter."),
        ((SERVING, "cancel", "a", "--all"), "not both"),
        ((SERVING, "cancel", "--state", "failed"), "invalid choice"),
        ((SERVING, "cancel", "--filter", "user:", "-y"), "user: has no text to match"),
        ((SERVING, "cancel", "--filter", "", "-y"), "--filter is empty"),
        ((SERVING, "retry", "--filter", " ", "-y"), "The filter is blank"),
        ((SERVING, "--filter", "status:503", "cancel", "--all", "-y"), "--filter before cancel"),
        ((SERVING, "--state", "pending", "cancel", "--all", "-y"), "--state before cancel"),
        ((SERVING, "-o", "json", "get", "a"), "--output before get"),
        ((SERVING, "--limit", "5", "watch"), "--limit before watch"),
        ((SERVING, "list", "--filter", "x" * 501), "may have 500 characters"),
        ((SERVING, "submit"), "required: -d"),
        ((SERVING, "submit", "-d", "x", "-H", "no header"), "is no header"),
        ((SERVING, "submit", "-d", "@/nonexistent"), "Cannot read /nonexistent"),
    ],
)
def test_wrong_usage_exits_with_2(command: Command, words: tuple[str, ...], message: str) -> None:
    code, out, err = command(*words)
    assert code == 2 and message in err and not out, err


def test_readonly_shows_and_changes_nothing(command: Command) -> None:
    for words in (("submit", "-d", "x"), ("cancel", "--all", "-y"), ("retry", "--failed", "-y")):
        code, _, err = command(SERVING, *words, "--readonly")
        assert code == 1 and "runs with --readonly" in err
    code, out, _ = command(SERVING, "cancel", "--all", "--dry-run", "--readonly")
    assert code == 0 and out.endswith("would be cancelled.\n")
    assert command(SERVING, "--readonly")[0] == 0


def test_without_a_terminal_it_needs_y(command: Command) -> None:
    code, out, err = command(SERVING, "submit", "-d", "no JSON")
    assert code == 0, err
    command(SERVING, "watch", out.strip())
    code, _, err = command(SERVING, "retry", "--failed")
    assert code == 1 and "add -y to retry them" in err


@pytest.mark.parametrize("closes", [False, True])
def test_a_watch_ends_with_ctrl_c_and_with_its_reader(
    command: Command, kubeconfig: Path, *, closes: bool
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "servedeck", "tasks", SERVING, "watch"],
        env=os.environ | {"KUBECONFIG": str(kubeconfig), "PYTHONUNBUFFERED": "1"},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    seen = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        process.stdout.readline()
        seen.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        # Tasks until it follows them: it does not say when it begins.
        while not seen.wait(0.2):
            assert command(SERVING, "submit", "-d", "no JSON")[0] == 0
        reader.join()
        if closes:
            process.stdout.close()
            while process.poll() is None:
                command(SERVING, "submit", "-d", "no JSON")
        else:
            process.send_signal(signal.SIGINT)
        code = process.wait(WAIT_SECONDS)
        assert (code, process.stderr.read()) == (141 if closes else 130, "")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        process.stdout.close()


@pytest.mark.parametrize(
    ("prompt", "completion", "text"),
    [(None, None, ""), (12, None, "12+?"), (None, 340, "?+340"), (0, 5, "0+5")],
)
def test_tokens_that_are_not_known_are_not_none(
    prompt: int | None, completion: int | None, text: str
) -> None:
    task = FakeQueue().submit(prompt_tokens=prompt, completion_tokens=completion)
    assert format_tokens(task) == text


def test_a_body_may_have_bytes_that_are_no_text() -> None:
    assert read_body(os.fsdecode(b"\xff\x00")) == b"\xff\x00"
