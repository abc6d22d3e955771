"""When the memory of closed screens is freed."""

from __future__ import annotations

from collections.abc import Callable

from tui.garbage_collection import IDLE_SECONDS, MAX_REMOVED, MIN_REMOVED, IdleCollector


class Clock:
    """Time, timers, and how often memory was freed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.collected = 0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.collector = IdleCollector(self.set_timer, collect=self.collect, clock=lambda: self.now)

    def set_timer(self, delay: float, callback: Callable[[], None], /) -> None:
        self.timers.append((self.now + delay, callback))

    def collect(self) -> None:
        self.collected += 1

    def close_screens(self, count: int) -> None:
        for _ in range(count):
            self.collector.note_removed()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((at, n) for n, (at, _) in enumerate(self.timers) if at <= end):
            at, number = due[0]
            self.now = at
            self.timers.pop(number)[1]()
        self.now = end


def test_a_few_closed_screens_are_not_worth_a_collection() -> None:
    clock = Clock()
    clock.close_screens(MIN_REMOVED - 1)
    clock.advance(3600)
    assert (clock.collected, clock.timers) == (0, [])


def test_one_collection_after_a_pause() -> None:
    clock = Clock()
    clock.close_screens(MIN_REMOVED * 3)
    assert clock.collected == 0
    clock.advance(IDLE_SECONDS)
    assert (clock.collected, clock.timers) == (1, [])
    clock.close_screens(MIN_REMOVED)
    clock.advance(IDLE_SECONDS)
    assert clock.collected == 2


def test_keys_delay_it() -> None:
    clock = Clock()
    clock.close_screens(MIN_REMOVED)
    for _ in range(10):
        clock.advance(IDLE_SECONDS / 2)
        clock.collector.note_key()
    assert clock.collected == 0
    clock.advance(IDLE_SECONDS)
    assert clock.collected == 1


def test_keys_do_not_delay_it_without_end() -> None:
    clock = Clock()
    clock.close_screens(MAX_REMOVED)
    clock.advance(IDLE_SECONDS / 2)
    clock.collector.note_key()
    clock.advance(IDLE_SECONDS / 2)
    assert clock.collected == 1
