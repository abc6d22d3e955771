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
from servedeck.cluster.watch.kinds import EVENTS, HTTPROUTES, PODS, Kind
from servedeck.cluster.watch.reflector import Change, Phase, Reflector, Timings
from tests.cluster.api import (
    Api,
    Fault,
    answers,
    bookmark,
    bound,
    connect,
    event,
    kubeconfig,
    pod,
    serving,
    status,
    streamed,
)
from tests.cluster.http.test_errors import ODD_DETAILS
from tests.waiting import Skip, until

FAST = Timings(
    page=4,
    quiet=3600.0,
    watch=(3600.0, 3600.0),
    unmarked_watch=(1.0, 1.0),
    list_silence=3600.0,
    retry=(0.01, 0.1),
    relist=(0.0, 0.01),
    probe=(0.05, 0.1),
    unauthorized=(0.05, 0.1),
    short=0.0,
)
"""Short waits between attempts. What a busy machine could exceed is long or off: no connection
counts as dead, and no watch as ended too soon."""
QUIET = 900.0
"""A silence that a test skips."""
SHORT = 3600.0
"""A watch that ends sooner, as all do, ends as soon as it began."""


class State(NamedTuple):
    """What a reflector said of itself at one moment."""

    phase: Phase
    error: str
    held: int
    """Objects in the store."""


class Mirror:
    """What somebody knows who only heard the changes; they must make sense one by one."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}
        self.syncs = 0
        self.types: list[str] = []

    def __call__(self, change: Change) -> None:
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


class Watched:
    def __init__(self, reflector: Reflector, mirror: Mirror, states: list[State]) -> None:
        self.reflector = reflector
        self.mirror = mirror
        self.states = states

    @property
    def phases(self) -> list[Phase]:
        """All that there were so far, in order."""
        return [state.phase for state in self.states]

    async def equals(self, api: Api) -> None:
        """Wait until store, changes and server say the same, live."""
        await until(
            lambda: (
                self.reflector.phase is Phase.LIVE
                and versions(self.reflector.store) == api.versions
            ),
            f"{self.reflector.phase} {self.reflector.error}"
            f" {versions(self.reflector.store)} == {api.versions}",
        )
        assert self.mirror.records == self.reflector.store

    async def watches(self, api: Api) -> None:
        """Wait until a watch is open, on both sides."""
        await until(lambda: self.reflector._opened and api.watching, "a watch")

    async def reaches(self, phase: Phase) -> State:
        """The first state of that phase, past or to come: it may be over when this returns."""
        await until(lambda: phase in self.phases, f"phase {phase}", sign=lambda: self.states)
        return self.states[self.phases.index(phase)]


def versions(store: dict[str, Any]) -> dict[str, str]:
    return {uid: record.metadata.resource_version for uid, record in store.items()}


@asynccontextmanager
async def watching(
    connection: Connection,
    kind: Kind = PODS,
    timings: Timings = FAST,
    namespace: str | None = None,
) -> AsyncIterator[Watched]:
    mirror, states = Mirror(), list[State]()
    reflector = Reflector(
        connection,
        kind,
        namespace,
        mirror,
        lambda r: states.append(State(r.phase, r.error, len(r.store))),
        timings=timings,
        chance=random.Random(1),
    )
    task = asyncio.create_task(reflector.run())
    try:
        yield Watched(reflector, mirror, states)
        assert not task.done(), "a reflector ended by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def filled(api: Api, number: int = 3) -> None:
    for index in range(number):
        await api.put(pod(f"pod-{index}"))


async def test_follows_what_the_server_holds(api: Api, connection: Connection) -> None:
    await filled(api)
    async with watching(connection) as watched:
        await watched.equals(api)
        await api.put(pod("new"))
        await api.put(pod("pod-1", "Failed"))
        await api.delete("pod-0")
        await watched.equals(api)
        assert watched.reflector.store["uid-pod-1"].status.phase == "Failed"
        assert watched.mirror.syncs == 1
        assert api.count("list") == 1


async def test_pages_the_first_list_and_counts(api: Api, connection: Connection) -> None:
    await filled(api, 10)
    seen: list[tuple[int, int | None]] = []
    reflector = Reflector(
        connection,
        PODS,
        None,
        lambda _: None,
        lambda r: seen.append((r.loaded, r.remaining)),
        timings=FAST,
    )
    task = asyncio.create_task(reflector.run())
    await until(lambda: reflector.phase is Phase.LIVE)
    task.cancel()
    assert [pair for pair in seen if pair[0]][:3] == [(4, 6), (8, 2), (10, 0)]
    assert [request.query["limit"] for request in api.requests[:3]] == ["4", "4", "4"]
    assert "resourceVersion" not in api.requests[0].query


async def test_expired_page_is_followed_by_one_full_list(api: Api, connection: Connection) -> None:
    await filled(api, 10)

    async def expired(request: web.Request) -> web.StreamResponse | None:
        return await answers(410, "Expired")(request)

    async def fine(_: web.Request) -> None:
        await api.delete("pod-1")  # and the first page is not true any more

    api.faults["list"] = [fine, expired]
    async with watching(connection) as watched:
        await watched.equals(api)
        assert "limit" not in api.requests[2].query
        assert "continue" not in api.requests[2].query


async def test_resumes_after_the_server_ends_a_watch(api: Api, connection: Connection) -> None:
    await filled(api)

    async def ends(request: web.Request) -> web.StreamResponse:
        await api.put(pod("while-away"))
        return await streamed(request)

    api.faults["watch"] = [ends, ends]
    async with watching(connection) as watched:
        await until(lambda: not api.faults["watch"])
        await watched.equals(api)
        assert api.count("list") == 1
        assert Phase.RETRYING not in watched.phases


async def test_bookmarks_move_the_version_and_their_nulls_do_no_harm(
    api: Api, connection: Connection
) -> None:
    await filled(api)
    api.version = 900

    async def marks(request: web.Request) -> web.StreamResponse:
        return await streamed(request, bookmark(900))

    api.faults["watch"] = [marks]
    api.objects["uid-pod-0"]["metadata"]["resourceVersion"] = "101"
    async with watching(connection) as watched:
        await until(lambda: api.count("watch") == 2)
        assert api.requests[-1].query["resourceVersion"] == "900"
        assert api.requests[-1].query["allowWatchBookmarks"] == "true"
        assert watched.reflector.bad == 0


async def test_410_in_the_stream_lists_anew_and_tells_only_the_difference(
    api: Api, connection: Connection
) -> None:
    await filled(api)

    async def ends(request: web.Request) -> web.StreamResponse:
        await api.put(pod("pod-0", "Failed"))
        await api.delete("pod-1")
        await api.put(pod("new"))
        api.compact()
        return await streamed(request)

    api.faults["watch"] = [ends]
    async with watching(connection) as watched:
        await until(lambda: watched.mirror.syncs == 2)
        await watched.equals(api)
        after = watched.mirror.types[watched.mirror.types.index("SYNC") + 1 :]
        assert sorted(after) == ["ADDED", "DELETED", "MODIFIED", "SYNC"]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that reflectors wait between attempts, which pass at once."""
    seconds: list[float] = []

    async def pause(_: Reflector, wait: float) -> None:
        seconds.append(wait)
        await asyncio.sleep(0)

    monkeypatch.setattr(Reflector, "_pause", pause)
    return seconds


def assert_doubled(pauses: list[float], first: float) -> None:
    """Each wait is twice the one before, and up to as much again."""
    for number, seconds in enumerate(pauses):
        least = min(30.0, first * 2**number)
        assert least <= seconds <= 2 * least, pauses


async def test_server_that_always_says_410_is_not_hammered(
    api: Api, connection: Connection, pauses: list[float]
) -> None:
    async def expired(request: web.Request) -> web.StreamResponse:
        return await streamed(request, event("ERROR", status(410, "Expired")))

    api.faults["watch"] = [expired] * 500
    async with watching(connection, timings=replace(FAST, retry=(0.1, 30.0))) as watched:
        await until(lambda: len(pauses) > 6)
        assert pauses[0] <= 0.01, "lists anew at once, the first time"
        assert_doubled(pauses[1:], 0.1)
        assert api.count("watch") <= len(pauses) + 1
        assert Phase.RETRYING in watched.phases


async def test_a_watch_that_is_cut_off_goes_on(api: Api, connection: Connection) -> None:
    await filled(api)
    async with watching(connection) as watched:
        await watched.equals(api)
        await watched.watches(api)
        await api.hang_up()
        await watched.reaches(Phase.RETRYING)
        assert len(watched.reflector.store) == 3, "what is known stays while the server is away"
        await api.put(pod("meanwhile"))
        await watched.equals(api)
        probe = [r for r in api.requests if r.query.get("resourceVersionMatch") == "NotOlderThan"]
        assert len(probe) == 1
        assert watched.mirror.syncs == 1


async def test_half_event_at_the_cut_is_not_taken_for_an_event(
    api: Api, connection: Connection
) -> None:
    await filled(api)

    async def cut(request: web.Request) -> web.StreamResponse:
        return await streamed(request, event("ADDED", pod("ghost"))[:-20])

    api.faults["watch"] = [cut]
    async with watching(connection) as watched:
        await until(lambda: api.count("watch") >= 2)
        await watched.equals(api)


async def test_silence_is_noticed(api: Api, connection: Connection, skip: Skip) -> None:
    await filled(api)

    async def silent(request: web.Request) -> web.StreamResponse:
        return await streamed(request, end=False)

    async def silent_and_behind(request: web.Request) -> web.StreamResponse:
        await api.put(pod("unseen"))
        return await streamed(request, end=False)

    api.faults["watch"] = [silent_and_behind, silent]
    async with watching(connection, timings=replace(FAST, quiet=QUIET)) as watched:
        for number in (1, 2):
            await until(lambda n=number: watched.reflector.watches == n)
            await until(lambda: watched.reflector._opened)
            skip(QUIET + 1)
        assert "nothing for" in (await watched.reaches(Phase.RETRYING)).error
        await watched.equals(api)
        assert "uid-unseen" in watched.reflector.store
        assert watched.mirror.syncs == 2, "the second silence in a row lists anew"


async def test_cluster_restored_from_a_backup(api: Api, connection: Connection) -> None:
    await filled(api)
    async with watching(connection) as watched:
        await watched.equals(api)
        await watched.watches(api)
        api.version, api.objects = 5, {}
        api.history.clear()
        await api.put(pod("restored"))
        await api.hang_up()
        await watched.equals(api)
        assert watched.mirror.syncs == 2


async def test_watch_from_the_future_is_silent_and_found_out(
    api: Api, connection: Connection, skip: Skip
) -> None:
    await filled(api)

    async def goes_back(request: web.Request) -> web.StreamResponse:
        api.version, api.objects = 5, {}
        api.history.clear()
        await api.put(pod("restored"))
        return await streamed(request)  # a clean end, so nothing is in doubt

    api.faults["watch"] = [goes_back]
    async with watching(connection, timings=replace(FAST, quiet=QUIET)) as watched:
        await until(lambda: watched.reflector.watches == 2 and watched.reflector._opened)
        skip(QUIET + 1)
        await until(lambda: "uid-restored" in watched.reflector.store)
        await until(lambda: len(watched.reflector.store) == 1)


@pytest.mark.parametrize("where", ["list", "watch"])
async def test_401_then_fine(api: Api, connection: Connection, where: str) -> None:
    await filled(api)
    api.faults[where] = [answers(401, "Unauthorized")]
    async with watching(connection) as watched:
        await watched.reaches(Phase.UNAUTHORIZED)
        await watched.equals(api)


@pytest.mark.parametrize(("where", "verb"), [("list", "list"), ("watch", "watch")])
async def test_403_names_verb_and_resource(
    api: Api, connection: Connection, where: str, verb: str
) -> None:
    await filled(api)
    api.faults[where] = [answers(403, "Forbidden")] * 4
    async with watching(connection) as watched:
        state = await watched.reaches(Phase.FORBIDDEN)
        assert state.error == (
            f"Cannot {verb} pods in all namespaces: needs list and watch on pods."
        )
        assert state.held == (0 if verb == "list" else 3), "data stays where it may be listed"
        await until(lambda: not api.faults[where])
        await watched.equals(api)


async def test_rights_that_are_taken_away_take_the_data_along(
    api: Api, connection: Connection
) -> None:
    await filled(api)
    async with watching(connection) as watched:
        await watched.equals(api)
        await watched.watches(api)
        api.faults = {
            "list": [answers(403, "Forbidden")] * 100_000,
            "watch": [answers(403, "Forbidden")] * 100_000,
            "other": [],
        }
        await api.hang_up()
        await until(lambda: not watched.reflector.store)
        assert watched.mirror.records == {}
        assert watched.reflector.phase is Phase.FORBIDDEN
        assert "list" in watched.reflector.error


async def test_forbidden_names_the_one_namespace(connection: Connection) -> None:
    async with watching(connection, namespace="team-a") as watched:
        watched.reflector.connection = connection
        await until(lambda: watched.reflector.phase is not Phase.CONNECTING)
        sentence = watched.reflector._lacking("watch")
    assert sentence == "Cannot watch pods in namespace team-a: needs list and watch on pods."


async def test_missing_kind_is_probed_and_older_versions_tried(
    connection: Connection, api: Api
) -> None:
    api.path = HTTPROUTES.path(None, "v1beta1")
    fault = answers(404, "NotFound", "the server could not find the requested resource")
    api.faults["list"] = [fault, fault]
    await api.put(pod("route"))
    async with watching(connection, HTTPROUTES) as watched:
        assert (await watched.reaches(Phase.MISSING)).error == (
            "The cluster has no httproutes.gateway.networking.k8s.io."
        )
        await watched.equals(api)
        assert api.requests[-1].path == api.path
        assert api.requests[0].path == HTTPROUTES.path(None)


@pytest.mark.parametrize("in_order", [True, False])
async def test_what_a_server_sent_before_it_closed_in_order_is_known_until_then(
    api: Api, connection: Connection, *, in_order: bool
) -> None:
    await filled(api)
    async with watching(connection) as watched:
        await watched.watches(api)
        before = watched.reflector.last_news
        api.faults["watch"] = [answers(500)] * 100_000
        api.faults["list"] = [answers(500)] * 100_000
        closing = time.monotonic()
        for response in list(api.watching):
            assert response._req is not None and response._req.transport is not None
            transport = response._req.transport
            if in_order:
                transport.close()
            else:  # as a machine that has started anew answers: with a reset
                linger = struct.pack("ii", 1, 0)
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                transport.abort()
        await watched.reaches(Phase.RETRYING)
        assert watched.reflector.last_news == before or in_order
        assert watched.reflector.last_news >= closing or not in_order


async def test_429_waits_as_long_as_it_is_told(
    api: Api, connection: Connection, pauses: list[float]
) -> None:
    await filled(api)
    api.faults["list"] = [answers(429, "TooManyRequests", Retry_After="17")]
    async with watching(connection) as watched:
        assert "busy" in (await watched.reaches(Phase.RETRYING)).error
        await watched.equals(api)
    assert pauses == [17.0]


@pytest.mark.parametrize("code", [500, 502, 503])
async def test_server_errors_on_a_watch_keep_the_version(
    api: Api, connection: Connection, code: int
) -> None:
    await filled(api)
    api.faults["watch"] = [answers(code)] * 3
    async with watching(connection) as watched:
        await watched.reaches(Phase.RETRYING)
        await until(lambda: not api.faults["watch"])
        await watched.equals(api)
        assert watched.mirror.syncs == 1, "an error of the server is no reason to list anew"


async def test_web_page_in_place_of_a_list_says_so(api: Api, connection: Connection) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Log in</html>", content_type="text/html")

    api.faults["list"] = [page]
    async with watching(connection) as watched:
        assert "login page" in (await watched.reaches(Phase.RETRYING)).error
        await watched.equals(api)


async def test_malformed_event_lists_anew(api: Api, connection: Connection) -> None:
    await filled(api)

    async def broken(request: web.Request) -> web.StreamResponse:
        return await streamed(request, b'{"type": "ADDED", "object": {"metadata"\n', end=False)

    api.faults["watch"] = [broken]
    async with watching(connection) as watched:
        await until(lambda: watched.mirror.syncs == 2)
        await watched.equals(api)


async def test_bad_objects_hide_no_others_and_are_shown_as_far_as_readable(
    api: Api, connection: Connection
) -> None:
    await filled(api, 2)
    odd = pod("odd")
    odd["spec"] = {"containers": None, "nodeName": 7}
    odd["status"] = {"phase": "Running", "conditions": "none"}
    await api.put(odd)

    async def with_null(_: web.Request) -> web.StreamResponse:
        items: list[Any] = [None, *api.objects.values(), 5, {"metadata": {}}]
        meta = {"resourceVersion": str(api.version)}
        return web.json_response({"metadata": meta, "items": items})

    async def odd_events(request: web.Request) -> web.StreamResponse:
        return await streamed(
            request,
            event("MODIFIED", None),
            event("DELETED", 3),
            event("SURPRISE", {}),
            event("BOOKMARK", {"metadata": {"resourceVersion": 5, "annotations": 3}}),
            end=False,
        )

    api.faults = {"list": [with_null], "watch": [odd_events], "other": []}
    async with watching(connection) as watched:
        await watched.equals(api)
        record = watched.reflector.store["uid-odd"]
        assert record.status.phase == "Running"
        assert record.spec.node_name == "7"
        await until(lambda: watched.reflector.bad >= 7)
        assert len(watched.reflector.store) == 3


async def test_what_is_sent_twice_is_told_once(api: Api, connection: Connection) -> None:
    await filled(api)

    async def again(request: web.Request) -> web.StreamResponse:
        known = [event("ADDED", obj) for obj in api.objects.values()]
        await api.put(pod("last"))
        last = event("ADDED", api.objects["uid-last"])
        return await streamed(request, *known, bookmark(api.version - 1), last, end=False)

    api.faults["watch"] = [again]
    async with watching(connection) as watched:
        await until(lambda: "uid-last" in watched.reflector.store)
        assert watched.mirror.types == ["ADDED"] * 3 + ["SYNC"] + ["ADDED"]


async def test_null_items_are_an_empty_list(api: Api, connection: Connection) -> None:
    async def nothing(_: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"resourceVersion": "100"}, "items": None})

    api.faults["list"] = [nothing]
    async with watching(connection) as watched:
        await watched.equals(api)


async def test_text_of_the_cluster_is_harmless(api: Api, connection: Connection) -> None:
    await api.put(pod("evil", "\x1b]52;c;aGk=\x07Running\u202e\x9b31m"))
    async with watching(connection) as watched:
        await watched.equals(api)
        assert watched.reflector.store["uid-evil"].status.phase == "Running"


async def test_later_lists_are_streamed_where_the_server_can(
    api: Api, connection: Connection
) -> None:
    api.minor = 36
    await filled(api)
    async with watching(connection) as watched:
        await watched.equals(api)
        await watched.watches(api)
        await api.put(pod("new"))
        await watched.equals(api)
        api.faults["watch"] = [expired_watch]
        await api.hang_up()
        await until(lambda: watched.mirror.syncs == 2)
        await watched.equals(api)
        await api.delete("pod-0")  # the same watch goes on
        await watched.equals(api)
        assert [r for r in api.requests if "sendInitialEvents" in r.query]


async def expired_watch(request: web.Request) -> web.StreamResponse:
    return await streamed(request, event("ERROR", status(410, "Expired")))


async def _unfinished(request: web.Request) -> web.StreamResponse:
    return await streamed(request, event("ADDED", pod("half")))


async def _old_etcd(request: web.Request) -> web.StreamResponse:
    message = "required storage feature RequestWatchProgress is disabled"
    return await streamed(request, event("ERROR", status(500, "", message)))


@pytest.mark.parametrize(
    "refusal", [answers(422, "Invalid"), answers(400, "BadRequest"), _unfinished, _old_etcd]
)
async def test_refused_list_stream_falls_back_to_pages_for_good(
    api: Api, connection: Connection, refusal: Fault
) -> None:
    api.minor = 36
    await filled(api)
    api.faults["watch"] = [expired_watch, refusal]
    async with watching(connection) as watched:
        await until(lambda: watched.mirror.syncs == 2)
        await watched.equals(api)
        assert api.count("list") >= 2
        assert connection.streams_lists is False
        assert "uid-half" not in watched.reflector.store


async def test_watches_that_end_at_once_are_not_hammered(
    api: Api, connection: Connection, pauses: list[float]
) -> None:
    async def ends(request: web.Request) -> web.StreamResponse:
        return await streamed(request)

    api.faults["watch"] = [ends] * 500
    timings = replace(FAST, retry=(0.1, 30.0), short=SHORT)
    async with watching(connection, timings=timings) as watched:
        await until(lambda: len(pauses) > 5)
        assert_doubled(pauses, 0.1)
        assert api.count("watch") <= len(pauses) + 1
        assert "as soon as they begin" in (await watched.reaches(Phase.RETRYING)).error


async def test_a_watch_that_is_short_but_told_something_is_followed_after_a_pause(
    api: Api, connection: Connection, pauses: list[float]
) -> None:
    async def ends(request: web.Request) -> web.StreamResponse:
        return await streamed(request, bookmark(api.version))

    api.faults["watch"] = [ends]
    async with watching(connection, timings=replace(FAST, short=SHORT)) as watched:
        await until(lambda: api.count("watch") == 2)
        assert Phase.RETRYING not in watched.phases
        assert len(pauses) == 1 and 0 < pauses[0] <= SHORT


async def test_retry_now_ends_the_wait(tmp_path: Path) -> None:
    api = Api()
    held = bound()
    url = f"http://127.0.0.1:{held.getsockname()[1]}"
    connection = await connect(kubeconfig(tmp_path / "config", url))
    async with AsyncExitStack() as later:
        later.push_async_callback(connection.close)
        async with watching(connection, timings=Timings(retry=(3600.0, 3600.0))) as watched:
            assert "Nothing listens at" in (await watched.reaches(Phase.RETRYING)).error
            await later.enter_async_context(serving(api, held=held))
            watched.reflector.retry_now()
            await watched.equals(api)


async def test_events_are_watched_without_bookmarks_and_bounded(
    api: Api, connection: Connection
) -> None:
    api.path = EVENTS.path(None)

    def warning(name: str, kind: str = "Pod") -> dict[str, Any]:
        return {**pod(name), "involvedObject": {"kind": kind}, "type": "Warning"}

    kind = replace(EVENTS, most=5)
    for index in range(4):
        await api.put(warning(f"e{index}"))
    await api.put(warning("other", "Node"))
    async with watching(connection, kind) as watched:
        await until(lambda: len(watched.reflector.store) == 4)
        assert "uid-other" not in watched.reflector.store
        await api.put(warning("e0"))
        for index in range(4, 8):
            await api.put(warning(f"e{index}"))
        await until(lambda: "uid-e7" in watched.reflector.store)
        kept = [f"uid-e{index}" for index in (0, 4, 5, 6, 7)]
        assert list(watched.reflector.store) == kept, "the longest unchanged go first"
        assert watched.mirror.records == watched.reflector.store
        await until(lambda: api.count("watch") >= 2)
        assert Phase.RETRYING not in watched.phases, "its end is the heartbeat, not a failure"
        assert api.requests[0].query["fieldSelector"] == "type=Warning"


async def test_listener_that_fails_on_one_object_gets_the_others(
    api: Api, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(api)
    heard: list[str] = []

    def listener(change: Change) -> None:
        if change.record is not None:
            heard.append(change.record.metadata.name)
            if len(heard) == 1:
                raise ValueError("no")

    reflector = Reflector(connection, PODS, None, listener, lambda _: None, timings=FAST)
    task = asyncio.create_task(reflector.run())
    await until(lambda: len(heard) == 3)
    task.cancel()
    assert "was not taken" in caplog.text


@pytest.mark.parametrize("details", ODD_DETAILS)
@pytest.mark.parametrize("where", ["list", "watch", "event"])
async def test_a_status_with_odd_details_ends_no_reflector(
    api: Api, connection: Connection, where: str, details: Any
) -> None:
    said = {**status(422, "Invalid", "odd"), "details": details}

    async def refuse(request: web.Request) -> web.StreamResponse:
        if where == "event":
            return await streamed(request, event("ERROR", said))
        return web.json_response(said, status=422)

    await filled(api)
    api.faults["list" if where == "list" else "watch"] = [refuse]
    async with watching(connection) as watched:
        await until(lambda: Phase.RETRYING in watched.phases)
        await watched.equals(api)


async def test_a_failure_in_handling_a_failure_ends_no_reflector(
    api: Api,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> float:
        raise TypeError("not iterable")

    await filled(api)
    monkeypatch.setattr(Reflector, "_refused", broken)
    api.faults["list"] = [answers(500), answers(500)]
    async with watching(connection) as watched:
        await watched.equals(api)
    assert "not iterable" in caplog.text


async def test_a_listener_of_the_state_that_fails_ends_no_reflector(
    api: Api, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    def listener(_: Reflector) -> None:
        raise ValueError("no")

    await filled(api)
    api.faults["list"] = [answers(500)]
    reflector = Reflector(connection, PODS, None, lambda _: None, listener, timings=FAST)
    task = asyncio.create_task(reflector.run())
    await until(lambda: len(reflector.store) == 3 or task.done())
    assert not task.done()
    task.cancel()
    assert "was not taken" in caplog.text


async def test_big_list_leaves_turns_to_others(api: Api, connection: Connection) -> None:
    padding = {f"f:{index}": {"k:{}": "v" * 60} for index in range(80)}
    for index in range(1000):
        obj = pod(f"pod-{index}")
        obj["metadata"]["managedFields"] = [{"fieldsV1": padding}]
        await api.put(obj)
    # made beforehand: the server runs on the same loop, and its work is not what is measured
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
        time.sleep(0.001)  # so that a page without turns would take half a second
        return True

    def prepared(body: bytes) -> Fault:
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
    async with watching(connection, replace(PODS, keep=slow), Timings()) as watched:
        task = asyncio.create_task(pulse())
        await until(lambda: len(watched.reflector.store) == 1000)
        ended = True
        await task
    # Counted in objects, which no other load on the machine makes more: 7 ms' worth are wanted.
    assert 0 < most < 50


async def test_memory_stays_level_over_100_000_events(api: Api, connection: Connection) -> None:
    number, rounds = 500, 200
    await filled(api, number)
    tail = b"".join(
        event("MODIFIED", {**pod(f"pod-{index}"), "pad": "x" * 300}).replace(
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
    timings = Timings(page=500)
    count = 0

    def counted(_: Change) -> None:
        nonlocal count
        count += 1

    reflector = Reflector(connection, PODS, None, counted, lambda _: None, timings=timings)
    task = asyncio.create_task(reflector.run())
    tracemalloc.start()
    try:
        await until(lambda: count > number * rounds // 4)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        goes[0].set()
        await until(lambda: count == number * (rounds + 1) + 1)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        goes[1].set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(reflector.store) == number
    assert after - before < 512_000, f"{before} -> {after}"
