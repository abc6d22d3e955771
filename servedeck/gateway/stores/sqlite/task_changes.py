"""What becomes of a task that is in the store: shared by what writes it and what sweeps it."""

from __future__ import annotations

import sqlite3

import msgspec

from servedeck.async_queue.tasks import Attempt, FailureReason, TaskState
from servedeck.gateway.stores.sqlite.database import Transaction
from servedeck.gateway.stores.task_records import (
    ATTEMPTS_KEPT,
    EXPIRED_MESSAGE,
    OUTPUT_SECONDS,
)


def end_task(
    tx: Transaction,
    seq: int,
    state: TaskState,
    keep: float,
    *,
    reason: str = "",
    message: str = "",
    status: int | None = None,
    response_bytes: int = 0,
    prompt_tokens: int | None = None,
    completion_tokens: int | None = None,
) -> None:
    """Its credentials are deleted and its callback is made due by the triggers."""
    tx.db.execute(
        "UPDATE task SET state = ?, ended = ?, changed = ?, expires = ?, lease_until = NULL, "
        "next_attempt = NULL, reason = ?, message = ?, status = ?, response_bytes = ?, "
        "prompt_tokens = ?, completion_tokens = ?, "
        # Of a pending task no attempt ends now: the last one did not run until now.
        "started = CASE state WHEN 'pending' THEN NULL ELSE started END, "
        "outputs_until = CASE WHEN EXISTS (SELECT 1 FROM output WHERE seq = ?) THEN ? END "
        "WHERE seq = ?",
        (
            state.value,
            tx.now,
            tx.now,
            tx.now + keep,
            reason,
            message,
            status,
            response_bytes,
            prompt_tokens,
            completion_tokens,
            seq,
            tx.now + OUTPUT_SECONDS,
            seq,
        ),
    )
    touch(tx, seq)


def expire(tx: Transaction, seq: int, keep: float) -> None:
    record_cut_attempt(tx, seq, EXPIRED_MESSAGE)
    end_task(
        tx,
        seq,
        TaskState.FAILED,
        keep,
        reason=FailureReason.EXPIRED.value,
        message=EXPIRED_MESSAGE,
    )


def give_back(tx: Transaction, seq: int, message: str, delay: float, *, is_counted: bool) -> None:
    """Processing to Pending, at its former place in the queue once the delay is over."""
    tx.db.execute(
        "UPDATE task SET state = 'pending', changed = ?, lease_until = NULL, next_attempt = ?, "
        "message = ?, used = used - ? WHERE seq = ?",
        (tx.now, tx.now + delay if delay > 0 else None, message, not is_counted, seq),
    )
    touch(tx, seq)


def record_attempt(db: sqlite3.Connection, seq: int, record: Attempt) -> None:
    db.execute(
        "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?)",
        (seq, record.attempt, msgspec.json.encode(record)),
    )
    if record.attempt > ATTEMPTS_KEPT:
        db.execute(
            "DELETE FROM attempt WHERE seq = ? AND attempt <= ?",
            (seq, record.attempt - ATTEMPTS_KEPT),
        )


def record_cut_attempt(tx: Transaction, seq: int, message: str, *, is_counted: bool = True) -> None:
    """The end of the attempt of a task that is Processing, of which its worker said nothing."""
    row = tx.db.execute(
        "SELECT attempt, pod, worker, started FROM task WHERE seq = ? AND state = 'processing'",
        (seq,),
    ).fetchone()
    if row is not None:
        attempt, pod, worker, started = row
        record = Attempt(
            attempt=attempt,
            pod=pod,
            worker=worker,
            began=started,
            ended=tx.now,
            message=message,
            is_counted=is_counted,
        )
        record_attempt(tx.db, seq, record)


def touch(tx: Transaction, seq: int) -> None:
    """Wake those who wait for a change of the task, after the commit."""
    tx.touched.add(tx.db.execute("SELECT id FROM task WHERE seq = ?", (seq,)).fetchone()[0])
