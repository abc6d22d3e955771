"""What is written to the terminal is never waited for."""

import contextlib
import os
import threading
import tty
from pathlib import Path

import pytest

from tests.waiting import WAIT_SECONDS, wait_until_sync
from tui.internals.writer import FULL_BYTES, TerminalWriter


def record_callbacks() -> tuple[list[str], threading.Event, dict[str, object]]:
    events: list[str] = []
    change = threading.Event()

    def note(what: str) -> None:
        events.append(what)
        change.set()

    return events, change, {"on_lost": lambda: note("lost"), "on_drained": lambda: note("room")}


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_all_is_written_in_order_before_it_stops(pipe) -> None:
    reader, writer = pipe
    events, _, calls = record_callbacks()
    thread = TerminalWriter(writer, encoding="latin-1", **calls)
    thread.start()
    for number in range(1000):
        thread.write(f"{number} é 모 ")
    thread.stop()
    thread.write("too late")
    os.close(writer)
    expected = "".join(f"{number} é ? " for number in range(1000)).encode("latin-1")
    assert os.read(reader, 1 << 20) == expected
    assert not thread.is_alive() and events == []


def test_a_terminal_that_is_gone_is_reported_once_and_takes_whatever_is_written(pipe) -> None:
    reader, writer = pipe
    events, change, calls = record_callbacks()
    os.close(reader)
    thread = TerminalWriter(writer, **calls)
    thread.start()
    thread.write("x")
    assert change.wait(60)
    for _ in range(1000):
        thread.write("x" * FULL_BYTES)
    assert events == ["lost"] and not thread.is_full()
    thread.stop()


def test_a_terminal_that_takes_nothing_is_full_and_says_when_there_is_room(pipe) -> None:
    reader, writer = pipe
    events, change, calls = record_callbacks()
    thread = TerminalWriter(writer, **calls)
    thread.start()
    for _ in range(100):  # more than a pipe holds
        thread.write("x" * 4096)
    assert thread.is_full() and events == []
    left = 100 * 4096
    while left:
        left -= len(os.read(reader, left))
    assert change.wait(60) and events == ["room"]
    assert not thread.is_full()
    thread.stop()


def test_a_terminal_that_reads_nothing_is_abandoned_at_the_end(pipe) -> None:
    _, writer = pipe
    events, _, calls = record_callbacks()
    os.set_blocking(writer, False)  # as another program may have left it
    thread = TerminalWriter(writer, **calls)
    thread.start()
    thread.write("x" * FULL_BYTES * 4)
    thread.stop("the last")
    assert events == []


def test_an_abandoned_terminal_gets_no_more_than_the_call_that_hangs(pipe) -> None:
    reader, writer = pipe
    _, _, calls = record_callbacks()
    thread = TerminalWriter(writer, **calls)
    thread.start()
    thread.write("x" * FULL_BYTES * 4)
    thread.stop("the last")
    got = len(os.read(reader, FULL_BYTES))  # all that a pipe holds, so that the call that hung ends
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()
    os.close(writer)
    while data := os.read(reader, FULL_BYTES):
        assert b"the last" not in data
        got += len(data)
    assert got <= FULL_BYTES + 8192, "what the pipe held, and one call"


def test_a_slow_terminal_is_given_back_whatever_waited_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tui.internals.writer._FINAL_WRITE_SECONDS", WAIT_SECONDS)
    leader, terminal = os.openpty()
    tty.setraw(terminal)
    _, _, calls = record_callbacks()
    thread = TerminalWriter(terminal, **calls)
    thread.start()
    thread.write("x" * FULL_BYTES * 4)
    got = b""

    def read() -> None:
        nonlocal got
        wait_until_sync(lambda: thread._drop_pending, "the end of patience")
        with contextlib.suppress(OSError):  # which is how a terminal ends
            while data := os.read(leader, FULL_BYTES):
                got += data

    reads = threading.Thread(target=read)
    reads.start()
    thread.stop("\x1b[?1049l")
    assert not thread.is_alive()
    os.close(terminal)
    reads.join()
    os.close(leader)
    assert got.endswith(b"\x1b[?1049l") and len(got) < FULL_BYTES * 2


@pytest.fixture
def pseudo_terminal():
    leader, terminal = os.openpty()
    tty.setraw(terminal)
    yield leader, terminal
    for descriptor in (leader, terminal):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_what_a_terminal_takes_at_once_is_written_by_the_caller(pseudo_terminal) -> None:
    leader, terminal = pseudo_terminal
    _, _, calls = record_callbacks()
    thread = TerminalWriter(terminal, **calls)  # not started: it does not write
    thread.write("a frame")
    assert os.read(leader, 100) == b"a frame"
    assert os.get_blocking(terminal), "the shell has the same terminal"


def test_the_rest_of_a_frame_is_written_in_order(pseudo_terminal) -> None:
    leader, terminal = pseudo_terminal
    events, change, calls = record_callbacks()
    thread = TerminalWriter(terminal, **calls)
    thread.start()
    frames = [f"<{number}>" * 2000 for number in range(40)]  # each more than the system buffers
    for frame in frames:
        thread.write(frame)
    assert thread.is_full()
    expected = "".join(frames).encode()
    assert read_bytes(leader, len(expected)) == expected
    assert change.wait(WAIT_SECONDS) and events == ["room"]
    thread.write("later")
    thread.stop("the last")
    assert read_bytes(leader, 13) == b"laterthe last"


def test_a_terminal_that_is_gone_is_reported_also_after_a_direct_write(pseudo_terminal) -> None:
    leader, terminal = pseudo_terminal
    events, change, calls = record_callbacks()
    thread = TerminalWriter(terminal, **calls)
    thread.start()
    os.close(leader)
    thread.write("x")
    assert change.wait(WAIT_SECONDS) and events == ["lost"]
    thread.stop()


def test_the_terminal_is_not_left_open(pseudo_terminal) -> None:
    _, terminal = pseudo_terminal
    _, _, calls = record_callbacks()
    thread = TerminalWriter(terminal, **calls)
    assert count_descriptors(terminal) == 2
    thread.start()
    thread.stop()
    assert count_descriptors(terminal) == 1


def count_descriptors(terminal: int) -> int:
    """How often this process has the terminal open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(link.readlink()) == os.ttyname(terminal)
    return found


def read_bytes(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(descriptor, count - len(data))
    return data
