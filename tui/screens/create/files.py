"""Small text files that the form reads and writes."""

from __future__ import annotations

from pathlib import Path

from servedeck.atomic_file import replace_file

MAX_FILE_BYTES = 4 << 20
"""Maximum size in bytes of a file for the form."""


def read_text(path: Path) -> str:
    """Text of a file. Raises OSError and UnicodeDecodeError."""
    _require_regular_file(path)
    with path.open("rb") as file:
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise OSError(0, f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    return raw.decode("utf-8")


def write_text(path: Path, text: str, *, private: bool) -> None:
    """Write a file atomically: the old content stays if the disk is full. A `private` file can be
    read by its owner only. Raises OSError."""
    _require_regular_file(path.resolve())
    with replace_file(path, private=private) as file:
        file.write(text)


def _require_regular_file(path: Path) -> None:
    """Opening a pipe would block until its other end is opened."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(0, "it is not a regular file")


def describe_file_error(error: OSError | UnicodeDecodeError) -> str:
    """Why a file could not be read, as the end of a sentence."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text."
    return f"{error.strerror or error}."
