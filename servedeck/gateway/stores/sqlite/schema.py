"""The tables. Triggers keep what follows from a task's row (counts, feed, minutes, the queue's
buckets), so that no statement that changes a row can forget them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

VERSION = 1

_ADDED_COLUMNS = ("prompt_tokens", "completion_tokens")
"""Of the tasks, which files of earlier versions do not have. The version stays, as those versions
can use a file that has them."""

BUCKET_BITS = (15, 9, 3)
"""Virtual finish times are counted in buckets of 2**15, 2**9 and 2**3, so that a place in the queue
is the sum of some buckets of each size, not a count of all tasks before it."""

_BUCKETS = ", ".join(f"({bits}, {{row}}.finish >> {bits}, {{change}})" for bits in BUCKET_BITS)
_COUNT_IN_BUCKETS = (
    f"INSERT INTO bucket VALUES {_BUCKETS} "  # noqa: S608
    "ON CONFLICT(bits, number) DO UPDATE SET n = n + excluded.n;"
)
_JOIN_QUEUE = _COUNT_IN_BUCKETS.format(row="NEW", change=1)
_LEAVE_QUEUE = _COUNT_IN_BUCKETS.format(row="OLD", change=-1)

_TABLES = f"""
CREATE TABLE task(
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL DEFAULT 'pending',
  attempt INTEGER NOT NULL DEFAULT 0, used INTEGER NOT NULL DEFAULT 0,
  max_attempts INTEGER NOT NULL, urgency INTEGER NOT NULL, owner TEXT NOT NULL,
  finish INTEGER NOT NULL, created REAL NOT NULL, changed REAL NOT NULL, deadline REAL NOT NULL,
  started REAL, ended REAL, next_attempt REAL, expires REAL, lease_until REAL, outputs_until REAL,
  reason TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', status INTEGER,
  pod TEXT NOT NULL DEFAULT '', worker TEXT NOT NULL DEFAULT '',
  has_credentials INTEGER NOT NULL, has_callback INTEGER NOT NULL,
  request_bytes INTEGER NOT NULL, response_bytes INTEGER NOT NULL DEFAULT 0,
  prompt_tokens INTEGER, completion_tokens INTEGER);
CREATE INDEX task_state ON task(state, id);
CREATE INDEX task_ready ON task(finish, id) WHERE state = 'pending' AND next_attempt IS NULL;
CREATE INDEX task_delayed ON task(next_attempt) WHERE next_attempt IS NOT NULL;
CREATE INDEX task_lease ON task(lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX task_pod ON task(pod) WHERE state = 'processing';
CREATE INDEX task_deadline ON task(deadline) WHERE ended IS NULL;
CREATE INDEX task_expires ON task(expires) WHERE expires IS NOT NULL;
CREATE INDEX task_outputs ON task(outputs_until) WHERE outputs_until IS NOT NULL;

CREATE TABLE request(
  seq INTEGER PRIMARY KEY, head BLOB NOT NULL, size INTEGER NOT NULL, object TEXT NOT NULL,
  data BLOB NOT NULL);
CREATE TABLE response(
  seq INTEGER PRIMARY KEY, head BLOB NOT NULL, size INTEGER NOT NULL, object TEXT NOT NULL,
  data BLOB NOT NULL);
CREATE INDEX response_object ON response(object) WHERE object <> '';
CREATE TABLE credentials(seq INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE idempotency(
  key TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, fingerprint TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE attempt(
  seq INTEGER, attempt INTEGER, record BLOB NOT NULL, PRIMARY KEY(seq, attempt)) WITHOUT ROWID;
CREATE TABLE output(
  seq INTEGER, number INTEGER, data BLOB NOT NULL, PRIMARY KEY(seq, number));
CREATE TABLE callback(
  seq INTEGER PRIMARY KEY, due REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0);
CREATE INDEX callback_due ON callback(due);

CREATE TABLE feed(
  cursor INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, state TEXT, attempt INTEGER NOT NULL,
  time REAL NOT NULL);
CREATE TABLE count(state TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO count VALUES ('pending', 0), ('delayed', 0), ('processing', 0), ('completed', 0),
  ('failed', 0), ('cancelled', 0);
CREATE TABLE minute(
  time INTEGER PRIMARY KEY, submitted INTEGER NOT NULL DEFAULT 0,
  completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0, depth INTEGER);
CREATE TABLE bucket(
  bits INTEGER, number INTEGER, n INTEGER NOT NULL, PRIMARY KEY(bits, number)) WITHOUT ROWID;
CREATE TABLE owner_finish(
  owner TEXT, urgency INTEGER, finish INTEGER NOT NULL, PRIMARY KEY(owner, urgency)) WITHOUT ROWID;
CREATE INDEX owner_finish_time ON owner_finish(finish);
CREATE TABLE orphan(object TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE setting(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO setting VALUES ('virtual_time', 0), ('control', NULL), ('checked', 0);

CREATE TRIGGER task_added AFTER INSERT ON task BEGIN
  UPDATE count SET n = n + 1 WHERE state = 'pending';
  INSERT INTO feed(id, state, attempt, time) VALUES (NEW.id, 'pending', 0, NEW.changed);
  {_JOIN_QUEUE}
  INSERT INTO owner_finish VALUES (NEW.owner, NEW.urgency, NEW.finish)
    ON CONFLICT(owner, urgency) DO UPDATE SET finish = NEW.finish;
  INSERT INTO minute(time, submitted) VALUES (CAST(NEW.changed / 60 AS INTEGER) * 60, 1)
    ON CONFLICT(time) DO UPDATE SET submitted = submitted + 1;
END;
CREATE TRIGGER task_changed AFTER UPDATE OF state ON task WHEN NEW.state <> OLD.state BEGIN
  UPDATE count SET n = n - 1 WHERE state = OLD.state;
  UPDATE count SET n = n + 1 WHERE state = NEW.state;
  INSERT INTO feed(id, state, attempt, time) VALUES (NEW.id, NEW.state, NEW.attempt, NEW.changed);
END;
CREATE TRIGGER task_ended AFTER UPDATE OF ended ON task WHEN NEW.ended IS NOT NULL BEGIN
  INSERT INTO minute(time, completed, failed, cancelled) VALUES (
      CAST(NEW.ended / 60 AS INTEGER) * 60,
      NEW.state = 'completed', NEW.state = 'failed', NEW.state = 'cancelled')
    ON CONFLICT(time) DO UPDATE SET completed = completed + excluded.completed,
      failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled;
  DELETE FROM credentials WHERE seq = NEW.seq;
  INSERT OR REPLACE INTO callback(seq, due) SELECT NEW.seq, NEW.ended WHERE NEW.has_callback;
END;
CREATE TRIGGER task_left_queue AFTER UPDATE OF state, next_attempt, finish ON task
WHEN OLD.state = 'pending' AND OLD.next_attempt IS NULL BEGIN
  {_LEAVE_QUEUE}
END;
CREATE TRIGGER bucket_emptied AFTER UPDATE OF n ON bucket WHEN NEW.n = 0 BEGIN
  DELETE FROM bucket WHERE bits = NEW.bits AND number = NEW.number;
END;
CREATE TRIGGER task_joined_queue AFTER UPDATE OF state, next_attempt, finish ON task
WHEN NEW.state = 'pending' AND NEW.next_attempt IS NULL BEGIN
  {_JOIN_QUEUE}
END;
CREATE TRIGGER task_delay AFTER UPDATE OF next_attempt ON task
WHEN (NEW.next_attempt IS NULL) <> (OLD.next_attempt IS NULL) BEGIN
  UPDATE count SET n = n + (NEW.next_attempt IS NOT NULL) - (OLD.next_attempt IS NOT NULL)
    WHERE state = 'delayed';
END;
CREATE TRIGGER task_deleted AFTER DELETE ON task BEGIN
  UPDATE count SET n = n - 1 WHERE state = OLD.state;
  DELETE FROM request WHERE seq = OLD.seq;
  DELETE FROM response WHERE seq = OLD.seq;
  DELETE FROM credentials WHERE seq = OLD.seq;
  DELETE FROM idempotency WHERE seq = OLD.seq;
  DELETE FROM attempt WHERE seq = OLD.seq;
  DELETE FROM output WHERE seq = OLD.seq;
  DELETE FROM callback WHERE seq = OLD.seq;
END;
CREATE TRIGGER request_deleted AFTER DELETE ON request WHEN OLD.object <> '' BEGIN
  INSERT OR IGNORE INTO orphan VALUES (OLD.object);
END;
CREATE TRIGGER response_deleted AFTER DELETE ON response WHEN OLD.object <> '' BEGIN
  INSERT OR IGNORE INTO orphan VALUES (OLD.object);
END;
"""  # noqa: S608 - a constant


class SchemaError(Exception):
    """The file is of another version, or not on a file system that this store can use; str() is
    one sentence."""


def connect(path: Path, *, for_writing: bool) -> sqlite3.Connection:
    """A connection, to be used by one thread at a time. Raises SchemaError and sqlite3.Error."""
    db = sqlite3.connect(
        path,
        timeout=5.0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        # A process that is killed would leave its temporary files, with parts of bodies, behind.
        db.execute("PRAGMA temp_store = MEMORY")
        if for_writing:
            _prepare(db, path)
        else:
            db.execute("PRAGMA query_only = 1")
            db.execute("PRAGMA cache_size = -4096")
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise SchemaError(f"{path} is on a file system without shared memory, which SQLite needs.")
    # FULL: a commit returns when the disk has it, so that a power cut loses nothing accepted.
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 4000")
    db.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    db.execute("PRAGMA cache_size = -8192")
    # What is deleted, credentials above all, does not stay in the file.
    db.execute("PRAGMA secure_delete = ON")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        raise SchemaError(
            f"{path} was written by another version of servedeck (its schema is {version}, "
            f"this one's is {VERSION})."
        )
    else:
        _add_columns(db)


def _add_columns(db: sqlite3.Connection) -> None:
    present = {row[1] for row in db.execute("PRAGMA table_info(task)")}
    for name in _ADDED_COLUMNS:
        if name not in present:
            db.execute(f"ALTER TABLE task ADD COLUMN {name} INTEGER")
