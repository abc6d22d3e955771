"""Servings as rows of the list: the columns, and the cell of each for a view."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.status.status import Status
from widgets.columns import MARK, AgeCell, Column, Row
from widgets.figure_cells import FIGURE_COLUMNS, UNKNOWN_CELLS, RowFigures
from widgets.styled_line import Line, Span

KIND_COLUMN = "kind"
"""Key of a column that is shown only while a serving is no Deployment."""
COLUMNS = (
    Column("name", "NAME", min_width=14, max_width=34, priority=0),
    Column("kind", "KIND", min_width=11, max_width=16, priority=6),
    Column("namespace", "NAMESPACE", min_width=9, max_width=18, priority=3),
    Column("status", "STATUS", min_width=22, max_width=50, preferred=36, compact=10, priority=1),
    Column("ready", "READY", min_width=5, max_width=9, priority=2, align_right=True),
    *FIGURE_COLUMNS,
    Column("template", "TEMPLATE", min_width=11, max_width=12, priority=8),
    Column("model", "MODEL", min_width=14, max_width=40, priority=6),
    Column("accelerator", "ACCELERATOR", min_width=13, max_width=22, priority=7),
    Column("restarts", "RESTARTS", min_width=8, max_width=10, priority=5, align_right=True),
    Column("endpoint", "ENDPOINT", min_width=18, max_width=60, priority=9),
    Column("age", "AGE", min_width=5, max_width=6, priority=4, align_right=True),
)

STATUS_STYLES = {
    Status.ERROR: "error",
    Status.DEGRADED: "degraded",
    Status.PENDING: "pending",
    Status.STARTING: "starting",
    Status.READY: "ready",
    Status.SCALED_DOWN: "scaled-down",
}
"""Style of each status; glyph and word show the same without color."""


class QueueFigures(NamedTuple):
    """Of the async queue of a serving."""

    depth: int
    """Tasks that wait."""
    is_blocked: bool
    """Whether nothing drains."""


def status_span(status: Status) -> Span:
    """Glyph and word of a status in its style."""
    return f"{status.glyph} {status.value}", STATUS_STYLES[status]


def reason_text(view: ServingView) -> str:
    """The failure reason in two or three words, for many equal Pods with their number; "" for a
    healthy serving."""
    if (group := view.main_group) is not None:
        return group.title
    if view.status is Status.DEGRADED and view.failing:
        return (
            f"{view.failing} failing: {view.reason}" if view.reason else f"{view.failing} failing"
        )
    return view.reason


def status_line(view: ServingView) -> Line:
    """Status, reason and rollout of a serving, and whose revision it is."""
    spans: list[Span] = [status_span(view.status)]
    # Of a blocked rollout, the badge says why its new Pods are not scheduled.
    if (reason := reason_text(view)) and not view.is_rollout_blocked:
        spans += [("  ", ""), (reason, "strong")]
    if view.rollout:
        spans += [("  ", ""), (view.rollout, rollout_style(view))]
    if (heat := view.heat) and heat != reason:
        spans += [("  ", ""), (heat, "warning")]
    if view.revision_of:
        spans += [("  ", ""), (view.revision_text, "muted")]
    return tuple(spans)


def queue_span(figures: QueueFigures | None) -> Span:
    """The badge of a serving whose async queue is on, "queue 12"; without its depth while that is
    not known."""
    if figures is None:
        return "queue", "muted"
    style = "warning" if figures.is_blocked else "accent" if figures.depth else "muted"
    return f"queue {figures.depth:,}", style


def rollout_style(view: ServingView) -> str:
    """Style of the badge of a rollout."""
    return "warning" if view.is_rollout_blocked else "accent"


def accelerator_text(view: ServingView) -> str:
    """Accelerators of each replica, "NVIDIA GPU ×2"."""
    if not view.accelerator:
        return ""
    return f"{view.accelerator} ×{view.accelerator_count}"


def endpoint_span(view: ServingView) -> Span:
    """The address of the serving, shortened where it stays clear."""
    if view.endpoint.url:
        return view.endpoint.url.removeprefix("https://"), ""
    if view.endpoint.cluster_url:
        return view.endpoint.cluster_url.removeprefix("http://"), "muted"
    return "", "muted"


def build_row(
    view: ServingView,
    *,
    is_marked: bool = False,
    figures: RowFigures | None = None,
    queue: QueueFigures | None = None,
) -> Row:
    """The row of a view, cells in the order of COLUMNS."""
    status = status_line(view)
    if view.has_async_queue:
        status = (*status, ("  ", ""), queue_span(queue))
    failing = view.status is Status.ERROR
    all_ready = view.ready >= view.desired
    name = view.key.name
    return Row(
        view.key,
        (
            _name_cell(name, failing=failing, is_marked=is_marked),
            ((view.kind, "muted"),),
            ((view.key.namespace, "muted"),),
            status,
            ((f"{view.ready}/{view.desired}", "" if all_ready else STATUS_STYLES[view.status]),),
            *(figures.cells if figures is not None else UNKNOWN_CELLS),
            ((view.template, "muted"),),
            view.model,
            accelerator_text(view),
            ((str(view.restarts), "warning" if view.restarts else "muted"),),
            (endpoint_span(view),),
            AgeCell(view.created),
        ),
        style_name="muted" if view.status is Status.SCALED_DOWN else "",
    )


def _name_cell(name: str, *, failing: bool, is_marked: bool) -> str | Line:
    if is_marked:
        return (MARK, "accent"), (name, "strong")
    return ((name, "strong"),) if failing else name


class ServingRowBuilder:
    """Rows of views; each is built again only after its view, its mark, its figures or those of its
    queue have changed."""

    def __init__(
        self,
        find_figures: Callable[[NamespacedName], RowFigures | None] = lambda _key: None,
        find_queue: Callable[[NamespacedName], QueueFigures | None] = lambda _key: None,
    ) -> None:
        self._find_figures = find_figures
        self._find_queue = find_queue
        self._marked: frozenset[NamespacedName] = frozenset()
        self._cached_rows: dict[NamespacedName, _BuiltRow] = {}

    @property
    def marked(self) -> frozenset[NamespacedName]:
        """Keys of the marked servings."""
        return self._marked

    @marked.setter
    def marked(self, keys: frozenset[NamespacedName]) -> None:
        for key in self._marked ^ keys:
            self._cached_rows.pop(key, None)
        self._marked = keys

    def build_rows(self, views: Iterable[ServingView]) -> list[Row]:
        """Rows of the views in their order; drops all others from the cache."""
        built: dict[NamespacedName, _BuiltRow] = {}
        for view in views:
            known, figures = self._cached_rows.get(view.key), self._find_figures(view.key)
            queue = self._find_queue(view.key)
            is_same = known and known.view is view and known.figures is figures
            if known and is_same and known.queue == queue:
                built[view.key] = known
            else:
                built[view.key] = self._build(view, figures, queue)
        self._cached_rows = built
        return [made.row for made in built.values()]

    def rebuild_row(self, view: ServingView) -> Row:
        """The row of a later view of one of them, or with later figures."""
        made = self._build(view, self._find_figures(view.key), self._find_queue(view.key))
        self._cached_rows[view.key] = made
        return made.row

    def _build(
        self, view: ServingView, figures: RowFigures | None, queue: QueueFigures | None
    ) -> _BuiltRow:
        is_marked = view.key in self._marked
        row = build_row(view, is_marked=is_marked, figures=figures, queue=queue)
        return _BuiltRow(view, figures, queue, row)


class _BuiltRow(NamedTuple):
    """A row, and what it was built of."""

    view: ServingView
    figures: RowFigures | None
    queue: QueueFigures | None
    row: Row
