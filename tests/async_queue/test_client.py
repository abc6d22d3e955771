"""The client of a gateway's API, on a real gateway behind an API server's Service proxy."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import (
    ChangedMeanwhileError,
    NoSuchTaskError,
    NotInstalledError,
    NotPermittedError,
    RefusedError,
    StoreUnavailableError,
    TooOldError,
    UnreachableError,
)
from servedeck.async_queue.gateway_keys import AccessKey
from servedeck.async_queue.queue_api import Side, TaskQuery
from servedeck.async_queue.queue_api import TestRequest as Submission
from servedeck.async_queue.tasks import MAX_READ, MAX_SELECTED, Changed, TaskAction, TaskState
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadOnlyError
from servedeck.gateway.stores.store import StoreError
from tests.async_queue.gateway_rig import ADMIN_PROXY, KEYS, SECRET, VIEW_SECRET, GatewayRig
from tests.cluster.fake_api_server import FakeApiServer, make_status
from tests.gateway.process.rig import ANSWER, InferenceServer
from tests.waiting import wait_until, with_timeout

UNKNOWN_ID = "0" * 26


async def wait_for(rig: GatewayRig, id: str, state: TaskState) -> None:
    async def reach() -> None:
        while await rig.state(id) is not state:
            await asyncio.sleep(0.01)

    await with_timeout(reach())


# -- reading --------------------------------------------------------------------------------------


async def test_the_status_and_the_tasks_that_are_cancelled(
    rig: GatewayRig, server: InferenceServer, client: AsyncQueueClient
) -> None:
    await rig.submit(3)
    await wait_until(lambda: server.arrived)
    status = await client.queue_status()
    assert (status.serving, status.counts.pending, status.counts.processing) == ("chat/llama", 2, 1)
    assert await client.cancel_tasks(TaskState.PENDING) == 2
    assert await client.cancel_tasks(TaskState.PROCESSING) == 1
    assert await client.cancel_tasks(TaskState.PENDING) == 0
    assert (await client.queue_status()).counts.cancelled == 3


async def test_pages_in_both_orders(rig: GatewayRig, client: AsyncQueueClient) -> None:
    await client.pause()
    ids = sorted(await rig.submit(5))  # those of one millisecond are in any order
    for oldest_first, wanted in ((True, ids), (False, ids[::-1])):
        found, after = [], ""
        while True:
            page = await client.list_tasks(
                TaskQuery(), after=after, limit=2, oldest_first=oldest_first
            )
            assert page.time is not None and page.feed
            found += [one.id for one in page.items]
            after = page.next
            if not after:
                break
        assert found == wanted


async def test_only_tasks_that_match_are_listed(rig: GatewayRig, client: AsyncQueueClient) -> None:
    await client.pause()
    first, second = sorted(await rig.submit(2))
    [other] = await rig.submit(1, b'{"model": "mistral"}')
    await client.change_tasks(TaskAction.CANCEL, [second])

    async def list_ids(state: TaskState | None, text: str) -> list[str]:
        page = await client.list_tasks(TaskQuery(state, text), oldest_first=True)
        return [one.id for one in page.items]

    assert await list_ids(TaskState.PENDING, "") == sorted([first, other])
    assert await list_ids(None, "model:llama") == [first, second]
    assert await list_ids(TaskState.PENDING, "!mistral") == [first]
    assert await list_ids(None, "age:>1h") == []
    with pytest.raises(RefusedError, match="age:soon is no age"):
        await list_ids(None, "age:soon")


async def test_tasks_are_read_by_their_ids(rig: GatewayRig, client: AsyncQueueClient) -> None:
    await client.pause()
    ids = await rig.submit(3)
    page = await client.read_tasks([ids[2], UNKNOWN_ID, ids[0]])
    assert {one.id for one in page.items} == {ids[0], ids[2]}
    for wrong in ([], [UNKNOWN_ID] * (MAX_READ + 1)):
        with pytest.raises(RefusedError, match="From 1 to"):
            await client.read_tasks(wrong)


async def test_a_task_with_its_request_and_response(
    rig: GatewayRig, server: InferenceServer, client: AsyncQueueClient
) -> None:
    body = json.dumps({"model": "llama", "text": "x" * 1000}).encode()
    [id] = await rig.submit(1, body, Authorization="Bearer caller", X_Trace="abc")
    await wait_until(lambda: server.arrived)
    assert (await client.task_detail(id)).state is TaskState.PROCESSING
    assert await client.attempts(id) == []
    with pytest.raises(NoSuchTaskError, match="No response"):
        await client.response_head(id)
    server.open.set()
    await wait_for(rig, id, TaskState.COMPLETED)
    detail = await client.task_detail(id)
    assert (detail.status, detail.path, detail.model) == (200, "/v1/chat/completions", "llama")
    assert detail.has_credentials
    assert [(one.attempt, one.status) for one in await client.attempts(id)] == [(1, 200)]
    head = await client.request_head(id)
    assert ("x-trace", "abc") in [(name.lower(), value) for name, value in head.headers]
    assert "caller" not in repr(head)
    assert (await client.response_head(id)).status == 200
    part = await client.read_body(id, Side.RESPONSE, 0, 1 << 20)
    assert json.loads(part.data) == ANSWER and part.size == len(part.data)
    parts = [await client.read_body(id, Side.REQUEST, first, 300) for first in range(0, 1200, 300)]
    assert b"".join(one.data for one in parts) == body
    assert [one.first for one in parts] == [0, 300, 600, 900]
    assert {one.size for one in parts} == {len(body)}
    assert client.may_read_bodies


async def test_parts_beyond_a_body(rig: GatewayRig, client: AsyncQueueClient) -> None:
    await client.pause()
    [empty], [small] = await rig.submit(1, b""), await rig.submit(1, b"{}")
    assert await client.read_body(empty, Side.REQUEST, 0, 10) == (b"", 0, 0)
    assert await client.read_body(empty, Side.REQUEST, 7, 10) == (b"", 7, 0)
    assert await client.read_body(small, Side.REQUEST, 2, 10) == (b"", 2, 2)
    assert await client.read_body(small, Side.REQUEST, 1, 10) == (b"}", 1, 2)


async def test_a_part_through_something_that_ignores_ranges(
    rig: GatewayRig, api: FakeApiServer, client: AsyncQueueClient
) -> None:
    async def whole(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"0123456789")

    api.add_route(f"{ADMIN_PROXY}/-/async/tasks/{UNKNOWN_ID}/request", whole)
    assert await client.read_body(UNKNOWN_ID, Side.REQUEST, 3, 4) == (b"3456", 3, 10)


@pytest.mark.parametrize("id", [UNKNOWN_ID, "../queue", "a/b", "", "x" * 65, "é"])
async def test_a_task_that_is_not_stored(client: AsyncQueueClient, id: str) -> None:
    with pytest.raises(NoSuchTaskError):
        await client.task_detail(id)
    with pytest.raises(NoSuchTaskError):
        await client.read_body(id, Side.REQUEST, 0, 10)


# -- acting ---------------------------------------------------------------------------------------


async def test_actions_on_tasks_by_their_ids(
    rig: GatewayRig, server: InferenceServer, client: AsyncQueueClient
) -> None:
    server.status = 400
    server.open.set()
    [failed] = await rig.submit()
    await wait_for(rig, failed, TaskState.FAILED)
    await client.pause()
    assert (await client.queue_status()).paused
    first, second, third = await rig.submit(3)
    found = await client.change_tasks(TaskAction.CANCEL, [first, failed, UNKNOWN_ID])
    assert (found.changed, found.missing, found.others) == (1, 1, {TaskState.FAILED: 1})
    assert (await client.change_tasks(TaskAction.FRONT, [third])).changed == 1
    assert (await client.task_detail(third)).position == 0
    assert (await client.change_tasks(TaskAction.RETRY, [failed])).changed == 1
    assert await rig.states([failed, first, second]) == [
        TaskState.PENDING,
        TaskState.CANCELLED,
        TaskState.PENDING,
    ]
    assert (await client.change_tasks(TaskAction.FORGET, [first])).changed == 1
    assert await rig.state(first) is None
    server.status = 200
    await client.resume()
    await wait_for(rig, second, TaskState.COMPLETED)
    with pytest.raises(RefusedError, match="From 1 to"):
        await client.change_tasks(TaskAction.CANCEL, [UNKNOWN_ID] * (MAX_SELECTED + 1))


async def test_actions_on_all_that_match(rig: GatewayRig, client: AsyncQueueClient) -> None:
    await client.pause()
    ids = await rig.submit(4)
    others = await rig.submit(2, b'{"model": "mistral"}')
    found = await client.change_matching(TaskAction.CANCEL, TaskQuery(None, "model:llama"))
    assert (found.changed, found.next) == (4, "")
    assert await rig.states(ids) == [TaskState.CANCELLED] * 4
    assert await rig.states(others) == [TaskState.PENDING] * 2
    found = await client.change_matching(TaskAction.FORGET, TaskQuery(TaskState.CANCELLED))
    assert found.changed == 4
    with pytest.raises(RefusedError):
        await client.change_matching(TaskAction.RETRY, TaskQuery(TaskState.COMPLETED))


async def test_a_retry_without_the_credentials_that_were_deleted(
    rig: GatewayRig, server: InferenceServer, client: AsyncQueueClient
) -> None:
    server.status = 400
    server.open.set()
    [failed] = await rig.submit(1, Authorization="Bearer caller")
    await wait_for(rig, failed, TaskState.FAILED)
    found = await client.change_tasks(TaskAction.RETRY, [failed])
    assert (found.changed, found.refused) == (0, 1) and found.message
    server.status = 200
    assert (await client.change_tasks(TaskAction.RETRY, [failed], is_bare=True)).changed == 1
    await wait_for(rig, failed, TaskState.COMPLETED)


async def test_nobody_overwrites_a_concurrency_unseen(
    rig: GatewayRig, client: AsyncQueueClient
) -> None:
    before = await client.control()
    await client.set_concurrency(4, 2, before.version)
    after = await client.control()
    assert (after.concurrency, after.pod_concurrency) == (4, 2)
    with pytest.raises(ChangedMeanwhileError) as caught:
        await client.set_concurrency(9, None, before.version)
    assert str(caught.value) == (
        "Somebody else has changed it meanwhile; set now: concurrency 4, concurrency of each Pod 2."
    )
    await client.set_concurrency(None, None, after.version)
    assert (await client.control()).concurrency is None
    with pytest.raises(RefusedError, match="must be from"):
        await client.set_concurrency(-1, None, (await client.control()).version)


async def test_close_and_open(rig: GatewayRig, client: AsyncQueueClient) -> None:
    await client.close_queue()
    assert (await client.queue_status()).closed
    with pytest.raises(RefusedError, match="closed"):
        await client.submit(Submission("POST", "/v1/chat/completions", (), b"{}"))
    await client.open_queue()
    assert not (await client.queue_status()).closed


async def test_ended_tasks_are_deleted(
    rig: GatewayRig, server: InferenceServer, client: AsyncQueueClient
) -> None:
    await rig.submit(3)
    await wait_until(lambda: server.arrived)
    assert await client.forget_tasks() == 0
    await client.cancel_tasks(TaskState.PENDING)
    assert await client.forget_tasks() == 2
    counts = (await client.queue_status()).counts
    assert (counts.processing, counts.cancelled) == (1, 0)


# -- submitting -----------------------------------------------------------------------------------


async def test_a_request_is_submitted_as_its_callers_do(
    rig: GatewayRig, server: InferenceServer, client: AsyncQueueClient
) -> None:
    server.open.set()
    request = Submission(
        "POST",
        "/v1/chat/completions?trace=a%20b",
        [("X-Trace", "abc"), ("x-async", "false"), ("Prefer", "wait=60"), ("Host", "elsewhere")],
        b'{"model": "llama"}',
    )
    id = await client.submit(request)
    await wait_for(rig, id, TaskState.COMPLETED)
    assert server.arrived == [request.body]
    head = await client.request_head(id)
    assert head.path == request.path and head.model == "llama"
    headers = {name.lower(): value for name, value in head.headers}
    assert headers["x-trace"] == "abc" and headers["content-type"] == "application/json"
    assert not (await client.task_detail(id)).has_credentials


@pytest.mark.parametrize(
    "path",
    [
        "/../../../secrets",
        "/v1/%2e%2e/%2e%2E/secrets",
        "/v1/%252e%252e/secrets",
        "/v1/..%2fsecrets",
        "/v1/..\\secrets",
        "/./v1",
        "v1/chat",
        "//../secrets",
        "/v1/a b",
        "/v1#part",
        "/v1/é",
        "",
    ],
)
async def test_a_path_that_could_lead_elsewhere_is_not_sent(
    api: FakeApiServer, client: AsyncQueueClient, path: str
) -> None:
    with pytest.raises(RefusedError, match="path must"):
        await client.submit(Submission("POST", path, (), b"{}"))
    assert not [one for one in api.requests if one.method == "POST"]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Authorization", "Bearer x"),
        ("impersonate-user", "admin"),
        ("Impersonate-Extra-Scopes", "x"),
        ("X-Remote-User", "admin"),
        ("X-Servedeck-Key", "x"),
        ("X-Trace", "a\r\nImpersonate-User: admin"),
        ("X Trace", "a"),
        ("X-Trace\n", "a"),
    ],
)
async def test_a_header_that_the_api_server_would_take_for_its_own_is_not_sent(
    api: FakeApiServer, client: AsyncQueueClient, header: str, value: str
) -> None:
    with pytest.raises(RefusedError, match="header"):
        await client.submit(Submission("POST", "/v1", [(header, value)], b"{}"))
    assert not [one for one in api.requests if one.method == "POST"]


async def test_a_method_that_cannot_be_asynchronous(client: AsyncQueueClient) -> None:
    with pytest.raises(RefusedError, match="have the method POST"):
        await client.submit(Submission("GET", "/v1/models", (), b""))


# -- permissions ----------------------------------------------------------------------------------


async def test_the_view_key_alone_withholds_bodies_and_actions(
    rig: GatewayRig, client: AsyncQueueClient
) -> None:
    [id] = await rig.submit()
    rig.forbid(SECRET)
    with pytest.raises(NotPermittedError, match="secrets llama-async-view or llama-async"):
        await client.queue_status()
    rig.set_secret(VIEW_SECRET, {"view-key": KEYS["view-key"]})
    assert (await client.queue_status()).serving == "chat/llama"
    assert client.may_read_bodies is False
    assert (await client.request_head(id)).model == "llama"
    sentence = "needs get on secrets llama-async in namespace chat"
    with pytest.raises(NotPermittedError, match=sentence):
        await client.read_body(id, Side.REQUEST, 0, 10)
    with pytest.raises(NotPermittedError, match=sentence):
        await client.change_tasks(TaskAction.CANCEL, [id])
    rig.set_secret(SECRET, KEYS)
    assert (await client.read_body(id, Side.REQUEST, 0, 10)).data == b'{"model": '
    assert client.may_read_bodies


async def test_the_secret_of_viewers_has_no_usable_key(
    rig: GatewayRig, client: AsyncQueueClient
) -> None:
    rig.forbid(SECRET)
    rig.set_secret(VIEW_SECRET, {"view-key": "two\nlines"})
    with pytest.raises(NotPermittedError, match="llama-async-view has no usable view-key"):
        await client.queue_status()


async def test_whether_bodies_may_be_read_is_not_known_at_first(client: AsyncQueueClient) -> None:
    assert client.may_read_bodies is None


async def test_a_key_that_is_not_accepted(rig: GatewayRig, client: AsyncQueueClient) -> None:
    rig.set_secret(SECRET, dict.fromkeys(KEYS, "another"))
    with pytest.raises(NotPermittedError, match="does not accept the key in Secret"):
        await client.queue_status()


async def test_a_key_that_was_changed_is_read_again(
    rig: GatewayRig, client: AsyncQueueClient, tmp_path: Path
) -> None:
    await client.queue_status()
    await client.pause()
    keys = {name: f"new-{key}" for name, key in KEYS.items()}
    for name, key in keys.items():
        (tmp_path / name).write_text(key)
    rig.set_secret(SECRET, keys)
    assert (await client.queue_status()).paused
    await client.resume()


async def test_a_read_only_connection_reads_and_changes_nothing(
    rig: GatewayRig, connection: Connection
) -> None:
    options = replace(connection.options, readonly=True)
    assert isinstance(options, ConnectionOptions)
    readonly = await Connection.open(options)
    try:
        client = AsyncQueueClient(readonly, "chat", "llama")
        [id] = await rig.submit()
        assert (await client.read_body(id, Side.REQUEST, 0, 2)).data == b'{"'
        with pytest.raises(ReadOnlyError):
            await client.change_tasks(TaskAction.CANCEL, [id])
        with pytest.raises(ReadOnlyError):
            await client.submit(Submission("POST", "/v1", (), b"{}"))
        with pytest.raises(ReadOnlyError):
            await client.pause()
        assert not (await client.control()).paused
    finally:
        await readonly.close()


# -- what does not answer -------------------------------------------------------------------------


async def test_a_gateway_that_does_not_know_a_route(client: AsyncQueueClient) -> None:
    with pytest.raises(TooOldError):
        await client._gateway.ask("POST", "/queue/none", AccessKey.ADMIN, Changed)


async def test_a_gateway_of_an_earlier_version(
    rig: GatewayRig, api: FakeApiServer, client: AsyncQueueClient
) -> None:
    async def earlier(request: web.Request) -> web.StreamResponse:
        counts = {"serving": "chat/llama", "version": "0", "counts": {}, "backlog": 0}
        limits = {"concurrency": 0, "pod_concurrency": 1, "max_depth": 10}
        is_queue = request.path.endswith("/queue")
        return web.json_response(counts | limits if is_queue else {"items": []})

    for path in ("queue", "tasks"):
        api.add_route(f"{ADMIN_PROXY}/-/async/{path}", earlier)
    assert (await client.queue_status()).counts.pending == 0
    with pytest.raises(TooOldError, match="turn the async queue on again"):
        await client.list_tasks(TaskQuery())
    with pytest.raises(TooOldError):
        await anext(client.follow(""))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('no endpoints available for service "llama-async-admin:80"', "leads to no Pod"),
        (
            "error trying to reach service: dial tcp 10.0.0.1:8081: connect: connection refused",
            "The async gateway behind Service chat/llama-async-admin does not answer: dial tcp"
            " 10.0.0.1:8081: connect: connection refused.$",
        ),
    ],
)
async def test_no_pod_of_the_gateway(
    rig: GatewayRig, api: FakeApiServer, client: AsyncQueueClient, message: str, expected: str
) -> None:
    async def unavailable(_: web.Request) -> web.StreamResponse:
        status = make_status(503, "ServiceUnavailable", message)
        return web.json_response(status, status=503)

    api.add_route(ADMIN_PROXY + "/-/async/queue", unavailable)
    with pytest.raises(UnreachableError, match=expected):
        await client.queue_status()


async def test_the_queue_is_off(api: FakeApiServer, connection: Connection) -> None:
    client = AsyncQueueClient(connection, "chat", "llama")
    with pytest.raises(NotInstalledError, match="the async queue is off"):
        await client.list_tasks(TaskQuery())


async def test_the_store_does_not_answer(
    rig: GatewayRig, client: AsyncQueueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise StoreError("Valkey does not answer.")

    await client.queue_status()
    store = rig.gateway.context.store
    for name in ("feed_end", "counts", "submit"):
        monkeypatch.setattr(store, name, lost)
    with pytest.raises(StoreUnavailableError, match=r"Valkey does not answer\."):
        await client.list_tasks(TaskQuery())
    with pytest.raises(StoreUnavailableError):
        await client.submit(Submission("POST", "/v1", (), b"{}"))
    with pytest.raises(StoreUnavailableError):
        await anext(client.follow("1"))


async def test_a_redirect_of_the_gateway_is_not_followed(
    api: FakeApiServer, client: AsyncQueueClient, rig: GatewayRig
) -> None:
    """The key would go along to another host."""
    seen = []

    async def redirect(_: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return web.json_response({})

    api.add_route("/elsewhere", elsewhere)
    api.add_route(f"{ADMIN_PROXY}/-/async/queue", redirect)
    with pytest.raises(UnreachableError):
        await client.queue_status()
    assert not seen
