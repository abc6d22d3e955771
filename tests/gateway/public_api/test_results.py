"""Status, result, cancel and retry of a task, for its caller only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aiohttp
import pytest

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.gateway.objects import ObjectStoreError
from servedeck.gateway.public_api import app, results
from servedeck.gateway.stores.store import Content
from tests.gateway.public_api.harness import LONG, Gateway, record, running_gateway
from tests.waiting import wait_until, with_timeout

AUTH = {"Authorization": "Bearer a"}


class Objects:
    """In memory, so that a test can see and break what is in it."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.is_broken = False
        self.breaks_after: int | None = None

    async def put(self, name: str, body: bytes | Path) -> None:
        if self.is_broken:
            raise ObjectStoreError("The bucket is away.")
        self.stored[name] = body if isinstance(body, bytes) else body.read_bytes()

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        if self.is_broken or name not in self.stored:
            raise ObjectStoreError("The object is not there.")
        data = self.stored[name][start:end]
        for number, begin in enumerate(range(0, len(data), 1000)):
            if number == self.breaks_after:
                raise ObjectStoreError("The bucket went away.")
            yield data[begin : begin + 1000]

    async def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self.stored.pop(name, None)

    async def delete_older(self, seconds: float) -> int:
        return 0


async def submit(gateway: Gateway, **options: object) -> str:
    answer = await gateway.submit(headers=AUTH, **options)  # type: ignore[arg-type]
    assert answer.status == 202
    id: str = answer.json()["id"]
    return id


async def test_status_through_the_life_of_a_task(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        first, id = await submit(gateway), await submit(gateway)
        path = f"/-/async/tasks/{id}"
        status = (await gateway.ask("GET", path, headers=AUTH)).json()
        assert (status["status"], status["position"], status["attempt"]) == ("pending", 1, 0)
        assert (await gateway.claim()).id == first
        claimed = await gateway.claim()
        answer = await gateway.ask("GET", path, headers=AUTH)
        assert "Retry-After" in answer.headers
        status = answer.json()
        assert (status["status"], status["position"], status["attempt"]) == ("processing", None, 1)
        await gateway.end(claimed, status=204)
        answer = await gateway.ask("GET", path, headers=AUTH)
        assert "Retry-After" not in answer.headers
        status = answer.json()
        assert (status["status"], status["response_status"]) == ("completed", 204)
        assert status["expires"] > status["ended"] >= status["started"] >= status["created"]
        assert not set(status) & {"owner", "path", "head"}


async def test_the_result_is_the_servers_answer(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        path = f"/-/async/tasks/{id}/result"
        answer = await gateway.ask("GET", path, headers=AUTH)
        assert (answer.status, answer.json()["status"]) == (202, "pending")
        assert answer.headers["Location"] == f"/-/async/tasks/{id}"
        assert int(answer.headers["Retry-After"]) >= 1
        await gateway.end(
            await gateway.claim(),
            b"\x1f\x8b body",
            status=203,
            headers=[
                ("content-type", "text/x"),
                ("content-encoding", "gzip"),
                ("x-own", "caf\u00e9"),
                ("x-own", "2"),
                ("set-cookie", "a=b"),
                ("content-length", "999"),
                ("transfer-encoding", "chunked"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("x-bad", "a\r\nx-injected: 1"),
                ("bad name", "1"),
            ],
        )
        for method in ("GET", "HEAD"):
            answer = await gateway.ask(method, path, headers=AUTH)
            assert answer.status == 203
            assert answer.body == (b"\x1f\x8b body" if method == "GET" else b"")
            assert answer.headers["Content-Length"] == "7"
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers.getall("x-own")[1] == "2"
            assert answer.headers["Set-Cookie"] == "a=b"
            assert answer.headers["x-async-state"] == "completed"
            for name in ("x-hop", "x-bad", "x-injected", "transfer-encoding"):
                assert name not in answer.headers


@pytest.mark.parametrize("status", [204, 304])
async def test_a_result_without_a_body(tmp_path: Path, status: int) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        await gateway.end(await gateway.claim(), b"", status=status, headers=[])
        answer = await gateway.ask("GET", f"/-/async/tasks/{id}/result", headers=AUTH)
        assert (answer.status, answer.body) == (status, b"")


async def test_results_that_nobody_reads_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 32 << 20  # more than the kernel buffers
    monkeypatch.setattr(results, "_MIN_HELD_BYTES", 2 * size)
    async with running_gateway(tmp_path, max_result_bytes=size) as gateway:
        id = await submit(gateway)
        await gateway.end(await gateway.claim(), bytes(size))
        path = f"/-/async/tasks/{id}/result"
        writers = []

        async def ask_and_read_nothing() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1)
            authorization = AUTH["Authorization"]
            head = f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n\r\n"
            writer.write(head.encode())
            writers.append(writer)

        await ask_and_read_nothing()
        await wait_until(lambda: gateway.app._results._held_bytes == size)
        await ask_and_read_nothing()
        await wait_until(lambda: gateway.app._results._held_bytes == 2 * size)
        answer = await gateway.ask("GET", path, headers=AUTH)
        assert (answer.status, answer.json()["title"]) == (503, "Too many large results")
        assert "Retry-After" in answer.headers
        assert (await gateway.ask("GET", path[: -len("/result")], headers=AUTH)).status == 200
        for writer in writers:
            writer.transport.abort()
        await wait_until(lambda: not gateway.app._results._held_bytes)
        assert (await gateway.ask("GET", path, headers=AUTH)).status == 200


async def test_a_refused_request_has_the_servers_answer(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        await gateway.end(
            await gateway.claim(),
            b'{"error": "no such model"}',
            state=TaskState.FAILED,
            reason=FailureReason.REFUSED,
            status=404,
        )
        answer = await gateway.ask("GET", f"/-/async/tasks/{id}/result", headers=AUTH)
        assert (answer.status, answer.body) == (404, b'{"error": "no such model"}')
        # Told from the gateway's own 404.
        assert answer.headers["x-async-state"] == "failed"


@pytest.mark.parametrize(
    ("reason", "status"),
    [(FailureReason.EXHAUSTED, 502), (FailureReason.EXPIRED, 504), (FailureReason.LOST, 502)],
)
async def test_a_failure_without_an_answer(
    tmp_path: Path, reason: FailureReason, status: int
) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        await gateway.fail(await gateway.claim(), reason, "The server refused the connection.")
        answer = await gateway.ask("GET", f"/-/async/tasks/{id}/result", headers=AUTH)
        assert answer.status == status
        problem = answer.json()
        assert problem["detail"] == "The server refused the connection."
        assert (problem["task"], problem["state"]) == (id, "failed")


@pytest.mark.parametrize("what", ["", "/result", "/stream"])
async def test_a_task_of_another_caller_is_not_known(tmp_path: Path, what: str) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        for headers in ({"Authorization": "Bearer b"}, {}):
            answer = await gateway.ask("GET", f"/-/async/tasks/{id}{what}", headers=headers)
            assert answer.status == 404
        for other in ("0" * 44, "x", id[:-1], id.upper(), id + "0"):
            answer = await gateway.ask("GET", f"/-/async/tasks/{other}{what}", headers=AUTH)
            assert answer.status == (200 if other == id else 404)
        gone = gateway.context.identity.new_id(gateway.context.identity.owner_of("Bearer a"))
        answer = await gateway.ask("GET", f"/-/async/tasks/{gone}{what}", headers=AUTH)
        assert (answer.status, answer.json()["task"]) == (410, gone)
        assert "by an operator; or it was never stored" in answer.json()["detail"]


@pytest.mark.parametrize("action", ["cancel", "retry"])
async def test_another_caller_cannot_act(tmp_path: Path, action: str) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        path = f"/-/async/tasks/{id}/{action}"
        assert (await gateway.ask("POST", path)).status == 404
        gone = gateway.context.identity.new_id(gateway.context.identity.owner_of("Bearer a"))
        path = f"/-/async/tasks/{gone}/{action}"
        assert (await gateway.ask("POST", path, headers=AUTH)).status == 410
        found = await gateway.store.find(id)
        assert found is not None
        assert found.task.state is TaskState.PENDING


@pytest.mark.parametrize("by_query", [True, False])
@pytest.mark.parametrize("what", ["", "/result"])
async def test_a_wait_ends_with_the_task(tmp_path: Path, what: str, by_query: bool) -> None:
    async with running_gateway(tmp_path, max_wait=3600) as gateway:
        id = await submit(gateway)
        path, headers = f"/-/async/tasks/{id}{what}", dict(AUTH)
        if by_query:
            path += "?wait=3600"
        else:
            headers["Prefer"] = "wait=3600"
        asking = asyncio.create_task(gateway.ask("GET", path, headers=headers))
        await _watched(gateway, id)
        claimed = await gateway.claim()
        await gateway.end(claimed, b"done")
        answer = await with_timeout(asking)
        assert answer.status == 200
        if what:
            assert answer.body == b"done"
        else:
            assert answer.json()["status"] == "completed"
            assert answer.headers["Preference-Applied"] == "wait=3600"


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "", "%00"])
async def test_a_bad_wait(tmp_path: Path, value: str) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        answer = await gateway.ask("GET", f"/-/async/tasks/{id}?wait={value}", headers=AUTH)
        assert answer.status == 400
        assert "wait" in answer.json()["detail"]
        # A preference that is not understood is ignored.
        answer = await gateway.ask(
            "GET", f"/-/async/tasks/{id}", headers={**AUTH, "Prefer": "wait=x, wait"}
        )
        assert answer.status == 200


async def test_a_client_that_goes_away_is_not_waited_for(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, max_wait=3600) as gateway:
        id = await submit(gateway)
        asking = asyncio.create_task(
            gateway.ask("GET", f"/-/async/tasks/{id}?wait=3600", headers=AUTH)
        )
        await _watched(gateway, id)
        asking.cancel()
        watched = gateway.context.hub._watched
        await wait_until(lambda: id not in watched, "the wait to end")


async def test_draining_ends_a_wait(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, max_wait=3600) as gateway:
        id = await submit(gateway)
        path = f"/-/async/tasks/{id}/result?wait=3600"
        asking = asyncio.create_task(gateway.ask("GET", path, headers=AUTH))
        await _watched(gateway, id)
        gateway.app.drain()
        assert (await with_timeout(asking)).status == 202


async def test_cancel(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        pending, running, ended = [await submit(gateway) for _ in range(3)]
        # The first one is cancelled before the others are claimed.
        answer = await gateway.ask("POST", f"/-/async/tasks/{pending}/cancel", headers=AUTH)
        assert (answer.status, answer.json()["status"]) == (200, "cancelled")
        again = await gateway.ask("POST", f"/-/async/tasks/{pending}/cancel", headers=AUTH)
        assert (again.status, again.json()["status"]) == (200, "cancelled")
        page = gateway.context.metrics.page()
        assert b'servedeck_async_ended_total{outcome="cancelled"} 1.0' in page
        result = await gateway.ask("GET", f"/-/async/tasks/{pending}/result", headers=AUTH)
        assert (result.status, result.json()["state"]) == (409, "cancelled")
        claimed = await gateway.claim()
        assert claimed.id == running
        answer = await gateway.ask("POST", f"/-/async/tasks/{running}/cancel", headers=AUTH)
        assert answer.json()["status"] == "cancelled"
        claimed = await gateway.claim()
        assert claimed.id == ended
        await gateway.end(claimed)
        answer = await gateway.ask("POST", f"/-/async/tasks/{ended}/cancel", headers=AUTH)
        assert (answer.status, answer.json()["state"]) == (409, "completed")


async def test_retry_takes_the_credentials_of_its_own_request(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        path = f"/-/async/tasks/{id}/retry"
        answer = await gateway.ask("POST", path, headers=AUTH)
        assert (answer.status, answer.json()["state"]) == (409, "pending")
        await gateway.fail(await gateway.claim(), FailureReason.EXHAUSTED, "No answer.")
        bad = await gateway.ask("POST", path, headers={**AUTH, "X-Async-Timeout": "x"})
        assert bad.status == 400
        answer = await gateway.ask(
            "POST", path, headers={**AUTH, "Cookie": "new=1", "X-Async-Timeout": "50"}
        )
        assert (answer.status, answer.json()["status"]) == (200, "pending")
        claimed = await gateway.claim()
        assert (claimed.id, claimed.attempt) == (id, 2)
        assert claimed.seconds_left <= 50
        assert dict(gateway.context.identity.decrypt(id, claimed.credentials)) == {
            "authorization": "Bearer a",
            "cookie": "new=1",
        }
        await gateway.end(claimed, b"second")
        result = await gateway.ask("GET", f"/-/async/tasks/{id}/result", headers=AUTH)
        assert result.body == b"second"


async def test_a_task_that_waits_for_its_next_attempt(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        claimed = await gateway.claim()
        assert await gateway.store.retry(id, claimed.attempt, LONG, record(claimed))
        status = (await gateway.ask("GET", f"/-/async/tasks/{id}", headers=AUTH)).json()
        assert (status["status"], status["position"]) == ("pending", None)
        assert status["next_attempt"] > status["started"]


async def test_the_queue_shows_counts_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_RECENT_SECONDS", 3600.0)
    async with running_gateway(tmp_path) as gateway:
        for _ in range(3):
            await submit(gateway)
        await gateway.claim()
        answer = await gateway.ask("GET", "/-/async/queue")
        assert answer.json() == {"depth": 2, "processing": 1, "backlog": 3, "recent": 3}


async def test_routes_and_methods(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        task = f"/-/async/tasks/{id}"
        for method, path, status, allow in (
            ("POST", task, 405, "GET, HEAD, OPTIONS"),
            ("DELETE", f"{task}/result", 405, "GET, HEAD, OPTIONS"),
            ("GET", f"{task}/cancel", 405, "POST, OPTIONS"),
            ("OPTIONS", f"{task}/retry", 204, "POST, OPTIONS"),
            ("OPTIONS", "/-/async/queue", 204, "GET, HEAD, OPTIONS"),
        ):
            answer = await gateway.ask(method, path, headers=AUTH)
            assert (answer.status, answer.headers["Allow"]) == (status, allow), (method, path)
        for path in (
            "/-/async",
            "/-/async/",
            "/-/async/tasks",
            "/-/async/tasks/",
            f"{task}/",
            f"{task}/request",
            f"{task}/result/",
            "/-/async/feed",
            "/-/async/queue/pause",
            "/-/async/../v1",
            "/x/../-/async/queue",
            "/%2d/async/queue2",
            "//-/async/queue",
            "/-//async/queue",
            "/-/./async/queue",
        ):
            for method in ("GET", "POST"):
                answer = await gateway.ask(method, path, headers={**AUTH, "X-Async": "true"})
                assert answer.status == 404, (method, path)


async def test_large_bodies_are_kept_as_objects(tmp_path: Path) -> None:
    objects = Objects()
    async with running_gateway(tmp_path, objects=objects, inline_bytes=100) as gateway:
        body = b"x" * 5000
        id = (await gateway.submit(body, AUTH)).json()["id"]
        assert objects.stored == {f"{id}/request": body}
        claimed = await gateway.claim()
        assert (claimed.body.object, claimed.body.size) == (f"{id}/request", 5000)
        objects.stored[f"{id}/response"] = b"y" * 9000
        await gateway.end(claimed, content=Content(object=f"{id}/response", size=9000))
        path = f"/-/async/tasks/{id}/result"
        answer = await gateway.ask("GET", path, headers=AUTH)
        assert (answer.status, answer.body) == (200, b"y" * 9000)
        assert answer.headers["Content-Length"] == "9000"

        objects.is_broken = True
        assert (await gateway.ask("GET", path, headers=AUTH)).status == 503
        answer = await gateway.submit(body, AUTH)
        assert answer.status == 503
        assert "Retry-After" in answer.headers
        assert (await gateway.submit(b"small", AUTH)).status == 202

        objects.is_broken = False
        objects.breaks_after = 3
        with pytest.raises(aiohttp.ClientPayloadError):
            await gateway.ask("GET", path, headers=AUTH)


async def test_an_object_of_a_request_that_was_not_stored_is_deleted(tmp_path: Path) -> None:
    objects = Objects()
    async with running_gateway(tmp_path, objects=objects, inline_bytes=100, max_depth=1) as gateway:
        body, headers = b"x" * 5000, {**AUTH, "Idempotency-Key": "k"}
        id = (await gateway.submit(body, headers)).json()["id"]
        assert (await gateway.submit(body, headers)).json()["id"] == id
        assert (await gateway.submit(b"y" * 5000, headers)).status == 422
        assert (await gateway.submit(b"z" * 5000, AUTH)).status == 429
        await wait_until(lambda: set(objects.stored) == {f"{id}/request"}, "the others to go")


async def _watched(gateway: Gateway, id: str) -> None:
    """Waits until a request waits for the task."""
    hub = gateway.context.hub
    await wait_until(lambda: id in hub._watched, "a request that waits")
