"""The tab Settings: how the serving is run, scaled and reached, and what its autoscaler does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message

from servedeck.cluster.http.errors import ClusterError
from servedeck.detail.cards import Card, CardRow
from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.fleet.views import NamespacedName
from servedeck.metrics.period import PERIODS
from servedeck.serving.scaling.proposal import ScalingProposal
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.async_queue.settings_pane import QueueSettingsPane
from tui.deployment_watch import watch_deployment
from tui.ports.serving_source import SourceChanges
from widgets.card_lines import ItemKey
from widgets.card_view import Block, CardLine, CardView
from widgets.scaler_lines import scaler_event_lines, scaler_lines
from widgets.scaling_charts import ScalingCharts

if TYPE_CHECKING:
    from servedeck.detail.object_watch import LiveObject
    from servedeck.detail.settings_watch import ServingSettings, SettingsWatch
    from servedeck.serving.scaling.scaling_metrics import ScaledBy
    from tui.metrics.scaling_feed import ScalingFeed

CHARTS_BELOW_HEIGHT = 38
"""Lines of the pane from which the graphs are below the cards, too."""
CHARTS_HEIGHT = 12
MAX_EVENTS = 3
SCALER = "scaler"
"""First part of the key of what an autoscaler does; the second is its name."""


class SettingsPane(QueueSettingsPane):
    """The settings as cards; each opens the form at its field. Below them, or in their place, the
    graphs of the autoscaler."""

    TITLE = "Settings"
    SCOPE = "settings"
    MAX_VALUE_LINES = 3
    BINDINGS: ClassVar[list[BindingType]] = bindings("settings")

    @dataclass
    class WhatIfRequested(Message):
        """A replay of other settings of auto scaling was requested."""

        proposal: ScalingProposal

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._watch: DeploymentWatch | None = None
        self._settings_watch: SettingsWatch | None = None
        self._workload: LiveObject | None = None
        """The last one that was read: that of a deleted serving stays."""
        self._settings: ServingSettings | None = None
        self._api_groups: frozenset[str] | None = None
        self._cards: tuple[Card, ...] = ()
        self._cards_source: tuple[object, ...] = ()
        """What the cards were built from."""
        self._shows_graph = False
        """Whether the graphs are in the place of the cards."""
        self._feed: ScalingFeed | None = None
        self._followed: ScaledBy | None = None
        """What the feed follows."""
        self._reset_cursor = True

    def compose(self) -> ComposeResult:
        yield CardView()
        yield ScalingCharts(is_utf8=self.app_context.is_utf8)

    def on_mount(self) -> None:
        self.charts.display = False

    @property
    def charts(self) -> ScalingCharts:
        return self.query_one(ScalingCharts)

    def _now(self) -> datetime:
        return self.app_context.clock() if self.is_attached else datetime.now(UTC)

    @property
    def is_loading(self) -> bool:
        watch, others = self._watch, self._settings_watch
        if watch is None or others is None:
            return False
        return not (watch.is_settled and others.is_settled and others.scaler.is_settled)

    # -- start and end ------------------------------------------------------------------------

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._watch = self._settings_watch = self._workload = self._settings = None
        self._cards, self._cards_source = (), ()
        self._shows_graph = False
        self._reset_cursor = True

    def activate(self) -> None:
        super().activate()
        (self.charts if self._shows_graph else self.cards).focus()
        self._start_watches()
        self._discover()
        self.update_cards()

    def deactivate(self) -> None:
        super().deactivate()
        self.workers.cancel_group(self, "groups")
        self._stop_graph()

    def on_changes(self, changes: SourceChanges) -> None:
        if not changes.state_changed:
            return
        if self._watch is None:
            self._start_watches()
        if self._api_groups is None:
            self._discover()
        self.update_cards()

    def _start_watches(self) -> None:
        from servedeck.detail.settings_watch import SettingsWatch

        app = self.app_context
        self._watch = self.add_watch(watch_deployment(app, self.key, self._on_watch_changed))
        self._settings_watch = SettingsWatch(app.detail_service, self.key, self._on_watch_changed)
        self.add_watch(self._settings_watch)

    def _on_watch_changed(self) -> None:
        if self.is_active:
            self.update_cards()

    def _discover(self) -> None:
        if self.app_context.change_service is not None:
            self.start_worker(self._read_api_groups(), "groups")

    async def _read_api_groups(self) -> None:
        """What the cluster has, where kinds that may not be listed do not tell."""
        service = self.app_context.change_service
        if service is None:
            return
        try:
            self._api_groups = await service.discover_api_groups()
        except ClusterError:
            return  # the header says it; it is read again when the connection is back
        self._on_watch_changed()

    # -- what is shown ------------------------------------------------------------------------

    def update_cards(self) -> None:
        watch, others = self._watch, self._settings_watch
        if not self.is_active or watch is None or others is None:
            return
        if watch.deployment is not None:
            self._workload = watch.deployment
        now = self._now()
        if self._workload is not None:
            self._settings = others.read(self._workload, self._api_groups)
        blocks = [Block(card.key, self._builder(card, now)) for card in self._current_cards(now)]
        self.cards.set_blocks(blocks, reset=self._reset_cursor)
        self._reset_cursor = False
        self._update_graph(now)
        self.post_message(self.ActionsChanged())

    def _current_cards(self, now: datetime) -> tuple[Card, ...]:
        from servedeck.detail.settings_cards import settings_cards

        settings = self._settings
        if settings is None:
            missing = self._watch.missing_permission if self._watch is not None else ""
            text = "" if missing else "Reading the settings."
            rows = (CardRow("permission", "Settings", missing, style_name="warning"),)
            return (Card("settings", "Settings", rows if missing else (), text),)
        hints = self.queue_hints()
        source = (id(settings), settings.has_controller(now), hints)
        if source != self._cards_source:
            self._cards_source = source
            self._cards = settings_cards(settings, now, hints)
        return self._cards

    def _builder(self, card: Card, now: datetime) -> Callable[[int], list[CardLine]]:
        build_card = self.card_builder(card, now)
        if card.key != "scaling":
            return build_card
        return lambda width: [*build_card(width)[:-1], *self._scaler_lines(width, now), CardLine()]

    def _scaler_lines(self, width: int, now: datetime) -> list[CardLine]:
        """What the autoscaler does now, and its newest Events."""
        watch = self._settings_watch
        if watch is None:
            return []
        room, is_utf8 = max(width - 2, 1), self.app_context.is_utf8
        lines: list[CardLine] = []
        for state in watch.scaler.states:
            item = (SCALER, state.name)
            found = scaler_lines(state, room, now, is_utf8=is_utf8)
            lines += [CardLine((("  ", ""), *line), item) for line in found]
        events = watch.scaler.events if lines else ()
        found = scaler_event_lines(events, room, now, MAX_EVENTS)
        return [*lines, *(CardLine((("  ", ""), *line)) for line in found)]

    def on_resize(self) -> None:
        self.call_after_refresh(self.update_cards)

    def update_ages(self) -> None:
        self.update_cards()

    # -- the graphs ---------------------------------------------------------------------------

    @property
    def _scaled_by(self) -> ScaledBy | None:
        from tui.scaling_flow import scaled_by

        return scaled_by(self._settings.imported.spec) if self._settings is not None else None

    def _update_graph(self, now: datetime) -> None:
        """Show the graphs where there is room, or in the place of the cards."""
        by, charts = self._scaled_by, self.charts
        if by is None:
            self._shows_graph = False
        is_below = by is not None and self.size.height >= CHARTS_BELOW_HEIGHT
        charts.display = self._shows_graph or is_below
        if self.cards.display is self._shows_graph:
            self.cards.display = not self._shows_graph
            self._focus_shown()
        charts.styles.height = "1fr" if self._shows_graph else CHARTS_HEIGHT
        if by is None or not charts.display:
            self._stop_graph()
            return
        if by is not self._followed:
            self._follow_graph(by)
        self._show_graph(by, now)

    def _focus_shown(self) -> None:
        """Focus the cards, or the graphs in their place: without a focus no key reaches the
        pane."""
        self.charts.can_focus = self._shows_graph
        self.screen.set_focus(self.charts if self._shows_graph else self.cards)

    def _follow_graph(self, by: ScaledBy) -> None:
        from tui.metrics.scaling_feed import ScalingFeed

        self._stop_graph()
        self._followed = by
        app = self.app_context
        if (service := app.metrics_service) is not None:
            self._feed = ScalingFeed(service, self.key, self._on_history, app.clock)
            self.add_watch(self._feed)
            self.start_worker(self._feed.follow(by, PERIODS[0]), "graph")

    def _stop_graph(self) -> None:
        self.workers.cancel_group(self, "graph")
        self.close_watch(self._feed)
        self._feed = self._followed = None

    def _on_history(self) -> None:
        if self.is_active and self._followed is not None:
            self._show_graph(self._followed, self._now())

    def _show_graph(self, by: ScaledBy, now: datetime) -> None:
        from tui.metrics.scaling_feed import feed_charts
        from tui.scaling_flow import make_proposal

        if self._settings is None:
            return
        proposal = make_proposal(self._settings.imported.spec)
        self.charts.show(
            *feed_charts(self._feed, by, proposal.target, proposal.max_replicas, now.timestamp())
        )

    def do_graph(self) -> None:
        self._shows_graph = not self._shows_graph
        self.update_cards()

    def go_back(self) -> bool:
        if self._shows_graph:
            self.do_graph()
            return True
        return False

    # -- the cursor ---------------------------------------------------------------------------

    @property
    def selected_row(self) -> tuple[ItemKey, CardRow] | None:
        match self.cards.cursor_key:
            case (str() as card_key, str() as row_key):
                rows = next((card.rows for card in self._cards if card.key == card_key), ())
                row = next((row for row in rows if row.key == row_key), None)
                return ((card_key, row_key), row) if row is not None else None
        return None

    @property
    def edited_field(self) -> str:
        from servedeck.detail.settings_cards import edited_path

        match self.cards.cursor_key:
            case ("scaler", _):
                return "min_replicas"
            case (str() as card_key, str() as row_key):
                path = edited_path(card_key, row_key)
                is_scaled = self._settings is not None and self._settings.imported.objects.scalers
                return "min_replicas" if path == "replicas" and is_scaled else path
        return ""

    def on_card_view_highlighted(self) -> None:
        self.post_message(self.ActionsChanged())

    async def on_card_view_item_clicked(self, message: CardView.ItemClicked) -> None:
        message.stop()
        if message.is_double_click:
            await self.action_do("settings.open")

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        match action.name:
            case "open" if self.cards.cursor_key is None or self._shows_graph:
                return "There is nothing under the cursor."
            case "copy" if self.copyable_text() is None:
                return "There is no value under the cursor."
            case "reveal":
                return self.reveal_disabled_reason()
            case "what_if" | "graph" if self._settings is None:
                return "The settings are not read yet."
            case "what_if" if self.app_context.metrics_service is None:
                return "Not connected to a cluster."
            case "what_if" if self._settings is not None:
                from tui.scaling_flow import replay_disabled_reason

                return replay_disabled_reason(self._settings.imported.spec)
            case "graph" if self._scaled_by is None:
                return "There is a graph only while servedeck's auto scaling is on."
            case "turn_on" | "limits":
                return self.queue_disabled_reason(action.name)
        return ""

    async def do_open(self) -> None:
        """Change what is under the cursor, where that is done."""
        from servedeck.detail.settings_cards import QUEUE_ROW, SPLIT_ROW

        match self.cards.cursor_key:
            case ("traffic", row) if row == QUEUE_ROW:
                await self.open_queue()
            case ("traffic", row) if str(row).startswith(SPLIT_ROW):
                await self.action_do("serving.traffic")
            case ("queue", _):
                await self.action_do("settings.limits")
            case _:
                await self.action_do("serving.edit")

    def do_what_if(self) -> None:
        from tui.scaling_flow import make_proposal

        if self._settings is not None:
            proposal = make_proposal(self._settings.imported.spec)
            self.post_message(self.WhatIfRequested(proposal))

    def request_yaml(self) -> None:
        """That of the autoscaler or the policy, where its setting is under the cursor."""
        objects = self._settings.imported.objects if self._settings is not None else None
        match self.cards.cursor_key:
            case (card, _) if objects and objects.scalers and card in ("scaling", SCALER):
                scaler = objects.scalers[0]
                self.post_message(
                    self.YamlRequested(str(scaler["kind"]), str(scaler["metadata"]["name"]))
                )
            case _:
                super().request_yaml()
