"""Converts errors of aiohttp and the operating system to ClusterErrors."""

from __future__ import annotations

from urllib.parse import urlsplit

from servedeck.cluster.http.errors import (
    ClusterError,
    ConnectionFailedError,
    ConnectionLostError,
    ReadTimeoutError,
    clean_message,
)


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
        return ConnectionFailedError(
            f"The certificate of {where} is not trusted"
            f" ({_certificate_reason(error.certificate_error)});"
            f" check the certificate authority of context {context!r} in the kubeconfig."
        )
    if isinstance(error, aiohttp.ClientSSLError):
        return ConnectionFailedError(
            f"TLS with {where} failed ({_tls_reason(error)}); {check}, and whether it requires a "
            f"client certificate."
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectionFailedError(
            f"There is no host {urlsplit(where).hostname!r}; {check}, the network and the VPN."
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
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "closed the connection in the middle of an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "does not answer in HTTP"
    return f"cannot be asked ({clean_message(str(error)) or type(error).__name__})"


def _certificate_reason(error: object) -> str:
    return str(getattr(error, "verify_message", "") or error)


def _tls_reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None)
    return str(getattr(inner, "reason", None) or inner or error)
