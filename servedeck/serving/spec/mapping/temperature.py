"""The temperature policy: an annotation of the Deployment, and a readiness gate of its Pods.

On without both it would do nothing: without the gate nobody asks for the condition, without the
annotation the controller sets it to True.
"""

from __future__ import annotations

from collections.abc import Callable

from servedeck.serving.spec.mapping.json_values import (
    as_mapping,
    as_str,
    child_list,
    child_mapping,
    mappings,
    set_or_remove,
)
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.temperature import (
    TEMPERATURE_ANNOTATION,
    TEMPERATURE_GATE,
    TemperaturePolicy,
    TemperaturePolicyError,
    parse_policy,
)

OFF = "off"
ON = "on"


def _policy(objects: ServingObjects) -> TemperaturePolicy | None:
    gates = mappings(objects.pod_spec.get("readinessGates"))
    if not any(one.get("conditionType") == TEMPERATURE_GATE for one in gates):
        return None
    text = as_str(as_mapping(objects.metadata, "annotations").get(TEMPERATURE_ANNOTATION))
    try:
        return parse_policy(text)
    except TemperaturePolicyError:
        return None


def _read(name: str) -> Callable[[ServingObjects], int | None]:
    def read(objects: ServingObjects) -> int | None:
        policy = _policy(objects)
        return None if policy is None else int(getattr(policy, name))

    return read


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    is_on = wanted.temperature_policy == ON
    metadata = child_mapping(objects.deployment, "metadata")
    annotations = child_mapping(metadata, "annotations")
    text = format_fields(wanted) if is_on else ""
    set_or_remove(annotations, TEMPERATURE_ANNOTATION, text)
    set_or_remove(metadata, "annotations", annotations)
    pod = objects.writable_pod_spec
    gates = child_list(pod, "readinessGates")
    others = [one for one in gates if as_mapping(one).get("conditionType") != TEMPERATURE_GATE]
    if is_on and len(others) == len(gates):
        gates.append({"conditionType": TEMPERATURE_GATE})
    elif not is_on:
        gates[:] = others
    set_or_remove(pod, "readinessGates", gates)


def format_fields(spec: SpecLike) -> str:
    """The annotation of the fields of a spec, also of invalid ones: they are shown as they are."""
    return (
        f"threshold={spec.temperature_threshold},recovery={spec.temperature_recovery},"
        f"seconds={spec.temperature_seconds}"
    )


TEMPERATURE = {
    "temperature_policy": FieldAccess(
        lambda objects: OFF if _policy(objects) is None else ON, _write
    ),
    "temperature_threshold": FieldAccess(_read("threshold"), _write),
    "temperature_recovery": FieldAccess(_read("recovery"), _write),
    "temperature_seconds": FieldAccess(_read("seconds"), _write),
}
"""By field."""
