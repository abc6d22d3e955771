"""The replicas that the CPU or memory of Pods recommends.

Source: kubernetes pkg/controller/podautoscaler/replica_calculator.go, GetResourceReplicas and
calcPlainMetricReplicas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from servedeck.demo.api.kubelet_api import ContainerUsage
from servedeck.demo.controllers.base import condition_is_true, quantity_or_zero
from servedeck.demo.store.objects import Json

Usage = Callable[[Json], Sequence[ContainerUsage]]


class MetricError(Exception):
    """A metric that cannot be had; str() is the controller's message."""


class ResourceProposal(NamedTuple):
    """`percent`: of the requests, None for a target that is no percentage. `average`: in the
    resource's unit, of the Pods that were measured."""

    replicas: int
    percent: int | None
    average: Fraction


class ResourceTarget(NamedTuple):
    """What the Pods should use: a percentage of their requests, or an amount each."""

    resource: str
    percent: int | None = None
    amount: Fraction | None = None

    def ratio(self, used: Sequence[Fraction], asked: Sequence[Fraction]) -> float:
        total = sum(used, Fraction(0))
        if self.percent is not None:
            wanted = sum(asked, Fraction(0)) * self.percent / 100
        else:
            wanted = (self.amount or Fraction(0)) * len(used)
        return float(total / wanted) if wanted else 1.0


def propose(
    target: ResourceTarget,
    pods: Sequence[Json],
    usage: Usage,
    current: int,
    within: Callable[[float], bool],
) -> ResourceProposal:
    """The replicas for these Pods of the autoscaler's target. `within`: whether a ratio is within
    the tolerance. Raises MetricError."""
    asked = {pod["metadata"]["name"]: _request(target.resource, pod) for pod in pods}
    if target.percent is not None and not all(asked.values()):
        raise MetricError(f"missing request for {target.resource}")
    measured = {
        pod["metadata"]["name"]: sum((_amount(target.resource, one) for one in found), Fraction(0))
        for pod in pods
        if (found := usage(pod))
    }
    if not measured:
        raise MetricError(
            f"unable to get metrics for resource {target.resource}: no metrics returned from "
            "resource metrics API"
        )
    ready = {p["metadata"]["name"] for p in pods if condition_is_true(p, "Ready")}
    counted = {name: used for name, used in measured.items() if name in ready}
    if not counted:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    used = list(counted.values())
    ratio = target.ratio(used, [asked[name] for name in counted])
    total = sum(used, Fraction(0))
    percent = None
    if target.percent is not None:
        requests = sum((asked[name] for name in counted), Fraction(0))
        percent = int(total * 100 / requests)
    replicas = _replicas(target, ratio, counted, asked, ready, measured, current, within)
    return ResourceProposal(replicas, percent, total / len(used))


def _replicas(
    target: ResourceTarget,
    ratio: float,
    counted: Mapping[str, Fraction],
    asked: Mapping[str, Fraction],
    ready: set[str],
    measured: Mapping[str, Fraction],
    current: int,
    within: Callable[[float], bool],
) -> int:
    """Pods that are not ready count as idle where more replicas are recommended; those without a
    measurement count against a change."""
    missing = [name for name in asked if name not in measured]
    waiting = [name for name in asked if name in measured and name not in ready]
    if not missing and not (ratio > 1 and waiting):
        return current if within(ratio) else math.ceil(ratio * len(counted))
    filled = dict(counted)
    for name in missing:
        full = asked[name] if target.percent is not None else (target.amount or Fraction(0))
        filled[name] = Fraction(0) if ratio > 1 else full
    if ratio > 1:
        filled |= dict.fromkeys(waiting, Fraction(0))
    new_ratio = target.ratio(list(filled.values()), [asked[name] for name in filled])
    turned = (ratio < 1 < new_ratio) or (new_ratio < 1 < ratio)
    if within(new_ratio) or turned:
        return current
    replicas = math.ceil(new_ratio * len(filled))
    overshoots = (new_ratio < 1 and replicas > current) or (new_ratio > 1 and replicas < current)
    return current if overshoots else replicas


def _request(resource: str, pod: Json) -> Fraction:
    containers = pod["spec"].get("containers") or ()
    return sum(
        (
            quantity_or_zero(((c.get("resources") or {}).get("requests") or {}).get(resource, 0))
            for c in containers
        ),
        Fraction(0),
    )


def _amount(resource: str, usage: ContainerUsage) -> Fraction:
    if resource == "cpu":
        return Fraction(round(usage.cpu * 1000), 1000)
    return Fraction(usage.memory)
