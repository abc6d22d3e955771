"""Paged lists; the next page is requested while the current one is processed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.watch.list_watch_types import ListPage, parse_list_page

_MAX_LIST_BYTES = 1 << 30
"""Maximum size of one list response; only an unpaged list comes close."""


async def list_pages(
    connection: Connection,
    path: str,
    selectors: Sequence[tuple[str, str]],
    *,
    page_size: int,
    timeout: float,  # noqa: ASYNC109 - of each request
    from_cache: bool = False,
) -> AsyncGenerator[ListPage | None, None]:
    """Pages of the most recent state, `page_size` objects each; 0 for no paging. With `from_cache`,
    the state of the API server's watch cache, which may be older. Yields None if the continue token
    expired: the list then restarts without paging, and earlier pages must be discarded.

    Source: kubernetes client-go tools/pager/pager.go. Close the generator (`contextlib.aclosing`)
    if it is not exhausted. Raises ClusterError.
    """

    def request_page(token: str) -> asyncio.Task[ApiResponse]:
        params = [*selectors]
        if page_size:
            params.append(("limit", str(page_size)))
        if token:
            params.append(("continue", token))
        elif from_cache:
            # Later pages are of the version in the continue token.
            params.append(("resourceVersion", "0"))
        request = connection.request(
            "GET", path, params=params, timeout=timeout, max_bytes=_MAX_LIST_BYTES
        )
        return asyncio.ensure_future(request)

    token = ""
    pending_page = request_page(token)
    try:
        while True:
            try:
                page = parse_list_page((await pending_page).body)
            except ApiError as error:
                if not token or not error.expired:
                    raise
                token, page_size = "", 0
                pending_page = request_page(token)
                yield None
                continue
            token = page.metadata.continue_
            if token:
                pending_page = request_page(token)
            yield page
            if not token:
                return
    finally:
        pending_page.cancel()
