"""The Pods of a serving as rows of a table, and as lines of a card."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from servedeck.fleet.views import PodGroup, PodView, ServingView, group_pods
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.text import format_count
from widgets.card_view import CardLine
from widgets.columns import (
    COLUMN_GAP,
    SIDE_MARGIN,
    AgeCell,
    Column,
    ColumnPosition,
    Row,
    cell_width,
    layout_columns,
)
from widgets.status_paragraphs import HEALTH_STYLES
from widgets.styled_line import Line, Span, fit_line, fit_text, line_width, sanitized

POD_COLUMNS = (
    Column("pod", "POD", min_width=14, max_width=46, priority=2),
    Column("status", "STATUS", min_width=17, max_width=30, preferred=24, compact=10, priority=0),
    Column("ready", "READY", min_width=5, max_width=7, priority=3, align_right=True),
    Column("node", "NODE", min_width=8, max_width=30, priority=6),
    Column("restarts", "RESTARTS", min_width=8, max_width=10, priority=4, align_right=True),
    Column("age", "AGE", min_width=5, max_width=6, priority=5, align_right=True),
    Column("reason", "REASON", min_width=9, max_width=40, priority=1),
    Column("logs", "LOGS", min_width=9, max_width=9, priority=7),
    Column("last", "LAST TERMINATION", min_width=16, max_width=24, priority=8),
    Column("ip", "IP", min_width=9, max_width=39, priority=9),
    Column("accelerators", "ACCELERATORS", min_width=12, max_width=24, priority=10),
    Column("revision", "REVISION", min_width=8, max_width=8, priority=11, align_right=True),
    Column("qos", "QOS", min_width=10, max_width=10, priority=12),
)

EXTRA_COLUMNS = frozenset({"last", "ip", "accelerators", "revision", "qos"})
"""Columns that are shown from EXTRA_COLUMNS_WIDTH cells, if they have values."""
EXTRA_COLUMNS_WIDTH = 117
MAX_CARD_PODS = 8
"""Pods that the card shows; the table has all of them."""


def build_pod_row(pod: PodView) -> Row:
    """The row of a Pod, cells in the order of POD_COLUMNS."""
    reason = pod.reason if pod.reason != pod.status else ""
    if not reason and pod.old_revision:
        reason = "old revision"
    has_link = pod.restarts or not pod.is_ready
    return Row(
        pod.uid,
        (
            pod.name,
            ((pod.status, HEALTH_STYLES[pod.health]),),
            pod.ready,
            ((pod.node, "muted"),),
            ((str(pod.restarts), "warning" if pod.restarts else "muted"),),
            AgeCell(pod.created),
            ((reason, "strong"),),
            (("View logs" if has_link else "", "accent"),),
            ((pod.last_termination, "muted"),),
            ((pod.ip, "muted"),),
            ((pod.accelerators, "muted"),),
            ((pod.revision, "muted"),),
            ((pod.qos_class, "muted"),),
        ),
    )


def hidden_pod_columns(width: int) -> frozenset[str]:
    """Columns that are not shown in so many cells, even if they would fit."""
    return EXTRA_COLUMNS if width < EXTRA_COLUMNS_WIDTH else frozenset()


class PodRows:
    """Rows of Pods; those of Pods that did not change are kept."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[PodView, Row]] = {}

    def build(self, pods: Sequence[PodView]) -> list[Row]:
        """The rows, in the order of `pods`."""
        before, self._rows = self._rows, {}
        for pod in pods:
            known = before.get(pod.uid)
            if known is None or known[0] is not pod:
                known = (pod, build_pod_row(pod))
            self._rows[pod.uid] = known
        return [row for _pod, row in self._rows.values()]


class CardPods(NamedTuple):
    """What the card shows of the Pods of a serving."""

    shown: tuple[PodView, ...]
    """The first ones, one by one."""
    ended: tuple[PodGroup, ...]
    """Those that ended for the same reason, together."""
    rest_count: int
    """How many there are besides."""


def select_card_pods(pods: Sequence[PodView]) -> CardPods:
    """What the card shows of these Pods."""
    finished = [pod for pod in pods if pod.finished]
    ended = tuple(group for group in group_pods(finished) if group.is_collapsed)
    in_groups = {pod.uid for group in ended for pod in group.pods}
    single = (pod for pod in pods if pod.uid not in in_groups)
    shown = tuple(islice(single, MAX_CARD_PODS))
    return CardPods(shown, ended, len(pods) - len(in_groups) - len(shown))


def pod_card_lines(
    view: ServingView, width: int, now: datetime, all_pods_key: str = ""
) -> list[CardLine]:
    """The card Pods in `width` cells, with an empty line after it: the first Pods in columns, those
    that ended for the same reason in one line, and how many there are besides. The item of a line
    is ("pod", uid)."""
    lines = [CardLine((("Pods", "title"),))]
    if not view.pods:
        return [*lines, CardLine(((f"  {view.no_pods_text}", "muted"),)), CardLine()]
    pods = select_card_pods(view.pods)
    lines += _table_lines(pods.shown, width, now)
    for group in pods.ended:
        style_name = HEALTH_STYLES[group.health]
        lines.append(CardLine((("  ", ""), (sanitized(group.summary(now)), style_name))))
    if pods.rest_count or pods.ended:
        count = pods.rest_count + sum(group.count for group in pods.ended)
        more = f"  {format_count(count, 'more Pod')}"
        more += f"; {all_pods_key} shows all" if all_pods_key else ""
        lines.append(CardLine(((more, "muted"),)))
    return [*lines, CardLine()]


def _table_lines(pods: Sequence[PodView], width: int, now: datetime) -> list[CardLine]:
    """The labels of the columns, and a line for each Pod."""
    if not pods:
        return []
    rows = [build_pod_row(pod) for pod in pods]
    needs = [max(cell_width(row.cells[at]) for row in rows) for at in range(len(POD_COLUMNS))]
    hidden = hidden_pod_columns(width)
    visible = [
        at
        for at, column in enumerate(POD_COLUMNS)
        if column.key not in hidden and (needs[at] or column.key not in EXTRA_COLUMNS)
    ]
    places = [
        place._replace(column=visible[place.column])
        for place in layout_columns(
            [POD_COLUMNS[at] for at in visible],
            [needs[at] for at in visible],
            width - SIDE_MARGIN,
        )
    ]
    labels: list[Line] = [((column.label, "muted"),) for column in POD_COLUMNS]
    lines = [CardLine(_join_cells(labels, places))]
    for pod, row in zip(pods, rows, strict=True):
        cells = [_cell_line(cell, now) for cell in row.cells]
        lines.append(CardLine(_join_cells(cells, places), ("pod", pod.uid)))
    return lines


def _cell_line(cell: str | Line | AgeCell, now: datetime) -> Line:
    if isinstance(cell, AgeCell):
        if cell.created_at is None:
            return ()
        return ((format_signed_duration((now - cell.created_at).total_seconds()), ""),)
    if isinstance(cell, str):
        return ((sanitized(cell), ""),)
    return tuple((sanitized(text), style_name) for text, style_name in cell)


def _join_cells(cells: Sequence[Line], places: Sequence[ColumnPosition]) -> Line:
    spans: list[Span] = [(" " * SIDE_MARGIN, "")]
    for number, place in enumerate(places):
        if number:
            spans.append((" " * COLUMN_GAP, ""))
        line = cells[place.column]
        missing = place.width - line_width(line)
        if missing > 0 and POD_COLUMNS[place.column].align_right:
            spans.append((" " * missing, ""))
            spans += line
        elif len(line) == 1:
            spans.append((fit_text(line[0][0], place.width), line[0][1]))
        else:
            spans += fit_line(line, place.width)
    return tuple(spans)
