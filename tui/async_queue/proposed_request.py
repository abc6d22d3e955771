"""What a test request begins with: the request of a task, or an example."""

from __future__ import annotations

from servedeck.async_queue.curl import HIDDEN
from servedeck.async_queue.queue_api import QueueApi, Side
from servedeck.async_queue.request_text import (
    MAX_BODY,
    RequestError,
    RequestText,
    body_text,
    headers_text,
)
from servedeck.async_queue.tasks import Task
from servedeck.cluster.http.errors import ClusterError
from servedeck.serving.text import format_size, one_line, sanitize


async def propose_request(
    api: QueueApi, task: Task | None, example: RequestText
) -> tuple[RequestText, str]:
    """The request that is edited, and what it is, in sentences: that of `task`, or the example."""
    if task is None:
        return example, "An example for this serving."
    try:
        return await _read_request(api, task)
    except RequestError as error:
        return example, f"An example: the request of the task cannot be edited. {error}"
    except ClusterError as error:
        return example, f"An example: the request of the task cannot be read. {error}"


async def _read_request(api: QueueApi, task: Task) -> tuple[RequestText, str]:
    """Raises RequestError and ClusterError."""
    if task.request_bytes > MAX_BODY:
        raise RequestError(
            f"Its body has {format_size(task.request_bytes)}, which is too much to edit."
        )
    head = await api.request_head(task.id)
    part = await api.read_body(task.id, Side.REQUEST, 0, MAX_BODY + 1)
    headers, hidden = headers_text(head.headers)
    line = one_line(sanitize(f"{head.method} {head.path}"))
    note = f"The request of task {one_line(sanitize(task.id))}."
    if hidden:
        s = "" if hidden == 1 else "s"
        note += f" {hidden} header{s} with a hidden value {'is' if not s else 'are'} left out."
    if HIDDEN in head.path:
        note += f" Write the value that is {HIDDEN} in its path."
    return RequestText(line, headers, body_text(part.data)), note
