"""The limits of an async queue: names, labels, units, ranges and defaults, how they are typed and
shown. Command, dialogs and tabs use these definitions.

The parser of the command line imports it: what only a value that is typed needs is imported then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from servedeck.serving.duration import format_exact_duration, parse_duration

MIB, GIB = 1 << 20, 1 << 30
GATEWAY_MEMORY = 256 * MIB
"""Memory limit of each container of a gateway, in bytes."""
LARGEST_STORED = 511 * MIB
"""Bytes of the largest body that a Valkey stores in one value: proto-max-bulk-len is 512mb by
default (valkey.conf), of which the headers take some."""

_YEAR = 366 * 24 * 3600
_LARGEST_NUMBER = 10**15
"""Beyond all ranges; below it, every whole number is exact as a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncQueueSettings:
    """What an operator sets of the async queue of a serving; the names and defaults are those of
    `servedeck gateway`. Durations are in seconds."""

    pod_concurrency: int = 4
    """Tasks that one Pod processes at once."""
    max_depth: int = 1000
    """Tasks that wait."""
    max_body_bytes: int = 8 * MIB
    max_result_bytes: int = 16 * MIB
    lifetime: float = 6 * 3600
    """From being accepted to the deadline."""
    attempt_timeout: float = 900
    max_attempts: int = 3
    keep_completed: float = 24 * 3600
    keep_failed: float = 7 * 24 * 3600


DEFAULTS = AsyncQueueSettings()


class LimitKind(StrEnum):
    """How the value is typed; the value is the placeholder in the help of the command."""

    COUNT = "N"
    DURATION = "TIME"
    SIZE = "SIZE"


_EXAMPLES = {
    LimitKind.COUNT: "",
    LimitKind.DURATION: "90s, 15m, 6h or 7d",
    LimitKind.SIZE: "512Ki, 8Mi or 1Gi",
}
_STORED = {
    LimitKind.COUNT: "a whole number",
    LimitKind.DURATION: "a number of seconds",
    LimitKind.SIZE: "a whole number of bytes",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """One field of AsyncQueueSettings."""

    name: str
    label: str
    short_label: str
    """At most 11 cells, for a narrow terminal."""
    kind: LimitKind
    meaning: str
    """What it limits, as a part of a sentence."""
    least: int
    most: int

    @property
    def default(self) -> float:
        return value_of(DEFAULTS, self.name)

    @property
    def option(self) -> str:
        """Of `servedeck async-queue on`."""
        return f"--{self.name.removesuffix('_bytes').replace('_', '-')}"

    @property
    def example(self) -> str:
        """How it is typed, "90s, 15m, 6h or 7d"; "" for a plain number."""
        return _EXAMPLES[self.kind]

    @property
    def stored_as(self) -> str:
        """What `read` takes, "a number of seconds, as in 900"."""
        return f"{_STORED[self.kind]}, as in {int(self.default)}"

    @property
    def range_text(self) -> str:
        """ "1 to 10,000", "1s to 366d"."""
        is_count = self.kind is LimitKind.COUNT
        most = f"{self.most:,}" if is_count else self.format(self.most)
        return f"{self.format(self.least)} to {most}"

    def format(self, value: float) -> str:
        """The value as it is typed: "1000", "15m", "8Mi"; `parse` reads it."""
        if self.kind is LimitKind.DURATION:
            return format_exact_duration(value)
        if self.kind is LimitKind.SIZE:
            return _format_size(int(value))
        return f"{value:g}" if value != int(value) else str(int(value))

    def parse(self, text: str) -> float:
        """The value of what was typed; seconds or bytes where it has a unit. Raises ValueError with
        a sentence without a full stop."""
        found: float
        if self.kind is LimitKind.DURATION:
            found = parse_duration(text)
        elif self.kind is LimitKind.SIZE:
            from servedeck.serving.quantity import parse_quantity

            found = int(parse_quantity(text, self.example))
        elif re.fullmatch(r"-?\d{1,18}", text.strip(), re.ASCII):
            found = int(text)
        else:
            example = self.format(self.default)
            raise ValueError(f"{text[:40]!r} is not a whole number: enter one such as {example}")
        if not self.least <= found <= self.most:
            raise ValueError(self._range_problem(text.strip()[:40]))
        return found

    def read(self, value: object) -> float | None:
        """The value that a gateway reads from its settings, in the range or not; None for what is
        no number of this limit: a text, a truth value, what is not finite or of more than 15
        digits, and a part of a task or of a byte."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER:  # not so of nan either
            return None
        if self.kind is LimitKind.DURATION:
            return value
        return int(value) if value == int(value) else None

    def range_problem(self, value: float) -> str:
        """Why a gateway would not take the value, in a sentence without a full stop; "" if it
        does."""
        is_in = self.least <= value <= self.most
        return "" if is_in else self._range_problem(self.format(value))

    def _range_problem(self, shown: str) -> str:
        return f"{self.label} must be from {self.range_text}, not {shown}"


def _limits() -> Iterator[Limit]:
    count, duration, size = LimitKind.COUNT, LimitKind.DURATION, LimitKind.SIZE
    yield Limit(
        "pod_concurrency",
        "Concurrency per Pod",
        "Per Pod",
        count,
        "tasks that one Pod processes at once",
        1,
        10_000,
    )
    yield Limit(
        "max_depth",
        "Max Queue Depth",
        "Max depth",
        count,
        "tasks that wait; more are answered with 429",
        1,
        100_000_000,
    )
    yield Limit("max_attempts", "Max Attempts", "Attempts", count, "attempts of a task", 1, 100)
    yield Limit(
        "attempt_timeout",
        "Attempt Timeout",
        "Timeout",
        duration,
        "for how long one attempt may take",
        1,
        _YEAR,
    )
    yield Limit(
        "lifetime",
        "Task Lifetime",
        "Lifetime",
        duration,
        "from being accepted to the deadline",
        1,
        _YEAR,
    )
    yield Limit(
        "keep_completed",
        "Results Kept",
        "Kept",
        duration,
        "for how long results are kept",
        1,
        _YEAR,
    )
    yield Limit(
        "keep_failed",
        "Failed Tasks Kept",
        "Failed kept",
        duration,
        "for how long failed tasks are kept",
        1,
        _YEAR,
    )
    yield Limit(
        "max_body_bytes",
        "Max Request Size",
        "Request",
        size,
        "of a request; more is answered with 413",
        1,
        GIB,
    )
    yield Limit(
        "max_result_bytes",
        "Max Response Size",
        "Response",
        size,
        "of a response; with more, the task fails",
        1,
        GIB,
    )


LIMITS: Mapping[str, Limit] = {one.name: one for one in _limits()}
"""By name, in the order in which they are shown. The ranges are those of the gateway
(servedeck.gateway.settings), which is not imported here; a test compares them."""


class LimitChange(NamedTuple):
    """A limit that a change gives another value."""

    name: str
    old: float | None
    """None if the queue is off."""
    new: float


def _format_size(size: int) -> str:
    """As a quantity of Kubernetes, exactly: "8Mi", "1000"."""
    for suffix, unit in (("Gi", GIB), ("Mi", MIB), ("Ki", 1 << 10)):
        if size and size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)


def value_of(settings: AsyncQueueSettings, name: str) -> float:
    """The value of one limit."""
    found: float = getattr(settings, name)
    return found


def format_limit(name: str, value: float) -> str:
    """The value as it is typed."""
    return LIMITS[name].format(value)


def limit_changes(
    before: AsyncQueueSettings | None, after: AsyncQueueSettings
) -> tuple[LimitChange, ...]:
    """The limits that differ; all of them without a `before`."""
    found = []
    for name in LIMITS:
        old = None if before is None else value_of(before, name)
        if old != (new := value_of(after, name)):
            found.append(LimitChange(name, old, new))
    return tuple(found)


def summarize_limits(settings: AsyncQueueSettings) -> str:
    """All limits in one line."""
    text = {name: one.format(value_of(settings, name)) for name, one in LIMITS.items()}
    return (
        f"{text['pod_concurrency']} per Pod, {text['max_depth']} waiting,"
        f" {text['max_attempts']} × {text['attempt_timeout']} in {text['lifetime']},"
        f" kept {text['keep_completed']}, failed {text['keep_failed']},"
        f" request {text['max_body_bytes']}, response {text['max_result_bytes']}"
    )
