"""Answers about tasks, and the URLs in them."""

from __future__ import annotations

from servedeck.async_queue.tasks import FailureReason, Task, TaskState, TaskStatus
from servedeck.gateway.asgi import HttpError
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.settings import GatewaySettings
from servedeck.gateway.stores.store import StoreError, StoreFullError

PREFIX = "/-/async"
MIN_RETRY_SECONDS = 1
MAX_RETRY_SECONDS = 60


def status_url(settings: GatewaySettings, id: str) -> str:
    """Relative to the origin: the gateway does not know the name by which it was reached."""
    return f"{settings.public_path}{PREFIX}/tasks/{id}"


def result_url(settings: GatewaySettings, id: str) -> str:
    return status_url(settings, id) + "/result"


async def task_status(context: GatewayContext, task: Task) -> TaskStatus:
    """Raises StoreError."""
    position = None
    if task.state is TaskState.PENDING:
        position = await context.store.position(task.id)
    return TaskStatus(
        id=task.id,
        status=task.state,
        attempt=task.attempt,
        max_attempts=task.max_attempts,
        created=task.created,
        started=task.started,
        ended=task.ended,
        deadline=task.deadline,
        next_attempt=task.next_attempt,
        expires=task.expires,
        reason=task.reason,
        message=task.message,
        response_status=task.status,
        position=position,
    )


def without_response(task: Task) -> HttpError:
    """What is answered for the result of an ended task that has none."""
    if task.state is TaskState.CANCELLED:
        return HttpError(
            409, "The task was cancelled", "It has no result.", task=task.id, state=task.state
        )
    status = 504 if task.reason == FailureReason.EXPIRED else 502
    detail = task.message or f"The reason is {task.reason}."
    return HttpError(status, "The task failed", detail, task=task.id, state=task.state)


def store_problem(error: StoreError, task: str = "") -> HttpError:
    """503 for a store that did not do what it was asked."""
    if isinstance(error, StoreFullError):
        title, detail = "The store is full", "No request can be stored now; try again later."
    else:
        title, detail = "The store is not available", "Try again in a moment."
    return HttpError(503, title, detail, retry_after=error.retry_after, task=task)
