"""Plans the life of a container instance: when it gets ready, and whether and how it fails.

Failures follow from the Pod where possible: a model that does not exist or is gated, an unknown
option, weights that do not fit, a memory limit that is too low. Annotations of the Pod add other
failures. A plan is a function of the Pod, the node and the number of the instance, so that it can
be recomputed at any time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from servedeck.demo.workloads.server_config import FURIOSA, OTHER, ServerConfig

ANNOTATION_PREFIX = "demo.servedeck.dev/"
LOADING_TIME_ANNOTATION = ANNOTATION_PREFIX + "loading"
"""Time from the start until the server listens: "90s", "3m"."""
LEAK_AFTER_ANNOTATION = ANNOTATION_PREFIX + "leak"
"""The process leaks host memory and is killed this long after its start."""
CRASH_AFTER_ANNOTATION = ANNOTATION_PREFIX + "crash"
"""The engine exits with a CUDA error this long after its start."""
HANG_AFTER_ANNOTATION = ANNOTATION_PREFIX + "hang"
"""The server stops answering this long after its start."""
UNREADY_AFTER_ANNOTATION = ANNOTATION_PREFIX + "unready"
"""/health responds with 503 from this long after the start."""
SLOWDOWN_ANNOTATION = ANNOTATION_PREFIX + "slow"
"""Responses take this many times as long."""
FAILING_ANNOTATION = ANNOTATION_PREFIX + "failing"
"""Share of the requests that are answered with 503: "0.25"."""
REQUEST_RATE_ANNOTATION = ANNOTATION_PREFIX + "load"
"""Average requests per second of the serving."""
LOAD_REPLICAS_ANNOTATION = ANNOTATION_PREFIX + "load-replicas"
"""How many replicas that load is meant for: with fewer more requests are slow, with more fewer."""
LOAD_SWING_ANNOTATION = ANNOTATION_PREFIX + "load-swing"
"""Every so often the load rises to five times its average and falls again: "10m", or with the time
from which on it does: "10m 2026-11-23T15:00:00Z"."""
PULL_TIME_ANNOTATION = ANNOTATION_PREFIX + "pull"
"""Duration of the image pull."""


class FailureCause(StrEnum):
    """Why an instance exits."""

    NONE = ""
    USAGE = "usage"
    NO_PROGRAM = "no program"
    NO_MODEL = "no model"
    GATED = "gated"
    WORLD_SIZE = "world size"
    NO_DEVICE = "no device"
    DEVICE_MEMORY = "device memory"
    KV_CACHE = "kv cache"
    MEMORY_LIMIT = "memory limit"
    LEAK = "leak"
    DEVICE_ERROR = "device error"


@dataclass(frozen=True)
class InstancePlan:
    """Times in seconds after the start; None for never. /health does not respond from `hangs_at`
    on, and responds with 503 from `unready_at` on."""

    ready_after: float | None
    exits_after: float | None = None
    exit_code: int = 0
    reason: str = "Error"
    cause: FailureCause = FailureCause.NONE
    hangs_at: float | None = None
    unready_at: float | None = None
    slowdown: float = 1.0
    failing: float = 0.0

    def health(self, elapsed: float) -> int:
        """The result of GET /health: its status, 0 for connection refused, -1 for a timeout."""
        if self.ready_after is None or elapsed < self.ready_after:
            return 0
        if self.hangs_at is not None and elapsed >= self.hangs_at:
            return -1
        if self.unready_at is not None and elapsed >= self.unready_at:
            return 503
        return 200

    def changes(self) -> list[float]:
        """The times at which the result of `health` changes, in order."""
        times = (self.ready_after, self.hangs_at, self.unready_at)
        return sorted(time for time in times if time is not None)


def plan_instance(
    server: ServerConfig,
    annotations: Mapping[str, str],
    device_memory: float,
    seed: str,
    number: int,
) -> InstancePlan:
    """The plan of an instance. `device_memory`: GiB of one accelerator of the node. `seed` and
    `number` (of the instance) vary the times."""
    rng = random.Random(f"{seed}/{number}")  # noqa: S311 - a simulation, not a secret
    failure = _startup_failure(server, device_memory, rng)
    if failure is not None:
        return failure
    ready = _ready_after(server, annotations, rng)
    dies, cause = _planned_crash(annotations, rng)
    return InstancePlan(
        ready_after=ready,
        exits_after=dies,
        exit_code=137 if cause is FailureCause.LEAK else 1,
        reason="OOMKilled" if cause is FailureCause.LEAK else "Error",
        cause=cause,
        hangs_at=parse_duration(annotations.get(HANG_AFTER_ANNOTATION)),
        unready_at=parse_duration(annotations.get(UNREADY_AFTER_ANNOTATION)),
        slowdown=max(0.1, _parse_number(annotations.get(SLOWDOWN_ANNOTATION), 1.0)),
        failing=_parse_number(annotations.get(FAILING_ANNOTATION), 0.0),
    )


def _startup_failure(
    server: ServerConfig, device_memory: float, rng: random.Random
) -> InstancePlan | None:
    """The plan of an instance that cannot start; None for one that can."""

    def fails(
        after: float, cause: FailureCause, code: int = 1, reason: str = "Error"
    ) -> InstancePlan:
        return InstancePlan(None, after * rng.uniform(0.9, 1.15), code, reason, cause)

    if server.missing_program:
        return InstancePlan(None, 0.0, 128, "StartError", FailureCause.NO_PROGRAM)
    if server.engine == OTHER:
        return None
    if server.usage_error:
        return fails(5.0, FailureCause.USAGE, 2)
    if server.model is None:
        return fails(11.0, FailureCause.NO_MODEL)
    if server.model.gated and not server.has_hf_token:
        return fails(9.0, FailureCause.GATED)
    if server.accelerators < 1:
        return fails(8.0, FailureCause.NO_DEVICE)
    if server.engine == FURIOSA:
        needed = server.model.weights_gib(server.quantization) / max(1, server.accelerators)
    elif server.tp * server.pp * server.dp > server.accelerators:
        return fails(14.0, FailureCause.WORLD_SIZE)
    else:
        needed = server.weights_gib
    load = _weight_loading_seconds(server)
    host = host_memory_gib(server)
    if server.memory_limit_gib and server.memory_limit_gib < host:
        return fails(
            10 + load * min(0.95, server.memory_limit_gib / host),
            FailureCause.MEMORY_LIMIT,
            137,
            "OOMKilled",
        )
    usable = device_memory * server.utilization
    if needed + 1.5 > usable:
        return fails(14 + load * min(1.0, usable / needed), FailureCause.DEVICE_MEMORY)
    if kv_cache_tokens(server, device_memory) < server.max_model_len:
        return fails(24 + load, FailureCause.KV_CACHE)
    return None


def host_memory_gib(server: ServerConfig) -> float:
    """GiB of host memory that a server needs while it loads: its processes and the part of the
    weights that is being copied."""
    if server.model is None:
        return 0.5
    weights = server.model.weights_gib(server.quantization)
    return 4.0 + 1.2 * server.tp * server.pp + 0.22 * weights


def kv_cache_tokens(server: ServerConfig, device_memory: float) -> int:
    """Tokens that fit into the KV cache, over all accelerators of one replica."""
    if server.model is None:
        return 0
    ranks = max(1, server.tp * server.pp)
    if server.engine == FURIOSA:
        ranks = max(1, server.accelerators)
        weights = server.model.weights_gib(server.quantization) / ranks
    else:
        weights = server.weights_gib
    free = device_memory * server.utilization - weights - 1.4
    return max(0, int(free * ranks * 2**30 / server.model.kv_bytes_per_token) // 16 * 16)


def parse_duration(text: str | None) -> float | None:
    """Seconds of "90", "90s", "3m", "1h30m"; None for an empty or invalid text."""
    if not text:
        return None
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if match is None:
        return None
    hours, minutes, rest = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest or 0)


def _weight_loading_seconds(server: ServerConfig) -> float:
    """Time to read the weights at 1.35 GiB/s, about what a shared file system provides."""
    assert server.model is not None
    return server.model.weights_gib(server.quantization) / 1.35


def _ready_after(server: ServerConfig, annotations: Mapping[str, str], rng: random.Random) -> float:
    recorded = parse_duration(annotations.get(LOADING_TIME_ANNOTATION))
    if recorded is not None:
        return recorded
    if server.is_async_gateway:
        return rng.uniform(0.5, 0.9)
    if server.engine == OTHER:
        return rng.uniform(1.5, 3.0)
    fixed = 21.0 if server.engine == FURIOSA else 17.0 if server.enforce_eager else 43.0
    return (fixed + _weight_loading_seconds(server)) * rng.uniform(0.95, 1.1)


def _planned_crash(
    annotations: Mapping[str, str], rng: random.Random
) -> tuple[float | None, FailureCause]:
    for key, cause in (
        (LEAK_AFTER_ANNOTATION, FailureCause.LEAK),
        (CRASH_AFTER_ANNOTATION, FailureCause.DEVICE_ERROR),
    ):
        after = parse_duration(annotations.get(key))
        if after is not None:
            return after * rng.uniform(0.9, 1.1), cause
    return None, FailureCause.NONE


def _parse_number(text: str | None, default: float) -> float:
    try:
        return float(text) if text else default
    except ValueError:
        return default
