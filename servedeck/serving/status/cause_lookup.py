"""Finds the row of the table for what is known about a Pod, the one that tells most, and its
sentence."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from servedeck.serving.quantity import format_quantity, parse_quantity
from servedeck.serving.status import reasons
from servedeck.serving.status.cause import FailureCause, Finding, Signal
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.failure_causes import FAILURE_CAUSES
from servedeck.serving.text import one_line

_MAX_MATCHED_LENGTH = 8192
"""Characters of a message in which a pattern is searched: its beginning."""
_MIN_TIME = float("-inf")


class RankedCause(NamedTuple):
    """A finding with its row of the table."""

    rank: int
    """Place in the table: 0 tells most."""
    cause: FailureCause
    finding: Finding
    groups: Mapping[str, str]
    """The named groups of the row's pattern."""

    @property
    def text(self) -> str:
        """The sentence, or for a container the predicate after its name."""
        values = {"reason": self.finding.reason, **self.finding.values, **self.groups}
        _add_free_amount(values)
        return _FORMATTER.vformat(self.cause.text, (), values)


def find_cause(finding: Finding) -> RankedCause | None:
    """The first row of the table that fits the finding; None if there is none."""
    line: str | None = None
    for rank, cause, pattern in _rows_by_signal()[finding.signal]:
        if (
            not _is_one_of(finding.reason, cause.reasons)
            or (cause.exit_codes and finding.exit_code not in cause.exit_codes)
            or (cause.requires and not finding.values.get(cause.requires))
        ):
            continue
        if pattern is None:
            return RankedCause(rank, cause, finding, {})
        if line is None:
            line = one_line(finding.message[:_MAX_MATCHED_LENGTH])
        match = pattern.search(line)
        if match is not None:
            groups = {name: text or "" for name, text in match.groupdict().items()}
            return RankedCause(rank, cause, finding, groups)
    return None


def find_main_cause(findings: Iterable[Finding]) -> RankedCause | None:
    """The cause that tells most: an error before a Pod that waits, what is failing now before what
    failed a moment ago, then by the order of the table, then the newest."""
    ranked = [found for finding in findings if (found := find_cause(finding)) is not None]
    return min(ranked, key=_importance, default=None)


def _importance(found: RankedCause) -> tuple[bool, bool, int, float]:
    return (
        found.cause.health is not PodHealth.ERROR,
        found.finding.is_recent,
        found.rank,
        -_timestamp(found.finding.time),
    )


def _timestamp(time: datetime | None) -> float:
    return _MIN_TIME if time is None else time.timestamp()


def to_diagnosis(found: RankedCause, message: str | None = None) -> Diagnosis:
    """The diagnosis of a Pod with this main cause; `message` replaces the row's text."""
    finding = found.finding
    return Diagnosis(
        found.cause.health,
        finding.shown_reason or finding.reason,
        found.text if message is None else message,
        finding.container,
        reevaluate_at=finding.reevaluate_at,
        raw_message=finding.message,
    )


# -- matching ---------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _rows_by_signal() -> dict[Signal, list[tuple[int, FailureCause, re.Pattern[str] | None]]]:
    """Rows with their ranks and compiled patterns, on first use: a start does not pay for it."""
    rows: dict[Signal, list[tuple[int, FailureCause, re.Pattern[str] | None]]] = {
        signal: [] for signal in Signal
    }
    for rank, cause in enumerate(FAILURE_CAUSES):
        pattern = re.compile(cause.pattern) if cause.pattern else None
        signals = (cause.signals,) if isinstance(cause.signals, Signal) else cause.signals
        for signal in signals:
            rows[signal].append((rank, cause, pattern))
    return rows


def _is_one_of(reason: str, names: str) -> bool:
    return not names or any(
        reason.startswith(name[:-1]) if name.endswith("*") else reason == name
        for name in names.split()
    )


# -- texts ------------------------------------------------------------------------------------


class _TextFormatter(string.Formatter):
    """Fills in values as text only: no attributes, no indexes, "" for an unknown name."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        return kwargs.get(field_name, ""), field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        text = reasons.shorten(str(value))
        if format_spec == "bytes":
            return round_bytes(text)
        if format_spec == "cores":
            return _milli_to_cores(text)
        return text


_FORMATTER = _TextFormatter()


def _add_free_amount(values: dict[str, str]) -> None:
    """`free` from `capacity` and `used`."""
    if "free" not in values and values.get("capacity") and values.get("used"):
        try:
            free = parse_quantity(values["capacity"]) - parse_quantity(values["used"])
        except ValueError:
            return
        values["free"] = format_quantity(max(free, Fraction(0)))


def round_bytes(text: str) -> str:
    """A quantity of bytes with at most one decimal: "48458972Ki" is "46.2Gi". Unchanged if it is
    not a quantity, or is short already ("100Mi")."""
    try:
        value = parse_quantity(text)
    except ValueError:
        return text
    exact = format_quantity(value, binary=True)
    if len(exact) <= len("1000Mi") and not exact.isdecimal():
        return exact
    for power, suffix in ((4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki")):
        if value >= 1024**power:
            return f"{float(value / 1024**power):.1f}".removesuffix(".0") + suffix
    return exact


def _milli_to_cores(text: str) -> str:
    return f"{int(text) / 1000:g}" if text.isdecimal() else text
