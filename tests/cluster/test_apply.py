from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.apply import (
    ObjectRef,
    _without_server_managed_fields,
    admission_changes,
    apply,
    find_existing,
    preview,
)
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, InvalidResponseError
from servedeck.cluster.rejection import RejectionReason
from servedeck.serving.objects.records import REVISION_ANNOTATION
from tests.cluster.fake_api_server import FakeApiServer, respond_with_status

MANIFEST = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "fresh", "namespace": "chat"},
}
SERVICE_PATH = ObjectRef.from_manifest(MANIFEST).path


def respond_with_body(body: str, code: int = 200) -> Any:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, status=code)

    return answer


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"metadata": 5}', '{"metadata": {}}'])
async def test_a_server_that_is_not_a_kubernetes_api_is_a_one_line_error(
    api: FakeApiServer, connection: Connection, body: str
) -> None:
    api.add_route(SERVICE_PATH, respond_with_body(body))
    outcome = await apply(connection, [MANIFEST])
    assert outcome.rejection is not None
    assert outcome.rejection.reason is RejectionReason.SERVER_ERROR
    assert outcome.rejection.message.startswith("The server ")
    assert [request.method for request in api.requests] == ["GET"], "nothing is written into it"


async def test_what_was_made_although_the_answer_cannot_be_read_is_known(
    api: FakeApiServer, connection: Connection
) -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH":
            return web.Response(text="<html>", status=201)
        if any(one.method == "PATCH" for one in api.requests):
            return web.json_response({"metadata": {"uid": "new"}})
        return web.Response(text="{}", status=404)

    api.add_route(SERVICE_PATH, serve)
    outcome = await apply(connection, [MANIFEST])
    assert [(one.uid, one.created) for one in outcome.applied] == [("new", True)]
    assert outcome.rejection is not None


async def test_what_stood_there_unseen_is_not_taken_for_ours(
    api: FakeApiServer, connection: Connection
) -> None:
    looks = [respond_with_body("<html>"), respond_with_body('{"metadata": {"uid": "theirs"}}')]

    async def serve(request: web.Request) -> web.StreamResponse:
        answer: web.StreamResponse = await looks.pop(0)(request)
        return answer

    api.add_route(SERVICE_PATH, serve)
    outcome = await apply(connection, [MANIFEST])
    assert outcome.applied == ()
    assert outcome.rejection is not None


async def test_a_preview_of_a_login_page_is_an_error(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add_route(SERVICE_PATH, respond_with_body("<html>", 201))
    with pytest.raises(InvalidResponseError, match="web page"):
        await preview(connection, [MANIFEST])


@pytest.mark.parametrize("metadata", [5, None, [], {"managedFields": 5, "labels": ["x"]}])
async def test_malformed_metadata_has_no_owner(
    api: FakeApiServer, connection: Connection, metadata: Any
) -> None:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Service", "metadata": metadata})

    api.add_route(SERVICE_PATH, serve)
    [owner] = await find_existing(connection, [MANIFEST])
    assert (owner.managers, owner.managed_by_servedeck) == ((), False)
    [shown] = await preview(connection, [MANIFEST])
    assert shown.rejection is None


async def test_objects_that_may_not_be_read_count_as_free(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add_route(SERVICE_PATH, respond_with_status(403))
    assert await find_existing(connection, [MANIFEST]) == ()


async def test_names_are_escaped_in_paths(api: FakeApiServer, connection: Connection) -> None:
    place = ObjectRef("v1", "Service", "../chat", "a/../b?dryRun=All#\x1b")
    with pytest.raises(ApiError):
        await connection.get(place.path)
    [request] = api.requests
    assert request.raw_path == (
        "/api/v1/namespaces/..%2Fchat/services/a%2F..%2Fb%3FdryRun=All%23%1B"
    )


def test_what_admission_set_is_harmless_on_a_screen() -> None:
    hostile = "k\x1b]0;pwn\x07\n\u202e"
    sent = {
        "metadata": {"labels": {}},
        "spec": {"containers": [{"name": "a"}], "args": {hostile: "x"}},
    }
    stored = {
        "metadata": {"labels": {hostile: hostile}},
        "spec": {"containers": [{"name": "a"}, {"name": hostile}, {"name": ["odd"]}], "args": {}},
    }
    found = admission_changes(sent, stored)
    assert len(found) == 4
    for text in (text for one in found for text in one):
        assert text.isprintable(), ascii(text)


def test_the_revision_annotation_is_no_change() -> None:
    before = {"metadata": {"name": "a", "annotations": {"mine": "1"}}, "spec": {"replicas": 1}}
    annotations = {"mine": "1", REVISION_ANNOTATION: "1"}
    after = {
        **before,
        "metadata": {"name": "a", "annotations": annotations},
        "status": {"replicas": 1},
    }
    assert _without_server_managed_fields(before) == _without_server_managed_fields(after)
    changed = {**after, "metadata": {"name": "a", "annotations": {**annotations, "mine": "2"}}}
    assert _without_server_managed_fields(before) != _without_server_managed_fields(changed)
