"""One request to the inference server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from servedeck.async_queue.tasks import FailureReason
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.delivery.output_parts import OutputParts
from servedeck.gateway.delivery.retry_policy import (
    FIRST_ERROR_STATUS,
    LAST_STATUS,
    Result,
    is_temporary,
    parse_retry_after,
)
from servedeck.gateway.delivery.spool import Spool, TooLargeError
from servedeck.gateway.messages import (
    HOP_BY_HOP_HEADERS,
    Headers,
    RequestHead,
    ResponseHead,
    decode_headers,
    end_to_end_headers,
    find_header,
)
from servedeck.gateway.objects import ObjectMissingError, ObjectStoreError
from servedeck.gateway.stores.store import Claimed, Content

_CONNECT_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 2.0
"""Less than the 5 s after which uvicorn, and so vLLM, closes an idle connection: a request that
meets that moment would be a failed attempt."""
_MAX_HEADER_BYTES = 1 << 16
_BODY_PART_BYTES = 1 << 18
_MADE_ANEW = HOP_BY_HOP_HEADERS | {"host", "content-length", "expect"}
_AUTOMATIC_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_PATH_CHARACTERS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "#")
_EVENT_STREAM = "text/event-stream"
_KEEP_ALIVE_OPTIONS = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))

_log = logging.getLogger(__name__)


class Answer:
    """What a request came to. Close it after use."""

    def __init__(
        self, result: Result, code: str, head: bytes = b"", spool: Spool | None = None
    ) -> None:
        self.result = result
        self.code = code
        """As it is counted: a status, or a word."""
        self.head = head
        """JSON of a ResponseHead; b"" without a whole response."""
        self.spool = spool
        """The body of a whole response."""

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


class Requester:
    """Use it as a context manager: it has the connections."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Requester:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
                use_dns_cache=False,
                socket_factory=_make_socket,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),  # no caller gets the cookies of another
            skip_auto_headers=_AUTOMATIC_HEADERS,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(
        self, claimed: Claimed, url: str, seconds_left: float, on_lost: Callable[[], None]
    ) -> Answer:
        """Make the request of a task to the Pod at `url`. Raises nothing: what fails is told by the
        result. Cancelling it closes the connection."""
        try:
            head = msgspec.json.decode(claimed.head, type=RequestHead)
            credentials = self._context.identity.decrypt(claimed.id, claimed.credentials)
        except (msgspec.DecodeError, ValueError):
            return _failure(
                "The request or its credentials cannot be read: they were stored with another"
                " secret.",
                "unreadable",
                reason=FailureReason.LOST,
            )
        if not head.path.startswith("/"):  # after the host it would be another host
            return _failure(
                "The path of the request does not begin with a slash.",
                "unreadable",
                reason=FailureReason.REFUSED,
            )
        limit = self._context.settings.attempt_timeout
        if head.attempt_seconds > 0:
            limit = min(limit, head.attempt_seconds)
        exchange = _Exchange(self._context, claimed, head, on_lost)
        try:
            async with asyncio.timeout(min(limit, seconds_left)):
                assert self._session is not None
                return await exchange.run(self._session, url, [*head.headers, *credentials])
        except TimeoutError:
            if seconds_left <= limit:
                return _failure(
                    "Its deadline passed during an attempt.",
                    "deadline",
                    exchange.status,
                    reason=FailureReason.EXPIRED,
                )
            return _failure(
                f"The inference server took longer than {limit:g} s.", "timeout", exchange.status
            )


class _Exchange:
    def __init__(
        self,
        context: GatewayContext,
        claimed: Claimed,
        head: RequestHead,
        on_lost: Callable[[], None],
    ) -> None:
        self._context = context
        self._claimed = claimed
        self._head = head
        self._on_lost = on_lost
        self._body_error: ObjectStoreError | None = None
        self.status: int | None = None

    async def run(self, session: aiohttp.ClientSession, url: str, headers: Headers) -> Answer:
        """Raises TimeoutError only when its time is over."""
        settings = self._context.settings
        spool = Spool(self._context.objects, settings.inline_bytes, settings.max_result_bytes)
        answer: Answer | None = None
        try:
            answer = await self._request(session, url, headers, spool)
            return answer
        except TooLargeError:
            return self._too_large()
        except (aiohttp.ClientError, ConnectionError, ValueError) as error:
            return self._broken(error)
        except OSError as error:
            return _failure(
                f"The response could not be written to a temporary file ({error.strerror}).",
                "error",
                self.status,
            )
        finally:
            if answer is None or answer.spool is not spool:
                spool.close()

    async def _request(
        self, session: aiohttp.ClientSession, url: str, headers: Headers, spool: Spool
    ) -> Answer:
        body, size = self._claimed.body, self._claimed.body.size
        if body.object and self._context.objects is None:
            raise_from = ObjectStoreError("The setting objects is not set.")
            self._body_error = raise_from
            return self._broken(raise_from)
        sent: CIMultiDict[str] = CIMultiDict(
            (name, _wire_text(value)) for name, value in headers if name not in _MADE_ANEW
        )
        if body.object or body.data:
            sent["Content-Length"] = str(size if body.object else len(body.data))
        request = session.request(
            self._head.method,
            URL(url + quote_path(self._head.path), encoded=True),
            headers=sent,
            data=self._body_to_send(body),
            allow_redirects=False,
        )
        async with request as response:
            try:
                return await self._read_response(response, spool)
            except BaseException:
                response.close()  # not given back to be used again
                raise

    async def _read_response(self, response: aiohttp.ClientResponse, spool: Spool) -> Answer:
        self.status = response.status
        if not 200 <= response.status <= LAST_STATUS:
            response.close()
            return _failure(
                f"The inference server answered with the status {response.status}, which is not"
                " that of an answer.",
                "error",
                response.status,
            )
        headers = decode_headers(response.raw_headers)
        media_type = (find_header(headers, "content-type") or "").partition(";")[0].strip()
        is_event_stream = media_type.lower() == _EVENT_STREAM
        if (response.content_length or 0) > self._context.settings.max_result_bytes:
            raise TooLargeError
        # One that is compressed cannot be split, nor be joined to another attempt's.
        if (
            is_event_stream
            and response.status < FIRST_ERROR_STATUS
            and not (find_header(headers, "content-encoding"))
        ):
            await self._follow(response, spool)
        else:
            async for part in response.content.iter_any():
                await spool.add(part)
        head = ResponseHead(
            status=response.status,
            headers=[one for one in end_to_end_headers(headers) if one[0] != "content-length"],
            is_event_stream=is_event_stream,
        )
        retry_after = parse_retry_after(find_header(headers, "retry-after"), time.time())
        result = Result(status=response.status, retry_after=retry_after)
        return Answer(result, str(response.status), msgspec.json.encode(head), spool)

    async def _follow(self, response: aiohttp.ClientResponse, spool: Spool) -> None:
        parts = OutputParts(
            self._context.store, self._claimed.id, self._claimed.attempt, self._on_lost
        )
        storing = asyncio.ensure_future(parts.run())
        try:
            async for part in response.content.iter_any():
                parts.add(part)
                await spool.add(part)
            parts.end()
            await storing
        finally:
            storing.cancel()
            await asyncio.gather(storing, return_exceptions=True)

    def _body_to_send(self, body: Content) -> bytes | AsyncIterator[bytes] | None:
        """Small ones at once: in parts takes a twentieth of an attempt's time."""
        if body.object or len(body.data) > _BODY_PART_BYTES:
            return self._read_body(body)
        return body.data or None

    async def _read_body(self, body: Content) -> AsyncIterator[bytes]:
        if not body.object:
            for start in range(0, len(body.data), _BODY_PART_BYTES):
                yield body.data[start : start + _BODY_PART_BYTES]
            return
        objects, left = self._context.objects, body.size
        assert objects is not None
        try:
            async for part in objects.read(body.object):
                left -= len(part)
                if left < 0:
                    break
                yield part
            if left:
                raise ObjectMissingError("The stored body has another size than was received.")
        except ObjectStoreError as error:
            self._body_error = error  # aiohttp reports a failed connection
            raise

    def _too_large(self) -> Answer:
        message = (
            f"The response has more than the {self._context.settings.max_result_bytes} bytes that"
            " are allowed."
        )
        # An error that may pass is tried again, whatever its length.
        reason = FailureReason.RESULT_TOO_LARGE
        if self.status is not None and is_temporary(self.status):
            return _failure(message, str(self.status), self.status)
        return _failure(message, "too_large", self.status, reason=reason)

    def _broken(self, error: Exception) -> Answer:
        if self._body_error is not None:
            if isinstance(self._body_error, ObjectMissingError):
                message = f"Its body cannot be read: {self._body_error}"
                return _failure(message, "unreadable", reason=FailureReason.LOST)
            message = f"Its body cannot be read at present: {self._body_error}"
            return _failure(message, "unreadable", is_counted=False)
        _log.debug("An attempt failed: %s", type(error).__name__)
        return _failure(_describe(error, self.status), "error", self.status)


def quote_path(path: str) -> str:
    """The path as it was received; what a request line may not contain is percent-encoded."""
    return quote(path, safe=_PATH_CHARACTERS, encoding="latin-1", errors="replace")


def _wire_text(value: str) -> str:
    """aiohttp writes headers as UTF-8: the text that becomes the bytes that were received."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _failure(
    message: str,
    code: str,
    status: int | None = None,
    *,
    reason: FailureReason | None = None,
    is_counted: bool = True,
) -> Answer:
    return Answer(Result(status, message, None, reason, is_counted), code)


def _describe(error: Exception, status: int | None) -> str:
    """Without the error's own text, which may have parts of a body or a URL."""
    if status is not None:
        return "The inference server closed the connection before its response was complete."
    if isinstance(error, aiohttp.ServerTimeoutError):
        return "The inference server did not accept a connection in time."
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"The inference server cannot be reached ({_os_text(error)})."
    if isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError | OSError):
        return "The inference server closed the connection without a response."
    if isinstance(error, aiohttp.ClientResponseError):
        return "The inference server answered with something that is not HTTP."
    return f"The request could not be sent ({type(error).__name__})."


def _os_text(error: aiohttp.ClientConnectorError) -> str:
    return error.os_error.strerror or type(error.os_error).__name__


def _make_socket(address: Any) -> socket.socket:
    """A Pod whose node vanished answers nothing, not even that it is gone."""
    family, type_, protocol, _, _ = address
    made = socket.socket(family, type_, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE_OPTIONS:
        with contextlib.suppress(AttributeError, OSError):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
