"""Connection to one cluster as one user: requests, streams and error handling."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.auth.kubeconfig import ConnectionOptions, Kubeconfig, KubeconfigCluster
from servedeck.cluster.auth.login import Login
from servedeck.cluster.http.client_certificate import find_expiry
from servedeck.cluster.http.errors import (
    ApiError,
    CertificateRefusedError,
    ClusterError,
    ConfigError,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidResponseError,
    ReadOnlyError,
    ReadTimeoutError,
    is_anonymous,
)
from servedeck.cluster.http.proxies import select_proxy
from servedeck.cluster.http.request_headers import make_headers
from servedeck.cluster.http.server_clock import ServerClock
from servedeck.cluster.http.stream import ResponseStream
from servedeck.cluster.http.transport_errors import to_cluster_error
from servedeck.cluster.http.websocket import WebSocket
from servedeck.cluster.watch.decode import parse_json
from servedeck.cluster.write_log import track_write

if TYPE_CHECKING:
    import aiohttp

    from servedeck.cluster.http.transport import Transport

Params = Iterable[tuple[str, str]] | Mapping[str, str]

_CONNECT_TIMEOUT = 10.0
_RESPONSE_HEADERS_TIMEOUT = 30.0
"""Seconds until the response headers must arrive; the API server sends them immediately."""
_MAX_BODY_BYTES = 64 << 20
_MAX_ERROR_BYTES = 1 << 16

_RATE_LIMIT_RETRIES = 4
_MAX_RATE_LIMIT_WAIT = 10.0
"""How often a request is sent again that the server refused because of its rate, and the seconds
between at most, whatever the server asks."""

_PROXY_PATH = re.compile(r"/api/v1/namespaces/[^/]+/(?:services|pods)/[^/]+/proxy(?:/|$)")
"""Begins the paths of Services and Pods behind the API server, whose 429 is their own answer."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REVIEW_API_PATHS = ("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/")


class ApiResponse(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Parse the body as an object. Raises InvalidResponseError if it is not one."""
        if self.body.lstrip()[:1] == b"<":
            raise InvalidResponseError(
                "The server answered with a web page; is there a login or proxy in between?"
            )
        value = parse_json(self.body)
        if not isinstance(value, dict):
            raise InvalidResponseError(
                "The server did not answer with a JSON object; is it a Kubernetes API?"
            )
        return value


class ProxiedResponse(NamedTuple):
    """What a Service or Pod behind the API server answers, or the API server in its place."""

    status: int
    headers: Mapping[str, str]
    error: ApiError | None
    """The error if the API server answers itself; None for what the Service or Pod answers,
    whatever its status."""
    chunks: AsyncGenerator[bytes]
    """The body as it arrives. Raises ClusterError."""


class Connection:
    """A connection to one cluster. Create it with `Connection.open`, and close it after use. Every
    failure is a ClusterError."""

    def __init__(
        self, options: ConnectionOptions, login: Login, environ: Mapping[str, str]
    ) -> None:
        self.options = options
        self.context_name = login.context.name
        self.namespace = options.namespace or login.context.namespace
        """The selected namespace; not used if `options.all_namespaces`."""
        self.readonly = options.readonly
        self.supports_watch_list = True
        """False once this server rejected a streamed list (WatchList)."""
        self.clock = ServerClock()
        """The API server's clock, as far as its responses show it."""
        self.is_held: Callable[[], bool] = lambda: False
        """Whether watches leave the event loop to something else for a moment."""
        self._login = login
        login.on_other_server = self._forget_server
        self._environ = environ
        self._transport: Transport | None = None
        self._transport_identity: _TransportIdentity | None = None
        self._retired_transports: list[Transport] = []
        self._lock = asyncio.Lock()
        self._closed = False
        self._server_version: tuple[int, int] | None = None
        make_headers(login.context)  # raises early for impersonation that is not complete
        if options.report_wait is not None:
            self.on_login_notice(options.report_wait)

    @classmethod
    async def open(
        cls, options: ConnectionOptions, environ: Mapping[str, str] | None = None
    ) -> Connection:
        """Load the kubeconfig and prepare the connection; sends nothing.

        Raises ConfigError if the kubeconfig or the context is invalid.
        """
        environ = os.environ if environ is None else environ
        login = await Login.open(options, environ)
        await asyncio.to_thread(_import_transport)
        # raises early if unsupported
        select_proxy(login.context.cluster, environ, may_be_socks=True)
        return cls(options, login, environ)

    @property
    def kubeconfig(self) -> Kubeconfig:
        """As it was read last: again where a login failed."""
        return self._login.kubeconfig

    @property
    def server(self) -> str:
        """Address of the API server."""
        return self._login.context.cluster.server

    @property
    def server_revision(self) -> int:
        """Counts the changes of the server's address in the kubeconfig."""
        return self._login.server_revision

    @property
    def display_address(self) -> str:
        """Server address for display and logs: without path and user, which may contain a token."""
        return _origin(self.server)

    @property
    def user_name(self) -> str:
        return self._login.context.user.name

    @property
    def login_notice(self) -> str:
        """What a credential plugin that runs for long does and says, one sentence, sanitized; ""
        if none does."""
        return self._login.notice

    @property
    def login_problem(self) -> str:
        """Why the kubeconfig, which has changed, cannot be used, one sentence; "" if it can, or may
        be half written. It is read again where a login or the connection failed."""
        return self._login.lasting_problem

    @property
    def context_names(self) -> tuple[str, ...]:
        """Names of all contexts of the kubeconfig, as it was read last."""
        return self._login.context_names

    async def read_context_names(self) -> tuple[str, ...]:
        """`context_names`, read again."""
        return await self._login.read_context_names()

    def _forget_server(self) -> None:
        """What the last server could do says nothing of another one."""
        self.supports_watch_list, self._server_version = True, None

    def on_login_notice(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with `login_notice` when it changes."""
        self._login.on_notice = callback

    def reset_backoff(self) -> None:
        """Retry credentials immediately after a failure."""
        self._login.credentials.reset_backoff()

    async def try_login_again(self) -> bool:
        """After a failure: whether the login may be good now, as the kubeconfig or a file that it
        names has changed, or as a plugin gave another credential, which an earlier call began and
        none waits for. Sends nothing."""
        return await self._login.try_again()

    async def close(self) -> None:
        """Close all connections; requests in progress fail."""
        self._closed = True
        await self._login.close()
        transports = [*self._retired_transports, *filter(None, [self._transport])]
        self._retired_transports, self._transport = [], None
        for transport in transports:
            await transport.close()

    async def get(
        self, path: str, params: Params = (), *, max_bytes: int = _MAX_BODY_BYTES
    ) -> bytes:
        """Body of a GET response of at most `max_bytes`. Raises like `request`."""
        return (await self.request("GET", path, params=params, max_bytes=max_bytes)).body

    async def get_json(self, path: str, params: Params = ()) -> dict[str, Any]:
        """JSON object of a GET response; waits where the server limits the rate. Raises like
        `request`, and InvalidResponseError if the
        body is not a JSON object (such as a login page with status 200)."""
        return (await self.request("GET", path, params=params, waits_for_rate=True)).json()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params = (),
        body: object = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,  # noqa: ASYNC109 - limits silence, not the request
        max_bytes: int = _MAX_BODY_BYTES,
        waits_for_rate: bool | None = None,
    ) -> ApiResponse:
        """Send one request and read the complete response.

        `waits_for_rate`: what the server refuses because of its rate (429) is sent again when the
        server says, a few times; None: if it is a write, as watches have pauses of their own. Not
        so a request to a Service or Pod behind it, whose 429 may have another meaning.

        `body`: bytes are sent unchanged, anything else as JSON. `timeout`: seconds without data.
        Raises ApiError for a status of 300 or more, and other ClusterErrors if there is no
        response, it is longer than `max_bytes`, or the connection is read-only.
        """
        param_pairs = _param_pairs(params)
        self._check_readonly(method, path, param_pairs, body)
        request_headers = {"Accept": "application/json", **(headers or {})}
        payload = None
        if body is not None:
            payload = body if isinstance(body, bytes) else msgspec.json.encode(body)
            request_headers["Content-Type"] = content_type
        may_wait = method not in _SAFE_METHODS if waits_for_rate is None else waits_for_rate
        for is_last in (False,) * _RATE_LIMIT_RETRIES + (True,):
            try:
                async with self._open_response(
                    method, path, param_pairs, request_headers, payload, timeout
                ) as response:
                    content = await self._read_body(response, max_bytes, timeout)
                    return ApiResponse(response.status, response.headers, content)
            except ApiError as error:
                # The server has not executed it (apiserver, pkg/server/filters,
                # priority-and-fairness.go).
                waits = error.code == 429 and error.retry_after and may_wait
                if is_last or not waits or _PROXY_PATH.match(path):
                    raise
                await self._wait_for_rate_limit(error.retry_after or 0.0)
        raise AssertionError("unreachable")

    async def _wait_for_rate_limit(self, asked: float) -> None:
        seconds = min(max(asked, 1.0), _MAX_RATE_LIMIT_WAIT)
        if self.options.report_wait is not None:
            self.options.report_wait(
                f"The server limits the request rate (429); sending again in {seconds:.0f} s."
            )
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        params: Params = (),
        read_timeout: float = 90.0,
        headers: Mapping[str, str] | None = None,
        *,
        read_buffer_bytes: int | None = None,
    ) -> AsyncIterator[ResponseStream]:
        """A streaming GET, such as a watch or a log. No more is received while twice
        `read_buffer_bytes` (None: 1 MiB) wait to be read.

        Raises like `request`, on entering and while reading; ReadTimeoutError after `read_timeout`
        seconds without data.
        """
        request_headers = {"Accept": "application/json", **(headers or {})}
        async with self._open_response(
            "GET",
            path,
            _param_pairs(params),
            request_headers,
            None,
            read_timeout,
            is_stream=True,
            read_buffer_bytes=read_buffer_bytes,
        ) as response:
            yield self._make_stream(response, read_timeout)

    @asynccontextmanager
    async def proxied(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float = 90.0,
    ) -> AsyncIterator[ProxiedResponse]:
        """The streamed answer to a request to a path below that of a Service or Pod proxy. A 401 of
        what is behind the API server says nothing of the login, which is not renewed then. The API
        server marks none of its answers: it passes on any Status, and sets the same headers on both
        (kubernetes apiserver pkg/server/config.go, DefaultBuildHandlerChain, and
        apimachinery pkg/util/proxy/upgradeaware.go). So a 401 with a Status is taken for its own
        only if it answers with 401 to another request with the credential, too; if that cannot be
        found out, it is not.

        Raises ClusterError, on entering and while reading, if there is no response, after `silence`
        seconds without data, or if the connection is read-only and the method is no GET; not for a
        status of an error. The headers of the caller may have no Authorization."""
        self._check_readonly(method, path, [], body)
        attempt = await self._make_attempt()
        while True:
            transport = attempt.transport
            transport.active_requests += 1
            response = None
            try:
                beginning, own_error = b"", None
                try:
                    response = await self._send(
                        transport,
                        method,
                        path,
                        [],
                        dict(headers or {}),
                        body,
                        silence,
                        attempt.credential,
                        is_stream=True,
                        read_buffer_bytes=None,
                        headers_timeout=silence,
                    )
                    if response.status >= 300:
                        error = await self._read_error(response, silence)
                        beginning, own_error = error.body, _own_error(error, response.status)
                    if response.status == 401 and not await self._is_rejected(attempt, own_error):
                        own_error = None
                    if own_error is not None:
                        raise own_error
                    if response.status != 401:
                        self._login.credentials.accept(attempt.credential)
                except ClusterError as error:
                    try:
                        attempt = await self._attempt_after(attempt, error)
                        continue
                    except ApiError:
                        if response is None:
                            raise
                rest = self._make_stream(response, silence).chunks()
                yield ProxiedResponse(
                    response.status, response.headers, own_error, _after(beginning, rest)
                )
                return
            finally:
                transport.active_requests -= 1
                if response is not None:
                    response.close()

    async def _is_rejected(self, attempt: _Attempt, error: ApiError | None) -> bool:
        """Whether the API server rejects the credential of the attempt, of which `error` is its
        Status, if there is one."""
        if error is None:
            return False
        response = None
        try:
            response = await self._send(
                attempt.transport,
                "GET",
                "/version",
                [],
                {},
                None,
                _RESPONSE_HEADERS_TIMEOUT,
                attempt.credential,
                is_stream=True,
                read_buffer_bytes=None,
            )
        except ClusterError:
            return False
        finally:
            if response is not None:
                response.close()
        return response.status == 401

    @asynccontextmanager
    async def websocket(
        self, path: str, params: Params, protocols: Sequence[str]
    ) -> AsyncIterator[WebSocket]:
        """A WebSocket that speaks one of the subprotocols. What they are for, such as commands in
        containers, counts as a write. Raises like `request`, on entering."""
        if self.readonly:
            raise ReadOnlyError
        attempt = await self._make_attempt()
        while True:
            transport = attempt.transport
            transport.active_requests += 1
            opened = None
            try:
                try:
                    opened = await self._open_websocket(
                        transport, path, _param_pairs(params), protocols, attempt.credential
                    )
                except ClusterError as error:
                    attempt = await self._attempt_after(attempt, error)
                    continue
                yield opened
                return
            finally:
                transport.active_requests -= 1
                if opened is not None:
                    await opened.close()

    async def probe(self, answer_seconds: float) -> None:
        """Ask the server for anything. Raises ClusterError if it does not answer in time.

        Any answer will do, also to a credential that has expired: nobody is asked to log in.
        """
        credentials = self._login.credentials
        credential = credentials.latest or credentials.client_certificate
        transport = await self._transport_for(credential)
        transport.active_requests += 1
        try:
            response = await self._send(
                transport,
                "GET",
                "/version",
                [],
                {},
                None,
                answer_seconds,
                credential,
                is_stream=False,
                read_buffer_bytes=None,
            )
            # Read to its end, which leaves the connection open for the next request.
            await self._read_body(response, _MAX_ERROR_BYTES, answer_seconds)
        finally:
            transport.active_requests -= 1

    @property
    def known_version(self) -> tuple[int, int] | None:
        """Major and minor version of the server, as far as `server_version` has read it."""
        return self._server_version

    async def server_version(self) -> tuple[int, int] | None:
        """Major and minor version of the server, cached; None if unknown."""
        if self._server_version is None:
            # The version only enables optimizations; the next request reports other errors.
            with contextlib.suppress(ApiError, InvalidResponseError, ValueError):
                version = await self.get_json("/version")
                digits = "".join(filter(str.isdecimal, str(version.get("minor", ""))))
                self._server_version = int(str(version.get("major"))), int(digits)
        return self._server_version

    # -- sending --------------------------------------------------------------------------------

    @asynccontextmanager
    async def _open_response(
        self,
        method: str,
        path: str,
        params: list[tuple[str, str]],
        headers: dict[str, str],
        body: bytes | None,
        read_timeout: float,
        *,
        is_stream: bool = False,
        read_buffer_bytes: int | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        attempt = await self._make_attempt()
        while True:
            transport = attempt.transport
            is_read = _is_read(method, path, params, body)
            tracked = contextlib.nullcontext() if is_read else track_write(method, path, body)
            transport.active_requests += 1
            response = None
            try:
                try:
                    with tracked:
                        response = await self._send(
                            transport,
                            method,
                            path,
                            params,
                            headers,
                            body,
                            read_timeout,
                            attempt.credential,
                            is_stream=is_stream,
                            read_buffer_bytes=read_buffer_bytes,
                        )
                        if response.status >= 300:
                            raise await self._read_error(response, read_timeout)
                    self._login.credentials.accept(attempt.credential)
                except ClusterError as error:
                    attempt = await self._attempt_after(attempt, error)
                    continue
                yield response
                return
            finally:
                transport.active_requests -= 1
                if response is not None:
                    response.close()

    async def _make_attempt(
        self, renewed: Credential | None = None, *, is_last: bool = False
    ) -> _Attempt:
        """An attempt to send a request, with this credential or the current one. Raises
        ClusterError."""
        revision = self._login.revision
        try:
            credential = renewed or await self._login.current()
            return _Attempt(revision, credential, await self._transport_for(credential), is_last)
        except ConfigError:
            # a certificate and a key that do not belong together: one of them was old
            if not await self._login.reload(revision):
                raise
        credential = await self._login.current()
        transport = await self._transport_for(credential)
        return _Attempt(self._login.revision, credential, transport, is_last)

    async def _attempt_after(self, attempt: _Attempt, error: ClusterError) -> _Attempt:
        """Another attempt after one that failed, as the login has changed since; raises `error` if
        it has not, or the request may have been executed."""
        if isinstance(error, ConnectionLostError | ReadTimeoutError):
            await self._login.reload(attempt.revision)  # for the next request
            raise error
        if attempt.is_last:
            raise error
        if self._is_login_rejected(attempt.credential, error):
            renewed = await self._login.renew(attempt.credential, attempt.revision)
            if renewed is not None:
                return await self._make_attempt(renewed, is_last=True)
        elif (
            isinstance(error, ConnectionFailedError) or is_anonymous(error)
        ) and await self._login.reload(attempt.revision):
            return await self._make_attempt(is_last=True)
        raise error

    def _is_login_rejected(self, credential: Credential, error: ClusterError) -> bool:
        """Whether the credential is not accepted, so that its source is asked for another one. A
        certificate of the kubeconfig has none but its file."""
        if isinstance(error, CertificateRefusedError):
            own = self._login.credentials.client_certificate.certificate
            return credential.certificate not in (b"", own)
        return isinstance(error, ApiError) and error.code == 401

    async def _send(
        self,
        transport: Transport,
        method: str,
        path: str,
        params: list[tuple[str, str]],
        headers: dict[str, str],
        body: bytes | None,
        read_timeout: float,
        credential: Credential,
        *,
        is_stream: bool,
        read_buffer_bytes: int | None,
        headers_timeout: float = _RESPONSE_HEADERS_TIMEOUT,
    ) -> aiohttp.ClientResponse:
        import aiohttp  # imported late because it is slow

        if credential.authorization:
            headers = {**headers, "Authorization": credential.authorization}
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=read_timeout
        )
        try:
            async with asyncio.timeout(max(headers_timeout, _CONNECT_TIMEOUT)):
                sent_at = self.clock.local_time()
                response = await transport.send(
                    method,
                    path,
                    params,
                    headers,
                    body,
                    timeout,
                    is_stream=is_stream,
                    read_buffer_bytes=read_buffer_bytes,
                )
                self.clock.add_response(response.headers, sent_at)
                return response
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise to_cluster_error(error, self.display_address, self.context_name) from error

    async def _open_websocket(
        self,
        transport: Transport,
        path: str,
        params: list[tuple[str, str]],
        protocols: Sequence[str],
        credential: Credential,
    ) -> WebSocket:
        import aiohttp

        module = _import_transport()
        headers = {"Authorization": credential.authorization} if credential.authorization else {}
        try:
            async with asyncio.timeout(_RESPONSE_HEADERS_TIMEOUT):
                response = await transport.open_websocket(path, params, headers, protocols)
        except module.HandshakeRejectedError as error:
            raise self._rejected_handshake(error.status, error.headers, error.body) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise to_cluster_error(error, self.display_address, self.context_name) from error
        opened = WebSocket(response, self.display_address, self.context_name)
        if response.protocol not in protocols:
            await opened.close()
            raise InvalidResponseError(
                f"{self.display_address} speaks none of the protocols {', '.join(protocols)}."
            )
        return opened

    def _rejected_handshake(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> ClusterError:
        hint = "is there a proxy in between that does not support WebSockets?"
        if status < 300:
            return InvalidResponseError(f"{self.display_address} opened no WebSocket; {hint}")
        error = self.parse_api_error(body, status, headers)
        if "Upgrade request required" in error.message:
            return error.with_message(
                f"The request for a WebSocket arrived without its header; {hint}"
            )
        return error

    async def _transport_for(self, credential: Credential) -> Transport:
        """The pool for this cluster and client certificate; a new one if they changed."""
        context = self._login.context
        identity = _TransportIdentity(
            context.cluster,
            credential.certificate,
            credential.private_key,
            tuple(make_headers(context)),
        )
        if self._transport is not None and identity == self._transport_identity:
            return self._transport
        async with self._lock:
            if self._closed:
                raise ConnectionLostError("The connection was closed.")
            if self._transport is None or identity != self._transport_identity:
                module = _import_transport()
                tls = await asyncio.to_thread(module.make_ssl_context, context.cluster, credential)
                if self._transport is not None:
                    self._retired_transports.append(self._transport)
                self._transport = module.Transport(
                    context.cluster, tls, identity.headers, self._environ
                )
                self._transport_identity = identity
            idle = [old for old in self._retired_transports if not old.active_requests]
            self._retired_transports = [
                old for old in self._retired_transports if old.active_requests
            ]
            transport = self._transport
            for old in idle:
                await old.close()
            return transport

    def _check_readonly(
        self, method: str, path: str, params: list[tuple[str, str]], body: object
    ) -> None:
        if self.readonly and not _is_read(method, path, params, body):
            raise ReadOnlyError

    # -- reading --------------------------------------------------------------------------------

    async def _read_body(
        self, response: aiohttp.ClientResponse, max_bytes: int, read_timeout: float
    ) -> bytes:
        content = bytearray()
        async for chunk in self._make_stream(response, read_timeout).chunks():
            content += chunk
            if len(content) > max_bytes:
                raise InvalidResponseError(
                    f"The server's answer is longer than {max_bytes >> 20} MiB; narrow the request."
                )
        return bytes(content)

    def _make_stream(self, response: aiohttp.ClientResponse, read_timeout: float) -> ResponseStream:
        return ResponseStream(response, self.display_address, self.context_name, read_timeout)

    async def _read_error(self, response: aiohttp.ClientResponse, read_timeout: float) -> ApiError:
        content = b""
        with contextlib.suppress(ClusterError):  # the status code is sufficient
            async for chunk in self._make_stream(response, read_timeout).chunks():
                content += chunk
                if len(content) > _MAX_ERROR_BYTES:
                    break
        error = self.parse_api_error(content, response.status, response.headers)
        if 300 <= response.status < 400 and not _PROXY_PATH.search(response.url.path):
            return error.with_message(self._describe_redirect(response.headers.get("Location", "")))
        return error

    def _describe_redirect(self, location: str) -> str:
        try:
            to = f" to {_origin(location)}" if "://" in location else ""
        except ValueError:
            to = ""
        return (
            f"{self.display_address} redirects the request{to}, which an API server does not; check"
            f" the server of context {self.context_name!r} in the kubeconfig, and whether there is"
            " a login or proxy in between."
        )

    def parse_api_error(
        self, status: bytes, code: int = 500, headers: Mapping[str, str] | None = None
    ) -> ApiError:
        """The ApiError for a Status object (of a response or an ERROR event)."""
        retry_after = _parse_retry_after((headers or {}).get("Retry-After"))
        try:
            api_status = msgspec.json.decode(status, type=_ApiStatus)
        except (msgspec.DecodeError, ValueError, RecursionError):
            text = status[:300].decode("utf-8", "replace")
            if "html" in (headers or {}).get("Content-Type", "") or text.lstrip()[:1] == "<":
                text = "it answered with a web page, is there a login or proxy in between?"
            return self._with_connection_names(
                ApiError(code, "", text, retry_after=retry_after, body=status)
            )
        if isinstance(api_status.details, dict):
            retry_after = retry_after or _parse_retry_after(
                api_status.details.get("retryAfterSeconds")
            )
        return self._with_connection_names(
            ApiError(
                api_status.code or code,
                api_status.reason or "",
                api_status.message or api_status.error or api_status.detail or "",
                details=api_status.details,
                retry_after=retry_after,
                body=status,
            )
        )

    def _with_connection_names(self, error: ApiError) -> ApiError:
        """The same error, with server, user and context in the message."""
        is_rejected = error.code == 401 or is_anonymous(error)
        if is_rejected and not self._login.context.cluster.may_get_credentials:
            sentence = (
                f"{self.display_address} needs credentials, which are not sent unencrypted to"
                f" another machine; use https:// in the server of context {self.context_name!r} in"
                " the kubeconfig."
            )
        elif error.code == 401 and (expiry := self._find_expired_certificate()):
            sentence = (
                f"The client certificate of user {self.user_name!r} expired on"
                f" {expiry:%Y-%m-%d at %H:%M} UTC, so that {self.display_address} does not accept"
                f" it; log in again, or renew it for this user of context {self.context_name!r}."
            )
        elif error.code == 401:
            sentence = (
                f"{self.display_address} does not accept the credentials of user"
                f" {self.user_name!r}; log in again, or check this user of context"
                f" {self.context_name!r} in the kubeconfig."
            )
        elif is_anonymous(error):
            sentence = (
                f"{self.display_address} treats the request as anonymous: the user "
                f"{self.user_name!r} of"
                f" context {self.context_name!r} has no credentials that it recognizes; log in "
                f"again."
            )
        else:
            return error
        return error.with_message(sentence)

    def _find_expired_certificate(self) -> datetime | None:
        """When the client certificate expired that requests are sent with; None if it did not, or a
        token is sent, which may be what is not accepted."""
        credentials = self._login.credentials
        credential = credentials.latest or credentials.client_certificate
        if credential.authorization or not credential.certificate:
            return None
        expiry = find_expiry(credential.certificate)
        is_over = expiry is not None and expiry <= datetime.now(UTC) + self.clock.offset
        return expiry if is_over else None


class _TransportIdentity(NamedTuple):
    """What a pool of connections depends on."""

    cluster: KubeconfigCluster
    certificate: bytes
    private_key: bytes
    headers: tuple[tuple[str, str], ...]


class _Attempt(NamedTuple):
    """One attempt to send a request."""

    revision: int
    """That of the login."""
    credential: Credential
    transport: Transport
    is_last: bool


class _ApiStatus(msgspec.Struct):
    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: Any = None
    error: str | None = None
    """What Prometheus calls its message; the API server passes it on from a Service."""
    detail: str | None = None
    """The same of a problem document (RFC 9457)."""


def _own_error(error: ApiError, status: int) -> ApiError | None:
    """The error if the API server answers, with a whole Status, and not what is behind it."""
    try:
        found = msgspec.json.decode(error.body, type=_WholeStatus)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    is_whole = found == _WholeStatus("Status", "v1", "Failure", status)
    return error if is_whole and error.reason else None


async def _after(beginning: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """What was read already, and what comes."""
    if beginning:
        yield beginning
    async for chunk in rest:
        yield chunk


class _WholeStatus(msgspec.Struct, rename="camel"):
    """What each Status of the API server has (kubernetes apimachinery pkg/api/errors/errors.go)."""

    kind: str
    api_version: str
    status: str
    code: int


def _is_read(method: str, path: str, params: list[tuple[str, str]], body: object) -> bool:
    """Whether the request changes nothing."""
    return (
        method in _SAFE_METHODS
        or path.startswith(_REVIEW_API_PATHS)
        or _is_dry_run(method, params, body)
    )


def _is_dry_run(method: str, params: list[tuple[str, str]], body: object) -> bool:
    """Whether the API server stores nothing. Of a DELETE with a body it ignores the query
    (kubernetes apiserver pkg/endpoints/handlers/delete.go)."""
    if method == "DELETE" and body is not None:
        if isinstance(body, bytes):
            body = msgspec.json.decode(body)
        return isinstance(body, Mapping) and body.get("dryRun") == ["All"]
    return ("dryRun", "All") in params


def _origin(server: str) -> str:
    parts = urlsplit(server)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _import_transport() -> Any:
    return importlib.import_module("servedeck.cluster.http.transport")


def _param_pairs(params: Params) -> list[tuple[str, str]]:
    return list(params.items() if isinstance(params, Mapping) else params)


def _parse_retry_after(value: object) -> float | None:
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 < seconds < 86_400 else None
