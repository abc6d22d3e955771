"""When client certificates expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ssl import DER_cert_to_PEM_cert

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from servedeck.cluster.http.client_certificate import find_expiry

SOME_TIME = datetime(2030, 1, 1, tzinfo=UTC)


def make_certificate(expiry: datetime, name: str = "operator") -> bytes:
    """A certificate in PEM format that expires then."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(expiry - timedelta(seconds=1))
        .not_valid_after(expiry)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


@given(
    st.datetimes(datetime(1951, 1, 1), datetime(9999, 12, 31)),
    st.text("abc", min_size=1, max_size=60),
)
def test_the_expiry_is_read(moment: datetime, name: str) -> None:
    expiry = moment.replace(microsecond=0, tzinfo=UTC)
    first, other = (
        make_certificate(expiry, name),
        make_certificate(SOME_TIME),
    )
    assert find_expiry(first) == expiry
    assert find_expiry(b"# comment\n" + first + other) == expiry, "that of the first of a chain"


@pytest.mark.parametrize("cut", [0, 1, 40, 100])
def test_what_is_no_certificate_has_no_expiry(cut: int) -> None:
    lines = make_certificate(SOME_TIME).splitlines()
    body = b"".join(lines[1:-1])[:cut]
    for pem in (b"", body, lines[0], b"\n".join((lines[0], body, lines[-1]))):
        assert find_expiry(pem) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    find_expiry(content)
    find_expiry(DER_cert_to_PEM_cert(content).encode())
