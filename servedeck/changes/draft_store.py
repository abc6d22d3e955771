"""Drafts on disk: one locked file for each open form."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from servedeck.atomic_file import replace_file
from servedeck.changes.draft import Draft

RETENTION_SECONDS = 30 * 24 * 3600
"""Seconds that a draft is kept after it was last saved."""

WRITE_LOCK_TIMEOUT = 1.0
"""Seconds that a write waits for the previous one if the disk does not respond."""

_TEMP_PREFIX = ".draft-"
"""Prefix of a file that is being written, or was when its program was killed."""


class DraftFile:
    """The file of one draft, which only its owner can read. The form that has it open holds a lock
    on it, which ends with the process: the draft of a killed terminal is free at once, that of
    another window is not."""

    def __init__(self, path: Path, *, is_temporary: bool = False) -> None:
        """`is_temporary`: the file is deleted when the program ends."""
        self.path = path
        self.is_temporary = is_temporary
        self._locked_file: TextIO | None = None
        # A writing thread may continue, or even start, after its caller gave up: it must not
        # overwrite later writes.
        self._write_lock = threading.Lock()
        self._request_lock = threading.Lock()
        self._latest_request = 0

    def acquire(self) -> Draft | None:
        """Lock and load the saved draft; None if it was deleted, is damaged, or is open in another
        form. Raises OSError if it cannot be read."""
        try:
            file = self.path.open("r+", encoding="utf-8")
        except FileNotFoundError:
            return None
        if not _try_lock(file, fcntl.LOCK_EX) or not self._is_current_file(file):
            file.close()
            return None
        self._replace_locked_file(file)
        return _load_draft(file)

    def write(self, data: Mapping[str, Any]) -> None:
        """Replace the saved draft atomically with a `Draft.to_saved_dict`. Raises OSError."""
        self.prepare_write(data)()

    def prepare_write(self, data: Mapping[str, Any]) -> Callable[[], bool]:
        """`write`, for a thread. It returns False, and writes nothing, if another write, a delete
        or a release was requested since this call."""
        number = self._next_request()

        def write() -> bool:
            with self._exclusive_write():
                if latest := number == self._latest_request:
                    self._write_atomically(data)
            return latest

        return write

    def _write_atomically(self, data: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replace_file(self.path, private=True, prefix=_TEMP_PREFIX, keep_open=True) as file:
            _try_lock(file, fcntl.LOCK_EX)  # before others can open it
            json.dump(data, file)
        self._replace_locked_file(file)

    def delete(self) -> None:
        """Delete the draft. Raises OSError."""
        with self._exclusive_write():
            self._next_request()
            self.path.unlink(missing_ok=True)
            self._replace_locked_file(None)

    def delete_if_unused(self) -> bool:
        """Delete a draft that no form has open; False if one has. Raises OSError."""
        with self.path.open("r+", encoding="utf-8") as file:
            free = _try_lock(file, fcntl.LOCK_EX) and self._is_current_file(file)
            if free:
                self.path.unlink()
        return free

    def release(self) -> None:
        """The form was closed; others may open the draft."""
        self._next_request()
        with contextlib.suppress(TimeoutError), self._exclusive_write():
            self._replace_locked_file(None)

    def _next_request(self) -> int:
        """The number of a new request, which is then the latest."""
        with self._request_lock:
            self._latest_request += 1
            return self._latest_request

    @contextlib.contextmanager
    def _exclusive_write(self) -> Iterator[None]:
        """Hold the write lock. Raises TimeoutError if another thread does not release it."""
        if not self._write_lock.acquire(timeout=WRITE_LOCK_TIMEOUT):
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        try:
            yield
        finally:
            self._write_lock.release()

    def _replace_locked_file(self, file: TextIO | None) -> None:
        """Keep the lock on this file instead of the previous one."""
        held, self._locked_file = self._locked_file, file
        if held is not None:
            held.close()

    def _is_current_file(self, file: TextIO) -> bool:
        """Whether the path is still this file: its owner may have replaced or deleted it between
        our open and our lock."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False


class SavedDraft(NamedTuple):
    """A draft that no form has open."""

    file: DraftFile
    draft: Draft
    written_at: float
    """When, in seconds since the epoch."""


class DraftStore:
    """The drafts of one cluster: one for each form that is open or was closed unfinished."""

    def __init__(
        self, server: str, drafts_dir: Path | None = None, *, is_temporary: bool = False
    ) -> None:
        """`is_temporary`: the folder is deleted when the program ends."""
        if drafts_dir is None:
            from platformdirs import user_state_path

            drafts_dir = user_state_path("servedeck") / "drafts"
        self._drafts_dir = drafts_dir
        self._is_temporary = is_temporary
        self._server_hash = hashlib.sha256(server.encode()).hexdigest()[:16]

    def list_saved(self) -> list[SavedDraft]:
        """The readable drafts that no form has open, the latest first. Raises OSError if the
        directory cannot be read."""
        found = [
            SavedDraft(self._make_file(path), draft, written_at)
            for path, draft, written_at in self._read_unused()
            if draft is not None
        ]
        return sorted(found, key=lambda one: one.written_at, reverse=True)

    def list_damaged(self) -> list[Path]:
        """The files that no form has open and that hold no draft that can be read. Raises OSError
        if the directory cannot be read."""
        return sorted(path for path, draft, _written_at in self._read_unused() if draft is None)

    def _read_unused(self) -> Iterator[tuple[Path, Draft | None, float]]:
        """The files that no form has open, with their drafts, if they can be read, and when they
        were written."""
        for path in self._list_files():
            if not path.name.startswith(self._server_hash):
                continue
            with contextlib.suppress(OSError), path.open(encoding="utf-8") as file:
                if _try_lock(file, fcntl.LOCK_SH):
                    yield path, _load_draft(file), os.fstat(file.fileno()).st_mtime

    def delete_expired(self, now: float) -> int:
        """Delete the drafts of all clusters, except open ones, that were saved more than
        `RETENTION_SECONDS` before `now` (seconds since the epoch); returns their number. Those that
        cannot be deleted stay. Raises OSError if the directory cannot be read."""
        dropped = 0
        for path in self._list_files():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime >= now - RETENTION_SECONDS:
                    continue
                if path.suffix == ".json":
                    dropped += DraftFile(path).delete_if_unused()
                elif path.name.startswith(_TEMP_PREFIX):
                    path.unlink()
        return dropped

    def _list_files(self) -> list[Path]:
        try:
            return list(self._drafts_dir.iterdir())
        except FileNotFoundError:
            return []

    def new_file(self) -> DraftFile:
        """The file of a new draft."""
        name = f"{self._server_hash}-{secrets.token_hex(4)}.json"
        return self._make_file(self._drafts_dir / name)

    def _make_file(self, path: Path) -> DraftFile:
        return DraftFile(path, is_temporary=self._is_temporary)


def _try_lock(file: TextIO, kind: int) -> bool:
    """False if another form holds it. Some network file systems have no locks; drafts are saved
    there without."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _load_draft(file: TextIO) -> Draft | None:
    try:
        return Draft.from_saved_dict(json.load(file))
    except (ValueError, RecursionError):  # nested too deep for the parser
        return None
