from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch import debounce
from servedeck.cluster.watch.kinds import EVENTS, PODS
from servedeck.cluster.watch.reflector import (
    RecordChange,
    Reflector,
    ReflectorPhase,
)
from tests.cluster.fake_api_server import (
    FakeApiServer,
    FaultHandler,
    encode_bookmark,
    encode_event,
    make_pod,
    make_status,
    request_kind,
    respond_with_status,
    stream_chunks,
)
from tests.cluster.watch.reflector_harness import FAST_CONFIG, add_pods, run_reflector
from tests.waiting import wait_until


async def test_follows_what_the_server_holds(api: FakeApiServer, connection: Connection) -> None:
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        await api.put(make_pod("new"))
        await api.put(make_pod("pod-1", "Failed"))
        await api.delete("pod-0")
        await watched.wait_until_equal(api)
        assert watched.reflector.records["uid-pod-1"].status.phase == "Failed"
        assert watched.replica.syncs == 1
        assert api.count_requests("list") == 1


async def test_pages_the_first_list_and_counts(api: FakeApiServer, connection: Connection) -> None:
    await add_pods(api, 10)
    seen: list[tuple[int, int | None]] = []
    reflector = Reflector(
        connection,
        PODS,
        None,
        lambda _: None,
        lambda r: seen.append((r.loaded_count, r.remaining_count)),
        config=FAST_CONFIG,
    )
    task = asyncio.create_task(reflector.run())
    await wait_until(lambda: reflector.phase is ReflectorPhase.LIVE)
    task.cancel()
    assert [pair for pair in seen if pair[0]][:3] == [(4, 6), (8, 2), (10, 0)]
    assert [request.query["limit"] for request in api.requests[:3]] == ["4", "4", "4"]
    assert "resourceVersion" not in api.requests[0].query


async def test_what_the_watch_cache_has_missed_comes_with_the_watch(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api, 3)
    cached = {"metadata": {"resourceVersion": str(api.version)}, "items": [*api.objects.values()]}
    await api.delete("pod-0")
    await api.put(make_pod("newer"))

    async def lags(_: web.Request) -> web.StreamResponse:
        return web.json_response(cached)

    api.faults["list"] = [lags]
    async with run_reflector(connection, replace(PODS, first_list_from_cache=True)) as watched:
        await watched.wait_until_equal(api)
        await watched.wait_until_watching(api)
        assert api.requests[0].query["resourceVersion"] == "0"
        api.faults["watch"] = [respond_expired_watch]
        await api.reset_watches()
        await wait_until(lambda: watched.replica.syncs == 2)
        lists = [request for request in api.requests if request_kind(request) == "list"]
        assert "resourceVersion" not in lists[-1].query, "it may not go back in time"


async def test_expired_page_is_followed_by_one_full_list(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api, 10)

    async def expired(request: web.Request) -> web.StreamResponse | None:
        return await respond_with_status(410, "Expired")(request)

    async def fine(_: web.Request) -> None:
        await api.delete("pod-1")  # the first page is now stale

    api.faults["list"] = [fine, expired]
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        assert "limit" not in api.requests[2].query
        assert "continue" not in api.requests[2].query


async def test_resumes_after_the_server_ends_a_watch(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api)

    async def ends(request: web.Request) -> web.StreamResponse:
        await api.put(make_pod("while-away"))
        return await stream_chunks(request)

    api.faults["watch"] = [ends, ends]
    async with run_reflector(connection) as watched:
        await wait_until(lambda: not api.faults["watch"])
        await watched.wait_until_equal(api)
        assert api.count_requests("list") == 1
        assert ReflectorPhase.RETRYING not in watched.phases


async def test_bookmarks_move_the_version_and_their_nulls_do_no_harm(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api)
    api.version = 900

    async def marks(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, encode_bookmark(900))

    api.faults["watch"] = [marks]
    api.objects["uid-pod-0"]["metadata"]["resourceVersion"] = "101"
    async with run_reflector(connection) as watched:
        await wait_until(lambda: api.count_requests("watch") == 2)
        assert api.requests[-1].query["resourceVersion"] == "900"
        assert api.requests[-1].query["allowWatchBookmarks"] == "true"
        assert watched.reflector.problem_count == 0


async def test_410_in_the_stream_lists_again_and_reports_only_the_difference(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api)

    async def ends(request: web.Request) -> web.StreamResponse:
        await api.put(make_pod("pod-0", "Failed"))
        await api.delete("pod-1")
        await api.put(make_pod("new"))
        api.compact()
        return await stream_chunks(request)

    api.faults["watch"] = [ends]
    async with run_reflector(connection) as watched:
        await wait_until(lambda: watched.replica.syncs == 2)
        await watched.wait_until_equal(api)
        after = watched.replica.types[watched.replica.types.index("SYNC") + 1 :]
        assert sorted(after) == ["ADDED", "DELETED", "MODIFIED", "SYNC"]
        assert ReflectorPhase.RETRYING not in watched.phases, "an ordinary relist is no failure"


async def test_bad_objects_hide_no_others_and_are_shown_as_far_as_readable(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api, 2)
    odd = make_pod("odd")
    odd["spec"] = {"containers": None, "nodeName": 7}
    odd["status"] = {"phase": "Running", "conditions": "none"}
    await api.put(odd)

    async def with_null(_: web.Request) -> web.StreamResponse:
        items: list[Any] = [None, *api.objects.values(), 5, {"metadata": {}}]
        meta = {"resourceVersion": str(api.version)}
        return web.json_response({"metadata": meta, "items": items})

    async def odd_events(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(
            request,
            encode_event("MODIFIED", None),
            encode_event("DELETED", 3),
            encode_event("SURPRISE", {}),
            encode_event("BOOKMARK", {"metadata": {"resourceVersion": 5, "annotations": 3}}),
            end=False,
        )

    api.faults = {"list": [with_null], "watch": [odd_events], "other": []}
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        record = watched.reflector.records["uid-odd"]
        assert record.status.phase == "Running"
        assert record.spec.node_name == "7"
        await wait_until(lambda: watched.reflector.problem_count >= 7)
        assert len(watched.reflector.records) == 3


async def test_what_is_sent_twice_is_reported_once(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api)

    async def again(request: web.Request) -> web.StreamResponse:
        known = [encode_event("ADDED", obj) for obj in api.objects.values()]
        await api.put(make_pod("last"))
        last = encode_event("ADDED", api.objects["uid-last"])
        return await stream_chunks(
            request, *known, encode_bookmark(api.version - 1), last, end=False
        )

    api.faults["watch"] = [again]
    async with run_reflector(connection) as watched:
        await wait_until(lambda: "uid-last" in watched.reflector.records)
        assert watched.replica.types == ["ADDED"] * 3 + ["SYNC"] + ["ADDED"]


async def test_null_items_are_an_empty_list(api: FakeApiServer, connection: Connection) -> None:
    async def nothing(_: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"resourceVersion": "100"}, "items": None})

    api.faults["list"] = [nothing]
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)


async def test_text_of_the_cluster_is_harmless(api: FakeApiServer, connection: Connection) -> None:
    await api.put(make_pod("evil", "\x1b]52;c;aGk=\x07Running\u202e\x9b31m"))
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        assert watched.reflector.records["uid-evil"].status.phase == "Running"


async def test_later_lists_are_streamed_where_the_server_can(
    api: FakeApiServer, connection: Connection
) -> None:
    api.minor_version = 36
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        await watched.wait_until_watching(api)
        await api.put(make_pod("new"))
        await watched.wait_until_equal(api)
        api.faults["watch"] = [respond_expired_watch]
        await api.reset_watches()
        await wait_until(lambda: watched.replica.syncs == 2)
        await watched.wait_until_equal(api)
        await api.delete("pod-0")  # the same watch continues
        await watched.wait_until_equal(api)
        assert [r for r in api.requests if "sendInitialEvents" in r.query]


async def respond_expired_watch(request: web.Request) -> web.StreamResponse:
    return await stream_chunks(request, encode_event("ERROR", make_status(410, "Expired")))


async def respond_unfinished_list(request: web.Request) -> web.StreamResponse:
    return await stream_chunks(request, encode_event("ADDED", make_pod("half")))


async def respond_old_etcd(request: web.Request) -> web.StreamResponse:
    message = "required storage feature RequestWatchProgress is disabled"
    return await stream_chunks(request, encode_event("ERROR", make_status(500, "", message)))


@pytest.mark.parametrize(
    "rejection",
    [
        respond_with_status(422, "Invalid"),
        respond_with_status(400, "BadRequest"),
        respond_unfinished_list,
        respond_old_etcd,
    ],
)
async def test_rejected_list_stream_falls_back_to_pages_for_good(
    api: FakeApiServer, connection: Connection, rejection: FaultHandler
) -> None:
    api.minor_version = 36
    await add_pods(api)
    api.faults["watch"] = [respond_expired_watch, rejection]
    async with run_reflector(connection) as watched:
        await wait_until(lambda: watched.replica.syncs == 2)
        await watched.wait_until_equal(api)
        assert api.count_requests("list") >= 2
        assert connection.supports_watch_list is False
        assert "uid-half" not in watched.reflector.records


async def test_events_are_watched_without_bookmarks_and_bounded(
    api: FakeApiServer, connection: Connection
) -> None:
    api.path = EVENTS.list_path(None)

    def warning(name: str, kind: str = "Pod") -> dict[str, Any]:
        return {**make_pod(name), "involvedObject": {"kind": kind}, "type": "Warning"}

    kind = replace(EVENTS, max_records=5)
    for index in range(4):
        await api.put(warning(f"e{index}"))
    await api.put(warning("other", "Node"))
    async with run_reflector(connection, kind) as watched:
        await wait_until(lambda: len(watched.reflector.records) == 4)
        assert "uid-other" not in watched.reflector.records
        await api.put(warning("e0"))
        for index in range(4, 8):
            await api.put(warning(f"e{index}"))
        await wait_until(lambda: "uid-e7" in watched.reflector.records)
        kept = [f"uid-e{index}" for index in (0, 4, 5, 6, 7)]
        assert list(watched.reflector.records) == kept, "the longest unchanged go first"
        assert watched.replica.records == watched.reflector.records
        await wait_until(lambda: api.count_requests("watch") >= 2)
        assert ReflectorPhase.RETRYING not in watched.phases, (
            "its end is the heartbeat, not a failure"
        )
        assert api.requests[0].query["fieldSelector"] == "type=Warning"


async def test_listener_that_fails_on_one_object_gets_the_others(
    api: FakeApiServer, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await add_pods(api)
    received: list[str] = []

    def listener(change: RecordChange) -> None:
        if change.record is not None:
            received.append(change.record.metadata.name)
            if len(received) == 1:
                raise ValueError("no")

    reflector = Reflector(connection, PODS, None, listener, lambda _: None, config=FAST_CONFIG)
    task = asyncio.create_task(reflector.run())
    await wait_until(lambda: len(received) == 3)
    task.cancel()
    assert "callback" in caplog.text


async def test_a_listener_of_the_state_that_fails_ends_no_reflector(
    api: FakeApiServer, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    def listener(_: Reflector) -> None:
        raise ValueError("no")

    await add_pods(api)
    api.faults["list"] = [respond_with_status(500)]
    reflector = Reflector(connection, PODS, None, lambda _: None, listener, config=FAST_CONFIG)
    task = asyncio.create_task(reflector.run())
    await wait_until(lambda: len(reflector.records) == 3 or task.done())
    assert not task.done()
    task.cancel()
    assert "callback" in caplog.text


async def test_changes_wait_while_something_else_comes_first(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debounce, "MAX_HOLD_SECONDS", 3600.0)
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        asked: list[str] = []
        is_held = True

        def hold() -> bool:
            asked.append("held")
            return is_held

        connection.is_held = hold
        await api.put(make_pod("new"))
        await wait_until(lambda: asked)
        assert "uid-new" not in watched.reflector.records
        is_held = False
        await watched.wait_until_equal(api)


async def test_changes_are_not_held_for_long(api: FakeApiServer, connection: Connection) -> None:
    connection.is_held = lambda: True
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        await api.put(make_pod("new"))
        await watched.wait_until_equal(api)
