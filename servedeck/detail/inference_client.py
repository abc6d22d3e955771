"""Sends an inference request by one of the ways to a serving, and reads its answer as it comes."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import quote

from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.auth.kubeconfig import KubeconfigCluster
from servedeck.cluster.http.errors import ApiError, ClusterError, ConnectionLostError
from servedeck.cluster.http.proxies import select_proxy
from servedeck.cluster.http.request_headers import USER_AGENT
from servedeck.detail.inference_answer import InferenceAnswer
from servedeck.detail.inference_ways import (
    SCREEN_WORDS,
    Way,
    WayKind,
    Words,
    explain_error,
    explain_status,
    explain_unreadable,
)
from servedeck.serving.inference_request import InferenceRequest

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from servedeck.cluster.http.connection import Connection

SILENCE = 120.0
"""Seconds without data after which a request is given up: longer than a long prompt takes."""
_CONNECT_TIMEOUT = 10.0
_SLICE_BYTES = 16 << 10
"""Bytes of an answer that are read between two yields to the event loop: as events of a few bytes
they take some milliseconds."""
_STREAM_OPTIONS = b"stream_options"
_PATH_CHARACTERS = "/?&=%:@!$'()*+,;~[]"


class InferenceClient:
    """Sends requests one after the other. Close it after use; what it sends is canceled with its
    task, and the connection closed with it."""

    def __init__(
        self,
        connection: Callable[[], Connection | None],
        environ: Mapping[str, str] | None = None,
        *,
        words: Words = SCREEN_WORDS,
    ) -> None:
        """`connection` returns the current one to the API server. `words`: for what the problem of
        an answer says to do."""
        self._words = words
        self._connection = connection
        self._environ = os.environ if environ is None else environ
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def send(
        self,
        way: Way,
        request: InferenceRequest,
        *,
        token: str = "",
        silence: float = SILENCE,
        on_change: Callable[[InferenceAnswer], None] = lambda _answer: None,
    ) -> InferenceAnswer:
        """The whole answer, or what came of it and its `problem`: nothing is raised for a request
        that fails. `token` is sent to the server as a bearer token, never to the API server.
        `silence`: seconds without data. `on_change` is called with the answer as it comes in.

        A server that refuses `stream_options` is asked again without, as it has processed
        nothing."""
        answer = await self._send_once(way, request, token, silence, on_change)
        refuses_usage = answer.status in (400, 422) and _STREAM_OPTIONS in answer.body
        if refuses_usage and request.body is not None and _STREAM_OPTIONS in request.body:
            answer = await self._send_once(way, request.without_usage(), token, silence, on_change)
            answer.notes.append("The server does not know stream_options, so it gives no usage.")
        return answer

    async def close(self) -> None:
        """Close all connections; requests in progress fail."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send_once(
        self,
        way: Way,
        request: InferenceRequest,
        token: str,
        silence: float,
        on_change: Callable[[InferenceAnswer], None],
    ) -> InferenceAnswer:
        import aiohttp  # imported late because it is slow

        answer = InferenceAnswer(is_read=request.body is None)
        on_change(answer)
        began = monotonic()
        try:
            if way.kind is WayKind.API_SERVER:
                await self._send_to_api_server(way, request, silence, answer, began, on_change)
            else:
                await self._send_to_url(way, request, token, silence, answer, began, on_change)
        except (aiohttp.ClientError, ClusterError, OSError) as error:
            answer.fail(explain_error(way, error, silence, self._words), monotonic() - began)
        except (ArithmeticError, ValueError) as error:
            has_begun = answer.status is not None
            if has_begun:
                text = explain_unreadable(error)
            else:
                text = explain_error(way, error, silence, self._words)
            answer.fail(text, monotonic() - began)
        except RuntimeError:
            if not self._is_closed:
                raise
            answer.fail("The connection was closed.", monotonic() - began)
        on_change(answer)
        return answer

    async def _send_to_api_server(
        self,
        way: Way,
        request: InferenceRequest,
        silence: float,
        answer: InferenceAnswer,
        began: float,
        on_change: Callable[[InferenceAnswer], None],
    ) -> None:
        connection = self._connection()
        if connection is None:
            raise ConnectionLostError("Not connected to the API server yet; retrying.")
        async with connection.proxied(
            request.method,
            _join(way, request),
            body=request.body,
            headers=_headers(request),
            silence=silence,
        ) as response:
            answer.begin(response.status, [*response.headers.items()], monotonic() - began)
            on_change(answer)
            async with aclosing(response.chunks) as chunks:
                await _read(chunks, answer, began, on_change)
            self._finish(way, request, answer, response.error, began, has_token=False)

    async def _send_to_url(
        self,
        way: Way,
        request: InferenceRequest,
        token: str,
        silence: float,
        answer: InferenceAnswer,
        began: float,
        on_change: Callable[[InferenceAnswer], None],
    ) -> None:
        import aiohttp

        session = await self._open_session()
        headers = _headers(request)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = _join(way, request)
        response = await session.request(
            request.method,
            url,
            data=request.body,
            headers=headers,
            proxy=select_proxy(KubeconfigCluster("endpoint", url), self._environ),
            timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT, sock_read=silence),
            allow_redirects=False,  # to a host that the token is not for
        )
        try:
            answer.begin(response.status, [*response.headers.items()], monotonic() - began)
            on_change(answer)
            await _read(response.content.iter_any(), answer, began, on_change)
            self._finish(way, request, answer, None, began, has_token=bool(token))
        finally:
            response.close()

    def _finish(
        self,
        way: Way,
        request: InferenceRequest,
        answer: InferenceAnswer,
        own_error: ApiError | None,
        began: float,
        *,
        has_token: bool,
    ) -> None:
        seconds = monotonic() - began
        if answer.is_success:
            answer.finish(seconds)
        else:
            text = explain_status(
                way, request, answer, own_error, has_token=has_token, words=self._words
            )
            answer.fail(text, seconds)

    async def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = await asyncio.to_thread(_make_ssl_context)
            import aiohttp

            if self._is_closed:
                raise ConnectionLostError("The connection was closed.")
            if self._session is None:
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=context or True, force_close=True),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"User-Agent": USER_AGENT},
                )
        return self._session


async def _read(
    chunks: AsyncIterator[bytes],
    answer: InferenceAnswer,
    began: float,
    on_change: Callable[[InferenceAnswer], None],
) -> None:
    async for chunk in chunks:
        seconds = monotonic() - began
        for at in range(0, len(chunk), _SLICE_BYTES):
            answer.feed(chunk[at : at + _SLICE_BYTES], seconds)
            await asyncio.sleep(0)
        on_change(answer)
        if answer.is_done:
            return


def _join(way: Way, request: InferenceRequest) -> str:
    return way.base.rstrip("/") + quote(request.path, safe=_PATH_CHARACTERS)


def _headers(request: InferenceRequest) -> dict[str, str]:
    # Compressed, the pieces of a stream would not arrive as they are sent.
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    return headers


def _make_ssl_context() -> ssl.SSLContext | None:
    """With the certificate authorities of the system. Blocks, as it imports aiohttp."""
    transport = importlib.import_module("servedeck.cluster.http.transport")
    server = KubeconfigCluster("endpoint", "https://")
    context: ssl.SSLContext | None = transport.make_ssl_context(server, Credential())
    return context
