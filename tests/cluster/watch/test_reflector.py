from __future__ import annotations

import asyncio
import gc
import json
import random
import socket
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.kinds import EVENTS, HTTPROUTES, PODS, ResourceKind
from servedeck.cluster.watch.reflector import (
    RecordChange,
    Reflector,
    ReflectorConfig,
    ReflectorPhase,
)
from tests.cluster.fake_api_server import (
    FakeApiServer,
    FaultHandler,
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
from tests.waiting import TimeSkipper, wait_until

FAST_CONFIG = ReflectorConfig(
    page_size=4,
    watch_read_timeout=3600.0,
    watch_duration=(3600.0, 3600.0),
    watch_duration_without_bookmarks=(1.0, 1.0),
    list_read_timeout=3600.0,
    retry_delay=(0.01, 0.1),
    relist_delay=(0.0, 0.01),
    unavailable_delay=(0.05, 0.1),
    unauthorized_delay=(0.05, 0.1),
    min_watch_duration=0.0,
)
"""Short delays between attempts. Limits that a busy machine could exceed are long or off: no
connection counts as dead, and no watch as too short."""
SKIPPED_READ_TIMEOUT = 900.0
"""A read timeout that a test skips."""
LONG_MIN_WATCH_DURATION = 3600.0
"""A watch that ends sooner, as all do here, counts as too short."""


class StateSnapshot(NamedTuple):
    """The reported state of a reflector at one time."""

    phase: ReflectorPhase
    error: str
    record_count: int
    """Number of objects in the store."""


class ChangeReplica:
    """A replica built from the changes alone; each change must be consistent with those before
    it."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}
        self.syncs = 0
        self.types: list[str] = []

    def __call__(self, change: RecordChange) -> None:
        self.types.append(change.type)
        if change.type == "SYNC":
            self.syncs += 1
            return
        uid = change.record.metadata.uid
        if change.type == "DELETED":
            del self.records[uid]
        else:
            assert (change.type == "ADDED") == (uid not in self.records)
            self.records[uid] = change.record


class RunningReflector:
    def __init__(
        self, reflector: Reflector, mirror: ChangeReplica, states: list[StateSnapshot]
    ) -> None:
        self.reflector = reflector
        self.replica = mirror
        self.states = states

    @property
    def phases(self) -> list[ReflectorPhase]:
        """All phases so far, in order."""
        return [state.phase for state in self.states]

    async def wait_until_equal(self, api: FakeApiServer) -> None:
        """Wait until the phase is LIVE and the store, the replica and the server are equal."""
        await wait_until(
            lambda: (
                self.reflector.phase is ReflectorPhase.LIVE
                and resource_versions(self.reflector.records) == api.resource_versions
            ),
            f"{self.reflector.phase} {self.reflector.error}"
            f" {resource_versions(self.reflector.records)} == {api.resource_versions}",
        )
        assert self.replica.records == self.reflector.records

    async def wait_until_watching(self, api: FakeApiServer) -> None:
        """Wait until a watch is open on client and server."""
        await wait_until(lambda: self.reflector._watch_open and api.open_watches, "a watch")

    async def wait_for_phase(self, phase: ReflectorPhase) -> StateSnapshot:
        """The first state in that phase, past or future: the phase may be over when this
        returns."""
        await wait_until(
            lambda: phase in self.phases, f"phase {phase}", describe_state=lambda: self.states
        )
        return self.states[self.phases.index(phase)]


def resource_versions(records: dict[str, Any]) -> dict[str, str]:
    return {uid: record.metadata.resource_version for uid, record in records.items()}


@asynccontextmanager
async def run_reflector(
    connection: Connection,
    kind: ResourceKind = PODS,
    timings: ReflectorConfig = FAST_CONFIG,
    namespace: str | None = None,
) -> AsyncIterator[RunningReflector]:
    mirror, states = ChangeReplica(), list[StateSnapshot]()
    reflector = Reflector(
        connection,
        kind,
        namespace,
        mirror,
        lambda r: states.append(StateSnapshot(r.phase, r.error, len(r.records))),
        config=timings,
        rng=random.Random(1),
    )
    task = asyncio.create_task(reflector.run())
    try:
        yield RunningReflector(reflector, mirror, states)
        assert not task.done(), "a reflector ended by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def add_pods(api: FakeApiServer, count: int = 3) -> None:
    for index in range(count):
        await api.put(make_pod(f"pod-{index}"))


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


async def test_410_in_the_stream_lists_anew_and_tells_only_the_difference(
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


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays of reflectors between attempts in seconds; none of them is actually waited for."""
    seconds: list[float] = []

    async def pause(_: Reflector, wait: float) -> None:
        seconds.append(wait)
        await asyncio.sleep(0)

    monkeypatch.setattr(Reflector, "_wait_before_retry", pause)
    return seconds


def assert_exponential(pauses: list[float], first: float) -> None:
    """The base delay doubles each time; the delay is between it and twice as much (jitter)."""
    for number, seconds in enumerate(pauses):
        least = min(30.0, first * 2**number)
        assert least <= seconds <= 2 * least, pauses


async def test_server_that_always_says_410_is_not_hammered(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    async def expired(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, encode_event("ERROR", make_status(410, "Expired")))

    api.faults["watch"] = [expired] * 500
    async with run_reflector(
        connection, timings=replace(FAST_CONFIG, retry_delay=(0.1, 30.0))
    ) as watched:
        await wait_until(lambda: len(pauses) > 6)
        assert pauses[0] <= 0.01, "lists anew at once, the first time"
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


async def test_silence_is_noticed(
    api: FakeApiServer, connection: Connection, skip: TimeSkipper
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
            skip(SKIPPED_READ_TIMEOUT + 1)
        assert "nothing for" in (await watched.wait_for_phase(ReflectorPhase.RETRYING)).error
        await watched.wait_until_equal(api)
        assert "uid-unseen" in watched.reflector.records
        assert watched.replica.syncs == 2, "the second silence in a row lists anew"


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


async def test_watch_from_the_future_is_silent_and_found_out(
    api: FakeApiServer, connection: Connection, skip: TimeSkipper
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
        skip(SKIPPED_READ_TIMEOUT + 1)
        await wait_until(lambda: "uid-restored" in watched.reflector.records)
        await wait_until(lambda: len(watched.reflector.records) == 1)


@pytest.mark.parametrize("where", ["list", "watch"])
async def test_401_then_fine(api: FakeApiServer, connection: Connection, where: str) -> None:
    await add_pods(api)
    api.faults[where] = [respond_with_status(401, "Unauthorized")]
    async with run_reflector(connection) as watched:
        await watched.wait_for_phase(ReflectorPhase.UNAUTHORIZED)
        await watched.wait_until_equal(api)


@pytest.mark.parametrize(("where", "verb"), [("list", "list"), ("watch", "watch")])
async def test_403_names_verb_and_resource(
    api: FakeApiServer, connection: Connection, where: str, verb: str
) -> None:
    await add_pods(api)
    api.faults[where] = [respond_with_status(403, "Forbidden")] * 4
    async with run_reflector(connection) as watched:
        state = await watched.wait_for_phase(ReflectorPhase.FORBIDDEN)
        assert state.error == (
            f"Cannot {verb} pods in all namespaces: needs list and watch on pods."
        )
        assert state.record_count == (0 if verb == "list" else 3), (
            "data stays where it may be listed"
        )
        await wait_until(lambda: not api.faults[where])
        await watched.wait_until_equal(api)


async def test_rights_that_are_taken_away_take_the_data_along(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        await watched.wait_until_watching(api)
        api.faults = {
            "list": [respond_with_status(403, "Forbidden")] * 100_000,
            "watch": [respond_with_status(403, "Forbidden")] * 100_000,
            "other": [],
        }
        await api.reset_watches()
        await wait_until(lambda: not watched.reflector.records)
        assert watched.replica.records == {}
        assert watched.reflector.phase is ReflectorPhase.FORBIDDEN
        assert "list" in watched.reflector.error


async def test_forbidden_names_the_one_namespace(connection: Connection) -> None:
    async with run_reflector(connection, namespace="team-a") as watched:
        watched.reflector.connection = connection
        await wait_until(lambda: watched.reflector.phase is not ReflectorPhase.CONNECTING)
        sentence = watched.reflector._missing_permission("watch")
    assert sentence == "Cannot watch pods in namespace team-a: needs list and watch on pods."


async def test_missing_kind_is_probed_and_older_versions_tried(
    connection: Connection, api: FakeApiServer
) -> None:
    api.path = HTTPROUTES.list_path(None, "v1beta1")
    fault = respond_with_status(404, "NotFound", "the server could not find the requested resource")
    api.faults["list"] = [fault, fault]
    await api.put(make_pod("route"))
    async with run_reflector(connection, HTTPROUTES) as watched:
        assert (await watched.wait_for_phase(ReflectorPhase.MISSING)).error == (
            "The cluster has no httproutes.gateway.networking.k8s.io."
        )
        await watched.wait_until_equal(api)
        assert api.requests[-1].path == api.path
        assert api.requests[0].path == HTTPROUTES.list_path(None)


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


async def test_429_waits_as_long_as_it_is_told(
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
        assert watched.replica.syncs == 1, "an error of the server is no reason to list anew"


async def test_web_page_in_place_of_a_list_says_so(
    api: FakeApiServer, connection: Connection
) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Log in</html>", content_type="text/html")

    api.faults["list"] = [page]
    async with run_reflector(connection) as watched:
        assert "login page" in (await watched.wait_for_phase(ReflectorPhase.RETRYING)).error
        await watched.wait_until_equal(api)


async def test_malformed_event_lists_anew(api: FakeApiServer, connection: Connection) -> None:
    await add_pods(api)

    async def broken(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, b'{"type": "ADDED", "object": {"metadata"\n', end=False)

    api.faults["watch"] = [broken]
    async with run_reflector(connection) as watched:
        await wait_until(lambda: watched.replica.syncs == 2)
        await watched.wait_until_equal(api)


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


async def test_what_is_sent_twice_is_told_once(api: FakeApiServer, connection: Connection) -> None:
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
    "refusal",
    [
        respond_with_status(422, "Invalid"),
        respond_with_status(400, "BadRequest"),
        respond_unfinished_list,
        respond_old_etcd,
    ],
)
async def test_refused_list_stream_falls_back_to_pages_for_good(
    api: FakeApiServer, connection: Connection, refusal: FaultHandler
) -> None:
    api.minor_version = 36
    await add_pods(api)
    api.faults["watch"] = [respond_expired_watch, refusal]
    async with run_reflector(connection) as watched:
        await wait_until(lambda: watched.replica.syncs == 2)
        await watched.wait_until_equal(api)
        assert api.count_requests("list") >= 2
        assert connection.supports_watch_list is False
        assert "uid-half" not in watched.reflector.records


async def test_watches_that_end_at_once_are_not_hammered(
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


async def test_a_watch_that_is_short_but_told_something_is_followed_after_a_pause(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    async def ends(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, encode_bookmark(api.version))

    api.faults["watch"] = [ends]
    async with run_reflector(
        connection, timings=replace(FAST_CONFIG, min_watch_duration=LONG_MIN_WATCH_DURATION)
    ) as watched:
        await wait_until(lambda: api.count_requests("watch") == 2)
        assert ReflectorPhase.RETRYING not in watched.phases
        assert len(pauses) == 1 and 0 < pauses[0] <= LONG_MIN_WATCH_DURATION


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
    heard: list[str] = []

    def listener(change: RecordChange) -> None:
        if change.record is not None:
            heard.append(change.record.metadata.name)
            if len(heard) == 1:
                raise ValueError("no")

    reflector = Reflector(connection, PODS, None, listener, lambda _: None, config=FAST_CONFIG)
    task = asyncio.create_task(reflector.run())
    await wait_until(lambda: len(heard) == 3)
    task.cancel()
    assert "was not taken" in caplog.text


@pytest.mark.parametrize("details", MALFORMED_DETAILS)
@pytest.mark.parametrize("where", ["list", "watch", "event"])
async def test_a_status_with_odd_details_ends_no_reflector(
    api: FakeApiServer, connection: Connection, where: str, details: Any
) -> None:
    said = {**make_status(422, "Invalid", "odd"), "details": details}

    async def refuse(request: web.Request) -> web.StreamResponse:
        if where == "event":
            return await stream_chunks(request, encode_event("ERROR", said))
        return web.json_response(said, status=422)

    await add_pods(api)
    api.faults["list" if where == "list" else "watch"] = [refuse]
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
    assert "was not taken" in caplog.text


async def test_big_list_leaves_turns_to_others(api: FakeApiServer, connection: Connection) -> None:
    padding = {f"f:{index}": {"k:{}": "v" * 60} for index in range(80)}
    for index in range(1000):
        obj = make_pod(f"pod-{index}")
        obj["metadata"]["managedFields"] = [{"fieldsV1": padding}]
        await api.put(obj)
    # built in advance: the server runs on the same loop, and its work must not be measured
    items = list(api.objects.values())
    pages = [
        json.dumps(
            {
                "metadata": {"resourceVersion": str(api.version), "continue": "500" * (not half)},
                "items": items[half * 500 : half * 500 + 500],
            }
        ).encode()
        for half in (0, 1)
    ]
    assert len(pages[0]) > 3_000_000

    taken = 0

    def slow(_: object) -> bool:
        nonlocal taken
        taken += 1
        time.sleep(0.001)  # a page without yielding would take half a second
        return True

    def prepared(body: bytes) -> FaultHandler:
        async def fault(_: web.Request) -> web.StreamResponse:
            return web.Response(body=body, content_type="application/json")

        return fault

    api.faults["list"] = [prepared(page) for page in pages]
    most, ended = 0, False

    async def pulse() -> None:
        nonlocal most
        while not ended:
            before = taken
            await asyncio.sleep(0)
            most = max(most, taken - before)

    gc.collect()
    async with run_reflector(
        connection, replace(PODS, record_filter=slow), ReflectorConfig()
    ) as watched:
        task = asyncio.create_task(pulse())
        await wait_until(lambda: len(watched.reflector.records) == 1000)
        ended = True
        await task
    # Counted in objects, which other load on the machine does not increase: the target is 7 ms'
    # worth.
    assert 0 < most < 50


async def test_memory_stays_level_over_100_000_events(
    api: FakeApiServer, connection: Connection
) -> None:
    number, rounds = 500, 200
    await add_pods(api, number)
    tail = b"".join(
        encode_event("MODIFIED", {**make_pod(f"pod-{index}"), "pad": "x" * 300}).replace(
            b'"uid"', b'"resourceVersion": "@", "uid"'
        )
        for index in range(number)
    )
    goes: list[asyncio.Event] = [asyncio.Event(), asyncio.Event()]

    async def storm(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for turn in range(rounds):
            if turn == rounds // 4:
                await goes[0].wait()
            await response.write(tail.replace(b"@", str(1000 + turn).encode()))
        await goes[1].wait()
        return response

    api.faults["watch"] = [storm]
    timings = ReflectorConfig(page_size=500)
    count = 0

    def counted(_: RecordChange) -> None:
        nonlocal count
        count += 1

    reflector = Reflector(connection, PODS, None, counted, lambda _: None, config=timings)
    task = asyncio.create_task(reflector.run())
    tracemalloc.start()
    try:
        await wait_until(lambda: count > number * rounds // 4)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        goes[0].set()
        await wait_until(lambda: count == number * (rounds + 1) + 1)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        goes[1].set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(reflector.records) == number
    assert after - before < 512_000, f"{before} -> {after}"
