"""Small text files that the form reads and writes."""

from __future__ import annotations

import os
from pathlib import Path

LARGEST = 4 << 20
"""Bytes; nothing that belongs into a form is longer."""


def read(path: Path) -> str:
    """Text of a file. Raises OSError and UnicodeDecodeError."""
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise OSError(0, f"it is larger than {LARGEST >> 20} MiB")
    return raw.decode("utf-8")


def write(path: Path, text: str, *, private: bool) -> None:
    """Write a file; a `private` one can be read by its owner alone. Raises OSError."""
    mode = 0o600 if private else 0o666
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    if private:
        path.chmod(0o600)


def why(error: OSError | UnicodeDecodeError) -> str:
    """Why a file could not be read, in a clause."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text."
    return f"{error.strerror or error}."
