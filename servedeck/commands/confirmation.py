"""Asking before a change that restarts or ends Pods."""

from __future__ import annotations

import asyncio
import sys
from typing import TextIO

from servedeck.commands.errors import CommandError


async def confirm(question: str, effect: str, *, assume_yes: bool) -> bool:
    """Whether the operator agrees, asked on the terminal: "Restart its Pods? [y/N]". Without a
    terminal raises CommandError with `effect`, "This restarts the Pods of chat/llama"."""
    if assume_yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise CommandError(f"{effect}; confirm it with -y, or run the command in a terminal.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = await _read_line(sys.stdin)
    return answer.strip().lower() in ("y", "yes")


async def _read_line(stream: TextIO) -> str:
    """The next line of a terminal; "" at its end. ctrl+c interrupts it, which it does not while
    `readline` blocks the event loop."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(stream.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(stream.fileno())
    return stream.readline()
