"""Task ids that cannot be guessed and belong to their caller, and credentials that are stored
encrypted. All keys are derived from one secret."""

from __future__ import annotations

import hmac
import os
import re
import time
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from servedeck.gateway.messages import Headers

MIN_SECRET_BYTES = 32
ID_PATTERN = re.compile(r"[0-9a-f]{44}\Z")
"""48 bits of milliseconds, so that ids sort by age, 64 random bits and 64 bits of a keyed hash."""

_TIME_HEX, _RANDOM_BYTES, _TAG_BYTES = 12, 8, 8
_NONCE_BYTES = 12
_OWNER_BYTES = 12


def id_begin(time: float) -> str:
    """What an id that is made at this time, in seconds since the epoch, begins with: all earlier
    ones sort before it."""
    return f"{int(min(max(time * 1000, 0), 16**_TIME_HEX - 1)):0{_TIME_HEX}x}"


class Identity:
    """Raises ValueError for a secret of less than MIN_SECRET_BYTES."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret must have at least {MIN_SECRET_BYTES} bytes")
        self._id_key = _derive(secret, b"task id")
        self._owner_key = _derive(secret, b"owner")
        self._cipher = AESGCM(_derive(secret, b"credentials"))
        self.fingerprint = _derive(secret, b"fingerprint")[:8].hex()
        """Tells gateways of different secrets apart."""

    def new_id(self, owner: str) -> str:
        """An id of an owner, as `owner_of` gives it."""
        head = f"{time.time_ns() // 1_000_000:0{_TIME_HEX}x}{os.urandom(_RANDOM_BYTES).hex()}"
        return head + self._tag(head, owner)

    def is_issued(self, id: str, owner: str) -> bool:
        """Whether the id was made for this owner, by a gateway of this secret; nothing is read for
        that. So an id that is no longer stored differs from one that was never issued."""
        if not ID_PATTERN.match(id):
            return False
        head, tag = id[: -2 * _TAG_BYTES], id[-2 * _TAG_BYTES :]
        return hmac.compare_digest(tag, self._tag(head, owner))

    def owner_of(self, credential: str) -> str:
        """Whose a request is: a keyed hash of its credential; "" for none."""
        if not credential:
            return ""
        digest = hmac.digest(self._owner_key, credential.encode("utf-8", "surrogateescape"), sha256)
        return digest[:_OWNER_BYTES].hex()

    def encrypt(self, id: str, credentials: Headers) -> bytes:
        """The credentials of a task; b"" for none."""
        if not credentials:
            return b""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(credentials), id.encode())

    def decrypt(self, id: str, data: bytes) -> list[tuple[str, str]]:
        """Raises ValueError if they are not those of this task, or of this secret."""
        if not data:
            return []
        nonce, rest = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            plain = self._cipher.decrypt(nonce, rest, id.encode())
        except (InvalidTag, ValueError):
            raise ValueError("credentials were encrypted with another secret") from None
        return msgspec.json.decode(plain, type=list[tuple[str, str]])

    def _tag(self, head: str, owner: str) -> str:
        data = f"{head}:{owner}".encode()
        return hmac.digest(self._id_key, data, sha256)[:_TAG_BYTES].hex()


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"servedeck gateway " + purpose).derive(secret)
