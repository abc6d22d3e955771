"""Client certificates: loads them into TLS contexts, and reads when they expire. Without aiohttp,
which is slow to import."""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from servedeck.cluster.http.errors import ConfigError

_PEM_BEGIN, _PEM_END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_EXPLICIT_VERSION, _UTC_TIME = 0xA0, 0x17
"""Tags of the version of a certificate and of a time with two digits of the year."""


def load_client_certificate(
    context: ssl.SSLContext, certificate: bytes, private_key: bytes
) -> None:
    """Load them, both in PEM format, through temporary files with mode 0600, since the ssl module
    reads keys from files only. Blocks on file I/O. Raises ConfigError where they cannot be used."""
    with tempfile.TemporaryDirectory(prefix="servedeck-") as folder:
        files = Path(folder, "certificate"), Path(folder, "key")
        for path, content in zip(files, (certificate, private_key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        try:
            # without a password function, OpenSSL would prompt on the terminal
            context.load_cert_chain(*files, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                "The client certificate and its key cannot be used"
                f" ({getattr(error, 'reason', None) or error}); check that they belong together"
                " and that the key has no passphrase."
            ) from error


def find_pair_problem(certificate: bytes, private_key: bytes) -> str:
    """Why the certificate and the key cannot be used together, "" if they can. Blocks on file
    I/O."""
    try:
        load_client_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, private_key)
    except ConfigError as error:
        cause = error.__cause__
        return str(getattr(cause, "reason", None) or cause)
    return ""


def find_expiry(certificate: bytes) -> datetime | None:
    """When the first certificate in PEM format expires; None if that cannot be read."""
    try:
        begin = certificate.index(_PEM_BEGIN)
        end = certificate.index(_PEM_END, begin) + len(_PEM_END)
        der = ssl.PEM_cert_to_DER_cert(certificate[begin:end].decode("ascii"))
        # RFC 5280: tbsCertificate has version (optional), serialNumber, signature, issuer, validity
        fields = _split_elements(_split_elements(_split_elements(der)[0][1])[0][1])
        validity = fields[4 if fields[0][0] == _EXPLICIT_VERSION else 3][1]
        tag, text = _split_elements(validity)[1]
        if tag == _UTC_TIME:
            text = (b"19" if text >= b"50" else b"20") + text
        return datetime.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except (ValueError, IndexError):
        return None


def _split_elements(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each of the elements in DER (X.690)."""
    elements = []
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length >= 0x80:  # the number of bytes that the length takes
            count = length - 0x80
            length = int.from_bytes(der[at : at + count])
            at += count
        elements.append((tag, der[at : at + length]))
        at += length
    return elements
