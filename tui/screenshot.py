"""Saves what the screen shows as an SVG file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from servedeck.atomic_file import write_text
from tui.screens.file_dialog import FileDialog

RESULT_SECONDS = 20.0
"""Seconds for which the result stays on the message line."""


class ScreenshotDialog(FileDialog):
    """Asks for the name of the file."""

    def __init__(self, now: datetime) -> None:
        moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        super().__init__(
            "Save the screen as an SVG picture",
            f"servedeck-{moment}.svg",
            for_writing=True,
            hint="It holds all that the screen shows; others cannot read the file.",
        )


async def write_screenshot(
    path: Path, picture: str, show_message: Callable[[str, str, float], None]
) -> None:
    """Write the picture, and show the result as a text with its style and seconds. The file can be
    read by its owner only: the screen may show what is secret."""
    try:
        await asyncio.to_thread(write_text, path, picture, private=True)
    except OSError as error:
        show_message(f"{path} was not saved: {error.strerror}.", "error", RESULT_SECONDS)
    else:
        show_message(f"Saved the screen as {path}.", "ready", RESULT_SECONDS)
