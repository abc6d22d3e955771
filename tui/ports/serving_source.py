"""What the screens need of a `servedeck.fleet.session.ClusterSession`; tests bring their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from servedeck.fleet.views import NamespacedName, ServingView

if TYPE_CHECKING:
    from servedeck.serving.objects.records import Deployment, Event, ObjectReference


class ServingViews(Protocol):
    """The servings as they are now."""

    def view(self, key: NamespacedName) -> ServingView | None: ...

    def views(self) -> Sequence[ServingView]: ...

    def deployment(self, key: NamespacedName) -> Deployment | None:
        """The Deployment of a serving; None if it is unknown, or the serving is another kind."""

    def related_objects(self, key: NamespacedName) -> Sequence[ObjectReference]:
        """The Services of a serving, the routes to it, its autoscalers, and the StatefulSets of a
        LeaderWorkerSet."""

    def warning_events(self, key: NamespacedName) -> Sequence[Event]:
        """The Warnings about a serving's Deployment, its ReplicaSets and Pods."""


class SourcePhase(Protocol):
    """Phase of the connection: CONNECTING, LISTING, LIVE, RETRYING, FORBIDDEN, ..."""

    @property
    def name(self) -> str: ...


class SourceState(Protocol):
    """How up to date the servings are."""

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

    @property
    def clock_warning(self) -> str: ...


class SourceChanges(Protocol):
    """What changed since the last call."""

    @property
    def keys(self) -> frozenset[NamespacedName]: ...

    @property
    def state_changed(self) -> bool: ...


class ServingSource(Protocol):
    """A source of servings that is kept up to date by watches."""

    @property
    def fleet(self) -> ServingViews: ...

    @property
    def state(self) -> SourceState: ...

    @property
    def context(self) -> str:
        """Name of the context, "" while it is unknown."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of all contexts of the kubeconfig, as it was read last."""

    async def read_contexts(self) -> tuple[str, ...]:
        """`contexts`, read again."""

    @property
    def namespace(self) -> str:
        """The one namespace that is watched, "" for all."""

    def subscribe(self, callback: Callable[[SourceChanges], None]) -> Callable[[], None]: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def retry_now(self) -> None: ...

    def prioritize(self, key: NamespacedName | None) -> None:
        """Report changes of this serving without waiting for those of others; None for none."""

    def hold_while(self, is_busy: Callable[[], bool]) -> None:
        """Report nothing while `is_busy` returns true, at most a tenth of a second at a time."""

    async def switch(self, *, context: str | None = None, namespace: str | None = None) -> None:
        """Switch to another context or namespace ("" for all); None keeps the current one."""
