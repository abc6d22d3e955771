"""From a serving to a second revision of it, and back: the create form with its settings, and its
edit form with those of the second revision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import one_line, sanitize
from tui.operation_flow import OperationFlow
from tui.screens.create.flow import CreateFlow
from tui.screens.edit.edit_flow import EditFlow

if TYPE_CHECKING:
    from tui.ports.traffic_service import TrafficService
    from tui.screens.base import ActionScreen

_MESSAGE_SECONDS = 20


class RevisionFlow:
    """Opens the forms over a screen, and shows their results there."""

    def __init__(
        self,
        screen: ActionScreen[Any],
        key: NamespacedName,
        service: TrafficService,
        *,
        on_created: Callable[[NamespacedName], None] = lambda key: None,
    ) -> None:
        """`key` is the serving of the endpoint. `on_created` is called with a second revision."""
        self._screen = screen
        self._key = key
        self._service = service
        self._create_flow = CreateFlow(
            screen, shown_namespace=lambda: key.namespace, on_created=on_created
        )
        self._edit_flow = EditFlow(screen, OperationFlow(screen))

    def start_disabled_reason(self) -> str:
        """Why no second revision can be created, in a sentence; "" if it can, as far as known."""
        return self._create_flow.disabled_reason()

    def finish_disabled_reason(self) -> str:
        """Why the serving cannot be edited, in a sentence; "" if it can, as far as known."""
        return self._edit_flow.disabled_reason(
            self._screen.app_context.source.fleet.view(self._key)
        )

    def start(self, number: int = 0) -> None:
        """Open the form of a second revision; `number` is the revision of the Deployment whose Pods
        it has, 0 for the current one."""
        work = self._create_flow.create_revision(
            self._key, lambda: self._service.start_revision(self._key, number)
        )
        self._screen.start_worker(work, "revision", busy_label=f"Reading {self._key}")

    def finish(self) -> None:
        """Open the form of the serving, with the settings of its second revision as unsaved
        changes."""
        work = self._finish()
        self._screen.start_worker(work, "revision", busy_label=f"Reading {self._key}")

    async def _finish(self) -> None:
        app = self._screen.app_context
        view, change_service = app.source.fleet.view(self._key), app.change_service
        if view is None or change_service is None:
            return
        try:
            takeover = await self._service.start_takeover(self._key)
            read = await change_service.import_serving(self._key)
        except ClusterError as error:
            self._screen.show_message(str(error), "error", _MESSAGE_SECONDS)
            return
        if not takeover.differences:
            name = one_line(sanitize(self._key.name))
            self._screen.show_message(f"{name} has the settings of {takeover.other} already.")
            return
        # It may have been changed between the two readings.
        wanted = takeover.merged_with(read.spec)
        if wanted.template != read.spec.template:
            self._screen.show_message(
                f"{takeover.other} has another template, which the form cannot change; use "
                f"servedeck traffic {self._key} finish.",
                "warning",
                _MESSAGE_SECONDS,
            )
            return
        sentence, warning = takeover.safe_sentence, takeover.base_warning
        # The form shows the message line of its own.
        await self._edit_flow.start_with(
            view,
            read,
            wanted,
            takeover.edit.conflicts,
            find_obstacle=lambda: self._service.find_takeover_obstacle(self._key, takeover.other),
            on_shown=lambda: self._screen.app.call_after_refresh(
                self._say, warning or sentence, "warning" if warning else "accent"
            ),
        )

    def _say(self, sentence: str, style_name: str) -> None:
        from tui.screens.edit.edit_screen import EditScreen

        screen = self._screen.app.screen
        if isinstance(screen, EditScreen):
            screen.show_message(sentence, style_name, _MESSAGE_SECONDS)
