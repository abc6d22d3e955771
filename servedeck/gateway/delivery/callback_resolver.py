"""Resolves the names of callbacks. Apart from their rules, which a process that accepts needs
without aiohttp."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from servedeck.gateway.delivery.callback_targets import (
    CallbackRefusedError,
    clean_host,
    find_entry,
    is_allowed_address,
)


class CallbackResolver(AbstractResolver):
    """Resolves names to addresses that callbacks may reach. Names that are addresses do not come
    here; `check_target` has found them in the settings."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises CallbackRefusedError if one of the addresses is not allowed."""
        entry = find_entry(clean_host(host), port, self._allowed)
        if entry is None:
            raise CallbackRefusedError(f"{host} with port {port} is not among callback_hosts.")
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results: list[ResolveResult] = []
        for address_family, _, protocol, _, address in found:
            text = str(address[0])
            if not is_allowed_address(text, entry):
                raise CallbackRefusedError("its host has an address that is not public.")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=port,
                    family=address_family,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is open."""
