"""What the metrics of a HorizontalPodAutoscaler recommend.

Source: kubernetes pkg/controller/podautoscaler/replica_calculator.go.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from servedeck.demo.controllers.autoscaling.pod_metrics import (
    MetricError,
    ResourceTarget,
    Usage,
    propose,
)
from servedeck.demo.controllers.autoscaling.scale_target import ScaleTarget
from servedeck.demo.controllers.autoscaling.scaled_object import NAME_LABEL
from servedeck.demo.controllers.autoscaling.triggers import TriggerError
from servedeck.demo.controllers.base import quantity_or_zero
from servedeck.demo.store.objects import Json
from servedeck.serving.quantity import format_quantity

_TOLERANCE = Fraction(1, 10)
"""--horizontal-pod-autoscaler-tolerance."""

ExternalMetric = Callable[[str, str, str], float]
"""(namespace, name of the ScaledObject, metric): the value. Raises TriggerError."""


class Proposal(NamedTuple):
    replicas: int
    name: str
    """As messages name the metric."""
    status: Json
    """Of the metric, for currentMetrics."""


class FailedMetricError(Exception):
    """A metric that could not be had. `reason` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class MetricReader:
    """Reads the metrics of autoscalers."""

    def __init__(self, external_metric: ExternalMetric, usage: Usage) -> None:
        self._external_metric = external_metric
        self._usage = usage

    def propose(self, autoscaler: Json, metric: Json, target: ScaleTarget) -> Proposal:
        """What one metric recommends. Raises FailedMetricError."""
        if metric.get("type") == "External":
            return self._measure_external(autoscaler, metric["external"], target)
        if metric.get("type") == "Resource":
            return self._measure_resource(autoscaler, metric["resource"], target)
        raise FailedMetricError(
            "InvalidMetricSourceType", f"unknown metric source type {metric.get('type')}"
        )

    def _measure_external(self, autoscaler: Json, source: Json, target: ScaleTarget) -> Proposal:
        metric, wanted = source["metric"], source["target"]
        namespace = autoscaler["metadata"]["namespace"]
        selector = (metric.get("selector") or {}).get("matchLabels") or {}
        shown = _format_selector(selector)
        try:
            value = self._external_metric(namespace, selector.get(NAME_LABEL, ""), metric["name"])
        except TriggerError as error:
            raise FailedMetricError(
                "FailedGetExternalMetric",
                f"unable to get external metric {namespace}/{metric['name']}/{shown}: unable to "
                "fetch metrics from external metrics API: rpc error: code = Unknown desc = error "
                f"when getting metric values {error}",
            ) from error
        milli, within = Fraction(round(value * 1000), 1000), _tolerance_of(autoscaler)
        if "averageValue" in wanted:
            each, created = quantity_or_zero(wanted["averageValue"]), target.created
            replicas = created
            if not created or not within(float(milli / (each * created))):
                replicas = math.ceil(milli / each)
            average = Fraction(math.ceil(milli * 1000 / created), 1000) if created else Fraction(0)
            current = {"averageValue": format_quantity(average)}
        else:
            ratio = float(milli / quantity_or_zero(wanted.get("value", "1")))
            replicas = target.wanted
            if not replicas:
                replicas = math.ceil(ratio)
            elif not within(ratio):
                replicas = math.ceil(ratio * len(target.ready_pods()))
            current = {"value": format_quantity(milli)}
        status = {"type": "External", "external": {"metric": metric, "current": current}}
        return Proposal(replicas, f"external metric {metric['name']}({shown})", status)

    def _measure_resource(self, autoscaler: Json, source: Json, target: ScaleTarget) -> Proposal:
        name, wanted = source["name"], source["target"]
        amount = wanted.get("averageValue")
        limit = (
            ResourceTarget(name, amount=quantity_or_zero(amount))
            if amount is not None
            else ResourceTarget(name, percent=int(wanted.get("averageUtilization") or 0))
        )
        try:
            found = propose(
                limit, target.pods(), self._usage, target.wanted, _tolerance_of(autoscaler)
            )
        except MetricError as error:
            raise FailedMetricError(
                "FailedGetResourceMetric", f"failed to get {name} utilization: {error}"
            ) from error
        shown = f"{name} resource"
        milli = Fraction(int(found.average * 1000), 1000)
        current: Json = {"averageValue": format_quantity(milli)}
        if found.percent is not None:
            shown += " utilization (percentage of request)"
            current["averageUtilization"] = found.percent
        status = {"type": "Resource", "resource": {"name": name, "current": current}}
        return Proposal(found.replicas, shown, status)


def _tolerance_of(autoscaler: Json) -> Callable[[float], bool]:
    """Whether a ratio of use and target is within the tolerance, which behaviors may set."""
    behavior = autoscaler["spec"].get("behavior") or {}

    def limit(direction: str) -> float:
        given = (behavior.get(direction) or {}).get("tolerance")
        return float(_TOLERANCE if given is None else quantity_or_zero(given))

    up, down = limit("scaleUp"), limit("scaleDown")
    # as computed in binary: 1 - 0.9 is a little less than 0.1
    return lambda ratio: 1 - down <= ratio <= 1 + up


def _format_selector(labels: Json) -> str:
    """As Go prints a pointer to a LabelSelector."""
    pairs = " ".join(f"{key}:{value}" for key, value in sorted(labels.items()))
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{pairs},}},"
        "MatchExpressions:[]LabelSelectorRequirement{},}"
    )
