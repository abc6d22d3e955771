"""The timeline in one line, without color, and as rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from servedeck.serving.status.status import Status
from servedeck.serving.status.timeline import TimelineEntry, TimelineKind
from tests.serving.factories import NOW
from widgets.styled_line import line_width, plain_text
from widgets.timeline_strip import status_strip, strip_legend, timeline_rows

ROLLOUT, STATUS, RESTART = TimelineKind.ROLLOUT, TimelineKind.STATUS, TimelineKind.RESTART


def entry(kind: TimelineKind, text: str = "", **fields: Any) -> TimelineEntry:
    parts = {name: fields.pop(name) for name in ("days", "hours", "minutes") if name in fields}
    return TimelineEntry(NOW - timedelta(**parts), kind, text, observed=True, **fields)


ENTRIES = (
    entry(STATUS, status=Status.READY, minutes=40, is_first_status=True),
    entry(ROLLOUT, minutes=13),
    entry(STATUS, status=Status.ERROR, minutes=11),
    entry(RESTART, minutes=1),
)


def local(**parts: float) -> str:
    return (NOW - timedelta(**parts)).astimezone().strftime("%H:%M")


def test_an_hour_with_a_glyph_for_each_part() -> None:
    text = plain_text(status_strip(ENTRIES, NOW, 12 + 30))
    start, strip, end = text.split(" ")
    assert (start, end) == (local(hours=1), local())
    assert strip == "." * 9 + "✓" * 14 + "R" + "✗" * 5 + "r"


def test_the_strip_covers_the_last_change_of_status_and_the_newest_entries() -> None:
    old = (entry(STATUS, status=Status.ERROR, hours=30), *ENTRIES[3:])
    text = plain_text(status_strip(old, NOW, 80))
    days_ago = (NOW - timedelta(days=3)).astimezone().strftime("%b %d %H:%M")
    assert text.startswith(f"{days_ago} ......")
    assert "✗✗✗" in text
    ancient = (entry(STATUS, status=Status.ERROR, days=30),)
    cells = plain_text(status_strip(ancient, NOW, 80)).split(" ")[1]
    assert set(cells) == {"✗"}


def test_the_most_important_change_of_a_cell_is_shown() -> None:
    changes = [entry(kind, minutes=1) for kind in TimelineKind if kind is not STATUS]
    assert plain_text(status_strip(changes, NOW, 40)).count("N") == 1
    assert plain_text(status_strip(changes[:2], NOW, 40)).count("R") == 1


def test_a_deleted_serving_has_no_status() -> None:
    gone = (*ENTRIES[:3], entry(STATUS, "deleted", minutes=4))
    assert plain_text(status_strip(gone, NOW, 42)).split(" ")[1].endswith("R✗✗✗...")


@pytest.mark.parametrize("width", [0, 10, 19, 20, 21, 79, 118, 298])
def test_any_width(width: int) -> None:
    line = status_strip(ENTRIES, NOW, width)
    assert line_width(line) == (width if width >= 20 else 0)


@pytest.mark.parametrize("cells", range(8, 200, 7))
def test_the_last_cell_has_the_status_of_now(cells: int) -> None:
    changed = (*ENTRIES, entry(STATUS, status=Status.DEGRADED))
    assert plain_text(status_strip(changed, NOW, cells + 12)).split(" ")[1].endswith(("!", "r"))
    ahead = (*ENTRIES[:3], entry(STATUS, status=Status.DEGRADED, minutes=-1))
    assert plain_text(status_strip(ahead, NOW, cells + 12)).split(" ")[1].endswith("!")


def test_without_an_entry_there_is_no_strip() -> None:
    assert status_strip((), NOW, 80) == ()
    assert strip_legend((), NOW) == ()


def test_an_entry_of_a_clock_that_is_ahead_is_in_the_last_cell() -> None:
    ahead = (entry(RESTART, minutes=-2),)
    assert plain_text(status_strip(ahead, NOW, 40)).split(" ")[1].endswith("r")


def test_the_legend_has_what_the_strip_has() -> None:
    assert plain_text(strip_legend(ENTRIES, NOW)) == (
        "R rollout  r restart  ✗ Error  ✓ Ready  . not observed"
    )
    assert plain_text(strip_legend(ENTRIES[3:], NOW)) == "r restart  . not observed"


def test_rows_with_times_counts_and_sources() -> None:
    several = entry(
        RESTART,
        "main restarted",
        minutes=6,
        count=3,
        last_time=NOW,
        identity=("restart", "pod", "main", "7"),
    )
    more = entry(
        RESTART,
        "main restarted",
        minutes=6,
        count=4,
        last_time=NOW,
        identity=("restart", "pod", "main", "8"),
    )
    first, second = timeline_rows([ENTRIES[2], several], NOW)
    assert first.cells[3] == (("✗ ", "error"),)
    assert plain_text(second.cells[3]) == "×3 over 6m  main restarted"
    assert plain_text(second.cells[4]) == "servedeck"
    assert timeline_rows([more], NOW)[0].key == second.key != first.key
