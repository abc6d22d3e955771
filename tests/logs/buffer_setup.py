"""Lines and small buffers for the tests of logs."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from servedeck.logs.buffer import LogBlock, LogBuffer
from servedeck.logs.lines import LineBatch, ns_to_stamp

SMALL: dict[str, Any] = {"memory_bytes": 2_000, "spill_bytes": 1_500}
"""Limits with which a few hundred lines are spilled, and dropped in the end."""
SPILLING: dict[str, Any] = {"memory_bytes": 2_000, "spill_bytes": 1 << 20}
"""Limits with which a few hundred lines are spilled and none is dropped."""


def make_stamp(number: int) -> bytes:
    return ns_to_stamp(1_764_378_123_000_000_000 + number)


def make_batch(texts: Sequence[bytes], sources: Sequence[int] = (), first: int = 0) -> LineBatch:
    """A batch of which each line has its own timestamp; all of source 1 unless given."""
    stamps = [make_stamp(first + index) for index in range(len(texts))]
    return LineBatch(stamps, list(texts), list(sources) or [1] * len(texts))


async def append_all(
    buffer: LogBuffer, texts: Iterable[bytes], sources: Sequence[int] = ()
) -> None:
    """Append lines, and wait until those that are to leave memory have left it."""
    buffer.append(make_batch(list(texts), sources, buffer.end))
    await buffer.wait_for_room()


def make_block(texts: Sequence[bytes], first: int = 0) -> LogBlock:
    """A block of lines of source 1."""
    stamps = b"".join(map(make_stamp, range(len(texts))))
    return LogBlock(first, b"\n".join(texts), stamps, array("H", [1] * len(texts)))
