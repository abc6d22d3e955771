"""The Pods of a serving as rows of a table: the columns, and the cells of each."""

from __future__ import annotations

from servedeck.fleet.views import PodView
from widgets.columns import AgeCell, Column, Row
from widgets.status_paragraphs import HEALTH_STYLES

POD_COLUMNS = (
    Column("pod", "POD", min_width=14, max_width=46, priority=2),
    Column("status", "STATUS", min_width=17, max_width=30, preferred=24, compact=10, priority=0),
    Column("ready", "READY", min_width=5, max_width=7, priority=3, align_right=True),
    Column("node", "NODE", min_width=8, max_width=30, priority=6),
    Column("restarts", "RESTARTS", min_width=8, max_width=10, priority=4, align_right=True),
    Column("age", "AGE", min_width=5, max_width=6, priority=5, align_right=True),
    Column("reason", "REASON", min_width=9, max_width=40, priority=1),
    Column("logs", "LOGS", min_width=9, max_width=9, priority=7),
)


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
        ),
    )
