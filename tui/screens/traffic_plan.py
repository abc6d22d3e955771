"""The dialog that shows what a change of a traffic split does, asks, and does it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.binding import BindingType

from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split.execution import describe_action
from servedeck.changes.traffic_split.plan import (
    TrafficAction,
    TrafficOptions,
    TrafficPlan,
    TrafficResult,
)
from tui.actions import bindings
from tui.ports.traffic_service import TrafficService
from tui.screens.planned_change import PlannedChangeDialog

_LABELS = {
    TrafficAction.SPLIT: "Set weight",
    TrafficAction.PROMOTE: "Promote",
    TrafficAction.ABORT: "Abort split",
}


class TrafficPlanDialog(PlannedChangeDialog[TrafficPlan, TrafficResult]):
    """Its result is that of the change, None if nothing was done."""

    SCOPE = "traffic_plan"
    BINDINGS: ClassVar[list[BindingType]] = bindings("traffic_plan")

    def __init__(
        self,
        options: TrafficOptions,
        service: TrafficService,
        *,
        other: str = "",
        context: str = "",
        warning: str = "",
    ) -> None:
        """`other` is the name of the other serving, sanitized; `warning` is said with the plan."""
        super().__init__(context=context, warning=warning)
        self._options = options
        self._service = service
        self._other = other

    @property
    def change_title(self) -> str:
        return describe_action(self._options, self._other)

    @property
    def confirm_label(self) -> str:
        return _LABELS[self._options.action]

    @property
    def busy_sentence(self) -> str:
        return "The route is being changed"

    @property
    def wanting(self) -> str:
        return "the weight needs"

    async def make_plan(self, *, force: bool) -> TrafficPlan:
        plan = await self._service.plan(replace(self._options, force=force))
        if self.is_attached and plan.other_name not in ("", self._other):
            # The title names what would be changed now.
            self._other = plan.other_name
            self.adapt_to_size(self.app.size)
        return plan

    async def run_plan(self, plan: TrafficPlan) -> TrafficResult:
        return await self._service.run(plan)

    def failed_result(self, plan: TrafficPlan, message: str) -> TrafficResult:
        return TrafficResult(plan.options, Outcome.REJECTED, message)

    async def exit_blocker(self) -> str:
        if not self.is_writing or self.quits:
            return ""
        self.quits = True
        key = self.app_context.key_display_for("app.quit")
        return f"{self.busy_sentence}: it is finished first; press {key} again to quit at once."

    def exit_notice(self) -> str:
        if not self.is_writing:
            return ""
        unknown = f"Whether the traffic of {self._options.target} was changed is not known."
        return self.write_log.notice(self.change_title, unknown)
