"""Known errors in the logs of inference servers: which line says why a container ended.

The table is ordered: a row explains those after it. Of all rows that are found the first is the
cause; running out of memory on one GPU, for example, makes an NCCL operation of the others time
out. Of several lines of one row, which tracebacks repeat, it is the first of those that say most.
Lines below the level of an error, a warning that was retried, count only if no other line is known;
what a server informs about, such as the text of a request, never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from servedeck.serving.secret_text import mask_text
from servedeck.serving.status.accelerator_log_errors import (
    ACCELERATOR_ERRORS,
    COMMUNICATION_ERRORS,
    MEMORY_ERRORS,
)
from servedeck.serving.status.log_error import LogError, LogErrorMatch
from servedeck.serving.status.model_log_errors import (
    ACCESS_ERRORS,
    MODEL_ERRORS,
    NETWORK_ERRORS,
    OPTION_ERRORS,
    TRITON_ERRORS,
)
from servedeck.serving.text import one_line, sanitize, truncate

LOG_ERRORS: tuple[LogError, ...] = (
    *MEMORY_ERRORS,
    *ACCELERATOR_ERRORS,
    *ACCESS_ERRORS,
    *MODEL_ERRORS,
    *OPTION_ERRORS,
    *NETWORK_ERRORS,
    *TRITON_ERRORS,
    *COMMUNICATION_ERRORS,
)
"""All rows, in the order of how much each explains."""

CAUSE_LINES = 200
"""Number of last lines of a container in which its cause is looked for: after the error of vLLM's
engine follow the tracebacks of the engine's process and of the API server, about 120 lines."""

_MAX_LINE_LENGTH = 4096
"""Characters of a line that are searched: its beginning."""
_MAX_VALUE_WIDTH = 160
"""Terminal cells of one value in a sentence."""


def find_log_error(lines: Sequence[str]) -> LogErrorMatch | None:
    """The known error that explains the others in the sanitized lines of one instance of a
    container; None if none is known. Takes about 0.5 ms for 200 lines, and 3 ms for each
    further thousand."""
    starts = [line[:_MAX_LINE_LENGTH] for line in lines]
    rows = _rows_in("\n".join(starts))
    if not rows:
        return None
    best: tuple[tuple[bool, int, int, int], LogError, re.Match[str]] | None = None
    for index, line in enumerate(starts):
        for rank, error in rows:
            found = _search(line, error)
            if found is None:
                continue
            known = sum(value is not None for value in found.groups())
            order = (_is_warning(line), rank, -known, index)
            if best is None or order < best[0]:
                best = order, error, found
    if best is None:
        return None
    _, error, found = best
    # In the whole line: what tells that a value is a secret may be outside of the match.
    masked = _compile(error.pattern).search(mask_text(found.string)[0])
    return _to_match(error, best[0][3], masked or found)


# -- matching ---------------------------------------------------------------------------------

_Row = tuple[int, LogError]

# Prefixes of processes, times and sources: "(APIServer pid=1) ", "[rank0]: ", "2026-05-22T18:23 ".
_PREFIX = r"[\s|]*+(?:(?:\([^()]{1,80}\)|\[[^\[\]]{1,80}\]:?|[\d:.,TZ+-]+)[\s|-]++)*+"
_INFORMATION = re.compile(
    _PREFIX + r"(?:INFO|DEBUG|TRACE|I\d{4})\b|\{.{0,200}?\"(?:level|severity)\": ?\"(?i:info|debug)"
)
_WARNING = re.compile(
    _PREFIX + r"(?:WARN|WARNING|W\d{4})\b|\{.{0,200}?\"(?:level|severity)\": ?\"(?i:warn)"
    r"|.{0,200}?\w{1,40}Warning: "
)
# A traceback shows the source of the error: `raise ValueError("No available memory ...`.
_SOURCE = re.compile(r"[ \]]{3,}raise [\w.]+\(")


def _search(line: str, error: LogError) -> re.Match[str] | None:
    if not _has_word(line, error) or _INFORMATION.match(line) or _SOURCE.search(line):
        return None
    return _compile(error.pattern).search(line)


def _is_warning(line: str) -> bool:
    return _WARNING.match(line) is not None


def _has_word(text: str, error: LogError) -> bool:
    # a loop: any() takes twice as long, and most lines have no word at all
    for word in error.words:  # noqa: SIM110
        if word in text:
            return True
    return False


def _rows_in(text: str) -> list[_Row]:
    """The rows of which a word is in the text."""
    return [row for row in enumerate(LOG_ERRORS) if _has_word(text, row[1])]


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    """The pattern of a row, on first use: all of them together take 10 ms."""
    return re.compile(pattern)


# -- texts ------------------------------------------------------------------------------------

_OPTIONAL_PART = re.compile(r"\[([^\[\]]*)\]")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _to_match(error: LogError, line: int, found: re.Match[str]) -> LogErrorMatch:
    groups = {**found.groupdict(), "match": found[0]}
    values = {
        name: truncate(mask_text(one_line(sanitize(value)))[0], _MAX_VALUE_WIDTH).rstrip(". ")
        for name, value in groups.items()
        if value
    }
    values = dict.fromkeys(groups, "") | values
    return LogErrorMatch(error, line, _fill(error.text, values), _fill(error.advice, values))


def _fill(template: str, values: Mapping[str, str]) -> str:
    """The template with the values as text only; each part in brackets needs all of its values."""

    def optional(part: re.Match[str]) -> str:
        return part[1] if all(values[name] for name in _PLACEHOLDER.findall(part[1])) else ""

    return _PLACEHOLDER.sub(lambda name: values[name[1]], _OPTIONAL_PART.sub(optional, template))


def placeholders(template: str) -> Iterator[str]:
    """Names of the values in a text or an advice."""
    yield from _PLACEHOLDER.findall(template)
