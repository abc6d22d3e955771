"""Servings as rows of the fleet table: which columns there are, and what each says of a view."""

from __future__ import annotations

from collections.abc import Iterable

from servedeck.fleet.views import Key, ServingView
from servedeck.serving.status.status import Status
from widgets.columns import Column, Row, Since
from widgets.styled_line import Line, Span

COLUMNS = (
    Column("name", "NAME", least=14, most=34, rank=0),
    Column("project", "NAMESPACE", least=9, most=18, rank=3),
    Column("status", "STATUS", least=22, most=50, fair=36, tight=10, rank=1),
    Column("ready", "READY", least=5, most=9, rank=2, right=True),
    Column("template", "TEMPLATE", least=11, most=12, rank=8),
    Column("model", "MODEL", least=14, most=40, rank=6),
    Column("accelerator", "ACCELERATOR", least=13, most=22, rank=7),
    Column("restarts", "RESTARTS", least=8, most=10, rank=5, right=True),
    Column("endpoint", "ENDPOINT", least=18, most=60, rank=9),
    Column("age", "AGE", least=5, most=6, rank=4, right=True),
)

TONES = {
    Status.ERROR: "error",
    Status.DEGRADED: "degraded",
    Status.PENDING: "pending",
    Status.STARTING: "starting",
    Status.READY: "ready",
    Status.SCALED_DOWN: "off",
}
"""Tone of each state; glyph and word say the same without colour."""


def status_word(status: Status) -> Span:
    """Glyph and word of a state in its tone."""
    return f"{status.glyph} {status.value}", TONES[status]


def badge(view: ServingView) -> str:
    """Why, in two or three words; "" where all is well."""
    if view.status is Status.DEGRADED and view.failing:
        return (
            f"{view.failing} failing: {view.reason}" if view.reason else f"{view.failing} failing"
        )
    return view.reason


def status_line(view: ServingView) -> Line:
    """State, reason and rollout of a serving."""
    spans: list[Span] = [status_word(view.status)]
    if reason := badge(view):
        spans += [("  ", ""), (reason, "strong")]
    if view.rollout:
        spans += [("  ", ""), (view.rollout, "accent")]
    return tuple(spans)


def accelerators(view: ServingView) -> str:
    """Accelerators of each replica, "NVIDIA GPU ×2"."""
    if not view.accelerator:
        return ""
    return f"{view.accelerator} ×{view.accelerator_count}"


def where(view: ServingView) -> Span:
    """Where the serving is reached, as short as it stays clear."""
    if view.endpoint.url:
        return view.endpoint.url.removeprefix("https://"), ""
    if view.endpoint.address:
        return view.endpoint.address.removeprefix("http://"), "muted"
    return "", "muted"


def row(view: ServingView) -> Row:
    """The view as a row, cells in the order of COLUMNS."""
    failing = view.status is Status.ERROR
    all_ready = view.ready >= view.desired
    name = view.key.name
    return Row(
        view.key,
        (
            ((name, "strong"),) if failing else name,
            ((view.key.namespace, "muted"),),
            status_line(view),
            ((f"{view.ready}/{view.desired}", "" if all_ready else TONES[view.status]),),
            ((view.template, "muted"),),
            view.model,
            accelerators(view),
            ((str(view.restarts), "warning" if view.restarts else "muted"),),
            (where(view),),
            Since(view.created),
        ),
        tone="muted" if view.status is Status.SCALED_DOWN else "",
    )


class Rows:
    """Rows of views, each built once for as long as its view stays the same."""

    def __init__(self) -> None:
        self._built: dict[Key, tuple[ServingView, Row]] = {}

    def of(self, views: Iterable[ServingView]) -> list[Row]:
        """Rows of the views in their order; forgets what is not among them."""
        built: dict[Key, tuple[ServingView, Row]] = {}
        for view in views:
            known = self._built.get(view.key)
            built[view.key] = known if known and known[0] is view else (view, row(view))
        self._built = built
        return [made for _view, made in built.values()]

    def renewed(self, view: ServingView) -> Row:
        """The row of a later view of one of them."""
        made = row(view)
        self._built[view.key] = (view, made)
        return made
