"""Files that are replaced as a whole, so that a full disk or a kill never leaves half a file."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO


@contextmanager
def replace_file(
    path: Path, *, private: bool, prefix: str = ".", keep_open: bool = False
) -> Iterator[TextIO]:
    """Yield a new text file that takes the place of `path` when the block ends, and is removed
    where the block raises.

    Symbolic links are followed. A `private` file can be read by its owner alone; any other has the
    mode of the file that it replaces. `prefix` begins the name of the temporary file, which lies in
    the same directory. With `keep_open` the caller closes the file. Raises OSError.
    """
    target = path.resolve()
    mode = _mode_of(target)
    temporary = target.with_name(f"{prefix}{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = os.open(temporary, flags, 0o600 if private or mode is not None else 0o666)
    file = os.fdopen(descriptor, "w", encoding="utf-8")
    try:
        yield file
        file.flush()
        if mode is not None and not private:
            temporary.chmod(mode)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        with suppress(OSError):
            file.close()  # flushes the buffer, which can fail again
        raise
    if not keep_open:
        file.close()


def write_text(path: Path, text: str, *, private: bool) -> None:
    """Write a file atomically: the old content stays if the disk is full. A `private` file can be
    read by its owner only. Raises OSError."""
    require_regular_file(path.resolve())
    with replace_file(path, private=private) as file:
        file.write(text)


class NewFile:
    """A binary file that only its owner can read, and that appears under its name when it is
    complete: until `commit`, it has another name in the same directory. The methods raise OSError;
    they block."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        """Raises FileExistsError if there is such a file and it is not to be overwritten."""
        require_regular_file(path)
        if not overwrite and path.exists():
            raise _exists_error(path)
        self._target = path.resolve()
        self._overwrite = overwrite
        self.directory = self._target.parent
        self._temporary = self._target.with_name(f".servedeck-{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self.file: BinaryIO = os.fdopen(os.open(self._temporary, flags, 0o600), "wb")

    def commit(self) -> None:
        """Give the file its name. Raises FileExistsError like the constructor: another process may
        have made it since."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        if self._overwrite:
            self._temporary.replace(self._target)
            return
        try:
            os.link(self._temporary, self._target)
        except OSError as error:
            # The other errors are of a file system without hard links.
            if isinstance(error, FileExistsError) or self._target.exists():
                raise _exists_error(self._target) from error
            self._temporary.replace(self._target)
        else:
            self._temporary.unlink()

    def discard(self) -> None:
        """Remove the file. A thread may still write to it."""
        with suppress(OSError):
            self._temporary.unlink()


def require_regular_file(path: Path) -> None:
    """Raises OSError for a pipe, a device or a socket: opening a pipe would block until its other
    end is opened."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(0, "it is not a regular file")


def _exists_error(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _mode_of(path: Path) -> int | None:
    """Permission bits of a file; None where there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None
