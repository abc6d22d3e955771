"""The dialog of an adoption: an operation of which two parts can be chosen."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from servedeck.changes.operations.adoption import Adoption
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.screens.operation_dialog import OperationDialog


class AdoptionDialog(OperationDialog):
    """Its operations are adoptions, which all create the same."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("adoption")

    def scopes(self) -> tuple[str, ...]:
        return ("adoption", *super().scopes())

    @property
    def _adoption(self) -> Adoption:
        operation = self._operations.targets[0].operation
        assert isinstance(operation, Adoption)
        return operation

    def label_for(self, action: Action) -> str:
        if action.scope != "adoption":
            return super().label_for(action)
        is_created = getattr(self._adoption, action.name)
        return f"{'no' if is_created else 'with'} {action.label}"

    def in_footer(self, action: Action) -> bool:
        if action.scope == "adoption":
            return not self._choice_disabled_reason(action)
        return super().in_footer(action)

    def disabled_reason(self, action: Action) -> str:
        if action.scope == "adoption":
            return self._choice_disabled_reason(action)
        return super().disabled_reason(action)

    def _choice_disabled_reason(self, action: Action) -> str:
        if self._finished or self._operations.is_writing:
            return "The request was sent: what it creates cannot be chosen any more."
        is_service = action.name == "service" and self._adoption.service
        if is_service and not self._operations.is_planning and not self._creates_service:
            return "It creates no Service."
        return ""

    @property
    def _creates_service(self) -> bool:
        """Whether one of the adoptions creates a Service, or may be rejected because of it."""
        plans = [one.plan for one in self._operations.targets]
        return any(
            plan is None
            or plan.blocked
            or any(one.manifest.get("kind") == "Service" for one in plan.creations)
            for plan in plans
        )

    def do_service(self) -> None:
        self._choose(service=not self._adoption.service, route=self._adoption.route)

    def do_route(self) -> None:
        self._choose(service=self._adoption.service, route=not self._adoption.route)

    def _choose(self, *, service: bool, route: bool) -> None:
        """Plan for what is to be created now."""
        if self._plan_worker is not None:
            self._plan_worker.cancel()  # it was for another choice
        self._operations.set_adoption(service=service, route=route)
        self._start_planning()
