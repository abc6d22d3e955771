"""The dialogs that turn the async queue of a serving on, or on again, and that change its limits:
the plan, the confirmation and the progress."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from servedeck.changes.async_queue.plan import AsyncQueuePlan, AsyncQueueResult
from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.async_limits import AsyncQueueSettings
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.ports.async_queue_service import AsyncQueueService, LimitValues
from tui.screens.plan_dialog import WAITING
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
        changes: LimitValues = (),
        seen: AsyncQueueSettings | None = None,
        context: str = "",
        warning: str = "",
    ) -> None:
        """`changes` are limits that are not to be as they are, `seen` those that they are a change
        of. `warning` is said with the plan; enter alone does not confirm it then."""
        super().__init__(context=context, warning=warning)
        self._key = key
        self._service = service
        self._changes = changes
        self._seen = seen
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

    @property
    def rest_sentence(self) -> str:
        """How to do the rest of what was left, "turn it on again for the rest"."""
        return "turn it on again for the rest"

    async def make_plan(self, *, force: bool) -> AsyncQueuePlan:
        return await self._service.plan_on(
            self._key, force=force, changes=self._changes, seen=self._seen
        )

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

    # -- the limits ---------------------------------------------------------------------------

    def in_footer(self, action: Action) -> bool:
        if action.name == "limits":
            return not self.disabled_reason(action)
        return super().in_footer(action)

    def disabled_reason(self, action: Action) -> str:
        if action.name != "limits":
            return super().disabled_reason(action)
        if self.is_writing:
            return f"{self.busy_sentence}."
        if self._plan is None:
            return WAITING
        # What was chosen can be corrected, whatever is wrong with it.
        return self._plan.blocked if self._plan.settings is None and not self._changes else ""

    def do_limits(self) -> None:
        """Show the fields of the limits; the plan is made again with what is typed."""
        self.start_worker(self._ask_limits(), "limits", busy_label="Reading the limits")

    async def _ask_limits(self) -> None:
        from tui.screens.async_queue_limits import LimitsForm

        try:
            current = await self._service.read_limits(self._key)
        except ClusterError as error:
            self.show_message(f"The limits cannot be read: {error}", "error", 20)
            return

        def closed(result: LimitValues | AsyncQueueResult | None) -> None:
            if isinstance(result, tuple):
                self._changes = result
                self._seen = current.settings if current is not None and result else None
                self._start_planning()

        self.app.push_screen(LimitsForm(self._key, current, self._changes), closed)

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
            text = f"It was left before its end; {self.rest_sentence}."
            self.dismiss(AsyncQueueResult(self._plan.options, Outcome.UNKNOWN, text))

    async def exit_blocker(self) -> str:
        if not self.is_writing or self._is_leaving:
            return ""
        self._is_leaving = True
        key = self.app_context.key_display_for("app.quit")
        return f"{self.busy_sentence}; press {key} again to leave the rest undone."

    def exit_notice(self) -> str:
        if not self.is_writing:
            return ""
        return f"{self.left_sentence}; {self.rest_sentence}."

    @property
    def left_sentence(self) -> str:
        """That it was left."""
        return f"Turning the async queue of {self._key} on was left before its end"


class AsyncQueueLimitsPlan(AsyncQueueOnDialog):
    """Changes the limits of a queue that is on."""

    @property
    def change_title(self) -> str:
        return f"Change the limits of the async queue of {self._key}"

    @property
    def confirm_label(self) -> str:
        return "Change limits"

    @property
    def busy_sentence(self) -> str:
        return "The limits are being changed"

    @property
    def wanting(self) -> str:
        return "the change needs"

    @property
    def rest_sentence(self) -> str:
        return "change the limits again for the rest"

    @property
    def left_sentence(self) -> str:
        return f"Changing the limits of the async queue of {self._key} was left before its end"

    def disabled_reason(self, action: Action) -> str:
        if action.name == "limits":
            return "Go back to change the limits."
        return super().disabled_reason(action)
