"""Reads what an autoscaler does from a ScaledObject, its HPA, or both, in whatever shape they are.

Sources: kubernetes staging/src/k8s.io/api/autoscaling/v2/types.go and pkg/controller/podautoscaler/
horizontal.go for the conditions of an HPA and its Events; keda apis/keda/v1alpha1/
scaledobject_types.go and condition_types.go for those of a ScaledObject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from servedeck.serving.objects.owners import NOT_PAUSED
from servedeck.serving.quantity import parse_quantity
from servedeck.serving.scaling.scaler_state import (
    HPA_KIND,
    SCALED_OBJECT_KIND,
    Rescale,
    ScalerCondition,
    ScalerMetric,
    ScalerState,
    format_replicas,
)
from servedeck.serving.scaling.scaling_metrics import TOLERANCE, MetricType, metric_unit
from servedeck.serving.spec.mapping.json_values import (
    as_int,
    as_list,
    as_mapping,
    as_str,
    as_time,
    mappings,
)
from servedeck.serving.text import one_line, sanitize, truncate

PAUSED_REPLICAS_ANNOTATION = "autoscaling.keda.sh/paused-replicas"
PAUSED_ANNOTATION = "autoscaling.keda.sh/paused"
PAUSED_DIRECTIONS = {
    "autoscaling.keda.sh/paused-scale-in": "down",
    "autoscaling.keda.sh/paused-scale-down": "down",
    "autoscaling.keda.sh/paused-scale-out": "up",
}
DEFAULT_KEDA_MAX = 100
"""maxReplicaCount of a ScaledObject without one; minReplicaCount is 0 then."""
_MAX_TEXT = 500
"""Characters of a message of an autoscaler."""
_INDEXED_NAME = re.compile(r"s([0-9]{1,4})-(.*)", re.DOTALL)
"""External metrics of KEDA: pkg/scalers/scaler.go, GenerateMetricNameWithIndex."""
_NEW_SIZE = re.compile(r"New size: ([0-9]{1,9}); reason:(.*)", re.DOTALL)


def read_rescale(reason: str, message: str) -> Rescale | None:
    """What the Event SuccessfulRescale of an HPA says; None for any other Event."""
    found = _NEW_SIZE.fullmatch(message.strip())
    if reason != "SuccessfulRescale" or found is None:
        return None
    why = _text(found[2])
    direction = ""
    if why.endswith(("above target", "below Spec.MinReplicas")):
        direction = "up"
    elif why.endswith(("below target", "above Spec.MaxReplicas")):
        direction = "down"
    return Rescale(int(found[1]), why, direction)


def read_scaler_states(
    scaled_objects: Sequence[Mapping[str, Any]], hpas: Sequence[Mapping[str, Any]] | None
) -> tuple[ScalerState, ...]:
    """The autoscalers of one serving, each ScaledObject with its HPA. `hpas` are None where they
    may not be read. Never raises, whatever the objects contain."""
    left = list(hpas or ())
    states: list[ScalerState] = []
    for one in scaled_objects:
        own = next((hpa for hpa in left if _is_hpa_of(hpa, one)), None)
        left = [hpa for hpa in left if hpa is not own]
        states.append(_read_scaled_object(one, own, may_read_hpa=hpas is not None))
    states += (_read_hpa(one, {}) for one in left)
    if len(states) < 2:
        return tuple(states)
    names = " and ".join(f"{one.kind} {one.name}" for one in states)
    text = f"{names} scale the same serving, each against the others; delete all but one."
    return tuple(replace(one, problems=(*one.problems, text)) for one in states)


def _is_hpa_of(hpa: Mapping[str, Any], scaled_object: Mapping[str, Any]) -> bool:
    name = as_str(as_mapping(scaled_object, "metadata").get("name"))
    metadata = as_mapping(hpa, "metadata")
    owners = mappings(metadata.get("ownerReferences"))
    if any(one.get("kind") == SCALED_OBJECT_KIND and one.get("name") == name for one in owners):
        return True
    known = as_str(as_mapping(scaled_object, "status").get("hpaName")) or f"keda-hpa-{name}"
    return as_str(metadata.get("name")) == known


# -- ScaledObject -----------------------------------------------------------------------------


def _read_scaled_object(
    one: Mapping[str, Any], hpa: Mapping[str, Any] | None, *, may_read_hpa: bool
) -> ScalerState:
    metadata, spec, status = (as_mapping(one, key) for key in ("metadata", "spec", "status"))
    conditions = tuple(_conditions("KEDA", status))
    by_type = {each.type: each for each in conditions}
    state = ScalerState(
        SCALED_OBJECT_KIND, _text(metadata.get("name")), None, None, None, None, (), ()
    )
    if hpa is not None:
        state = _read_hpa(hpa, one)
    low, high = as_int(spec.get("minReplicaCount")), as_int(spec.get("maxReplicaCount"))
    paused, paused_at, pause_texts = _pause(metadata, by_type)
    hpa_name = state.hpa_name or _text(status.get("hpaName"))
    active = by_type.get("Active")
    is_fallback = _is_true(by_type.get("Fallback"))
    problems = list(_keda_problems(status, conditions))
    if hpa is None and may_read_hpa and not problems and not paused and conditions:
        problems.append(
            f"Its HPA {hpa_name or f'keda-hpa-{state.name}'} does not exist: the operator of KEDA "
            "makes it; see its log."
        )
    reasons = list(pause_texts)
    if is_fallback:
        replicas = as_int(as_mapping(spec, "fallback").get("replicas"))
        text = f"fallback to {replicas} replicas" if replicas is not None else "fallback"
        reasons.append(f"{text}, as its triggers cannot be read ({by_type['Fallback'].text})")
    if active is not None and active.status == "False" and not low and state.current in (0, None):
        reasons.append(f"no load ({active.text})")
    return replace(
        state,
        kind=SCALED_OBJECT_KIND,
        name=_text(metadata.get("name")),
        hpa_name=hpa_name,
        min_replicas=0 if low is None else low,
        max_replicas=DEFAULT_KEDA_MAX if high is None else high,
        metrics=state.metrics or tuple(_triggers(one)),
        conditions=(*conditions, *state.conditions),
        is_paused=paused,
        paused_replicas=paused_at,
        is_fallback=is_fallback,
        is_active={"True": True, "False": False}.get(active.status) if active is not None else None,
        problems=(*problems, *state.problems),
        reasons=(*reasons, *state.reasons),
    )


def _keda_problems(
    status: Mapping[str, Any], conditions: Sequence[ScalerCondition]
) -> Iterator[str]:
    ready = next((one for one in conditions if one.type == "Ready"), None)
    if ready is None:
        yield "KEDA has not looked at it yet; is its operator running?"
    elif ready.status == "False":
        yield ready.text
    for name, one in as_mapping(status, "health").items():
        failures = as_int(as_mapping(one).get("numberOfFailures")) or 0
        if as_mapping(one).get("status") == "Failing" and failures:
            yield f"KEDA could not read {_text(name)} {failures} times in a row."


def _pause(
    metadata: Mapping[str, Any], by_type: Mapping[str, ScalerCondition]
) -> tuple[bool, int | None, list[str]]:
    """Whether KEDA is paused, at how many replicas, and by which annotation."""
    annotations = as_mapping(metadata, "annotations")
    texts: list[str] = []
    at = as_int(annotations.get(PAUSED_REPLICAS_ANNOTATION))
    if PAUSED_REPLICAS_ANNOTATION in annotations:
        texts.append(f"paused at {format_replicas(at)} replicas by {PAUSED_REPLICAS_ANNOTATION}")
    elif _is_set(annotations, PAUSED_ANNOTATION):
        texts.append(f"paused by {PAUSED_ANNOTATION}")
    elif _is_true(by_type.get("Paused")) and not any(
        _is_set(annotations, key) for key in PAUSED_DIRECTIONS
    ):  # of a ScaledObject that is paused in one direction, the condition is True, too
        texts.append(f"paused ({by_type['Paused'].text})")
    is_paused = bool(texts)
    for key, direction in PAUSED_DIRECTIONS.items():
        if _is_set(annotations, key):
            texts.append(f"scaling {direction} is paused by {key}")
    return is_paused, at, texts


def _is_set(annotations: Mapping[str, Any], key: str) -> bool:
    """KEDA takes any value as true but those that Go's ParseBool reads as false."""
    value = annotations.get(key)
    return value is not None and value not in NOT_PAUSED


def _triggers(scaled_object: Mapping[str, Any]) -> Iterator[ScalerMetric]:
    """The metrics of a ScaledObject without an HPA: what is scaled by, and no values."""
    for one in mappings(as_mapping(scaled_object, "spec").get("triggers")):
        name = _text(one.get("name")) or _text(one.get("type"))
        type_ = _metric_type(one.get("metricType")) or MetricType.AVERAGE_VALUE
        metadata = as_mapping(one, "metadata")
        keys = ("threshold", "value", "targetValue")  # of Prometheus, CPU and others
        target = next((_amount(metadata[key]) for key in keys if key in metadata), None)
        yield ScalerMetric(name, "", type_, None, target, metric_unit(name, type_))


# -- HorizontalPodAutoscaler ------------------------------------------------------------------


def _read_hpa(hpa: Mapping[str, Any], scaled_object: Mapping[str, Any]) -> ScalerState:
    """An HPA; of one that KEDA keeps, `scaled_object` names the triggers."""
    metadata, spec, status = (as_mapping(hpa, key) for key in ("metadata", "spec", "status"))
    conditions = tuple(_conditions("HPA", status))
    name = _text(metadata.get("name"))
    low = as_int(spec.get("minReplicas"))
    metrics = tuple(_hpa_metrics(spec, status, scaled_object))
    problems = [
        one.text
        for one in conditions
        if one.type in ("AbleToScale", "ScalingActive")
        and one.status == "False"
        and one.reason != "ScalingDisabled"  # at zero replicas, from which KEDA scales
    ]
    if not conditions:
        problems.append("The HPA controller has not looked at it yet.")
    current, desired = (as_int(status.get(key)) for key in ("currentReplicas", "desiredReplicas"))
    return ScalerState(
        HPA_KIND,
        name,
        1 if low is None else low,
        as_int(spec.get("maxReplicas")),
        current if conditions else None,
        desired if conditions else None,
        metrics,
        conditions,
        hpa_name=name,
        last_scale=as_time(status.get("lastScaleTime")),
        problems=tuple(problems),
        reasons=() if problems else tuple(_hpa_reasons(spec, conditions, metrics)),
    )


def _hpa_reasons(
    spec: Mapping[str, Any],
    conditions: Sequence[ScalerCondition],
    metrics: Sequence[ScalerMetric],
) -> Iterator[str]:
    """Why it does not scale, or not as far as the metrics ask for."""
    by_type = {one.type: one for one in conditions}
    limited, able = by_type.get("ScalingLimited"), by_type.get("AbleToScale")
    if limited is not None and limited.status == "True":
        where = {
            "TooManyReplicas": "at Max Replicas",
            "TooFewReplicas": "at Min Replicas",
            "ScaleUpLimit": "as fast as its policies allow",
            "ScaleDownLimit": "as fast as its policies allow",
        }.get(limited.reason)
        yield f"{where} (ScalingLimited {limited.reason})" if where else limited.text
    if able is not None and able.reason in ("ScaleDownStabilized", "ScaleUpStabilized"):
        delay = "the Scale-in Delay" if "Down" in able.reason else "its stabilization window"
        yield f"waiting for {delay} ({able.reason}: {able.message})"
    if metrics and all(_is_tolerated(one, spec) for one in metrics):
        yield "within the tolerance of 10 % of its target"


def _is_tolerated(metric: ScalerMetric, spec: Mapping[str, Any]) -> bool:
    """Whether a metric is so near to its target that nothing is scaled; False where the HPA has a
    tolerance of its own, which its conditions do not tell."""
    behavior = as_mapping(spec, "behavior")
    if any("tolerance" in as_mapping(behavior, key) for key in ("scaleUp", "scaleDown")):
        return False
    return metric.share is not None and 1 - TOLERANCE <= metric.share <= 1 + TOLERANCE


_SOURCES: Mapping[str, str] = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
"""Type of a metric -> where it is described."""


def _hpa_metrics(
    spec: Mapping[str, Any], status: Mapping[str, Any], scaled_object: Mapping[str, Any]
) -> Iterator[ScalerMetric]:
    triggers = as_list(as_mapping(scaled_object, "spec").get("triggers"))
    health = as_mapping(scaled_object, "status", "health")
    current = {
        key: values
        for one in mappings(status.get("currentMetrics"))
        for key, values in [_source(one, "current")]
    }
    for one in mappings(spec.get("metrics")):
        key, target = _source(one, "target")
        metric = key[1]
        values = current.get(key, {})
        type_ = _metric_type(target.get("type")) or _type_of(target)
        name = _trigger_name(metric, triggers) or metric
        field = {
            MetricType.VALUE: "value",
            MetricType.AVERAGE_VALUE: "averageValue",
            MetricType.UTILIZATION: "averageUtilization",
        }.get(type_ or MetricType.VALUE, "value")
        yield ScalerMetric(
            name,
            metric,
            type_,
            _amount(values.get(field)),
            _amount(target.get(field)),
            metric_unit(name, type_),
            as_int(as_mapping(health.get(metric)).get("numberOfFailures")) or 0,
        )


def _source(metric: Mapping[str, Any], part: str) -> tuple[tuple[str, str], Mapping[str, Any]]:
    """What identifies a metric of an HPA, its type and name, and its target or current values."""
    type_ = as_str(metric.get("type"))
    source = as_mapping(metric, _SOURCES.get(type_, ""))
    name = _text(source.get("name")) or _text(as_mapping(source, "metric").get("name"))
    return (type_, name), as_mapping(source, part)


def _trigger_name(metric: str, triggers: Sequence[Any]) -> str:
    """The name of the trigger of "s0-prometheus", or its type; "" if there is none."""
    found = _INDEXED_NAME.fullmatch(metric)
    if found is None or int(found[1]) >= len(triggers):
        return ""
    trigger = as_mapping(triggers[int(found[1])])
    return _text(trigger.get("name")) or _text(trigger.get("type"))


def _type_of(values: Mapping[str, Any]) -> MetricType | None:
    """Of a target that does not name its type."""
    if "averageUtilization" in values:
        return MetricType.UTILIZATION
    if "averageValue" in values:
        return MetricType.AVERAGE_VALUE
    return MetricType.VALUE if "value" in values else None


def _metric_type(value: object) -> MetricType | None:
    return next((one for one in MetricType if one == value), None)


# -- texts and numbers ------------------------------------------------------------------------


def _conditions(source: str, status: Mapping[str, Any]) -> Iterator[ScalerCondition]:
    for one in mappings(status.get("conditions")):
        yield ScalerCondition(
            source,
            _text(one.get("type")),
            _text(one.get("status")),
            _text(one.get("reason")),
            _text(one.get("message")),
            as_time(one.get("lastTransitionTime")),
        )


def _is_true(condition: ScalerCondition | None) -> bool:
    return condition is not None and condition.status == "True"


def _text(value: object) -> str:
    return truncate(one_line(sanitize(as_str(value))), _MAX_TEXT)


def _amount(value: object) -> float | None:
    """The number of a quantity, "6200m"; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(parse_quantity(value))
    except (ValueError, OverflowError):
        return None
