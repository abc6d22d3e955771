"""A source of servings that is created after the first frame.

Importing what a connection needs (TLS, decoders, the client) takes longer than drawing the screen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from servedeck.cluster.watch.backoff import ReflectorPhase
from servedeck.fleet.views import NamespacedName, ServingView
from tui.ports.serving_source import ServingSource, ServingViews, SourceChanges, SourceState

if TYPE_CHECKING:
    from servedeck.serving.objects.records import Deployment, Event, ObjectReference


@dataclass(frozen=True)
class InitialState:
    """The state before the first attempt."""

    phase: ReflectorPhase = ReflectorPhase.CONNECTING
    message: str = ""
    last_update_at: datetime | None = None
    loaded: int = 0
    remaining: int | None = None
    missing_permissions: tuple[str, ...] = ()
    stale_for: float | None = None
    clock_warning: str = ""


class EmptyViews:
    """No servings."""

    def view(self, key: NamespacedName) -> ServingView | None:
        return None

    def views(self) -> Sequence[ServingView]:
        return ()

    def deployment(self, key: NamespacedName) -> Deployment | None:
        return None

    def related_objects(self, key: NamespacedName) -> Sequence[ObjectReference]:
        return ()

    def warning_events(self, key: NamespacedName) -> Sequence[Event]:
        return ()


class DeferredSource:
    """`tui.ports.serving_source.ServingSource`, empty until `start`."""

    def __init__(self, factory: Callable[[], Awaitable[ServingSource]], context: str = "") -> None:
        """`factory` creates the real source, on the event loop."""
        self._factory = factory
        self._context = context
        self._source: ServingSource | None = None
        self._pending_callbacks: list[Callable[[SourceChanges], None]] = []
        self._is_busy: Callable[[], bool] = lambda: False

    @property
    def fleet(self) -> ServingViews:
        return self._source.fleet if self._source else EmptyViews()

    @property
    def state(self) -> SourceState:
        return self._source.state if self._source else InitialState()

    @property
    def context(self) -> str:
        return self._source.context if self._source else self._context

    @property
    def contexts(self) -> tuple[str, ...]:
        return self._source.contexts if self._source else ()

    async def read_contexts(self) -> tuple[str, ...]:
        return await self._source.read_contexts() if self._source else ()

    @property
    def namespace(self) -> str:
        return self._source.namespace if self._source else ""

    def subscribe(self, callback: Callable[[SourceChanges], None]) -> Callable[[], None]:
        if self._source:
            return self._source.subscribe(callback)
        self._pending_callbacks.append(callback)
        return lambda: self._pending_callbacks.remove(callback)

    async def start(self) -> None:
        self._source = await self._factory()
        self._source.hold_while(self._is_busy)
        for callback in self._pending_callbacks:
            self._source.subscribe(callback)
        await self._source.start()

    async def close(self) -> None:
        if self._source:
            await self._source.close()

    def retry_now(self) -> None:
        if self._source:
            self._source.retry_now()

    def prioritize(self, key: NamespacedName | None) -> None:
        if self._source:
            self._source.prioritize(key)

    def hold_while(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
        if self._source:
            self._source.hold_while(is_busy)

    async def switch(self, *, context: str | None = None, namespace: str | None = None) -> None:
        if self._source:
            await self._source.switch(context=context, namespace=namespace)
