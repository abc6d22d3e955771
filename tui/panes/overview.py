"""The tab Overview: why the serving is in its status, its Pods, and its settings, as cards."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.detail.cards import Card, CardRow
from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.fleet.views import NamespacedName, PodView, ServingView
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.status.timeline import StatusStart, TimelineEntry, since_text
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.deployment_watch import watch_deployment
from tui.log_permission import LogPermission
from tui.panes.cards_pane import CardsPane
from tui.ports.serving_source import SourceChanges
from tui.status_details import StatusDetails, recovery_text
from tui.timeline_entries import status_start, timeline_entries
from widgets.card_lines import ItemKey, card_lines
from widgets.card_view import SIDE_MARGIN, Block, CardLine, CardView
from widgets.pod_rows import (
    POD_COLUMNS,
    PodRows,
    hidden_pod_columns,
    pod_card_lines,
    select_card_pods,
)
from widgets.status_paragraphs import COMPACT_TAIL_LINES, log_tail_paragraphs
from widgets.styled_line import Line, align_left_right
from widgets.table import KeyedTable
from widgets.text_view import wrap_paragraphs
from widgets.timeline_strip import status_strip

if TYPE_CHECKING:
    from servedeck.detail.object_watch import LiveObject

TALL_SCREEN_HEIGHT = 40
"""Lines of the pane from which all read lines of a crashed container are shown."""
SHORT_TAIL_LINES = 3
"""Number of those lines on a small screen, so that the first Pods are visible."""
STRIP_LABEL = "  Timeline       "
TIMELINE_SECONDS = 0.9
"""Minimum seconds between two timelines because of changed Pods, as a timeline is made of all Pods.
Less than the time between two updates of the ages, which show what had to wait."""
EDIT_BUTTON = "[ Edit ]"
MIN_BUTTON_WIDTH = 24
"""Cells of the cards from which there is room for the button beside the title."""
POD_CARD = "pod"
"""First part of the key of a Pod's line; the second is its uid."""


class OverviewPane(CardsPane):
    """The cards of a serving; the Pods also at full size."""

    TITLE = "Overview"
    SCOPE = "overview"
    BINDINGS: ClassVar[list[BindingType]] = bindings("overview")
    table = query_one("#pods", KeyedTable)

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._details = StatusDetails(
            lambda: self.app_context,
            start_worker=self.start_worker,
            set_timer=self.set_timer,
            on_change=self.update_cards,
        )
        self._log_permission = LogPermission(self, lambda: self.post_message(self.ActionsChanged()))
        self._last_view: ServingView | None = None
        """What is shown: the last state of a deleted serving stays."""
        self._watch: DeploymentWatch | None = None
        self._timeline: tuple[TimelineEntry, ...] = ()
        self._status_start: StatusStart | None = None
        self._timeline_view: ServingView | None = None
        """The view that the timeline was derived from."""
        self._timeline_due_at = 0.0
        self._strip: tuple[tuple[object, ...], Line] | None = None
        """The strip of the timeline, with what it was built from."""
        self._workload: LiveObject | None = None
        """The last one that was read."""
        self._status_rows: tuple[CardRow, ...] = ()
        self._edit_button = range(0)
        """Cells of the first line that the button has."""
        self._setting_cards: tuple[Card, ...] = ()
        self._cards_source: tuple[ServingView, LiveObject | None] | None = None
        """What the setting cards were built from."""
        self._shown_state: tuple[object, ...] | None = None
        """What the cards were updated from the last time; None while the table is shown."""
        self._pod_rows = PodRows()
        self._shows_table = False
        self._reset_cursor = True

    def compose(self) -> ComposeResult:
        yield CardView()
        yield KeyedTable(POD_COLUMNS, format_age=format_signed_duration, clock=self._now, id="pods")

    def on_mount(self) -> None:
        self.table.display = False

    def _now(self) -> datetime:
        return self.app_context.clock() if self.is_attached else datetime.now(UTC)

    @property
    def is_loading(self) -> bool:
        """Whether the settings are still to be read."""
        watch = self._watch
        return watch is not None and watch.deployment is None and not watch.is_settled

    # -- start and end ------------------------------------------------------------------------

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._last_view = self._workload = self._watch = None
        self._timeline, self._status_start, self._timeline_view = (), None, None
        self._reset_cursor = True
        if self.is_attached:
            self.table.set_rows([])
            self.table.reset_cursor()

    def reset(self) -> None:
        super().reset()
        self._show_table(False)

    def activate(self) -> None:
        super().activate()
        (self.table if self._shows_table else self.cards).focus()
        self._open_watch()
        self._shown_state = None
        self._refresh()

    def deactivate(self) -> None:
        super().deactivate()
        self._details.stop()
        self.workers.cancel_group(self, "tail")

    def on_changes(self, changes: SourceChanges) -> None:
        if self.key in changes.keys:
            self._refresh()

    def _open_watch(self) -> None:
        self._watch = self.add_watch(
            watch_deployment(self.app_context, self.key, self._on_workload_changed)
        )

    def _on_workload_changed(self) -> None:
        if self.is_active:
            self._update_timeline()
            self.update_cards()

    def _refresh(self) -> None:
        """The serving has changed, or another one is shown."""
        if (view := self.view) is not None:
            self._last_view = view
            self._details.update(view)
            if self._is_timeline_due(view):
                self._update_timeline()
            if self._shown_state == self._state_to_show(view):
                return  # of thousands of Pods, most changes are in those that no card shows
        else:
            self._details.stop()
        self.update_cards()

    def _state_to_show(self, view: ServingView) -> tuple[object, ...]:
        """What the cards show of the serving, ages aside."""
        return view.without_pods(), select_card_pods(view.pods), self._timeline

    def _is_timeline_due(self, view: ServingView) -> bool:
        """Whether the timeline must be derived again: at once where more than Pods has changed,
        else after some time."""
        before = self._timeline_view
        if before is view:
            return False
        return (
            before is None
            or monotonic() >= self._timeline_due_at
            or before.without_pods() != view.without_pods()
        )

    def _update_timeline(self) -> None:
        # Without the Deployment, a later change would be taken for the first one.
        if self._last_view is not None and (self._watch is None or self._watch.is_settled):
            self._timeline = timeline_entries(self.app_context, self._last_view, self._watch)
            self._status_start = status_start(self._last_view, self._watch)
            self._timeline_view = self._last_view
            self._timeline_due_at = monotonic() + TIMELINE_SECONDS

    # -- what is shown ------------------------------------------------------------------------

    def update_cards(self) -> None:
        view = self._last_view
        if view is None or not self.is_active:
            return
        self._shown_state = None if self._shows_table else self._state_to_show(view)
        if self._shows_table:
            self.table.configure_columns(hidden_columns=hidden_pod_columns(self.size.width))
            self.table.set_placeholder((((f"  {view.no_pods_text}", "muted"),),))
            self.table.set_rows(self._pod_rows.build(view.pods))
        else:
            self._show_cards(view)
        self.post_message(self.ActionsChanged())

    def _show_cards(self, view: ServingView) -> None:
        now = self._now()
        first_pod = (POD_CARD, view.pods[0].uid) if view.pods else None
        blocks = [
            Block("status", lambda width: self._status_lines(view, width, now), is_wide=True),
            Block(
                "pods",
                lambda width: pod_card_lines(
                    view, width, now, self.app_context.key_display_for("overview.pods")
                ),
                is_wide=True,
            ),
        ]
        blocks += [
            Block(card.key, self.card_builder(card, now)) for card in self._current_cards(view)
        ]
        self.cards.set_blocks(blocks, initial_item=first_pod, reset=self._reset_cursor)
        self._reset_cursor = False

    def _current_cards(self, view: ServingView) -> tuple[Card, ...]:
        """The cards with the settings; built again only if what they show has changed."""
        from servedeck.detail.overview import setting_cards

        if self._watch is not None and self._watch.deployment is not None:
            self._workload = self._watch.deployment
        source = (view.without_pods(), self._workload)
        if source != self._cards_source:
            workload = self._workload
            key = self.app_context.key_display_for("serving.adopt")
            self._setting_cards = setting_cards(
                view,
                workload.value if workload is not None else None,
                adopt_hint="" if self.app_context.readonly else f"{key} adopts it",
            )
            self._cards_source = source
        return self._setting_cards

    def _build_status_rows(self, view: ServingView, now: datetime) -> tuple[CardRow, ...]:
        from servedeck.detail.overview import status_rows

        since = since_text(self._timeline, view.status, now, self._status_start)
        rows = status_rows(
            view,
            since,
            self._details.capacity_hint(view),
            recovery_text(view, self.app_context, "serving"),
        )
        missing = self._watch.missing_permission if self._watch is not None else ""
        if missing:
            rows += (CardRow("permission", "Settings", missing, style_name="warning"),)
        return rows

    def _status_lines(self, view: ServingView, width: int, now: datetime) -> list[CardLine]:
        """The card Status, and why the serving does not serve."""
        self._status_rows = self._build_status_rows(view, now)
        lines = card_lines(Card("status", "Status", self._status_rows), width, now)
        self._edit_button = range(0)
        if view.key.is_deployment and not self.app_context.readonly and width >= MIN_BUTTON_WIDTH:
            button: Line = ((EDIT_BUTTON, "key"),)
            lines[0] = CardLine(align_left_right(lines[0].line, button, width))
            self._edit_button = range(SIDE_MARGIN + width - len(EDIT_BUTTON), SIDE_MARGIN + width)
        if strip := self._timeline_strip(now, width - len(STRIP_LABEL)):
            lines[-1:] = [CardLine(((STRIP_LABEL, "muted"), *strip), ("timeline", "")), CardLine()]
        tail = self._details.log_tail
        if tail is not None:
            height = self.size.height
            count = COMPACT_TAIL_LINES if height >= TALL_SCREEN_HEIGHT // 2 else SHORT_TAIL_LINES
            count = 0 if height >= TALL_SCREEN_HEIGHT else count
            key = ("log", tail.container.pod)
            paragraphs = log_tail_paragraphs(tail, count, shown_message=view.message)
            wrapped = wrap_paragraphs(paragraphs, max(width - 2, 1))
            lines[-1:] = [CardLine((("  ", ""), *line), key) for line in wrapped]
            lines.append(CardLine())
        return lines

    def _timeline_strip(self, now: datetime, width: int) -> Line:
        """The strip; built again only if the timeline, the second or the width is another one."""
        source = (self._timeline, now.replace(microsecond=0), width)
        if self._strip is None or self._strip[0] != source:
            self._strip = (source, status_strip(self._timeline, now, width))
        return self._strip[1]

    def on_resize(self) -> None:
        self.call_after_refresh(self.update_cards)

    def update_ages(self) -> None:
        if self._shows_table:
            self.table.update_ages()
        else:
            if self._last_view is not None and self._is_timeline_due(self._last_view):
                self._update_timeline()
            self.update_cards()

    # -- the cursor ---------------------------------------------------------------------------

    @property
    def selected_pod(self) -> PodView | None:
        """The Pod under the cursor."""
        view = self._last_view
        if view is None:
            return None
        if self._shows_table:
            uid = self.table.cursor_key
        else:
            match self.cards.cursor_key:
                case ("pod", uid):
                    pass
                case ("log", name):
                    return next((pod for pod in view.pods if pod.name == name), None)
                case _:
                    return None
        return next((pod for pod in view.pods if pod.uid == uid), None)

    @property
    def selected_row(self) -> tuple[ItemKey, CardRow] | None:
        """The value under the cursor."""
        if self._shows_table or self._last_view is None:
            return None
        match self.cards.cursor_key:
            case (str() as card_key, str() as row_key):
                pass
            case _:
                return None
        if card_key == "status":
            rows = self._status_rows
        else:
            rows = next((card.rows for card in self._setting_cards if card.key == card_key), ())
        row = next((row for row in rows if row.key == row_key), None)
        return ((card_key, row_key), row) if row is not None else None

    def on_card_view_highlighted(self) -> None:
        self.post_message(self.ActionsChanged())

    async def on_click(self, event: events.Click) -> None:
        """The button Edit is at the right of the first line, which scrolls with the cards."""
        region = self.cards.region
        if self._shows_table or not region.contains(event.screen_x, event.screen_y):
            return
        line = event.screen_y - region.y + self.cards.scroll_offset.y
        if line == 0 and event.screen_x - region.x in self._edit_button:
            await self.action_do("serving.edit")

    def on_card_view_item_clicked(self, message: CardView.ItemClicked) -> None:
        message.stop()
        if message.is_double_click:
            self.do_open()

    def on_keyed_table_cell_clicked(self, message: KeyedTable.CellClicked) -> None:
        message.stop()
        if message.column == "logs":
            self.do_logs()
        elif message.is_double_click:
            self.do_open()

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        view = self._last_view
        match action.name:
            case "logs" if view is not None and not view.pods:
                return view.no_pods_text
            case "logs":
                return self._log_permission.disabled_reason(self.key.namespace)
            case "open" if self._is_nothing_selected():
                return "There is nothing under the cursor."
            case "copy" if self.copyable_text() is None:
                return "There is no value under the cursor."
            case "reveal":
                return self.reveal_disabled_reason()
        return ""

    def _is_nothing_selected(self) -> bool:
        is_timeline = self.cards.cursor_key == ("timeline", "")
        return not is_timeline and self.selected_pod is None and self.selected_row is None

    def do_open(self) -> None:
        if self.cards.cursor_key == ("timeline", "") and not self._shows_table:
            self.post_message(self.TimelineRequested())
        elif (pod := self.selected_pod) is not None:
            self.post_message(self.PodRequested(pod.uid))
        elif (selected := self.selected_row) is not None:
            self.post_message(self.ValueRequested(selected[1].label, self.shown_text(*selected)))

    def do_logs(self) -> None:
        pod = self.selected_pod
        if pod is None and self._last_view is not None and self._last_view.pods:
            pod = self._last_view.pods[0]  # failing Pods are first
        if pod is not None:
            self.post_message(self.LogRequested(pod.name, pod.container))

    def do_pods(self) -> None:
        """Show the Pods at full size, or the cards again."""
        pod = self.selected_pod
        self._show_table(not self._shows_table)
        (self.table if self._shows_table else self.cards).focus()
        self.update_cards()
        if pod is not None:
            if self._shows_table:
                self.table.select(pod.uid)
            else:
                self.cards.select((POD_CARD, pod.uid))

    def _show_table(self, shows_table: bool) -> None:
        self._shows_table = shows_table
        self.table.display, self.cards.display = shows_table, not shows_table

    def go_back(self) -> bool:
        if self._shows_table:
            self.do_pods()
            return True
        return False

    def copyable_text(self) -> str | None:
        pod = self.selected_pod
        return pod.name if pod is not None else super().copyable_text()

    def request_yaml(self) -> None:
        pod = self.selected_pod
        self.post_message(self.YamlRequested("Pod", pod.name) if pod else self.YamlRequested())
