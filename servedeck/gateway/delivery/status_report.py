"""What a worker reports of itself, and what an operator has set."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from time import monotonic

from servedeck.async_queue.tasks import WorkerStatus
from servedeck.gateway.delivery.failure_streak import FailureStreak
from servedeck.gateway.delivery.spared_pods import SparedPods
from servedeck.gateway.stores.store import Control, StoreError, TaskStore
from servedeck.gateway.upstreams.upstreams import Upstreams

_INTERVAL = 1.0
_REPORT_SECONDS = 3.0
_REPORT_TTL = 10.0

_log = logging.getLogger(__name__)


class StatusReport:
    def __init__(
        self,
        store: TaskStore,
        upstreams: Upstreams,
        spared: SparedPods,
        failures: FailureStreak,
        name: str,
        rng: random.Random,
        on_control: Callable[[], None],
    ) -> None:
        self.control = Control()
        """As the store said last; the store holds claims to it in any case."""
        self.store_problem = ""
        self.is_draining = False
        self._store = store
        self._upstreams = upstreams
        self._spared = spared
        self._failures = failures
        self._name = name
        self._rng = rng
        self._on_control = on_control
        """Called when `control` has changed."""
        self._blocked_by = ""
        self._blocked_since: float | None = None
        self._asked = asyncio.Event()

    @property
    def status(self) -> WorkerStatus:
        """At present, whether or not the store knows."""
        blocked_by = self._find_block()
        if blocked_by != self._blocked_by:
            if not blocked_by or not self._blocked_by:
                self._blocked_since = time.time() if blocked_by else None
            self._blocked_by = blocked_by
        return WorkerStatus(
            name=self._name,
            ready_pods=sorted(self._upstreams.ready),
            blocked_by=blocked_by,
            blocked_since=self._blocked_since,
            failure=self._failures.message,
            failing_since=self._failures.since,
            time=time.time(),
        )

    def report_now(self) -> None:
        """Something changed that others may want to know."""
        self._asked.set()

    async def run(self) -> None:
        """Ends only when it is cancelled."""
        reported: tuple[list[str], str, str] | None = None
        reported_at = 0.0
        while True:
            self._asked.clear()
            try:
                await self._read_control()
                status = self.status
                what = (status.ready_pods, status.blocked_by, status.failure)
                if what != reported or monotonic() - reported_at >= _REPORT_SECONDS:
                    await self._store.report(status, _REPORT_TTL)
                    reported, reported_at = what, monotonic()
                self.store_problem = ""
            except StoreError as error:
                self.store_problem = str(error)
            except Exception:
                _log.exception("The status of the worker was not reported.")
            try:
                async with asyncio.timeout(_INTERVAL * self._rng.uniform(0.8, 1.2)):
                    await self._asked.wait()
            except TimeoutError:
                pass

    async def remove(self) -> None:
        """The worker ends."""
        try:
            await self._store.report(self.status, 0)
        except StoreError as error:
            _log.info("The status of the worker is left to expire: %s", error)

    async def _read_control(self) -> None:
        control = await self._store.control()
        if control != self.control:
            self.control = control
            self._on_control()

    def _find_block(self) -> str:
        if self.store_problem:
            return f"The store does not answer: {self.store_problem}"
        if self.is_draining:
            return "The worker is shutting down."
        if self.control.paused:
            return "The queue is paused."
        if not self._upstreams.ready:
            return self._upstreams.problem or "No Pod of the inference server is Ready."
        if not self._spared.usable(self._upstreams.ready):
            return "Each Ready Pod has asked for a pause (Retry-After)."
        return ""
