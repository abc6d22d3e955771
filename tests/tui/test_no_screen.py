"""Where the screen cannot be shown, one sentence says so and names the way without it."""

from __future__ import annotations

import curses
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from servedeck.terminal import supports_cursor_addressing
from tests.tui.sessions import SERVEDECK, TerminalSession, shell_command
from tui.start import DashboardStartError, validate_environment

ALTERNATIVE = "se `servedeck get servings` instead."


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Of a cluster that is not there."""
    server = {"server": "https://127.0.0.1:9"}
    config = {
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    return path


def error_output(
    kubeconfig: Path, redirections: str = "", env: Mapping[str, str] | None = None
) -> str:
    """What the command prints, which is to end with exit code 1."""
    script = f"{shlex.join(SERVEDECK)} {redirections}; echo code=$? >/dev/tty"
    session = TerminalSession(
        shell_command(script), env={"KUBECONFIG": str(kubeconfig)} | dict(env or {})
    )
    try:
        assert session.exit_code() == 0
        text = session.raw.decode().replace("\r\n", "\n")
    finally:
        session.close()
    assert text.endswith("code=1\n"), text
    assert "Traceback" not in text
    return text.removesuffix("code=1\n")


@pytest.mark.parametrize(
    ("redirections", "env", "reason"),
    [
        ("", {"TERM": "dumb"}, "A terminal of type 'dumb' (TERM) cannot draw the screen"),
        ("", {"TEXTUAL_DRIVER": "nope"}, "cannot start with TEXTUAL_DRIVER='nope'; unset it"),
        ("<&-", {}, "The screen needs a terminal"),
        (">&-", {}, "The screen needs a terminal"),
        ("</dev/null", {}, "The screen needs a terminal"),
        (">/dev/full", {}, "The screen needs a terminal"),
    ],
)
def test_one_line_names_the_command_that_needs_no_screen(
    kubeconfig: Path, redirections: str, env: dict[str, str], reason: str
) -> None:
    text = error_output(kubeconfig, redirections, env)
    assert reason in text and ALTERNATIVE in text
    assert re.fullmatch(r"servedeck: .*\n", text)


def test_without_standard_streams_it_exits_silently(kubeconfig: Path) -> None:
    assert error_output(kubeconfig, "<&- >&- 2>&-") == ""


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/null"])
def test_the_screen_needs_no_standard_error(kubeconfig: Path, redirection: str) -> None:
    session = TerminalSession(
        shell_command(f"{shlex.join(SERVEDECK)} {redirection}"), env={"KUBECONFIG": str(kubeconfig)}
    )
    try:
        session.wait_text("? help")
        session.press("q")
        assert session.exit_code() == 0
    finally:
        session.close()


def test_only_what_is_known_not_to_understand_ansi_is_rejected() -> None:
    assert all(
        map(supports_cursor_addressing, ("", "unknown", "foo", "../../etc", "x" * 5000, "a\0b"))
    )
    assert not supports_cursor_addressing("dumb")
    assert not supports_cursor_addressing("DUMB")
    try:
        curses.setupterm("vt100", 1)
    except curses.error:
        pytest.skip("this system has no terminfo database")
    for name in ("vt100", "linux", "xterm", "xterm-256color", "screen", "tmux-256color"):
        assert supports_cursor_addressing(name), name


@pytest.mark.parametrize(
    "environ",
    [
        {"TEXTUAL_DRIVER": ""},
        {"TEXTUAL_DRIVER": "os:path"},
        {"TEXTUAL_DRIVER": "antigravity_that_is_not_there:X"},
        {"TEXTUAL_COLOR_SYSTEM": "nope"},
        {"TEXTUAL_COLOR_SYSTEM": ""},
        {"TEXTUAL_LOG": "/nowhere/at/all"},
    ],
)
def test_a_variable_that_textual_cannot_take_is_named(environ: dict[str, str]) -> None:
    ((name, value),) = environ.items()
    with pytest.raises(DashboardStartError, match=re.escape(f"{name}={value!r}")):
        validate_environment(environ)


def test_variables_that_textual_can_take_are_left_to_it(tmp_path: Path) -> None:
    validate_environment({})
    validate_environment(
        {
            "TEXTUAL_DRIVER": "textual.drivers.linux_driver:LinuxDriver",
            "TEXTUAL_COLOR_SYSTEM": "256",
            "TEXTUAL_LOG": str(tmp_path / "log"),
            "TEXTUAL_THEME": "nope",
            "TEXTUAL_FPS": "x",
        }
    )
