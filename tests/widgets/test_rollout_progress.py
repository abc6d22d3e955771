from __future__ import annotations

import pytest
from rich.cells import cell_len

from servedeck.fleet.rollout_progress import Progress, Rung
from servedeck.fleet.views import Key
from widgets.rollout_progress import lines, rungs_of
from widgets.styled_line import line_width, plain

KEY = Key("team-a", "llama-chat")


def rungs(**progress: Progress) -> tuple[Rung, ...]:
    names = ("requested", "scheduled", "image pulled", "started", "ready", "endpoint")
    return tuple(
        Rung(name, progress.get(name.replace(" ", "_"), Progress.WAITING), "") for name in names
    )


def test_a_serving_that_the_watch_has_not_brought_is_sent_and_waits() -> None:
    head, steps = lines(KEY, rungs_of(None), 80)
    assert "sent" in plain(head)
    assert plain(steps).startswith(" ↻ requested")


def test_a_failed_rung_says_why() -> None:
    done = rungs(requested=Progress.DONE)
    failed = (done[0], Rung("scheduled", Progress.FAILED, "0/4 nodes are available."), *done[2:])
    head, steps = lines(KEY, failed, 80)
    assert "not scheduled: 0/4 nodes are available." in plain(head)
    assert "✗ scheduled" in plain(steps)


def test_the_endpoint_is_named_when_all_is_done() -> None:
    every = tuple(rung._replace(progress=Progress.DONE) for rung in rungs())
    every = (*every[:-1], every[-1]._replace(detail="https://serve/team-a/llama-chat"))
    head, _ = lines(KEY, every, 80)
    assert "is served at https://serve/team-a/llama-chat" in plain(head)


@pytest.mark.parametrize("width", [80, 120])
def test_all_rungs_fit_the_screen(width: int) -> None:
    counted = (*rungs(requested=Progress.DONE)[:1], Rung("scheduled", Progress.NOW, "12/100"))
    head, steps = lines(KEY, (*counted, *rungs()[2:]), width)
    assert line_width(steps) <= width
    assert "endpoint" in plain(steps)
    assert cell_len(plain(head)) <= width
