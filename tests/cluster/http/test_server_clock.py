from __future__ import annotations

import time
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web

from servedeck.cluster.http.server_clock import ServerClock, read_boot_time
from tests.cluster.fake_api_server import FakeApiServer, open_connection, serve, write_kubeconfig

START = 1_800_000_000.0


class TwoClocks:
    """A local clock that the test sets, and a server whose clock is `ahead` of it."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.local = START
        self.was_set = 0.0
        """Seconds that the local clock was set forward by."""
        self.ahead = ahead
        self.changes = 0
        self.clock = ServerClock(lambda: self.local, lambda: self.local - self.was_set - START)
        self.clock.on_change = self._count

    def _count(self) -> None:
        self.changes += 1

    def set_local(self, seconds: float) -> None:
        """Set the local clock forward; the server's goes on as before."""
        self.local += seconds
        self.was_set += seconds
        self.ahead -= seconds

    def respond(self, round_trip: float = 0.0, **headers: str) -> timedelta:
        """A request that takes `round_trip` seconds; the server writes its date in the middle."""
        sent_at = self.local
        self.local += round_trip / 2
        date = formatdate(self.local + self.ahead, usegmt=True)
        self.local += round_trip / 2
        self.clock.add_response({"Date": date, **headers}, sent_at)
        return self.clock.offset


@pytest.mark.parametrize("ahead", [-86_400.0, -600.0, -8.0, 8.0, 600.0, 400 * 86_400.0])
def test_the_difference_is_known_to_a_second(ahead: float) -> None:
    found = TwoClocks(ahead).respond(round_trip=0.2)
    assert abs(found.total_seconds() - ahead) <= 1


def test_a_difference_within_the_precision_is_none() -> None:
    for ahead in (-2.0, -1.0, 0.0, 0.9, 2.0):
        clocks = TwoClocks(ahead)
        assert clocks.respond() == timedelta(), ahead
        assert clocks.changes == 0
    assert TwoClocks(12.0).respond(round_trip=30) == timedelta(), "a slow answer shows little"
    assert ServerClock().offset == timedelta(), "before the first response"


def test_the_shortest_round_trip_is_kept() -> None:
    clocks = TwoClocks(600)
    assert clocks.respond(round_trip=20).total_seconds() == pytest.approx(600.5, abs=1)
    precise = clocks.respond(round_trip=0.1)
    assert clocks.respond(round_trip=20) == precise
    assert clocks.changes == 1


def test_a_clock_that_was_set_replaces_what_was_known() -> None:
    clocks = TwoClocks(600)
    clocks.respond(round_trip=0.1)
    clocks.ahead = 0
    assert clocks.respond(round_trip=3) == timedelta()
    assert clocks.changes == 2
    clocks.ahead = 1
    assert clocks.respond() == timedelta()
    assert clocks.changes == 2


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -90.0, 8 * 3600.0])
@pytest.mark.parametrize("ahead", [0.0, 600.0])
def test_a_local_clock_that_was_set_is_known_without_a_response(step: float, ahead: float) -> None:
    clocks = TwoClocks(ahead)
    clocks.respond(round_trip=0.2)
    clocks.set_local(step)
    assert clocks.clock.offset.total_seconds() == pytest.approx(ahead - step, abs=1)
    assert clocks.respond(round_trip=0.2).total_seconds() == pytest.approx(ahead - step, abs=1)
    clocks.set_local(-step)
    assert clocks.clock.offset.total_seconds() == pytest.approx(ahead, abs=1)


def test_a_clock_that_is_set_during_a_request_does_not_spoil_its_response() -> None:
    clocks = TwoClocks()
    sent_at = clocks.clock.local_time()
    clocks.set_local(-3600)
    date = formatdate(clocks.local + clocks.ahead, usegmt=True)
    clocks.clock.add_response({"Date": date}, sent_at)
    assert clocks.clock.offset.total_seconds() == pytest.approx(3600, abs=1)


@pytest.mark.parametrize("ahead", [0.0, 600.0])
def test_the_servers_time_goes_on_where_the_local_clock_is_set(ahead: float) -> None:
    clocks = TwoClocks(ahead=ahead)
    assert clocks.clock.server_time() == clocks.local  # not known yet
    clocks.respond(round_trip=0.2)
    before = clocks.clock.server_time()
    assert before == pytest.approx(clocks.local + ahead, abs=1)
    clocks.set_local(3600)
    assert clocks.clock.server_time() == pytest.approx(before, abs=2)


def test_a_night_of_sleep_is_no_step() -> None:
    clocks = TwoClocks()
    clocks.respond(round_trip=0.2)
    clocks.local += 8 * 3600  # the time since boot goes on with it
    assert clocks.clock.offset == timedelta()
    assert clocks.clock.age == pytest.approx(8 * 3600, abs=1)
    clocks.respond(round_trip=0.2)
    assert clocks.clock.age == 0


def test_the_time_since_boot_does_not_go_back() -> None:
    first = read_boot_time()
    assert 0 < first <= read_boot_time()


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Foo 2026 99:99:99 GMT", "-1", "\0"])
def test_another_date_is_ignored(date: str) -> None:
    clock = ServerClock()
    clock.add_response({"Date": date} if date else {}, time.time())
    assert clock.offset == timedelta()


def test_the_answer_of_a_cache_is_ignored_and_so_is_one_before_its_request() -> None:
    clocks = TwoClocks(-600)
    assert clocks.respond(Age="600") == timedelta()
    clocks.clock.add_response({"Date": formatdate(START + 600, usegmt=True)}, clocks.local + 60)
    assert clocks.clock.offset == timedelta()


async def test_a_connection_knows_the_clock_of_a_server_that_is_ten_minutes_behind(
    tmp_path: Path,
) -> None:
    async def respond(_: web.Request) -> web.StreamResponse:
        date = formatdate(time.time() - 600, usegmt=True)
        return web.json_response({}, headers={"Date": date})

    api = FakeApiServer()
    api.add_route("/late", respond)
    async with serve(api):
        connection = await open_connection(write_kubeconfig(tmp_path / "config", api.url))
        try:
            await connection.get("/version")
            assert connection.clock.offset == timedelta()
            await connection.get("/late")
            assert connection.clock.offset.total_seconds() == pytest.approx(-600, abs=60)
        finally:
            await connection.close()
