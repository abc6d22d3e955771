"""The rollout progress of a new serving below the list: requested, scheduled, image pulled,
started, ready, endpoint."""

from __future__ import annotations

from rich.cells import cell_len

from servedeck.fleet.rollout_progress import Stage, StageState, rollout_stages
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.text import one_line
from widgets.styled_line import Line, Span, align_left_right, join_lines
from widgets.text_view import StatusLine

STAGE_MARKS = {
    StageState.DONE: ("✓", "ready"),
    StageState.IN_PROGRESS: ("↻", "starting"),
    StageState.FAILED: ("✗", "error"),
    StageState.PENDING: ("·", "muted"),
}


WAITING_TEXTS = {
    "requested": "sent",
    "scheduled": "waiting for a node",
    "image pulled": "pulling the image",
    "started": "starting the containers",
    "ready": "waiting until it is ready",
    "endpoint": "waiting for the route",
}
WAITING_FOR_PODS = "waiting until the other new Pods are created"
FAILURE_TEXTS = {
    "requested": "not requested",
    "scheduled": "not scheduled",
    "image pulled": "image not pulled",
    "started": "not started",
    "ready": "not ready",
    "endpoint": "no endpoint",
}


def stages_of(view: ServingView | None) -> tuple[Stage, ...]:
    """Stages of a serving; only the first one while the watch has not reported it yet."""
    if view is not None:
        return rollout_stages(view)
    names = ("scheduled", "image pulled", "started", "ready", "endpoint")
    return (
        Stage("requested", StageState.IN_PROGRESS, ""),
        *(Stage(name, StageState.PENDING, "") for name in names),
    )


def progress_lines(key: NamespacedName, stages: tuple[Stage, ...], width: int) -> tuple[Line, Line]:
    """The current stage in words, and all stages."""
    failed = next((one for one in stages if one.state is StageState.FAILED), None)
    in_progress = [one for one in stages if one.state is StageState.IN_PROGRESS]
    now = next((one for one in in_progress if not one.lacks_pods), None)
    left: list[Span] = [(" ", ""), (str(key), "strong"), ("  ", "")]
    if failed is not None:
        left += [(FAILURE_TEXTS[failed.name], "error"), (": ", ""), (one_line(failed.detail), "")]
    elif now is not None:
        left.append((WAITING_TEXTS[now.name], "muted"))
    elif in_progress:
        left.append((WAITING_FOR_PODS, "muted"))
    elif stages[1].state is StageState.PENDING:
        left.append(("is scaled to 0 replicas", "muted"))
    elif stages[-1].state is StageState.DONE:
        left += [("is served at ", "ready"), (stages[-1].detail, "")]
    else:
        left += [("is ready; ", "ready"), (stages[-1].detail or "no endpoint yet", "muted")]
    head = align_left_right(tuple(left), (("esc", "key"), (" hides this ", "muted")), width)
    shown: list[Span] = []
    for stage in stages:
        mark, style_name = STAGE_MARKS[stage.state]
        counted = (
            f" {stage.detail}" if stage.state is StageState.IN_PROGRESS and stage.detail else ""
        )
        shown.append((f"{mark} {stage.name}{counted}", style_name))
    taken = sum(cell_len(text) for text, _ in shown) + 1
    gap = max(1, min(4, (width - taken) // (len(shown) - 1)))
    spaced = join_lines([(span,) for span in shown], ((" " * gap, ""),))
    return head, ((" ", ""), *spaced)


class RolloutProgressView(StatusLine):
    """Follows one serving; hidden without one."""

    DEFAULT_CSS = """
    RolloutProgressView { height: 2; display: none; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.key: NamespacedName | None = None
        self._stages: tuple[Stage, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self._stages

    def follow(self, key: NamespacedName | None) -> None:
        """Show the progress of a serving; None hides it."""
        self.key = key
        self._stages = ()
        self.display = key is not None
        if key is not None:
            self.set_view(None)

    def set_view(self, view: ServingView | None) -> None:
        """Update the progress."""
        stages = stages_of(view)
        if self.key is not None and stages != self._stages:
            self._stages = stages
            self._update_lines()

    def on_resize(self) -> None:
        self._update_lines()

    def _update_lines(self) -> None:
        if self.key is not None and self._stages and self.inner_width:
            self.set_lines(*progress_lines(self.key, self._stages, self.inner_width))
