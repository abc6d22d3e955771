"""Where drafts lie while their forms are open, and after a terminal closed on them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from servedeck.changes.draft import Draft

KEPT_FOR = 30 * 24 * 3600
"""Seconds that a draft is kept after it was written last."""

TURN = 1.0
"""Seconds that a write waits for the one before it, where the disk does not answer."""

_UNFINISHED = ".draft-"
"""How the name of a file begins that is still being written, or was when its program was killed."""


class Slot:
    """The place of one draft: a file that only its owner can read. The form that has it open holds
    a lock on it, which ends with the process: what a killed terminal leaves is free at once, what
    stands in another window is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: TextIO | None = None
        # A thread that writes goes on, or only begins, when the one who waited for it is gone:
        # what comes later must not be overtaken by it.
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._asked = 0

    def take(self) -> Draft | None:
        """The draft that was left here, which is ours then; None where it is gone, damaged, or
        open in another form. Raises OSError where it cannot be read."""
        try:
            file = self.path.open("r+", encoding="utf-8")
        except FileNotFoundError:
            return None
        if not _lock(file, fcntl.LOCK_EX) or not self._is(file):
            file.close()
            return None
        self._hold(file)
        return _read(file)

    def write(self, saved: Mapping[str, Any]) -> None:
        """Put a `Draft.saved` in place of the last one, whole or not at all. Raises OSError."""
        self.writer(saved)()

    def writer(self, saved: Mapping[str, Any]) -> Callable[[], bool]:
        """`write`, for a thread. It returns False, and writes nothing, where another write, a
        clear or a release was asked for between this call and its turn."""
        number = self._count()

        def write() -> bool:
            with self._own_turn():
                if latest := number == self._asked:
                    self._write(saved)
            return latest

        return write

    def _write(self, saved: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=_UNFINISHED)  # 0600
        file = os.fdopen(handle, "w", encoding="utf-8")
        try:
            _lock(file, fcntl.LOCK_EX)  # before others can see it
            json.dump(saved, file)
            file.flush()
            Path(name).replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            with contextlib.suppress(OSError):
                file.close()  # which tries once more to write what it holds
            raise
        self._hold(file)

    def clear(self) -> None:
        """The draft is no longer wanted. Raises OSError."""
        with self._own_turn():
            self._count()
            self.path.unlink(missing_ok=True)
            self._hold(None)

    def drop(self) -> bool:
        """Remove a draft that no form has open; False where one has. Raises OSError."""
        with self.path.open("r+", encoding="utf-8") as file:
            free = _lock(file, fcntl.LOCK_EX) and self._is(file)
            if free:
                self.path.unlink()
        return free

    def release(self) -> None:
        """The form was closed; others may take the draft."""
        self._count()
        with contextlib.suppress(TimeoutError), self._own_turn():
            self._hold(None)

    def _count(self) -> int:
        """The number of what is asked for now, which is the latest then."""
        with self._counting:
            self._asked += 1
            return self._asked

    @contextlib.contextmanager
    def _own_turn(self) -> Iterator[None]:
        """While no other thread writes. Raises TimeoutError where one does not end."""
        if not self._turn.acquire(timeout=TURN):
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        try:
            yield
        finally:
            self._turn.release()

    def _hold(self, file: TextIO | None) -> None:
        """Hold the lock on this file in place of the last one."""
        held, self._held = self._held, file
        if held is not None:
            held.close()

    def _is(self, file: TextIO) -> bool:
        """Whether it is still this file: its holder may have put another in its place, or cleared
        it, between our opening and our lock."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False


class Left(NamedTuple):
    """A draft that no form has open."""

    slot: Slot
    draft: Draft
    written: float
    """When, in seconds since the epoch."""


class Shelf:
    """The drafts of one cluster: one for each form that is open or was left."""

    def __init__(self, server: str, folder: Path | None = None) -> None:
        if folder is None:
            from platformdirs import user_state_path

            folder = user_state_path("servedeck") / "drafts"
        self._folder = folder
        self._name = hashlib.sha256(server.encode()).hexdigest()[:16]

    def left(self) -> list[Left]:
        """The drafts that were left and can be read, the latest first. Raises OSError where the
        folder cannot be read."""
        found = []
        for path in self._files():
            if not path.name.startswith(self._name):
                continue
            with contextlib.suppress(OSError), path.open(encoding="utf-8") as file:
                if _lock(file, fcntl.LOCK_SH) and (draft := _read(file)) is not None:
                    found.append(Left(Slot(path), draft, os.fstat(file.fileno()).st_mtime))
        return sorted(found, key=lambda one: one.written, reverse=True)

    def drop_old(self, now: float) -> int:
        """Remove the drafts of all clusters, open ones excepted, that were written more than
        `KEPT_FOR` seconds before `now` (seconds since the epoch); returns how many. What cannot be
        removed stays. Raises OSError where the folder cannot be read."""
        dropped = 0
        for path in self._files():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime >= now - KEPT_FOR:
                    continue
                if path.suffix == ".json":
                    dropped += Slot(path).drop()
                elif path.name.startswith(_UNFINISHED):
                    path.unlink()
        return dropped

    def _files(self) -> list[Path]:
        try:
            return list(self._folder.iterdir())
        except FileNotFoundError:
            return []

    def slot(self) -> Slot:
        """A place of its own for a new draft."""
        return Slot(self._folder / f"{self._name}-{secrets.token_hex(4)}.json")


def _lock(file: TextIO, kind: int) -> bool:
    """False where another form holds it. Some network file systems have no locks; a draft is kept
    there all the same."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _read(file: TextIO) -> Draft | None:
    try:
        return Draft.load(json.load(file))
    except ValueError:
        return None
