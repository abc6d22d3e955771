"""A request with X-Async is stored, then answered with 202."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.gateway import asgi
from servedeck.gateway.asgi import HttpError
from servedeck.gateway.messages import RequestHead
from servedeck.gateway.object_stores import open_objects
from servedeck.gateway.public_api.preferences import read_preferences
from servedeck.gateway.stores.store import (
    Control,
    NewTask,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    Submitted,
    TaskStore,
)
from servedeck.gateway.stores.task_records import CLOSED_REFUSAL
from tests.gateway.public_api.harness import Gateway, exchange_raw, running_gateway, settings_of
from tests.waiting import with_timeout

AUTH = {"Authorization": "Bearer secret-token"}


class FailingStore:
    """Passes everything on but what it is told to fail."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self.submit_error: StoreError | None = None
        self.error: StoreError | None = None
        self.submitted: list[NewTask] = []

    async def submit(self, task: NewTask, max_depth: int) -> Submitted:
        if self.submit_error is not None:
            raise self.submit_error
        self.submitted.append(task)
        return await self._store.submit(task, max_depth)

    def __getattr__(self, name: str) -> Any:
        if self.error is not None:
            raise self.error
        return getattr(self._store, name)


async def test_a_stored_request_is_answered_with_its_id_and_urls(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, public_path="/project/name") as gateway:
        answer = await gateway.submit(headers=AUTH)
        assert answer.status == 202
        body = answer.json()
        id = body["id"]
        assert body == {
            "id": id,
            "status": "pending",
            "status_url": f"/project/name/-/async/tasks/{id}",
            "result_url": f"/project/name/-/async/tasks/{id}/result",
            "position": 0,
        }
        assert answer.headers["Location"] == body["status_url"]
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["Content-Type"] == "application/json"
        assert "Server" not in answer.headers
        assert gateway.context.identity.is_issued(
            id, gateway.context.identity.owner_of(AUTH["Authorization"])
        )


async def test_what_is_stored_is_what_the_server_gets(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        raw = b'{"stream": true, "model": "a/b", "messages": []}'
        answer = await gateway.submit(
            raw,
            {
                **AUTH,
                "Cookie": "session=1",
                "X-Api-Key": "key",
                "X-Custom": "caf\u00e9",
                "X-Hop": "1",
                "Connection": "close, x-hop",
                "X-Servedeck-Key": "admin",
                "X-Async-Timeout": "60",
                "X-Async-Attempt-Timeout": "7.5",
                "X-Async-Max-Attempts": "2",
                "Priority": "u=1, i",
                "Idempotency-Key": "k",
            },
            path="/v1/chat%2Fcompletions?a=%20b&c",
        )
        assert answer.status == 202
        claimed = await gateway.claim()
        head = msgspec.json.decode(claimed.head, type=RequestHead)
        assert (head.method, head.path) == ("POST", "/v1/chat%2Fcompletions?a=%20b&c")
        assert (head.model, head.is_stream) == ("a/b", True)
        assert head.attempt_seconds == 7.5
        assert claimed.body.data == raw
        names = {name for name, _ in head.headers}
        assert "content-type" in names
        assert not names & {
            "authorization", "cookie", "x-api-key", "host", "content-length", "x-async", "priority",
            "x-hop", "connection", "idempotency-key", "x-servedeck-key",
        }  # fmt: skip
        assert dict(head.headers)["x-custom"].encode("latin-1") == "caf\u00e9".encode()
        credentials = gateway.context.identity.decrypt(claimed.id, claimed.credentials)
        assert dict(credentials) == {
            "authorization": "Bearer secret-token",
            "cookie": "session=1",
            "x-api-key": "key",
        }
        assert b"secret-token" not in claimed.head + claimed.credentials
        found = await gateway.store.find(claimed.id)
        assert found is not None
        assert (found.task.max_attempts, found.task.urgency) == (2, 1)
        assert claimed.seconds_left <= 60


async def test_an_owner_header_of_another_name_is_encrypted_too(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, owner_header="X-User-Token") as gateway:
        answer = await gateway.submit(headers={"X-User-Token": "tok"})
        claimed = await gateway.claim()
        assert b"tok" not in claimed.head
        assert gateway.context.identity.decrypt(claimed.id, claimed.credentials) == [
            ("x-user-token", "tok")
        ]
        id = answer.json()["id"]
        own = await gateway.ask("GET", f"/-/async/tasks/{id}", headers={"X-User-Token": "tok"})
        assert own.status == 200
        assert (await gateway.ask("GET", f"/-/async/tasks/{id}")).status == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_other_methods_with_a_body(tmp_path: Path, method: str) -> None:
    async with running_gateway(tmp_path) as gateway:
        answer = await gateway.ask(method, "/x", data=b"1", headers={"X-Async": "1"})
        assert answer.status == 202
        claimed = await gateway.claim()
        assert msgspec.json.decode(claimed.head, type=RequestHead).method == method


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
async def test_methods_that_cannot_be_asynchronous(tmp_path: Path, method: str) -> None:
    async with running_gateway(tmp_path) as gateway:
        answer = await gateway.ask(method, "/x", headers={"X-Async": "true"})
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST, PUT, PATCH"
        assert "X-Async" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Async", "yes"),
        ("X-Async", "TRUE"),
        ("X-Async", "false"),
        ("X-Async", ""),
        ("X-Async-Timeout", "0"),
        ("X-Async-Timeout", "-1"),
        ("X-Async-Timeout", "nan"),
        ("X-Async-Timeout", "1e3"),
        ("X-Async-Timeout", "21601"),
        ("X-Async-Attempt-Timeout", "901"),
        ("X-Async-Attempt-Timeout", "ten"),
        ("X-Async-Max-Attempts", "0"),
        ("X-Async-Max-Attempts", "4"),
        ("X-Async-Max-Attempts", "1.5"),
        ("Idempotency-Key", ""),
        ("Idempotency-Key", '""'),
        ("Idempotency-Key", "x" * 256),
        ("X-Async-Callback", "https://other.example/x"),
        ("X-Async-Callback", "ftp://hooks.example/x"),
        ("X-Async-Callback", "https://user@hooks.example/x"),
        ("X-Async-Callback", "https://other.example\\@hooks.example/x"),
        ("X-Async-Callback", "https://hooks.example:99999/x"),
        ("X-Async-Callback", "https://hooks.example:8443/x"),
        ("X-Async-Callback", "hooks.example"),
        ("X-Async-Callback", "https://hooks.example/" + "x" * 2048),
    ],
)
async def test_a_bad_header_is_named(tmp_path: Path, name: str, value: str) -> None:
    async with running_gateway(
        tmp_path, callback_hosts=("hooks.example",), callback_secret_file=tmp_path / "secret"
    ) as gateway:
        answer = await gateway.submit(headers={name: value})
        assert answer.status == 400
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == 400
        assert name in problem["detail"]
        assert (await gateway.store.counts()).pending == 0


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("hooks.example", "https://hooks.example/x?y=1"),
        ("hooks.example", "http://HOOKS.example:80/x"),
        ("hooks.example:8443", "https://hooks.example:8443/x"),
        ("Hooks.Example", "https://hooks.example/x"),
    ],
)
async def test_a_callback_to_an_allowed_host(tmp_path: Path, host: str, url: str) -> None:
    async with running_gateway(
        tmp_path, callback_hosts=(host,), callback_secret_file=tmp_path / "secret"
    ) as gateway:
        answer = await gateway.submit(headers={"X-Async-Callback": url})
        assert answer.status == 202
        found = await gateway.store.find(answer.json()["id"])
        assert found is not None
        assert found.has_callback
        assert msgspec.json.decode(found.head, type=RequestHead).callback == url


async def test_a_callback_to_another_port_names_it(tmp_path: Path) -> None:
    async with running_gateway(
        tmp_path, callback_hosts=("hooks.example",), callback_secret_file=tmp_path / "secret"
    ) as gateway:
        answer = await gateway.submit(headers={"X-Async-Callback": "https://hooks.example:8443/x"})
        assert answer.json()["detail"] == (
            "The header X-Async-Callback cannot be used: hooks.example with port 8443 is not among"
            " callback_hosts."
        )


async def test_no_callback_where_none_is_allowed(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        answer = await gateway.submit(headers={"X-Async-Callback": "https://a.example/"})
        assert answer.status == 400
        assert "X-Async-Callback" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("value", "urgency"),
    [("u=0", 0), ("i, u=7", 7), ("u=9", 3), ("u=-1", 3), ("nonsense", 3), ("u=5;x=1", 3)],
)
async def test_priority(tmp_path: Path, value: str, urgency: int) -> None:
    async with running_gateway(tmp_path) as gateway:
        answer = await gateway.submit(headers={"Priority": value})
        found = await gateway.store.find(answer.json()["id"])
        assert found is not None
        assert found.task.urgency == urgency


async def test_two_values_of_x_async_or_of_the_owner_header(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        for headers, status in (
            ([("X-Async", "true"), ("X-Async", "no")], 400),
            ([("X-Async", "true"), ("Authorization", "a"), ("Authorization", "b")], 400),
            ([("X-Async", "true"), ("X-Async-Timeout", "1"), ("X-Async-Timeout", "2")], 400),
            ([("X-Async", "true"), ("X-Async", "1")], 202),
        ):
            answer = await gateway.ask("POST", "/x", data=b"1", headers=headers)
            assert answer.status == status, headers


@pytest.mark.parametrize(
    ("body", "model", "is_stream"),
    [
        (b"", "", False),
        (b"plain text", "", False),
        (b"{broken", "", False),
        (b'{"model": 5, "stream": "true"}', "", False),
        (b'  \n{"model": "\xc3\xa9", "stream": true}', "\u00e9", True),
        (b'{"stream": true', "", False),
        (b'{"model": "\xff"}', "", False),
        (b'{"a":' + b"[" * 100_000, "", False),
        (b"[1]", "", False),
        (b"\x00\xff\xfe binary", "", False),
        (b'{"model": "' + b"x" * 5000 + b'"}', "", False),
    ],
)
async def test_any_body_is_accepted(
    tmp_path: Path, body: bytes, model: str, is_stream: bool
) -> None:
    async with running_gateway(tmp_path) as gateway:
        answer = await gateway.submit(body)
        assert answer.status == 202
        claimed = await gateway.claim()
        head = msgspec.json.decode(claimed.head, type=RequestHead)
        assert (head.model, head.is_stream) == (model, is_stream)
        assert claimed.body.data == body


async def test_prefer_respond_async_without_the_header(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        answer = await gateway.ask("POST", "/x", data=b"1", headers={"Prefer": "respond-async"})
        assert answer.status == 202
        assert answer.headers["Preference-Applied"] == "respond-async"


async def test_the_result_itself_for_a_caller_that_waits(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, max_wait=600) as gateway:
        asking = asyncio.create_task(
            gateway.submit(headers={"Prefer": "respond-async, wait=600"}),
        )
        counts = await _pending(gateway, 1)
        assert counts == 1
        claimed = await gateway.claim()
        await gateway.end(claimed, b'{"answer": 1}', status=201, headers=[("x-own", "1")])
        answer = await with_timeout(asking)
        assert (answer.status, answer.body) == (201, b'{"answer": 1}')
        assert answer.headers["x-own"] == "1"
        assert answer.headers["x-async-task"] == claimed.id


async def test_a_wait_that_is_too_short_ends_with_202(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, max_wait=0.4) as gateway:
        answer = await gateway.submit(headers={"Prefer": "wait=600"})
        assert answer.status == 202  # max_wait is under a second: none is waited
    async with running_gateway(tmp_path, max_wait=1) as gateway:
        answer = await gateway.submit(headers={"Prefer": "wait=600"})
        assert answer.status == 202


async def test_draining_ends_long_waits_and_accepts_more(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, max_wait=3600) as gateway:
        asking = asyncio.create_task(gateway.submit(headers={"Prefer": "wait=3600"}))
        await _pending(gateway, 1)
        gateway.app.drain()
        assert (await with_timeout(asking)).status == 202
        assert (await gateway.submit()).status == 202


async def test_a_repeated_idempotency_key_is_answered_with_the_same_task(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        headers = {"Idempotency-Key": '"k-1"', **AUTH}
        first = await gateway.submit(headers=headers)
        again = await gateway.submit(headers={**headers, "Idempotency-Key": "k-1"})
        assert first.status == again.status == 202
        id = first.json()["id"]
        assert again.json()["id"] == id
        claimed = await gateway.claim()
        assert (await gateway.submit(headers=headers)).json()["status"] == "processing"
        await gateway.end(claimed)
        ended = await gateway.submit(headers=headers)
        assert (ended.status, ended.json()["status"]) == (202, "completed")
        waited = await gateway.submit(headers={**headers, "Prefer": "wait=30"})
        assert (waited.status, waited.body) == (200, b"{}")
        assert sum(vars_of(await gateway.store.counts())) == 1


async def test_an_idempotency_key_of_another_request_or_caller(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        headers = {"Idempotency-Key": "k", **AUTH}
        first = (await gateway.submit(headers=headers)).json()["id"]
        conflict = await gateway.submit({"model": "other"}, headers)
        assert conflict.status == 422
        assert "Idempotency-Key" in conflict.json()["detail"]
        assert (await gateway.submit(headers=headers, path="/v1/other")).status == 422
        other = await gateway.submit(headers={"Idempotency-Key": "k", "Authorization": "other"})
        assert other.status == 202
        assert other.json()["id"] != first


async def test_a_full_queue(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, max_depth=1) as gateway:
        assert (await gateway.submit()).status == 202
        answer = await gateway.submit()
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1
        page = gateway.context.metrics.page()
        assert b'servedeck_async_rejected_total{reason="depth"} 1.0' in page
        assert b"servedeck_async_submitted_total 1.0" in page


async def test_a_closed_queue(tmp_path: Path) -> None:
    objects = open_objects(f"file:{tmp_path}/objects")
    async with running_gateway(tmp_path, objects=objects, inline_bytes=10) as gateway:
        assert (await gateway.submit()).status == 202
        await gateway.store.set_control(Control(closed_by="me"))
        answer = await gateway.submit()
        assert (answer.status, answer.json()["title"]) == (503, "The queue is closed")
        assert answer.json()["detail"] == CLOSED_REFUSAL
        assert int(answer.headers["Retry-After"]) >= 1
        page = gateway.context.metrics.page()
        assert b'servedeck_async_rejected_total{reason="closed"} 1.0' in page
        await gateway.app.close()  # which waits for what is deleted
        names = [one for one in (tmp_path / "objects").rglob("*") if one.is_file()]
        assert len(names) == 1, "the body of the one that was accepted"
        await gateway.store.set_control(Control())
        assert (await gateway.submit()).status == 202


async def test_a_body_over_the_limit_by_its_length(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, max_body_bytes=1000) as gateway:
        assert (await gateway.submit(b"x" * 1000)).status == 202
        answer = await gateway.submit(b"x" * 1001)
        assert answer.status == 413
        assert "1000" in answer.json()["detail"]
        # Nothing of the body has to come for that.
        raw = await exchange_raw(
            gateway.port,
            b"POST /x HTTP/1.1\r\nHost: a\r\nX-Async: true\r\nExpect: 100-continue\r\n"
            b"Content-Length: 1000000000\r\n\r\n",
        )
        assert raw.startswith(b"HTTP/1.1 413 ")


async def test_a_body_over_the_limit_while_it_is_read(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, max_body_bytes=100_000) as gateway:

        async def parts() -> Any:
            for _ in range(200):
                yield b"x" * 1000

        answer = await gateway.ask("POST", "/x", data=parts(), headers={"X-Async": "true"})
        assert answer.status == 413
        assert (await gateway.store.counts()).pending == 0


async def test_a_body_that_is_cut_off_is_not_stored(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(
            b"POST /x HTTP/1.1\r\nHost: a\r\nX-Async: true\r\nContent-Length: 9\r\n\r\n1234"
        )
        writer.write_eof()
        assert await with_timeout(reader.read()) == b""
        writer.close()
        assert (await gateway.submit()).status == 202
        assert (await gateway.store.counts()).pending == 1


@pytest.mark.parametrize(
    ("error", "retry_after", "has_task"),
    [(StoreUnavailableError("away"), "2", True), (StoreFullError("full"), "10", False)],
)
async def test_a_store_that_fails_is_never_answered_with_202(
    tmp_path: Path, error: StoreError, retry_after: str, has_task: bool
) -> None:
    stores: list[FailingStore] = []

    def wrap(store: TaskStore) -> Any:
        stores.append(FailingStore(store))
        return stores[0]

    async with running_gateway(tmp_path, wrap_store=wrap) as gateway:
        stores[0].submit_error = error
        answer = await gateway.submit()
        assert answer.status == 503
        assert answer.headers["Retry-After"] == retry_after
        assert ("task" in answer.json()) == has_task
        stores[0].submit_error = None
        stores[0].error = StoreUnavailableError("away")
        for path in ("/-/async/queue", f"/-/async/tasks/{gateway.context.identity.new_id('')}"):
            assert (await gateway.ask("GET", path)).status == 503
        stores[0].error = None
        assert (await gateway.submit()).status == 202


async def test_a_body_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODY_TOTAL_SECONDS", 0.2)
    async with running_gateway(tmp_path, max_body_bytes=1000) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = (
            b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX-Async: true\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        writer.write(head)
        answering = asyncio.create_task(reader.readline())
        while not answering.done():  # it ends with 413 at the latest
            writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.01)
        assert (await with_timeout(answering)).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_body_that_comes_too_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    async with running_gateway(tmp_path) as gateway:
        answer = await exchange_raw(
            gateway.port,
            b"POST /x HTTP/1.1\r\nHost: a\r\nX-Async: true\r\nContent-Length: 9\r\n\r\n1234",
        )
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_more_bodies_than_the_gateway_holds(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        submitter = gateway.app._submitter
        submitter._max_held_bytes = 1000
        answer = await gateway.submit(b"x" * 1001)
        assert answer.status == 503
        assert "Retry-After" in answer.headers
        for _ in range(3):
            assert (await gateway.submit(b"x" * 900)).status == 202
        assert submitter._held_bytes == 0


async def test_an_error_of_the_gateway_shows_nothing_of_the_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenStore(FailingStore):
        async def submit(self, task: NewTask, max_depth: int) -> Submitted:
            raise RuntimeError(f"cannot store {task.body!r}")

    def wrap(store: TaskStore) -> Any:
        return BrokenStore(store)

    async with running_gateway(tmp_path, wrap_store=wrap) as gateway:
        answer = await gateway.submit(b"very-secret")
        assert (answer.status, answer.json()["title"]) == (500, "Internal error")
        assert "RuntimeError" in caplog.text
        assert "very-secret" not in caplog.text


_HEADER_NAMES = st.sampled_from(
    [
        b"x-async", b"prefer", b"priority", b"idempotency-key", b"x-async-timeout",
        b"x-async-attempt-timeout", b"x-async-max-attempts", b"x-async-callback",
    ]
)  # fmt: skip
_HEADER_VALUES = st.one_of(
    st.sampled_from([b"true", b"1", b"respond-async", b'respond-async; x="a,b", wait=5']),
    st.text('0123456789.-=u,;"\\ wait:/@', max_size=20).map(str.encode),
    st.binary(max_size=20),
)


@given(st.lists(st.tuples(_HEADER_NAMES, _HEADER_VALUES), max_size=6))
def test_any_headers_are_understood_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    settings = settings_of(callback_hosts=("a",), callback_secret_file="secret")
    try:
        preferences = read_preferences({"headers": headers}, settings)
    except HttpError as error:
        assert error.problem.status == 400
        assert error.problem.detail.startswith("The header ")
        return
    if not preferences.has_async_header and not preferences.respond_async:
        return
    assert 0 < preferences.lifetime <= settings.lifetime
    assert 0 < preferences.attempt_seconds <= settings.attempt_timeout
    assert 1 <= preferences.max_attempts <= settings.max_attempts
    assert 0 <= preferences.urgency <= 7
    assert preferences.wait is None or 0 <= preferences.wait <= settings.max_wait
    assert len(preferences.idempotency_key) <= 255


def vars_of(counts: Any) -> list[int]:
    return [counts.pending, counts.processing, counts.completed, counts.failed, counts.cancelled]


async def _pending(gateway: Gateway, wanted: int) -> int:
    """Waits until so many tasks are pending."""
    last = 0

    async def poll() -> None:
        nonlocal last
        while (last := (await gateway.store.counts()).pending) != wanted:
            await asyncio.sleep(0.005)

    await with_timeout(poll())
    return last
