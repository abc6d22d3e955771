"""Copies the YAML of an object to the clipboard or saves it to a file, and says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from servedeck.atomic_file import write_text
from servedeck.detail.object_text import ObjectText, SavedText, build_saved_text, format_masked
from servedeck.serving.text import format_count
from tui.clipboard import CopyError, copy_text
from tui.ports.app_context import AppContext


class Outcome(NamedTuple):
    """A sentence for the message line, and its style."""

    text: str
    style_name: str


async def build_export(shown: ObjectText, *, in_thread: bool) -> SavedText:
    """What is copied and saved of an object that is shown."""
    if in_thread:
        return await asyncio.to_thread(build_saved_text, shown.live, shown.options)
    return build_saved_text(shown.live, shown.options)


def describe_export(saved: SavedText, reveal_key: str) -> str:
    """How long it is, and what is not in it."""
    parts = [format_count(saved.line_count, "line")]
    if saved.omits_managed_fields:
        parts.append("without managed fields")
    if saved.masked_count:
        parts.append(f"{format_masked(saved.masked_count)} ({reveal_key} shows them)")
    return ", ".join(parts)


async def copy_export(saved: SavedText, title: str, app: AppContext) -> Outcome:
    """Copy the text of the object `title` through the terminal."""
    try:
        how = await copy_text(saved.text, app.write_to_terminal)
    except CopyError as error:
        return Outcome(f"{error} {app.key_display_for('yaml.save')} saves it to a file.", "warning")
    described = describe_export(saved, app.key_display_for("yaml.reveal"))
    return Outcome(f"Copied {how}: {title}, {described}.", "ready")


async def save_export(saved: SavedText, title: str, path: Path, app: AppContext) -> Outcome:
    """Save the text of the object `title` to a file that its owner alone can read."""
    try:
        await asyncio.to_thread(write_text, path, saved.text, private=True)
    except OSError as error:
        return Outcome(f"{path} was not saved: {error.strerror}.", "error")
    described = describe_export(saved, app.key_display_for("yaml.reveal"))
    return Outcome(f"Saved {title} as {path}: {described}.", "ready")
