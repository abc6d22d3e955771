"""What the gateway's API says of tasks. JSON keys are the names of the fields; times are seconds
since the epoch, by the clock of the store; a time that is not known is None."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class TaskState(StrEnum):
    PENDING = "pending"
    """It waits for its turn, or for its next attempt."""
    PROCESSING = "processing"
    COMPLETED = "completed"
    """The inference server answered with a status below 400."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES


FINAL_STATES = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED})


class FailureReason(StrEnum):
    """Why a task is Failed, as it is counted."""

    REFUSED = "refused"
    """The inference server answered with a status that is not tried again (4xx)."""
    EXHAUSTED = "exhausted"
    """The last attempt that was allowed failed: a dead letter."""
    EXPIRED = "expired"
    """Its deadline passed before it ended."""
    RESULT_TOO_LARGE = "result_too_large"
    LOST = "lost"
    """Its body or its credentials can no longer be read."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task without its bodies."""

    id: str
    state: TaskState
    attempt: int
    """Number of the last attempt; 0 before the first."""
    max_attempts: int
    urgency: int
    """0 (first) to 7, as in the header Priority (RFC 9218)."""
    created: float
    started: float | None = None
    """When the last attempt began; None before the first, and if the task ended between two."""
    ended: float | None = None
    deadline: float
    next_attempt: float | None = None
    """When a pending task is tried again, if it waits for that."""
    expires: float | None = None
    """When an ended task is deleted."""
    reason: str = ""
    """FailureReason of a failed task; "" for others."""
    message: str = ""
    """Why it failed, or why it is tried again, one sentence."""
    status: int | None = None
    """HTTP status of the stored response; None if there is none."""
    pod: str = ""
    """Where its last attempt was made."""
    owner: str = ""
    """Whose it is: a keyed hash of the credentials; "" for a caller without."""
    method: str = "POST"
    path: str = "/"
    """With its query."""
    model: str = ""
    is_stream: bool = False
    request_bytes: int = 0
    response_bytes: int = 0
    prompt_tokens: int | None = None
    """As `usage` of the stored response says (OpenAI's API); None if it does not."""
    completion_tokens: int | None = None

    @property
    def attempts_text(self) -> str:
        """The last attempt of those that are allowed, "2/3". The number alone if it is more: those
        before a retry, and those that a gateway handed back, do not count."""
        is_more = self.attempt > self.max_attempts
        return f"{self.attempt}" if is_more else f"{self.attempt}/{self.max_attempts}"

    @property
    def attempts_in_words(self) -> str:
        """ "2 of 3", or where the number alone would be misunderstood, why it is more."""
        if self.attempt <= self.max_attempts:
            return f"{self.attempt} of {self.max_attempts}"
        return f"{self.attempt}; {self.max_attempts} are allowed after each submission or retry"


class TaskDetail(Task, frozen=True, kw_only=True):
    """A task as the page of one shows it."""

    position: int | None = None
    """Tasks that are taken before it, if it waits in the queue."""
    has_credentials: bool = False
    """Whether it was submitted with credentials: to retry it needs others, as they are deleted at
    its end."""
    has_callback: bool = False
    """Whether a URL is notified of its end."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that has ended."""

    attempt: int
    pod: str = ""
    worker: str = ""
    began: float
    ended: float
    status: int | None = None
    """HTTP status of the inference server; None without an answer."""
    message: str = ""
    """What went wrong, one sentence; "" if nothing did."""
    is_counted: bool = True
    """Whether it counts to max_attempts: one that a gateway handed back does not."""


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """Head of a request, without credentials; other values that look secret are "[hidden]"."""

    method: str = "POST"
    path: str = "/"
    """With its query, percent-encoded as it was received."""
    headers: list[tuple[str, str]] = []
    """Those that the inference server gets."""
    model: str = ""
    is_stream: bool = False
    attempt_seconds: float | None = None
    """Time limit of one attempt."""
    callback: str = ""
    """URL that is notified of the end."""


class ResponseView(msgspec.Struct, frozen=True, kw_only=True):
    """Head of a response; values that look secret are "[hidden]"."""

    status: int
    headers: list[tuple[str, str]] = []
    is_event_stream: bool = False


class AttemptList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Attempt]
    """The oldest first; the last 100 at most."""


class FeedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the state of a task."""

    cursor: str
    """Where to resume after it."""
    id: str
    state: TaskState | None
    """None: the task was deleted."""
    attempt: int
    time: float


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Task]
    """The newest first, unless it is asked otherwise."""
    next: str = ""
    """Cursor of the next page; "" on the last."""
    feed: str = ""
    """Cursor of the feed from before the page was read, so that no change is missed."""
    time: float | None = None
    """The time then, by the clock of the store; None of a gateway of an earlier version."""


class StateCounts(msgspec.Struct, frozen=True, kw_only=True):
    pending: int = 0
    """Those that wait for their next attempt included."""
    delayed: int = 0
    """Pending tasks that wait for their next attempt."""
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def backlog(self) -> int:
        """Tasks that have not ended."""
        return self.pending + self.processing


class QueueMinute(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one minute."""

    time: float
    """Its beginning."""
    submitted: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    depth: int | None = None
    """Pending tasks at the last sweep of the minute; None if there was none."""


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a process that delivers says of itself every few seconds."""

    name: str
    ready_pods: list[str] = []
    blocked_by: str = ""
    """Why it delivers nothing, one sentence; "" if it does."""
    blocked_since: float | None = None
    failure: str = ""
    """Why its last attempts failed by the inference server, one sentence; "" if they did not."""
    failing_since: float | None = None
    time: float = 0.0


class ControlState(msgspec.Struct, frozen=True, kw_only=True):
    """What operators have set at run time."""

    paused: bool
    closed: bool
    concurrency: int | None
    """None: as the settings of the gateway say."""
    pod_concurrency: int | None
    version: str
    """Of these values; a change that has it is made only to them."""


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    serving: str
    """namespace/name"""
    version: str
    """Of servedeck."""
    time: float | None = None
    """The time when it was read, by the clock of the store; None of a gateway of an earlier
    version."""
    counts: StateCounts
    backlog: int
    """What KEDA scales by: pending and processing."""
    oldest: float | None = None
    """When the oldest pending task was created."""
    oldest_seconds: float | None = None
    """Age of the oldest pending task."""
    paused: bool = False
    closed: bool = False
    """Whether no task is accepted; those that were accepted are delivered."""
    control_version: str = ""
    """Of what operators have set (ControlState.version)."""
    concurrency: int
    """Tasks that are processed at once at most, of all Pods; 0 for no such limit."""
    pod_concurrency: int
    max_depth: int
    running: dict[str, int] = {}
    """Tasks in progress by Pod."""
    minutes: list[QueueMinute] = []
    """Of the last hour, the oldest first; the last one is not over."""
    workers: list[WorkerStatus] = []
    blocked_by: str = ""
    """Why nothing drains, one sentence; "" if something does, or nothing waits."""
    blocked_since: float | None = None
    """Since when, if that is known."""


class TaskAction(StrEnum):
    """What an operator does to tasks."""

    CANCEL = "cancel"
    """Of pending and processing ones."""
    RETRY = "retry"
    """Of failed ones."""
    FRONT = "front"
    """Move pending ones before all others that wait."""
    FORGET = "forget"
    """Delete ended ones."""


class TaskSelection(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Body of /tasks/actions/{action}: the tasks that it is done to."""

    ids: list[str] | None = None
    """These, at most MAX_SELECTED; None: all that match the rest."""
    state: TaskState | None = None
    q: str = ""
    """A filter (servedeck.async_queue.task_filter)."""
    owner: str | None = None
    reason: FailureReason | None = None
    credentials: str = ""
    """"none": a retry sends them without credentials, even if they had some."""
    after: str = ""
    """`next` of an earlier answer."""
    limit: int = 10_000
    """Tasks that are changed at most."""


MAX_SELECTED = 1000
MAX_READ = 200
"""Tasks that are read by their ids at once."""


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to an action of an operator."""

    changed: int
    """Tasks that it changed; for an action on the queue itself 1, or 0 if it was so already."""
    refused: int = 0
    """Tasks that could not be changed as they are."""
    message: str = ""
    """Why the first of them was refused, one sentence."""
    others: dict[TaskState, int] = {}
    """Tasks that were chosen, but were in another state by then, by that state."""
    missing: int = 0
    """Tasks that were chosen by their ids and are not stored any longer."""
    next: str = ""
    """For an action on many tasks: where to go on with the rest, as the parameter `after`; "" if
    all are done."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Answer to a request that was stored."""

    id: str
    status: TaskState
    status_url: str
    result_url: str
    position: int | None = None
    """Tasks that are taken before it; None if it no longer waits."""


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Status of a task, as its caller sees it."""

    id: str
    status: TaskState
    attempt: int
    max_attempts: int
    created: float
    started: float | None = None
    ended: float | None = None
    deadline: float
    next_attempt: float | None = None
    expires: float | None = None
    reason: str = ""
    message: str = ""
    response_status: int | None = None
    position: int | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of an error answer, RFC 9457 (application/problem+json)."""

    title: str
    """What is wrong, in a few words."""
    status: int
    detail: str = ""
    """What is wrong and what to do, in sentences."""
    task: str = ""
    state: str = ""


class ControlProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """Of a change of the control that somebody else was before."""

    present: ControlState
    """What is set now."""
