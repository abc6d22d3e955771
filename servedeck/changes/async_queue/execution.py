"""Turning an async queue on and off: planning with what the cluster has now, and doing it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import AsyncQueueError, TooOldError
from servedeck.async_queue.tasks import TaskState
from servedeck.changes.async_queue.interrupted import QueueNotes
from servedeck.changes.async_queue.plan import (
    AsyncQueueAction,
    AsyncQueueOptions,
    AsyncQueuePlan,
    AsyncQueueResult,
    join,
)
from servedeck.changes.async_queue.secrets import (
    PasswordError,
    build_secret,
    create_secret,
    view_secret_manifest,
)
from servedeck.changes.async_queue.sending import (
    ChangedError,
    LostError,
    RejectedError,
    delete_object,
    is_lost,
    send_writes,
)
from servedeck.changes.async_queue.state import read_state, secret_refs, why_not_available
from servedeck.changes.async_queue.turn_off import plan_turning_off
from servedeck.changes.async_queue.turn_on import AsyncQueueDefaults, plan_turning_on
from servedeck.changes.live_objects import find_other_kind
from servedeck.changes.object_writes import ObjectWrite
from servedeck.changes.operations.execution import rejection_text
from servedeck.changes.operations.operation import ObjectDeletion, Outcome
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.write_log import expect_writes
from servedeck.serving.async_limits import LIMITS, format_limit
from servedeck.serving.objects.async_gateway import VIEW_KEY
from servedeck.serving.objects.async_routes import async_gateway_name
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.text import format_count, one_line, sanitize

AVAILABLE_SECONDS = 300.0
"""Seconds to wait for a Pod of the gateway before its routes are changed."""
_POLL_SECONDS = 1.0
_MAX_CANCELLATIONS = 20
"""Rounds of cancelling: a task that was claimed meanwhile is in the next one."""


async def plan_async_queue(
    connection: Connection, options: AsyncQueueOptions, defaults: AsyncQueueDefaults
) -> AsyncQueuePlan:
    """What it would do now, including the API server's dry run. Raises ClusterError if that cannot
    be found out."""
    state = await read_state(connection, options.namespace, options.serving)
    turns_on = options.action is AsyncQueueAction.ON
    if not state.deployment and (turns_on or state.is_off):
        # Without a serving, what is left of its queue can still be taken away.
        return AsyncQueuePlan(options, blocked=await _describe_missing(connection, options))
    if turns_on:
        return await plan_turning_on(connection, options, state, defaults)
    return await plan_turning_off(connection, options, state)


async def _describe_missing(connection: Connection, options: AsyncQueueOptions) -> str:
    namespace, name = options.namespace, options.serving
    text = f"There is no Deployment {name} in namespace {namespace}"
    if kind := await find_other_kind(connection, namespace, name):
        text += f"; the {kind} of that name is read-only here"
    return one_line(sanitize(f"{text}."))


async def run_async_queue(
    connection: Connection,
    plan: AsyncQueuePlan,
    *,
    may_cancel: bool = False,
    available_seconds: float = AVAILABLE_SECONDS,
    on_progress: Callable[[str], None] = lambda sentence: None,
) -> AsyncQueueResult:
    """Do what the plan says. Never raises ClusterError: what failed, and what was done before, is
    in the result.

    With `may_cancel`, tasks that have not ended are cancelled, or given up if no gateway can be
    reached; without it, nothing is deleted then. What was done is not undone after an error:
    planned again, the rest is done.
    """
    options = plan.options
    if not plan.is_possible:
        outcome = Outcome.REJECTED if plan.blocked else Outcome.UNCHANGED
        return AsyncQueueResult(options, outcome, plan.blocked or plan.unchanged)
    if plan.needs_cancellation and not may_cancel:
        return AsyncQueueResult(options, Outcome.REJECTED, _refusal(plan.unfinished))
    run = _Run(connection, plan, on_progress)
    writes = (*plan.writes, *plan.route_writes)
    unchanged = {one.ref for one in writes if not one.is_sent}
    expect_writes(one for one in _refs_of(plan) if one not in unchanged)
    try:
        if options.action is AsyncQueueAction.ON:
            await run.turn_on(available_seconds)
        else:
            await run.turn_off(may_cancel=may_cancel)
    except LostError as error:
        result = AsyncQueueResult(options, Outcome.UNKNOWN, str(error), error.ref)
        return replace(result, message=run.with_progress(str(error)))
    except ChangedError as error:
        return AsyncQueueResult(options, Outcome.OUTDATED, run.with_progress(str(error)))
    except (RejectedError, PasswordError) as error:
        return AsyncQueueResult(options, Outcome.REJECTED, run.with_progress(str(error)))
    except ClusterError as error:
        text = run.with_progress(rejection_text(error))
        return AsyncQueueResult(options, Outcome.REJECTED, text)
    message = f"{done_sentence(options)} {one_line(sanitize(run.left))}".rstrip()
    return AsyncQueueResult(options, Outcome.DONE, message)


def done_sentence(options: AsyncQueueOptions) -> str:
    if options.seen is not None:
        found = (f"{LIMITS[name].label} {format_limit(name, one)}" for name, one in options.changes)
        return one_line(
            sanitize(f"The limits of the async queue of {options.target}: {', '.join(found)}.")
        )
    return one_line(sanitize(f"The async queue of {options.target} is {options.action}."))


async def look_again(
    connection: Connection, result: AsyncQueueResult, defaults: AsyncQueueDefaults
) -> AsyncQueueResult:
    """The result after a lost response, as far as the objects show it now. It stays UNKNOWN while
    they cannot be read, or the request may still be executed; any other result is returned as it
    is. Never raises ClusterError."""
    if result.outcome is not Outcome.UNKNOWN or result.lost is None:
        return result
    try:
        plan = await plan_async_queue(connection, result.options, defaults)
    except ClusterError:
        return result
    if plan.unchanged:
        return replace(result, outcome=Outcome.DONE, message=done_sentence(result.options))
    if plan.blocked:
        message = f"{result.message} {plan.blocked}"
        return replace(result, outcome=Outcome.REJECTED, message=message)
    if _concerns(plan, result.lost):
        return result
    text = f"{result.lost} is as it should be now. {_again(result.options)}"
    return replace(result, outcome=Outcome.REJECTED, message=f"{result.message} {text}")


def _concerns(plan: AsyncQueuePlan, ref: ObjectRef) -> bool:
    """Whether the object is still to be written or deleted."""
    return ref in _refs_of(plan)


def _refs_of(plan: AsyncQueuePlan) -> list[ObjectRef]:
    """The objects that the plan writes or deletes."""
    secret, view_secret = secret_refs(plan.options.namespace, plan.options.serving)
    refs = [secret] * plan.creates_secret + [view_secret] * plan.creates_view_secret
    refs += [one.ref for one in (*plan.writes, *plan.route_writes)]
    return refs + [one.ref for one in plan.deletions]


def _again(options: AsyncQueueOptions) -> str:
    if options.seen is not None:
        return "Change the limits again for the rest."
    return f"Turn it {options.action} again for the rest."


def _refusal(unfinished: int | None) -> str:
    if unfinished is None:
        return (
            "It is not known whether tasks wait, and those that do would never be delivered; "
            "confirm that they are given up, or try again when the gateway can be reached."
        )
    s = "" if unfinished == 1 else "s"
    return (
        f"{format_count(unfinished, 'task')} would be cancelled; confirm that, or wait until "
        f"{'it has' if not s else 'they have'} ended."
    )


class _Run:
    """One execution of a plan."""

    def __init__(
        self, connection: Connection, plan: AsyncQueuePlan, on_progress: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._tell = on_progress
        self._written: list[ObjectRef] = []
        self._deleted: list[ObjectRef] = []
        self._cancelled = 0
        self.left = ""
        """What is not deleted from the store, one sentence; "" for nothing."""
        self._closed = ""
        """That the queue is closed, or may be, one sentence; "" if it is not."""
        self._client = AsyncQueueClient(connection, plan.options.namespace, plan.options.serving)
        self._notes = QueueNotes(plan.options.namespace, plan.options.serving)

    @property
    def _options(self) -> AsyncQueueOptions:
        return self._plan.options

    def with_progress(self, message: str) -> str:
        """The message, with what was done before."""
        done = [f"Written before: {join(self._written)}."] if self._written else []
        done += [f"Cancelled before: {format_count(self._cancelled, 'task')}."] * bool(
            self._cancelled
        )
        done += [f"Deleted before: {join(self._deleted)}."] if self._deleted else []
        if self._closed and not any(one.kind == "Deployment" for one in self._deleted):
            done.append(self._closed)
        if not done:
            return one_line(sanitize(message))
        text = f"{message.rstrip('.')}. {' '.join(done)} {_again(self._options)}"
        return one_line(sanitize(text))

    # -- on -------------------------------------------------------------------------------------

    async def turn_on(self, seconds: float) -> None:
        plan = self._plan
        if plan.closed and plan.opens_queue:
            await self._open()
        if plan.creates_secret:
            await self._create_secret()
        if plan.creates_view_secret:
            await self._create_view_secret()
        await self._write(plan.writes)
        if plan.route_writes:
            await self._wait_until_available(seconds)
        if plan.closed is None and plan.opens_queue:
            await self._open()
        await self._write(plan.route_writes)

    async def _open(self) -> None:
        """Accept tasks again, before routes lead there. Raises RejectedError if the queue is known
        to be closed and stays so."""
        try:
            await self._client.open_queue()
        except TooOldError:
            return  # it cannot be closed either
        except AsyncQueueError as error:
            if self._plan.closed:
                raise RejectedError(f"Its queue is closed and was not opened: {error}") from error
            self._tell(f"It is not known whether its queue is open: {error}")

    async def _create_secret(self) -> None:
        namespace, serving = self._options.namespace, self._options.serving
        secret = await build_secret(self._connection, namespace, serving, self._plan.password_from)
        await self._create(secret_refs(namespace, serving)[0], secret)

    async def _create_view_secret(self) -> None:
        namespace, serving = self._options.namespace, self._options.serving
        secret_ref, ref = secret_refs(namespace, serving)
        if self._plan.replaced_view_secret is not None:
            await self._delete([self._plan.replaced_view_secret])
        secret = await self._connection.get_json(secret_ref.path)
        key = as_str(as_mapping(secret, "data").get(VIEW_KEY))
        if not key:
            raise ChangedError(f"{secret_ref} has no {VIEW_KEY} any more.")
        await self._create(ref, view_secret_manifest(namespace, serving, key))

    async def _create(self, ref: ObjectRef, secret: JsonObject) -> None:
        try:
            await create_secret(self._connection, secret)
        except ClusterError as error:
            if isinstance(error, ApiError) and error.reason == "AlreadyExists":
                raise ChangedError(f"{ref} was created by somebody else.") from error
            if is_lost(error):
                raise LostError(str(error), ref) from error
            raise
        self._written.append(ref)

    async def _wait_until_available(self, seconds: float) -> None:
        """Raises RejectedError after so many seconds: a route to a gateway that is not up would
        answer 503."""
        name = async_gateway_name(self._options.serving)
        ref = ObjectRef("apps/v1", "Deployment", self._options.namespace, name)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        is_told = False
        while True:
            reason = why_not_available(await self._connection.get_json(ref.path))
            if not reason:
                return
            if loop.time() >= deadline:
                raise RejectedError(
                    f"The routes were not changed, as the gateway is not up: {reason}"
                )
            if not is_told:
                self._tell(f"Waiting up to {seconds:.0f} s for a Pod of the gateway. {reason}")
                is_told = True
            await asyncio.sleep(_POLL_SECONDS)

    # -- off ------------------------------------------------------------------------------------

    async def turn_off(self, *, may_cancel: bool) -> None:
        plan = self._plan
        await self._write(plan.route_writes)
        name = async_gateway_name(self._options.serving)
        callers = [one for one in plan.deletions if one.ref.kind == "Service"]
        callers = [one for one in callers if one.ref.name == name]
        await self._delete(callers)
        await self._end_tasks(may_cancel=may_cancel)
        await self._delete([one for one in plan.deletions if one not in callers])
        self._notes.done()

    async def _end_tasks(self, *, may_cancel: bool) -> None:
        """Accept no task any more, and cancel those that have not ended. Raises RejectedError if
        that is not confirmed."""
        if not any(one.ref.kind == "Deployment" for one in self._plan.deletions):
            return  # nothing could be asked, and that was confirmed
        client = self._client
        try:
            await self._close()
            counts = (await client.queue_status()).counts
            if counts.backlog and not may_cancel:
                raise RejectedError(_refusal(counts.backlog))
            for _ in range(_MAX_CANCELLATIONS):
                if not counts.backlog:
                    await self._forget(may_cancel=may_cancel)
                    return
                for state in (TaskState.PENDING, TaskState.PROCESSING):
                    self._notes.cancelled(None)
                    self._cancelled += await client.cancel_tasks(state)
                    self._notes.cancelled(self._cancelled)
                counts = (await client.queue_status()).counts
        except AsyncQueueError as error:
            if not may_cancel or self._plan.unfinished is not None:
                raise RejectedError(f"The tasks could not be accounted for: {error}") from error
            return
        raise RejectedError(
            f"{format_count(counts.backlog, 'task')} could not be cancelled, as new ones came."
        )

    async def _forget(self, *, may_cancel: bool) -> None:
        """Delete the tasks that have ended: with the Secret gone, nobody can ask for them. Raises
        RejectedError, unless tasks may be given up."""
        self._notes.forgotten(is_certain=False)
        try:
            await self._client.forget_tasks()
            self._notes.forgotten(is_certain=True)
        except TooOldError:
            self._notes.kept()
            self.left = (
                "Its gateway is of an earlier version, which cannot delete what is stored of its "
                "tasks: that stays until the async queue of a serving of this name is on again, "
                "and then until it expires."
            )
        except AsyncQueueError as error:
            text = f"What is stored of tasks that ended could not be deleted: {error}"
            if not may_cancel:
                raise RejectedError(text) from error
            self.left = text

    async def _close(self) -> None:
        """Without its Service and routes, connections that are open could still bring a task after
        the last count. Raises AsyncQueueError."""
        self._closed = "Its queue may be closed; turning it on again opens it."
        self._notes.closed(is_certain=False)
        try:
            await self._client.close_queue()
        except TooOldError:
            self._closed = ""
            self._notes.opened()
            self._tell("Its gateway is of an earlier version, which cannot be closed.")
            return
        self._closed = "Its queue is closed: it accepts no task until it is turned on again."
        self._notes.closed(is_certain=True)

    # -- both -----------------------------------------------------------------------------------

    async def _write(self, writes: Sequence[ObjectWrite]) -> None:
        for one in writes:
            self._written += await send_writes(self._connection, [one], force=self._options.force)

    async def _delete(self, deletions: list[ObjectDeletion]) -> None:
        for one in deletions:
            try:
                await delete_object(self._connection, one)
            except ClusterError as error:
                if is_lost(error):
                    raise LostError(f"{one.target}: {error}", one.ref) from error
                raise
            self._deleted.append(one.ref)
