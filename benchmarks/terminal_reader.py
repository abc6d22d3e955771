"""Reads a pseudo-terminal in a process of its own, and passes the bytes on with their arrival time:
in the process that renders them they would wait for its interpreter, 35 ms at worst.

    python terminal_reader.py DESCRIPTOR

writes to its standard output, for each read, `HEADER` and the bytes; no bytes are the end. The
first one has no bytes either: it says that the reader is ready.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Iterator

HEADER = struct.Struct("dI")
"""Arrival time on the monotonic clock, which all processes share, and number of bytes."""


def read_chunks(descriptor: int) -> Iterator[tuple[bytes, float]]:
    """What a reader writes to this pipe: bytes and arrival times, b"" at the end."""
    while header := _read_exactly(descriptor, HEADER.size):
        at, length = HEADER.unpack(header)
        yield _read_exactly(descriptor, length), at


def _read_exactly(descriptor: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length and (part := os.read(descriptor, length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def main() -> int:
    descriptor, out = int(sys.argv[1]), sys.stdout.fileno()
    os.write(out, HEADER.pack(time.monotonic(), 0))
    data = b"more"
    while data:
        try:
            data = os.read(descriptor, 1 << 16)
        except OSError:  # the program has ended
            data = b""
        message = memoryview(HEADER.pack(time.monotonic(), len(data)) + data)
        while message:
            message = message[os.write(out, message) :]
    return 0


if __name__ == "__main__":
    sys.exit(main())
