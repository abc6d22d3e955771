"""What both stores say of a task in the same words, and how they make a Task of what they keep."""

from __future__ import annotations

from typing import Any

import msgspec

from servedeck.async_queue.tasks import Task
from servedeck.gateway.messages import RequestHead

LOST_MESSAGE = "The gateway that delivered it was lost."
UNHEARD_MESSAGE = "The gateway that was to deliver it did not get the answer of the store."
EXPIRED_MESSAGE = "Its deadline passed."
CANCELLED_MESSAGE = "It was cancelled."
NO_CREDENTIALS_REFUSAL = (
    "Credentials are deleted when a task ends: retry it without credentials, or set"
    " service_authorization_file."
)
CLOSED_REFUSAL = "The queue is closed: it takes no request until an operator opens it."

ATTEMPTS_KEPT = 100
FEED_KEPT = 100_000
OUTPUT_SECONDS = 60.0
"""For which the parts of a streamed response are kept after its end."""
DEFAULT_KEEP = 7 * 86400.0
"""For a task whose deadline is found to have passed before a sweep has said how long to keep it."""

_decoder = msgspec.json.Decoder(RequestHead)


def build_task(head: bytes, **fields: Any) -> Task:
    """A Task of its own fields and the JSON of its RequestHead. A head that cannot be read leaves
    its fields at their defaults, so that the task can still be listed and cancelled."""
    try:
        request = _decoder.decode(head)
    except msgspec.DecodeError:
        request = RequestHead()
    return Task(
        method=request.method,
        path=request.path,
        model=request.model,
        is_stream=request.is_stream,
        **fields,
    )
