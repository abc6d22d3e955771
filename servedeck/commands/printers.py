"""Views as text for scripts: tables and names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from servedeck.cluster.resources import RESOURCES_BY_KIND
from servedeck.fleet.views import ServingView
from servedeck.serving.duration import format_duration
from servedeck.serving.text import cell_width, one_line, truncate


def resource_name(view: ServingView) -> str:
    """The workload of the serving, as kubectl prints and accepts it."""
    group = RESOURCES_BY_KIND[view.kind].group
    return f"{view.kind.lower()}{group and f'.{group}'}/{view.key.name}"


# -- tables -----------------------------------------------------------------------------------


def _format_age(view: ServingView, now: datetime) -> str:
    if view.created is None:
        return "<unknown>"
    return format_duration((now - view.created).total_seconds())


def _format_accelerator(view: ServingView, _: datetime) -> str:
    return f"{view.accelerator} x{view.accelerator_count}" if view.accelerator else ""


_TABLE_COLUMNS: Mapping[str, Callable[[ServingView, datetime], str]] = {
    "NAMESPACE": lambda view, _: view.key.namespace,
    "NAME": lambda view, _: view.key.name,
    "KIND": lambda view, _: view.kind,
    "STATUS": lambda view, _: view.status.value,
    "REASON": lambda view, _: group.title if (group := view.main_group) else view.reason,
    "READY": lambda view, _: f"{view.ready}/{view.desired}",
    "RESTARTS": lambda view, _: str(view.restarts),
    "ROLLOUT": lambda view, _: view.rollout,
    "TEMPLATE": lambda view, _: view.template,
    "MODEL": lambda view, _: view.model,
    "ACCELERATOR": _format_accelerator,
    "AGE": _format_age,
    "ENDPOINT": lambda view, _: view.endpoint.url,
    "AUTOSCALER": lambda view, _: view.autoscaler,
    "IMAGE": lambda view, _: view.image,
    "MESSAGE": lambda view, _: view.message,
}
_DEFAULT_COLUMNS = (
    "NAME",
    "KIND",
    "STATUS",
    "REASON",
    "READY",
    "RESTARTS",
    "TEMPLATE",
    "ACCELERATOR",
    "AGE",
)
_MAX_COLUMN_WIDTH = 100
"""Maximum width of a column; longer text is cut, the JSON has all of it."""
_COLUMN_SEPARATOR = "   "


class TablePrinter:
    """Rows of servings whose columns keep the width that was printed first."""

    def __init__(self, *, wide: bool, with_namespace: bool, with_kind: bool = False) -> None:
        names = tuple(_TABLE_COLUMNS)[1:] if wide else _DEFAULT_COLUMNS
        names = tuple(name for name in names if name != "KIND" or with_kind)
        self._wide = wide
        self._with_kind = with_kind
        self.columns = ("NAMESPACE", *names) if with_namespace else names
        self._widths = [len(column) for column in self.columns]

    def row_cells(self, view: ServingView, now: datetime) -> tuple[str, ...]:
        """Cells of a serving; empty ones as kubectl prints them."""
        texts = (self._cell(column, view, now) for column in self.columns)
        return tuple(truncate(one_line(text), _MAX_COLUMN_WIDTH) or "<none>" for text in texts)

    def _cell(self, column: str, view: ServingView, now: datetime) -> str:
        if self._wide and column == "REASON" and (group := view.main_group) is not None:
            return group.summary(now)
        if column == "NAME" and not (self._with_kind or view.key.is_deployment):
            return f"{view.key.name} ({view.kind})"  # it came after the header
        return _TABLE_COLUMNS[column](view, now)

    def format_rows(self, rows: Sequence[Sequence[str]], *, header: bool) -> list[str]:
        """The rows as aligned lines."""
        for row in rows:
            self._widths = [
                max(width, cell_width(text)) for width, text in zip(self._widths, row, strict=True)
            ]
        return [self._format_row(row) for row in ([self.columns, *rows] if header else rows)]

    def _format_row(self, row: Sequence[str]) -> str:
        padded = (
            text + " " * (width - cell_width(text))
            for text, width in zip(row, self._widths, strict=True)
        )
        return _COLUMN_SEPARATOR.join(padded).rstrip()
