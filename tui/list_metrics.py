"""The figures of the rows of the list: read again and again while it is on top."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from time import monotonic
from time import time as unix_time
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.fleet.query import sort_views_by_value
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.duration import format_duration
from servedeck.serving.text import one_line
from tui.serving_loads import StartWorker
from widgets.figure_cells import RowFigures, make_row_figures

if TYPE_CHECKING:
    from servedeck.metrics.fleet_metrics import ServingFigures
    from servedeck.metrics.fleet_reader import FleetReading
    from tui.ports.metrics_service import MetricsService

MAX_SORTED = 500
"""Servings whose figures are asked for to sort the list by them, at most."""
RETRY_SECONDS = 15.0
"""After which a source that did not answer is asked again."""
STALE_SECONDS = 60.0
"""Age from which a figure says that it is old: a few readings have failed."""
_MAX_KEPT = 10_000
"""Servings whose figures are kept after they have left the screen."""

_KEYS_AT_ONCE = 100
"""Servings whose cells are made without a break: in three milliseconds."""

_log = logging.getLogger(__name__)


class ListMetrics:
    """What is known of the figures of the servings. `check` reads those that are wanted, if it is
    time."""

    def __init__(
        self,
        service: Callable[[], MetricsService | None],
        start_worker: StartWorker,
        on_update: Callable[[Collection[NamespacedName]], None],
        *,
        is_utf8: Callable[[], bool],
    ) -> None:
        """`on_update` is called with the servings whose figures have changed; `is_utf8` says
        whether the terminal shows more than ASCII."""
        self._service = service
        self._start_worker = start_worker
        self._on_update = on_update
        self._is_utf8 = is_utf8
        self._known: dict[NamespacedName, tuple[float, RowFigures]] = {}
        """With the time that the figures are of, in seconds since the epoch."""
        self._reasons: dict[NamespacedName, str] = {}
        self._asked: frozenset[NamespacedName] = frozenset()
        """The servings of the last reading."""
        self._with_recent = False
        self._due_at = 0.0
        self._is_reading = False
        self._generation = 0
        self.problem = ""
        """Why nothing can be read, one sentence; "" while it can."""
        self._has_failed = False
        """Whether a source that did answer no longer does, so that figures are those of Pods, or
        old."""

    @property
    def is_due(self) -> bool:
        """Whether there may be something new."""
        return not self._is_reading and monotonic() >= self._due_at

    def find(self, key: NamespacedName) -> RowFigures | None:
        """What the row of a serving shows; None if nothing is known of it."""
        known = self._known.get(key)
        return known[1] if known is not None else None

    def note(self, key: NamespacedName) -> str:
        """Why something is not known of a serving, or how old it is, one sentence; "" for
        nothing."""
        if not key.is_deployment:
            return "Metrics are those of Deployments only."
        known = self._known.get(key)
        if known is not None and known[1].is_stale:
            age = format_duration(unix_time() - known[0])
            return f"Metrics of {age} ago. {self.problem}".rstrip()
        reason = self._reasons.get(key, "")
        if reason or (known is not None and not self._has_failed):
            return reason
        return self.problem or ("" if key in self._asked else "Its metrics are not read yet.")

    def sort(self, views: Sequence[ServingView], column: str, reverse: bool) -> list[ServingView]:
        """The servings by one of the figures; those of which it is not known are last."""

        def find_value(view: ServingView) -> float | None:
            known = self._known.get(view.key)
            return _value(known[1].figures, column) if known is not None else None

        return sort_views_by_value(views, find_value, reverse)

    def clear(self) -> None:
        """Forget everything: names are those of another cluster."""
        self._known.clear()
        self._reasons.clear()
        self._asked = frozenset()
        self._due_at = 0.0
        self._generation += 1
        self._is_reading = False
        self.problem = ""
        self._has_failed = False

    def check(self, wanted: Sequence[NamespacedName], *, with_recent: bool) -> None:
        """Read the figures of the servings if some were not asked for yet, or there may be
        something new. One reading at a time."""
        service = self._service()
        keys = [key for key in wanted if key.is_deployment]
        if service is None or self._is_reading or not keys:
            return
        is_new = not self._asked.issuperset(keys) or (with_recent and not self._with_recent)
        if is_new or self.is_due:
            self._is_reading = True
            work = self._read(service, keys, with_recent, self._generation)
            self._start_worker(work, "list metrics")

    async def _read(
        self,
        service: MetricsService,
        keys: Sequence[NamespacedName],
        with_recent: bool,
        generation: int,
    ) -> None:
        try:
            reading, problem = await self._ask(service, keys, with_recent)
            if generation == self._generation:
                await self._take_over(keys, with_recent, reading, problem)
        finally:
            if generation == self._generation:
                self._is_reading = False

    async def _ask(
        self, service: MetricsService, keys: Sequence[NamespacedName], with_recent: bool
    ) -> tuple[FleetReading | None, str]:
        """What was read; None and the reason, one sentence, if that failed."""
        try:
            return await service.list_metrics(keys, with_recent=with_recent), ""
        except ClusterError as error:
            return None, str(error)
        except Exception as error:  # whatever it was, the list goes on without
            _log.exception("the metrics of the list could not be read")
            return None, describe_error(error)

    async def _take_over(
        self,
        keys: Sequence[NamespacedName],
        with_recent: bool,
        reading: FleetReading | None,
        problem: str,
    ) -> None:
        self._asked, self._with_recent = frozenset(keys), with_recent
        self._due_at = monotonic() + (reading.next_in if reading is not None else RETRY_SECONDS)
        notes = {key: self.note(key) for key in keys}
        self.problem = one_line(problem or (reading.problem if reading is not None else ""))
        self._has_failed = reading is None or reading.has_failed
        changed: set[NamespacedName] = set()
        generation = self._generation
        for at in range(0, len(keys), _KEYS_AT_ONCE):
            changed |= self._update(keys[at : at + _KEYS_AT_ONCE], reading)
            await asyncio.sleep(0)
            if generation != self._generation:
                return
        changed |= {key for key, note in notes.items() if note != self.note(key)}
        if len(self._known) > _MAX_KEPT:
            self._known = {key: one for key, one in self._known.items() if key in self._asked}
        if changed:
            self._on_update(changed)

    def _update(
        self, keys: Sequence[NamespacedName], reading: FleetReading | None
    ) -> set[NamespacedName]:
        """Take over what was read; returns the servings whose rows differ."""
        changed: set[NamespacedName] = set()
        now = unix_time()
        for key in keys:
            before = self._known.get(key)
            after = self._next(before, reading, key, now)
            if reading is not None:
                self._reasons[key] = one_line(reading.reasons.get(key[:2], ""))
            if after is None:
                self._known.pop(key, None)
            else:
                self._known[key] = after
            if (before and before[1]) is not (after and after[1]):
                changed.add(key)
        return changed

    def _next(
        self,
        before: tuple[float, RowFigures] | None,
        reading: FleetReading | None,
        key: NamespacedName,
        now: float,
    ) -> tuple[float, RowFigures] | None:
        """What is known of a serving after a reading, with its time. What was known before is kept
        if no source answered, and soon says that it is old."""
        found = reading.figures.get(key[:2]) if reading is not None else None
        if reading is not None and found is not None:
            if before is not None and before[1].figures == found and not before[1].is_stale:
                return reading.time, before[1]
            return reading.time, make_row_figures(found, is_utf8=self._is_utf8())
        if before is None or (reading is not None and not reading.has_failed):
            return None
        time, shown = before
        if shown.is_stale or now - time <= STALE_SECONDS:
            return before
        return time, make_row_figures(shown.figures, is_utf8=self._is_utf8(), is_stale=True)


def _value(figures: ServingFigures, column: str) -> float | None:
    match column:
        case "p95":
            return figures.p95
        case "waiting":
            return figures.waiting
    return figures.rate
