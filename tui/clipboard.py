"""Copies to the clipboard of the operator's terminal, over SSH and inside tmux and screen.

OSC 52 is handled by the terminal itself, so it works on a remote host. A terminal may ignore it
without an error, so the caller must also show the text.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping

MAX_ENCODED_BYTES = 74_994
"""Maximum number of encoded bytes that terminals accept (xterm's limit, which others share)."""

_SCREEN_CHUNK_BYTES = 76
"""GNU screen passes on only short device control strings, so several are sent."""


class CopyError(Exception):
    """The text cannot be copied; str() is one sentence with the reason and what to do."""


def osc52(text: str, environ: Mapping[str, str]) -> str:
    """The sequence that puts `text` on the terminal's clipboard, wrapped for tmux and screen.

    Raises CopyError if the text is too long for a terminal.
    """
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    if len(encoded) > MAX_ENCODED_BYTES:
        raise CopyError(
            f"The text is too long to copy: {len(encoded):,} bytes, "
            f"and terminals take {MAX_ENCODED_BYTES:,}."
        )
    sequence = f"\x1b]52;c;{encoded}\x07"
    if environ.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("TERM", "").startswith("screen"):
        chunks = [
            sequence[at : at + _SCREEN_CHUNK_BYTES]
            for at in range(0, len(sequence), _SCREEN_CHUNK_BYTES)
        ]
        return "".join(f"\x1bP{chunk}\x1b\\" for chunk in chunks)
    return sequence


async def copy_text(
    text: str, write: Callable[[str], None], environ: Mapping[str, str] | None = None
) -> str:
    """Copy `text`; returns how, in a few words ("through tmux", "by the terminal").

    `write` writes to the terminal. Raises CopyError.
    """
    environ = os.environ if environ is None else environ
    sequence = osc52(text, environ)
    tmux = shutil.which("tmux") if environ.get("TMUX") else None
    # With -w tmux also sets the clipboard of its own terminal, if its option allows it.
    if tmux and await _run_tmux(tmux, "load-buffer", "-w", "-", text=text) is not None:
        if await _run_tmux(tmux, "show-options", "-sv", "set-clipboard") == "off":
            return "to the tmux buffer only, because its option set-clipboard is off"
        return "through tmux"
    write(sequence)
    return "by the terminal"


async def copy_with_message(
    text: str,
    write: Callable[[str], None],
    shown: str = "",
    alternative: str = "Select it with shift and the mouse.",
) -> tuple[str, str]:
    """Copy `text`; returns the sentence that reports it, and its style name. `shown` names what was
    copied; `alternative` is what to do if that is not possible."""
    try:
        how = await copy_text(text, write)
    except CopyError as error:
        return f"{error} {alternative}", "warning"
    return (f"Copied {how}: {' '.join(shown.split())}" if shown else f"Copied {how}."), "ready"


async def _run_tmux(tmux: str, *arguments: str, text: str = "") -> str | None:
    """Output of tmux; None if it fails or does not respond."""
    try:
        process = await asyncio.create_subprocess_exec(
            tmux,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(2):
            answer, _ = await process.communicate(text.encode("utf-8", "replace"))
    except (OSError, TimeoutError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return None
    return answer.decode("utf-8", "replace").strip() if process.returncode == 0 else None
