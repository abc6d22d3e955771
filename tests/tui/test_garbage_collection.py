"""When memory is freed: that of closed screens, and new objects after a paint."""

from __future__ import annotations

from collections.abc import Callable

from tests.tui.helpers import make_app
from tests.waiting import wait_until
from tui.garbage_collection import (
    IDLE_SECONDS,
    MAX_REMOVED,
    MIN_NEW_OBJECTS,
    MIN_REMOVED,
    PAINT_PAUSE_SECONDS,
    YOUNG_COLLECTIONS,
    IdleCollector,
    YoungCollector,
)


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


class Painter(Clock):
    """New objects, and the generations that were collected."""

    def __init__(self) -> None:
        super().__init__()
        self.new_objects = 0
        self.generations: list[int] = []
        self.is_held = False
        self.young = YoungCollector(
            self.set_timer,
            collect=self.collect_generation,
            count_new=lambda: self.new_objects,
            is_held=lambda: self.is_held,
        )

    def collect_generation(self, generation: int) -> None:
        self.generations.append(generation)
        self.new_objects = 0

    def paint(self, new_objects: int) -> None:
        self.new_objects += new_objects
        self.young.note_painted()


def test_new_objects_are_collected_after_the_effect_of_a_key_is_painted() -> None:
    painter = Painter()
    painter.paint(MIN_NEW_OBJECTS)
    painter.is_held = True
    painter.advance(PAINT_PAUSE_SECONDS)
    assert painter.generations == []
    painter.is_held = False
    painter.advance(PAINT_PAUSE_SECONDS)
    assert painter.generations == [0]


def test_new_objects_are_collected_once_after_the_paints_of_a_key() -> None:
    painter = Painter()
    painter.paint(MIN_NEW_OBJECTS - 1)
    painter.advance(PAINT_PAUSE_SECONDS)
    assert painter.generations == []
    for _ in range(5):
        painter.paint(MIN_NEW_OBJECTS)
    assert painter.generations == []
    painter.advance(PAINT_PAUSE_SECONDS)
    assert painter.generations == [0]
    painter.paint(MIN_NEW_OBJECTS)
    painter.advance(PAINT_PAUSE_SECONDS)
    assert painter.generations == [0, 0]


def test_what_survived_is_collected_now_and_then() -> None:
    painter = Painter()
    for _ in range(2 * YOUNG_COLLECTIONS):
        painter.paint(MIN_NEW_OBJECTS)
        painter.advance(PAINT_PAUSE_SECONDS)
    assert painter.generations == ([0] * (YOUNG_COLLECTIONS - 1) + [1]) * 2


async def test_the_app_collects_after_its_paints() -> None:
    collections: list[int] = []
    app = make_app()
    async with app.run_test() as pilot:
        app._young_collector = YoungCollector(
            app.set_timer, collect=collections.append, count_new=lambda: MIN_NEW_OBJECTS
        )
        await pilot.press("j")
        await wait_until(lambda: collections[:1] == [0], "a collection")
