"""Errors of single fields, with the messages of kubernetes apimachinery
pkg/util/validation/field/errors.go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from servedeck.demo.api.status import StatusCause

Causes = Iterator[StatusCause]

NOT_NEGATIVE = "must be greater than or equal to 0"
_PORT_RANGE = "must be between 1 and 65535, inclusive"


def _format_value(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def invalid(field: str, value: Any, message: str) -> StatusCause:
    shown = _format_value(value)
    return StatusCause("FieldValueInvalid", f"Invalid value: {shown}: {message}", field)


def required(field: str, message: str = "") -> StatusCause:
    detail = f": {message}" if message else ""
    return StatusCause("FieldValueRequired", f"Required value{detail}", field)


def duplicate(field: str, value: Any) -> StatusCause:
    return StatusCause("FieldValueDuplicate", f"Duplicate value: {_format_value(value)}", field)


def field_not_found(field: str, value: Any) -> StatusCause:
    return StatusCause("FieldValueNotFound", f"Not found: {_format_value(value)}", field)


def forbidden(field: str, message: str) -> StatusCause:
    return StatusCause("FieldValueForbidden", f"Forbidden: {message}", field)


def unsupported(field: str, value: Any, known: tuple[str, ...]) -> StatusCause:
    listed = ", ".join(f'"{name}"' for name in known)
    message = f"Unsupported value: {_format_value(value)}: supported values: {listed}"
    return StatusCause("FieldValueNotSupported", message, field)


def not_negative(field: str, value: Any) -> Causes:
    if isinstance(value, int) and value < 0:
        yield invalid(field, value, NOT_NEGATIVE)


def port_number(field: str, value: Any) -> Causes:
    if not isinstance(value, int) or not 0 < value < 65536:
        yield invalid(field, value, _PORT_RANGE)
