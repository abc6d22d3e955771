"""Whether tasks are safe in a server as it is set up."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from servedeck.gateway.stores.store import StoreError, StoreUnavailableError
from servedeck.gateway.stores.valkey.connection import ValkeyConnection
from servedeck.gateway.stores.valkey.errors import MIN_VERSION

_log = logging.getLogger(__name__)


async def require_version(valkey: ValkeyConnection) -> None:
    """Raises StoreUnavailableError if the server has no functions."""
    # Valkey gives the version of Redis that it is compatible with
    version = str((await valkey.information()).get("redis_version", ""))
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < MIN_VERSION:
        raise StoreUnavailableError(
            f"{valkey.address} has version {version};"
            f" Valkey, or Redis {MIN_VERSION} or newer, is needed."
        )


async def rewrite_append_only_file(
    valkey: ValkeyConnection, information: Mapping[str, Any]
) -> None:
    """Once after each start of the server. One that was killed within a transaction has the begin
    of it in its file, and mixes it with what came later when it is started again, before
    valkey-io/valkey#4342: what was accepted in between could be lost, and ends recorded twice."""
    if information.get("aof_enabled") and not (
        information.get("aof_rewrites", 1) or information.get("aof_rewrite_in_progress")
    ):
        try:
            await valkey.command("BGREWRITEAOF")
        except StoreError as error:  # as where its user may not
            _log.debug("The append-only file is not rewritten: %s", error)


async def find_risk(valkey: ValkeyConnection) -> str:
    """See TaskStore.check."""
    await require_version(valkey)
    await valkey.locate()
    if valkey.uses_scripts:
        await valkey.load()  # there may be room by now
    information = await valkey.information()
    await rewrite_append_only_file(valkey, information)
    policy = information.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return (
            f"{valkey.address} may delete tasks when its memory is full:"
            f" maxmemory-policy is {policy} and must be noeviction."
        )
    if not information.get("aof_enabled"):
        return (
            f"{valkey.address} loses tasks when it restarts: it writes no append-only file;"
            " set appendonly yes."
        )
    if information.get("aof_last_write_status", "ok") != "ok":
        return f"{valkey.address} cannot write its disk."
    if information.get("role") != "master":
        await valkey.reconnect()
        return f"{valkey.address} is a replica and cannot be written to."
    synced = await valkey.parameter("appendfsync")
    if synced == "no":
        return (
            f"{valkey.address} leaves it to the system when tasks reach the disk;"
            " set appendfsync always."
        )
    if valkey.uses_scripts or _is_full(information):
        return f"warning: The memory of {valkey.address} is full: it takes no task."
    if synced == "everysec":
        return (
            f"warning: {valkey.address} writes its disk once a second: a power cut loses"
            " what was accepted in the last second or more; set appendfsync always."
        )
    return ""


def _is_full(information: Mapping[str, Any]) -> bool:
    """Whether it refuses commands that need memory; its buffers of the append-only file and of
    replicas do not count."""
    most = int(information.get("maxmemory", 0))
    buffers = int(information.get("mem_not_counted_for_evict", 0))
    return 0 < most <= int(information.get("used_memory", 0)) - buffers
