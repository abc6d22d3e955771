"""The tasks of one serving in Valkey. What is promised is in servedeck.gateway.stores.store; how
it is done, in functions.lua."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from servedeck.async_queue.tasks import (
    Attempt,
    FailureReason,
    FeedEvent,
    QueueMinute,
    StateCounts,
    Task,
    WorkerStatus,
)
from servedeck.gateway.stores.group_commit import CommitObserver, observe_nothing
from servedeck.gateway.stores.store import (
    SWEEP_LIMIT,
    Callback,
    Change,
    Claimed,
    Content,
    Control,
    End,
    FeedTrimmedError,
    Found,
    NewTask,
    Output,
    Outputs,
    Response,
    States,
    StoreError,
    StoreUnavailableError,
    SubmitOutcome,
    Submitted,
    Swept,
)
from servedeck.gateway.stores.valkey.batches import Batches
from servedeck.gateway.stores.valkey.checks import find_risk, require_version
from servedeck.gateway.stores.valkey.connection import FEED_KEY, Argument, ValkeyConnection
from servedeck.gateway.stores.valkey.records import (
    FOUND_FIELDS,
    TASK_FIELDS,
    control_arguments,
    decode_claimed,
    decode_events,
    decode_state,
    decode_task,
    decode_text,
    encode_attempt,
    encode_text,
    finish_arguments,
    is_cursor,
    milliseconds,
    state_letters,
    submit_arguments,
    unpack,
)
from servedeck.gateway.stores.valkey.tls import NO_FILES, TlsFiles

_OUTPUT_LIMIT = 1000
_OUTPUT_BLOCK_SECONDS = 1.0
"""After which a follower looks again, for tasks whose end adds nothing to the stream of parts."""
_LAST_NUMBER = 2**64 - 1


class ValkeyStore:
    """Tasks of `serving` (namespace/name). The URL is as in GatewaySettings.store; `timeout` is in
    seconds. Raises ValueError for a URL that it cannot use, TlsFileError for a file."""

    def __init__(
        self,
        serving: str,
        url: str,
        *,
        password: str | None = None,
        timeout: float = 5.0,
        wait_replicas: int = 0,
        observe_commit: CommitObserver = observe_nothing,
        tls: TlsFiles = NO_FILES,
    ) -> None:
        self._valkey = ValkeyConnection(url, password, timeout, f"{{{serving}}}:", tls)
        self._wait_replicas = wait_replicas
        self._submits = Batches(self._write_submits, observe_commit)
        self._ends = Batches(self._write_ends, observe_commit)

    async def open(self) -> None:
        await self._ask(require_version(self._valkey))
        await self._ask(self._valkey.locate())
        await self._ask(self._valkey.load())

    async def close(self) -> None:
        await self._submits.close()
        await self._ends.close()
        await self._valkey.close()

    async def check(self) -> str:
        found: str = await self._ask(find_risk(self._valkey))
        return found

    # -- accepting ------------------------------------------------------------------------------

    async def submit(self, task: NewTask, max_depth: int) -> Submitted:
        arguments = submit_arguments(task, max_depth)
        return await self._submits.add(arguments, len(task.head) + len(task.body.data))

    async def _write_submits(self, batch: Sequence[list[bytes | str | int]]) -> list[Submitted]:
        arguments: list[Argument] = [one for task in batch for one in task]
        rows, is_resent = await self._valkey.call_and_replicate(
            "submit", self._wait_replicas, *arguments
        )
        results = []
        for task, (outcome, stored, *rest) in zip(batch, rows, strict=True):
            id, position = stored.decode(), rest[0] if rest else None
            result = SubmitOutcome(outcome.decode())
            if result is SubmitOutcome.REPEATED and id == task[1] and is_resent:
                # the first try had stored it, and its answer was lost
                result = SubmitOutcome.ACCEPTED
            is_new = result is SubmitOutcome.ACCEPTED
            results.append(Submitted(result, id, position if is_new else None))
        return results

    # -- delivering -----------------------------------------------------------------------------

    async def claim(
        self,
        worker: str,
        pods: Sequence[str],
        *,
        limit: int,
        concurrency: int,
        pod_concurrency: int,
        lease: float,
    ) -> list[Claimed]:
        if not pods or limit <= 0:
            return []
        rows = await self._call(
            "claim", worker, limit, concurrency, pod_concurrency, milliseconds(lease), *pods
        )
        return [decode_claimed(row) for row in rows]

    async def beat(self, held: Sequence[tuple[str, int]], lease: float) -> list[str]:
        if not held:
            return []
        arguments: list[Argument] = [part for one in held for part in one]
        lost = await self._call("beat", milliseconds(lease), *arguments, repeat=True)
        return [id.decode() for id in lost]

    async def release(self, worker: str, held: Sequence[tuple[str, int]], age: float) -> int:
        arguments: list[Argument] = [part for one in held for part in one]
        released: int = await self._call("release", worker, milliseconds(age), *arguments)
        return released

    async def finish(self, end: End) -> bool:
        return await self._ends.add(end, len(end.head) + len(end.body.data))

    async def _write_ends(self, batch: Sequence[End]) -> list[bool]:
        arguments: list[Argument] = [part for end in batch for part in finish_arguments(end)]
        return [bool(recorded) for recorded in await self._call("finish", *arguments)]

    async def retry(self, id: str, attempt: int, delay: float, record: Attempt) -> bool:
        return bool(
            await self._call(
                "retry",
                id,
                attempt,
                milliseconds(delay),
                encode_attempt(record),
                encode_text(record.message),
                int(record.is_counted),
            )
        )

    async def append_output(self, id: str, attempt: int, data: bytes) -> bool:
        return bool(await self._call("output", id, attempt, data))

    async def sweep(self, keep: float) -> Swept:
        due, (lapsed, exhausted), expired = [
            await self._call(f"sweep_{kind}", SWEEP_LIMIT, milliseconds(keep))
            for kind in ("due", "lapsed", "expired")
        ]
        deleted, objects, met_expired, met_lost = await self._call("sweep_deleted", SWEEP_LIMIT)
        ended: dict[str, int] = {
            FailureReason.EXPIRED: expired + met_expired,
            FailureReason.EXHAUSTED: exhausted,
            FailureReason.LOST: met_lost,
        }
        return Swept(due, lapsed, expired, deleted, tuple(map(decode_text, objects)), ended)

    async def report(self, worker: WorkerStatus, ttl: float) -> None:
        encoded = msgspec.json.encode(worker)
        await self._call("report", worker.name, encoded, milliseconds(ttl), repeat=True)

    # -- callbacks ------------------------------------------------------------------------------

    async def claim_callbacks(self, limit: int, lease: float) -> list[Callback]:
        rows = await self._call("claim_callbacks", limit, milliseconds(lease))
        return [Callback(id.decode(), tries) for id, tries in rows]

    async def settle_callback(self, id: str, retry_after: float | None) -> None:
        after: Argument = "" if retry_after is None else milliseconds(retry_after)
        await self._call("settle_callback", id, after, repeat=True)

    # -- reading --------------------------------------------------------------------------------

    async def find(self, id: str) -> Found | None:
        found = await self._read("find", id, *FOUND_FIELDS)
        if found is None:
            return None
        values, head = found
        has_credentials, has_callback = values[len(TASK_FIELDS) :]
        return Found(
            decode_task(id, values), head, has_credentials is not None, has_callback is not None
        )

    async def position(self, id: str) -> int | None:
        rank: int | None = await self._command("ZRANK", "ready", id)
        return rank

    async def read_request(self, id: str) -> Content | None:
        found = await self._command("GET", f"q:{id}")
        return None if found is None else unpack(found).body

    async def read_response(self, id: str) -> Response | None:
        found = await self._command("GET", f"r:{id}")
        return None if found is None else unpack(found)

    async def read_attempts(self, id: str) -> list[Attempt]:
        lines = await self._command("GET", f"a:{id}") or b""
        return [msgspec.json.decode(line, type=Attempt) for line in lines.splitlines()]

    async def read_outputs(self, id: str, attempt: int, after: int, wait: float) -> Outputs:
        until = time.monotonic() + wait
        while True:
            number, has_ended, rows = await self._read("outputs", id, attempt, after, _OUTPUT_LIMIT)
            left = until - time.monotonic()
            if rows or has_ended or left <= 0:
                parts = [Output(*row) for row in rows]
                return Outputs(number, parts, bool(has_ended))
            seen = after if number == attempt else 0
            # numbers begin at 1, the ids of the stream at 0
            last = f"{number}-{seen - 1}" if seen else f"{number - 1}-{_LAST_NUMBER}"
            last = "0-0" if number == 0 else last
            await self._wait(f"o:{id}", last, min(left, _OUTPUT_BLOCK_SECONDS))

    async def time(self) -> float:
        seconds, microseconds = await self._ask(self._valkey.command("TIME", repeat=True))
        return int(seconds) + int(microseconds) / 1e6

    async def page(
        self, states: States, after: str, limit: int, *, oldest_first: bool = False
    ) -> list[Task]:
        letters, order = state_letters(states), int(oldest_first)
        rows = await self._read("page", letters, after, limit, order, *TASK_FIELDS)
        return [decode_task(id.decode(), values) for id, values in rows]

    async def find_many(self, ids: Sequence[str]) -> list[Task]:
        rows = await self._read("find_many", len(TASK_FIELDS), *TASK_FIELDS, *ids)
        found = [decode_task(id.decode(), values) for id, values in rows]
        return sorted(found, key=lambda task: task.id, reverse=True)

    async def counts(self) -> StateCounts:
        pending, processing, completed, failed, cancelled, delayed = await self._read("counts")
        return StateCounts(
            pending=pending,
            delayed=delayed,
            processing=processing,
            completed=completed,
            failed=failed,
            cancelled=cancelled,
        )

    async def oldest_pending(self) -> float | None:
        found = await self._read("oldest_pending")
        return None if found is None else int(found) / 1000

    async def running(self) -> dict[str, int]:
        found = await self._command("HGETALL", "run")
        return {pod.decode(): int(count) for pod, count in found.items()}

    async def minutes(self) -> list[QueueMinute]:
        return [
            QueueMinute(
                time=minute * 60.0,
                submitted=int(values[0] or 0),
                completed=int(values[1] or 0),
                failed=int(values[2] or 0),
                cancelled=int(values[3] or 0),
                depth=None if values[4] is None else int(values[4]),
            )
            for minute, values in await self._read("minutes")
        ]

    async def workers(self) -> list[WorkerStatus]:
        rows = await self._read("workers")
        return [msgspec.json.decode(row, type=WorkerStatus) for row in rows]

    async def feed_end(self) -> str:
        end: bytes = await self._read("feed_end")
        return end.decode()

    async def read_feed(self, after: str, limit: int, wait: float) -> list[FeedEvent]:
        if not is_cursor(after):
            raise FeedTrimmedError("This is not a position of this feed.")
        until = time.monotonic() + wait
        while True:
            lines = await self._read("feed", after, limit)
            if lines is None:
                raise FeedTrimmedError("Events after this position are no longer kept.")
            left = until - time.monotonic()
            if lines or left <= 0:
                return decode_events(lines)
            await self._wait(FEED_KEY, after, left)

    # -- acting ---------------------------------------------------------------------------------

    async def cancel(self, id: str, keep: float) -> Change:
        changed, state = await self._call("cancel", id, milliseconds(keep))
        return Change(bool(changed), decode_state(state))

    async def redrive(self, id: str, lifetime: float, credentials: bytes | None) -> Change:
        changed, state, refusal = await self._call(
            "redrive",
            id,
            milliseconds(lifetime),
            int(credentials is not None),
            credentials or b"",
        )
        return Change(bool(changed), decode_state(state), refusal.decode())

    async def move_to_front(self, ids: Sequence[str]) -> list[Change]:
        rows = await self._call("move_to_front", *ids)
        return [Change(bool(changed), decode_state(state)) for changed, state in rows]

    async def forget(self, id: str) -> Change:
        changed, state = await self._call("forget", id)
        return Change(bool(changed), decode_state(state))

    async def unneeded_objects(self, limit: int) -> list[str]:
        names = await self._call("unneeded_objects", limit, repeat=True)
        return [decode_text(one) for one in names]

    async def drop_objects(self, names: Sequence[str]) -> None:
        await self._call("drop_objects", *map(encode_text, names))

    async def expire_rest(self) -> None:
        await self._call("expire_rest", repeat=True)

    async def control(self) -> Control:
        paused, concurrency, pod_concurrency, closed_by = await self._command(
            "HMGET", "ctl", "paused", "conc", "podconc", "closed"
        )
        return Control(
            paused is not None,
            None if concurrency is None else int(concurrency),
            None if pod_concurrency is None else int(pod_concurrency),
            (closed_by or b"").decode(),
        )

    async def set_control(self, control: Control, expected: Control | None = None) -> bool:
        arguments = control_arguments(control)
        if expected is not None:
            # Not repeated: the first try may have made the second one differ.
            arguments += control_arguments(expected)
        return bool(await self._call("set_control", *arguments, repeat=expected is None))

    # -- asking Valkey --------------------------------------------------------------------------

    async def _call(self, name: str, *arguments: Argument, repeat: bool = False) -> Any:
        return await self._ask(self._valkey.call(name, *arguments, repeat=repeat))

    async def _read(self, name: str, *arguments: Argument) -> Any:
        return await self._call(name, *arguments, repeat=True)

    async def _command(self, name: str, key: str, *arguments: Argument) -> Any:
        return await self._ask(
            self._valkey.command(name, self._valkey.prefix + key, *arguments, repeat=True)
        )

    async def _wait(self, key: str, after: str, wait: float) -> None:
        await self._ask(self._valkey.wait_for_entry(key, after, wait))

    @staticmethod
    async def _ask(answer: Any) -> Any:
        """For all but submit, memory that is full is one more reason for being unavailable."""
        try:
            return await answer
        except StoreUnavailableError:
            raise
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from None
