"""Each way to lose the terminal, or to be told to go, ends the program and all it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.tui.sessions import (
    PYTHON,
    ROOT,
    SERVEDECK,
    TerminalSession,
    app_command,
    assert_restored,
    command_line,
    is_running,
    shell_command,
)

OpenSession = Callable[..., TerminalSession]
IGNORE_HUP = "trap '' HUP; "
"""A session leader that the end of its terminal does not end, as make is."""


@pytest.fixture
def open_session() -> Iterator[OpenSession]:
    sessions: list[TerminalSession] = []

    def open_(
        argv: list[str], *args: object, sign: str = "11 servings", **more: object
    ) -> TerminalSession:
        sessions.append(TerminalSession(argv, *args, **more))  # type: ignore[arg-type]
        sessions[-1].wait_text(sign)
        sessions[-1].record_processes()
        return sessions[-1]

    yield open_
    for session in sessions:
        session.close()


@pytest.mark.parametrize(
    "number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM], ids=lambda n: n.name
)
def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(
    open_session: OpenSession, number: signal.Signals
) -> None:
    session = open_session(shell_command(f"{' '.join(app_command('fleet'))}; echo code $?"))
    modes = termios.tcgetattr(session.fd)
    assert not modes[3] & termios.ICANON
    session.find_process("fleet").send_signal(number)
    session.wait_until_gone()
    assert session.exit_code() == 0
    assert f"code {128 + number}".encode() in session.raw
    assert_restored(session.raw)
    assert termios.tcgetattr(session.fd)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert b"Traceback" not in session.raw


@pytest.mark.parametrize(
    ("argv", "size"),
    [
        (app_command("fleet"), (80, 24)),
        (shell_command(f"{IGNORE_HUP}{' '.join(app_command('fleet'))}; true"), (80, 24)),
        (shell_command(f"{IGNORE_HUP}{' '.join(app_command('changes'))}; true"), (0, 0)),
    ],
    ids=["alone", "below a leader that stays", "that has no size"],
)
def test_a_hangup_ends_it(
    open_session: OpenSession, argv: list[str], size: tuple[int, int]
) -> None:
    session = open_session(argv, size, sign="servings")
    session.hang_up()
    session.wait_until_gone()


def test_servedeck_exits_with_its_parent(open_session: OpenSession) -> None:
    session = open_session(
        shell_command(f"sh -c '{' '.join(app_command('fleet'))}; true'; exec sleep 600")
    )
    program = session.find_process("fleet")
    parent = program.parent()
    assert parent is not None
    parent.kill()
    session.wait(lambda: not is_running(program), "the end")
    session.wait(lambda: b"\x1b[?1049l" in session.raw, "the terminal to be restored")
    session.read(0.2)
    assert_restored(session.raw)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=lambda n: n.name)
def test_an_event_loop_that_hangs_keeps_no_signal_from_ending_it(
    open_session: OpenSession, number: signal.Signals
) -> None:
    session = open_session(app_command("blocked"), sign="blocked")
    if number == signal.SIGQUIT:
        session.press("\x1c")  # ctrl+\
    else:
        os.kill(session.pid, number)
    assert session.exit_code() == 128 + number
    assert_restored(session.raw)


def test_a_second_signal_ends_it_at_once(open_session: OpenSession) -> None:
    code = (
        "from tui.internals import watchdog; watchdog.FORCED_EXIT_SECONDS = 3600.0;"
        "from tests.tui import terminal_app; terminal_app.main('blocked')"
    )
    session = open_session([PYTHON, "-c", code], sign="blocked")
    for _ in range(2):
        os.kill(session.pid, signal.SIGTERM)
        session.read(0.2)
    os.kill(session.pid, signal.SIGINT)
    assert session.exit_code() == 128 + signal.SIGTERM, "the first says how"
    assert_restored(session.raw)


def test_a_terminal_that_takes_nothing_keeps_no_signal_from_ending_it(
    open_session: OpenSession,
) -> None:
    session = open_session(app_command("changes"), (200, 50), sign="511 servings")
    for _ in range(200):  # nobody reads what is drawn for these
        os.write(session.fd, b"\x1b[6~g")
    os.kill(session.pid, signal.SIGTERM)
    session.wait_until_gone(leave_unread=True)


# -- the demo -------------------------------------------------------------------------------------


def test_nothing_of_the_demo_is_left_when_its_terminal_goes(
    open_session: OpenSession, tmp_path: Path
) -> None:
    env = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    session = open_session([*SERVEDECK, "--demo"], (0, 0), env, sign="servings")
    assert any("servedeck.demo" in command_line(one) for one in session.processes)
    session.hang_up()
    session.wait_until_gone()
    assert not list(tmp_path.glob("servedeck-demo-*"))


def test_a_demo_leaves_no_file_in_the_home_directory(
    open_session: OpenSession, tmp_path: Path
) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    env = {"HOME": str(home), "TMPDIR": str(temporary)}
    env |= {f"XDG_{kind}_HOME": str(home / kind) for kind in ("CONFIG", "STATE", "CACHE", "DATA")}
    session = open_session([*SERVEDECK, "--demo"], (120, 40), env, sign="servings")
    session.wait(lambda: "llama-31-8b" in session.text, "the list")
    session.press("n")
    session.wait_text("Service Name")
    session.press("draft-of-the-demo")
    session.wait_text("draft-of-the-demo")
    session.press("\x11")  # ctrl+q: the form is saved as a draft
    session.wait_until_gone()
    assert session.exit_code() == 0
    left = [*home.rglob("*"), *temporary.rglob("*")]
    assert left == []


def test_nothing_of_make_demo_is_left_when_its_pane_or_all_of_tmux_is_killed(
    tmp_path: Path,
) -> None:
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("tmux is not installed")
    if not (ROOT / ".venv/.run").exists():
        pytest.skip("make demo would make .venv first, which takes the network")
    mark = str(uuid.uuid4())
    env = {name: value for name, value in os.environ.items() if not name.startswith("TMUX")}
    env |= {"TMUX_TMPDIR": str(tmp_path), "TMPDIR": str(tmp_path), "SERVEDECK_TEST": mark}

    def call(*words: str) -> str:
        argv = [tmux, "-L", "servedeck", *words]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        return done.stdout

    def marked() -> list[psutil.Process]:
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if one.environ().get("SERVEDECK_TEST") == mark and is_running(one):
                    found.append(one)
        return found

    def demos() -> list[psutil.Process]:
        return [one for one in marked() if "servedeck.demo" in command_line(one)]

    try:
        call("-f", os.devnull, "new-session", "-d", "-x", "80", "-y", "24", "-c", str(ROOT))
        call("set", "-g", "exit-empty", "off")
        for end in ("kill-pane", "kill-server"):
            name = f"demo-{end}"
            call("new-session", "-d", "-s", name, "-c", str(ROOT), "exec make demo")
            wait(lambda name=name: "servings" in call("capture-pane", "-p", "-t", name), "the list")
            for number in range(30):
                size = ("-x", str(20 + number * 7), "-y", str(60 - number))
                call("resize-window", "-t", name, *size)
            wait(lambda name=name: "? help" in call("capture-pane", "-p", "-t", name), "the sizes")
            call(end, *(["-t", name] if end == "kill-pane" else []))
            wait(lambda: not demos(), f"the end of the demo after {end}")
        wait(lambda: not marked(), "the end of all")
    finally:
        for one in marked():
            one.kill()


def wait(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"timed out waiting for {what}"
        time.sleep(0.05)
