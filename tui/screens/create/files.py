"""Small text files that the form reads."""

from __future__ import annotations

from pathlib import Path

from servedeck.atomic_file import require_regular_file

MAX_FILE_BYTES = 4 << 20
"""Maximum size in bytes of a file for the form."""


def read_text(path: Path) -> str:
    """Text of a file. Raises OSError and UnicodeDecodeError."""
    require_regular_file(path)
    with path.open("rb") as file:
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise OSError(0, f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    return raw.decode("utf-8")


def describe_file_error(error: OSError | UnicodeDecodeError) -> str:
    """Why a file could not be read, as the end of a sentence."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text."
    return f"{error.strerror or error}."
