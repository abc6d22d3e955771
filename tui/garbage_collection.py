"""Garbage collections at moments at which nobody waits for the program.

Python collects when enough objects were made, which is mostly in the middle of a paint. No key is
handled meanwhile: 10 to 30 ms for 20,000 new objects, and 45 to 100 ms for all of them, measured
with 5,000 Pods.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import monotonic
from typing import Protocol

MIN_REMOVED = 5
"""Closed screens and tabs from which it is worth the time."""
MAX_REMOVED = 100
"""Closed screens and tabs from which it happens even while keys are pressed."""
IDLE_SECONDS = 3.0
"""Seconds without a key before it happens."""

MIN_NEW_OBJECTS = 1_000
"""New objects from which a collection of them is worth it: 2 to 10 ms, measured while 100 Pods a
second change on two cores."""
PAINT_PAUSE_SECONDS = 0.05
"""Seconds from a paint to that collection: the paints that follow one key are over."""
YOUNG_COLLECTIONS = 5
"""Collections of new objects after which those that survived them are collected too."""


class SetTimer(Protocol):
    def __call__(self, delay: float, callback: Callable[[], None], /) -> object: ...


class IdleCollector:
    """Collects all objects after screens were closed, as soon as no key was pressed for a while.

    Widgets refer to each other in cycles, so that only a full collection frees them, and
    `servedeck.fleet.session.tune_gc` makes those rare: without this, opening and closing 20 pages
    with all their tabs adds 48 MiB.
    """

    def __init__(
        self,
        set_timer: SetTimer,
        *,
        collect: Callable[[], object] = gc.collect,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`set_timer` calls a function after so many seconds."""
        self._set_timer = set_timer
        self._collect = collect
        self._clock = clock
        self._removed = 0
        self._last_key_at = clock()
        self._is_waiting = False

    def note_key(self) -> None:
        """A key was pressed."""
        self._last_key_at = self._clock()

    def note_removed(self) -> None:
        """A screen or a tab was closed."""
        self._removed += 1
        if self._removed >= MIN_REMOVED and not self._is_waiting:
            self._wait(IDLE_SECONDS)

    def _wait(self, seconds: float) -> None:
        self._is_waiting = True
        self._set_timer(seconds, self._collect_if_idle)

    def _collect_if_idle(self) -> None:
        idle_for = self._clock() - self._last_key_at
        if idle_for < IDLE_SECONDS and self._removed < MAX_REMOVED:
            self._wait(IDLE_SECONDS - idle_for)
            return
        self._is_waiting = False
        self._removed = 0
        self._collect()


class YoungCollector:
    """Collects new objects shortly after a paint, so that Python need not in the next one."""

    def __init__(
        self,
        set_timer: SetTimer,
        *,
        collect: Callable[[int], object] = gc.collect,
        count_new: Callable[[], int] = lambda: gc.get_count()[0] if gc.isenabled() else 0,
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        """`set_timer` calls a function after so many seconds. `collect` gets the oldest generation
        that it collects. While `is_held` returns true, it waits: the effect of a key is painted
        first."""
        self._set_timer = set_timer
        self._collect = collect
        self._count_new = count_new
        self._is_held = is_held
        self._is_waiting = False
        self._collections = 0

    def note_painted(self) -> None:
        """The screen was painted."""
        if not self._is_waiting and self._count_new() >= MIN_NEW_OBJECTS:
            self._is_waiting = True
            self._set_timer(PAINT_PAUSE_SECONDS, self._collect_young)

    def _collect_young(self) -> None:
        if self._is_held():
            self._set_timer(PAINT_PAUSE_SECONDS, self._collect_young)
            return
        self._is_waiting = False
        self._collections += 1
        self._collect(1 if self._collections % YOUNG_COLLECTIONS == 0 else 0)
