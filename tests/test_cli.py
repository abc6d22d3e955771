"""The command as a process: exit codes, standard output and standard error."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from servedeck import __version__, cli, cli_parser
from servedeck.commands.arguments import connection_options, load_settings
from tests.waiting import WAIT_SECONDS
from tui.command_line import run_dashboard


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "LC_ALL": "C",
    }

    def run(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "servedeck", *args],
            capture_output=True,
            text=True,
            env=env | variables,
            timeout=WAIT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


RunCommand = Callable[..., subprocess.CompletedProcess[str]]


def write_kubeconfig(folder: Path, server: str) -> Path:
    file = folder / "kubeconfig"
    file.write_text(
        f"""
        apiVersion: v1
        kind: Config
        current-context: main
        contexts: [{{name: main, context: {{cluster: c, user: u}}}}]
        clusters: [{{name: c, cluster: {{server: {server}}}}}]
        users: [{{name: u, user: {{token: t}}}}]
        """
    )
    return file


def test_version(run: RunCommand) -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"servedeck {__version__}\n")


@pytest.mark.parametrize(
    "args",
    [
        ("get", "pods"),
        ("get", "servings", "-o", "yaml"),
        ("get",),
        ("get", "servings", "-l", "a b"),
        ("get", "servings", "-A", "llama"),
        ("export", "llama", "-A"),
        ("apply", "-A", "-f", "/dev/null"),
        ("-A", "apply", "-f", "/dev/null"),
        ("--nonsense",),
        ("demo",),
        ("demo", "serve", "--speed", "0"),
        ("demo", "serve", "--speed", "nan"),
        ("demo", "serve", "--port", "99999"),
        ("demo", "serve", "--state", "/nowhere/at/all.json"),
        ("get", "servings", "--log-file", "/nowhere/log"),
        ("get", "servings", "--log-file", "~no-such-user/log"),
    ],
)
def test_usage_errors_exit_with_2(run: RunCommand, args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr and result.stderr


@pytest.mark.parametrize("args", [("get", "servings"), ("get", "servings", "--watch")])
def test_no_kubeconfig_is_a_one_line_error(run: RunCommand, args: tuple[str, ...]) -> None:
    result = run(*args)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("servedeck: There is no kubeconfig (looked for ")
    assert result.stderr.count("\n") == 1


def test_a_path_of_an_unknown_user_is_one_that_is_not_there(run: RunCommand) -> None:
    for flags in (("--kubeconfig", "~no-such-user/config"), ()):
        result = run("get", "servings", *flags, KUBECONFIG="~no-such-user/config")
        assert result.returncode == 1
        assert "There is no kubeconfig" in result.stderr and "~no-such-user" in result.stderr


def test_no_home_directory_is_a_one_line_error(run: RunCommand) -> None:
    result = run("get", "servings", HOME="relative")
    assert result.returncode == 2
    assert result.stderr.endswith("names a home directory; set HOME.\n")


def test_an_unreachable_server_is_a_one_line_error(run: RunCommand, tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path, "https://127.0.0.1:1")
    for flags in (("--kubeconfig", str(file), "get", "servings"), ("get", "servings")):
        result = run(*flags, KUBECONFIG=str(file))
        assert (result.returncode, result.stdout) == (1, "")
        assert "127.0.0.1:1" in result.stderr and result.stderr.count("\n") == 1


def test_the_screen_needs_a_terminal(run: RunCommand) -> None:
    result = run()
    assert result.returncode == 1
    assert "needs a terminal; use `servedeck get servings` instead" in result.stderr
    result = run("create")
    assert result.returncode == 1
    assert "needs a terminal; use `servedeck apply` instead" in result.stderr


@pytest.mark.parametrize("args", [("export", "llama"), ("apply", "-f", "/dev/null")])
def test_one_serving_is_not_meant_in_all_namespaces(run: RunCommand, args: tuple[str, ...]) -> None:
    result = run(*args, "-A")
    assert (result.returncode, result.stdout) == (2, "")
    assert "in all namespaces; give its namespace with -n" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_wrong_settings_file_exits_with_2(run: RunCommand, tmp_path: Path) -> None:
    folder = tmp_path / "config" / "servedeck"
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text("theem = 1")
    result = run("get", "servings")
    assert result.returncode == 2
    assert "settings.toml: unknown setting theem; did you mean theme?" in result.stderr


def test_flags_may_stand_before_and_after_the_command() -> None:
    parse = cli_parser.build_parser().parse_args
    for argv in (["--context", "c", "get", "servings"], ["get", "servings", "--context", "c"]):
        args = parse(argv)
        assert (args.context, args.namespace, args.demo) == ("c", None, False or None)


@pytest.mark.parametrize(
    ("flags", "environ", "namespace", "everything"),
    [
        ([], {}, None, False),
        (["-n", "a"], {}, "a", False),
        (["-A"], {}, None, True),
        (["-n", "a", "-A"], {}, None, True),
        ([], {"SERVEDECK_NAMESPACE": "e"}, "e", False),
        (["-A"], {"SERVEDECK_NAMESPACE": "e"}, None, True),
        (["-n", "a"], {"SERVEDECK_ALL_NAMESPACES": "1"}, "a", False),
    ],
)
def test_which_namespace_is_asked_for(
    flags: list[str],
    environ: dict[str, str],
    namespace: str | None,
    everything: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    args = cli_parser.build_parser().parse_args(["get", "servings", *flags])
    with connection_options(args, load_settings(args)) as target:
        assert (target.namespace, target.all_namespaces) == (namespace, everything)


def test_a_closed_pipe_is_no_error(run: RunCommand) -> None:
    script = f"{sys.executable} -m servedeck get servings --demo -o json | head -c 1; "
    result = subprocess.run(
        ["bash", "-c", script + 'echo " ${PIPESTATUS[0]}"'],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=True,
    )
    assert result.stderr == ""
    assert result.stdout.split()[0] == "{"
    assert result.stdout.split()[1] in ("0", str(cli.BROKEN_PIPE))


CLOSED = "servedeck: Cannot write to standard output: it is closed.\n"
FULL = "servedeck: Cannot write to standard output: No space left on device.\n"


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("get servings --demo >&-", 1, CLOSED),
        ("get servings --demo >/dev/full", 1, FULL),
        ("logs chat/llama-31-8b --demo >/dev/full", 1, FULL),
        ("--help >&-", 1, CLOSED),
        ("get --help >/dev/full", 1, FULL),
        ("get servings --demo >/dev/null 2>&-", 0, ""),
        ("get pods 2>&-", 2, ""),
        ("apply -f /nonexistent.yaml 2>/dev/full", 1, ""),
        (
            "apply -f - --demo <&-",
            1,
            "servedeck: standard input: The text contains no serving; start it with "
            "apiVersion: servedeck.dev/v1.\n",
        ),
    ],
)
def test_a_stream_that_is_closed_or_full_is_said(
    command: str, code: int, error: str, tmp_path: Path
) -> None:
    if "/dev/full" in command and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    result = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m servedeck {command}"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C"},
        timeout=WAIT_SECONDS,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (code, error)


def test_what_was_typed_is_shown_without_escapes(run: RunCommand) -> None:
    result = run("get", "servings", "--bog\x1b[31mus", "\x1b]0;title\x07")
    assert result.returncode == 2
    assert "\x1b" not in result.stderr and "\x07" not in result.stderr
    assert "unrecognized arguments: --bogus" in result.stderr


@pytest.mark.parametrize("flags", [("--context", "p\x1b[31mx\x07"), ()])
def test_a_context_is_shown_without_escapes(
    run: RunCommand, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """A context that is not there, and one of the kubeconfig whose cluster is not there."""
    name = "q\\u001b]0;title\\u0007"
    config = tmp_path / "kubeconfig"
    config.write_text(
        "apiVersion: v1\nkind: Config\n"
        f'current-context: "{name}"\n'
        f'contexts: [{{name: "{name}", context: {{cluster: "c\\u001b[2J", user: u}}}}]\n'
    )
    result = run("get", "servings", "--kubeconfig", str(config), *flags)
    assert result.returncode == 1
    assert "\x1b" not in result.stderr and "\x07" not in result.stderr
    assert ("p" if flags else "q") in result.stderr


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="core files are off here already"
)
def test_a_crash_leaves_no_core_file() -> None:
    code = (
        "import resource, sys; from servedeck import cli;"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1];"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard));"
        "cli.main(['get', 'servings', '--kubeconfig', '/nowhere']);"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, hard), 'core files'"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_broken_pipe_has_the_exit_code_of_the_signal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(_: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("tui.command_line.run_dashboard", broken)
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert cli.main([]) == cli.BROKEN_PIPE


def test_ctrl_c_ends_a_watch_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "servedeck", "get", "servings", "--demo", "-w", "--no-headers"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_SECONDS) == cli.INTERRUPTED
        assert process.stderr.read() == ""


def test_the_demo_is_printed_like_any_cluster(run: RunCommand) -> None:
    result = run("get", "servings", "--demo", "-o", "wide")
    assert result.returncode == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert header.startswith("NAMESPACE") and len(rows) > 5


@pytest.mark.parametrize(
    "words",
    [
        ["get", "servings", "-n", "search", "bge-m3", "-o", "json"],
        ["get", "servings", "bge-m3", "-n", "search", "-o", "json"],
        ["get", "-n", "search", "servings", "bge-m3", "-o", "json"],
    ],
)
def test_names_stand_before_and_after_flags(words: list[str]) -> None:
    args = cli._parse_arguments(words)
    assert (args.names, args.namespace, args.output) == (["bge-m3"], "search", "json")


def test_what_is_no_flag_is_rejected_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["get", "servings", "a", "--nonsense"], ["export", "a", "b"]):
        with pytest.raises(SystemExit) as ended:
            cli._parse_arguments(words)
        assert ended.value.code == 2
        assert "unrecognized arguments" in capsys.readouterr().err


def test_drafts_of_a_demo_are_stored_with_its_files_and_others_in_the_users_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_kubeconfig(tmp_path, "https://127.0.0.1:1")
    draft_dirs: list[Path | None] = []

    def run(*_: object, drafts_dir: Path | None, **__: object) -> int:
        draft_dirs.append(drafts_dir)
        return 0

    monkeypatch.setattr("tui.start.run", run)
    monkeypatch.setattr("servedeck.demo.process.spawn", lambda **_: contextlib.nullcontext(file))
    monkeypatch.setattr("servedeck.terminal.unsupported_reason", lambda: "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    try:
        for words in (["--demo"], ["--kubeconfig", str(file)]):
            assert run_dashboard(cli._parse_arguments(words)) == 0
    finally:
        gc.enable()  # the app disables it until its first frame
    assert draft_dirs == [tmp_path / "drafts", None]


def test_help_can_be_printed_where_the_terminal_has_few_characters(run: RunCommand) -> None:
    result = run("top", "--help", PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert "What is not known is ?" in text
    assert text.endswith("2 wrong usage, 130 after ctrl+c.")


def test_what_a_credential_plugin_asks_a_person_is_written_without_control_sequences(
    tmp_path: Path,
) -> None:
    asked = tmp_path / "asked"
    plugin = tmp_path / "plugin"
    plugin.write_text(
        "#!/bin/sh\nprintf '\\033]0;x\\007open https://example.com/device and enter ABCD\\n' >&2\n"
        f"while ! test -e {asked}; do sleep 0.1; done; echo denied >&2; exit 1\n"
    )
    plugin.chmod(0o755)
    api_version = "client.authentication.k8s.io/v1"
    file = write_kubeconfig(tmp_path, "https://127.0.0.1:9")
    file.write_text(
        file.read_text().replace(
            "user: {token: t}", f"user: {{exec: {{apiVersion: {api_version}, command: {plugin}}}}}"
        )
    )
    with subprocess.Popen(
        [sys.executable, "-m", "servedeck", "get", "servings", "--kubeconfig", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == (
            "servedeck: The credential plugin 'plugin' is running and says: open "
            "https://example.com/device and enter ABCD\n"
        )
        asked.touch()
        output, errors = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, output) == (1, "")
    assert "denied" in errors


@pytest.mark.parametrize("namespace", ["..", "%2e%2e", "x?limit=1", "a\x1b[31mb", "A", "a" * 64])
def test_a_namespace_that_cannot_exist_is_wrong_usage(run: RunCommand, namespace: str) -> None:
    done = run("get", "servings", "-n", namespace, "--kubeconfig", "none")
    assert done.returncode == 2
    assert "is not the name of a namespace" in done.stderr
    assert "\x1b" not in done.stderr and done.stderr.count("\n") == 1


def test_a_named_pipe_without_a_writer_is_said_and_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "servings"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [sys.executable, "-m", "servedeck", "apply", "-f", str(pipe)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == (
            f"servedeck: Nothing was written to the pipe {pipe} yet; waiting for it.\n"
        )
        pipe.write_text("kind: Nonsense\n")
        assert "apiVersion: This must be servedeck.dev/v1" in process.stderr.read()
        assert process.wait(WAIT_SECONDS) == 1
