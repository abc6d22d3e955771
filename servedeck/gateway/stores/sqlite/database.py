"""One SQLite file, used by one process: a thread that writes, which commits all that waits together
(one sync of the disk for many tasks), and a thread that reads meanwhile."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from servedeck.gateway.stores.group_commit import (
    BATCH_INTERVAL_SECONDS,
    CommitObserver,
    observe_nothing,
)
from servedeck.gateway.stores.sqlite.reads import feed_end
from servedeck.gateway.stores.sqlite.schema import SchemaError, connect
from servedeck.gateway.stores.sqlite.worker_thread import Item, WorkerThread
from servedeck.gateway.stores.store import StoreError, StoreFullError, StoreUnavailableError

T = TypeVar("T")

_MAX_BATCH = 512
_OPERATION_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)
"""Of one operation; the others of its batch are not concerned."""

_log = logging.getLogger(__name__)


@dataclass
class Transaction:
    """What an operation writes with."""

    db: sqlite3.Connection
    now: float
    has_room: bool
    """Whether the disk has room for new tasks."""
    touched: set[str] = field(default_factory=set)
    """Ids of the tasks whose state or outputs were changed."""


class Database:
    """`on_commit(feed end, touched ids)` is called in the event loop after each commit."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float],
        reserve: int,
        timeout: float,
        on_commit: Callable[[int, set[str]], None],
        observe_commit: CommitObserver = observe_nothing,
    ) -> None:
        self._path = path
        self._clock = clock
        self._reserve = reserve
        self._timeout = timeout
        self._on_commit = on_commit
        self._observe_commit = observe_commit
        self._lock: int | None = None
        self._file = (0, 0)
        """Device and inode."""
        self._writing: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None
        self._writer: WorkerThread | None = None
        self._reader: WorkerThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Raises StoreUnavailableError, also while another process has the file."""
        if self._writer is not None:
            return
        self._loop = asyncio.get_running_loop()
        try:
            end = await asyncio.to_thread(self._open)
        except (OSError, sqlite3.Error, SchemaError) as error:
            self._release()
            raise self._describe(error, False) from None
        except BaseException:
            self._release()
            raise
        self._writer = WorkerThread(
            "sqlite-writer", self._write_batch, _MAX_BATCH, BATCH_INTERVAL_SECONDS
        )
        self._reader = WorkerThread("sqlite-reader", self._read_batch, 64)
        self._on_commit(end, set())

    async def close(self) -> None:
        writer, reader = self._writer, self._reader
        self._writer = self._reader = None
        if writer is not None and reader is not None:
            await asyncio.to_thread(writer.stop)
            await asyncio.to_thread(reader.stop)
        await asyncio.to_thread(self._release)

    async def write(self, operation: Callable[[Transaction], T], *, is_submit: bool = False) -> T:
        """What the operation returns, once it is safely on the disk. It is run again if it failed
        together with others."""
        return await self._ask(self._writer, operation, is_submit)

    async def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """What the operation returns; all that it reads is of one moment."""
        return await self._ask(self._reader, operation, False)

    async def _ask(
        self, worker: WorkerThread | None, operation: Callable[[Any], T], is_submit: bool
    ) -> T:
        if worker is None:
            raise StoreUnavailableError("The store is not open.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        worker.put(Item(operation, future, is_submit))
        timer = loop.call_later(self._timeout, self._give_up, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _give_up(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_exception(
                StoreUnavailableError(f"{self._path} did not answer within {self._timeout:g} s.")
            )

    # -- opening --------------------------------------------------------------------------------

    def _open(self) -> int:
        self._lock = self._take_lock()
        # Bodies are in it: for this user only. SQLite's other files get the same mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        found = self._path.stat()
        self._file = (found.st_dev, found.st_ino)
        self._writing = connect(self._path, for_writing=True)
        self._reading = connect(self._path, for_writing=False)
        now = self._clock()
        # The lock says that whoever had these leases is gone.
        self._writing.execute("UPDATE task SET lease_until = ? WHERE lease_until > ?", (now, now))
        return feed_end(self._writing)

    def _take_lock(self) -> int:
        path = self._path.with_name(self._path.name + ".lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise StoreUnavailableError(
                f"{self._path} is in use by another gateway (process {owner or 'unknown'}): a "
                "SQLite store has one process."
            ) from None
        except BaseException:
            os.close(lock)
            raise
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    def _release(self) -> None:
        for one in (self._reading, self._writing):
            if one is not None:
                one.close()
        self._reading = self._writing = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- writing, in its thread -----------------------------------------------------------------

    def _write_batch(self, batch: list[Item]) -> None:
        items = [one for one in batch if not one.future.done()]  # given up
        touched: set[str] = set()
        began = monotonic()
        end = self._write_all(items, touched) if items else None
        self._settle(items, end, touched, monotonic() - began)

    def _write_all(self, items: list[Item], touched: set[str]) -> int | None:
        try:
            return self._commit(items, touched)
        except (OSError, sqlite3.Error, SchemaError) as error:
            is_full = _error_code(error) == sqlite3.SQLITE_FULL
            if is_full and len(items) > 1:
                # One of them may have been too large; what is small may still have room.
                ends = [self._write_all([one], touched) for one in items]
                return max((one for one in ends if one is not None), default=None)
            if not is_full:
                _log.error("the store cannot be written: %s", error)
                self._drop_writing()
            for one in items:
                one.result, one.error = None, self._describe(error, one.is_submit)
            return None

    def _commit(self, items: list[Item], touched: set[str]) -> int:
        self._require_file()
        if self._writing is None:
            self._writing = connect(self._path, for_writing=True)
        db = self._writing
        transaction = Transaction(db, self._clock(), self._has_room(db), set())
        try:
            db.execute("BEGIN IMMEDIATE")
            if not self._run_all(transaction, items):
                db.execute("ROLLBACK")
                db.execute("BEGIN IMMEDIATE")
                transaction.touched.clear()
                for one in items:
                    self._run_operation(transaction, one)
            end = feed_end(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        touched |= transaction.touched
        return end

    @staticmethod
    def _run_all(transaction: Transaction, items: list[Item]) -> bool:
        """False when one fails: then each gets a savepoint of its own, which would take a third of
        the time of those that do not fail."""
        try:
            for one in items:
                one.error, one.result = None, one.operation(transaction)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not isinstance(error, _OPERATION_ERRORS):
                raise
            return False
        return True

    def _require_file(self) -> None:
        """SQLite goes on writing to a file that was deleted, or replaced: what is accepted then
        would be gone with this process. Raises SchemaError."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            raise SchemaError(f"{self._path} was deleted while it was in use.") from None
        if (found.st_dev, found.st_ino) != self._file:
            raise SchemaError(f"{self._path} was replaced while it was in use; start again.")

    @staticmethod
    def _run_operation(transaction: Transaction, item: Item) -> None:
        db = transaction.db
        item.error = None
        db.execute("SAVEPOINT operation")
        try:
            item.result = item.operation(transaction)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not isinstance(error, _OPERATION_ERRORS):
                raise
            db.execute("ROLLBACK TO operation")
            item.error = error
        db.execute("RELEASE operation")

    def _has_room(self, db: sqlite3.Connection) -> bool:
        stat = os.statvfs(self._path.parent)
        room = stat.f_bavail * stat.f_frsize
        if room >= self._reserve:
            return True
        pages, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size")
        )
        return bool(room + pages * size >= self._reserve)

    def _drop_writing(self) -> None:
        """The next batch connects again: after an I/O error nothing that is cached can be relied
        on."""
        db, self._writing = self._writing, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error as error:
                _log.debug("the connection cannot be closed: %s", error)

    # -- reading, in its thread -----------------------------------------------------------------

    def _read_batch(self, batch: list[Item]) -> None:
        for one in batch:
            try:
                one.result = self._read_one(one.operation)
            except (OSError, sqlite3.Error, SchemaError) as error:
                one.error = self._describe(error, False)
                db, self._reading = self._reading, None
                if db is not None:
                    db.close()
            except Exception as error:
                one.error = error
        self._settle(batch, None, set())

    def _read_one(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        if self._reading is None:
            self._reading = connect(self._path, for_writing=False)
        self._reading.execute("BEGIN")
        try:
            return operation(self._reading)
        finally:
            self._reading.execute("ROLLBACK")

    # -- answering ------------------------------------------------------------------------------

    def _settle(
        self, items: list[Item], end: int | None, touched: set[str], seconds: float = 0.0
    ) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._answer, items, end, touched, seconds)
        except RuntimeError:
            _log.debug("the event loop has ended before its answers")

    def _answer(
        self, items: list[Item], end: int | None, touched: set[str], seconds: float
    ) -> None:
        for one in items:
            if one.future.done():
                continue
            if one.error is not None:
                one.future.set_exception(one.error)
            else:
                one.future.set_result(one.result)
        if end is not None:
            self._observe_commit(len(items), seconds)
            self._on_commit(end, touched)

    def _describe(self, error: Exception, is_submit: bool) -> StoreError:
        code = _error_code(error)
        if code == sqlite3.SQLITE_FULL:
            kind = StoreFullError if is_submit else StoreUnavailableError
            return kind(f"The disk of {self._path} is full.")
        if isinstance(error, SchemaError):
            return StoreUnavailableError(str(error))
        if isinstance(error, OSError):
            return StoreUnavailableError(f"{self._path} cannot be opened: {error.strerror}.")
        reason = _REASONS.get(code, f"SQLite reports: {error}")
        return StoreUnavailableError(f"{self._path} cannot be used: {reason}.")


_REASONS = {
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "its disk reports an error",
    sqlite3.SQLITE_BUSY: "another program has locked it",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite file",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
}


def _error_code(error: Exception) -> int:
    """The primary code of an error of SQLite; 0 for others."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
