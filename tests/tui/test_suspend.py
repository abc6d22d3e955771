"""ctrl+z goes to the shell on every screen, and fg brings back the whole picture."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import termios

import pytest

from tests.tui.sessions import TerminalSession, app_command, assert_restored, command_line

LIST_TEXT = "11 servings"
FORM_TEXT = "Service Name"
SCREENS = (
    *(
        ("", LIST_TEXT),
        (" ", "esc close"),
        ("\x1b", LIST_TEXT),
        ("c", "Connect to"),
        ("\x1b", LIST_TEXT),
    ),
    *(("l", "h since"), ("q", LIST_TEXT), ("/", "enter apply"), ("\x1b", LIST_TEXT)),
    *((":", "Commands"), ("\x1b", LIST_TEXT), ("\x0b", "Context"), ("\x1b", LIST_TEXT)),
    *(("N", "Namespace"), ("\x1b", LIST_TEXT), ("?", "Serving list"), ("q", LIST_TEXT)),
    *(("n", FORM_TEXT), ("xyzzy", "xyzzy"), ("\x1b", "Close the form"), ("d", LIST_TEXT)),
)
"""Keys, and what the screen shows then: list, status, overlays, log, inputs, lists, help,
question."""


@pytest.fixture
def bash():
    """A shell that knows jobs, in a terminal."""
    path = shutil.which("bash")
    if path is None:
        pytest.skip("bash is not installed")
    session = TerminalSession(
        [path, "--norc", "--noprofile", "--noediting", "-i"], env={"PS1": "prompt> "}
    )
    session.wait_text("prompt>")
    yield session
    session.close()


def visible_lines(session: TerminalSession) -> list[str]:
    """All lines but that of the messages, which a key empties."""
    lines = session.lines
    return [*lines[:-2], lines[-1]]


def is_shown(session: TerminalSession, sign: str, last: str) -> bool:
    """Whether the screen with the sign is in front; the list lies behind some others."""
    return sign in session.text and (sign != LIST_TEXT or last not in session.text)


def test_every_screen_is_suspended_and_comes_back_whole(bash: TerminalSession) -> None:
    bash.press(shlex.join(app_command("form")) + "\n")
    bash.wait_text("11 servings")
    seen, last = 0, "prompt>"
    for key, sign in SCREENS:
        bash.press(key)
        bash.wait(lambda sign=sign, last=last: is_shown(bash, sign, last), sign)
        last = sign
        if key and sign in (
            LIST_TEXT,
            FORM_TEXT,
            "xyzzy",
        ):  # shown before; a field of a form may have another use
            continue
        bash.wait_until_idle()
        before = visible_lines(bash)
        seen = len(bash.raw)
        bash.press("\x1a")
        bash.wait(lambda seen=seen: b"prompt>" in bash.raw[seen:], f"the shell over {sign!r}")
        assert b"Stopped" in bash.raw[seen:]
        assert_restored(bash.raw)
        assert termios.tcgetattr(bash.fd)[3] & (termios.ICANON | termios.ECHO)
        bash.press("clear; fg\n")
        bash.wait(lambda before=before: visible_lines(bash) == before, f"the picture of {sign!r}")
        for mode in (b"1049", b"1003", b"1006", b"2004", b"1004"):
            assert b"\x1b[?" + mode + b"h" in bash.raw[seen:], mode
    bash.press("q")
    bash.wait(lambda: bash.raw.endswith(b"prompt> "), "the end")
    assert_restored(bash.raw)


def test_what_no_shell_started_is_not_suspended_and_says_so() -> None:
    session = TerminalSession(app_command("form"))
    try:
        session.wait_text("11 servings")
        session.press("\x1a")
        session.wait_text("cannot be suspended")
        os.kill(session.pid, signal.SIGTSTP)  # the kernel would not stop it either
        session.press("?")
        session.wait_text("Serving list")
    finally:
        session.close()


def is_sleeping(shell: TerminalSession) -> bool:
    """Whether the shell runs sleep, so that it has done with what stands before it."""
    shell.record_processes()
    return any("sleep" in command_line(one) for one in shell.processes)


def test_continued_in_the_background_it_stops_again(bash: TerminalSession) -> None:
    bash.press(shlex.join(app_command("fleet")) + "\n")
    bash.wait_text("11 servings")
    for stop in ("\x1a", ""):
        seen = len(bash.raw)
        if stop:
            bash.press(stop)
        else:
            bash.record_processes()
            bash.find_process("fleet").suspend()
        bash.wait(lambda seen=seen: b"Stopped" in bash.raw[seen:], "the shell")
        for _ in range(2):
            seen = len(bash.raw)
            bash.press("bg; sleep 600\n")  # which the news of a stop does not end
            bash.wait(lambda: is_sleeping(bash), "the shell's next command")
            bash.wait(lambda: bash.find_process("fleet").status() == "stopped", "its stop")
            bash.find_process("sleep").kill()
            bash.wait(lambda seen=seen: bash.raw[seen:].endswith(b"prompt> "), "the shell again")
            assert b"servings" not in bash.raw[seen:], "it has drawn in the background"
        bash.press("clear; fg\n")
        bash.wait_text("11 servings")
        bash.press("?")
        bash.wait_text("Serving list")
        bash.press("q")
        bash.wait(lambda: LIST_TEXT in bash.text and "Serving list" not in bash.text, LIST_TEXT)
    bash.press("q")
    bash.wait(lambda: bash.raw.endswith(b"prompt> "), "the end")
