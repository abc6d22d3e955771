"""Standard input, output and error, also where whoever started the program has closed them."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from pathlib import Path
from typing import TextIO

_OUTPUT_ERRORS = frozenset((errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC))


def prepare_standard_streams() -> None:
    """Make all three usable: a closed one is empty, takes nothing, or forgets what it gets. A
    character that the terminal cannot show fails no command, nor its help."""
    _open_closed_descriptors()
    # Python has no object for a stream that was closed at its start.
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - as long as the process
    if sys.stdout is None:
        refusing = io.FileIO(os.open(os.devnull, os.O_RDONLY), "w")
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(refusing), encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - the same
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


def _open_closed_descriptors() -> None:
    """Open /dev/null where standard input, output or error is closed: otherwise the next opened
    file would get that descriptor and receive the output meant for it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                # open() returns the lowest free descriptor, this one; child processes need it as
                # well.
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def output_problem(error: OSError) -> str:
    """Why the standard output could not be written, in one sentence; "" if the error is another."""
    if error.errno not in _OUTPUT_ERRORS or error.filename is not None:
        return ""
    why = "it is closed" if error.errno == errno.EBADF else error.strerror
    return f"Cannot write to standard output: {why}."


def discard(stream: TextIO) -> None:
    """Forget what was not written yet: Python would try once more when it exits, and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
