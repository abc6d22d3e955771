"""Who makes a request, and which tasks are theirs."""

from __future__ import annotations

from servedeck.gateway.asgi import HttpError, RawHeaders, Scope, header_values
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.messages import (
    CREDENTIAL_HEADERS,
    GATEWAY_HEADERS,
    HOP_BY_HOP_HEADERS,
)
from servedeck.gateway.stores.store import Found

_NEVER_FORWARDED = frozenset(
    name.encode() for name in (*HOP_BY_HOP_HEADERS, *GATEWAY_HEADERS, "x-servedeck-key")
)
_CREDENTIALS = frozenset(name.encode() for name in CREDENTIAL_HEADERS)
_NONE: frozenset[bytes] = frozenset()


def owner_of(context: GatewayContext, scope: Scope) -> str:
    """Raises HttpError for a request that says twice who makes it: the inference server may take
    the other one."""
    values = header_values(scope, _owner_header(context))
    if len(values) > 1:
        name = context.settings.owner_header.lower()
        raise HttpError(400, f"Bad {name}", f"The header {name} must be given once.")
    return context.identity.owner_of(values[0].decode("latin-1") if values else "")


def stored_headers(
    context: GatewayContext, scope: Scope
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The headers that the inference server gets: those to be stored in clear, and those to be
    encrypted."""
    raw = scope["headers"]
    dropped = _NEVER_FORWARDED | named_by_connection(raw)
    # An owner header of another name may be a credential too.
    encrypted = _CREDENTIALS | {_owner_header(context)}
    clear: list[tuple[str, str]] = []
    credentials: list[tuple[str, str]] = []
    for name, value in raw:
        if name not in dropped:
            found = credentials if name in encrypted else clear
            found.append((name.decode("latin-1"), value.decode("latin-1")))
    return clear, credentials


def named_by_connection(headers: RawHeaders) -> frozenset[bytes]:
    """Names in lower case of headers that are meant for the next hop alone, beside those that
    always are."""
    named: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            named.update(one.strip().lower() for one in value.split(b","))
    return frozenset(named) if named else _NONE


def _owner_header(context: GatewayContext) -> bytes:
    return context.settings.owner_header.lower().encode("latin-1")


def check_issued(context: GatewayContext, scope: Scope, id: str) -> None:
    """Raises HttpError 404 if the id is not one of the caller's: whether another caller has it is
    not told."""
    if not context.identity.is_issued(id, owner_of(context, scope)):
        raise HttpError(
            404,
            "No such task",
            "This gateway gave no such id to a caller with these credentials.",
        )


async def find_task(context: GatewayContext, scope: Scope, id: str) -> Found:
    """A task of the caller. Raises HttpError 404 and 410, and StoreError."""
    check_issued(context, scope, id)
    found = await context.store.find(id)
    if found is None:
        raise gone(id)
    return found


def gone(id: str) -> HttpError:
    return HttpError(
        410,
        "The task is not kept",
        "It was deleted, as its time to be fetched has passed or by an operator; or it was never"
        " stored, if its request was answered with 503.",
        task=id,
    )
