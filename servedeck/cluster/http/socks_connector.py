"""Connections through a SOCKS5 proxy, such as that of `ssh -D`."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import aiohttp_socks

from servedeck.cluster.http.errors import ConnectionFailedError, clean_message

_DEFAULT_PORT = 1080
"""RFC 1928, section 3."""


class SocksConnector(aiohttp_socks.ProxyConnector):
    """A connector of aiohttp. Its errors are those of a direct connection, or ConnectionFailedError
    with what is wrong with the proxy."""

    address = ""
    """Host and port of the proxy."""

    @classmethod
    def to_proxy(cls, url: str, **options: Any) -> SocksConnector:
        """One for the proxy at a URL, socks5://USER:PASSWORD@HOST:PORT. `options` are those of
        aiohttp.TCPConnector."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _DEFAULT_PORT
        user, password = (unquote(one) if one else None for one in (parts.username, parts.password))
        made = cls(host, port, username=user, password=password, rdns=True, **options)
        made.address = f"{host}:{port}"
        return made

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> Any:
        """As aiohttp's. Raises aiohttp's errors and ConnectionFailedError."""
        try:
            return await super().connect(req, traces, timeout)
        except aiohttp_socks.ProxyConnectionError as error:
            raise ConnectionFailedError(
                f"The proxy {self.address} cannot be reached; check proxy-url or HTTPS_PROXY."
            ) from error
        except aiohttp_socks.ProxyTimeoutError as error:
            raise TimeoutError from error
        except aiohttp_socks.ProxyError as error:
            raise ConnectionFailedError(
                f"The proxy {self.address} did not connect to {req.url.host}:{req.url.port}"
                f" ({clean_message(str(error)).rstrip('.')}); check proxy-url or HTTPS_PROXY, and"
                " the server of the context in the kubeconfig."
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
