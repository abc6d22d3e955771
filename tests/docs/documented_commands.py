"""The shell commands of the documentation, and a bash that runs them as a reader would: from top to
bottom of a page in one terminal, those that run until ctrl+c in another."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.tui.terminal import PtyTerminal
from tests.waiting import WAIT_SECONDS

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
COMMAND_SECONDS = 10 * WAIT_SECONDS

_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(^|\s)#.*")
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'")
_END = re.compile(rb"__ended (\d+)\r?\n")
_QUESTION = b"[y/N] "
_SCREEN = b"\x1b[?1049h"
"""What a program writes that takes the whole screen."""
_PRESSED_AGAIN_SECONDS = 20.0
_CTRL_C, _CTRL_Q = "\x03", "\x11"


@dataclass(frozen=True)
class Command:
    """A command of a page; `text` may have several lines."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def read_commands(page: Path) -> Iterator[Command]:
    """The commands of its fenced blocks of the language `sh`, in their order."""
    text = page.read_text()
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start()) + 2
        indent = len(block[1])
        lines = [line[indent:] for line in block[2].splitlines()]
        for offset, command in _split(lines):
            yield Command(page.name, first + offset, command)


def _split(lines: list[str]) -> Iterator[tuple[int, str]]:
    at = 0
    while at < len(lines):
        start, end = at, at + 1
        if found := _HERE_DOCUMENT.search(lines[at]):
            end = lines.index(found[1], at) + 1
        else:
            while lines[end - 1].endswith("\\") and end < len(lines):
                end += 1
        at = end
        command = _COMMENT.sub("", "\n".join(lines[start:end])).strip()
        if command:
            yield start, command


class Shell:
    """A bash in a terminal, in which questions are answered with yes."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        more = {"PROMPT_COMMAND": 'echo "__ended $?"', "PS1": "", "PS2": ""}
        argv = ["/bin/bash", "--noprofile", "--norc", "-i"]
        self._terminal = PtyTerminal(argv, (200, 50), {**environment, **more})
        self._at = 0
        self._wait_for_end()
        self.run(f"set +H -o pipefail; cd {folder}")

    def run(self, command: str) -> tuple[int, str]:
        """The exit status, and what it wrote. A program that takes the whole screen is left with
        ctrl+q as soon as it has drawn something."""
        self._terminal.press(f"{command}\n")
        return self._wait_for_end()

    def start(self, command: str) -> None:
        """Run it until `interrupt`; returns when it has written a line: before, ctrl+c would only
        delete a part of the line that bash reads, or end Python while it starts."""
        self._terminal.press(f"echo __be''gins; {command}\n")
        self._terminal.wait(
            lambda: self._written.partition(b"__begins\r\n")[2].count(b"\n") > 0,
            f"a line of {command}",
        )

    def interrupt(self) -> tuple[int, str]:
        """Press ctrl+c; the exit status, and all that it wrote. It is pressed again after a while:
        bash takes one that comes before the program has the terminal."""
        pressed = 0.0

        def press() -> None:
            nonlocal pressed
            if time.monotonic() - pressed > _PRESSED_AGAIN_SECONDS:
                pressed = time.monotonic()
                self._terminal.press(_CTRL_C)

        return self._wait_for_end(press)

    def close(self) -> None:
        self._terminal.close()

    @property
    def _written(self) -> bytes:
        return self._terminal.raw[self._at :]

    def _wait_for_end(self, meanwhile: Callable[[], None] = lambda: None) -> tuple[int, str]:
        answered = left = 0

        def has_ended() -> bool:
            nonlocal answered, left
            meanwhile()
            written = self._written
            if (questions := written.count(_QUESTION)) > answered:
                answered = questions
                self._terminal.press("y\n")
            if (screens := written.count(_SCREEN)) > left and self._terminal.text.strip():
                left = screens
                self._terminal.press(_CTRL_Q)
            return _END.search(written) is not None

        self._terminal.wait(has_ended, "the end of the command", COMMAND_SECONDS)
        found = _END.search(self._written)
        assert found is not None
        text = self._written[: found.start()].decode(errors="replace")
        self._at += found.end()
        return int(found[1]), text
