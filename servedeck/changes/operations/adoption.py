"""Adopting the Deployment of another tool, and taking that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from servedeck.changes.operations.operation import Operation, OperationKind

if TYPE_CHECKING:
    from servedeck.serving.spec.mapping.json_values import JsonObject


@dataclass(frozen=True, slots=True)
class Adoption(Operation):
    """Add servedeck's label to a Deployment, and create what requests need to reach its Pods."""

    service: bool = True
    """Whether a Service is created if none leads to the Pods."""
    route: bool = False
    """Whether a route is created if none leads to the Pods: it opens them to the outside."""

    @classmethod
    def make(
        cls, namespace: str, name: str, *, service: bool = True, route: bool = False
    ) -> Adoption:
        return cls(OperationKind.ADOPT, namespace, name, service=service, route=route)


@dataclass(frozen=True, slots=True)
class Release(Operation):
    """Take an adoption back: remove its label, and what it created, if that is unchanged."""

    label: str = ""
    """Value of the label that it added; "" if the label was there before."""
    created: tuple[JsonObject, ...] = field(default=(), hash=False)
    """What it created, as the API server returned it."""


def with_created(undo: Operation | None, created: Sequence[JsonObject]) -> Operation | None:
    """The operation that takes an adoption back, once it is known what the adoption created; any
    other operation as it is."""
    return replace(undo, created=tuple(created)) if isinstance(undo, Release) else undo
