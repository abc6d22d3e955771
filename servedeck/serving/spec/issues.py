"""Errors and warnings for a serving's settings, by field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    """Must be fixed: the cluster or the server would reject it."""
    WARNING = "warning"
    """May be intended; shown once, and the operator decides."""


@dataclass(frozen=True, slots=True)
class Issue:
    field: str
    """Dotted path of the field, "settings.tensor_parallel_size" or "env.2.name"."""
    message: str
    """One sentence: the problem and how to fix it."""
    severity: Severity = Severity.ERROR

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR


def error(field: str, message: str) -> Issue:
    return Issue(field, message)


def warning(field: str, message: str) -> Issue:
    return Issue(field, message, Severity.WARNING)


def errors(issues: Iterable[Issue]) -> list[Issue]:
    return [problem for problem in issues if problem.is_error]
