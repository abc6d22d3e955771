"""What the screens need of a `servedeck.fleet.session.ClusterSession`; tests bring their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from servedeck.fleet.views import NamespacedName, ServingView

if TYPE_CHECKING:
    from servedeck.cluster.logs import LogStreamState


class ServingViews(Protocol):
    """The servings as they are this moment."""

    def view(self, key: NamespacedName) -> ServingView | None: ...

    def views(self) -> Sequence[ServingView]: ...


class SourcePhase(Protocol):
    """How far the connection is: CONNECTING, LISTING, LIVE, RETRYING, FORBIDDEN, ..."""

    @property
    def name(self) -> str: ...


class SourceState(Protocol):
    """How true the picture is."""

    @property
    def phase(self) -> SourcePhase: ...

    @property
    def message(self) -> str: ...

    @property
    def last_update_at(self) -> datetime | None: ...

    @property
    def loaded(self) -> int: ...

    @property
    def remaining(self) -> int | None: ...

    @property
    def missing_permissions(self) -> tuple[str, ...]: ...

    @property
    def stale_for(self) -> float | None: ...


class SourceChanges(Protocol):
    """What is other than at the last call."""

    @property
    def keys(self) -> frozenset[NamespacedName]: ...

    @property
    def state_changed(self) -> bool: ...


class ServingSource(Protocol):
    """A living picture."""

    @property
    def fleet(self) -> ServingViews: ...

    @property
    def state(self) -> SourceState: ...

    @property
    def context(self) -> str:
        """Name of the context, "" while it is not known."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of all contexts that can be switched to."""

    @property
    def namespace(self) -> str:
        """The one namespace that is watched, "" for all."""

    def subscribe(self, callback: Callable[[SourceChanges], None]) -> Callable[[], None]: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def retry_now(self) -> None: ...

    async def switch(self, *, context: str | None = None, namespace: str | None = None) -> None:
        """Show another context or namespace ("" for all); None leaves it as it is."""


class LogService(Protocol):
    """What the screens ask of the cluster beside the picture."""

    async def list_namespaces(self) -> list[str]:
        """Names of all namespaces. Raises ClusterError."""

    def follow_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        tail: int,
        on_state: Callable[[LogStreamState], None],
        previous: bool = False,
    ) -> AsyncIterator[list[str]]:
        """The last lines, then what is written; ends where nothing more can come. `on_stream` is
        told whether new lines arrive. Raises ClusterError."""

    async def read_last_lines(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> list[str]:
        """The last lines. Raises ClusterError where there are none to be had."""
