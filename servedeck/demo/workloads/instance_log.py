"""The log of a container instance: a function of the instance and the time, so nothing is kept."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator

from servedeck.demo.workloads import furiosa_log, vllm_crash_log, vllm_log
from servedeck.demo.workloads.failure_simulation import Cause
from servedeck.demo.workloads.instance import Instance
from servedeck.demo.workloads.log_lines import Line
from servedeck.demo.workloads.server_config import FURIOSA, OTHER, VLLM

SLOT = 10.0
"""Seconds between two lines of statistics."""
KEPT = 10 * 2**20
"""Bytes of a log after which the kubelet rotates it (containerLogMaxSize)."""
_LINE = 96
"""About the bytes of a line."""

_PATHS = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
)


class Log:
    """Lines of one instance between any two times, in order."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        vllm = instance.server.engine == VLLM
        self._format = vllm_log if vllm else furiosa_log
        self._death_lines = vllm_crash_log.death if vllm else furiosa_log.death
        self._start = list(self._startup())

    def begin(self, now: float) -> float:
        """Time of the oldest line that rotation has left."""
        rate = self.instance.share.load.mean + 0.2
        return max(self.instance.started, self._end(now) - KEPT / (rate * _LINE))

    def blocks(self, since: float, until: float) -> Iterator[list[Line]]:
        """Lines with since <= time <= until in blocks of about ten seconds; empty ones are left
        out. `until` past the end of the instance means its end."""
        until = self._end(until)
        since = max(since, self.begin(until))
        block = [line for line in self._start if since <= line.time <= until]
        if block:
            yield block
        ready, quiet = self.instance.ready_at, self._quiet()
        if since < until and ready < until:
            first = max(0, math.floor((since - ready) / SLOT))
            for index in itertools.count(first):
                begin = ready + index * SLOT
                if begin > min(until, quiet):
                    break
                limit = min(until, quiet)
                lines = [line for line in self._slot(index) if since <= line.time <= limit]
                if lines:
                    yield lines
        block = [line for line in self._ending() if since <= line.time <= until]
        if block:
            yield block

    def tail(self, count: int, until: float, since: float = 0.0) -> list[Line]:
        """The last `count` lines up to `until`, of those not before `since`."""
        if count <= 0:
            return []
        until = self._end(until)
        since = max(since, self.begin(until))
        span = SLOT * 4
        while True:
            begin = max(since, until - span)
            lines = [line for block in self.blocks(begin, until) for line in block]
            if len(lines) >= count or begin <= since:
                return lines[-count:]
            span *= 4

    def next_time(self, after: float) -> float | None:
        """When something may be written next after `after`; None when the log is complete."""
        end = self.instance.ended
        if end is not None and after >= end:
            return None
        for line in self._start:
            if line.time > after:
                return line.time
        ready = self.instance.ready_at
        candidates = [after + 1.0 if after >= ready else ready]
        if end is not None:
            candidates.append(end)
        planned = self.instance.plan.dies_after
        if planned is not None and self.instance.started + planned > after:
            candidates.append(self.instance.started + planned)
        soonest = min(candidates)
        return soonest if math.isfinite(soonest) else after + 5.0

    def last_words(self) -> str:
        """The end of the log, as terminationMessagePolicy FallbackToLogsOnError puts it into the
        container's status: at most 80 lines and 2048 bytes (kubelet kuberuntime_container.go)."""
        lines = self.tail(80, self.instance.ended or math.inf)
        text = "\n".join(line.text for line in lines)
        return text.encode()[-2048:].decode(errors="ignore")

    # -- inner --------------------------------------------------------------------------------

    def _end(self, until: float) -> float:
        ended = self.instance.ended
        return until if ended is None else min(until, ended)

    def _startup(self) -> Iterator[Line]:
        instance = self.instance
        if instance.plan.cause is Cause.NO_PROGRAM:
            return
        if instance.server.engine == OTHER:
            lines: Iterator[Line] = furiosa_log.application(instance)
        else:
            lines = self._format.start(instance)
        limit = min(self._quiet(), instance.ready_at)
        yield from (line for line in lines if line.time <= limit)

    def _quiet(self) -> float:
        """When the process begins to end."""
        plan, instance = self.instance.plan, self.instance
        planned = math.inf if plan.dies_after is None else instance.started + plan.dies_after - 0.95
        hangs = math.inf if plan.hangs_at is None else instance.started + plan.hangs_at
        ended = math.inf if instance.ended is None else instance.ended - 0.05
        return min(planned, hangs, ended)

    def _ending(self) -> Iterator[Line]:
        instance, plan = self.instance, self.instance.plan
        if instance.server.engine == OTHER and instance.ended is None:
            return
        if plan.dies_after is not None and not instance.killed:
            if instance.server.engine != OTHER:
                yield from self._death_lines(instance, plan.dies_after)
        elif instance.ended is not None and plan.hangs_at is None:
            yield from self._format.shutdown(instance, instance.ended - instance.started - 0.04)

    def _slot(self, index: int) -> list[Line]:
        instance = self.instance
        begin = instance.ready_at + index * SLOT
        end = begin + SLOT
        before, after = instance.share.slot(begin, end)
        count = math.floor(after) - math.floor(before)
        rng = instance.rng(("slot", index))
        lines = []
        for _ in range(count):
            client = f"10.42.{rng.randint(0, 6)}.{rng.randint(2, 250)}:{rng.randint(32768, 60999)}"
            method, path = rng.choice(_PATHS)
            failed = rng.random() < 0.006
            code, phrase = (400, "Bad Request") if failed else (200, "OK")
            if instance.server.pooling:
                path = "/v1/embeddings"
            text = self._format.access(client, method, path, code, phrase)
            lines.append(Line(begin + rng.random() * SLOT, text))
        lines.sort()
        asked = [Line(*entry) for entry in instance.asked if begin <= entry[0] < end]
        if asked:
            lines = list(heapq.merge(lines, asked))
        if instance.server.engine in (VLLM, FURIOSA) and (count or asked or index % 30 == 0):
            rate = (after - before) / SLOT
            lines.append(
                Line(
                    end - 0.001,
                    self._format.statistics(
                        instance,
                        end - 0.001,
                        rate * instance.prompt_tokens * rng.uniform(0.8, 1.2),
                        rate * instance.output_tokens * rng.uniform(0.85, 1.15),
                    ),
                )
            )
        return lines
