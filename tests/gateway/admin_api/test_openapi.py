"""The description of the admin port is that of its routes and answers."""

from __future__ import annotations

import json

import msgspec
import pytest
from jsonschema import Draft202012Validator

from servedeck import __version__
from servedeck.async_queue import tasks
from servedeck.gateway import messages
from servedeck.gateway.admin_api import control, health
from servedeck.gateway.openapi import openapi_document
from servedeck.gateway.stores.store import Control
from tests.gateway.admin_api.rig import Rig
from tests.gateway.described import Described
from tests.waiting import with_timeout

ADMIN = Described(openapi_document(public=False))
PUBLIC = Described(openapi_document(public=True))
BOTH = pytest.mark.parametrize("described", [ADMIN, PUBLIC], ids=["admin", "public"])


def test_every_route_is_described_and_the_other_way_round(rig: Rig) -> None:
    assert set(ADMIN.operations) == {(one.method, one.path) for one in rig.app.routes}


@BOTH
def test_every_reference_leads_somewhere(described: Described) -> None:
    assert described.references()
    for one in described.references():
        described.resolve(one)


@BOTH
def test_every_schema_is_one_and_is_used(described: Described) -> None:
    assert described.document["openapi"].startswith("3.1")
    assert described.document["info"]["version"] == __version__
    used = {one["$ref"].rpartition("/")[2] for one in described.references()}
    for name, schema in described.schemas.items():
        Draft202012Validator.check_schema(schema)
        assert name in used


@BOTH
def test_the_parameters_of_a_path_are_described(described: Described) -> None:
    for path, item in described.document["paths"].items():
        named = {described.resolve(one)["name"] for one in item.get("parameters", [])}
        assert {f"{{{one}}}" for one in named} == {
            part for part in path.split("/") if part.startswith("{")
        }


@BOTH
def test_every_operation_has_a_name_of_its_own(described: Described) -> None:
    names = [one["operationId"] for one in described.operations.values()]
    assert len(names) == len(set(names))


def test_the_routes_without_a_key_are_told(rig: Rig) -> None:
    free = {key for key, value in ADMIN.operations.items() if value.get("security") == []}
    assert free == {(one.method, one.path) for one in rig.app.routes if not one.needed}


STRUCTS = [
    *(tasks.Task, tasks.TaskDetail, tasks.TaskPage, tasks.Attempt, tasks.AttemptList),
    *(tasks.FeedEvent, tasks.QueueStatus, tasks.StateCounts, tasks.QueueMinute),
    *(tasks.WorkerStatus, tasks.TaskSelection, tasks.Changed, tasks.Problem),
    *(tasks.ControlState, tasks.ControlProblem, control.QueueControl),
    *(messages.RequestHead, messages.ResponseHead, health.Readiness),
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda one: one.__name__)
def test_a_schema_has_the_fields_of_its_struct(struct: type[msgspec.Struct]) -> None:
    ADMIN.check_struct(struct)


def test_the_enumerations_are_complete() -> None:
    assert ADMIN.schemas["TaskState"]["enum"] == list(tasks.TaskState)
    assert ADMIN.schemas["FailureReason"]["enum"] == list(tasks.FailureReason)
    assert PUBLIC.schemas["TaskState"]["enum"] == list(tasks.TaskState)


async def test_real_answers_are_as_described(rig: Rig) -> None:
    worker = tasks.WorkerStatus(name="w", ready_pods=["a"], blocked_since=1.0)
    await rig.context.store.report(worker, 3600.0)
    await rig.context.store.sweep(3600.0)
    seen = set()
    for (method, path), operation in ADMIN.operations.items():
        if path == "/-/async/feed":
            continue  # test_feed.py reads it
        await rig.context.store.set_control(Control())
        # What waits from before would be the next to be claimed.
        await rig.post("/-/async/tasks/actions/cancel", json={})
        await rig.fail(reason="refused")
        if path.endswith("/retry"):
            id = await rig.fail(callback="https://hooks.example.com/x")
        elif path.endswith(("/cancel", "/front")):
            id = await rig.submit()
        else:
            id = await rig.complete()
        data = None
        if path.endswith("/control") and method == "POST":
            data = b'{"concurrency": 3}'
        elif "/actions/" in path:
            data = msgspec.json.encode(tasks.TaskSelection(ids=[id, "0" * 44]))
            ADMIN.check(ADMIN.schemas["TaskSelection"], json.loads(data))
        for place in (id, "0" * 44):
            url = rig.url + path.replace("{id}", place)
            async with rig.session.request(method, url, data=data) as response:
                body = await response.read()
                ADMIN.check_answer(operation, response.status, response.headers, body)
                seen.add((path, response.status))
    assert ("/-/async/tasks/{id}", 404) in seen
    assert {path for path, status in seen if status == 200} == {
        path for _, path in ADMIN.operations if path != "/-/async/feed"
    }


async def test_events_of_the_feed_are_as_described(rig: Rig) -> None:
    await rig.complete()
    async with rig.session.get(f"{rig.url}/-/async/feed?after=0") as response:
        while not (line := await with_timeout(response.content.readline())).startswith(b"data: "):
            assert line
    answer = ADMIN.operations["GET", "/-/async/feed"]["responses"]["200"]
    schema = answer["content"]["text/event-stream"]["x-event-data"]
    ADMIN.check(schema, json.loads(line.removeprefix(b"data: ")))


async def test_the_queue_in_the_feed_is_as_described(rig: Rig) -> None:
    await rig.submit()
    async with rig.session.get(f"{rig.url}/-/async/feed?events=queue") as response:
        while not (line := await with_timeout(response.content.readline())).startswith(b"data: "):
            assert line
    answer = ADMIN.operations["GET", "/-/async/feed"]["responses"]["200"]
    schema = answer["content"]["text/event-stream"]["x-queue-event-data"]
    ADMIN.check(schema, json.loads(line.removeprefix(b"data: ")))


async def test_it_is_served(rig: Rig) -> None:
    assert await rig.get("/-/async/openapi.json") == ADMIN.document
