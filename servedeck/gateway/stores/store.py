"""What the gateway needs of a store, and what each method promises.

Two stores keep these promises, Valkey's and SQLite's; tests/gateway/stores/ holds both to them. A
store holds the tasks of one serving. Every method is atomic, and every change of a state appears
once in the feed, in order. Times are by the store's own clock: callers give durations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple, Protocol

import msgspec

from servedeck.async_queue.tasks import (
    Attempt,
    FeedEvent,
    QueueMinute,
    StateCounts,
    Task,
    TaskState,
    WorkerStatus,
)

DEFAULT_URGENCY = 3
"""RFC 9218, section 4.1."""

States = TaskState | frozenset[TaskState] | None
"""Tasks of one state, of several, or of all (None)."""

START = "0"
"""Cursor of the feed before its first event."""


class StoreError(Exception):
    """The store did not do what it was asked; str() is one sentence, without a task's content."""

    retry_after = 2
    """Seconds after which it may be asked again."""


class StoreUnavailableError(StoreError):
    """It cannot be reached, is loading, is a replica, cannot write its disk, or was too slow. What
    it was asked may have been done."""


class StoreFullError(StoreError):
    """It has no memory, or no disk, for another task. Nothing was stored."""

    retry_after = 10


class FeedTrimmedError(StoreError):
    """Events after the cursor are no longer kept: read the tasks again, then follow from the
    present end."""


class Content(msgspec.Struct, frozen=True):
    """A body: its bytes, or the name of the object that has them."""

    data: bytes = b""
    object: str = ""
    """Name in the object store (servedeck.gateway.objects); "" if `data` is the body."""
    size: int = 0
    """Bytes of the body, wherever it is."""


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    owner: str
    """Whose it is; fairness is between owners. "" is one of them."""
    urgency: int = DEFAULT_URGENCY
    lifetime: float
    """Seconds until its deadline."""
    max_attempts: int
    head: bytes
    """JSON of a servedeck.gateway.messages.RequestHead."""
    body: Content
    credentials: bytes = b""
    """Encrypted; kept apart from the task and deleted when it ends."""
    idempotency_key: str = ""
    """Hash of the caller and its key; "" for none."""
    fingerprint: str = ""
    """Hash of the request, to tell a repeated one from another with the same key."""
    has_callback: bool = False


class SubmitOutcome(StrEnum):
    ACCEPTED = "accepted"
    REPEATED = "repeated"
    """A task of the same idempotency key and fingerprint, or of the same id, is stored already."""
    CONFLICT = "conflict"
    """The idempotency key belongs to another request."""
    FULL = "full"
    """As many tasks are pending as are allowed."""
    CLOSED = "closed"
    """An operator has closed the queue (Control.closed_by)."""


class Submitted(NamedTuple):
    outcome: SubmitOutcome
    id: str
    """Of the task that is stored: for REPEATED the earlier one; for CONFLICT that of the other."""
    position: int | None = None
    """Tasks that are taken before it, of one that was accepted now."""


class Claimed(NamedTuple):
    """A task that is now Processing, of the caller until its lease ends."""

    id: str
    attempt: int
    """Counts up with each claim: the fencing token."""
    pod: str
    head: bytes
    body: Content
    credentials: bytes
    seconds_left: float
    """Until its deadline."""
    attempts_left: int
    """After this one."""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ended."""

    id: str
    attempt: int
    state: TaskState
    """COMPLETED or FAILED."""
    reason: str = ""
    message: str = ""
    status: int | None = None
    head: bytes = b""
    """JSON of a servedeck.gateway.messages.ResponseHead; b"" if there is no response."""
    body: Content = Content()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    record: Attempt
    keep: float
    """Seconds until it is deleted."""


class Found(NamedTuple):
    """A task with what its views do not show."""

    task: Task
    head: bytes
    has_credentials: bool
    """Whether it was submitted with credentials, whether or not they are still kept."""
    has_callback: bool


class Response(NamedTuple):
    head: bytes
    body: Content


class Output(NamedTuple):
    """A part of a streamed response."""

    number: int
    """Counts up from 1 within an attempt."""
    data: bytes


class Outputs(NamedTuple):
    attempt: int
    """The attempt that the parts are of: the last one; 0 before there is one."""
    parts: list[Output]
    has_ended: bool
    """Whether the task has ended, or waits for another attempt, so that this attempt has no more
    parts than these."""


class Swept(NamedTuple):
    """What a sweep has done; it may have left more of it to the next."""

    due: int = 0
    """Delayed tasks that may be claimed now."""
    lapsed: int = 0
    """Attempts whose lease has ended."""
    expired: int = 0
    """Tasks that have failed by their deadline."""
    deleted: int = 0
    objects: tuple[str, ...] = ()
    """Names of objects that no task refers to any longer."""
    ended: Mapping[str, int] = {}
    """Tasks that the store itself has failed, by their reason: here, and in claims since the last
    sweep."""

    @property
    def is_full(self) -> bool:
        return max(self[:4]) >= SWEEP_LIMIT


SWEEP_LIMIT = 200
"""Tasks of each kind that one sweep handles at most, so that it does not hold up others."""


class Control(NamedTuple):
    """What an operator set at run time; None: as the settings say."""

    paused: bool = False
    concurrency: int | None = None
    pod_concurrency: int | None = None
    closed_by: str = ""
    """Identity.fingerprint of the gateway that was closed; "" while it is open. No task is accepted
    meanwhile, nor tried again (redrive); those that were accepted are delivered. A gateway that has
    another secret is a new one, and opens the queue at its start."""

    @property
    def version(self) -> str:
        """Tells values from others. It is made of them alone, so that also a change by a gateway of
        an earlier version is one."""
        return sha256(repr(tuple(self)).encode()).hexdigest()[:16]


class Change(NamedTuple):
    """Answer to an action on one task."""

    changed: bool
    state: TaskState | None
    """The state after it; None if there is no such task."""
    refusal: str = ""
    """Why it was not done, if the state alone does not say that."""


class Callback(NamedTuple):
    id: str
    tries: int
    """How often it was claimed before."""


class TaskStore(Protocol):
    """See the module. All methods raise StoreUnavailableError; submit also StoreFullError."""

    async def open(self) -> None:
        """Connect, and make what is missing. May be called again after it failed."""

    async def close(self) -> None: ...

    async def check(self) -> str:
        """Why tasks are not safe in it, one sentence (it may evict keys, it writes no append-only
        file); "" if they are. A warning that does not stop it begins with "warning: "."""

    # -- accepting ------------------------------------------------------------------------------

    async def submit(self, task: NewTask, max_depth: int) -> Submitted:
        """Returns when the task is safely stored. May be repeated after an error with the same
        id."""

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
        """Take at most `limit` tasks in their order, each for the Pod of `pods` with the fewest
        tasks in progress, of all workers. Never more than `concurrency` (0: no limit) of the
        serving and `pod_concurrency` of a Pod are in progress; what an operator set (Control)
        replaces both. Nothing while paused. An overdue task that is met ends as Failed.

        Order: a task gets, when it is submitted, a virtual finish time: 2**urgency after the
        greater of the present virtual time and that of its owner's last task of the same urgency
        (weighted fair queueing). The least is taken first, and is the present virtual time then. So
        a task of urgency 0 is taken before eight of urgency 3 of another owner, and no owner waits
        for all tasks of another. A task that is tried again keeps its time. Ties go by id."""

    async def beat(self, held: Sequence[tuple[str, int]], lease: float) -> list[str]:
        """Renew the leases of (id, attempt); returns the ids of those that are no longer the
        caller's, whose work is to be aborted."""

    async def release(self, worker: str, held: Sequence[tuple[str, int]], age: float) -> int:
        """Give back what the worker claimed more than `age` seconds ago and does not have, as the
        answer to its claim was lost: what is in progress under its name, but not among `held`, (id,
        attempt). It costs no attempt. Returns how many tasks those were."""

    async def finish(self, end: End) -> bool:
        """Record the end and the response, if the attempt is the present one and Processing; False
        (fenced) if not, also if it is repeated after it was recorded."""

    async def retry(self, id: str, attempt: int, delay: float, record: Attempt) -> bool:
        """Give the task back as Pending, to be claimed after `delay` seconds, with its credentials;
        `record.is_counted` False gives its attempt back. `record.message` is its message. False if
        fenced."""

    async def append_output(self, id: str, attempt: int, data: bytes) -> bool:
        """Add a part of a streamed response; False if fenced."""

    async def sweep(self, keep: float) -> Swept:
        """Make delayed tasks that are due claimable; give back tasks whose lease has ended, or
        fail them (EXHAUSTED) after their last attempt; fail open tasks whose deadline has passed
        (EXPIRED; the message says so); delete those that expire; keep the counts of the minute. A
        task that fails here is kept for `keep` seconds. Every process may sweep."""

    async def report(self, worker: WorkerStatus, ttl: float) -> None:
        """Store what a worker says of itself for `ttl` seconds; a ttl of 0 removes it."""

    # -- callbacks ------------------------------------------------------------------------------

    async def claim_callbacks(self, limit: int, lease: float) -> list[Callback]:
        """Ended tasks whose callback is due, oldest first; each is due again after the lease
        unless it is settled. A callback is due once after each end of a task that has one."""

    async def settle_callback(self, id: str, retry_after: float | None) -> None:
        """None: it was delivered, or is given up."""

    # -- reading --------------------------------------------------------------------------------

    async def find(self, id: str) -> Found | None: ...

    async def position(self, id: str) -> int | None:
        """Tasks that are taken before a pending one; None if it does not wait in the queue."""

    async def read_request(self, id: str) -> Content | None: ...

    async def read_response(self, id: str) -> Response | None:
        """None while there is none."""

    async def read_attempts(self, id: str) -> list[Attempt]:
        """The attempts that have ended, the oldest first; the last 100 at most."""

    async def read_outputs(self, id: str, attempt: int, after: int, wait: float) -> Outputs:
        """Parts of the last attempt: those after number `after` if it is still `attempt`, else all.
        Waits at most so many seconds until there is one, or it has ended. The parts are kept for a
        minute after the end; then the response has all of them."""

    async def time(self) -> float:
        """Of its clock, in seconds since the epoch."""

    async def page(
        self, states: States, after: str, limit: int, *, oldest_first: bool = False
    ) -> list[Task]:
        """The newest first: those older than the id `after`, or from the newest for ""; with
        `oldest_first` the oldest first, those newer than `after`. `after` may be the begin of an
        id."""

    async def find_many(self, ids: Sequence[str]) -> list[Task]:
        """Those of these tasks that are stored, the newest first."""

    async def counts(self) -> StateCounts: ...

    async def oldest_pending(self) -> float | None:
        """When the oldest pending task was created."""

    async def running(self) -> dict[str, int]:
        """Tasks in progress by Pod."""

    async def minutes(self) -> list[QueueMinute]:
        """Of the last hour, the oldest first; minutes in which nothing was recorded are left
        out."""

    async def workers(self) -> list[WorkerStatus]: ...

    async def feed_end(self) -> str:
        """Cursor of the last event."""

    async def read_feed(self, after: str, limit: int, wait: float) -> list[FeedEvent]:
        """Events after the cursor, in order; waits at most so many seconds for one. Raises
        FeedTrimmedError. At least the last 100,000 events are kept."""

    # -- acting ---------------------------------------------------------------------------------

    async def cancel(self, id: str, keep: float) -> Change:
        """Pending or Processing to Cancelled: its worker's end is fenced from then on."""

    async def redrive(self, id: str, lifetime: float, credentials: bytes | None) -> Change:
        """Failed to Pending, with a new deadline and all its attempts; the number of the attempt
        counts on, the old response is deleted. `credentials` replaces those that were deleted at
        its end: b"" sends it without; with None, a task that had some is refused."""

    async def move_to_front(self, ids: Sequence[str]) -> list[Change]:
        """Before all others that wait, in this order; those that wait for their next attempt are
        due now."""

    async def forget(self, id: str) -> Change:
        """Delete an ended task now, with all that is stored of it but its objects, which are in
        `unneeded_objects` then. A callback that is not sent yet is not sent."""

    async def unneeded_objects(self, limit: int) -> list[str]:
        """Names of objects of tasks that were deleted, until `drop_objects` says that they are
        deleted, too, or a sweep has given them out."""

    async def drop_objects(self, names: Sequence[str]) -> None:
        """See `unneeded_objects`."""

    async def expire_rest(self) -> None:
        """If the queue is closed and has no task: let what else is stored of it (the feed, what
        operators set) be deleted a day after the last process has ended, unless it is opened. A
        store that is a file is left to its owner."""

    async def control(self) -> Control: ...

    async def set_control(self, control: Control, expected: Control | None = None) -> bool:
        """With `expected`, only if the present one is that; False if it is not."""
