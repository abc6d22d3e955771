"""The last look at the async queue of a serving that is deleted: its tasks were counted when the
deletion was planned, and more may have come until it is confirmed."""

from __future__ import annotations

from dataclasses import replace

from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import AsyncQueueError, TooOldError
from servedeck.changes.async_queue.interrupted import QueueNotes
from servedeck.changes.async_queue.state import gateway_refs
from servedeck.changes.operations.operation import (
    ObjectDeletion,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.cluster.http.connection import Connection
from servedeck.serving.text import format_count, one_line, sanitize


class QueueClosing:
    """Of one execution of a plan, which must have a queue (OperationPlan.queue_counted)."""

    def __init__(self, connection: Connection, plan: OperationPlan) -> None:
        operation = plan.operation
        self._client = AsyncQueueClient(connection, operation.namespace, operation.name)
        self._name = one_line(sanitize(f"{operation.namespace}/{operation.name}"))
        self._was_counted = plan.queue_counted
        self._refs = gateway_refs(operation.namespace, operation.name)
        self._notes = QueueNotes(operation.namespace, operation.name)
        self._may_be_closed = False
        self._is_counted = False
        """It has no task that has not ended; those that have are still stored."""
        self._warnings: list[str] = []

    async def begin(self) -> str:
        """Close the queue and count its tasks. Returns why the serving is not to be deleted, in
        sentences; "" if it is."""
        try:
            await self._close()
            backlog = (await self._client.queue_status()).counts.backlog
        except AsyncQueueError as error:
            if not self._was_counted:
                return ""  # the plan has a warning of it
            text = f"The tasks of its async queue could not be counted again: {error}"
            return await self._refuse(text)
        if backlog:
            text = (
                f"Its async queue has {format_count(backlog, 'task')} that came meanwhile; turn it "
                f"off first, which cancels them: servedeck async-queue off {self._name}."
            )
            return await self._refuse(text)
        self._is_counted = True
        return ""

    async def before_deletion(self, deletion: ObjectDeletion) -> None:
        """Delete the tasks that have ended just before the gateway goes: until then the deletion
        of the serving may be refused, and their results are to be fetched."""
        if not self._is_counted or deletion.ref not in self._refs:
            return
        self._is_counted = False
        self._notes.forgotten(is_certain=False)
        try:
            await self._client.forget_tasks()
            self._notes.forgotten(is_certain=True)
        except AsyncQueueError as error:
            text = f"What is stored of the tasks of its async queue was not deleted: {error}"
            self._warnings.append(one_line(sanitize(text)))

    async def end(self, result: OperationResult) -> OperationResult:
        """The result of the deletion, after which the queue is open again if its gateway was not
        deleted."""
        if result.outcome is Outcome.DONE:
            self._notes.done()
            return replace(result, warnings=(*result.warnings, *self._warnings))
        if result.outcome is not Outcome.UNKNOWN:
            return replace(result, message=f"{result.message} {await self._open()}".rstrip())
        if not self._may_be_closed:
            return result
        # Whether it goes on is not known yet: a task that came now could be lost.
        note = self._note()
        lost = result.lost and replace(result.lost, error=f"{result.lost.error} {note}")
        return replace(result, message=f"{result.message} {note}", lost=lost)

    async def _close(self) -> None:
        self._may_be_closed = True
        self._notes.closed(is_certain=False)
        try:
            await self._client.close_queue()
        except TooOldError:
            self._may_be_closed = False
            self._notes.opened()
        else:
            self._notes.closed(is_certain=True)

    async def _refuse(self, text: str) -> str:
        return one_line(sanitize(f"{text} {await self._open()}".rstrip()))

    async def _open(self) -> str:
        """That it stays closed, one sentence; "" if it is open."""
        if self._may_be_closed:
            try:
                await self._client.open_queue()
            except AsyncQueueError:
                return self._note()
            self._notes.opened()
        return ""

    def _note(self) -> str:
        return (
            "Its async queue may be closed, so that it accepts no task: servedeck async-queue on "
            f"{self._name} opens it."
        )
