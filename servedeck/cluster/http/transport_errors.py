"""Converts errors of aiohttp and the operating system to ClusterErrors."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from servedeck.cluster.http.errors import (
    CertificateRefusedError,
    ClusterError,
    ConnectionFailedError,
    ConnectionLostError,
    ReadTimeoutError,
    clean_message,
)

_TLS_ALERT_PATTERN = re.compile(
    r"\[SSL: \w*?ALERT_((?:CERTIFICATE_\w+)|BAD_CERTIFICATE\w*|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE"
    r"|ACCESS_DENIED)\]"
)
"""What OpenSSL says where the other side does not accept the certificate of this one."""


def to_cluster_error(error: Exception, server: str, context: str) -> ClusterError:
    """The ClusterError for a failed request to `server`, which `context` refers to."""
    import aiohttp  # imported late because it is slow

    where = server
    check = f"check the server of context {context!r} in the kubeconfig"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectionFailedError(
            f"The proxy refused to connect to {where} ({error.status}); check proxy-url or"
            " HTTPS_PROXY."
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return ConnectionFailedError(
            f"The proxy {error.host}:{error.port} cannot be reached; check proxy-url or"
            " HTTPS_PROXY."
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = _certificate_reason(error.certificate_error)
        return ConnectionFailedError(
            f"The certificate of {where} is not trusted ({reason.rstrip('.')});"
            f" {_certificate_remedy(error.certificate_error, context)}."
        )
    if alert := _TLS_ALERT_PATTERN.search(str(error)):
        # With TLS 1.3, a client certificate is refused only after the handshake, and the request
        # unread.
        return CertificateRefusedError(
            f"{where} refused the TLS connection ({alert[1]}); log in again, or check the client"
            f" certificate of the user of context {context!r}."
        )
    if isinstance(error, aiohttp.ClientSSLError):
        return ConnectionFailedError(
            f"TLS with {where} failed ({_tls_reason(error)}); {check}, and whether it requires a "
            f"client certificate."
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        if error.host != urlsplit(where).hostname:
            return ConnectionFailedError(
                f"There is no host {error.host!r} of the proxy; check proxy-url or HTTPS_PROXY, the"
                " network and the VPN."
            )
        return ConnectionFailedError(
            f"There is no host {error.host!r}; {check}, the network and the VPN."
        )
    if isinstance(error, ConnectionRefusedError) or (
        isinstance(error, aiohttp.ClientConnectorError)
        and isinstance(error.os_error, ConnectionRefusedError)
    ):
        return ConnectionFailedError(
            f"Connection refused by {where}; is the cluster up? If so, {check}."
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or str(error.os_error)
        return ConnectionFailedError(
            f"{where} cannot be reached ({reason}); check the network and VPN."
        )
    if isinstance(error, TimeoutError):
        return ReadTimeoutError(f"{where} does not answer; check the network and the VPN.")
    if isinstance(error, aiohttp.InvalidURL):
        return ConnectionFailedError(
            f"The address {where!r} is not the address of a server; {check}."
        )
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLostError(
            f"The connection to {where} was lost in the middle of a response."
        )
    if isinstance(error, aiohttp.ClientResponseError):
        # Its text has the whole address, also that of a proxy with its password.
        problem = "sends a header that cannot be read" if is_unreadable(error) else ""
        return ConnectionLostError(
            f"{where} {problem or 'does not answer in HTTP'}; {check}, and whether there is a proxy"
            " in between."
        )
    reason = str(error) or type(error).__name__
    return ConnectionLostError(f"The connection to {where} was lost ({reason}).")


def describe_failure(error: Exception) -> str:
    """What is wrong with the connection, after the name of a server that no kubeconfig names."""
    import aiohttp  # imported late because it is slow

    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or "not valid"
        return f"has a certificate that is not trusted ({reason})"
    if isinstance(error, aiohttp.ClientSSLError):
        return "does not speak TLS as it should"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"cannot be reached: the proxy refused to connect ({error.status})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "cannot be reached: there is no such host"
    if isinstance(cause, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(error, aiohttp.InvalidURL):
        return "is not the address of a server"  # its text has the user and password of the URL
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be reached ({error.os_error.strerror or error.os_error})"
    if is_unreadable(error):
        part = "a body" if "content-encoding" in _parse_failure(error) else "a header"
        return f"sends {part} that cannot be read"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "closed the connection in the middle of an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "does not answer in HTTP"
    return f"cannot be asked ({clean_message(str(error)) or type(error).__name__})"


def is_unreadable(error: Exception) -> bool:
    """Whether the answer is one of HTTP, but has a header that is malformed or too long, or a body
    that cannot be decompressed."""
    text = _parse_failure(error)
    return any(one in text for one in ("header", "bytes when reading", "content-encoding"))


def _parse_failure(error: Exception) -> str:
    """Why aiohttp cannot parse an answer, in lower case; "" for other errors."""
    import aiohttp

    cause: BaseException | None = error
    if isinstance(error, aiohttp.ClientPayloadError):
        cause = error.__cause__
        if not isinstance(cause, aiohttp.http_exceptions.ContentEncodingError):
            return ""
    elif not isinstance(error, aiohttp.ClientResponseError):
        return ""
    return str(getattr(cause, "message", "")).lower()


def _certificate_reason(error: object) -> str:
    return str(getattr(error, "verify_message", "") or error)


def _certificate_remedy(error: object, context: str) -> str:
    """What to do, by the code of OpenSSL (x509_vfy.h)."""
    match getattr(error, "verify_code", None):
        case 9:  # not valid yet
            return "check this machine's clock and the server's"
        case 10:  # expired
            return "renew it on the server, or check this machine's clock"
        case 62 | 64:  # for another host name or address
            return (
                f"check the server of context {context!r} in the kubeconfig, or set tls-server-name"
                " to a name that the certificate has"
            )
        case _:
            return f"check the certificate authority of context {context!r} in the kubeconfig"


def _tls_reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None)
    return str(getattr(inner, "reason", None) or inner or error)
