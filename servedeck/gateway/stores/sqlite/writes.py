"""What callers, workers and operators change. Each function is one operation of a transaction."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Sequence

from servedeck.async_queue.tasks import Attempt, TaskState
from servedeck.gateway.stores.sqlite.control import CLOSED, read_control
from servedeck.gateway.stores.sqlite.database import Transaction
from servedeck.gateway.stores.sqlite.reads import content_of, read_position
from servedeck.gateway.stores.sqlite.task_changes import (
    end_task,
    expire,
    give_back,
    record_attempt,
    record_cut_attempt,
)
from servedeck.gateway.stores.store import (
    SWEEP_LIMIT,
    Callback,
    Change,
    Claimed,
    Content,
    End,
    NewTask,
    StoreFullError,
    SubmitOutcome,
    Submitted,
)
from servedeck.gateway.stores.task_records import (
    CANCELLED_MESSAGE,
    CLOSED_REFUSAL,
    NO_CREDENTIALS_REFUSAL,
    UNHEARD_MESSAGE,
)


def submit(tx: Transaction, task: NewTask, max_depth: int) -> Submitted:
    db = tx.db
    if task.idempotency_key:
        row = db.execute(
            "SELECT id, fingerprint FROM idempotency JOIN task USING (seq) WHERE key = ?",
            (task.idempotency_key,),
        ).fetchone()
        if row is not None:
            is_same = row[0] == task.id or row[1] == task.fingerprint
            return Submitted(SubmitOutcome.REPEATED if is_same else SubmitOutcome.CONFLICT, row[0])
    exists, closed, pending, now, last = db.execute(
        f"SELECT EXISTS (SELECT 1 FROM task WHERE id = ?), {CLOSED}, "  # noqa: S608
        "(SELECT n FROM count WHERE state = 'pending'), "
        "(SELECT value FROM setting WHERE name = 'virtual_time'), "
        "(SELECT finish FROM owner_finish WHERE owner = ? AND urgency = ?)",
        (task.id, task.owner, task.urgency),
    ).fetchone()
    if exists:
        return Submitted(SubmitOutcome.REPEATED, task.id)
    if closed:
        return Submitted(SubmitOutcome.CLOSED, "")
    if pending >= max_depth:
        return Submitted(SubmitOutcome.FULL, "")
    if not tx.has_room:
        raise StoreFullError("The disk of the store has no room for another task.")
    finish = max(now, last or 0) + (1 << task.urgency)
    seq = db.execute(
        "INSERT INTO task(id, max_attempts, urgency, owner, finish, created, changed, deadline, "
        "has_credentials, has_callback, request_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            task.id,
            task.max_attempts,
            task.urgency,
            task.owner,
            finish,
            tx.now,
            tx.now,
            tx.now + task.lifetime,
            bool(task.credentials),
            task.has_callback,
            task.body.size,
        ),
    ).lastrowid
    assert seq is not None
    _put_content(db, "request", seq, task.head, task.body)
    if task.credentials:
        db.execute("INSERT INTO credentials VALUES (?, ?)", (seq, task.credentials))
    if task.idempotency_key:
        db.execute(
            "INSERT INTO idempotency VALUES (?, ?, ?)",
            (task.idempotency_key, seq, task.fingerprint),
        )
    tx.touched.add(task.id)
    return Submitted(SubmitOutcome.ACCEPTED, task.id, read_position(db, finish, task.id))


def claim(
    tx: Transaction,
    worker: str,
    pods: Sequence[str],
    limit: int,
    concurrency: int,
    pod_concurrency: int,
    lease: float,
    keep: float,
) -> tuple[list[Claimed], int]:
    """The tasks, and how many overdue ones were met, which are deleted after `keep` seconds."""
    db = tx.db
    control = read_control(db)
    if control.paused:
        return [], 0
    if control.concurrency is not None:
        concurrency = control.concurrency
    if control.pod_concurrency is not None:
        pod_concurrency = control.pod_concurrency
    running: dict[str, int] = dict(
        db.execute(
            "SELECT pod, count(*) FROM task INDEXED BY task_pod WHERE state = 'processing' "
            "GROUP BY pod"
        )
    )
    if concurrency:
        limit = min(limit, concurrency - sum(running.values()))
    free = [(running.get(pod, 0), index, pod) for index, pod in enumerate(dict.fromkeys(pods))]
    free = [one for one in free if one[0] < pod_concurrency]
    heapq.heapify(free)
    claimed: list[Claimed] = []
    overdue = 0
    while free and len(claimed) < limit and overdue < SWEEP_LIMIT:
        row = db.execute(
            "SELECT seq, id, finish, deadline FROM task INDEXED BY task_ready "
            "WHERE state = 'pending' AND next_attempt IS NULL ORDER BY finish, id LIMIT 1"
        ).fetchone()
        if row is None:
            break
        seq, id, finish, deadline = row
        db.execute(
            "UPDATE setting SET value = ? WHERE name = 'virtual_time' AND value < ?",
            (finish, finish),
        )
        if deadline <= tx.now:
            expire(tx, seq, keep)
            overdue += 1
            continue
        count, index, pod = free[0]
        if count + 1 < pod_concurrency:
            heapq.heapreplace(free, (count + 1, index, pod))
        else:
            heapq.heappop(free)
        claimed.append(_start(tx, seq, id, worker, pod, lease))
    return claimed, overdue


def _start(tx: Transaction, seq: int, id: str, worker: str, pod: str, lease: float) -> Claimed:
    db = tx.db
    db.execute(
        "UPDATE task SET state = 'processing', attempt = attempt + 1, used = used + 1, pod = ?, "
        "worker = ?, started = ?, changed = ?, lease_until = ? WHERE seq = ?",
        (pod, worker, tx.now, tx.now, tx.now + lease, seq),
    )
    attempt, left, deadline, head, size, object, data, credentials = db.execute(
        "SELECT attempt, max_attempts - used, deadline, head, size, object, request.data, "
        "credentials.data FROM task JOIN request USING (seq) LEFT JOIN credentials USING (seq) "
        "WHERE seq = ?",
        (seq,),
    ).fetchone()
    if attempt > 1:
        db.execute("DELETE FROM output WHERE seq = ?", (seq,))
    tx.touched.add(id)
    return Claimed(
        id,
        attempt,
        pod,
        head,
        content_of(size, object, data),
        credentials or b"",
        deadline - tx.now,
        max(left, 0),
    )


def beat(tx: Transaction, held: Sequence[tuple[str, int]], lease: float) -> list[str]:
    return [
        id
        for id, attempt in held
        if not tx.db.execute(
            "UPDATE task SET lease_until = ? WHERE id = ? AND attempt = ? AND state = 'processing'",
            (tx.now + lease, id, attempt),
        ).rowcount
    ]


def release(tx: Transaction, worker: str, held: Sequence[tuple[str, int]], age: float) -> int:
    rows = tx.db.execute(
        "SELECT seq, id, attempt FROM task INDEXED BY task_pod WHERE state = 'processing' "
        "AND worker = ? AND started < ?",
        (worker, tx.now - age),
    ).fetchall()
    known = set(held)
    unheard = [seq for seq, id, attempt in rows if (id, attempt) not in known]
    for seq in unheard:
        record_cut_attempt(tx, seq, UNHEARD_MESSAGE, is_counted=False)
        give_back(tx, seq, UNHEARD_MESSAGE, 0.0, is_counted=False)
    return len(unheard)


def finish(tx: Transaction, end: End) -> bool:
    seq = _held(tx.db, end.id, end.attempt)
    if seq is None:
        return False
    if end.head:
        _put_content(tx.db, "response", seq, end.head, end.body)
    record_attempt(tx.db, seq, end.record)
    end_task(
        tx,
        seq,
        end.state,
        end.keep,
        reason=end.reason,
        message=end.message,
        status=end.status,
        response_bytes=end.body.size,
        prompt_tokens=end.prompt_tokens,
        completion_tokens=end.completion_tokens,
    )
    return True


def retry(tx: Transaction, id: str, attempt: int, delay: float, record: Attempt) -> bool:
    seq = _held(tx.db, id, attempt)
    if seq is None:
        return False
    record_attempt(tx.db, seq, record)
    give_back(tx, seq, record.message, delay, is_counted=record.is_counted)
    return True


def append_output(tx: Transaction, id: str, attempt: int, data: bytes) -> bool:
    seq = _held(tx.db, id, attempt)
    if seq is None:
        return False
    tx.db.execute(
        "INSERT INTO output SELECT ?, ifnull(max(number), 0) + 1, ? FROM output WHERE seq = ?",
        (seq, data, seq),
    )
    tx.touched.add(id)
    return True


def cancel(tx: Transaction, id: str, keep: float) -> Change:
    row = tx.db.execute("SELECT seq, state FROM task WHERE id = ?", (id,)).fetchone()
    if row is None:
        return Change(False, None)
    state = TaskState(row[1])
    if state.is_final:
        return Change(False, state)
    record_cut_attempt(tx, row[0], CANCELLED_MESSAGE)
    end_task(tx, row[0], TaskState.CANCELLED, keep)
    return Change(True, TaskState.CANCELLED)


def redrive(tx: Transaction, id: str, lifetime: float, credentials: bytes | None) -> Change:
    db = tx.db
    row = db.execute(
        "SELECT seq, state, owner, urgency, has_credentials FROM task WHERE id = ?", (id,)
    ).fetchone()
    if row is None:
        return Change(False, None)
    seq, state, owner, urgency, has_credentials = row
    if state != TaskState.FAILED:
        return Change(False, TaskState(state))
    if credentials is None and has_credentials:
        return Change(False, TaskState.FAILED, NO_CREDENTIALS_REFUSAL)
    if read_control(db).closed_by:
        return Change(False, TaskState.FAILED, CLOSED_REFUSAL)
    for table in ("response", "output", "callback"):
        db.execute(f"DELETE FROM {table} WHERE seq = ?", (seq,))  # noqa: S608
    if credentials:
        db.execute("INSERT OR REPLACE INTO credentials VALUES (?, ?)", (seq, credentials))
    (time,) = db.execute(
        "SELECT max((SELECT value FROM setting WHERE name = 'virtual_time'), ifnull("
        "(SELECT finish FROM owner_finish WHERE owner = ? AND urgency = ?), 0)) + ?",
        (owner, urgency, 1 << urgency),
    ).fetchone()
    db.execute("INSERT OR REPLACE INTO owner_finish VALUES (?, ?, ?)", (owner, urgency, time))
    db.execute(
        "UPDATE task SET state = 'pending', used = 0, finish = ?, changed = ?, deadline = ?, "
        "ended = NULL, expires = NULL, outputs_until = NULL, reason = '', message = '', "
        "status = NULL, response_bytes = 0 WHERE seq = ?",
        (time, tx.now, tx.now + lifetime, seq),
    )
    tx.touched.add(id)
    return Change(True, TaskState.PENDING)


def move_to_front(tx: Transaction, ids: Sequence[str]) -> list[Change]:
    changes = [_move_before_all(tx, id) for id in reversed(ids)]
    return changes[::-1]


def _move_before_all(tx: Transaction, id: str) -> Change:
    row = tx.db.execute("SELECT seq, state FROM task WHERE id = ?", (id,)).fetchone()
    if row is None:
        return Change(False, None)
    if row[1] != TaskState.PENDING:
        return Change(False, TaskState(row[1]))
    tx.db.execute(
        "UPDATE task SET next_attempt = NULL, finish = ifnull((SELECT min(finish) - 1 FROM task "
        "INDEXED BY task_ready WHERE state = 'pending' AND next_attempt IS NULL AND seq <> ?), "
        "finish) WHERE seq = ?",
        (row[0], row[0]),
    )
    tx.touched.add(id)
    return Change(True, TaskState.PENDING)


def claim_callbacks(tx: Transaction, limit: int, lease: float) -> list[Callback]:
    rows = tx.db.execute(
        "SELECT seq, id, tries FROM callback JOIN task USING (seq) WHERE due <= ? "
        "ORDER BY due, id LIMIT ?",
        (tx.now, limit),
    ).fetchall()
    for seq, _, _ in rows:
        tx.db.execute(
            "UPDATE callback SET due = ?, tries = tries + 1 WHERE seq = ?", (tx.now + lease, seq)
        )
    return [Callback(id, tries) for _, id, tries in rows]


def settle_callback(tx: Transaction, id: str, retry_after: float | None) -> None:
    # One without tries is of a later end than the one that is settled.
    where = "WHERE seq = (SELECT seq FROM task WHERE id = ?) AND tries > 0"
    if retry_after is None:
        tx.db.execute(f"DELETE FROM callback {where}", (id,))  # noqa: S608
    else:
        tx.db.execute(
            f"UPDATE callback SET due = ? {where}",  # noqa: S608
            (tx.now + retry_after, id),
        )


def check(tx: Transaction) -> bool:
    """Whether there is room for new tasks; it writes, to see that the file can be written."""
    tx.db.execute("UPDATE setting SET value = ? WHERE name = 'checked'", (tx.now,))
    return tx.has_room


# -- steps that several operations share --------------------------------------------------------


def _held(db: sqlite3.Connection, id: str, attempt: int) -> int | None:
    """The task, if the attempt is its present one and in progress."""
    row = db.execute(
        "SELECT seq FROM task WHERE id = ? AND attempt = ? AND state = 'processing'", (id, attempt)
    ).fetchone()
    return None if row is None else row[0]


def _put_content(
    db: sqlite3.Connection, table: str, seq: int, head: bytes, content: Content
) -> None:
    db.execute(
        f"INSERT INTO {table}(seq, head, size, object, data) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        (seq, head, content.size, content.object, content.data),
    )
