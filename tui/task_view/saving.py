"""Saves a body of a task to a file, by parts."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from servedeck.async_queue.queue_api import QueueApi, Side
from servedeck.atomic_file import NewFile
from servedeck.cluster.http.errors import ClusterError
from servedeck.serving.text import format_size
from tui.yaml_export import Outcome

BYTES_AT_ONCE = 1 << 20
"""Bytes of a body that are read together."""


async def save_body(
    api: QueueApi, id: str, side: Side, path: Path, on_progress: Callable[[str], None]
) -> Outcome:
    """Save a body to a file that its owner alone can read. One that is not complete is removed.
    `on_progress` gets a sentence with how far it is."""
    try:
        part = await api.read_body(id, side, 0, BYTES_AT_ONCE)
        free = (await asyncio.to_thread(shutil.disk_usage, path.parent)).free
        if free < part.size:
            return Outcome(
                f"{path} was not saved: the body has {format_size(part.size)}, and"
                f" {format_size(free)} are free there.",
                "error",
            )
        output = await asyncio.to_thread(NewFile, path, overwrite=True)
        try:
            size, written = part.size, 0
            while True:
                await asyncio.to_thread(output.file.write, part.data)
                written += len(part.data)
                if written >= size:
                    break
                on_progress(f"Saving the body: {format_size(written)} of {format_size(size)}…")
                part = await api.read_body(id, side, written, BYTES_AT_ONCE)
                if part.size != size or not part.data:
                    raise OSError(0, "the body has changed meanwhile")
            await asyncio.to_thread(output.commit)
        finally:
            output.discard()
    except ClusterError as error:
        return Outcome(f"{path} was not saved: {error}", "error")
    except OSError as error:
        return Outcome(f"{path} was not saved: {error.strerror or error}.", "error")
    return Outcome(f"Saved the body, {format_size(written)}, as {path}.", "ready")
