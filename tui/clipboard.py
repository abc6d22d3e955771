"""Copying to the clipboard of whoever looks at the terminal, over SSH and inside tmux and screen.

OSC 52 asks the terminal itself, so it works where the program runs elsewhere. A terminal may
ignore it and says nothing, so whoever copies must also show the text.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping

LIMIT = 74_994
"""Encoded bytes that terminals take at most (xterm's limit, which others keep)."""

_SCREEN_CHUNK = 76
"""Bytes of one device control string that GNU screen passes on are few; it takes several."""


class CopyError(Exception):
    """The text cannot be copied; str() is one sentence that says why and what to do."""


def osc52(text: str, environ: Mapping[str, str]) -> str:
    """The sequence that puts `text` on the terminal's clipboard, wrapped for tmux and screen.

    Raises CopyError where the text is too long for a terminal.
    """
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    if len(encoded) > LIMIT:
        raise CopyError(
            f"The text is too long to copy: {len(encoded):,} bytes, and terminals take {LIMIT:,}."
        )
    sequence = f"\x1b]52;c;{encoded}\x07"
    if environ.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("TERM", "").startswith("screen"):
        chunks = [
            sequence[at : at + _SCREEN_CHUNK] for at in range(0, len(sequence), _SCREEN_CHUNK)
        ]
        return "".join(f"\x1bP{chunk}\x1b\\" for chunk in chunks)
    return sequence


async def copy(
    text: str, write: Callable[[str], None], environ: Mapping[str, str] | None = None
) -> str:
    """Copy `text`; returns how, in a few words ("through tmux", "by the terminal").

    `write` writes to the terminal. Raises CopyError.
    """
    environ = os.environ if environ is None else environ
    sequence = osc52(text, environ)
    tmux = shutil.which("tmux") if environ.get("TMUX") else None
    if tmux and await _load_buffer(tmux, text):
        return "through tmux"
    write(sequence)
    return "by the terminal"


async def _load_buffer(tmux: str, text: str) -> bool:
    """Hand the text to tmux, which tells its own terminal; False where this tmux cannot."""
    try:
        process = await asyncio.create_subprocess_exec(
            tmux,
            "load-buffer",
            "-w",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(2):
            await process.communicate(text.encode("utf-8", "replace"))
    except (OSError, TimeoutError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return False
    return process.returncode == 0
