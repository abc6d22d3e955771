"""Probes and metrics, which need no key."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic

import msgspec

from servedeck.gateway.admin_api.answers import Reply
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.metrics import CONTENT_TYPE
from servedeck.gateway.settings import Role
from servedeck.gateway.stores.store import StoreError

_PREFIX = "servedeck_async"
_WARNING = "warning: "
_FRESH_SECONDS = 1.0
"""How long an answer of the store is used again: anyone who reaches the port may ask."""


@dataclass
class ProcessState:
    """What the process says of itself to its probes."""

    not_ready: str = "The gateway starts."
    """Why it takes no requests, one sentence; "" if it does."""


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    ready: bool
    role: Role
    message: str = ""
    """Why it is not ready, or a warning, one sentence."""


class Health:
    """Raises nothing: a store that does not answer is a part of what is said."""

    def __init__(self, context: GatewayContext, state: ProcessState) -> None:
        self._context = context
        self._state = state
        self._lock = asyncio.Lock()
        self._checked: tuple[float, str] | None = None
        self._measured: tuple[float, str] | None = None

    def alive(self) -> Reply:
        """The event loop runs; the process ends by itself if one of its parts fails."""
        return Reply(b"ok\n", b"text/plain; charset=utf-8")

    async def ready(self) -> Reply:
        message = self._state.not_ready or await self._check_store()
        is_ready = not message or message.startswith(_WARNING)
        body = Readiness(ready=is_ready, role=self._context.settings.role, message=message)
        return Reply(msgspec.json.encode(body), status=200 if is_ready else 503)

    async def metrics(self) -> Reply:
        page = self._context.metrics.page() + (await self._measure_store()).encode()
        return Reply(page, CONTENT_TYPE.encode())

    async def _check_store(self) -> str:
        async with self._lock:
            if self._checked is None or _is_old(self._checked[0]):
                # The time of the answer: while a store hangs, callers that waited share it.
                answer = await self._ask_store()
                self._checked = (monotonic(), answer)
            return self._checked[1]

    async def _ask_store(self) -> str:
        try:
            async with asyncio.timeout(self._context.settings.store_timeout):
                return await self._context.store.check()
        except StoreError as error:
            return str(error)
        except TimeoutError:
            return "The store does not answer."

    async def _measure_store(self) -> str:
        async with self._lock:
            if self._measured is None or _is_old(self._measured[0]):
                answer = await self._gauges()
                self._measured = (monotonic(), answer)
            return self._measured[1]

    async def _gauges(self) -> str:
        """Without those of the queue if the store does not answer: a 0 would say that nothing
        waits, and scale the serving down."""
        store = self._context.store
        try:
            async with asyncio.timeout(self._context.settings.store_timeout):
                counts, oldest, now = await asyncio.gather(
                    store.counts(), store.oldest_pending(), store.time()
                )
        except (StoreError, TimeoutError):
            return _gauge("store_up", "Whether the store answers.", {"": 0})
        states = ("pending", "processing", "completed", "failed", "cancelled")
        age = 0.0 if oldest is None else max(now - oldest, 0.0)
        return (
            _gauge("store_up", "Whether the store answers.", {"": 1})
            + _gauge(
                "tasks",
                "Tasks in the store; each process tells the same.",
                {f'{{state="{one}"}}': getattr(counts, one) for one in states},
            )
            + _gauge("backlog", "Tasks that have not ended.", {"": counts.backlog})
            + _gauge("oldest_age_seconds", "Age of the oldest pending task.", {"": round(age, 3)})
        )


def _is_old(when: float) -> bool:
    return monotonic() - when > _FRESH_SECONDS


def _gauge(name: str, text: str, values: dict[str, float]) -> str:
    lines = [f"# HELP {_PREFIX}_{name} {text}", f"# TYPE {_PREFIX}_{name} gauge"]
    lines += [f"{_PREFIX}_{name}{labels} {value}" for labels, value in values.items()]
    return "\n".join(lines) + "\n"
