"""A list in pages, each asked for while the one before is taken in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from servedeck.cluster.http.connection import Answer, Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.watch.list_watch_types import Page, read_page

_MOST_LIST = 1 << 30
"""Bytes of one answer to a list; only a list that cannot be paged comes near."""


async def pages(
    connection: Connection,
    path: str,
    selectors: Sequence[tuple[str, str]],
    *,
    limit: int,
    timeout: float,  # noqa: ASYNC109 - of each request
) -> AsyncGenerator[Page | None, None]:
    """Pages of the newest state, `limit` objects each; 0 for all of them at once. None says that
    the list grew old between two pages and begins anew, whole: forget what came before.

    Source of the rule: kubernetes client-go tools/pager/pager.go. Close the generator
    (`contextlib.aclosing`) where it is not taken to its end. Raises ClusterError.
    """

    def ask(token: str) -> asyncio.Task[Answer]:
        params = [*selectors]
        if limit:
            params.append(("limit", str(limit)))
        if token:
            params.append(("continue", token))
        request = connection.request("GET", path, params=params, timeout=timeout, limit=_MOST_LIST)
        return asyncio.ensure_future(request)

    token = ""
    asked = ask(token)
    try:
        while True:
            try:
                page = read_page((await asked).body)
            except ApiError as error:
                if not token or not error.expired:
                    raise
                token, limit = "", 0
                asked = ask(token)
                yield None
                continue
            token = page.metadata.continue_
            if token:
                asked = ask(token)
            yield page
            if not token:
                return
    finally:
        asked.cancel()
