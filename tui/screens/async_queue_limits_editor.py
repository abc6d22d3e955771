"""The form that changes the limits of an async queue that is on."""

from __future__ import annotations

from collections.abc import Callable

from servedeck.changes.async_queue.plan import AsyncQueueResult
from servedeck.changes.async_queue.state import CurrentLimits
from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.async_limits import LIMITS, AsyncQueueSettings, value_of
from tui.ports.async_queue_service import AsyncQueueService, LimitValues
from tui.screens.async_queue_limits import LimitsForm
from tui.screens.async_queue_on import AsyncQueueLimitsPlan


class LimitsEditor(LimitsForm):
    """Changes the limits of a queue that is on: its result is that of the change, None if nothing
    was done. What was typed is there again after a plan that was not carried out."""

    def __init__(
        self,
        key: NamespacedName,
        current: CurrentLimits,
        service: AsyncQueueService,
        *,
        focused: str = "",
        context: str = "",
        warning: str = "",
        on_planned: Callable[[LimitValues, AsyncQueueSettings], None] = lambda changes, seen: None,
    ) -> None:
        """`warning` is said with the plan. `on_planned` is called with what is planned, and the
        limits that it is a change of."""
        super().__init__(key, current, focused=focused)
        self._service = service
        self._context_name, self._warning = context, warning
        self._on_planned = on_planned

    @property
    def save_label(self) -> str:
        return "plan"

    def use(self, changes: LimitValues) -> None:
        if not changes:
            self.show_message("Nothing differs from the present limits.")
            return
        self.show_notice("")
        self._on_planned(changes, self._base)
        plan = AsyncQueueLimitsPlan(
            self._key,
            self._service,
            changes=changes,
            seen=self._base,
            context=self._context_name,
            warning=self._warning,
        )

        def closed(result: AsyncQueueResult | None) -> None:
            if result is not None and result.outcome is Outcome.DONE:
                self.dismiss(result)
            elif self.is_attached:
                message = result.message if result is not None else ""
                self.start_worker(self._take_present(message), "limits")

        self.app.push_screen(plan, closed)

    async def _take_present(self, message: str) -> None:
        """The plan was left: show what is set by now; what was typed stays."""
        if message:
            self.show_notice(message)
        try:
            current = await self._service.read_limits(self._key)
        except ClusterError as error:
            self.show_notice(f"{message} What is set now is not known: {error}".lstrip())
            return
        if current is None:
            self.show_notice("The async queue was turned off meanwhile.")
            return
        others: list[str] = []
        self._current = current
        for name, limit in LIMITS.items():
            shown = limit.format(value_of(current.settings, name))
            if shown == self._shown[name]:
                continue
            others.append(f"{limit.label} is {shown} now, not {self._shown[name]}")
            field = self.field(name)
            is_typed = field.text.strip() != self._shown[name]
            self._shown[name] = shown
            if not is_typed:
                field.show_text(shown)
        self._read()
        self._show_note()
        if others and not message:
            self.show_notice(f"Changed meanwhile: {', '.join(others)}. What you typed is kept.")
