"""The filter of tasks, in the grammar of the other filters (`servedeck.serving.query_terms`).

llama              the text occurs in id, path, model, error or Pod
!text              it does not
path:/v1/chat      the text occurs in one field: id, path, method, model, error, reason, pod, user
status:503         the HTTP status of the response
attempts:>1        number of the last attempt
age:>10m           time since it was submitted; age:<1h for younger ones
created:<N         submitted before N, in seconds since the epoch

A whole id by itself chooses that task alone: a path or a message may name it, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from servedeck.async_queue.tasks import Task
from servedeck.serving.duration import parse_duration
from servedeck.serving.query_terms import Predicate, QueryError, parse_term, split_first_word

MAX_TYPED = 500
"""Characters of a filter that somebody writes."""
MAX_LENGTH = 4 * MAX_TYPED
"""Characters of a filter; fix_ages makes one that was typed less than four times as long."""

_ID = re.compile(r"[0-9a-f]{44}")
_FIELD = re.compile(r"!?[a-z]+:")
_SPECIAL = ("attempts", "age", "created")

FIELDS: Mapping[str, Callable[[Task], Iterable[str]]] = {
    "id": lambda task: (task.id,),
    "path": lambda task: (task.path,),
    "method": lambda task: (task.method,),
    "model": lambda task: (task.model,),
    "error": lambda task: (task.message, task.reason),
    "reason": lambda task: (task.reason,),
    "pod": lambda task: (task.pod,),
    "user": lambda task: (task.owner,),
    "status": lambda task: () if task.status is None else (str(task.status),),
    **{one: lambda _task: () for one in _SPECIAL},
}
"""Fields that a term can use, with the texts that each searches."""

_ALIASES = {"message": "error", "owner": "user", "attempt": "attempts"}


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """A parsed filter."""

    text: str
    predicates: tuple[Predicate[Task], ...] = ()
    created_after: float = -math.inf
    """What matches was created after that."""
    created_before: float = math.inf
    id: str = ""
    """That of the only task that can match; "" if others can."""

    def matches(self, task: Task) -> bool:
        """Whether every term matches."""
        return all(test(task) for test in self.predicates)


def parse_task_filter(text: str, now: float) -> TaskFilter:
    """Parse a filter; an empty text matches everything. Ages are those at `now`, in seconds since
    the epoch by the clock of the store. Raises QueryError."""
    if len(text) > MAX_LENGTH:
        raise QueryError(f"A filter may have {MAX_LENGTH:,} characters.")
    if _ID.fullmatch(id := text.strip().casefold()):
        return TaskFilter(text, (lambda task: task.id == id,), id=id)
    special = {
        "attempts": _parse_attempts,
        "age": lambda value: _parse_age(value, now),
        "created": _parse_created,
    }
    tests: list[Predicate[Task]] = []
    after, before = -math.inf, math.inf
    for word in _words(text):
        tests.append(parse_term(word, FIELDS, _search_text, special, aliases=_ALIASES))
        if (bound := _read_bound(word, now)) is not None:
            after, before = max(after, bound[0]), min(before, bound[1])
    return TaskFilter(text, tuple(tests), after, before)


def fix_ages(text: str, now: float) -> str:
    """The filter with times of creation in place of ages, so that it means the same later on.
    Raises QueryError."""
    words = []
    for word in _words(text):
        inverse, body = ("!", word[1:]) if word.startswith("!") else ("", word)
        value = body.removeprefix("age:").replace('"', "").casefold()
        if body.startswith("age:") and value:
            is_older, seconds = _read_age(value)
            word = f"{inverse}created:{'<' if is_older else '>'}{now - seconds:.3f}"
        words.append(word)
    return " ".join(words)


def check_typed_filter(text: str) -> None:
    """Raise QueryError if it is none."""
    if len(text) > MAX_TYPED:
        raise QueryError(f"A filter may have {MAX_TYPED} characters; this one has {len(text):,}.")
    parse_task_filter(text, 0.0)


def require_complete_terms(text: str) -> None:
    """Raise QueryError for a term without a value, which matches all tasks as it is still being
    typed: something is to be done to those that match."""
    words = _words(text)
    if text and not words:
        raise QueryError("The filter is blank; leave it out, or write what is to match.")
    for word in words:
        field = _FIELD.match(word)
        value = word[field.end() :] if field is not None else word.removeprefix("!")
        value = value.replace('"', "")
        is_exact = field is not None and value.startswith("=")
        parts = value[1:].split(",") if is_exact else [value.strip(", ")]
        if not all(parts):
            raise QueryError(f"{word} has no text to match; add it, or leave {word} out.")


def _words(text: str) -> list[str]:
    words = []
    rest = text.strip()
    while rest:
        word, rest = split_first_word(rest)
        words.append(word)
        rest = rest.lstrip()
    return words


def _read_bound(word: str, now: float) -> tuple[float, float] | None:
    """Between which times, by a valid term, all was created; None if it says nothing of that."""
    name, _, value = word.partition(":")
    value = value.replace('"', "").casefold()
    if not value or name not in ("age", "created"):
        return None
    if name == "age":
        is_before, seconds = _read_age(value)
        limit = now - seconds
    else:
        is_before, limit = value[0] == "<", float(value[1:])
    return (-math.inf, limit) if is_before else (limit, math.inf)


def _search_text(task: Task) -> str:
    return "\n".join((task.id, task.path, task.model, task.message, task.pod)).casefold()


def _read_age(value: str) -> tuple[bool, float]:
    """Whether older ones are meant, and seconds. Raises QueryError."""
    sign, text = (value[0], value[1:]) if value[0] in "<>" else (">", value)
    try:
        return sign == ">", float(parse_duration(text))
    except ValueError:
        raise QueryError(f"age:{value} is no age; write age:>10m or age:<1h.") from None


def _parse_age(value: str, now: float) -> Predicate[Task]:
    is_older, seconds = _read_age(value)
    limit = now - seconds
    if is_older:
        return lambda task: task.created < limit
    return lambda task: task.created > limit


def _parse_created(value: str) -> Predicate[Task]:
    sign, text = value[0], value[1:]
    try:
        limit = float(text)
    except ValueError:
        sign = ""
    if sign not in ("<", ">"):
        raise QueryError(
            f"created:{value} is no time; write created:<N or created:>N, with N in seconds since"
            " 1970."
        )
    if sign == "<":
        return lambda task: task.created < limit
    return lambda task: task.created > limit


def _parse_attempts(value: str) -> Predicate[Task]:
    sign, text = (value[0], value[1:]) if value[0] in "<>=" else ("=", value)
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise QueryError(f"attempts:{value} is no number; write attempts:>1 or attempts:3.")
    number = int(text)
    if sign == ">":
        return lambda task: task.attempt > number
    if sign == "<":
        return lambda task: task.attempt < number
    return lambda task: task.attempt == number
