"""The log of a container instance: computed from the instance and the time, so never stored."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator

from servedeck.demo.workloads import (
    furiosa_log,
    gateway_log,
    prometheus_log,
    vllm_crash_log,
    vllm_log,
)
from servedeck.demo.workloads.failure_simulation import FailureCause
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.log_lines import LogLine
from servedeck.demo.workloads.server_config import FURIOSA, OTHER, VLLM

STATISTICS_INTERVAL_SECONDS = 10.0
"""Seconds between two lines of statistics."""
ROTATION_BYTES = 10 * 2**20
"""Bytes of a log after which the kubelet rotates it (containerLogMaxSize)."""
_LINE_BYTES = 96
"""Average bytes of a line."""

_REQUESTS = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
)


class InstanceLog:
    """The lines of one instance between two times, in order."""

    def __init__(self, instance: SimulatedInstance) -> None:
        self.instance = instance
        vllm = instance.server.engine == VLLM
        self._format = vllm_log if vllm else furiosa_log
        if instance.server.is_prometheus:
            self._format = prometheus_log
        if instance.server.is_async_gateway:
            self._format = gateway_log
        self._crash_lines = vllm_crash_log.crash_lines if vllm else furiosa_log.crash_lines
        self._cached_startup = list(self._startup_lines())

    def oldest_time(self, now: float) -> float:
        """Time of the oldest line that has not been rotated away."""
        rate = self.instance.traffic_share.load.mean + 0.2
        if self.instance.server.is_prometheus:
            rate = prometheus_log.LINES_PER_SECOND
        if self.instance.server.is_async_gateway:
            rate = gateway_log.LINES_PER_SECOND
        return max(
            self.instance.started, self._clip_to_end(now) - ROTATION_BYTES / (rate * _LINE_BYTES)
        )

    def blocks(self, since: float, until: float) -> Iterator[list[LogLine]]:
        """Lines with since <= time <= until, in non-empty blocks of about ten seconds. `until` is
        limited to the end of the instance."""
        until = self._clip_to_end(until)
        since = max(since, self.oldest_time(until))
        block = [line for line in self._cached_startup if since <= line.time <= until]
        if block:
            yield block
        ready, quiet = self.instance.ready_at, self._last_regular_time()
        if since < until and ready < until:
            first = max(0, math.floor((since - ready) / STATISTICS_INTERVAL_SECONDS))
            for index in itertools.count(first):
                begin = ready + index * STATISTICS_INTERVAL_SECONDS
                if begin > min(until, quiet):
                    break
                limit = min(until, quiet)
                lines = [
                    line for line in self._interval_lines(index) if since <= line.time <= limit
                ]
                if lines:
                    yield lines
        block = [line for line in self._final_lines() if since <= line.time <= until]
        if block:
            yield block

    def lines_after(self, after: float, until: float) -> list[LogLine]:
        """What a reader who has seen the lines until `after` has not. The last lines of an instance
        that is terminated carry times shortly before its end: they are new even where `after` is
        later than these."""
        since, end = after, self.instance.ended
        if end is not None and after < end and self.instance.plan.exits_after is None:
            since = min(after, self._last_regular_time())
        lines = (line for block in self.blocks(since, until) for line in block)
        return [line for line in lines if line.time > since]

    def tail(self, count: int, until: float, since: float = 0.0) -> list[LogLine]:
        """The last `count` lines with since <= time <= until."""
        if count <= 0:
            return []
        until = self._clip_to_end(until)
        since = max(since, self.oldest_time(until))
        span = STATISTICS_INTERVAL_SECONDS * 4
        while True:
            begin = max(since, until - span)
            lines = [line for block in self.blocks(begin, until) for line in block]
            if len(lines) >= count or begin <= since:
                return lines[-count:]
            span *= 4

    def next_time(self, after: float) -> float | None:
        """The earliest time after `after` of a possible next line; None for a complete log."""
        end = self.instance.ended
        if end is not None and after >= end:
            return None
        for line in self._cached_startup:
            if line.time > after:
                return line.time
        ready = self.instance.ready_at
        candidates = [after + 1.0 if after >= ready else ready]
        if end is not None:
            candidates.append(end)
        planned = self.instance.plan.exits_after
        if planned is not None and self.instance.started + planned > after:
            candidates.append(self.instance.started + planned)
        soonest = min(candidates)
        return soonest if math.isfinite(soonest) else after + 5.0

    def termination_message(self) -> str:
        """The end of the log for terminationMessagePolicy FallbackToLogsOnError: at most 80 lines
        and 2048 bytes (kubelet kuberuntime_container.go)."""
        lines = self.tail(80, self.instance.ended or math.inf)
        text = "\n".join(line.text for line in lines)
        return text.encode()[-2048:].decode(errors="ignore")

    # -- internal -----------------------------------------------------------------------------

    def _clip_to_end(self, until: float) -> float:
        ended = self.instance.ended
        return until if ended is None else min(until, ended)

    def _startup_lines(self) -> Iterator[LogLine]:
        instance = self.instance
        if instance.plan.cause is FailureCause.NO_PROGRAM:
            return
        if self._format is furiosa_log and instance.server.engine == OTHER:
            lines: Iterator[LogLine] = furiosa_log.application_startup_lines(instance)
        else:
            lines = self._format.startup_lines(instance)
        limit = min(self._last_regular_time(), instance.ready_at)
        yield from (line for line in lines if line.time <= limit)

    def _last_regular_time(self) -> float:
        """Regular lines end here, because the process starts to end or hangs."""
        plan, instance = self.instance.plan, self.instance
        planned = (
            math.inf if plan.exits_after is None else instance.started + plan.exits_after - 0.95
        )
        hangs = math.inf if plan.hangs_at is None else instance.started + plan.hangs_at
        ended = math.inf if instance.ended is None else instance.ended - 0.05
        return min(planned, hangs, ended)

    def _final_lines(self) -> Iterator[LogLine]:
        instance, plan = self.instance, self.instance.plan
        if instance.server.engine == OTHER and instance.ended is None:
            return
        if plan.exits_after is not None and not instance.killed:
            if instance.server.engine != OTHER:
                yield from self._crash_lines(instance, plan.exits_after)
        elif instance.ended is not None and plan.hangs_at is None:
            yield from self._format.shutdown_lines(
                instance, instance.ended - instance.started - 0.04
            )

    def _interval_lines(self, index: int) -> list[LogLine]:
        instance = self.instance
        begin = instance.ready_at + index * STATISTICS_INTERVAL_SECONDS
        end = begin + STATISTICS_INTERVAL_SECONDS
        if instance.server.is_prometheus:
            return prometheus_log.interval_lines(begin, end)
        if instance.server.is_async_gateway:
            return []
        before, after = instance.traffic_share.interval(begin, end)
        count = math.floor(after) - math.floor(before)
        rng = instance.rng(("slot", index))
        lines = []
        for _ in range(count):
            client = f"10.42.{rng.randint(0, 6)}.{rng.randint(2, 250)}:{rng.randint(32768, 60999)}"
            method, path = rng.choice(_REQUESTS)
            failed = rng.random() < 0.006
            code, phrase = (400, "Bad Request") if failed else (200, "OK")
            if instance.server.pooling:
                path = "/v1/embeddings"
            text = self._format.access_line(client, method, path, code, phrase)
            lines.append(LogLine(begin + rng.random() * STATISTICS_INTERVAL_SECONDS, text))
        lines.sort()
        asked = [LogLine(*entry) for entry in instance.logged_requests if begin <= entry[0] < end]
        if asked:
            lines = list(heapq.merge(lines, asked))
        if instance.server.engine in (VLLM, FURIOSA) and (count or asked or index % 30 == 0):
            rate = (after - before) / STATISTICS_INTERVAL_SECONDS
            lines.append(
                LogLine(
                    end - 0.001,
                    self._format.statistics_line(
                        instance,
                        end - 0.001,
                        rate * instance.prompt_tokens * rng.uniform(0.8, 1.2),
                        rate * instance.output_tokens * rng.uniform(0.85, 1.15),
                    ),
                )
            )
        return lines
