"""All lines of a log view: the newest in memory, older ones compressed in a temporary file.

Memory beside the text is 33 bytes a line (timestamp, source, newline) for lines in memory, and
about 0.2 bytes for spilled ones.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path

from servedeck.logs.block import BlockBytes, GrowingBlock, LogBlock
from servedeck.logs.lines import STAMP_BYTES, LineBatch, LogLine
from servedeck.logs.spill import SpilledBlock, Spiller, SpillError, SpillJob

__all__ = ["LogBlock", "LogBuffer"]

_BLOCK_BYTES = 256 << 10
"""Text of a block. Small enough that one is decompressed and searched well within a frame."""
_PART_LINES = 2_048
"""Most lines that are appended at a time."""
_CACHED_BLOCKS = 8
_CACHED_BYTES = 4 << 20


class _SealedBlock:
    """A block that no longer grows: in memory, on its way to the file, or there."""

    __slots__ = ("content", "count", "first", "job", "size", "spilled")

    def __init__(self, first: int, content: BlockBytes) -> None:
        self.first = first
        self.count = len(content.sources)
        self.size = len(content.data) + (STAMP_BYTES + 2) * self.count
        """Bytes in memory."""
        self.content: BlockBytes | None = content
        self.job: SpillJob | None = None
        self.spilled: SpilledBlock | None = None


class LogBuffer:
    """Lines that are numbered from 0 in the order in which they were appended.

    Used from one thread. Lines `first` to before `end` are held. `first` advances when the oldest
    are dropped, because the file may not or cannot grow: in `append` and `wait_for_room`, and where
    a line cannot be read back.
    """

    def __init__(
        self,
        *,
        memory_bytes: int = 64 << 20,
        spill_bytes: int = 1 << 30,
        directory: Path | None = None,
    ) -> None:
        """At most `memory_bytes` of lines with their timestamps in memory, if `wait_for_room` is
        awaited between the batches, and about `spill_bytes` of compressed ones in files below
        `directory` (None: where temporary files go)."""
        self.first = 0
        self.end = 0
        self.spilled_lines = 0
        self.spilled_bytes = 0
        """Compressed bytes in the file."""
        self.error = ""
        """Why the oldest lines were dropped, as a sentence; "" if none were."""
        self._memory_bytes = memory_bytes
        self._spill_bytes = spill_bytes
        # small limits, as tests have them, need small blocks
        self._block_bytes = max(64, min(_BLOCK_BYTES, memory_bytes // 16))
        self._block_lines = self._block_bytes // 32  # empty lines have 32 bytes beside their text
        self._part_lines = min(_PART_LINES, self._block_lines)
        self._spill_above = memory_bytes - memory_bytes // 8 if spill_bytes > 0 else memory_bytes
        self._spiller = Spiller(directory, max(4 * self._block_bytes, spill_bytes // 32))
        self._firsts: list[int] = []
        self._sealed: list[_SealedBlock] = []
        self._sealed_bytes = 0
        """Of the sealed blocks in memory, those on their way to the file included."""
        self._leaving_bytes = 0
        """Of those on their way."""
        self._next_to_spill = 0
        """Number of the first line that is not on its way."""
        self._growing = GrowingBlock(0)
        self._snapshot: LogBlock | None = None
        self._cache: OrderedDict[int, LogBlock] = OrderedDict()
        self._cached_bytes = 0
        self._freed = 0
        """How often space was freed because the file could not be written."""
        self._closed = False

    @property
    def memory_used(self) -> int:
        """Bytes of lines in memory with their timestamps and sources."""
        return self._sealed_bytes + self._growing.size

    @property
    def is_closed(self) -> bool:
        """Whether its lines were forgotten."""
        return self._closed

    def append(self, batch: LineBatch) -> None:
        """Add lines. A newline within a text becomes a space. Raises ValueError if the sequences
        differ in length or a timestamp has another length than `STAMP_BYTES`; never for want of
        space, see `error`."""
        if self._closed:
            return
        stamps, texts, sources = batch
        if len(texts) <= self._part_lines:
            self._append_part(texts, stamps, array("H", sources))
            return
        for at in range(0, len(texts), self._part_lines):
            until = at + self._part_lines
            self._append_part(texts[at:until], stamps[at:until], array("H", sources[at:until]))

    def _append_part(self, texts: list[bytes], stamps: list[bytes], sources: array[int]) -> None:
        count = len(texts)
        if not count == len(stamps) == len(sources):
            raise ValueError("a batch has as many timestamps and sources as texts")
        if not count:
            return
        data, joined_stamps = b"\n".join(texts), b"".join(stamps)
        if len(joined_stamps) != count * STAMP_BYTES:
            raise ValueError(f"a timestamp has {STAMP_BYTES} bytes")
        if data.count(b"\n") != count - 1:
            data = b"\n".join([text.replace(b"\n", b" ") for text in texts])
        at, line = 0, 0
        while len(data) - at > (room := max(0, self._block_bytes - self._growing.text_size)):
            cut = data.find(b"\n", at + room)
            if cut < 0:
                break
            until = line + data.count(b"\n", at, cut) + 1
            self._grow(
                data[at:cut],
                joined_stamps[line * STAMP_BYTES : until * STAMP_BYTES],
                sources[line:until],
            )
            at, line = cut + 1, until
        if line:
            data = data[at:]
            joined_stamps, sources = joined_stamps[line * STAMP_BYTES :], sources[line:]
        self._grow(data, joined_stamps, sources)

    def _grow(self, data: bytes, stamps: bytes, sources: array[int]) -> None:
        growing = self._growing
        growing.add(data, stamps, sources)
        self.end += len(sources)
        self._snapshot = None
        if growing.text_size > self._block_bytes or len(growing.sources) >= self._block_lines:
            sealed = _SealedBlock(growing.first, growing.content())
            self._firsts.append(sealed.first)
            self._sealed.append(sealed)
            self._sealed_bytes += sealed.size
            self._growing = GrowingBlock(self.end)
            self._make_room()

    async def wait_for_room(self) -> None:
        """Wait while blocks are written more slowly than lines arrive, so that memory would exceed
        its limit. Returns at once otherwise."""
        self._take_results()
        while self._leaving_bytes and self.memory_used > self._memory_bytes:
            loop, written = asyncio.get_running_loop(), asyncio.Event()

            def wake(
                loop: asyncio.AbstractEventLoop = loop, written: asyncio.Event = written
            ) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(written.set)

            self._spiller.call_after_result(wake)
            await written.wait()
            self._take_results()

    def line(self, number: int) -> LogLine:
        """Raises IndexError if it is not held."""
        block = self.block_at(number)
        return block.line(number - block.first)

    def lines(self, start: int, stop: int) -> list[LogLine]:
        """The lines from `start` to before `stop`, without those that are not held."""
        found: list[LogLine] = []
        number = max(start, self.first)
        while number < min(stop, self.end):
            try:
                block = self.block_at(number)
            except IndexError:  # it cannot be read back, and was dropped just now
                number = max(number, self.first)
                continue
            until = min(stop, block.end)
            found += map(block.line, range(number - block.first, until - block.first))
            number = until
        return found

    def block_at(self, number: int, *, keep: bool = True) -> LogBlock:
        """The block that holds a line; raises IndexError if the line is not held. `keep` it for the
        next calls, which a search of all blocks does not need. A block that still grows is a copy
        of what it has."""
        if not self.first <= number < self.end:
            raise IndexError(f"line {number} is not held")
        if number >= self._growing.first:
            if self._snapshot is None:
                self._snapshot = self._growing.block_from(0)
            return self._snapshot
        sealed = self._sealed[bisect_right(self._firsts, number) - 1]
        block = self._cache.get(sealed.first)
        if block is None:
            block = self._load(sealed)
            if keep:
                self._keep(block)
        elif keep:
            self._cache.move_to_end(sealed.first)
        return block

    def block_from(self, number: int, *, keep: bool = True) -> LogBlock:
        """The lines from `number` to the end of their block; raises IndexError if it is not held.
        Cheap for lines that were appended last."""
        if self._growing.first <= number < self.end:
            return self._growing.block_from(number - self._growing.first)
        block = self.block_at(number, keep=keep)
        return block.from_index(number - block.first)

    def close(self) -> None:
        """Drop all lines and the file. Lines that are appended later are ignored."""
        if self._closed:
            return
        self._closed = True
        while self._sealed:
            self._drop_oldest()
        self._growing = GrowingBlock(self.end)
        self._snapshot = None
        self.first = self.end
        self._spiller.close()

    def _load(self, sealed: _SealedBlock) -> LogBlock:
        content = sealed.content
        if content is None:
            assert sealed.spilled is not None
            try:
                content = sealed.spilled.load()
            except SpillError as error:
                self.error = f"Older lines were dropped: they cannot be read back ({error})."
                while self.first <= sealed.first:
                    self._drop_oldest()
                raise IndexError(f"line {sealed.first} cannot be read back") from error
        return LogBlock(sealed.first, content.data, content.stamps, content.sources)

    def _keep(self, block: LogBlock) -> None:
        self._cache[block.first] = block
        self._cached_bytes += len(block.data)
        while len(self._cache) > 1 and (
            len(self._cache) > _CACHED_BLOCKS or self._cached_bytes > _CACHED_BYTES
        ):
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= len(oldest.data)

    def _make_room(self) -> None:
        """Hand over the oldest blocks in memory to be written, or drop them."""
        self._take_results()
        while self.memory_used - self._leaving_bytes > self._spill_above and self._sealed:
            if self._spill_bytes <= 0:
                limit = _format_bytes(self._memory_bytes)
                self.error = f"Older lines were dropped: the log takes more than {limit} of memory."
                self._drop_oldest()
                continue
            sealed = self._sealed[max(0, bisect_right(self._firsts, self._next_to_spill) - 1)]
            if sealed.content is None or sealed.job is not None:
                return
            sealed.job = SpillJob(sealed.first, sealed.content)
            self._next_to_spill = sealed.first + sealed.count
            self._leaving_bytes += sealed.size
            self._submit(sealed.job)

    def _submit(self, job: SpillJob) -> None:
        job.attempt, job.error = self._freed, ""
        self._spiller.submit(job)

    def _take_results(self) -> None:
        for job in self._spiller.take_results():
            if job.cancelled:
                if job.spilled is not None:
                    job.spilled.segment.release()
            elif job.spilled is not None:
                self._take_spilled(job.number, job.spilled)
            else:
                self._retry(job)

    def _take_spilled(self, number: int, spilled: SpilledBlock) -> None:
        sealed = self._sealed[bisect_right(self._firsts, number) - 1]
        sealed.content = sealed.job = None
        sealed.spilled = spilled
        self._sealed_bytes -= sealed.size
        self._leaving_bytes -= sealed.size
        self.spilled_lines += sealed.count
        self.spilled_bytes += spilled.length
        while self.spilled_bytes > self._spill_bytes:
            limit = _format_bytes(self._spill_bytes)
            self.error = f"Older lines were dropped: compressed they take more than {limit}."
            self._drop_oldest()

    def _retry(self, job: SpillJob) -> None:
        """Write a block again that could not be written, after space was freed for it."""
        if job.attempt == self._freed:
            self.error = f"Older lines were dropped: no file can be written for them ({job.error})."
            self._freed += 1
            freed = False
            while not freed and self.first <= job.number:
                freed = self._drop_oldest()
        if not job.cancelled:
            self._submit(job)

    def _drop_oldest(self) -> bool:
        """Drop the oldest sealed block; True if space in the file became free."""
        sealed = self._sealed.pop(0)
        del self._firsts[0]
        self.first = sealed.first + sealed.count
        block = self._cache.pop(sealed.first, None)
        if block is not None:
            self._cached_bytes -= len(block.data)
        if sealed.spilled is not None:
            self.spilled_lines -= sealed.count
            self.spilled_bytes -= sealed.spilled.length
            return sealed.spilled.segment.release()
        self._sealed_bytes -= sealed.size
        if sealed.job is not None:
            sealed.job.cancelled = True
            self._leaving_bytes -= sealed.size
        return False


def _format_bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
