"""The description of the admin port is that of its routes and answers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from servedeck import __version__
from servedeck.async_queue import tasks
from servedeck.gateway import messages
from servedeck.gateway.admin_api import health, queue
from servedeck.gateway.openapi import openapi_document
from servedeck.gateway.stores.store import Control
from tests.gateway.admin_api.rig import Rig

DOCUMENT: dict[str, Any] = json.loads(openapi_document(public=False))
SCHEMAS = DOCUMENT["components"]["schemas"]

METHODS = {"get", "post", "put", "delete", "patch"}


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): item[method]
        for path, item in DOCUMENT["paths"].items()
        for method in METHODS & item.keys()
    }


def resolve(value: dict[str, Any]) -> dict[str, Any]:
    """What a reference names."""
    if "$ref" not in value:
        return value
    found: Any = DOCUMENT
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolve(found)


def references(value: object) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        own = [value] if "$ref" in value else []
        return own + [one for part in value.values() for one in references(part)]
    if isinstance(value, list):
        return [one for part in value for one in references(part)]
    return []


def check(schema: dict[str, Any], value: object) -> None:
    """The value is valid by a schema of the document."""
    whole = {"$ref": "#/s", "s": schema, "components": DOCUMENT["components"]}
    Draft202012Validator(whole).validate(value)


def test_every_route_is_described_and_the_other_way_round(rig: Rig) -> None:
    described = set(operations())
    assert described == {(one.method, one.path) for one in rig.app.routes}


def test_every_reference_leads_somewhere() -> None:
    for one in references(DOCUMENT):
        resolve(one)


def test_every_schema_is_one() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["info"]["version"] == __version__
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_the_parameters_of_a_path_are_described() -> None:
    for path, item in DOCUMENT["paths"].items():
        named = {resolve(one)["name"] for one in item.get("parameters", [])}
        assert named == ({"id"} if "{id}" in path else set()), path


def test_the_routes_without_a_key_are_told(rig: Rig) -> None:
    free = {key for key, value in operations().items() if value.get("security") == []}
    assert free == {(one.method, one.path) for one in rig.app.routes if not one.needed}


STRUCTS = [
    *(tasks.Task, tasks.TaskDetail, tasks.TaskPage, tasks.Attempt, tasks.AttemptList),
    *(tasks.FeedEvent, tasks.QueueStatus, tasks.StateCounts, tasks.QueueMinute),
    *(tasks.WorkerStatus, tasks.Changed, tasks.Problem),
    *(messages.RequestHead, messages.ResponseHead, health.Readiness, queue.QueueControl),
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda one: one.__name__)
def test_a_schema_has_the_fields_of_its_struct(struct: type[msgspec.Struct]) -> None:
    _, components = msgspec.json.schema_components([struct])
    expected = components[struct.__name__]["properties"]
    described = SCHEMAS[struct.__name__]["properties"]
    assert described.keys() == expected.keys()
    for name in expected:
        assert kinds(described[name]) == kinds_of_struct(expected[name]), name


def kinds(schema: dict[str, Any]) -> set[str]:
    """JSON types that a schema allows."""
    schema = resolve(schema)
    if "anyOf" in schema:
        return {kind for one in schema["anyOf"] for kind in kinds(one)}
    found = schema["type"]
    return {found} if isinstance(found, str) else set(found)


def kinds_of_struct(schema: dict[str, Any]) -> set[str]:
    if "anyOf" in schema:
        return {kind for one in schema["anyOf"] for kind in kinds_of_struct(one)}
    if "type" in schema:
        return {schema["type"]}
    if "enum" in schema:
        return {"string"}
    return kinds({"$ref": schema["$ref"].replace("$defs", "components/schemas")})


def test_the_enumerations_are_complete() -> None:
    assert SCHEMAS["TaskState"]["enum"] == list(tasks.TaskState)
    assert SCHEMAS["FailureReason"]["enum"] == list(tasks.FailureReason)


async def test_real_answers_are_as_described(rig: Rig) -> None:
    worker = tasks.WorkerStatus(name="w", ready_pods=["a"], blocked_since=1.0)
    await rig.context.store.report(worker, 3600.0)
    await rig.context.store.sweep(3600.0)
    seen = set()
    for (method, path), operation in operations().items():
        if path == "/-/async/feed":
            continue  # test_feed.py reads it
        await rig.context.store.set_control(Control())
        await rig.fail(reason="refused")
        if path.endswith("/retry"):
            id = await rig.fail(callback="https://hooks.example.com/x")
        elif path.endswith(("/cancel", "/front")):
            id = await rig.submit()
        else:
            id = await rig.complete()
        data = b'{"concurrency": 3}' if path.endswith("/control") else None
        for place in (id, "0" * 44):
            url = rig.url + path.replace("{id}", place)
            async with rig.session.request(method, url, data=data) as response:
                check_answer(operation, response.status, response.headers, await response.read())
                seen.add((path, response.status))
    assert ("/-/async/tasks/{id}", 404) in seen
    assert {path for path, status in seen if status == 200} == {
        path for _, path in operations() if path != "/-/async/feed"
    }


def check_answer(operation: dict[str, Any], status: int, headers: Any, body: bytes) -> None:
    described = operation["responses"]
    answer = resolve(described.get(str(status)) or described["default"])
    kind = headers["Content-Type"].partition(";")[0]
    assert kind in answer["content"], (operation["operationId"], status, kind)
    schema = answer["content"][kind].get("schema")
    if kind.endswith("json"):
        assert schema is not None
        check(schema, json.loads(body))


async def test_it_is_served(rig: Rig) -> None:
    assert await rig.get("/-/async/openapi.json") == DOCUMENT
