"""What is written to the terminal is written in the background, and never waited for."""

import contextlib
import os
import threading

import pytest

from tui.internals.writer import FULL, Writer


def noted() -> tuple[list[str], threading.Event, dict[str, object]]:
    told: list[str] = []
    change = threading.Event()

    def note(what: str) -> None:
        told.append(what)
        change.set()

    return told, change, {"lost": lambda: note("lost"), "room": lambda: note("room")}


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_all_is_written_in_order_before_it_stops(pipe) -> None:
    reader, writer = pipe
    told, _, calls = noted()
    thread = Writer(writer, encoding="latin-1", **calls)
    thread.start()
    for number in range(1000):
        thread.write(f"{number} é 모 ")
    thread.stop()
    thread.write("too late")
    os.close(writer)
    expected = "".join(f"{number} é ? " for number in range(1000)).encode("latin-1")
    assert os.read(reader, 1 << 20) == expected
    assert not thread.is_alive() and told == []


def test_a_terminal_that_is_gone_is_said_once_and_takes_whatever_is_written(pipe) -> None:
    reader, writer = pipe
    told, change, calls = noted()
    os.close(reader)
    thread = Writer(writer, **calls)
    thread.start()
    thread.write("x")
    assert change.wait(60)
    for _ in range(1000):
        thread.write("x" * FULL)
    assert told == ["lost"] and not thread.full()
    thread.stop()


def test_a_terminal_that_takes_nothing_is_full_and_says_when_there_is_room(pipe) -> None:
    reader, writer = pipe
    told, change, calls = noted()
    thread = Writer(writer, **calls)
    thread.start()
    for _ in range(100):  # more than a pipe holds
        thread.write("x" * 4096)
    assert thread.full() and told == []
    left = 100 * 4096
    while left:
        left -= len(os.read(reader, left))
    assert change.wait(60) and told == ["room"]
    assert not thread.full()
    thread.stop()


def test_a_terminal_that_takes_nothing_is_given_up_at_the_end(pipe) -> None:
    _, writer = pipe
    told, _, calls = noted()
    os.set_blocking(writer, False)  # as another program may have left it
    thread = Writer(writer, **calls)
    thread.start()
    thread.write("x" * FULL * 4)
    thread.stop()
    assert told == []
