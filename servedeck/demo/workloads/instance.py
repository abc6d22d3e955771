"""One instance of a container: its configuration, its plan and its requests."""

from __future__ import annotations

import math
import random
from bisect import bisect_right, insort
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from servedeck.demo.workloads.failure_simulation import InstancePlan, kv_cache_tokens
from servedeck.demo.workloads.server_config import OTHER, ServerConfig
from servedeck.demo.workloads.traffic import TrafficShare


@dataclass(frozen=True)
class Latency:
    """A log-normal time in seconds."""

    median: float
    sigma: float

    def cdf(self, seconds: float) -> float:
        if seconds <= 0:
            return 0.0
        return 0.5 * (1 + math.erf(math.log(seconds / self.median) / (self.sigma * math.sqrt(2))))

    @property
    def mean(self) -> float:
        return self.median * math.exp(self.sigma**2 / 2)

    def scaled(self, factor: float) -> Latency:
        return Latency(self.median * factor, self.sigma)


class HotSpell(NamedTuple):
    """A time in which an accelerator gets hot, as when a fan fails and is replaced."""

    begin: float
    """Seconds since the epoch."""
    duration: float = 300.0
    celsius: float = 91.0
    """Its temperature from a twentieth to half of that time."""

    def height(self, time: float) -> float:
        """0 to 1: how near it is to that temperature."""
        share = (time - self.begin) / self.duration
        if not 0 < share < 1:
            return 0.0
        return min(1.0, 20 * share, 2 * (1 - share))


@dataclass
class SimulatedInstance:
    """The `number`-th instance (from 0) of a container of a Pod, started at `started`.

    `logged_requests` holds the real requests through the proxy, as (time, log line), ordered by
    time.
    """

    namespace: str
    pod: str
    uid: str
    container: str
    number: int
    started: float
    server: ServerConfig
    plan: InstancePlan
    traffic_share: TrafficShare
    device: str = ""
    device_memory: float = 79.2
    ended: float | None = None
    killed: bool = False
    logged_requests: list[tuple[float, str]] = field(default_factory=list)
    hot_spells: list[HotSpell] = field(default_factory=list)
    """When its accelerators get hot for another reason than its requests."""
    _token_counts: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"{self.uid}/{self.container}/{self.number}"

    @property
    def ready_at(self) -> float:
        after = self.plan.ready_after
        return math.inf if after is None else self.started + after

    def rng(self, what: object) -> random.Random:
        """A random generator for `what`; the same at each call."""
        return random.Random(f"{self.key}/{what}")  # noqa: S311 - a simulation, not a secret

    def listens(self, now: float) -> bool:
        return now >= self.ready_at and (self.ended is None or now < self.ended)

    def log_request(self, time: float, line: str) -> None:
        """Adds the line of a real request to the log."""
        insort(self.logged_requests, (time, line))

    def count_logged_requests(self, time: float) -> int:
        """Real requests until `time`."""
        return bisect_right(self.logged_requests, time, key=itemgetter(0))

    def add_tokens(self, time: float, prompt: int, output: int) -> None:
        """Counts the tokens of a real request."""
        known = self.real_tokens(time)
        self._token_counts.append((time, known[0] + prompt, known[1] + output))

    def real_tokens(self, time: float) -> tuple[int, int]:
        """Tokens of (prompts, responses) of real requests until `time`."""
        index = bisect_right(self._token_counts, time, key=itemgetter(0))
        return self._token_counts[index - 1][1:] if index else (0, 0)

    # -- performance --------------------------------------------------------------------------

    @property
    def prompt_tokens(self) -> int:
        """Mean tokens of a prompt."""
        return 260 + sum(self.server.model_name.encode()) % 700

    @property
    def output_tokens(self) -> int:
        """Mean tokens of a response."""
        return 140 + sum(self.server.served_name.encode()) % 160

    @property
    def inter_token(self) -> Latency:
        """Time between two tokens."""
        params = self.server.model.params if self.server.model else 8.0
        ranks = max(1, self.server.tp * self.server.pp)
        return Latency((0.007 + 0.0011 * params / ranks) * self.plan.slowdown, 0.35)

    @property
    def first_token(self) -> Latency:
        """Time to the first token."""
        params = self.server.model.params if self.server.model else 8.0
        ranks = max(1, self.server.tp * self.server.pp)
        return Latency((0.06 + 0.006 * params / ranks) * self.plan.slowdown, 0.6)

    @property
    def request_time(self) -> Latency:
        """Time of a whole request."""
        if self.server.engine == OTHER:
            return Latency(0.04, 0.5)
        return Latency(self.first_token.median + self.inter_token.median * self.output_tokens, 0.55)

    @property
    def cache_tokens(self) -> int:
        return kv_cache_tokens(self.server, self.device_memory)

    def concurrency(self, time: float) -> float:
        """Mean requests in progress at `time`, by Little's law."""
        rate, slow, _ = self.traffic_share.rate(time)
        return (rate - slow + slow * SLOW_REQUEST_FACTOR) * self.request_time.mean

    def request_counts(self, now: float) -> tuple[int, int]:
        """(running, waiting) requests, by Little's law with a little noise."""
        mean = self.concurrency(now)
        noise = self.rng(("running", int(now // 10))).gauss(0, 0.35 * math.sqrt(mean + 0.01))
        count = max(0, round(mean + noise))
        room = max(1, self.server.max_num_seqs)
        return min(count, room), max(0, count - room)

    def cache_usage(self, now: float) -> float:
        """Share of the KV cache in use, 0 to 1."""
        running, _ = self.request_counts(now)
        if not self.cache_tokens:
            return 0.0
        each = self.prompt_tokens + self.output_tokens / 2
        return min(1.0, running * each / self.cache_tokens)


SLOW_REQUEST_FACTOR = 3.4
"""A slow request takes this many times as long as others."""
