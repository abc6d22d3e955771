"""How a gateway spreads the requests of an endpoint over the Pods of a serving.

Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/
load_balancers. Requests of the demo take about as long on each Pod, so that those with the fewest
requests, and those in turn, get the same number of them.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

REDRAW_SECONDS = 60.0
"""Seconds after which the random spread of the requests changes."""
_CALLERS = 12
"""Different values of the header by which requests are spread."""


class Balancing(NamedTuple):
    """How requests are spread over Pods."""

    type: str
    """"RoundRobin", "LeastRequest", "Random" or "ConsistentHash", as in a BackendTrafficPolicy."""
    header: str = ""
    """Of "ConsistentHash": the header whose value decides; "" for another property."""


LEAST_REQUEST = Balancing("LeastRequest")
"""What Envoy Gateway does without a policy."""


def spread(
    balancing: Balancing, endpoint: str, instances: Sequence[str], rate: float, time: float
) -> Mapping[str, float]:
    """The fraction of the requests that each instance gets. `rate` is in requests per second,
    `time` in seconds since the epoch."""
    if balancing.type == "Random":
        weights = _draw(endpoint, instances, rate, int(time // REDRAW_SECONDS))
    elif balancing.type == "ConsistentHash":
        weights = _hash_callers(endpoint, balancing.header, instances)
    else:
        weights = dict.fromkeys(instances, 1.0)
    total = sum(weights.values())
    return {instance: weight / total for instance, weight in weights.items()}


def _draw(endpoint: str, instances: Sequence[str], rate: float, minute: int) -> dict[str, float]:
    """As many requests as chance gives to each in a minute: the deviation of a number of random
    choices is about its square root."""
    expected = max(1.0, rate * REDRAW_SECONDS / len(instances))
    found = {}
    for instance in instances:
        rng = random.Random(f"{endpoint}/{instance}/{minute}")  # noqa: S311 - a simulation
        found[instance] = max(0.05, 1 + rng.gauss(0, 1) / math.sqrt(expected))
    return found


def _hash_callers(endpoint: str, header: str, instances: Sequence[str]) -> dict[str, float]:
    """Each caller stays with one Pod, and few callers send most of the requests."""
    found = dict.fromkeys(instances, 0.0)
    for number in range(1, _CALLERS + 1):
        caller = f"{endpoint}/{header}/{number}"
        chosen = max(instances, key=lambda one: zlib.crc32(f"{caller}/{one}".encode()))
        found[chosen] += 1 / number
    return found
