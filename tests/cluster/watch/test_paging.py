from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.watch.paging import list_pages
from tests.cluster.fake_api_server import FakeApiServer, make_pod, respond_with_status
from tests.waiting import WAIT_SECONDS, wait_until


@pytest.fixture
async def five_pods(api: FakeApiServer) -> None:
    for number in range(5):
        await api.put(make_pod(f"pod-{number}"))


@pytest.mark.usefixtures("five_pods")
async def test_the_next_page_is_on_its_way_while_one_is_taken_in(
    api: FakeApiServer, connection: Connection
) -> None:
    counts = []
    async with aclosing(
        list_pages(connection, api.path, (), page_size=2, timeout=WAIT_SECONDS)
    ) as listed:
        async for page in listed:
            assert page is not None
            counts.append(len(page.items or ()))
            await wait_until(lambda: api.count_requests("list") == min(len(counts) + 1, 3))
    assert counts == [2, 2, 1]
    assert api.count_requests("list") == 3


@pytest.mark.usefixtures("five_pods")
async def test_an_expired_continue_token_restarts_the_list(
    api: FakeApiServer, connection: Connection
) -> None:
    async def fine(_: web.Request) -> None: ...

    api.faults["list"] = [fine, respond_with_status(410, "Expired")]
    async with aclosing(
        list_pages(connection, api.path, (), page_size=2, timeout=WAIT_SECONDS)
    ) as listed:
        counts = [None if page is None else len(page.items or ()) async for page in listed]
    assert counts == [2, None, 5]


@pytest.mark.usefixtures("five_pods")
async def test_only_the_first_page_may_come_from_the_watch_cache(
    api: FakeApiServer, connection: Connection
) -> None:
    async with aclosing(
        list_pages(connection, api.path, (), page_size=3, timeout=WAIT_SECONDS, from_cache=True)
    ) as listed:
        assert len([page async for page in listed]) == 2
    assert [request.query.get("resourceVersion") for request in api.requests] == ["0", None]


def no_request_pending() -> bool:
    return not any("Connection.request" in repr(one) for one in asyncio.all_tasks())


@pytest.mark.usefixtures("five_pods")
@pytest.mark.parametrize("answered", [True, False])
async def test_a_list_that_is_left_midway_leaves_no_request_behind(
    api: FakeApiServer, connection: Connection, caplog: pytest.LogCaptureFixture, *, answered: bool
) -> None:
    asked = asyncio.Event()

    async def fine(_: web.Request) -> None: ...

    async def rejects(request: web.Request) -> web.StreamResponse:
        asked.set()
        if not answered:
            await asyncio.sleep(3600)
        return await respond_with_status(500)(request)

    api.faults["list"] = [fine, rejects]
    async with aclosing(
        list_pages(connection, api.path, (), page_size=2, timeout=WAIT_SECONDS)
    ) as listed:
        await anext(listed)
        await asked.wait()
        if answered:
            await wait_until(no_request_pending)
    await wait_until(no_request_pending)
    await asyncio.sleep(0)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_rejection_is_the_callers(api: FakeApiServer, connection: Connection) -> None:
    api.faults["list"] = [respond_with_status(403, "Forbidden")]
    with pytest.raises(ApiError):
        await anext(list_pages(connection, api.path, (), page_size=2, timeout=WAIT_SECONDS))
