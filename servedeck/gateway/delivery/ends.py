"""Records what became of an attempt, until the store has it or another owns the task."""

from __future__ import annotations

import asyncio
import logging
import random
import time

from servedeck.async_queue.tasks import Attempt, TaskState
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.delivery.attempt import Answer
from servedeck.gateway.delivery.retry_policy import Again, Budget, Ended, decide
from servedeck.gateway.delivery.running import Running
from servedeck.gateway.delivery.token_usage import TAIL_BYTES, TokenUsage, read_token_usage
from servedeck.gateway.objects import ObjectStoreError
from servedeck.gateway.stores.store import Content, End, StoreError

_MIN_RETRY, _MAX_RETRY = 0.1, 2.0
_OBJECT_TRIES = 3

_log = logging.getLogger(__name__)


class Ends:
    def __init__(self, context: GatewayContext, worker: str, rng: random.Random) -> None:
        self._context = context
        self._worker = worker
        self._rng = rng

    async def record(self, running: Running, answer: Answer) -> None:
        """Returns when it is recorded, or when the attempt is no longer the present one."""
        settings = self._context.settings
        claimed, result = running.claimed, answer.result
        budget = Budget(
            failures=_earlier_failures(
                claimed.attempt, claimed.attempts_left, settings.max_attempts
            ),
            attempts_left=claimed.attempts_left,
            seconds_left=running.seconds_left,
        )
        backoff, max_backoff = settings.backoff, settings.max_backoff
        decision = decide(result, budget, backoff=backoff, max_backoff=max_backoff, rng=self._rng)
        content, name = Content(), f"{claimed.id}/result-{claimed.attempt}"
        if isinstance(decision, Ended) and answer.spool is not None:
            try:
                content = await self._store_body(answer, name)
            except (ObjectStoreError, OSError):
                problem = "The response could not be kept in the object store."
                answer = Answer(result._replace(problem=problem), answer.code)
                decision = decide(
                    answer.result, budget, backoff=backoff, max_backoff=max_backoff, rng=self._rng
                )
        if isinstance(decision, Again):
            await self._retry(running, decision, result.status)
        else:
            await self._finish(running, decision, answer, content)

    async def hand_back(self, running: Running) -> None:
        """Give the task back at once, as if this attempt had not been."""
        message = "The gateway was stopped during the attempt."
        await self._retry(running, Again(0.0, message, is_counted=False), None)

    async def _store_body(self, answer: Answer, name: str) -> Content:
        assert answer.spool is not None
        for left in reversed(range(_OBJECT_TRIES)):
            try:
                return await answer.spool.store(name)
            except (ObjectStoreError, OSError) as error:
                _log.warning("A response was not stored: %s", type(error).__name__)
                if not left:
                    raise
                await asyncio.sleep(self._rng.uniform(_MIN_RETRY, _MAX_RETRY))
        raise AssertionError

    async def _retry(self, running: Running, again: Again, status: int | None) -> None:
        record = self._attempt(running, status, again.message, is_counted=again.is_counted)
        pause = _MIN_RETRY
        while not running.is_lost:
            try:
                if not await self._context.store.retry(
                    running.claimed.id, running.claimed.attempt, again.delay, record
                ):
                    self._context.metrics.fenced.inc()
                return
            except StoreError as error:
                pause = await self._pause(pause, error)

    async def _finish(
        self, running: Running, ended: Ended, answer: Answer, content: Content
    ) -> None:
        settings = self._context.settings
        is_completed = ended.state is TaskState.COMPLETED
        usage = _token_usage(answer) if is_completed else TokenUsage()
        end = End(
            id=running.claimed.id,
            attempt=running.claimed.attempt,
            state=ended.state,
            reason=ended.reason,
            message=ended.message,
            status=answer.result.status if answer.head else None,
            head=answer.head,
            body=content,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            record=self._attempt(running, answer.result.status, ended.message),
            keep=settings.keep_completed if is_completed else settings.keep_failed,
        )
        pause, is_repeated = _MIN_RETRY, False
        while not running.is_lost:
            try:
                if await self._context.store.finish(end):
                    self._context.metrics.ended.labels(ended.reason or ended.state).inc()
                else:
                    await self._on_fenced(end, is_repeated)
                return
            except StoreError as error:
                is_repeated = True
                pause = await self._pause(pause, error)

    async def _on_fenced(self, end: End, is_repeated: bool) -> None:
        """An end that was sent twice may be fenced by itself: then its object is in use."""
        if is_repeated:
            try:
                found = await self._context.store.find(end.id)
                if found is not None and found.task.attempt == end.attempt:
                    return
            except StoreError:
                return  # the sweeper deletes the object, if no task refers to it
        self._context.metrics.fenced.inc()
        if end.body.object and self._context.objects is not None:
            try:
                await self._context.objects.delete([end.body.object])
            except ObjectStoreError as error:
                _log.info("A response that came too late was not deleted: %s", error)

    async def _pause(self, pause: float, error: StoreError) -> float:
        _log.warning("The end of an attempt was not recorded yet: %s", error)
        await asyncio.sleep(self._rng.uniform(pause / 2, pause))
        return min(_MAX_RETRY, 2 * pause)

    def _attempt(
        self, running: Running, status: int | None, message: str, *, is_counted: bool = True
    ) -> Attempt:
        return Attempt(
            attempt=running.claimed.attempt,
            pod=running.claimed.pod,
            worker=self._worker,
            began=running.began,
            ended=time.time(),
            status=status,
            message=message,
            is_counted=is_counted,
        )


def _token_usage(answer: Answer) -> TokenUsage:
    try:
        return read_token_usage(answer.spool.tail(TAIL_BYTES)) if answer.spool else TokenUsage()
    except OSError as error:
        _log.info("The tokens of a response were not counted: %s", error.strerror)
        return TokenUsage()


def _earlier_failures(attempt: int, attempts_left: int, most_attempts: int) -> int:
    """The number of an attempt counts on when a task is tried again by hand, or handed back; what
    is left does not tell how many a request asked for. Each is an upper bound."""
    return max(0, min(attempt - 1, most_attempts - attempts_left - 1))
