"""The dialog that turns the async queue of a serving on, or on again: the plan, the confirmation
and the progress."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from servedeck.changes.async_queue.plan import AsyncQueuePlan, AsyncQueueResult
from servedeck.changes.operations.operation import Outcome
from servedeck.fleet.views import NamespacedName
from tui.actions import bindings
from tui.ports.async_queue_service import AsyncQueueService
from tui.screens.planned_change import PlannedChangeDialog


class AsyncQueueOnDialog(PlannedChangeDialog[AsyncQueuePlan, AsyncQueueResult]):
    """Its result is that of turning it on, None if nothing was done."""

    SCOPE = "queue_on"
    BINDINGS: ClassVar[list[BindingType]] = bindings("queue_on")

    def __init__(
        self,
        key: NamespacedName,
        service: AsyncQueueService,
        *,
        context: str = "",
        warning: str = "",
    ) -> None:
        """`warning` is said with the plan; enter alone does not confirm it then."""
        super().__init__(context=context, warning=warning)
        self._key = key
        self._service = service
        self._is_leaving = False
        """Whether esc was pressed once while it is turned on."""

    @property
    def change_title(self) -> str:
        return f"Turn the async queue of {self._key} on"

    @property
    def confirm_label(self) -> str:
        return "Turn on"

    @property
    def busy_sentence(self) -> str:
        return "It is being turned on"

    @property
    def wanting(self) -> str:
        return "the async queue needs"

    async def make_plan(self, *, force: bool) -> AsyncQueuePlan:
        return await self._service.plan_on(self._key, force=force)

    async def run_plan(self, plan: AsyncQueuePlan) -> AsyncQueueResult:
        return await self._service.run_on(plan, self.show_progress)

    async def look_again(self, result: AsyncQueueResult) -> AsyncQueueResult:
        return await self._service.look_again(result)

    def failed_result(self, plan: AsyncQueuePlan, message: str) -> AsyncQueueResult:
        return AsyncQueueResult(plan.options, Outcome.REJECTED, message)

    def do_confirm(self) -> None:
        if self.confirms:
            self._is_leaving = False
        super().do_confirm()

    def do_close(self) -> None:
        worker = self._run_worker
        if worker is None:
            self.dismiss(self.last_result)
        elif not self._is_leaving:
            self._is_leaving = True
            self.show_message(
                "What was sent cannot be taken back; press esc again to leave the rest undone.",
                "warning",
            )
        else:
            worker.cancel()
            assert self._plan is not None
            text = "It was left before its end; turn it on again for the rest."
            self.dismiss(AsyncQueueResult(self._plan.options, Outcome.UNKNOWN, text))

    async def exit_blocker(self) -> str:
        if not self.is_writing or self._is_leaving:
            return ""
        self._is_leaving = True
        key = self.app_context.key_display_for("app.quit")
        return f"The async queue is being turned on; press {key} again to leave the rest undone."

    def exit_notice(self) -> str:
        if not self.is_writing:
            return ""
        return (
            f"Turning the async queue of {self._key} on was left before its end; turn it on again "
            "for the rest."
        )
