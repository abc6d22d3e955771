"""Questions on a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from servedeck.commands.prompt import TerminalPrompt
from tests.waiting import WAIT_SECONDS


@contextmanager
def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The operator's side of a terminal that is standard input and standard error. Not a fixture:
    pytest sets both again before a test."""
    leader, follower = pty.openpty()
    os.set_blocking(leader, False)
    with os.fdopen(os.dup(follower)) as reader, os.fdopen(follower, "w") as writer:
        monkeypatch.setattr(sys, "stdin", reader)
        monkeypatch.setattr(sys, "stderr", writer)
        yield leader
    os.close(leader)


async def read_until(terminal: int, text: bytes) -> None:
    shown = b""
    while text not in shown:
        try:
            shown += os.read(terminal, 4096)
        except BlockingIOError:
            await asyncio.sleep(0.01)


async def test_what_was_typed_before_a_question_does_not_answer_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_terminal(monkeypatch) as terminal:
        os.write(terminal, b"y\ny")
        assert select.select([sys.stdin], [], [], WAIT_SECONDS)[0], "it did not arrive"
        async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
            answer = group.create_task(TerminalPrompt().ask("Delete it? [y/N]"))
            await read_until(terminal, b"[y/N] ")
            os.write(terminal, b"no\n")
        assert answer.result() == "no"
