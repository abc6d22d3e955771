"""When a flush occurs, on a clock that the test advances."""

import asyncio

import pytest

from servedeck.cluster.watch.debounce import MAX_HOLD_SECONDS, Debouncer


class FakeLoop:
    """An event loop's clock and scheduled calls, run when the test advances the time."""

    def __init__(self):
        self.now = 100.0
        self.calls = []

    def time(self):
        return self.now

    def call_soon(self, callback):
        return self.call_at(self.now, callback)

    def call_later(self, delay, callback):
        return self.call_at(self.now + delay, callback)

    def call_at(self, when, callback):
        handle = FakeHandle()
        self.calls.append((when, handle, callback))
        return handle

    def advance(self, seconds):
        end = self.now + seconds
        while due := sorted((c for c in self.calls if c[0] <= end), key=lambda call: call[0]):
            call = due[0]
            self.calls.remove(call)
            when, handle, callback = call
            self.now = max(self.now, when)
            if not handle.cancelled:
                callback()
        self.now = end


class FakeHandle:
    cancelled = False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def loop(monkeypatch):
    made = FakeLoop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


def make_debouncer(loop, has_changes=lambda: True):
    times = []

    def flush():
        times.append(round(loop.now - 100, 3))
        return has_changes()

    return Debouncer(flush, 0.06), times


def test_the_first_request_flushes_at_once_and_later_ones_are_coalesced(loop):
    debouncer, times = make_debouncer(loop)
    for _ in range(5):
        debouncer.request()
        loop.advance(0.01)
    loop.advance(1)
    assert times == [0, 0.06]


def test_an_urgent_one_does_not_wait_for_ordinary_ones(loop):
    debouncer, times = make_debouncer(loop)
    debouncer.request()
    loop.advance(0.01)
    debouncer.request()  # waits until 0.06
    debouncer.request(urgent=True)
    loop.advance(0.02)
    assert times == [0, 0.01]
    loop.advance(1)
    assert times == [0, 0.01], "what waited came with it"


def test_urgent_requests_are_coalesced(loop):
    debouncer, times = make_debouncer(loop)
    for _ in range(10):
        debouncer.request(urgent=True)
        loop.advance(0.01)
    loop.advance(1)
    assert times == [0, 0.06, 0.12]


def test_an_interval_has_two_flushes_at_most(loop):
    debouncer, times = make_debouncer(loop)
    for number in range(100):
        debouncer.request(urgent=number % 3 == 0)
        loop.advance(0.003)
    loop.advance(1)
    for start in times:
        assert sum(start <= at < start + 0.059 for at in times) <= 2


def test_a_flush_without_changes(loop):
    answers = iter([False, True, True])
    debouncer, times = make_debouncer(loop, lambda: next(answers))
    debouncer.request(urgent=True)
    loop.advance(0.001)
    debouncer.request(urgent=True)
    loop.advance(0.001)
    assert times == [0, 0.001]


def test_no_flush_after_close(loop):
    debouncer, times = make_debouncer(loop)
    debouncer.request(urgent=True)
    debouncer.wake_at(0.5)
    debouncer.close()
    debouncer.request(urgent=True)
    loop.advance(9)
    assert times == []


def test_a_held_flush_waits_until_it_is_released(loop):
    held, times = [True], []
    debouncer = Debouncer(lambda: not times.append(loop.now), 0.07, is_held=lambda: held[0])
    debouncer.request()
    loop.advance(0.03)
    assert times == []
    held[0] = False
    loop.advance(0.03)
    assert len(times) == 1
    loop.advance(1.0)
    assert len(times) == 1


def test_a_flush_is_not_held_for_long(loop):
    times = []
    debouncer = Debouncer(lambda: not times.append(loop.now), 0.07, is_held=lambda: True)
    debouncer.request()
    debouncer.request(urgent=True)
    loop.advance(MAX_HOLD_SECONDS + 0.02)
    assert len(times) == 1
    debouncer.request()
    debouncer.close()
    loop.advance(1.0)
    assert len(times) == 1
