"""A terminal without a size, one that changes it all the time, and ones too small to show much."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Iterator

import pytest

from tests.tui.sessions import TerminalSession, app_command
from tui.internals.driver import DEFAULT_SIZE, MAX_SIZE, terminal_size


@pytest.mark.parametrize(
    ("size", "environ", "expected"),
    [
        ((0, 0), {}, DEFAULT_SIZE),
        ((120, 0), {}, (120, 24)),
        ((0, 40), {}, (80, 40)),
        ((0, 0), {"COLUMNS": "100", "LINES": "30"}, (100, 30)),
        ((120, 40), {"COLUMNS": "100", "LINES": "30"}, (120, 40)),
        ((0, 0), {"COLUMNS": "x", "LINES": "-1"}, DEFAULT_SIZE),
        ((0, 0), {"COLUMNS": "0", "LINES": "9" * 40}, DEFAULT_SIZE),
        ((65_535, 65_535), {}, MAX_SIZE),
        ((1, 1), {}, (1, 1)),
    ],
)
def test_each_dimension_is_the_terminals_else_the_environments_else_that_of_a_vt100(
    size: tuple[int, int], environ: dict[str, str], expected: tuple[int, int]
) -> None:
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        assert terminal_size((slave,), environ) == expected
    finally:
        os.close(master)
        os.close(slave)


def test_the_size_falls_back_to_the_next_descriptor() -> None:
    reader, writer = os.pipe()
    assert terminal_size((reader, writer), {}) == DEFAULT_SIZE
    os.close(reader)
    os.close(writer)


SCREENS = (
    *((" ", "esc close"), ("c", "Connect to"), ("l", "h since"), ("/", "enter apply")),
    *((":", "Commands"), ("N", "Namespace"), ("?", "Serving list")),
)
"""Keys of the list that escape closes again, and what is shown then."""


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[TerminalSession]:
    found = TerminalSession(app_command("fleet"), request.param)
    yield found
    found.close()


def resize(session: TerminalSession, columns: int, lines: int) -> None:
    """The terminal has another size, of which the kernel tells the program."""
    session.screen.resize(lines, columns)
    session.screen.reset()
    fcntl.ioctl(session.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def is_drawn(session: TerminalSession) -> bool:
    """Whether the list fills the terminal, and nothing lies over it."""
    session.read(0.02)
    return (
        "? help" in session.lines[-1]
        and "11 servings" in session.text
        and not any(sign in session.text for _, sign in SCREENS)
    )


@pytest.mark.parametrize("session", [(0, 0)], indirect=True)
def test_a_terminal_without_a_size_is_80_by_24_until_it_has_one(session: TerminalSession) -> None:
    session.wait(lambda: is_drawn(session), "the list")
    session.wait_until_idle()
    drawn = len(session.raw)
    session.press("j")
    session.wait(lambda: len(session.raw) > drawn, "the move")
    session.wait_until_idle()
    assert len(session.raw) - drawn < 4_000, "a move draws two rows"
    resize(session, 100, 30)
    session.wait(lambda: is_drawn(session), "the list at 100x30")
    resize(session, 0, 0)  # which says nothing
    resize(session, 60, 20)
    session.wait(lambda: is_drawn(session), "the list at 60x20")


@pytest.mark.parametrize("session", [(80, 24)], indirect=True)
def test_rapid_resizes_end_with_the_last_size(session: TerminalSession) -> None:
    session.wait(lambda: is_drawn(session), "the list")
    for number in range(2_000):
        size = struct.pack("HHHH", 10 + number % 50, 20 + number % 180, 0, 0)
        fcntl.ioctl(session.fd, termios.TIOCSWINSZ, size)
        if number % 20 == 0:
            session.press("j" if number % 40 else "k")
            session.read(0)
    resize(session, 100, 30)
    session.wait(lambda: is_drawn(session), "the list at 100x30")
    session.press("?")
    session.wait_text("Serving list")
    session.press("q")
    session.wait(lambda: is_drawn(session), "the list again")


@pytest.mark.parametrize("session", [(200, 50)], indirect=True)
def test_a_terminal_that_was_slow_shows_the_whole_last_frame(session: TerminalSession) -> None:
    session.wait(lambda: is_drawn(session), "the list")
    for _ in range(40):  # each is drawn, and nobody reads it: far more than is kept
        os.write(session.fd, b"?")
        os.write(session.fd, b"\x1b[6~\x1b[5~" * 8)  # letters alone would be taken for a paste
        os.write(session.fd, b"q")
    session.press("?")
    session.wait_until_idle()
    session.wait_until_idle()  # a picture that was left out is drawn once there was room
    assert "Serving list" in session.text
    shown = session.text
    session.press("\x0c")  # all of it is drawn again
    session.wait_until_idle()
    assert session.text == shown


@pytest.mark.parametrize("session", [(1, 1)], indirect=True)
def test_the_smallest_terminals_do_not_crash_the_app(session: TerminalSession) -> None:
    session.wait(lambda: b"\x1b[?1049h" in session.raw, "the start")
    for key, sign in SCREENS:
        resize(session, 80, 24)
        session.wait(lambda: is_drawn(session), "the list")
        session.press(key)
        session.wait_text(sign)
        for columns, lines in ((5, 2), (20, 10), (2, 200), (200, 1), (1, 1)):
            drawn = len(session.raw)
            resize(session, columns, lines)
            session.wait(lambda drawn=drawn: len(session.raw) > drawn, f"{columns}x{lines}")
        resize(session, 80, 24)
        session.wait_text(sign)
        session.press("\x1b")
        session.wait(lambda: is_drawn(session), "the list")
        resize(session, 1, 1)
    resize(session, 80, 24)
    session.wait(lambda: is_drawn(session), "the list")
    session.press("?")
    session.wait_text("Serving list")
    os.kill(session.pid, signal.SIGTERM)
    assert session.exit_code() == 128 + signal.SIGTERM
    assert b"Traceback" not in session.raw
