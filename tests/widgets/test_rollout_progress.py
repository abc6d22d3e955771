from __future__ import annotations

import pytest
from rich.cells import cell_len

from servedeck.fleet.rollout_progress import Stage, StageState
from servedeck.fleet.views import NamespacedName
from widgets.rollout_progress import progress_lines, stages_of
from widgets.styled_line import line_width, plain_text

KEY = NamespacedName("team-a", "llama-chat")


def make_stages(**progress: StageState) -> tuple[Stage, ...]:
    names = ("requested", "scheduled", "image pulled", "started", "ready", "endpoint")
    return tuple(
        Stage(name, progress.get(name.replace(" ", "_"), StageState.PENDING), "") for name in names
    )


def test_a_serving_that_the_watch_has_not_brought_is_sent_and_waits() -> None:
    head, stages = progress_lines(KEY, stages_of(None), 80)
    assert "sent" in plain_text(head)
    assert plain_text(stages).startswith(" ↻ requested")


def test_a_failed_stage_shows_the_reason() -> None:
    done = make_stages(requested=StageState.DONE)
    failed = (done[0], Stage("scheduled", StageState.FAILED, "0/4 nodes are available."), *done[2:])
    head, stages = progress_lines(KEY, failed, 80)
    assert "not scheduled: 0/4 nodes are available." in plain_text(head)
    assert "✗ scheduled" in plain_text(stages)


def test_the_endpoint_is_named_when_all_is_done() -> None:
    every = tuple(stage._replace(state=StageState.DONE) for stage in make_stages())
    every = (*every[:-1], every[-1]._replace(detail="https://serve/team-a/llama-chat"))
    head, _ = progress_lines(KEY, every, 80)
    assert "is served at https://serve/team-a/llama-chat" in plain_text(head)


@pytest.mark.parametrize("width", [80, 120])
def test_all_steps_fit_the_screen(width: int) -> None:
    counted = (
        *make_stages(requested=StageState.DONE)[:1],
        Stage("scheduled", StageState.IN_PROGRESS, "12/100"),
    )
    head, stages = progress_lines(KEY, (*counted, *make_stages()[2:]), width)
    assert line_width(stages) <= width
    assert "endpoint" in plain_text(stages)
    assert cell_len(plain_text(head)) <= width
