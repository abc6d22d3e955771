"""What the errors of Valkey mean, as a sentence for operators."""

from __future__ import annotations

import logging
import ssl

from redis import exceptions

from servedeck.gateway.stores.store import StoreError, StoreFullError, StoreUnavailableError
from servedeck.gateway.stores.valkey.tls import TlsClosedError, TlsContext, tls_sentence

MIN_VERSION = 7
"""Of Redis, as Valkey gives it too: the first with functions."""

_SENTENCES = {
    "LOADING": "is still loading its data",
    "READONLY": "is a replica and cannot be written to",
    "MISCONF": "cannot write its disk",
    "NOREPLICAS": "has too few replicas to be written to",
    "MASTERDOWN": "is a replica whose primary is away",
    "UNBLOCKED": "has become a replica",
    "BUSY": "is busy with a script",
    "CLUSTERDOWN": "is part of a cluster that is down",
    "MOVED": "is not the node of the cluster that has this serving",
    "ASK": "is moving this serving to another node of the cluster",
    "TRYAGAIN": "is moving this serving to another node of the cluster",
    "NOPERM": "does not allow its user what the gateway needs",
    "NOAUTH": "asks for a password",
    "WRONGPASS": "does not accept the user or the password",
}

_log = logging.getLogger(__name__)


def translate(error: Exception, address: str, timeout: float, tls: TlsContext | None) -> StoreError:
    """Without the server's own text, which may name users, keys or values."""
    code = code_of(error)
    if code == "OOM":
        return StoreFullError(f"The memory of {address} is full.")
    if sentence := _SENTENCES.get(code):
        return StoreUnavailableError(f"{address} {sentence}.")
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        doubt = "; it may not speak TLS on this port" if tls and not tls.is_proven else ""
        return StoreUnavailableError(f"{address} did not answer in {timeout:g} s{doubt}.")
    if isinstance(error, exceptions.ResponseError):
        if "unknown command" in str(error).lower():
            return StoreUnavailableError(
                f"{address} does not know a command that the gateway needs;"
                f" Valkey, or Redis {MIN_VERSION} or newer, is needed."
            )
        _log.error("%s refused a command: %.200s", address, error)
        return StoreUnavailableError(f"{address} refused a command.")
    is_told = isinstance(error, TlsClosedError)
    reason = error if is_told else error.__cause__ or error.__context__ or error
    if isinstance(reason, ssl.SSLError | TlsClosedError):
        return StoreUnavailableError(tls_sentence(address, reason))
    return StoreUnavailableError(f"{address} cannot be reached.")


def code_of(error: Exception) -> str:
    code = getattr(error, "status_code", None)
    if code:
        return str(code)
    if isinstance(error, exceptions.AuthenticationError):
        return "WRONGPASS"
    if isinstance(error, exceptions.ResponseError):
        return str(error).partition(" ")[0]
    return ""
