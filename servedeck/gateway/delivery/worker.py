"""Claims tasks and delivers them to the inference server, as long as a process lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import time
from time import monotonic

from servedeck.async_queue.tasks import FeedEvent, TaskState, WorkerStatus
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.delivery.attempt import Answer, Requester
from servedeck.gateway.delivery.callbacks import Callbacks
from servedeck.gateway.delivery.ends import Ends
from servedeck.gateway.delivery.failure_streak import FailureStreak
from servedeck.gateway.delivery.leases import Leases
from servedeck.gateway.delivery.retry_policy import Result
from servedeck.gateway.delivery.running import Abort, Running, RunningAttempts
from servedeck.gateway.delivery.spared_pods import SparedPods
from servedeck.gateway.delivery.status_report import StatusReport
from servedeck.gateway.delivery.sweeper import Sweeper
from servedeck.gateway.stores.store import Claimed, StoreError

_CLAIM_LIMIT = 64
_MAX_RUNNING = 1000
"""Attempts of one process at once, whatever the Pods could take: each has a connection and its
bodies."""
_POLL_SECONDS = (0.8, 1.2)
"""Between claims while nothing says that there is one: a worker elsewhere made a delayed task
claimable, or freed a Pod."""
_SHORT_CLAIM_SECONDS = 0.01
"""After a claim that found less than it asked for: else each request that is accepted while other
workers fill the Pods would make another one."""
_MIN_RETRY, _MAX_RETRY = 0.2, 2.0
_RECORD_SECONDS = 10.0
"""For recording what was handed back, at the end; what is left is found by its leases."""

_log = logging.getLogger(__name__)


class Worker:
    """One for each process. The context's hub and upstreams are run by the process beside it."""

    def __init__(self, context: GatewayContext, *, rng: random.Random | None = None) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self._context = context
        self._rng = rng = rng or random.Random()  # noqa: S311 - jitter, no security
        self._running = RunningAttempts()
        self._wake = asyncio.Event()
        self._is_claiming = False
        self._is_draining = False
        self._is_over = asyncio.Event()
        self._leases = Leases(context, self.name, self._running)
        self._ends = Ends(context, self.name, rng)
        self._sweeper = Sweeper(context, rng, self._wake.set)
        self._callbacks = Callbacks(context, rng)
        self._spared = SparedPods(context.settings.max_backoff)
        self._failures = FailureStreak()
        self._report = StatusReport(
            context.store,
            context.upstreams,
            self._spared,
            self._failures,
            self.name,
            rng,
            self._wake.set,
        )

    @property
    def status(self) -> WorkerStatus:
        """At present, whether or not the store knows."""
        return self._report.status

    async def run(self) -> None:
        """Deliver until `drain` has ended, or until it is cancelled: then the requests are cut off
        and the tasks are left to their leases, as when the process is killed."""
        self._context.upstreams.on_change(self._on_upstreams)
        async with Requester(self._context) as requester, asyncio.TaskGroup() as group:
            with self._context.hub.listening(self._on_events):
                loops = [
                    group.create_task(one)
                    for one in (
                        self._leases.run(),
                        self._sweeper.run(),
                        self._callbacks.run(),
                        self._report.run(),
                        self._claim(group, requester),
                    )
                ]
                await self._is_over.wait()
                for loop in loops:
                    loop.cancel()
                for one in self._running:
                    one.abort(Abort.LOST)

    async def drain(self, seconds: float) -> None:
        """Claim no more; let what runs end for so long, then abort it and hand it back at once.
        `run` returns after that."""
        self._is_draining = self._report.is_draining = True
        self._wake.set()
        self._report.report_now()
        await self._wait_until_idle(seconds)
        for one in self._running:
            one.abort(Abort.HAND_BACK)
        await self._wait_until_idle(_RECORD_SECONDS)
        if self._running:
            _log.warning("%d tasks are left to their leases.", len(self._running))
        await self._report.remove()
        self._is_over.set()

    async def _wait_until_idle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._running or self._is_claiming:
                    self._running.changed.clear()
                    await self._running.changed.wait()

    # -- claiming -------------------------------------------------------------------------------

    async def _claim(self, group: asyncio.TaskGroup, requester: Requester) -> None:
        """One claim at a time: tasks that arrive meanwhile are taken by the next one together."""
        retry = _MIN_RETRY
        while not self._is_draining:
            self._wake.clear()
            limit = self._free_slots()
            wait = self._rng.uniform(*_POLL_SECONDS)
            if (left := self._spared.seconds_left()) is not None:
                wait = min(wait, max(left, 0.0))
            if limit:
                try:
                    claimed = await self._claim_once(group, requester, limit)
                    retry = _MIN_RETRY
                    if claimed == limit:
                        continue
                    await asyncio.sleep(_SHORT_CLAIM_SECONDS)
                except StoreError as error:
                    self._report.store_problem = str(error)
                    _log.warning("No task was claimed: %s", error)
                    await asyncio.sleep(self._rng.uniform(retry / 2, retry))
                    retry = min(_MAX_RETRY, 2 * retry)
                    continue
                except Exception:
                    _log.exception("No task was claimed.")
                    await asyncio.sleep(_MAX_RETRY)
                    continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    def _free_slots(self) -> int:
        """How many tasks could be started now; the store knows what other workers have."""
        ready = self._context.upstreams.ready
        pods = self._spared.usable(ready)
        control, settings = self._report.control, self._context.settings
        if not pods or control.paused:
            return 0
        running = len(self._running)
        most = len(pods) * _first(control.pod_concurrency, settings.pod_concurrency) - running
        if pods is not ready:
            # What spared Pods still have takes no place of the others.
            most += sum(one.claimed.pod not in pods for one in self._running)
        concurrency = _first(control.concurrency, settings.concurrency)
        if concurrency:
            most = min(most, concurrency - running)
        return max(0, min(_CLAIM_LIMIT, most, _MAX_RUNNING - running))

    async def _claim_once(self, group: asyncio.TaskGroup, requester: Requester, limit: int) -> int:
        settings = self._context.settings
        urls = dict(self._spared.usable(self._context.upstreams.ready))
        before = monotonic()
        self._is_claiming = True
        try:
            claimed = await self._context.store.claim(
                self.name,
                list(urls),
                limit=limit,
                concurrency=settings.concurrency,
                pod_concurrency=settings.pod_concurrency,
                lease=settings.lease,
            )
            self._report.store_problem = ""
            for one in claimed:
                running = Running(one, urls.get(one.pod, ""), before)
                self._running.add(running)
                group.create_task(self._deliver(running, requester))
        finally:
            self._is_claiming = False
            self._running.changed.set()
        return len(claimed)

    # -- delivering -----------------------------------------------------------------------------

    async def _deliver(self, running: Running, requester: Requester) -> None:
        answer: Answer | None = None
        is_recorded = False
        try:
            if self._is_draining:
                await self._ends.hand_back(running)
                is_recorded = not running.is_lost
                return
            self._observe_start(running.claimed)
            answer = await self._request(running, requester)
            if answer is not None:
                await self._ends.record(running, answer)
            elif not running.is_lost:
                await self._ends.hand_back(running)
            is_recorded = not running.is_lost
        except Exception:
            _log.exception("An attempt was given up; its task is found by its lease.")
        finally:
            if answer is not None:
                answer.close()
            self._running.remove(running, is_recorded=is_recorded)
            self._wake.set()

    async def _request(self, running: Running, requester: Requester) -> Answer | None:
        """None if it was aborted. In a task of its own, so that an abort ends the request and
        nothing that is being recorded."""
        began = monotonic()
        running.request = request = asyncio.ensure_future(
            requester.send(
                running.claimed,
                running.url,
                running.seconds_left,
                lambda: running.abort(Abort.LOST),
            )
        )
        try:
            await asyncio.wait({request})
        finally:
            running.request = None
            if not request.done():
                request.cancel()
                await asyncio.gather(request, return_exceptions=True)
        if request.cancelled():
            return None
        error = request.exception()
        if error is not None:
            _log.error("An attempt failed by an error of the gateway.", exc_info=error)
            answer = Answer(Result(problem="The gateway failed to make the request."), "error")
        else:
            answer = request.result()
        is_spared = self._spared.learn(running.claimed.pod, answer.result)
        if self._failures.learn(answer.result) or is_spared:
            self._report.report_now()
        self._context.metrics.attempts.labels(answer.code).inc()
        self._context.metrics.run_seconds.observe(monotonic() - began)
        return answer

    def _observe_start(self, claimed: Claimed) -> None:
        if claimed.attempt == 1:
            with contextlib.suppress(ValueError):  # its id begins with the time of its creation
                seconds = time.time() - int(claimed.id[:12], 16) / 1000
                self._context.metrics.queue_seconds.observe(max(0.0, seconds))

    # -- news -----------------------------------------------------------------------------------

    def _on_upstreams(self) -> None:
        self._spared.usable(self._context.upstreams.ready)  # which forgets those that are gone
        self._wake.set()
        self._report.report_now()

    def _on_events(self, events: list[FeedEvent]) -> None:
        if not events:
            self._leases.check_now()
            self._wake.set()
            self._callbacks.wake()
        for event in events:
            state = event.state
            if state is TaskState.PENDING:
                self._wake.set()
            elif state is not TaskState.PROCESSING:
                self._wake.set()
                self._callbacks.wake()
            running = self._running.find(event.id)
            if running is not None and _is_over(event, running):
                running.abort(Abort.LOST)


def _is_over(event: FeedEvent, running: Running) -> bool:
    """Whether an event says that an attempt is no longer the present one. Events of the time before
    its claim may come after it."""
    if event.state is None:
        return True
    attempt = running.claimed.attempt
    is_open = event.state is TaskState.PROCESSING
    return event.attempt > attempt or (event.attempt == attempt and not is_open)


def _first(value: int | None, default: int) -> int:
    return default if value is None else value
