"""An error in one part of the simulation ends neither the other parts nor the clock."""

from __future__ import annotations

import logging
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_MAX_KNOWN = 1000

Isolation = Callable[[Callable[[], None]], None]
"""Calls a part of the simulation, in one way or another."""


def call_directly(part: Callable[[], None]) -> None:
    """Errors reach the caller: in tests, an error of a controller is an error of the test."""
    part()


class FaultIsolation:
    """Calls parts of the simulation and logs their errors: each once, with its traceback, however
    often it occurs. Errors of the same type from the same line count as one."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, int]] = set()

    def __call__(self, part: Callable[[], None]) -> None:
        try:
            part()
        except Exception as error:
            if self._is_new(error):
                _LOG.exception("an error in the demo's simulation; what else runs goes on")

    def _is_new(self, error: Exception) -> bool:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else ("", 0)
        kind = (type(error).__name__, *place)
        if kind in self._known or len(self._known) >= _MAX_KNOWN:
            return False
        self._known.add(kind)
        return True
