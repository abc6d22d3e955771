"""Lost connections, server errors and backoff."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadTimeoutError
from servedeck.cluster.watch.reflector import (
    RecordChange,
    Reflector,
    ReflectorConfig,
    ReflectorPhase,
)
from tests.cluster.fake_api_server import (
    FakeApiServer,
    bind_port,
    encode_bookmark,
    encode_event,
    make_pod,
    make_status,
    open_connection,
    respond_with_status,
    serve,
    stream_chunks,
    write_kubeconfig,
)
from tests.cluster.http.test_errors import MALFORMED_DETAILS
from tests.cluster.watch.reflector_harness import FAST_CONFIG, add_pods, run_reflector
from tests.waiting import TimeSkipper, wait_until, with_timeout

SKIPPED_READ_TIMEOUT = 900.0
"""A read timeout that a test skips."""
LONG_MIN_WATCH_DURATION = 3600.0
"""A watch that ends sooner, as all do here, counts as too short."""
IMPATIENT = replace(
    FAST_CONFIG,
    retry_delay=(0.1, 30.0),
    relist_delay=(0.0, 0.0),
    min_watch_duration=LONG_MIN_WATCH_DURATION,
)


def encode_next_change(watch: web.Request) -> bytes:
    """An event of a Pod that was changed after the watch's version."""
    pod = make_pod("changed")
    pod["metadata"]["resourceVersion"] = str(int(watch.query["resourceVersion"]) + 1)
    return encode_event("MODIFIED", pod)


def assert_exponential(pauses: list[float], first: float) -> None:
    """The base delay doubles each time; the delay is between it and twice as much (jitter)."""
    for number, seconds in enumerate(pauses):
        least = min(30.0, first * 2**number)
        assert least <= seconds <= 2 * least, pauses


async def test_server_that_always_answers_410_is_retried_with_backoff(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    async def expired(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, encode_event("ERROR", make_status(410, "Expired")))

    api.faults["watch"] = [expired] * 500
    timings = replace(IMPATIENT, relist_delay=FAST_CONFIG.relist_delay)
    async with run_reflector(connection, timings=timings) as watched:
        await wait_until(lambda: len(pauses) > 6)
        assert pauses[0] <= 0.01, "lists again at once, the first time"
        assert_exponential(pauses[1:], 0.1)
        assert api.count_requests("watch") <= len(pauses) + 1
        assert ReflectorPhase.RETRYING in watched.phases


async def test_a_watch_that_is_cut_off_goes_on(api: FakeApiServer, connection: Connection) -> None:
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        await watched.wait_until_watching(api)
        await api.reset_watches()
        await watched.wait_for_phase(ReflectorPhase.RETRYING)
        assert len(watched.reflector.records) == 3, "what is known stays while the server is away"
        await api.put(make_pod("meanwhile"))
        await watched.wait_until_equal(api)
        probe = [r for r in api.requests if r.query.get("resourceVersionMatch") == "NotOlderThan"]
        assert len(probe) == 1
        assert watched.replica.syncs == 1


async def test_half_event_at_the_cut_is_not_taken_for_an_event(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api)

    async def cut(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, encode_event("ADDED", make_pod("ghost"))[:-20])

    api.faults["watch"] = [cut]
    async with run_reflector(connection) as watched:
        await wait_until(lambda: api.count_requests("watch") >= 2)
        await watched.wait_until_equal(api)


async def test_a_stalled_watch_is_detected(
    api: FakeApiServer, connection: Connection, skip_time: TimeSkipper
) -> None:
    await add_pods(api)

    async def silent(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, end=False)

    async def silent_and_behind(request: web.Request) -> web.StreamResponse:
        await api.put(make_pod("unseen"))
        return await stream_chunks(request, end=False)

    api.faults["watch"] = [silent_and_behind, silent]
    async with run_reflector(
        connection, timings=replace(FAST_CONFIG, watch_read_timeout=SKIPPED_READ_TIMEOUT)
    ) as watched:
        for number in (1, 2):
            await wait_until(lambda n=number: watched.reflector.watch_count == n)
            await wait_until(lambda: watched.reflector._watch_open)
            skip_time(SKIPPED_READ_TIMEOUT + 1)
        assert "nothing for" in (await watched.wait_for_phase(ReflectorPhase.RETRYING)).error
        await watched.wait_until_equal(api)
        assert "uid-unseen" in watched.reflector.records
        assert watched.replica.syncs == 2, "the second silence in a row lists again"


async def test_cluster_restored_from_a_backup(api: FakeApiServer, connection: Connection) -> None:
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        await watched.wait_until_watching(api)
        api.version, api.objects = 5, {}
        api.history.clear()
        await api.put(make_pod("restored"))
        await api.reset_watches()
        await watched.wait_until_equal(api)
        assert watched.replica.syncs == 2


async def test_a_watch_from_a_too_large_resource_version_is_detected(
    api: FakeApiServer, connection: Connection, skip_time: TimeSkipper
) -> None:
    await add_pods(api)

    async def goes_back(request: web.Request) -> web.StreamResponse:
        api.version, api.objects = 5, {}
        api.history.clear()
        await api.put(make_pod("restored"))
        return await stream_chunks(request)  # a clean end, so the connection is not suspect

    api.faults["watch"] = [goes_back]
    async with run_reflector(
        connection, timings=replace(FAST_CONFIG, watch_read_timeout=SKIPPED_READ_TIMEOUT)
    ) as watched:
        await wait_until(
            lambda: watched.reflector.watch_count == 2 and watched.reflector._watch_open
        )
        skip_time(SKIPPED_READ_TIMEOUT + 1)
        await wait_until(lambda: "uid-restored" in watched.reflector.records)
        await wait_until(lambda: len(watched.reflector.records) == 1)


@pytest.mark.parametrize("in_order", [True, False])
async def test_what_a_server_sent_before_it_closed_in_order_is_known_until_then(
    api: FakeApiServer, connection: Connection, *, in_order: bool
) -> None:
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_watching(api)
        before = watched.reflector.last_contact
        api.faults["watch"] = [respond_with_status(500)] * 100_000
        api.faults["list"] = [respond_with_status(500)] * 100_000
        closing = time.monotonic()
        for response in list(api.open_watches):
            assert response._req is not None and response._req.transport is not None
            transport = response._req.transport
            if in_order:
                transport.close()
            else:  # as a rebooted machine responds: with a reset
                linger = struct.pack("ii", 1, 0)
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                transport.abort()
        await watched.wait_for_phase(ReflectorPhase.RETRYING)
        assert watched.reflector.last_contact == before or in_order
        assert watched.reflector.last_contact >= closing or not in_order


async def test_429_waits_as_long_as_the_server_requests(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    await add_pods(api)
    api.faults["list"] = [respond_with_status(429, "TooManyRequests", Retry_After="17")]
    async with run_reflector(connection) as watched:
        assert (
            "limits the request rate"
            in (await watched.wait_for_phase(ReflectorPhase.RETRYING)).error
        )
        await watched.wait_until_equal(api)
    assert pauses == [17.0]


@pytest.mark.parametrize(
    ("asked", "waited"), [("0.01", (2.0, 4.0)), ("3", (3.0, 4.0)), ("86000", (60.0, 60.0))]
)
async def test_a_server_asks_for_neither_a_shorter_wait_nor_one_of_a_day(
    api: FakeApiServer,
    connection: Connection,
    pauses: list[float],
    asked: str,
    waited: tuple[float, float],
) -> None:
    api.faults["list"] = [respond_with_status(429, "TooManyRequests", Retry_After=asked)]
    async with run_reflector(
        connection, timings=replace(FAST_CONFIG, retry_delay=(2.0, 30.0))
    ) as watched:
        await watched.wait_until_equal(api)
    assert len(pauses) == 1 and waited[0] <= pauses[0] <= waited[1]


async def test_watches_that_a_proxy_cuts_off_as_soon_as_they_open_are_retried_with_backoff(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = await stream_chunks(request, encode_event("ADDED", make_pod("ghost"))[:-20])
        assert request.transport is not None
        request.transport.abort()
        return response

    api.faults["watch"] = [cut] * 500
    async with run_reflector(connection, timings=IMPATIENT):
        await wait_until(lambda: len(pauses) > 6)
        assert_exponential(pauses[:7], 0.1)


@pytest.mark.parametrize("in_order", [True, False])
async def test_watches_that_end_after_a_bookmark_are_retried_with_backoff(
    api: FakeApiServer, connection: Connection, pauses: list[float], *, in_order: bool
) -> None:
    async def end(request: web.Request) -> web.StreamResponse:
        response = await stream_chunks(request, encode_bookmark(api.version))
        assert request.transport is not None
        if not in_order:
            request.transport.close()
        return response

    api.faults["watch"] = [end] * 500
    async with run_reflector(connection, timings=IMPATIENT) as watched:
        await wait_until(lambda: len(pauses) > 6)
        assert_exponential(pauses[:7], 0.1)
        assert watched.replica.syncs == 1, "the version is known: nothing is listed again"


async def test_a_reflector_whose_watches_are_cut_off_does_not_wait_for_another_one(
    api: FakeApiServer, connection: Connection
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = await stream_chunks(request)
        assert request.transport is not None
        request.transport.abort()
        return response

    api.faults["watch"] = [cut]
    patient = replace(IMPATIENT, retry_delay=(3600.0, 3600.0))
    async with run_reflector(connection, timings=patient) as watched:
        await watched.wait_for_phase(ReflectorPhase.RETRYING)
        watched.reflector.retry_after_contact()
        assert not watched.reflector._retry_event.is_set()
        watched.reflector.retry_now()
        await watched.wait_until_watching(api)


@pytest.mark.parametrize(("code", "is_woken"), [(429, False), (500, True)])
async def test_a_server_that_asked_to_wait_is_not_asked_again_because_another_watch_lasts(
    api: FakeApiServer, connection: Connection, code: int, *, is_woken: bool
) -> None:
    api.faults["list"] = [respond_with_status(code, Retry_After="50")]
    patient = replace(IMPATIENT, retry_delay=(3600.0, 3600.0))
    async with run_reflector(connection, timings=patient) as watched:
        await watched.wait_for_phase(ReflectorPhase.RETRYING)
        watched.reflector.retry_after_lasting_watch()
        assert watched.reflector._retry_event.is_set() == is_woken


async def test_a_kind_that_fails_for_good_is_woken_once_by_the_watches_of_others(
    api: FakeApiServer, connection: Connection
) -> None:
    api.faults["list"] = [respond_with_status(500)] * 500
    patient = replace(IMPATIENT, retry_delay=(3600.0, 3600.0))
    async with run_reflector(connection, timings=patient) as watched:
        reflector = watched.reflector

        async def wait_for_list(number: int) -> None:
            await wait_until(
                lambda: reflector.list_count == number and not reflector._retry_event.is_set()
            )

        await watched.wait_for_phase(ReflectorPhase.RETRYING)
        reflector.retry_after_lasting_watch()
        await wait_for_list(2)
        for _ in range(3):
            reflector.retry_after_lasting_watch()
            assert not reflector._retry_event.is_set()
        reflector.retry_now()
        await wait_for_list(3)
        reflector.retry_after_lasting_watch()
        await wait_for_list(4)


async def test_a_kind_whose_watch_lasted_is_woken_again(
    api: FakeApiServer, connection: Connection
) -> None:
    cut = asyncio.Event()

    async def last(request: web.Request) -> web.StreamResponse:
        response = await stream_chunks(request)
        await cut.wait()
        assert request.transport is not None
        request.transport.abort()
        return response

    api.faults["list"] = [respond_with_status(500)]
    api.faults["watch"] = [last, *[respond_with_status(500)] * 500]
    timings = replace(IMPATIENT, retry_delay=(3600.0, 3600.0), watch_read_timeout=36_000.0)
    skip = TimeSkipper(asyncio.get_running_loop())
    async with run_reflector(connection, timings=timings) as watched:
        reflector, lasted = watched.reflector, asyncio.Event()
        await watched.wait_for_phase(ReflectorPhase.RETRYING)
        reflector.on_lasting_watch = lasted.set
        reflector.retry_after_lasting_watch()
        await wait_until(lambda: reflector._watch_open)
        skip(LONG_MIN_WATCH_DURATION + 1.0)
        await with_timeout(lasted.wait())
        cut.set()
        await wait_until(lambda: reflector.phase is ReflectorPhase.RETRYING)
        reflector.retry_after_lasting_watch()
        assert reflector._retry_event.is_set()


async def test_another_watch_that_lasts_keeps_the_backoff(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    api.faults["list"] = [respond_with_status(500)] * 3
    patient = replace(IMPATIENT, retry_delay=(2.0, 3600.0))
    async with run_reflector(connection, timings=patient) as watched:
        real_wait = watched.reflector._wait_before_retry

        async def wait(seconds: float) -> None:
            watched.reflector.retry_after_lasting_watch()
            await real_wait(seconds)

        watched.reflector._wait_before_retry = wait  # type: ignore[method-assign]
        await watched.wait_until_watching(api)
        assert_exponential(pauses[:3], 2.0)


async def test_a_reflector_that_had_no_contact_takes_that_of_another_one_but_keeps_its_backoff(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    api.faults["list"] = [respond_with_status(503)] * 3
    patient = replace(IMPATIENT, retry_delay=(2.0, 3600.0))
    async with run_reflector(connection, timings=patient) as watched:
        real_wait = watched.reflector._wait_before_retry

        async def wait(seconds: float) -> None:
            watched.reflector.retry_after_contact()
            await real_wait(seconds)

        watched.reflector._wait_before_retry = wait  # type: ignore[method-assign]
        await watched.wait_until_watching(api)
        assert_exponential(pauses[:3], 2.0)


async def test_a_quiet_kind_whose_version_expires_again_and_again_is_listed_at_once(
    api: FakeApiServer, connection: Connection
) -> None:
    async def expire(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, encode_event("ERROR", make_status(410, "Expired")))

    # Every watch here begins long after its list.
    timings = replace(FAST_CONFIG, retry_delay=(3600.0, 3600.0))
    api.faults["watch"] = [expire] * 5
    async with run_reflector(connection, timings=timings) as watched:
        await watched.wait_until_watching(api)
        assert watched.replica.syncs == 6
        assert ReflectorPhase.RETRYING not in watched.phases


async def test_a_watch_that_brought_an_event_is_continued_at_once(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = await stream_chunks(request, encode_next_change(request))
        assert request.transport is not None
        request.transport.close()
        return response

    api.faults["watch"] = [cut] * 5
    timings = replace(IMPATIENT, retry_delay=(3600.0, 3600.0))
    async with run_reflector(connection, timings=timings) as watched:
        await wait_until(lambda: not api.faults["watch"])
        await watched.wait_until_watching(api)
    assert not any(pauses)


async def test_an_open_watch_of_a_server_that_fell_silent_is_continued_where_it_was(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        await watched.wait_until_watching(api)
        lists = api.count_requests("list")
        watched.reflector.end_watch(ReadTimeoutError("It does not answer."))
        state = await watched.wait_for_phase(ReflectorPhase.RETRYING)
        assert (state.error, state.record_count) == ("It does not answer.", 3)
        await api.put(make_pod("meanwhile"))
        await watched.wait_until_equal(api)
        assert api.count_requests("list") == lists + 1, "the probe of the version alone"
        watched.reflector.end_watch(ReadTimeoutError("It does not answer."))


async def test_a_streamed_list_that_ended_as_the_server_fell_silent_is_streamed_again(
    api: FakeApiServer, connection: Connection
) -> None:
    async def expire(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, encode_event("ERROR", make_status(410, "Expired")))

    async def fall_silent(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, encode_event("ADDED", make_pod("half")), end=False)

    api.minor_version = 36
    await add_pods(api)
    api.faults["watch"] = [expire, fall_silent]
    async with run_reflector(connection) as watched:
        await wait_until(
            lambda: watched.reflector.watch_count == 2 and watched.reflector._watch_open
        )
        watched.reflector.end_watch(ReadTimeoutError("It does not answer."))
        state = await watched.wait_for_phase(ReflectorPhase.RETRYING)
        assert state.error == "It does not answer."
        await wait_until(lambda: watched.replica.syncs == 2)
        await watched.wait_until_equal(api)
        assert connection.supports_watch_list is True
        assert sum("limit" in request.query for request in api.requests) == 1, "it is not paged"


async def test_a_streamed_list_is_handed_over_whole_though_the_server_falls_silent(
    api: FakeApiServer, connection: Connection
) -> None:
    async def expire(request: web.Request) -> web.StreamResponse:
        api.objects.clear()
        await add_pods(api, 9)
        return await stream_chunks(request, encode_event("ERROR", make_status(410, "Expired")))

    api.minor_version = 36
    await add_pods(api)
    api.faults["watch"] = [expire]
    # Without a time slice it yields after every record.
    async with run_reflector(connection, timings=replace(FAST_CONFIG, time_slice=-1.0)) as watched:
        mirror, ended = watched.replica, False

        def end_watch(change: RecordChange) -> None:
            nonlocal ended
            mirror(change)
            if mirror.syncs == 1 and change.type != "SYNC" and not ended:
                ended = True
                watched.reflector.end_watch(ReadTimeoutError("It does not answer."))

        watched.reflector._store._on_change = end_watch
        await wait_until(lambda: mirror.syncs == 2)
        assert ended
        await watched.wait_for_phase(ReflectorPhase.RETRYING)
        await watched.wait_until_equal(api)
        assert mirror.syncs == 2, "it goes on where the list ended"


async def make_two_servers() -> tuple[FakeApiServer, FakeApiServer]:
    """Those before and after the kubeconfig names another one, which is far ahead."""
    old, new = FakeApiServer(), FakeApiServer()
    await add_pods(old)
    new.version = 10_000
    await new.put(make_pod("other"))
    return old, new


async def test_another_server_is_listed_again(tmp_path: Path) -> None:
    old, new = await make_two_servers()
    async with serve(new), serve(old):
        file = write_kubeconfig(tmp_path / "config", old.url)
        connection = await open_connection(file)
        async with run_reflector(connection) as watched:
            await watched.wait_until_equal(old)
            await watched.wait_until_watching(old)
            write_kubeconfig(file, new.url)
            for kind in old.faults:
                old.faults[kind] = [respond_with_status(401)] * 99
            await old.reset_watches()
            await watched.wait_until_equal(new)
            names = [record.metadata.name for record in watched.reflector.records.values()]
        await connection.close()
    assert names == ["other"]


async def test_a_watch_is_not_continued_on_another_server(tmp_path: Path) -> None:
    old, new = await make_two_servers()
    async with serve(new), AsyncExitStack() as running:
        await running.enter_async_context(serve(old))
        file = write_kubeconfig(tmp_path / "config", old.url)
        connection = await open_connection(file)
        async with run_reflector(connection) as watched:
            await watched.wait_until_equal(old)
            await watched.wait_until_watching(old)
            write_kubeconfig(file, new.url)
            ending = asyncio.create_task(running.aclose())  # connections are refused from here on
            await asyncio.sleep(0)
            await old.reset_watches()
            await with_timeout(ending)
            await watched.wait_until_equal(new)
            assert watched.replica.syncs == 2
        await connection.close()


@pytest.mark.parametrize("code", [500, 502, 503])
async def test_server_errors_on_a_watch_keep_the_version(
    api: FakeApiServer, connection: Connection, code: int
) -> None:
    await add_pods(api)
    api.faults["watch"] = [respond_with_status(code)] * 3
    async with run_reflector(connection) as watched:
        await watched.wait_for_phase(ReflectorPhase.RETRYING)
        await wait_until(lambda: not api.faults["watch"])
        await watched.wait_until_equal(api)
        assert watched.replica.syncs == 1, "an error of the server is no reason to list again"


async def test_web_page_in_place_of_a_list_says_so(
    api: FakeApiServer, connection: Connection
) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Log in</html>", content_type="text/html")

    api.faults["list"] = [page]
    async with run_reflector(connection) as watched:
        assert "login page" in (await watched.wait_for_phase(ReflectorPhase.RETRYING)).error
        await watched.wait_until_equal(api)


async def test_malformed_event_lists_again(api: FakeApiServer, connection: Connection) -> None:
    await add_pods(api)

    async def broken(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, b'{"type": "ADDED", "object": {"metadata"\n', end=False)

    api.faults["watch"] = [broken]
    async with run_reflector(connection) as watched:
        await wait_until(lambda: watched.replica.syncs == 2)
        await watched.wait_until_equal(api)


async def test_watches_that_end_at_once_are_retried_with_backoff(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    async def ends(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request)

    api.faults["watch"] = [ends] * 500
    timings = replace(
        FAST_CONFIG, retry_delay=(0.1, 30.0), min_watch_duration=LONG_MIN_WATCH_DURATION
    )
    async with run_reflector(connection, timings=timings) as watched:
        await wait_until(lambda: len(pauses) > 5)
        assert_exponential(pauses, 0.1)
        assert api.count_requests("watch") <= len(pauses) + 1
        assert (
            "as soon as they begin" in (await watched.wait_for_phase(ReflectorPhase.RETRYING)).error
        )


async def test_a_short_watch_with_events_is_followed_after_a_pause(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    async def ends(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, encode_next_change(request))

    api.faults["watch"] = [ends]
    async with run_reflector(connection, timings=IMPATIENT) as watched:
        await wait_until(lambda: api.count_requests("watch") == 2)
        assert ReflectorPhase.RETRYING not in watched.phases
        assert pauses == [IMPATIENT.short_watch_delay]


async def test_retry_now_ends_the_wait(tmp_path: Path) -> None:
    api = FakeApiServer()
    held = bind_port()
    url = f"http://127.0.0.1:{held.getsockname()[1]}"
    connection = await open_connection(write_kubeconfig(tmp_path / "config", url))
    async with AsyncExitStack() as later:
        later.push_async_callback(connection.close)
        async with run_reflector(
            connection, timings=ReflectorConfig(retry_delay=(3600.0, 3600.0))
        ) as watched:
            assert (
                "Connection refused by"
                in (await watched.wait_for_phase(ReflectorPhase.RETRYING)).error
            )
            await later.enter_async_context(serve(api, held=held))
            watched.reflector.retry_now()
            await watched.wait_until_equal(api)


@pytest.mark.parametrize("details", MALFORMED_DETAILS)
@pytest.mark.parametrize("where", ["list", "watch", "event"])
async def test_a_status_with_odd_details_ends_no_reflector(
    api: FakeApiServer, connection: Connection, where: str, details: Any
) -> None:
    body = {**make_status(422, "Invalid", "odd"), "details": details}

    async def reject(request: web.Request) -> web.StreamResponse:
        if where == "event":
            return await stream_chunks(request, encode_event("ERROR", body))
        return web.json_response(body, status=422)

    await add_pods(api)
    api.faults["list" if where == "list" else "watch"] = [reject]
    async with run_reflector(connection) as watched:
        await wait_until(lambda: ReflectorPhase.RETRYING in watched.phases)
        await watched.wait_until_equal(api)


async def test_a_failure_in_handling_a_failure_ends_no_reflector(
    api: FakeApiServer,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> float:
        raise TypeError("not iterable")

    await add_pods(api)
    monkeypatch.setattr(Reflector, "_handle_api_error", broken)
    api.faults["list"] = [respond_with_status(500), respond_with_status(500)]
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
    assert "not iterable" in caplog.text


async def test_where_a_proxy_holds_watches_back_the_list_is_read_again(
    api: FakeApiServer, connection: Connection, skip_time: TimeSkipper
) -> None:
    """As nginx buffers responses by default: a list arrives, a watch does not."""
    held = 0

    async def hold_back(request: web.Request) -> web.StreamResponse:
        nonlocal held
        held += 1
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    await add_pods(api)
    api.faults["watch"] = [hold_back] * 4
    async with run_reflector(connection) as watched:
        for number in range(1, 5):
            await wait_until(lambda n=number: held == n, "a watch that does not begin")
            await api.put(make_pod(f"new-{number}"))
            skip_time(31)
            if number >= 2:  # the first one may be a server that does not answer at all
                await wait_until(
                    lambda n=number: f"uid-new-{n}" in watched.reflector.records,
                    "what the watch has not brought",
                )
        assert any("proxy in between that buffers" in state.error for state in watched.states)
        await watched.wait_until_watching(api)
        await api.put(make_pod("later"))
        await watched.wait_until_equal(api)
