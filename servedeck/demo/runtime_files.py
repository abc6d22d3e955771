"""The files of a running demo: its temporary directory and the lock on its saved state."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from servedeck.demo.errors import DemoError

_PREFIX = "servedeck-demo-"
_LOCK_GRACE_SECONDS = 3600.0
"""A directory older than this without a lock was left by a process that was killed."""


class StateLock:
    """Keeps a second demo from using the same state file; the kernel releases it however the
    process ends. The lock is on a file of its own, because every save replaces the state file.
    Raises DemoError."""

    def __init__(self, state: Path) -> None:
        resolved = state.resolve()
        self._path = resolved.with_name(f"{resolved.name}.lock")
        while True:
            try:
                self._file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            except OSError as error:
                reason = error.strerror or error
                raise DemoError(
                    f"Cannot save the demo's state to {state}: {reason}; choose another file."
                ) from error
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(self._file)
                raise DemoError(
                    f"Another demo uses the state file {state}; stop it or choose another file."
                ) from error
            if self._still_linked():
                return
            os.close(self._file)  # its last owner removed the file between open and flock

    def _still_linked(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except OSError:
            return False

    def release(self) -> None:
        if self._still_linked():
            with contextlib.suppress(OSError):  # a lock file that stays does no harm
                self._path.unlink()
        os.close(self._file)


class RuntimeDirectory:
    """A temporary directory for one demo's files. It holds a lock while the demo lives, so that
    the next demo can remove the directory of one that was killed."""

    def __init__(self) -> None:
        _remove_stale_directories()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # locked before it gets its name, so that no other demo ever finds it unlocked
        unlocked = self.path / "lock.new"
        self._lock = os.open(unlocked, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unlocked.rename(self.path / "lock")

    def write(self, name: str, text: str) -> None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        with os.fdopen(os.open(self.path / name, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_stale_directories() -> None:
    """Removes the directories of demos that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # OSError: another user's, or one that its demo is removing right now
        with contextlib.suppress(OSError):
            found = path.lstat()
            if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
                continue
            try:
                descriptor = os.open(path / "lock", os.O_RDWR)
            except FileNotFoundError:
                # its demo was killed before it made the lock, or is about to make it
                if time.time() - found.st_mtime > _LOCK_GRACE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
