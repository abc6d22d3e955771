"""`servedeck bundle` as used in a shell, on a demo cluster."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck import cli
from servedeck.bundle.archive import ArchiveWriter
from servedeck.bundle.bundle import BundleResult
from servedeck.bundle.options import BundleOptions
from servedeck.bundle.reader import Problem
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.commands import bundle
from servedeck.commands.bundle import cancel_on_signals, run_bundle
from servedeck.commands.errors import CommandError
from servedeck.config import Settings
from servedeck.demo.process import spawn
from servedeck.fleet.session import ClusterSession
from tests.bundle.archive_files import read_archive
from tests.waiting import WAIT_SECONDS, with_timeout


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


def run_servedeck(kubeconfig: Path, directory: Path, *args: str) -> tuple[int, bytes, str]:
    """Exit code, standard output and standard error."""
    result = subprocess.run(
        [sys.executable, "-m", "servedeck", "bundle", "--kubeconfig", str(kubeconfig), *args],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    return result.returncode, result.stdout, result.stderr.decode()


def test_the_archive_is_in_the_current_directory_and_its_name_is_printed(
    kubeconfig: Path, tmp_path: Path
) -> None:
    code, out, err = run_servedeck(kubeconfig, tmp_path, "search/qwen3-embedding-8b")
    assert code == 0, err
    (path,) = tmp_path.iterdir()
    assert out.decode() == f"{path.name}\n"
    assert path.name.startswith("search-qwen3-embedding-8b-")
    assert path.name.endswith("Z.tar.gz")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "index.html" in read_archive(path)
    estimate, *_ = err.splitlines()
    assert estimate == (
        "servedeck: Bundle of search/qwen3-embedding-8b: 1 Pod, 2 logs; at most 100Mi before"
        " compression and 2m."
    )
    assert "Reading" not in err  # standard error is no terminal
    assert "\x1b" not in err


def test_the_archive_is_written_to_a_file_a_directory_or_standard_output(
    kubeconfig: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "tickets"
    directory.mkdir()
    name = ("llama-31-8b", "-n", "chat", "--tail", "10")
    file = tmp_path / "\N{ROCKET}.tar.gz"
    assert run_servedeck(kubeconfig, tmp_path, *name, "-o", str(file))[0] == 0
    assert "index.html" in read_archive(file)
    assert run_servedeck(kubeconfig, tmp_path, *name, "-o", str(directory))[0] == 0
    (inside,) = directory.iterdir()
    assert inside.name.startswith("chat-llama-31-8b-")
    code, out, _ = run_servedeck(kubeconfig, tmp_path, *name, "-o", "-")
    assert code == 0
    assert "index.html" in read_archive(io.BytesIO(out))


def test_an_existing_file_is_kept_unless_forced(kubeconfig: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    file.write_text("old")
    name = ("chat/llama-31-8b", "--tail=10", "-o", str(file))
    code, out, err = run_servedeck(kubeconfig, tmp_path, *name)
    assert (code, out) == (1, b"")
    assert err == (
        f"servedeck: {file} exists already; name another file with -o, or overwrite it with"
        " --force.\n"
    )
    assert file.read_text() == "old"
    assert run_servedeck(kubeconfig, tmp_path, *name, "--force")[0] == 0
    assert "index.html" in read_archive(file)


def test_an_unknown_name_fails_with_one_sentence_and_without_a_file(
    kubeconfig: Path, tmp_path: Path
) -> None:
    code, out, err = run_servedeck(kubeconfig, tmp_path, "chat/nope")
    assert (code, out) == (1, b"")
    assert err == "servedeck: There is no serving nope in namespace chat.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--max-size", "10"], 2, "--max-size 10 is too small; give at least 1Mi."),
        (["--max-size", "x"], 2, "--max-size: 'x' is not a quantity: enter a number such as"),
        (["--timeout", "soon"], 2, "--timeout: 'soon' is not a duration: enter one such as 90s"),
        (["--since", "-1h"], 2, "--since: '-1h' is not a duration"),
        (["--tail", "0"], 2, "--tail must be at least 1, or -1 for all."),
        (["--tail", "many"], 2, "--tail: 'many' is not a quantity"),
        (["-o", "/no/such/dir/a.tar.gz"], 1, "there is no directory /no/such/dir"),
    ],
)
def test_wrong_usage_is_one_sentence(
    args: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bundle", "chat/llama", *(f"{args[0]}={args[1]}",)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "lines", "size"),
    [("100", 100, None), ("2Mi", None, 2 << 20), ("-1", None, None)],
)
def test_the_end_of_each_log_is_given_in_lines_or_bytes(
    text: str, lines: int | None, size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[BundleOptions] = []

    def fail(*_: object, **__: object) -> None:
        raise CommandError("stop")

    parse = bundle.parse_options
    monkeypatch.setattr(bundle, "parse_options", lambda args: found.append(parse(args)))
    monkeypatch.setattr(bundle, "check_output", fail)
    assert cli.main(["bundle", "a", f"--tail={text}", "--since=90m", "--timeout=5m"]) == 1
    assert found == [BundleOptions(tail_lines=lines, tail_bytes=size, since=5400, timeout=300)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make_session(kubeconfig: Path) -> ClusterSession:
    target = ConnectionOptions(kubeconfig=(kubeconfig,), all_namespaces=True)
    return ClusterSession(target, Settings(), tune_gc=False)


async def test_progress_is_one_line_of_a_terminal(kubeconfig: Path, tmp_path: Path) -> None:
    out, err = io.StringIO(), Terminal()
    command = run_bundle(
        make_session(kubeconfig),
        "gemma-3-12b",
        BundleOptions(),
        output=str(tmp_path),
        out=out,
        err=err,
    )
    assert await with_timeout(command) == 0
    text = err.getvalue()
    before, *steps = text.split("\r\x1b[K")
    assert before.count("\n") == 1
    assert "Reading logs 1/2" in steps
    assert not any("\n" in step for step in steps[:-1])
    assert steps[-1].startswith("servedeck: ")


class CancelingTerminal(Terminal):
    """Cancels a task when a text is written."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self.task: asyncio.Task[int] | None = None

    def write(self, text: str) -> int:
        if self._text in text and self.task is not None:
            self.task.cancel()
        return super().write(text)


@pytest.mark.parametrize("step", ["Reading objects", "Reading logs 2/2"])
async def test_ctrl_c_leaves_no_file(kubeconfig: Path, tmp_path: Path, step: str) -> None:
    err = CancelingTerminal(step)
    command = run_bundle(
        make_session(kubeconfig),
        "gemma-3-12b",
        BundleOptions(),
        output=str(tmp_path),
        out=io.StringIO(),
        err=err,
    )
    err.task = asyncio.create_task(command)
    with pytest.raises(asyncio.CancelledError):
        await with_timeout(err.task)
    assert list(tmp_path.iterdir()) == []
    assert err.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_end_cancels(number: signal.Signals) -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    before = signal.signal(number, signal.SIG_DFL)  # nohup has it ignored
    try:
        with cancel_on_signals(task) as received:
            os.kill(os.getpid(), number)
            with pytest.raises(asyncio.CancelledError):
                await with_timeout(task)
    finally:
        signal.signal(number, before)
    assert received == [number]


async def test_a_bundle_without_the_api_server_is_kept_and_fails(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = tuple(Problem(f"Pod {number}", "Connection refused.") for number in range(7))

    async def lose(*_: object, **__: object) -> BundleResult:
        return BundleResult((), problems, 0, "Connection refused.")

    monkeypatch.setattr(bundle, "save_bundle", lose)
    out, err = io.StringIO(), io.StringIO()
    path = tmp_path / "a.tar.gz"
    command = run_bundle(
        make_session(kubeconfig),
        "gemma-3-12b",
        BundleOptions(),
        output=str(path),
        out=out,
        err=err,
    )
    assert await with_timeout(command) == 1
    assert out.getvalue() == f"{path}\n"
    assert err.getvalue().splitlines()[1:] == [
        "servedeck: 0 files, 0 B unpacked; 0 values redacted.",
        *(f"servedeck: missing: Pod {number}: Connection refused." for number in range(5)),
        "servedeck: 2 more missing parts; errors.txt has all.",
        "servedeck: The API server was lost; the bundle has what was read until then.",
    ]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES])
async def test_what_cannot_be_written_is_one_sentence(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(ArchiveWriter, "add", fail)
    path = tmp_path / "a.tar.gz"
    command = run_bundle(
        make_session(kubeconfig),
        "gemma-3-12b",
        BundleOptions(),
        output=str(path),
        out=io.StringIO(),
        err=io.StringIO(),
    )
    with pytest.raises(CommandError) as caught:
        await with_timeout(command)
    assert str(caught.value) == (
        f"Cannot write {path}: {os.strerror(error)}; name another file with -o."
    )
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["~nouser123/x.tgz", "x" * 300, f"{'x' * 300}/y.tgz"])
def test_a_file_that_cannot_be_written_is_one_sentence(output: str) -> None:
    with pytest.raises(CommandError, match=r"^Cannot write .*; name another file with -o.$"):
        bundle.check_output(output, overwrite=False)


def test_a_number_of_lines_beyond_any_log_is_one_sentence() -> None:
    with pytest.raises(CommandError, match=r"^--tail is too large a number; give -1 for all.$"):
        bundle._parse_tail("9" * 5000)
