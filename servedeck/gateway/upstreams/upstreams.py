"""What the gateway needs to know of the replicas of the inference server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


class Upstreams(Protocol):
    @property
    def ready(self) -> Mapping[str, str]:
        """URLs (http://10.0.0.7:8000, no slash at the end) of the Ready Pods by their names."""

    @property
    def problem(self) -> str:
        """Why there is none, or why what is known may be old, one sentence; "" else."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call it after each change of `ready`."""

    async def wait_until_known(self) -> None:
        """Returns when it was found out for the first time which are Ready, or why that is not
        possible."""

    async def run(self) -> None:
        """Keep it up to date until it is cancelled."""


class FixedUpstreams:
    """URLs from the settings: they count as ready, as nothing says that they are not. The name of
    each is its host and port."""

    problem = ""

    def __init__(self, urls: Sequence[str]) -> None:
        self.ready: Mapping[str, str] = {
            one.partition("://")[2].rstrip("/"): one.rstrip("/") for one in urls
        }

    def on_change(self, listener: Callable[[], None]) -> None:
        """There is none."""

    async def wait_until_known(self) -> None:
        """Returns at once."""

    async def run(self) -> None:
        """Returns at once: there is nothing to watch."""


class OnDemandUpstreams:
    """What `make` gives, followed from the moment when somebody asks: a process that accepts
    forwards nothing where a route's rules send it asynchronous requests alone, and saves the memory
    that a watch takes. `make` is called in a thread."""

    def __init__(self, make: Callable[[], Upstreams]) -> None:
        self._make = make
        self._inner: Upstreams = FixedUpstreams(())
        self._listeners: list[Callable[[], None]] = []
        self._is_wanted = asyncio.Event()
        self._is_made = asyncio.Event()

    @property
    def ready(self) -> Mapping[str, str]:
        """See Upstreams."""
        self._is_wanted.set()
        return self._inner.ready

    @property
    def problem(self) -> str:
        """See Upstreams."""
        return self._inner.problem

    def on_change(self, listener: Callable[[], None]) -> None:
        """See Upstreams."""
        self._listeners.append(listener)

    async def wait_until_known(self) -> None:
        """See Upstreams."""
        self._is_wanted.set()
        await self._is_made.wait()
        await self._inner.wait_until_known()

    async def run(self) -> None:
        """See Upstreams."""
        await self._is_wanted.wait()
        inner = await asyncio.to_thread(self._make)
        inner.on_change(self._on_change)
        self._inner = inner
        self._is_made.set()
        await inner.run()

    def _on_change(self) -> None:
        for listener in tuple(self._listeners):
            listener()
