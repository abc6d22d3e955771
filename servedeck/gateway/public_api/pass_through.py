"""Forwarding a request that is not asynchronous: as it is, both ways streamed, tried once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
from yarl import URL

from servedeck.gateway.asgi import (
    ClientDisconnectedError,
    HttpError,
    Message,
    Receive,
    Scope,
    Send,
    close_connection,
    content_length,
    is_valid_header,
    receive_part,
    send_response,
    take_body,
    until_disconnect,
)
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.messages import HOP_BY_HOP_HEADERS
from servedeck.gateway.public_api.caller import named_by_connection
from servedeck.gateway.public_api.submit import target_of

CONNECT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the server's (uvicorn, and so vLLM: 5 s), so that no request is sent on a connection
that the server is just closing."""
_UNAVAILABLE_SECONDS = 5
_CONNECT_TRIES = 3
_KNOWN_SECONDS = 5.0
"""For which the first request waits until it is known which Pods are Ready."""

_DROPPED = frozenset(one.encode() for one in HOP_BY_HOP_HEADERS) | {b"host", b"expect"}
_WITHOUT_BODY = frozenset({204, 304})

_log = logging.getLogger(__name__)


class PassThrough:
    """To be made, and closed, in the running loop."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._running: Counter[str] = Counter()
        self._turn = 0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # a proxy of the environment must not get what Pods get
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=CONNECT_SECONDS,
                # A server may think for long before its first byte; then it is between two parts.
                sock_read=context.settings.attempt_timeout,
            ),
        )

    async def close(self) -> None:
        await self._session.close()

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises HttpError if there is no answer to forward, and ClientDisconnectedError, after the
        request to the server was aborted."""
        target = target_of(scope)
        whole = take_body(scope)
        if whole is not None:
            first: Message = {"type": "http.request", "body": whole}
        else:
            first = await receive_part(receive)
            if first["type"] == "http.disconnect":
                raise ClientDisconnectedError
        body = _Body(scope, first, receive)
        # The client's end of connection is only seen by `receive`, which the body needs first.
        await until_disconnect(body.receive_after, self._exchange(scope, target, body, send))

    async def _exchange(self, scope: Scope, target: str, body: _Body, send: Send) -> None:
        tried: set[str] = set()
        if not self._context.upstreams.ready:
            with suppress(TimeoutError):
                async with asyncio.timeout(_KNOWN_SECONDS):
                    await self._context.upstreams.wait_until_known()
        while True:
            name, base = self._choose(tried)
            tried.add(name)
            self._running[name] += 1
            try:
                await self._request(scope, f"{base}{target}", body, send)
                return
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                # Nothing was sent, so it may go to another Pod.
                if len(tried) >= _CONNECT_TRIES or tried >= set(self._context.upstreams.ready):
                    raise self._failed(error) from None
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                if body.is_disconnected:
                    raise ClientDisconnectedError from None
                raise self._failed(error) from None
            finally:
                self._running[name] -= 1
                if not self._running[name]:
                    del self._running[name]

    async def _request(self, scope: Scope, url: str, body: _Body, send: Send) -> None:
        method = scope["method"]
        async with self._session.request(
            method,
            URL(url, encoded=True),
            headers=_request_headers(scope, body),
            data=body.data(),
            allow_redirects=False,
        ) as response:
            status = response.status
            if not 200 <= status <= 599:  # 101 would be a protocol that was not asked for
                raise aiohttp.ClientPayloadError("not the status of an answer")
            self._context.metrics.passed_through.labels(str(status)).inc()
            has_body = method != "HEAD" and status not in _WITHOUT_BODY
            headers = _response_headers(response, status)
            whole = _whole_body(response) if has_body else None
            if whole is not None:
                await send_response(send, status, headers, whole)
                return
            await send({"type": "http.response.start", "status": status, "headers": headers})
            more = has_body
            try:
                while more:
                    part = await response.content.readany()
                    more = bool(part) and not response.content.at_eof()
                    await send({"type": "http.response.body", "body": part, "more_body": more})
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                _log.debug("A response ended before its end: %s", type(error).__name__)
                close_connection(scope)
                return
            if not has_body:
                await send({"type": "http.response.body", "body": b""})

    def _choose(self, tried: set[str]) -> tuple[str, str]:
        """The Ready Pod with the fewest requests of this process; in turn among equals."""
        ready = self._context.upstreams.ready
        names = [one for one in ready if one not in tried]
        if not names:
            detail = self._context.upstreams.problem or "No replica is ready."
            self._context.metrics.passed_through.labels("503").inc()
            raise HttpError(
                503,
                "The inference server is not ready",
                detail,
                retry_after=_UNAVAILABLE_SECONDS,
            )
        self._turn += 1
        turn = self._turn % len(names)
        name = min(names[turn:] + names[:turn], key=self._running.__getitem__)
        return name, ready[name]

    def _failed(self, error: Exception) -> HttpError:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            status, what = 504, "It did not accept the connection in time."
        elif isinstance(error, TimeoutError):
            status, what = 504, "It did not answer in time."
        elif isinstance(error, aiohttp.ClientConnectorError):
            status, what = 502, "It refused the connection."
        else:
            status, what = 502, "It closed the connection, or its answer is not HTTP."
        self._context.metrics.passed_through.labels(str(status)).inc()
        return HttpError(status, "The inference server did not answer", what)


def _whole_body(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, if all of it came with the head, as that of most responses does."""
    content, length = response.content, response.content_length
    if not length or not content.is_eof() or content.exception() is not None:
        return None
    return content.read_nowait() if content.total_bytes == length else None


class _Body:
    """The body of a request. One that has come whole with the first message, as most do, is sent
    without more ado; another one is streamed."""

    def __init__(self, scope: Scope, first: Message, receive: Receive) -> None:
        self._first: bytes = first.get("body", b"")
        self._receive = receive
        self.declared = content_length(scope)
        self.is_whole = not first.get("more_body")
        self.is_disconnected = False
        self._all_read = asyncio.Event()
        if self.is_whole:
            self._all_read.set()

    def data(self) -> bytes | AsyncIterator[bytes] | None:
        if self.is_whole:
            return self._first or None
        return self._parts()

    async def _parts(self) -> AsyncIterator[bytes]:
        if self._first:
            yield self._first
        while True:
            message = await receive_part(self._receive)
            if message["type"] == "http.disconnect":
                self.is_disconnected = True
                self._all_read.set()
                raise ClientDisconnectedError
            if part := message.get("body", b""):
                yield part
            if not message.get("more_body"):
                self._all_read.set()
                return

    async def receive_after(self) -> Message:
        """What comes after the body."""
        await self._all_read.wait()
        return await self._receive()


def _request_headers(scope: Scope, body: _Body) -> list[tuple[str, str]]:
    named = named_by_connection(scope["headers"])
    headers = [
        (name.decode("latin-1"), _text(value))
        for name, value in scope["headers"]
        if name not in _DROPPED and name not in named and name != b"content-length"
    ]
    # One length, made here: what the server reads is what this gateway read.
    if not body.is_whole:
        if body.declared is not None:
            headers.append(("content-length", str(body.declared)))
    elif body.data() is None and scope["method"] in ("POST", "PUT", "PATCH"):
        headers.append(("content-length", "0"))
    return headers


def _text(value: bytes) -> str:
    """aiohttp encodes headers as UTF-8: this keeps the bytes, if they are that."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _response_headers(response: aiohttp.ClientResponse, status: int) -> list[tuple[bytes, bytes]]:
    raw = [(name.lower(), value) for name, value in response.raw_headers]
    dropped = _DROPPED | named_by_connection(raw)
    if status in _WITHOUT_BODY:
        dropped |= {b"content-length"}
    return [one for one in raw if one[0] not in dropped and is_valid_header(*one)]
