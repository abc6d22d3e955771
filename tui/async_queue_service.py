"""The async queues of servings through the current connection.

Its modules are imported when they are needed, after the first frame.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ConnectionLostError

if TYPE_CHECKING:
    from servedeck.async_queue.admin_url import AdminUrlClient
    from servedeck.async_queue.client import AsyncQueueClient
    from servedeck.changes.async_queue.plan import AsyncQueuePlan, AsyncQueueResult
    from servedeck.changes.async_queue.state import CurrentLimits
    from servedeck.changes.async_queue.turn_on import AsyncQueueDefaults
    from servedeck.cluster.access import AccessChecker
    from servedeck.cluster.http.connection import Connection
    from servedeck.config import Settings
    from servedeck.fleet.views import NamespacedName
    from servedeck.serving.async_limits import AsyncQueueSettings
    from tui.ports.async_queue_service import LimitValues


class ClusterAsyncQueueService:
    """`tui.ports.async_queue_service.AsyncQueueService` of a cluster."""

    def __init__(
        self, connection: Callable[[], Connection | None], settings: Callable[[], Settings]
    ) -> None:
        """`connection` and `settings` return the current ones, which change with the context."""
        self._connection = connection
        self._settings = settings
        self._admin_url: AdminUrlClient | None = None
        self._access: tuple[Connection, AccessChecker] | None = None
        """The reviews of a connection."""
        self._lock = threading.Lock()  # clients are made in threads

    def _require_connection(self) -> Connection:
        connection = self._connection()
        if connection is None:
            raise ConnectionLostError("Not connected to the API server yet; retrying.")
        return connection

    def queue_api(self, key: NamespacedName) -> AsyncQueueClient:
        from servedeck.async_queue.client import AsyncQueueClient

        connection = self._require_connection()
        return AsyncQueueClient(connection, key.namespace, key.name, self._admin_url_client())

    def _admin_url_client(self) -> AdminUrlClient | None:
        """One for all servings and contexts, as only the operator's own settings name the URL."""
        from servedeck.async_queue.admin_url import AdminUrlClient

        with self._lock:
            if self._admin_url is None:
                self._admin_url = AdminUrlClient.from_settings(self._settings())
            return self._admin_url

    async def close(self) -> None:
        if self._admin_url is not None:
            await self._admin_url.close()

    # -- permissions --------------------------------------------------------------------------

    def disabled_reason(self, key: NamespacedName) -> str:
        from servedeck.changes.async_queue.plan import CHANGE_PERMISSIONS
        from servedeck.serving.objects.async_routes import async_gateway_name

        if self._access is None or self._access[0] is not self._connection():
            return ""
        name = async_gateway_name(key.name)
        for verb, resource in CHANGE_PERMISSIONS:
            decision = self._access[1].cached_decision(verb, resource, key.namespace, name=name)
            if not decision:
                return decision.reason
        return ""

    async def refresh_permissions(self, key: NamespacedName) -> None:
        from servedeck.changes.async_queue.plan import CHANGE_PERMISSIONS
        from servedeck.cluster.access import AccessChecker
        from servedeck.serving.objects.async_routes import async_gateway_name

        connection = self._require_connection()
        if self._access is None or self._access[0] is not connection:
            self._access = connection, AccessChecker(connection)
        access, name = self._access[1], async_gateway_name(key.name)
        await access.refresh(key.namespace)
        for verb, resource in CHANGE_PERMISSIONS:
            decision = access.cached_decision(verb, resource, key.namespace, name=name)
            if not (decision and decision.known):  # it may have been granted since
                await access.check(verb, resource, key.namespace, name=name)

    # -- on, and its limits -------------------------------------------------------------------

    async def read_limits(self, key: NamespacedName) -> CurrentLimits | None:
        from servedeck.changes.async_queue.state import read_current_limits

        return await read_current_limits(self._require_connection(), key.namespace, key.name)

    async def plan_on(
        self,
        key: NamespacedName,
        *,
        force: bool = False,
        changes: LimitValues = (),
        seen: AsyncQueueSettings | None = None,
    ) -> AsyncQueuePlan:
        from servedeck.changes.async_queue.execution import plan_async_queue
        from servedeck.changes.async_queue.plan import AsyncQueueAction, AsyncQueueOptions

        options = AsyncQueueOptions(
            AsyncQueueAction.ON, key.namespace, key.name, changes, force=force, seen=seen
        )
        connection = self._require_connection()
        return await plan_async_queue(connection, options, await self._read_defaults(connection))

    async def _read_defaults(self, connection: Connection) -> AsyncQueueDefaults:
        from servedeck.changes.async_queue.turn_on import AsyncQueueDefaults
        from servedeck.changes.platform_settings import complete_settings

        settings = await complete_settings(connection, self._settings())
        return AsyncQueueDefaults.from_settings(settings)

    async def run_on(
        self, plan: AsyncQueuePlan, on_progress: Callable[[str], None]
    ) -> AsyncQueueResult:
        from servedeck.changes.async_queue.execution import run_async_queue

        return await run_async_queue(self._require_connection(), plan, on_progress=on_progress)

    async def look_again(self, result: AsyncQueueResult) -> AsyncQueueResult:
        from servedeck.changes.async_queue.execution import look_again

        connection = self._require_connection()
        return await look_again(connection, result, await self._read_defaults(connection))
