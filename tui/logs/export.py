"""Copies lines of a log to the clipboard, or saves all that are held to a file."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from servedeck.atomic_file import NewFile
from servedeck.logs.buffer import LogBuffer
from servedeck.logs.lines import NOTICE_SOURCE, LogLine, LogSource
from servedeck.serving.text import format_count, format_size
from tui.clipboard import MAX_ENCODED_BYTES, CopyError, copy_text
from tui.ports.app_context import AppContext
from tui.yaml_export import Outcome

SAMPLE_LINES = 200
"""Lines from which the size of the file is estimated."""

LINES_AT_ONCE = 200
"""Lines that are read together."""

BYTES_AT_ONCE = 256 << 10
"""Bytes that are written together."""


async def copy_lines(lines: Iterator[str], count: int, app: AppContext) -> Outcome:
    """Copy `count` lines as they are shown through the terminal."""
    texts: list[str] = []
    size = 0
    for text in lines:
        texts.append(text)
        size += len(text) + 1
        if size > MAX_ENCODED_BYTES:  # it is refused anyway
            break
    if not texts:
        return Outcome("The line is no longer held.", "warning")
    try:
        how = await copy_text("\n".join(texts), app.write_to_terminal)
    except CopyError as error:
        return Outcome(f"{error} {app.key_display_for('log.save')} saves the log.", "warning")
    return Outcome(f"Copied {how}: {format_count(count, 'line')}.", "ready")


class LogSaver:
    """Writes the lines that a buffer holds to a file, as they were written, while more arrive."""

    def __init__(
        self,
        buffer: LogBuffer,
        sources: Callable[[], Sequence[LogSource]],
        on_progress: Callable[[str], None],
    ) -> None:
        """`sources` gives what the lines are from; `on_progress` gets a sentence with how far it
        is."""
        self._buffer, self._sources = buffer, sources
        self._on_progress = on_progress
        self._names_pods = self._names_containers = False

    async def save(self, path: Path) -> Outcome:
        """Save the lines that are held now; a file that cannot be written whole is removed."""
        first, end = self._buffer.first, self._buffer.end
        known = [one for one in self._sources() if one.number != NOTICE_SOURCE]
        self._names_pods = len({one.pod for one in known}) > 1
        self._names_containers = len({one.container for one in known}) > 1
        needed = self._estimated_bytes(first, end)
        try:
            free = (await asyncio.to_thread(shutil.disk_usage, path.parent)).free
            if free < needed:
                return Outcome(
                    f"{path} was not saved: the log has {format_size(needed)}, and"
                    f" {format_size(free)} are free there.",
                    "error",
                )
            count = await self._write(path, first, end)
        except OSError as error:
            return Outcome(f"{path} was not saved: {error.strerror or error}.", "error")
        lost = end - first - count
        more = f" {lost:,} older lines were dropped meanwhile." if lost else ""
        return Outcome(f"Saved {format_count(count, 'line')} as {path}.{more}", "ready")

    def _estimated_bytes(self, first: int, end: int) -> int:
        """Size of the file, estimated from the newest lines."""
        newest = self._buffer.lines(max(first, end - SAMPLE_LINES), end)
        total = sum(len(self._raw_line(line)) for line in newest)
        return total * (end - first) // max(len(newest), 1)

    async def _write(self, path: Path, first: int, end: int) -> int:
        output = await asyncio.to_thread(NewFile, path, overwrite=True)
        written, at = 0, first
        waiting: list[bytes] = []
        size = 0
        try:
            while at < end:
                if self._buffer.is_closed:
                    raise OSError(0, "another log is shown; save this one before that")
                at = max(at, self._buffer.first)
                lines = self._buffer.lines(at, min(at + LINES_AT_ONCE, end))
                for line in lines:
                    waiting.append(self._raw_line(line))
                    size += len(waiting[-1])
                written += len(lines)
                at += LINES_AT_ONCE
                if size >= BYTES_AT_ONCE or at >= end:
                    await asyncio.to_thread(output.file.write, b"".join(waiting))
                    waiting, size = [], 0
                    self._on_progress(f"Saving the log: {written:,} of {end - first:,} lines…")
            await asyncio.to_thread(output.commit)
        finally:
            output.discard()
        return written

    def _raw_line(self, line: LogLine) -> bytes:
        """A line with its time, and whose it is where there are several."""
        if line.source == NOTICE_SOURCE:
            return b"%b # servedeck: %b\n" % (line.stamp, line.text)
        source = self._sources()[line.source]
        names = [source.pod] if self._names_pods else []
        names += [source.container] if self._names_containers else []
        owner = f"{'/'.join(names)} ".encode() if names else b""
        return b"%b %b%b\n" % (line.stamp, owner, line.text)
