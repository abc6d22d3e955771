"""The port-forwards of one program."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.cluster.port_forward import PodConnection, connect_to_pod
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.forwarding.port_forward import PortForward
from servedeck.forwarding.ports import DEFAULT_ADDRESS, ForwardPorts


class PortForwards:
    """Starts port-forwards, and keeps them until they are stopped. All belong to one cluster."""

    def __init__(
        self,
        connection: Callable[[], Connection | None],
        find_view: Callable[[NamespacedName], ServingView | None],
        *,
        is_watched: Callable[[str], bool] = lambda _namespace: True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`connection` returns the current one; `find_view` a serving as the watches have it.
        `is_watched` says of a namespace whether they have its servings now: of one that is not, the
        last state counts."""
        self._connection = connection
        self._find_view = find_view
        self._is_watched = is_watched
        self._clock = clock
        self._forwards: list[PortForward] = []
        self._last_views: dict[NamespacedName, ServingView] = {}
        self._subscribers: list[Callable[[], None]] = []

    @property
    def forwards(self) -> tuple[PortForward, ...]:
        """Those that are active, in the order in which they were started."""
        return tuple(self._forwards)

    def of(self, key: NamespacedName) -> tuple[PortForward, ...]:
        """Those of one serving."""
        return tuple(one for one in self._forwards if one.key == key)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when one was started, stopped or goes to another Pod; returns a function
        that ends this."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    async def start(
        self, key: NamespacedName, ports: ForwardPorts, *, first_pod_uid: str = ""
    ) -> PortForward:
        """Forward a local port of 127.0.0.1. Raises PortError if it cannot be used."""
        forward = PortForward(
            key,
            ports.remote,
            self._connect,
            lambda: self._view(key),
            first_pod_uid=first_pod_uid,
            on_change=self._notify,
            clock=self._clock,
        )
        await forward.start(DEFAULT_ADDRESS, ports.local)
        self._forwards.append(forward)
        self._notify()
        return forward

    async def stop(self, forward: PortForward) -> None:
        """Stop one of them; its connections end."""
        if forward in self._forwards:
            self._forwards.remove(forward)
            self._notify()
            await forward.close()

    async def close(self) -> int:
        """Stop all; returns how many there were."""
        stopped, self._forwards = self._forwards, []
        for one in stopped:
            await one.close()
        self._last_views.clear()
        if stopped:
            self._notify()
        return len(stopped)

    def update(self, keys: Collection[NamespacedName]) -> None:
        """These servings have changed."""
        for one in tuple(self._forwards):
            if one.key in keys:
                one.update()

    def _view(self, key: NamespacedName) -> ServingView | None:
        view = self._find_view(key)
        if view is not None:
            self._last_views[key] = view
        elif not self._is_watched(key.namespace):
            return self._last_views.get(key)
        return view

    def _connect(
        self, namespace: str, pod: str, port: int
    ) -> AbstractAsyncContextManager[PodConnection]:
        connection = self._connection()
        if connection is None:
            raise ConnectionLostError("Not connected to the API server.")
        return connect_to_pod(connection, namespace, pod, port)

    def _notify(self) -> None:
        for callback in tuple(self._subscribers):
            callback()
