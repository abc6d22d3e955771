"""`servedeck logs` as used in a shell, on a demo cluster."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck import cli
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.commands.logs import LinePrinter, LogOptions, print_logs
from servedeck.demo.cluster import DemoCluster
from servedeck.demo.process import spawn
from servedeck.fleet.session import ClusterSession
from servedeck.logs.levels import Level
from servedeck.logs.lines import NOTICE_SOURCE, LineBatch, LogSource, ns_to_stamp
from servedeck.logs.query import LineQuery
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout

READY = "chat/llama-31-8b"
CRASHED = "search/qwen3-embedding-8b"


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


def run_servedeck(kubeconfig: Path, *args: str) -> tuple[int, list[str], str]:
    """Exit code, lines of standard output, and standard error."""
    result = subprocess.run(
        [sys.executable, "-m", "servedeck", "logs", "--kubeconfig", str(kubeconfig), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    return result.returncode, result.stdout.decode().splitlines(), result.stderr.decode()


def test_the_last_lines_of_each_pod(kubeconfig: Path) -> None:
    code, lines, err = run_servedeck(kubeconfig, READY, "--tail", "5")
    assert (code, err) == (0, "")
    pods = [line.partition(" ")[0] for line in lines]
    assert len(lines) == 15 and len(set(pods)) == 3
    assert all(name.startswith("llama-31-8b-") for name in pods)


def test_one_pod_as_json(kubeconfig: Path) -> None:
    _, lines, _ = run_servedeck(kubeconfig, READY, "--tail", "1")
    pod = lines[0].partition(" ")[0]
    code, lines, _ = run_servedeck(kubeconfig, READY, "--pod", pod, "--tail", "3", "-o", "json")
    records = [json.loads(line) for line in lines]
    assert code == 0 and len(records) == 3
    assert {record["pod"] for record in records} == {pod}
    assert {record["container"] for record in records} == {"inference-server"}
    assert sorted(record["time"] for record in records) == [record["time"] for record in records]


def test_the_log_of_a_crashed_container_and_how_it_ended(kubeconfig: Path) -> None:
    code, lines, err = run_servedeck(kubeconfig, CRASHED, "--all")
    assert code == 0
    assert any("Loading safetensors checkpoint shards" in line for line in lines)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((READY, "--grep", "(a"), 2, "--grep: The regular expression is not valid"),
        ((READY, "--since", "soon"), 2, "--since: "),
        ((READY, "--tail", "-1"), 2, "--tail"),
        ((READY, "--tail", "9" * 5000), 2, f"'{'9' * 40}' is not a number of lines"),
        ((READY, "--pod", "nothing"), 1, "has no Pod nothing; it has llama-31-8b-"),
        ((READY, "-c", "nothing"), 1, "has no container nothing; it has inference-server"),
        (("chat/nothing",), 1, "nothing"),
        (("agents/gpt-oss-20b",), 1, "gpt-oss-20b: "),
        (("npu-lab/llama-31-8b",), 1, "has no log yet: CreateContainerConfigError"),
    ],
)
def test_what_cannot_be_printed_is_said(
    kubeconfig: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    exit_code, lines, err = run_servedeck(kubeconfig, *arguments)
    assert (exit_code, lines) == (code, [])
    assert words in err and "Traceback" not in err


def test_a_closed_pipe_ends_it(kubeconfig: Path) -> None:
    command = [sys.executable, "-m", "servedeck", "logs", "-f", READY]
    command += ["--kubeconfig", str(kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(WAIT_SECONDS) == cli.BROKEN_PIPE
        assert b"Traceback" not in process.stderr.read()


async def test_it_follows_until_it_is_stopped() -> None:
    stop, out, err = asyncio.Event(), io.StringIO(), io.StringIO()
    async with DemoCluster(live=False) as demo:
        session = ClusterSession(
            ConnectionOptions(kubeconfig=(demo.kubeconfig,), context="demo", namespace="chat")
        )
        running = asyncio.create_task(
            print_logs(session, "llama-31-8b", LogOptions(follow=True), stop=stop, out=out, err=err)
        )
        await wait_until(lambda: out.getvalue() or running.done(), "a line")
        assert not running.done()
        stop.set()
        assert await with_timeout(running) == 0


# -- which lines ------------------------------------------------------------------------------

LINES = [
    "INFO 11-29 01:02:03 [core.py:1] started",
    "ERROR 11-29 01:02:04 [core.py:2] it broke",
    "Traceback (most recent call last):",
    '  File "core.py", line 1, in run',
    "ValueError: no engine",
    "INFO 11-29 01:02:05 [core.py:3] timeout after 12 ms",
]


def printed(options: LogOptions, *, notices: int = 0) -> tuple[list[str], str]:
    out, err = io.StringIO(), io.StringIO()
    sources = [LogSource(NOTICE_SOURCE, "", "", ""), LogSource(1, "chat", "pod-a", "server")]
    printer = LinePrinter(options, lambda: sources, out, err)
    numbers = [NOTICE_SOURCE] * notices + [1] * (len(LINES) - notices)
    printer.print(
        LineBatch([ns_to_stamp(0)] * len(LINES), [line.encode() for line in LINES], numbers)
    )
    return out.getvalue().splitlines(), err.getvalue()


ONE_POD = frozenset(("pod-a",))


def test_all_lines_of_one_pod_as_they_are() -> None:
    assert printed(LogOptions(pods=ONE_POD))[0] == LINES
    assert printed(LogOptions())[0] == [f"pod-a {line}" for line in LINES]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (LogOptions(follow=True), ("pod-a", "pod-b")),
        (LogOptions(all_containers=True), ("pod-a/server", "pod-b/server")),
    ],
)
def test_names_before_lines_do_not_depend_on_the_pods_that_there_are(
    options: LogOptions, names: tuple[str, str]
) -> None:
    out = io.StringIO()
    sources = [LogSource(NOTICE_SOURCE, "", "", "")]
    printer = LinePrinter(options, lambda: sources, out, io.StringIO())
    for number, pod in enumerate(("pod-a", "pod-b"), start=1):  # the second joins later
        sources.append(LogSource(number, "chat", pod, "server"))
        printer.print(LineBatch([ns_to_stamp(0)], [b"a line"], [number]))
    assert out.getvalue().splitlines() == [f"{name} a line" for name in names]


def test_a_level_and_what_continues_its_lines() -> None:
    assert printed(LogOptions(pods=ONE_POD, level=Level.ERROR))[0] == LINES[1:5]


def test_a_match() -> None:
    options = LogOptions(pods=ONE_POD, query=LineQuery.parse(r"after \d+ ms"))
    assert printed(options)[0] == LINES[5:]


def test_a_match_within_a_traceback_prints_the_whole_record() -> None:
    options = LogOptions(pods=ONE_POD, query=LineQuery.parse("no engine"), level=Level.ERROR)
    assert printed(options)[0] == LINES[1:5]
    options = LogOptions(pods=ONE_POD, query=LineQuery.parse("started"), level=Level.ERROR)
    assert printed(options)[0] == []


def test_what_happens_is_on_standard_error() -> None:
    out, err = printed(LogOptions(pods=ONE_POD), notices=1)
    assert out == LINES[1:]
    assert err == f"servedeck: {LINES[0]}\n"
