"""aiohttp's and the system's errors as sentences."""

from __future__ import annotations

from urllib.parse import urlsplit

from servedeck.cluster.http.errors import ClusterError, ConnectError, LostError, SlowError


def explained(error: Exception, server: str, context: str) -> ClusterError:
    """What an error on the way to `server`, as named in `context`, means and what to try."""
    import aiohttp  # as late as possible: it is slow to import

    where = server
    check = f"check the server of context {context!r} in the kubeconfig"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectError(
            f"The proxy refused to connect us to {where} ({error.status}); check proxy-url or"
            " HTTPS_PROXY."
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return ConnectError(
            f"The proxy {error.host}:{error.port} cannot be reached; check proxy-url or"
            " HTTPS_PROXY."
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ConnectError(
            f"The certificate of {where} is not trusted"
            f" ({_certificate_words(error.certificate_error)});"
            f" check the certificate authority of context {context!r} in the kubeconfig."
        )
    if isinstance(error, aiohttp.ClientSSLError):
        return ConnectError(
            f"No TLS with {where} ({_tls_words(error)}); {check}, and whether it asks for a"
            " client certificate."
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectError(
            f"There is no host {urlsplit(where).hostname!r}; {check}, the network and the VPN."
        )
    if isinstance(error, ConnectionRefusedError) or (
        isinstance(error, aiohttp.ClientConnectorError)
        and isinstance(error.os_error, ConnectionRefusedError)
    ):
        return ConnectError(f"Nothing listens at {where}; is the cluster up? If so, {check}.")
    if isinstance(error, aiohttp.ClientConnectorError):
        said = error.os_error.strerror or str(error.os_error)
        return ConnectError(f"{where} cannot be reached ({said}); check the network and VPN.")
    if isinstance(error, TimeoutError):
        return SlowError(f"{where} does not answer; check the network and the VPN.")
    if isinstance(error, aiohttp.InvalidURL):
        return ConnectError(f"The address {where!r} is no address of a server; {check}.")
    if isinstance(error, aiohttp.ClientPayloadError):
        return LostError(f"The connection to {where} broke in the middle of an answer.")
    said = str(error) or type(error).__name__
    return LostError(f"The connection to {where} broke ({said}).")


def _certificate_words(error: object) -> str:
    return str(getattr(error, "verify_message", "") or error)


def _tls_words(error: Exception) -> str:
    inner = getattr(error, "os_error", None)
    return str(getattr(inner, "reason", None) or inner or error)
