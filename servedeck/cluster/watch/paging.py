"""A list in pages, each asked for while the one before is taken in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.watch.list_watch_types import ListPage, parse_list_page

_MAX_LIST_BYTES = 1 << 30
"""Bytes of one answer to a list; only a list that cannot be paged comes near."""


async def list_pages(
    connection: Connection,
    path: str,
    selectors: Sequence[tuple[str, str]],
    *,
    page_size: int,
    timeout: float,  # noqa: ASYNC109 - of each request
) -> AsyncGenerator[ListPage | None, None]:
    """Pages of the newest state, `limit` objects each; 0 for all of them at once. None says that
    the list grew old between two pages and begins anew, whole: forget what came before.

    Source of the rule: kubernetes client-go tools/pager/pager.go. Close the generator
    (`contextlib.aclosing`) where it is not taken to its end. Raises ClusterError.
    """

    def request_page(token: str) -> asyncio.Task[ApiResponse]:
        params = [*selectors]
        if page_size:
            params.append(("limit", str(page_size)))
        if token:
            params.append(("continue", token))
        request = connection.request(
            "GET", path, params=params, timeout=timeout, max_bytes=_MAX_LIST_BYTES
        )
        return asyncio.ensure_future(request)

    token = ""
    asked = request_page(token)
    try:
        while True:
            try:
                page = parse_list_page((await asked).body)
            except ApiError as error:
                if not token or not error.expired:
                    raise
                token, page_size = "", 0
                asked = request_page(token)
                yield None
                continue
            token = page.metadata.continue_
            if token:
                asked = request_page(token)
            yield page
            if not token:
                return
    finally:
        asked.cancel()
