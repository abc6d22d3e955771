"""A local port whose connections go to a Pod of a serving that is Ready now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from servedeck.cluster.http.errors import ApiError, ClusterError, CredentialsError, ReadOnlyError
from servedeck.cluster.port_forward import PodConnection
from servedeck.fleet.views import NamespacedName, PodView, ServingView
from servedeck.forwarding.pods import PodChoice, usable_pods
from servedeck.forwarding.ports import ForwardPorts, open_sockets
from servedeck.forwarding.relay import ClientConnection, Traffic

NO_POD_SECONDS = 15.0
"""How long a connection waits for a Ready Pod."""
REFUSED_SECONDS = 3.0
"""How long a connection waits for another Pod if all Ready ones have refused it: the watch may be
that late with a Pod that has just begun to end."""
MAX_CONNECTIONS = 256
"""Open connections of one port-forward. Each takes two file descriptors, of which a process has
1,024 by default."""

ConnectToPod = Callable[[str, str, int], AbstractAsyncContextManager[PodConnection]]
"""Connects to a port: namespace, Pod, port."""


class NoReadyPodError(ClusterError):
    """No Pod of the serving was Ready for too long."""


class TooManyConnectionsError(ClusterError):
    """The limit of open connections is reached."""

    def __init__(self) -> None:
        super().__init__(f"More than {MAX_CONNECTIONS} connections at once; one was closed.")


class PortForward:
    """Forwards a local port to a serving until it is closed. Each connection goes to a Pod that is
    Ready when it is opened, and ends alone if it fails."""

    def __init__(
        self,
        key: NamespacedName,
        remote_port: int,
        connect: ConnectToPod,
        find_view: Callable[[], ServingView | None],
        *,
        first_pod_uid: str = "",
        on_change: Callable[[], None] = lambda: None,
        on_error: Callable[[str], None] = lambda _text: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`find_view` returns the serving as the watches have it; call `update` when it changes.
        `on_change` is called when another Pod is forwarded to, `on_error` with the reason of each
        connection that failed. `first_pod_uid` is the Pod to begin with."""
        self.key = key
        self.address = ""
        self.local_port = 0
        self.remote_port = remote_port
        self.traffic = Traffic()
        self.failed_connections = 0
        self.last_error = ""
        """Why the last failed connection failed; "" if none did."""
        self.last_error_at: datetime | None = None
        self.started_at = clock()
        self._connect = connect
        self._find_view = find_view
        self._choice = PodChoice(first_pod_uid)
        self._on_change = on_change
        self._on_error = on_error
        self._clock = clock
        self._changed = asyncio.Event()
        """Set, and replaced, at each change of the serving."""
        self._servers: list[asyncio.Server] = []
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def pod(self) -> PodView | None:
        """The Pod that a new connection goes to; None while none is Ready."""
        return self._choice.pod

    @property
    def where(self) -> str:
        """ "127.0.0.1:8000"."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.local_port}"

    async def start(self, address: str, local_port: int | None) -> None:
        """Listen; `local_port` as in `ForwardPorts`. Raises PortError."""
        sockets = await asyncio.to_thread(
            open_sockets, address, ForwardPorts(local_port, self.remote_port)
        )
        self.address = address
        self.local_port = sockets[0].getsockname()[1]
        self._choice.update(self._find_view())
        self._servers = [await asyncio.start_server(self._accept, sock=one) for one in sockets]

    def update(self) -> None:
        """The serving has changed."""
        if self._choice.update(self._find_view()):
            self._on_change()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def close(self) -> None:
        """Stop to listen, and end all connections."""
        for server in self._servers:
            server.close()
        handlers = list(self._handlers)
        for one in handlers:
            one.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    # -- one connection -----------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = ClientConnection(reader, writer, self.traffic)
        self.traffic.connections += 1
        if self.traffic.open_connections >= MAX_CONNECTIONS:
            client.reset()
            self._note_error(TooManyConnectionsError())
            return
        self.traffic.open_connections += 1
        task = asyncio.create_task(self._handle(client), name=f"servedeck forward {self.where}")
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _handle(self, client: ClientConnection) -> None:
        try:
            await self._forward(client)
            await client.finish()
        except ClusterError as error:
            client.reset()
            self._note_error(error)
        except BaseException:
            client.reset()
            raise
        finally:
            self.traffic.open_connections -= 1

    async def _forward(self, client: ClientConnection) -> None:
        """Forward to a Ready Pod; to another one while none has accepted the connection."""
        loop = asyncio.get_running_loop()
        begun_at = loop.time()
        refused: dict[str, ClusterError] = {}
        while True:
            pod = await self._wait_for_pod(begun_at, refused)
            is_open = False
            try:
                async with self._connect(pod.namespace, pod.name, self.remote_port) as opened:
                    is_open = True
                    await client.relay(opened)
                return
            except ClusterError as error:
                may_retry = client.can_retry(error) if is_open else _may_retry_open(error)
                if not may_retry:
                    raise
                refused[pod.uid] = error

    async def _wait_for_pod(self, begun_at: float, refused: dict[str, ClusterError]) -> PodView:
        """A Ready Pod that has not refused the connection."""
        loop = asyncio.get_running_loop()
        while True:
            changed = self._changed
            view = self._find_view()
            has_changed = self._choice.update_without(view, refused)
            if has_changed:
                self._on_change()
            if has_changed is not None and self._choice.pod is not None:
                return self._choice.pod
            has_refused = view is not None and bool(usable_pods(view))
            limit = REFUSED_SECONDS if has_refused else NO_POD_SECONDS
            remaining = begun_at + limit - loop.time()
            if remaining <= 0:
                if has_refused:
                    raise list(refused.values())[-1]
                raise _no_ready_pod(self.key, view)
            try:
                async with asyncio.timeout(remaining):
                    await changed.wait()
            except TimeoutError:
                continue

    def _note_error(self, error: ClusterError) -> None:
        self.failed_connections += 1
        self.last_error, self.last_error_at = str(error), self._clock()
        self._on_error(self.last_error)


def _may_retry_open(error: ClusterError) -> bool:
    """Whether another Pod may accept what one did not: not without permission or credentials."""
    if isinstance(error, ApiError):
        return error.code not in (401, 403)
    return not isinstance(error, ReadOnlyError | CredentialsError)


def _no_ready_pod(key: NamespacedName, view: ServingView | None) -> NoReadyPodError:
    waited = f"waited {NO_POD_SECONDS:.0f} s"
    if view is None:
        return NoReadyPodError(f"{key} does not exist; {waited}.")
    if not view.pods_known:
        return NoReadyPodError(view.no_pods_text)
    why = f" ({view.status.value}: {view.reason})" if view.reason else f" ({view.status.value})"
    return NoReadyPodError(f"No Pod of {key} is Ready{why}; {waited}.")
