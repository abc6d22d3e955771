"""What time does to tasks: leases, delays, deadlines and retention end."""

from __future__ import annotations

from collections.abc import Sequence

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.gateway.stores.sqlite.database import Transaction
from servedeck.gateway.stores.sqlite.task_changes import (
    end_task,
    expire,
    give_back,
    record_cut_attempt,
)
from servedeck.gateway.stores.store import SWEEP_LIMIT, Change, Swept
from servedeck.gateway.stores.task_records import LOST_MESSAGE

_FEED_LIMIT = 10_000
"""Events that one sweep deletes at most: 3,000 tasks make as many from submit to end."""
_MINUTES_KEPT = 60


def sweep(tx: Transaction, keep: float, feed_kept: int) -> Swept:
    # The expired come before the due, so that a task whose deadline has passed is not due as well.
    lapsed, exhausted = _sweep_leases(tx, keep)
    expired = _sweep_deadlines(tx, keep)
    due = _sweep_delayed(tx)
    deleted = _delete_expired(tx)
    _delete_outputs(tx)
    _trim_feed(tx, feed_kept)
    _tidy_queue(tx)
    _record_depth(tx)
    ended: dict[str, int] = {
        FailureReason.EXPIRED: expired,
        FailureReason.EXHAUSTED: exhausted,
    }
    return Swept(due, lapsed, expired, deleted, _take_orphans(tx), ended)


def _sweep_leases(tx: Transaction, keep: float) -> tuple[int, int]:
    """How many, and how many of them had no attempt left."""
    rows = tx.db.execute(
        "SELECT seq, used >= max_attempts FROM task WHERE lease_until <= ? "
        "ORDER BY lease_until LIMIT ?",
        (tx.now, SWEEP_LIMIT),
    ).fetchall()
    for seq, is_last in rows:
        record_cut_attempt(tx, seq, LOST_MESSAGE)
        if is_last:
            end_task(
                tx,
                seq,
                TaskState.FAILED,
                keep,
                reason=FailureReason.EXHAUSTED.value,
                message=LOST_MESSAGE,
            )
        else:
            give_back(tx, seq, LOST_MESSAGE, 0.0, is_counted=True)
    return len(rows), sum(is_last for _, is_last in rows)


def _sweep_deadlines(tx: Transaction, keep: float) -> int:
    rows = tx.db.execute(
        "SELECT seq FROM task INDEXED BY task_deadline WHERE ended IS NULL AND deadline <= ? "
        "ORDER BY deadline LIMIT ?",
        (tx.now, SWEEP_LIMIT),
    ).fetchall()
    for (seq,) in rows:
        expire(tx, seq, keep)
    return len(rows)


def _sweep_delayed(tx: Transaction) -> int:
    rows = tx.db.execute(
        "SELECT seq, id FROM task WHERE next_attempt <= ? ORDER BY next_attempt LIMIT ?",
        (tx.now, SWEEP_LIMIT),
    ).fetchall()
    for seq, id in rows:
        tx.db.execute("UPDATE task SET next_attempt = NULL WHERE seq = ?", (seq,))
        tx.touched.add(id)
    return len(rows)


def _delete_expired(tx: Transaction) -> int:
    rows = tx.db.execute(
        "SELECT seq, id, attempt FROM task WHERE expires <= ? ORDER BY expires LIMIT ?",
        (tx.now, SWEEP_LIMIT),
    ).fetchall()
    for seq, id, attempt in rows:
        _delete(tx, seq, id, attempt)
    return len(rows)


def _delete(tx: Transaction, seq: int, id: str, attempt: int) -> None:
    tx.db.execute("DELETE FROM task WHERE seq = ?", (seq,))
    tx.db.execute(
        "INSERT INTO feed(id, state, attempt, time) VALUES (?, NULL, ?, ?)", (id, attempt, tx.now)
    )
    tx.touched.add(id)


def forget(tx: Transaction, id: str) -> Change:
    row = tx.db.execute("SELECT seq, attempt, state FROM task WHERE id = ?", (id,)).fetchone()
    if row is None:
        return Change(False, None)
    seq, attempt, name = row
    if not (state := TaskState(name)).is_final:
        return Change(False, state)
    _delete(tx, seq, id, attempt)
    return Change(True, None)


def _delete_outputs(tx: Transaction) -> None:
    rows = tx.db.execute(
        "SELECT seq FROM task WHERE outputs_until <= ? LIMIT ?", (tx.now, SWEEP_LIMIT)
    ).fetchall()
    for (seq,) in rows:
        tx.db.execute("DELETE FROM output WHERE seq = ?", (seq,))
        tx.db.execute("UPDATE task SET outputs_until = NULL WHERE seq = ?", (seq,))


def _trim_feed(tx: Transaction, kept: int) -> None:
    first, last = tx.db.execute(
        "SELECT (SELECT min(cursor) FROM feed), (SELECT max(cursor) FROM feed)"
    ).fetchone()
    if first is not None and last - first >= kept:
        until = min(last - kept, first + _FEED_LIMIT - 1)
        tx.db.execute("DELETE FROM feed WHERE cursor <= ?", (until,))


def _tidy_queue(tx: Transaction) -> None:
    """Delete the last finish times of owners that no longer delay them, and empty buckets."""
    tx.db.execute(
        "DELETE FROM owner_finish WHERE (owner, urgency) IN (SELECT owner, urgency "
        "FROM owner_finish INDEXED BY owner_finish_time WHERE finish <= "
        "(SELECT value FROM setting WHERE name = 'virtual_time') ORDER BY finish LIMIT ?)",
        (5 * SWEEP_LIMIT,),
    )
    tx.db.execute("DELETE FROM bucket WHERE n = 0")


def _record_depth(tx: Transaction) -> None:
    """Written only if it has changed: an idle gateway needs no sync of the disk each second."""
    minute = int(tx.now // 60) * 60
    tx.db.execute(
        "INSERT INTO minute(time, depth) SELECT ?, n FROM count WHERE state = 'pending' "
        "ON CONFLICT(time) DO UPDATE SET depth = excluded.depth "
        "WHERE depth IS NOT excluded.depth",
        (minute,),
    )
    tx.db.execute("DELETE FROM minute WHERE time <= ?", (minute - 60 * _MINUTES_KEPT,))


def _take_orphans(tx: Transaction) -> tuple[str, ...]:
    """Objects of what was deleted, unless a later response has the same name."""
    names = unneeded_objects(tx, 2 * SWEEP_LIMIT)
    drop_objects(tx, names)
    return tuple(names)


def unneeded_objects(tx: Transaction, limit: int) -> list[str]:
    tx.db.execute(
        "DELETE FROM orphan WHERE EXISTS (SELECT 1 FROM response "
        "WHERE response.object = orphan.object AND response.object <> '')"
    )
    rows = tx.db.execute("SELECT object FROM orphan LIMIT ?", (limit,))
    return [name for (name,) in rows]


def drop_objects(tx: Transaction, names: Sequence[str]) -> None:
    tx.db.executemany("DELETE FROM orphan WHERE object = ?", [(one,) for one in names])
