"""How far a new serving has come, at the bottom of the list: requested, scheduled, image pulled,
started, ready, endpoint."""

from __future__ import annotations

from rich.cells import cell_len

from servedeck.fleet.rollout_progress import Progress, Rung, ladder
from servedeck.fleet.views import Key, ServingView
from servedeck.serving.text import one_line
from widgets.styled_line import Line, Span, joined, spread
from widgets.text_view import Bar

MARKS = {
    Progress.DONE: ("✓", "ready"),
    Progress.NOW: ("↻", "starting"),
    Progress.FAILED: ("✗", "error"),
    Progress.WAITING: ("·", "muted"),
}


WAITS = {
    "requested": "sent",
    "scheduled": "waiting for a node",
    "image pulled": "pulling the image",
    "started": "starting the containers",
    "ready": "waiting until it is ready",
    "endpoint": "waiting for the route",
}
FAILURES = {
    "requested": "not requested",
    "scheduled": "not scheduled",
    "image pulled": "image not pulled",
    "started": "not started",
    "ready": "not ready",
    "endpoint": "no endpoint",
}


def rungs_of(view: ServingView | None) -> tuple[Rung, ...]:
    """Rungs of a serving; of one that the watch has not brought yet, the first alone."""
    if view is not None:
        return ladder(view)
    names = ("scheduled", "image pulled", "started", "ready", "endpoint")
    return (
        Rung("requested", Progress.NOW, ""),
        *(Rung(name, Progress.WAITING, "") for name in names),
    )


def lines(key: Key, rungs: tuple[Rung, ...], width: int) -> tuple[Line, Line]:
    """What is going on in words, and the rungs."""
    failed = next((one for one in rungs if one.progress is Progress.FAILED), None)
    now = next((one for one in rungs if one.progress is Progress.NOW), None)
    left: list[Span] = [(" ", ""), (str(key), "strong"), ("  ", "")]
    if failed is not None:
        left += [(FAILURES[failed.name], "error"), (": ", ""), (one_line(failed.detail), "")]
    elif now is not None:
        left.append((WAITS[now.name], "muted"))
    elif rungs[-1].progress is Progress.DONE:
        left += [("is served at ", "ready"), (rungs[-1].detail, "")]
    else:
        left += [("is ready; ", "ready"), (rungs[-1].detail or "no endpoint yet", "muted")]
    head = spread(tuple(left), (("esc", "key"), (" hides this ", "muted")), width)
    shown: list[Span] = []
    for rung in rungs:
        mark, tone = MARKS[rung.progress]
        counted = f" {rung.detail}" if rung.progress is Progress.NOW and rung.detail else ""
        shown.append((f"{mark} {rung.name}{counted}", tone))
    taken = sum(cell_len(text) for text, _ in shown) + 1
    gap = max(1, min(4, (width - taken) // (len(shown) - 1)))
    spaced = joined([(span,) for span in shown], ((" " * gap, ""),))
    return head, ((" ", ""), *spaced)


class LadderStrip(Bar):
    """Follows one serving; hidden while there is none to follow."""

    DEFAULT_CSS = """
    LadderStrip { height: 2; display: none; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.key: Key | None = None
        self._rungs: tuple[Rung, ...] = ()

    @property
    def rungs(self) -> tuple[Rung, ...]:
        return self._rungs

    def follow(self, key: Key | None) -> None:
        """Show the progress of a serving; None hides the strip."""
        self.key = key
        self._rungs = ()
        self.display = key is not None
        if key is not None:
            self.show(None)

    def show(self, view: ServingView | None) -> None:
        """Bring the strip up to date."""
        rungs = rungs_of(view)
        if self.key is not None and rungs != self._rungs:
            self._rungs = rungs
            self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        if self.key is not None and self._rungs and self.inner_width:
            self.set_lines(*lines(self.key, self._rungs, self.inner_width))
