"""Who makes a request, and which tasks are theirs."""

from __future__ import annotations

from servedeck.gateway.asgi import HttpError, Scope
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.messages import (
    GATEWAY_HEADERS,
    Headers,
    decode_headers,
    end_to_end_headers,
    split_credentials,
)
from servedeck.gateway.stores.store import Found

_NEVER_FORWARDED = GATEWAY_HEADERS | {"x-servedeck-key"}


def owner_of(context: GatewayContext, scope: Scope) -> str:
    """Raises HttpError for a request that says twice who makes it: the inference server may take
    the other one."""
    name = context.settings.owner_header.lower()
    raw_name = name.encode("latin-1")
    values = [value for key, value in scope["headers"] if key == raw_name]
    if len(values) > 1:
        raise HttpError(400, f"Bad {name}", f"The header {name} must be given once.")
    return context.identity.owner_of(values[0].decode("latin-1") if values else "")


def stored_headers(
    context: GatewayContext, scope: Scope
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The headers that the inference server gets: those to be stored in clear, and those to be
    encrypted."""
    headers: Headers = [
        one
        for one in end_to_end_headers(decode_headers(scope["headers"]))
        if one[0] not in _NEVER_FORWARDED
    ]
    clear, credentials = split_credentials(headers)
    name = context.settings.owner_header.lower()
    # An owner header of another name may be a credential too.
    credentials += [one for one in clear if one[0] == name]
    return [one for one in clear if one[0] != name], credentials


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
        410, "The task is no longer kept", "Its time to be fetched has passed.", task=id
    )
