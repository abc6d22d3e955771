"""Whether logs may be read, so that the keys that show them are disabled with the reason."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Protocol

from servedeck.cluster.http.errors import ClusterError
from tui.ports.app_context import AppContext

PERMISSION_MAX_AGE = 60.0
"""Seconds after which a permission is asked for again: it may have been granted meanwhile."""

_VERB, _RESOURCE = "get", "pods/log"


class LogKeyOwner(Protocol):
    """A screen or a pane with a key that shows logs."""

    @property
    def app_context(self) -> AppContext: ...

    def start_worker(self, work: Coroutine[None, None, None], group: str) -> object: ...


class LogPermission:
    """Asks for the permission when it is needed, at most once in `PERMISSION_MAX_AGE` seconds; what
    is not known counts as allowed, and the log itself says then what is missing."""

    def __init__(self, owner: LogKeyOwner, on_change: Callable[[], object]) -> None:
        """`on_change` is called once the permission is known."""
        self._owner = owner
        self._on_change = on_change
        self._requested_at: dict[tuple[str, str], float] = {}

    def disabled_reason(self, namespace: str) -> str:
        """Why logs of the namespace may not be read, in a sentence; "" if they may, as far as
        known."""
        app = self._owner.app_context
        change_service = app.change_service
        if change_service is None or not change_service.is_connected:
            return ""
        asked = (app.source.context, namespace)
        requested_at = self._requested_at.get(asked)
        if requested_at is None or monotonic() - requested_at > PERMISSION_MAX_AGE:
            self._requested_at[asked] = monotonic()
            self._owner.start_worker(self._refresh(namespace), f"permission {asked} {_RESOURCE}")
        return change_service.read_disabled_reason(_VERB, _RESOURCE, namespace)

    async def _refresh(self, namespace: str) -> None:
        change_service = self._owner.app_context.change_service
        if change_service is not None:
            with suppress(ClusterError):  # then the log reports it
                await change_service.refresh_read_permission(_VERB, _RESOURCE, namespace)
        self._on_change()
