"""Expressions of the accelerators of a serving.

Sources: https://github.com/NVIDIA/dcgm-exporter: etc/default-counters.csv;
https://github.com/furiosa-ai/furiosa-metrics-exporter. Both name the Pod of a device in the labels
`namespace` and `pod`, which Prometheus renames to `exported_...` unless the target's labels are not
kept; that of Furiosa only with --kube-resources-label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from servedeck.metrics.graph_line import GraphLine
from servedeck.metrics.queries import pod_pattern, scaled
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import (
    Aggregation,
    AggregationOperator,
    Binary,
    Call,
    Expression,
    Matcher,
    Number,
    Selector,
    first_of,
    label_replace,
)

AcceleratorFact = Literal["use", "memory", "temperature", "power"]

_MIB = float(1 << 20)


class _Reading(NamedTuple):
    name: str
    factor: float = 1.0
    matchers: tuple[Matcher, ...] = ()


class _Line(NamedTuple):
    label: str
    operator: AggregationOperator
    function: str
    """Of the values between two points that are far apart."""
    readings: tuple[_Reading, ...]


_LINES: Mapping[AcceleratorFact, tuple[_Line, ...]] = {
    "use": (
        _Line(
            "mean",
            "avg",
            "avg_over_time",
            (
                _Reading("DCGM_FI_DEV_GPU_UTIL", 0.01),
                _Reading("furiosa_npu_core_utilization", 0.01),
            ),
        ),
        _Line(
            "most used",
            "max",
            "max_over_time",
            (
                _Reading("DCGM_FI_DEV_GPU_UTIL", 0.01),
                _Reading("furiosa_npu_core_utilization", 0.01),
            ),
        ),
    ),
    "memory": (
        _Line(
            "used",
            "sum",
            "avg_over_time",
            (_Reading("DCGM_FI_DEV_FB_USED", _MIB), _Reading("furiosa_npu_dram_usage")),
        ),
    ),
    "temperature": (
        _Line(
            "hottest",
            "max",
            "max_over_time",
            (
                _Reading("DCGM_FI_DEV_GPU_TEMP"),
                _Reading("furiosa_npu_hw_temperature", 1.0, (Matcher("label", "=", "peak"),)),
            ),
        ),
    ),
    "power": (
        _Line(
            "sum",
            "sum",
            "avg_over_time",
            (
                _Reading("DCGM_FI_DEV_POWER_USAGE"),
                _Reading("furiosa_npu_hw_power", 1.0, (Matcher("label", "=", "rms"),)),
            ),
        ),
    ),
}


def accelerator_lines(
    fact: AcceleratorFact, target: MetricsTarget, over: float
) -> Iterable[GraphLine]:
    """The lines of a graph of the accelerators of the Pods; `over` is the time, in seconds, whose
    values a point stands for, 0 for the last one alone."""
    for line in _LINES[fact]:
        alternatives = [
            scaled(Aggregation(line.operator, found), reading.factor)
            for reading in line.readings
            if (found := _of_pods(reading, target, line.function, over)) is not None
        ]
        found = first_of(alternatives)
        if found is not None:
            yield GraphLine(line.label, found)


def pod_temperatures(max_age: float, namespace: str = "") -> Expression:
    """The temperature in °C of the hottest accelerator of each Pod, by the labels `namespace` and
    `pod`: of one namespace, or of all. Values that are older than `max_age` seconds are left out:
    Prometheus goes on giving the last one for five minutes."""
    alternatives: list[Expression] = []
    for reading in _LINES["temperature"][0].readings:
        exported = _recent(reading, "exported_", namespace, (), max_age)
        for label in ("namespace", "pod"):
            exported = label_replace(exported, label, "$1", f"exported_{label}", "(.+)")
        unnamed = (Matcher("exported_pod", "=", ""),)
        alternatives += [exported, _recent(reading, "", namespace, unnamed, max_age)]
    found = first_of(alternatives)
    assert found is not None, "there are readings of temperatures"
    return Aggregation("max", found, ("namespace", "pod"))


def _recent(
    reading: _Reading, prefix: str, namespace: str, more: tuple[Matcher, ...], max_age: float
) -> Expression:
    """The values of all Pods, or of those of a namespace."""
    where = [Matcher(f"{prefix}namespace", "=", namespace)] if namespace else []
    selector = Selector(
        reading.name, (Matcher(f"{prefix}pod", "!=", ""), *where, *more, *reading.matchers)
    )
    oldest = Binary("-", Call("time", ()), Number(max_age))
    return Binary("and", selector, Binary(">=", Call("timestamp", (selector,)), oldest))


def _of_pods(
    reading: _Reading, target: MetricsTarget, function: str, over: float
) -> Expression | None:
    pattern = pod_pattern(target)
    if not pattern:
        return None
    selectors = [
        Selector(
            reading.name,
            (
                Matcher(f"{prefix}namespace", "=", target.namespace),
                Matcher(f"{prefix}pod", "=~", pattern),
                *reading.matchers,
            ),
            over,
        )
        for prefix in ("exported_", "")
    ]
    return first_of(Call(function, (one,)) if over else one for one in selectors)
