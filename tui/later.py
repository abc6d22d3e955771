"""A living picture that is made once the first frame stands.

What it takes to reach a cluster (TLS, decoders, the client) costs more time to import than all of
the screen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from servedeck.cluster.watch.backoff import Phase
from servedeck.fleet.views import Key, ServingView
from tui.source import Changes, Source, State, Views


@dataclass(frozen=True)
class NotYet:
    """The state before anything was tried."""

    phase: Phase = Phase.CONNECTING
    sentence: str = ""
    since: datetime | None = None
    loaded: int = 0
    remaining: int | None = None
    missing: tuple[str, ...] = ()
    stale_for: float | None = None


class NoViews:
    """No servings."""

    def view(self, key: Key) -> ServingView | None:
        return None

    def views(self) -> Sequence[ServingView]:
        return ()


class LaterSource:
    """`tui.source.Source`, empty until `start`."""

    def __init__(self, make: Callable[[], Awaitable[Source]], context: str = "") -> None:
        """`make` makes the real one, on the event loop."""
        self._make = make
        self._context = context
        self._made: Source | None = None
        self._waiting: list[Callable[[Changes], None]] = []

    @property
    def fleet(self) -> Views:
        return self._made.fleet if self._made else NoViews()

    @property
    def state(self) -> State:
        return self._made.state if self._made else NotYet()

    @property
    def context(self) -> str:
        return self._made.context if self._made else self._context

    @property
    def contexts(self) -> tuple[str, ...]:
        return self._made.contexts if self._made else ()

    @property
    def namespace(self) -> str:
        return self._made.namespace if self._made else ""

    def subscribe(self, callback: Callable[[Changes], None]) -> Callable[[], None]:
        if self._made:
            return self._made.subscribe(callback)
        self._waiting.append(callback)
        return lambda: self._waiting.remove(callback)

    async def start(self) -> None:
        self._made = await self._make()
        for callback in self._waiting:
            self._made.subscribe(callback)
        await self._made.start()

    async def close(self) -> None:
        if self._made:
            await self._made.close()

    def retry_now(self) -> None:
        if self._made:
            self._made.retry_now()

    async def switch(self, *, context: str | None = None, namespace: str | None = None) -> None:
        if self._made:
            await self._made.switch(context=context, namespace=namespace)
