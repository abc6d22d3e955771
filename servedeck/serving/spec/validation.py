"""Validate a serving's fields, alone and in combination, without the cluster."""

from __future__ import annotations

from servedeck.serving.spec.issues import Issue
from servedeck.serving.spec.spec import FIELDS, ServingSpec


def validate(spec: ServingSpec) -> list[Issue]:
    """All errors and warnings, in the order of the form's fields."""
    return [issue for field in FIELDS.values() for issue in field.validate(spec)]
