"""The description of the public port is that of its routes and answers."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from servedeck.async_queue import tasks
from servedeck.async_queue.tasks import Task, TaskState
from servedeck.gateway.asgi import HttpError
from servedeck.gateway.delivery.callbacks import callback_body
from servedeck.gateway.openapi import openapi_document
from servedeck.gateway.process import make_context, running_gateway
from servedeck.gateway.public_api.app import PublicApp, QueueCounts
from tests.gateway.described import Described
from tests.gateway.process.rig import InferenceServer
from tests.gateway.process.test_running_gateway import settings
from tests.waiting import with_timeout

PUBLIC = Described(openapi_document(public=True))
SUBMIT = "/{path}"
STREAM = "/-/async/tasks/{id}/stream"


async def test_every_route_is_described_and_the_other_way_round(tmp_path: Path) -> None:
    app = PublicApp(make_context(settings(tmp_path)))
    described = {key for key in PUBLIC.operations if key[1] != SUBMIT}
    for method, path in described:
        methods, _, _ = app._route(path.replace("{id}", "0" * 44))
        assert set(methods) - {"HEAD"} == {method}, path
    under_tasks = {f"/-/async/tasks/{{id}}/{what}".rstrip("/") for what in app._task_routes}
    assert under_tasks == {path for _, path in described if "{id}" in path}
    with pytest.raises(HttpError):
        app._route("/-/async/tasks")


@pytest.mark.parametrize(
    "struct",
    [tasks.Accepted, tasks.TaskStatus, tasks.Problem, QueueCounts],
    ids=lambda one: one.__name__,
)
def test_a_schema_has_the_fields_of_its_struct(struct: type) -> None:
    PUBLIC.check_struct(struct)


@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED])
def test_a_callback_is_as_described(state: TaskState) -> None:
    task = Task(
        id="0", state=state, attempt=1, max_attempts=3, urgency=3, created=1.0, deadline=9.0
    )
    body = json.loads(callback_body(task, ""))
    schema = {"$ref": "#/components/schemas/TaskEnded"}
    PUBLIC.check(schema, body)
    described = PUBLIC.schemas["TaskEnded"]["properties"]["data"]["properties"]
    assert body["data"].keys() == described.keys()


async def test_real_answers_are_as_described(tmp_path: Path) -> None:
    seen: dict[str, set[int]] = {}
    async with InferenceServer().serving() as server, aiohttp.ClientSession() as session:
        values = {"upstreams": (server.url,), "max_body_bytes": 100, "max_attempts": 1}
        async with running_gateway(settings(tmp_path, **values)) as gateway:
            await with_timeout(gateway.wait_until_open())
            base = f"http://127.0.0.1:{gateway.public_port}"

            async def ask(
                method: str, path: str, id: str = "", data: bytes = b"", **headers: str
            ) -> bytes:
                url = base + path.replace("{id}", id).replace("{path}", "v1/x")
                async with session.request(method, url, data=data, headers=headers) as response:
                    body = await response.read()
                    operation = PUBLIC.operations[method, path]
                    PUBLIC.check_answer(operation, response.status, response.headers, body)
                    seen.setdefault(operation["operationId"], set()).add(response.status)
                    return body

            header = {"X-Async": "true"}
            one = "/-/async/tasks/{id}"
            await ask("GET", "/-/async/openapi.json")
            await ask("GET", "/-/async/queue")
            await ask("POST", SUBMIT, data=b"x" * 101, **header)
            await ask("POST", SUBMIT, **header, **{"X-Async-Timeout": "never"})
            server.open.clear()
            id = json.loads(await ask("POST", SUBMIT, data=b"{}", **header))["id"]
            for path in ("", "/result", "/stream"):
                await ask("GET", one + path, id)
            await ask("POST", f"{one}/retry", id)
            await ask("POST", f"{one}/cancel", id)
            await ask("GET", f"{one}/result", id)
            for place in (id, "0" * 44):
                for method, path in PUBLIC.operations:
                    if "{id}" in path:
                        await ask(method, path, place)
            server.open.set()
            server.status = 400
            refused = {**header, "Prefer": "wait=60"}
            await ask("POST", SUBMIT, data=b"{}", **refused)
            [failed] = await gateway.context.store.page(TaskState.FAILED, "", 1)
            await ask("POST", f"{one}/retry", failed.id)
    assert {200, 404} <= seen["getStatus"]
    assert {202, 404, 409} <= seen["getResult"]
    assert {200, 409, 404} <= seen["retryTask"]
    assert {200, 404} <= seen["cancelTask"]
    assert {202, 400, 413} <= seen["submit"]
