"""What the screens need of the living picture: `servedeck.fleet.session.Live` has it, tests bring
their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from servedeck.fleet.views import Key, ServingView

if TYPE_CHECKING:
    from servedeck.cluster.logs import Stream


class Views(Protocol):
    """The servings as they are this moment."""

    def view(self, key: Key) -> ServingView | None: ...

    def views(self) -> Sequence[ServingView]: ...


class Phase(Protocol):
    """How far the connection is: CONNECTING, LISTING, LIVE, RETRYING, FORBIDDEN, ..."""

    @property
    def name(self) -> str: ...


class State(Protocol):
    """How true the picture is."""

    @property
    def phase(self) -> Phase: ...

    @property
    def sentence(self) -> str: ...

    @property
    def since(self) -> datetime | None: ...

    @property
    def loaded(self) -> int: ...

    @property
    def remaining(self) -> int | None: ...

    @property
    def missing(self) -> tuple[str, ...]: ...

    @property
    def stale_for(self) -> float | None: ...


class Changes(Protocol):
    """What is other than at the last call."""

    @property
    def keys(self) -> frozenset[Key]: ...

    @property
    def state(self) -> bool: ...


class Source(Protocol):
    """A living picture."""

    @property
    def fleet(self) -> Views: ...

    @property
    def state(self) -> State: ...

    @property
    def context(self) -> str:
        """Name of the context, "" while it is not known."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of all contexts that can be switched to."""

    @property
    def namespace(self) -> str:
        """The one namespace that is watched, "" for all."""

    def subscribe(self, callback: Callable[[Changes], None]) -> Callable[[], None]: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def retry_now(self) -> None: ...

    async def switch(self, *, context: str | None = None, namespace: str | None = None) -> None:
        """Show another context or namespace ("" for all); None leaves it as it is."""


class Cluster(Protocol):
    """What the screens ask of the cluster beside the picture."""

    async def namespaces(self) -> list[str]:
        """Names of all namespaces. Raises ClusterError."""

    def follow(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        tail: int,
        on_stream: Callable[[Stream], None],
        previous: bool = False,
    ) -> AsyncIterator[list[str]]:
        """The last lines, then what is written; ends where nothing more can come. `on_stream` is
        told whether new lines arrive. Raises ClusterError."""

    async def last_lines(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> list[str]:
        """The last lines. Raises ClusterError where there are none to be had."""
