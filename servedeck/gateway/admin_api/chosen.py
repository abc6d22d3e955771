"""Which tasks a filter chooses, and the part of all ids that they can have."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from servedeck.async_queue.task_filter import (
    TaskFilter,
    parse_task_filter,
    require_complete_terms,
)
from servedeck.gateway.admin_api.answers import bad_parameter
from servedeck.gateway.identity import id_begin
from servedeck.serving.query_terms import QueryError

TASKS_AT_ONCE = 25
"""Tasks that are looked at before the callers of the gateway have their turn."""
_SPREAD_SECONDS = 5.0
"""Ids have the time of the gateway that accepted them, whose clock may differ by so much from that
of this one."""


class IdRange(NamedTuple):
    """Ids from `first` on, before `end`: begins of ids; "" where there is no bound. As they sort by
    age, a walk through them begins and ends there."""

    first: str = ""
    end: str = ""

    def start(self, after: str, *, oldest_first: bool = False) -> str:
        """The `after` of TaskStore.page for a walk that goes on after this id, "" from its
        beginning."""
        if oldest_first:
            return max(after, self.first)
        return min(after or self.end, self.end or after)

    def is_left(self, id: str, *, oldest_first: bool = False) -> bool:
        """Whether a walk that has come to this id has nothing before it any longer."""
        return bool(self.end) and id >= self.end if oldest_first else id < self.first


def require_id(name: str, text: str, detail: str) -> None:
    """Raises HttpError if it cannot be the id of a task."""
    if not (0 < len(text) <= 64 and text.isascii() and text.isalnum()):
        raise bad_parameter(name, detail)


def read_filter(text: str, now: float, *, is_complete: bool = False) -> TaskFilter:
    """`now` is the time of the store. `is_complete`: each term must choose some tasks from others,
    as something is done to those that match. Raises HttpError."""
    try:
        if is_complete:
            require_complete_terms(text)
        return parse_task_filter(text, now)
    except QueryError as error:
        raise bad_parameter("q", str(error)) from None


def range_of(found: TaskFilter, now: float) -> IdRange:
    """`now` is the time of the store."""
    if found.id:
        return IdRange(found.id, f"{found.id}0")  # what sorts next
    ahead = time.time() - now  # of this gateway's clock
    first = end = ""
    if math.isfinite(found.created_after):
        first = id_begin(found.created_after + ahead - _SPREAD_SECONDS)
    if math.isfinite(found.created_before):
        end = id_begin(found.created_before + ahead + _SPREAD_SECONDS)
    return IdRange(first, end)
