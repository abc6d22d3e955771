"""What is read. Each function reads from one moment of the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from servedeck.async_queue.tasks import (
    Attempt,
    FeedEvent,
    QueueMinute,
    StateCounts,
    Task,
    TaskState,
)
from servedeck.gateway.stores.store import (
    Content,
    FeedTrimmedError,
    Found,
    Output,
    Outputs,
    Response,
    States,
)
from servedeck.gateway.stores.task_records import build_task

_FIELDS = (
    "id",
    "state",
    "attempt",
    "max_attempts",
    "urgency",
    "created",
    "started",
    "ended",
    "deadline",
    "next_attempt",
    "expires",
    "reason",
    "message",
    "status",
    "pod",
    "owner",
    "request_bytes",
    "response_bytes",
    "prompt_tokens",
    "completion_tokens",
)
"""Columns of `task` that a Task has."""

_SELECT = f"SELECT {', '.join(_FIELDS)}, head FROM task JOIN request USING (seq)"  # noqa: S608


_POSITION = (
    "SELECT (SELECT ifnull(sum(n), 0) FROM bucket WHERE bits = 15 AND number < ?1 >> 15) + "
    "(SELECT ifnull(sum(n), 0) FROM bucket WHERE bits = 9 "
    "AND number >= (?1 >> 15) << 6 AND number < ?1 >> 9) + "
    "(SELECT ifnull(sum(n), 0) FROM bucket WHERE bits = 3 "
    "AND number >= (?1 >> 9) << 6 AND number <= ?1 >> 3) - "
    "(SELECT count(*) FROM task INDEXED BY task_ready WHERE state = 'pending' "
    "AND next_attempt IS NULL AND (finish, id) >= (?1, ?2) AND finish < ((?1 >> 3) + 1) << 3)"
)
"""Tasks before (finish time, id) of one that is in the queue: those in the buckets of each
size (schema.BUCKET_BITS) up to its own, less those in it that are not before it, which are few for
a new task."""

_attempt_decoder = msgspec.json.Decoder(Attempt)


def _task_of(row: Sequence[Any]) -> Task:
    fields = dict(zip(_FIELDS, row, strict=False))
    fields["state"] = TaskState(fields["state"])
    return build_task(row[len(_FIELDS)], **fields)


def content_of(size: int, object: str, data: bytes) -> Content:
    return Content(data=data, object=object, size=size)


def find(db: sqlite3.Connection, id: str) -> Found | None:
    row = db.execute(f"{_SELECT} WHERE id = ?", (id,)).fetchone()
    if row is None:
        return None
    flags = db.execute(
        "SELECT has_credentials, has_callback FROM task WHERE id = ?", (id,)
    ).fetchone()
    return Found(_task_of(row), row[len(_FIELDS)], bool(flags[0]), bool(flags[1]))


def page(
    db: sqlite3.Connection, states: States, after: str, limit: int, oldest_first: bool
) -> list[Task]:
    # Each state by itself: of several at once SQLite would sort all that there are.
    each = states if isinstance(states, frozenset) else (states,)
    rows = [row for one in each for row in _page_rows(db, one, after, limit, oldest_first)]
    if len(each) > 1:
        rows.sort(key=lambda row: row[0], reverse=not oldest_first)
    return [_task_of(row) for row in rows[:limit]]


def _page_rows(
    db: sqlite3.Connection, state: TaskState | None, after: str, limit: int, oldest_first: bool
) -> list[Any]:
    sign, order = (">", "ASC") if oldest_first else ("<", "DESC")
    where, values = ["1"], list[object]()
    if state is not None:
        where.append("state = ?")
        values.append(state.value)
    if after:
        where.append(f"id {sign} ?")
        values.append(after)
    return db.execute(
        f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY id {order} LIMIT ?", (*values, limit)
    ).fetchall()


def find_many(db: sqlite3.Connection, ids: Sequence[str]) -> list[Task]:
    places = ", ".join("?" * len(ids))
    rows = db.execute(f"{_SELECT} WHERE id IN ({places}) ORDER BY id DESC", tuple(ids))
    return [_task_of(row) for row in rows]


def position(db: sqlite3.Connection, id: str) -> int | None:
    row = db.execute(
        "SELECT finish FROM task WHERE id = ? AND state = 'pending' AND next_attempt IS NULL",
        (id,),
    ).fetchone()
    return None if row is None else read_position(db, row[0], id)


def read_position(db: sqlite3.Connection, finish: int, id: str) -> int:
    """Tasks in the queue before this finish time and id."""
    return int(db.execute(_POSITION, (finish, id)).fetchone()[0])


def read_request(db: sqlite3.Connection, id: str) -> Content | None:
    row = db.execute(
        "SELECT size, object, data FROM task JOIN request USING (seq) WHERE id = ?", (id,)
    ).fetchone()
    return None if row is None else content_of(*row)


def read_response(db: sqlite3.Connection, id: str) -> Response | None:
    row = db.execute(
        "SELECT head, size, object, data FROM task JOIN response USING (seq) WHERE id = ?", (id,)
    ).fetchone()
    return None if row is None else Response(row[0], content_of(*row[1:]))


def read_attempts(db: sqlite3.Connection, id: str) -> list[Attempt]:
    rows = db.execute(
        "SELECT record FROM attempt WHERE seq = (SELECT seq FROM task WHERE id = ?) "
        "ORDER BY attempt",
        (id,),
    )
    return [_attempt_decoder.decode(row[0]) for row in rows]


def read_outputs(db: sqlite3.Connection, id: str, attempt: int, after: int) -> Outputs:
    row = db.execute("SELECT seq, attempt, state FROM task WHERE id = ?", (id,)).fetchone()
    if row is None:
        return Outputs(0, [], True)
    seq, last, name = row
    rows = db.execute(
        "SELECT number, data FROM output WHERE seq = ? AND number > ? ORDER BY number",
        (seq, after if attempt == last else 0),
    )
    state = TaskState(name)
    has_ended = state.is_final or (state is TaskState.PENDING and last > 0)
    return Outputs(last, [Output(*one) for one in rows], has_ended)


def counts(db: sqlite3.Connection) -> StateCounts:
    return StateCounts(**dict(db.execute("SELECT state, n FROM count")))


def oldest_pending(db: sqlite3.Connection) -> float | None:
    # Ids sort by age.
    row = db.execute(
        "SELECT created FROM task WHERE state = 'pending' ORDER BY id LIMIT 1"
    ).fetchone()
    return None if row is None else row[0]


def running(db: sqlite3.Connection) -> dict[str, int]:
    return dict(
        db.execute("SELECT pod, count(*) FROM task WHERE state = 'processing' GROUP BY pod")
    )


def minutes(db: sqlite3.Connection, now: float) -> list[QueueMinute]:
    rows = db.execute(
        "SELECT time, submitted, completed, failed, cancelled, depth FROM minute WHERE time > ? "
        "ORDER BY time",
        (now - 3600,),
    )
    return [
        QueueMinute(
            time=float(time),
            submitted=submitted,
            completed=completed,
            failed=failed,
            cancelled=cancelled,
            depth=depth,
        )
        for time, submitted, completed, failed, cancelled, depth in rows
    ]


def read_feed(db: sqlite3.Connection, after: str, limit: int) -> list[FeedEvent]:
    """Raises FeedTrimmedError, also for a cursor that is not of this store."""
    cursor = int(after) if after.isascii() and after.isdigit() and len(after) < 19 else -1
    first, last = db.execute(
        "SELECT (SELECT min(cursor) FROM feed), "
        "ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'feed'), 0)"
    ).fetchone()
    if cursor < (last if first is None else first - 1) or cursor > last:
        raise FeedTrimmedError("Events after this cursor are no longer kept.")
    rows = db.execute(
        "SELECT cursor, id, state, attempt, time FROM feed WHERE cursor > ? ORDER BY cursor "
        "LIMIT ?",
        (cursor, limit),
    )
    return [
        FeedEvent(
            cursor=str(number),
            id=id,
            state=TaskState(state) if state else None,
            attempt=attempt,
            time=time,
        )
        for number, id, state, attempt, time in rows
    ]


def feed_end(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'feed'").fetchone()
    return row[0] if row else 0
