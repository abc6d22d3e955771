"""Validate a serving's fields, alone and in combination, without the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from servedeck.serving.spec import load_balancing, scaling
from servedeck.serving.spec.issues import Issue, error, errors
from servedeck.serving.spec.load_balancing import LOAD_BALANCING_FIELDS
from servedeck.serving.spec.mapping.volumes import OtherMounts
from servedeck.serving.spec.rules import validate_other_mounts
from servedeck.serving.spec.scaling import SCALING_FIELDS
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.spec.temperature_policy import TEMPERATURE_FIELDS
from servedeck.serving.spec.templates.base import to_camel_case


def validate(spec: ServingSpec) -> list[Issue]:
    """All errors and warnings of a new serving, in the order of the form's fields. An inference
    port that is left open gets its default."""
    found = validate_existing(spec.replace(inference_port=spec.port), OtherMounts())
    return [*found, *scaling.validate_new(spec), *load_balancing.validate_new(spec)]


def validate_existing(spec: ServingSpec, mounts: OtherMounts) -> list[Issue]:
    """All errors and warnings of an existing serving that has these mounts beside its volumes; of a
    field with an error no warnings. An inference port that is None is unknown."""
    mounted = list(validate_other_mounts(spec, mounts))
    found: list[Issue] = []
    for name, field in FIELDS.items():
        found += field.validate(spec)
        wrong = {one.field for one in errors(found)}
        found += [
            one for one in mounted if one.field.partition(".")[0] == name and one.field not in wrong
        ]
    found += _validate_groups(spec)
    wrong = {one.field for one in errors(found)}
    return [one for one in found if one.is_error or one.field not in wrong]


def _validate_groups(spec: ServingSpec) -> Iterator[Issue]:
    """A part of a setting that was given without whether the setting is on: off by default, it
    would be turned off."""
    for first, *others in (SCALING_FIELDS, LOAD_BALANCING_FIELDS, TEMPERATURE_FIELDS):
        given = spec.model_fields_set
        for name in others if first not in given else ():
            if name in given:
                yield error(
                    name, f"This needs {to_camel_case(first)} beside it; add it, or remove this."
                )
