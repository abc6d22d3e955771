"""The scripted API server of the tests itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import aiohttp

from tests.cluster.fake_api_server import FakeApiServer, make_pod, serve
from tests.waiting import wait_until, with_timeout


class CountedHistory(list[tuple[int, bytes]]):
    """Fails a watch that reads the history again and again, which would block the event loop."""

    reads = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        self.reads += 1
        assert self.reads < 50, "the watch does not wait for a change"
        return super().__iter__()


async def test_a_watch_waits_for_the_next_change_when_the_version_alone_was_raised() -> None:
    api = FakeApiServer()
    api.history = history = CountedHistory()
    api.version += 100
    async with serve(api), aiohttp.ClientSession() as session:
        url = f"{api.url}{api.path}?watch=true&resourceVersion=100&timeoutSeconds=3600"
        async with session.get(url) as answer:
            await wait_until(lambda: history.reads > 0)
            await api.put(make_pod("a"))
            event = json.loads(await with_timeout(answer.content.readline()))
    assert event["object"]["metadata"]["name"] == "a"
    assert history.reads == 2
