"""What the tab Settings does with the async queue of the serving: turning it on, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from tui.action_tables.action import Action
from tui.async_queue.change_reason import refresh_permissions, turn_on_disabled_reason
from tui.panes.cards_pane import CardsPane

if TYPE_CHECKING:
    from servedeck.detail.settings_cards import KeyHints
    from servedeck.detail.settings_watch import ServingSettings


class QueueSettingsPane(CardsPane):
    """A pane with the settings of a serving. A subclass shows them."""

    class QueueRequested(Message):
        """Turning the async queue on was requested."""

    @dataclass
    class LimitsRequested(Message):
        """The form with the limits of the async queue was requested."""

        focused: str
        """Name of the limit under the cursor; "" for none."""

    _settings: ServingSettings | None = None
    """What is shown."""

    @property
    def has_queue(self) -> bool:
        """Whether the async queue is on."""
        return self._settings is not None and self._settings.gateway is not None

    def activate(self) -> None:
        super().activate()
        self.start_worker(self._refresh_permissions(), "queue permissions")

    async def _refresh_permissions(self) -> None:
        await refresh_permissions(self.app_context, self.key)
        self.post_message(self.ActionsChanged())

    def queue_hints(self) -> KeyHints:
        """The keys that its row names, and that of the traffic split."""
        from servedeck.detail.settings_cards import KeyHints

        app, view = self.app_context, self.view
        key, service = app.key_display_for, app.async_queue_service
        split = key("serving.traffic")
        denied = service.disabled_reason(self.key) if service is not None else ""
        if app.readonly or denied or (view is not None and view.readonly_reason):
            return KeyHints(split=split)
        return KeyHints(key("settings.turn_on"), split, key("settings.limits"))

    def in_footer(self, action: Action) -> bool:
        if action.name in ("turn_on", "limits"):
            return self.has_queue == (action.name == "limits")
        return super().in_footer(action)

    def queue_disabled_reason(self, action_name: str = "turn_on") -> str:
        """Why it cannot be turned on, or its limits not be changed, in a sentence; "" if that can
        be done."""
        if action_name == "limits" and not self.has_queue:
            key = self.app_context.key_display_for("settings.turn_on")
            return f"The async queue is off; {key} turns it on."
        if (view := self.view) is None:
            return "The serving was deleted."
        return view.readonly_reason or turn_on_disabled_reason(self.app_context, self.key)

    async def open_queue(self) -> None:
        """Turn it on, or change its limits."""
        await self.action_do(f"settings.{'limits' if self.has_queue else 'turn_on'}")

    def do_turn_on(self) -> None:
        self.post_message(self.QueueRequested())

    def do_limits(self) -> None:
        match self.cards.cursor_key:
            case ("queue", str() as row):
                self.post_message(self.LimitsRequested(row))
            case _:
                self.post_message(self.LimitsRequested(""))
