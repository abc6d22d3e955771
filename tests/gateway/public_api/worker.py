"""A worker for tests of the API with real clients: makes each request once, and stores the answer,
a stream part by part. The real one is tested in tests/gateway/delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from servedeck.gateway.messages import RequestHead
from tests.gateway.public_api.harness import Gateway


@asynccontextmanager
async def running_worker(gateway: Gateway, server: str) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as session:
        working = asyncio.create_task(_work(gateway, server, session))
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def _work(gateway: Gateway, server: str, session: aiohttp.ClientSession) -> None:
    while True:
        cursor = await gateway.store.feed_end()
        while (await gateway.store.counts()).pending:
            await _deliver_one(gateway, server, session)
        await gateway.store.read_feed(cursor, 1, 60.0)


async def _deliver_one(gateway: Gateway, server: str, session: aiohttp.ClientSession) -> None:
    claimed = await gateway.claim()
    head = msgspec.json.decode(claimed.head, type=RequestHead)
    credentials = gateway.context.identity.decrypt(claimed.id, claimed.credentials)
    async with session.request(
        head.method,
        server + head.path,
        headers=[*head.headers, *credentials],
        data=claimed.body.data,
    ) as response:
        is_stream = response.content_type == "text/event-stream"
        body = b""
        async for part in response.content.iter_any():
            body += part
            if is_stream:
                await gateway.store.append_output(claimed.id, claimed.attempt, part)
        headers = [(name.lower(), value) for name, value in response.headers.items()]
        await gateway.end(
            claimed,
            body,
            status=response.status,
            headers=headers,
            is_event_stream=is_stream,
        )
