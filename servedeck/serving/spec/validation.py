"""Validate a serving's fields, alone and in combination, without the cluster."""

from __future__ import annotations

from servedeck.serving.spec.issues import Issue
from servedeck.serving.spec.spec import FIELDS, ServingSpec


def validate(spec: ServingSpec) -> list[Issue]:
    """All errors and warnings of a new serving, in the order of the form's fields. An inference
    port that is left open gets its default."""
    return validate_existing(spec.replace(inference_port=spec.port))


def validate_existing(spec: ServingSpec) -> list[Issue]:
    """All errors and warnings of an existing serving. An inference port that is None is unknown."""
    return [issue for field in FIELDS.values() for issue in field.validate(spec)]
