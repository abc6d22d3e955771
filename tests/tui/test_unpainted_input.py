"""Whether the effect of a key is still to be painted."""

from __future__ import annotations

from tui.unpainted_input import HOLD_SECONDS, InputPhase, UnpaintedInput


class Terminal:
    """Input, messages and paints, at times that the test sets."""

    def __init__(self) -> None:
        self.now = self.read_at = 1000.0
        self.is_busy = False
        self.input = UnpaintedInput(
            lambda: self.read_at, lambda: self.is_busy, clock=lambda: self.now
        )
        self.input.note_dispatched(self.now)
        self.paint()

    def read(self, *, after: float = 100.0) -> None:
        """A key is read, so many seconds later."""
        self.now = self.read_at = self.now + after

    def paint(self) -> None:
        self.now += 0.001
        self.input.note_painted()


def test_a_key_waits_from_its_read_to_the_paint_of_its_effect() -> None:
    terminal = Terminal()
    assert terminal.input.phase is InputPhase.PAINTED
    terminal.read()
    assert terminal.input.phase is InputPhase.HANDLING
    terminal.paint()
    assert terminal.input.phase is InputPhase.HANDLING, "it was not dispatched"
    terminal.input.note_dispatched(terminal.read_at)
    terminal.is_busy = True
    terminal.paint()
    assert terminal.input.phase is InputPhase.HANDLING, "messages are on their way"
    terminal.is_busy = False
    assert terminal.input.phase is InputPhase.UNPAINTED
    terminal.paint()
    assert terminal.input.phase is InputPhase.PAINTED
    assert not terminal.input.is_waiting()


def test_a_movement_of_the_mouse_that_overtakes_a_queued_key_changes_nothing() -> None:
    terminal = Terminal()
    terminal.read()
    key = terminal.read_at
    terminal.read(after=0.001)
    terminal.input.note_dispatched(terminal.read_at)
    terminal.is_busy = True
    assert terminal.input.phase is InputPhase.HANDLING
    terminal.is_busy = False
    terminal.input.note_dispatched(key)
    assert terminal.input.phase is InputPhase.UNPAINTED


def test_a_key_without_an_effect_is_waited_for_a_moment() -> None:
    terminal = Terminal()
    terminal.read()
    assert terminal.input.is_waiting()
    terminal.now += 2 * HOLD_SECONDS
    assert not terminal.input.is_waiting()
    assert terminal.input.phase is InputPhase.PAINTED


def test_a_key_that_repeats_without_an_effect_counts_once() -> None:
    terminal = Terminal()
    terminal.read()
    held = []
    for _ in range(5):
        held.append(terminal.input.is_waiting())
        terminal.read(after=0.6 * HOLD_SECONDS)
    assert held == [True, True, False, False, False]
    terminal.read()
    assert terminal.input.is_waiting(), "another key"


def test_each_key_that_has_an_effect_counts() -> None:
    terminal = Terminal()
    for _ in range(5):
        terminal.read(after=0.6 * HOLD_SECONDS)
        assert terminal.input.is_waiting()
        terminal.input.note_dispatched(terminal.read_at)
        terminal.paint()
        assert not terminal.input.is_waiting()
