"""Whether the effect of a key is still to be painted, so that what can wait does."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from time import monotonic

HOLD_SECONDS = 0.05
"""What can wait is held so long at most after a key: one without an effect paints nothing."""


class InputPhase(Enum):
    """What has become of the input that was read last."""

    PAINTED = "painted"
    HANDLING = "handling"
    """Some of it has not had its effect yet."""
    UNPAINTED = "unpainted"
    """Its effect is to be painted."""


class UnpaintedInput:
    """Follows input from the terminal to the paint of its effect.

    A key takes a turn of the event loop for each widget from the one with the focus up to the app,
    and its effect some more. A paint in the meantime shows something else.
    """

    def __init__(
        self,
        last_read_at: Callable[[], float],
        is_busy: Callable[[], bool],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`last_read_at` returns when input was last read from the terminal, in seconds of `clock`;
        `is_busy` whether keys or messages wait to be handled."""
        self._last_read_at = last_read_at
        self._is_busy = is_busy
        self._clock = clock
        self._dispatched_at = 0.0
        """When the input was read that was dispatched last."""
        self._painted_at = 0.0
        """When the effect of all events was painted."""
        self._first_at = self._last_at = 0.0
        """When the first and the last of several events in quick succession were read."""

    @property
    def phase(self) -> InputPhase:
        if not self.is_waiting():
            return InputPhase.PAINTED
        return InputPhase.UNPAINTED if self._is_handled else InputPhase.HANDLING

    def note_dispatched(self, read_at: float) -> None:
        """Input that was read then was sent to the widget that it is for. Movements of the mouse
        overtake keys that are queued."""
        self._dispatched_at = max(self._dispatched_at, read_at)

    def note_painted(self) -> None:
        """The screen was painted."""
        if self._is_handled:
            self._painted_at = self._clock()

    def is_waiting(self) -> bool:
        """Whether the effect of an event is still to be painted. One that repeats without an effect
        counts once."""
        read_at = self._last_read_at()
        if read_at <= self._painted_at:
            return False
        is_repeated = read_at - self._last_at <= HOLD_SECONDS
        self._last_at = read_at
        if not is_repeated or self._first_at <= self._painted_at:
            self._first_at = read_at
        return self._clock() - self._first_at < HOLD_SECONDS

    @property
    def _is_handled(self) -> bool:
        return self._last_read_at() <= self._dispatched_at and not self._is_busy()
