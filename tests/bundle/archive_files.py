"""Reads the files of a bundle."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO


def read_archive(archive: Path | BinaryIO) -> dict[str, bytes]:
    """Path -> content of the files in the only directory of an archive; all are plain files."""
    found = {}
    directories = set()
    options = {"name": archive} if isinstance(archive, Path) else {"fileobj": archive}
    with tarfile.open(mode="r:gz", **options) as tar:  # type: ignore[call-overload]
        for member in tar:
            assert member.isfile(), member
            directory, _, path = member.name.partition("/")
            directories.add(directory)
            assert path not in found, path
            content = tar.extractfile(member)
            assert content is not None
            found[path] = content.read()
    assert len(directories) == 1, directories
    return found
