"""Where the log of a crashed Pod is opened: at the first error of its last run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from servedeck.logs.buffer import LogBuffer
from servedeck.logs.level_index import LevelIndex
from servedeck.logs.lines import NOTICE_SOURCE, LogSource
from servedeck.logs.text import plain_text
from servedeck.serving.status.log_errors import CAUSE_LINES, find_log_error

MAX_SEARCHED_LINES = 4_000
"""Newest lines that are looked at. The last CAUSE_LINES of a run are searched for a known error, as
they are for the list: more would hold up the screen."""

MAX_LINE_BYTES = 4_096
"""Bytes of a line that are searched."""


class Landing(NamedTuple):
    """The line to go to, and what it means."""

    number: int
    text: str = ""
    """The cause in words; "" if it is not a known one."""
    advice: str = ""
    """What to change."""


def find_landing(
    buffer: LogBuffer, levels: LevelIndex, sources: Sequence[LogSource], pods: frozenset[str]
) -> Landing | None:
    """The first error of the last run of one of the Pods; None if there is none."""
    wanted = {one.number for one in sources if one.number != NOTICE_SOURCE and one.pod in pods}
    start = max(buffer.first, buffer.end - MAX_SEARCHED_LINES)
    lines = [line for line in buffer.lines(start, buffer.end) if line.source in wanted]
    if not lines:
        return None
    # The last run of a container is that of the instance that was started last.
    last: dict[tuple[str, str], int] = {}
    for line in lines:
        one = sources[line.source]
        key = one.pod, one.container
        last[key] = max(last.get(key, 0), one.restart_count)
    runs = {
        one.number for one in sources if last.get((one.pod, one.container)) == one.restart_count
    }
    lines = [line for line in lines if line.source in runs]
    end = lines[-CAUSE_LINES:]
    found = find_log_error([plain_text(line.text[:MAX_LINE_BYTES]) for line in end])
    if found is not None:
        line = end[found.line]
        container = sources[line.source].container
        return Landing(line.number, f"{container} {found.text}.", found.advice)
    own = {line.number for line in lines}
    error = levels.next_error(lines[0].number - 1)
    while error is not None and error not in own:
        error = levels.next_error(error)
    return None if error is None else Landing(error)
