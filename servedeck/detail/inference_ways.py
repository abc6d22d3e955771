"""The ways by which a request reaches a serving, and why one fails: a sentence with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ReadOnlyError,
    ReadTimeoutError,
    clean_message,
)
from servedeck.cluster.http.transport_errors import describe_failure, is_unreadable
from servedeck.detail.inference_answer import InferenceAnswer
from servedeck.detail.inference_body import failure_message
from servedeck.serving.endpoint import Endpoint
from servedeck.serving.inference_request import InferenceRequest
from servedeck.serving.text import one_line, sanitize, truncate

_MAX_URL_CELLS = 200
_GRPC_REASON = "The inference server accepts gRPC only, which is not sent here."
READONLY_REASON = (
    "Through the API server the request would be a write to it (create on services/proxy), which"
    " --readonly rejects; send it to the endpoint, or restart servedeck without --readonly."
)
_NO_WAY_REASON = "The serving has neither an endpoint nor a Service to send a request to."


class WayKind(StrEnum):
    """By what a request is sent."""

    ENDPOINT = "endpoint"
    PORT_FORWARD = "port-forward"
    API_SERVER = "api-server"


class Way(NamedTuple):
    """One way to a serving."""

    kind: WayKind
    base: str
    """URL; of the API server's proxy the path in the API server."""
    namespace: str = ""

    @property
    def name(self) -> str:
        """ "the endpoint", in a sentence."""
        return _NAMES[self.kind]

    def shown(self, path: str) -> str:
        """Where a request with this path goes; one sanitized line."""
        scheme, separator, rest = self.base.partition("://")
        if separator:
            # A user and a password are for basic authentication, not for the screen.
            host, slash, tail = rest.partition("/")
            rest = f"{host.rpartition('@')[2]}{slash}{tail}"
        base = f"{scheme}{separator}{rest}".rstrip("/")
        return truncate(one_line(sanitize(base + path)), _MAX_URL_CELLS)

    @property
    def passes_token(self) -> bool:
        """Whether a token reaches the inference server: the API server keeps the header
        Authorization for itself (kubernetes apiserver pkg/endpoints/filters/authentication.go)."""
        return self.kind is not WayKind.API_SERVER

    @property
    def is_unencrypted(self) -> bool:
        """Whether others on the network may read what is sent."""
        if self.kind is not WayKind.ENDPOINT or not self.base.startswith("http://"):
            return False
        host = ""
        try:
            host = urlsplit(self.base).hostname or ""
            return not ip_address(host).is_loopback
        except ValueError:
            return host != "localhost"


_NAMES = {
    WayKind.ENDPOINT: "the endpoint",
    WayKind.PORT_FORWARD: "the port-forward",
    WayKind.API_SERVER: "the API server",
}


def find_ways(endpoint: Endpoint, namespace: str, forwarded_urls: Sequence[str] = ()) -> list[Way]:
    """The ways to a serving that there are, the one to take first: its endpoint, else the API
    server, else a port-forward that runs here. None for a server of gRPC."""
    if endpoint.is_grpc:
        return []
    ways = [Way(WayKind.ENDPOINT, endpoint.url, namespace)] if endpoint.url else []
    if endpoint.proxy_path:
        ways.append(Way(WayKind.API_SERVER, endpoint.proxy_path, namespace))
    return ways + [Way(WayKind.PORT_FORWARD, url, namespace) for url in forwarded_urls]


def no_way_reason(endpoint: Endpoint) -> str:
    """Why there is no way, in a sentence."""
    return _GRPC_REASON if endpoint.is_grpc else _NO_WAY_REASON


class Words(NamedTuple):
    """What to do, in the words of the screen or of the command that sent the request."""

    if_missing: str
    """An API token."""
    if_refused: str
    """The API token."""
    if_not_passed: str
    """An API token, which the API server keeps from the server."""
    other_way: str
    see_pods: str


SCREEN_WORDS = Words(
    if_missing="enter it in API token",
    if_refused="enter another one",
    if_not_passed="send the request to the endpoint or through a port-forward",
    other_way="try another way",
    see_pods="see the Overview",
)
COMMAND_WORDS = Words(
    if_missing="name a file with it by --token-file",
    if_refused="name a file with another one by --token-file",
    if_not_passed="use --through endpoint, or send it with curl through servedeck port-forward",
    other_way="try another way with --through",
    see_pods="see servedeck describe",
)


# -- why it failed --------------------------------------------------------------------------------


def explain_error(way: Way, error: Exception, silence: float, words: Words = SCREEN_WORDS) -> str:
    """One sentence for a request that got no answer, or only the beginning of one. `error` is one
    of aiohttp, the operating system or the connection to the API server."""
    import aiohttp  # imported late because it is slow

    if isinstance(error, ReadOnlyError):
        return READONLY_REASON
    is_connected = not isinstance(error, aiohttp.ConnectionTimeoutError)
    if isinstance(error, TimeoutError | ReadTimeoutError) and is_connected:
        return clean_message(
            f"Nothing came through {way.name} for {silence:.0f} s; look at the log of the server"
            f" and at its waiting requests, or {words.other_way}."
        )
    if isinstance(error, ClusterError):
        return str(error)
    return clean_message(f"{_place(way)} {describe_failure(error)}; {_remedy(way, error, words)}.")


def explain_unreadable(error: Exception) -> str:
    """One sentence for an answer with a value that cannot be read."""
    reason = str(error).rstrip(".") or type(error).__name__
    return clean_message(f"The answer cannot be read ({reason}); look at it with curl -v.")


def _place(way: Way) -> str:
    """ "The endpoint serve.example.com"."""
    return f"{way.name.capitalize()} {_host(way.base)}".rstrip()


def _host(url: str) -> str:
    """Host and port of a URL, without user and password; "" if it has none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _remedy(way: Way, error: Exception, words: Words) -> str:
    import aiohttp  # imported late because it is slow

    if is_unreadable(error):
        return "look at its answer with curl -v"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "look at the log of the server, and at the timeouts of what is in between"
    if way.kind is WayKind.PORT_FORWARD:
        return "look whether it still runs, and whether a Pod is Ready"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"name the file of its certificate authority in SSL_CERT_FILE, or {words.other_way}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return (
            f"check the DNS record of the route's host, your network and VPN, or {words.other_way}"
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return "check HTTPS_PROXY and NO_PROXY"
    return (
        "check that the gateway of the route runs and listens there, your network and VPN, or"
        f" {words.other_way}"
    )


def explain_status(
    way: Way,
    request: InferenceRequest,
    answer: InferenceAnswer,
    own_error: ApiError | None,
    *,
    has_token: bool,
    words: Words = SCREEN_WORDS,
) -> str:
    """One sentence for an answer whose status is none of success. `own_error` is that of the API
    server, if it answers itself."""
    if own_error is not None:
        return _explain_api_server(way, own_error, request.method, words)
    status = answer.status or 0
    said = failure_message(answer.body)
    reason = f": {said}" if said else ""
    text = _explain_server(way, request, answer, status, said, words, has_token=has_token)
    return clean_message(text or f"The server refused the request ({status}){reason}.")


def _explain_api_server(way: Way, error: ApiError, method: str, words: Words) -> str:
    where = f"in namespace {way.namespace}" if way.namespace else "in its namespace"
    if error.code == 403 and error.reason == "Forbidden" and "anonymous" not in error.message:
        verb = "create" if method == "POST" else "get"
        return clean_message(
            f"Through the API server it needs {verb} on services/proxy {where}; ask for it, or"
            f" {words.other_way}."
        )
    if "no endpoints available" in error.message:
        return (
            f"The Service leads to no Ready Pod (503); wait until one is Ready, {words.see_pods}."
        )
    if error.code == 404 and error.reason == "NotFound":
        return clean_message(f"There is no such Service {where}; it was deleted meanwhile.")
    if "error trying to reach service" in error.message:
        why = error.message.partition("error trying to reach service: ")[2].rstrip(".")
        return clean_message(
            f"The API server cannot reach the Pod ({why or error.code}); check that the server"
            f" listens on the port of the Service, or {words.other_way}."
        )
    return str(error)


def _explain_server(
    way: Way,
    request: InferenceRequest,
    answer: InferenceAnswer,
    status: int,
    said: str,
    words: Words,
    *,
    has_token: bool,
) -> str:
    """What the inference server, or a gateway before it, refuses."""
    reason = f": {said}" if said else ""
    if 300 <= status < 400:
        host = one_line(sanitize(_host(answer.header("location"))))
        where = f" to {host}" if host else ""
        return (
            f"It redirects{where} ({status}), which is not followed, as a token is not for other"
            " hosts; is there a login in between, or is the scheme of the endpoint http?"
        )
    if status == 401:
        if not way.passes_token:
            return (
                "The server requires an API token (401), which the API server does not pass on;"
                f" {words.if_not_passed}."
            )
        if has_token:
            return f"The server does not accept the API token (401{reason}); {words.if_refused}."
        return f"The server requires an API token (401); {words.if_missing}."
    if status == 403:
        return (
            f"The request is forbidden (403{reason}); check the API token, and the policies of the"
            " gateway."
        )
    if status == 404:
        if request.model and "model" in said.lower():
            return (
                f"The server does not know the model {request.model} (404{reason}); see its name"
                " in the list that /v1/models has."
            )
        return (
            f"There is no {request.path} there (404{reason}); check that the route leads to the"
            " serving and rewrites its prefix, and that the server has this API."
        )
    if status in (400, 413, 422):
        return f"The server does not accept the request ({status}{reason})."
    if status == 429:
        return f"Too many requests (429{reason}); wait, or look at its waiting requests."
    if status in (502, 503):
        return (
            f"No Pod answers, or the server is not available ({status}{reason}); look whether Pods"
            " are Ready, and at their log."
        )
    if status == 504:
        return (
            f"A gateway gave up waiting for the server (504{reason}); look at its waiting requests,"
            " and at the timeout of the route."
        )
    if status >= 500:
        return f"The server failed ({status}{reason}); look at its log."
    return ""
