from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.watch.paging import pages
from tests.cluster.api import Api, answers, pod
from tests.waiting import LIMIT, until


@pytest.fixture
async def five(api: Api) -> None:
    for number in range(5):
        await api.put(pod(f"pod-{number}"))


@pytest.mark.usefixtures("five")
async def test_the_next_page_is_on_its_way_while_one_is_taken_in(
    api: Api, connection: Connection
) -> None:
    counts = []
    async with aclosing(pages(connection, api.path, (), limit=2, timeout=LIMIT)) as listed:
        async for page in listed:
            assert page is not None
            counts.append(len(page.items or ()))
            await until(lambda: api.count("list") == min(len(counts) + 1, 3))
    assert counts == [2, 2, 1]
    assert api.count("list") == 3


@pytest.mark.usefixtures("five")
async def test_a_list_that_grew_old_begins_anew_and_whole(api: Api, connection: Connection) -> None:
    async def fine(_: web.Request) -> None: ...

    api.faults["list"] = [fine, answers(410, "Expired")]
    async with aclosing(pages(connection, api.path, (), limit=2, timeout=LIMIT)) as listed:
        counts = [None if page is None else len(page.items or ()) async for page in listed]
    assert counts == [2, None, 5]


def nothing_asked() -> bool:
    return not any("Connection.request" in repr(one) for one in asyncio.all_tasks())


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("answered", [True, False])
async def test_a_list_that_is_left_midway_leaves_no_request_behind(
    api: Api, connection: Connection, caplog: pytest.LogCaptureFixture, *, answered: bool
) -> None:
    asked = asyncio.Event()

    async def fine(_: web.Request) -> None: ...

    async def refuses(request: web.Request) -> web.StreamResponse:
        asked.set()
        if not answered:
            await asyncio.sleep(3600)
        return await answers(500)(request)

    api.faults["list"] = [fine, refuses]
    async with aclosing(pages(connection, api.path, (), limit=2, timeout=LIMIT)) as listed:
        await anext(listed)
        await asked.wait()
        if answered:
            await until(nothing_asked)
    await until(nothing_asked)
    await asyncio.sleep(0)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_refusal_is_the_callers(api: Api, connection: Connection) -> None:
    api.faults["list"] = [answers(403, "Forbidden")]
    with pytest.raises(ApiError):
        await anext(pages(connection, api.path, (), limit=2, timeout=LIMIT))
