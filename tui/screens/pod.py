"""One Pod of a serving: what happened to it, its containers, its node and its Events, live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.cluster import resources
from servedeck.detail.cards import Card, CardRow
from servedeck.detail.detail_service import EventWatch, ObjectWatch, Watch
from servedeck.fleet.views import NamespacedName, PodView
from servedeck.serving.spec.mapping.json_values import as_mapping
from tui import status_text
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.command_flow import ask_command, not_running_reason
from tui.container_shell import Container, find_kubectl, kubectl_environ, open_shell
from tui.log_permission import LogPermission
from tui.operation_flow import OperationFlow
from tui.port_forward_flow import forward_disabled_reason, start_forward
from tui.ports.serving_source import SourceChanges
from tui.screens.base import ActionScreen
from tui.screens.value import ValueScreen
from widgets.card_lines import ItemKey, card_lines
from widgets.card_view import Block, CardLine, CardView
from widgets.status_paragraphs import HEALTH_STYLES
from widgets.styled_line import Line
from widgets.table import TICK_SECONDS
from widgets.text_view import StatusLine

if TYPE_CHECKING:
    from servedeck.detail.object_watch import LiveObject

WIDE_CARDS = frozenset({"history", "events"})
MAX_SENTENCE_LINES = 4
"""Lines of one step of the history, or of one Event."""


class PodResult(NamedTuple):
    """What was requested when the screen closed."""

    action: str
    """"logs", "yaml", or "" for nothing."""
    pod: str
    container: str = ""


class PodScreen(ActionScreen[PodResult]):
    """Everything about one Pod. It watches the Pod, its node and its Events while it is open; the
    last state of a deleted Pod stays."""

    SCOPE = "pod"
    BINDINGS: ClassVar[list[BindingType]] = bindings("pod", "app")
    title_view = query_one("#serving-title", StatusLine)
    cards = query_one(CardView)

    def __init__(self, serving: NamespacedName, pod: PodView) -> None:
        super().__init__()
        self._serving = serving
        self._view = pod
        self.operation_flow = OperationFlow(self)
        self._log_permission = LogPermission(self, self.update_footer)
        self._deleted_at: datetime | None = None
        self._pod: LiveObject | None = None
        self._pod_watch: ObjectWatch | None = None
        self._node_watch: ObjectWatch | None = None
        self._event_watch: EventWatch | None = None
        self._watched_node = ""
        self._watches: list[Watch] = []
        self._cards: tuple[Card, ...] = ()

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="serving-title")
        yield CardView()

    def on_mount(self) -> None:
        from servedeck.detail.object_watch import ObjectQuery

        super().on_mount()
        self.cards.focus()
        self.set_interval(TICK_SECONDS, self._update_ages)
        service, namespace = self.app_context.detail_service, self._view.namespace
        query = ObjectQuery(resources.POD, namespace, self._view.name)
        self._pod_watch = service.watch_objects(query, self._update)
        self._event_watch = service.watch_events(namespace, self._update, object_uid=self._view.uid)
        self._watches += filter(None, (self._pod_watch, self._event_watch))
        self._update()

    async def on_unmount(self) -> None:
        watches, self._watches = self._watches, []
        for watch in watches:
            await watch.close()

    def on_changes(self, changes: SourceChanges) -> None:
        if self._serving in changes.keys or changes.state_changed:
            self._update()

    # -- what is shown ------------------------------------------------------------------------

    def _update(self) -> None:
        if not self.is_attached:
            return
        serving = self.app_context.source.fleet.view(self._serving)
        pods = serving.pods if serving is not None else ()
        view = next((pod for pod in pods if pod.uid == self._view.uid), None)
        if view is not None:
            self._view, self._deleted_at = view, None
        elif self._deleted_at is None:
            self._deleted_at = self.app_context.clock()
        if self._pod_watch is not None:
            own = [one for one in self._pod_watch.objects if one.metadata.uid == self._view.uid]
            self._pod = own[0] if own else self._pod
        self._watch_node(self._view.node)
        self._update_title()
        self._update_cards()
        self.update_footer()

    def _update_ages(self) -> None:
        if self.is_current:
            self._update_title()
            self._update_cards()

    def _watch_node(self, name: str) -> None:
        """Watch the node as soon as the Pod has one."""
        from servedeck.detail.object_watch import ObjectQuery

        if name and not self._watched_node:
            self._watched_node = name
            query = ObjectQuery(resources.NODE, "", name)
            self._node_watch = self.app_context.detail_service.watch_objects(query, self._update)
            self._watches += filter(None, (self._node_watch,))

    def _update_title(self) -> None:
        pod = self._view
        line: Line = (
            (" ", ""),
            (f"Pod {pod.namespace}/{pod.name}", "strong"),
            ("  ", ""),
            (pod.status, HEALTH_STYLES[pod.health]),
        )
        if pod.reason and pod.reason != pod.status:
            line = (*line, ("  ", ""), (pod.reason, "strong"))
        if self._deleted_at is not None:
            when = self._deleted_at.astimezone().strftime("%H:%M:%S")
            line = (*line, (f"  deleted at {when}; the last state is shown", "pending"))
        width = self.title_view.inner_width or self.app.size.width
        state = self.app_context.source.state
        self.title_view.set_lines(status_text.line_with_connection(line, state, width))

    def _update_cards(self) -> None:
        from servedeck.detail.pod_cards import pod_cards

        now = self.app_context.clock()
        if self._pod is None:
            self._cards = (Card("pod", "Pod", (), self._missing_text()),)
        else:
            node = self._node_watch.newest if self._node_watch is not None else None
            events = self._event_watch.records if self._event_watch is not None else ()
            self._cards = pod_cards(
                self._pod, node, events, now, view=self._view, notes=self._notes()
            )
        self.cards.set_blocks(
            [
                Block(card.key, self._card_builder(card, now), card.key in WIDE_CARDS)
                for card in self._cards
            ]
        )

    def _card_builder(self, card: Card, now: datetime) -> Callable[[int], list[CardLine]]:
        def build(width: int) -> list[CardLine]:
            lines = MAX_SENTENCE_LINES if card.key in WIDE_CARDS else 1
            return card_lines(card, width, now, max_value_lines=lines)

        return build

    def _missing_text(self) -> str:
        watch = self._pod_watch
        if watch is None or not watch.is_settled:
            return "Loading…"
        return watch.missing_permission or "The Pod no longer exists."

    def _notes(self) -> dict[str, str]:
        """Why a card is empty."""
        notes: dict[str, str] = {}
        for key, watch in (("node", self._node_watch), ("events", self._event_watch)):
            if watch is None:
                continue
            if watch.missing_permission:
                notes[key] = watch.missing_permission
            elif not watch.is_settled:
                notes[key] = "Loading…"
            elif key == "node":
                notes[key] = f"Node {self._watched_node} no longer exists."
        return notes

    # -- actions ------------------------------------------------------------------------------

    @property
    def selected_row(self) -> tuple[ItemKey, CardRow] | None:
        """The value under the cursor."""
        for card in self._cards:
            for row in card.rows:
                if (card.key, row.key) == self.cards.cursor_key:
                    return (card.key, row.key), row
        return None

    def disabled_reason(self, action: Action) -> str:
        if action.name in ("open", "copy") and self.selected_row is None:
            return "There is no value under the cursor."
        if action.name == "logs":
            return self._log_permission.disabled_reason(self._serving.namespace)
        if action.name == "shell":
            return self._shell_disabled_reason()
        if action.name == "run":
            container = self._container
            return self._container_disabled_reason(
                container
            ) or self.operation_flow.disabled_reason(container.run_operation)
        if action.name == "forward":
            view = self.app_context.source.fleet.view(self._serving)
            return forward_disabled_reason(self, self.operation_flow, view)
        if action.name == "delete":
            if self._deleted_at is not None:
                return "The Pod was deleted."
            if not self._serving.is_deployment:
                return f"The Pods of a {self._serving.kind} are shown read-only."
            return self.operation_flow.disabled_reason(self._deletion)
        if action.name == "cordon":
            if (operation := self._cordon) is None:
                return "The Pod is on no node yet, or its node may not be read."
            return self.operation_flow.disabled_reason(operation)
        return ""

    def label_for(self, action: Action) -> str:
        if action.name == "cordon" and (operation := self._cordon) is not None:
            return f"{operation.kind} node"
        return action.label

    @property
    def _container(self) -> Container:
        """The container under the cursor, or the one that fails, or the inference server."""
        name = self._view.container
        match self.cards.cursor_key:
            case (str() as card, _) if card.startswith("container."):
                name = card.removeprefix("container.")
        if not name:
            serving = self.app_context.source.fleet.view(self._serving)
            name = serving.server_container if serving is not None else ""
        return Container(self._view.namespace, self._view.name, name)

    def _shell_disabled_reason(self) -> str:
        if self._deleted_at is None and not find_kubectl():
            return "A shell needs kubectl, which is not on the PATH."
        container = self._container
        return self._container_disabled_reason(container) or self.operation_flow.disabled_reason(
            container.operation
        )

    def _container_disabled_reason(self, container: Container) -> str:
        """Why nothing can be run in the container."""
        if self._deleted_at is not None:
            return "The Pod was deleted."
        return not_running_reason(container, self._view)

    def do_shell(self) -> None:
        self.start_worker(
            open_shell(self, self._container, kubectl_environ(self.app_context.kubeconfig)),
            "shell",
            busy_label="The shell",
        )

    def do_run(self) -> None:
        ask_command(self, self._container)

    def do_forward(self) -> None:
        view = self.app_context.source.fleet.view(self._serving)
        if view is not None:
            start_forward(self, view, pod=self._view)

    @property
    def _deletion(self) -> Operation:
        return Operation(OperationKind.DELETE_POD, self._view.namespace, self._view.name)

    @property
    def _cordon(self) -> Operation | None:
        """Cordons the node, or uncordons it; None if it is not known."""
        node = self._node_watch.newest if self._node_watch is not None else None
        if node is None:
            return None
        is_cordoned = as_mapping(node.value, "spec").get("unschedulable") is True
        kind = OperationKind.UNCORDON if is_cordoned else OperationKind.CORDON
        return Operation(kind, "", self._watched_node)

    def do_delete(self) -> None:
        self.operation_flow.open([self._deletion])

    def do_cordon(self) -> None:
        if (operation := self._cordon) is not None:
            self.operation_flow.open([operation])

    def on_card_view_highlighted(self) -> None:
        self.update_footer()

    def do_open(self) -> None:
        if (selected := self.selected_row) is not None:
            _, row = selected
            self.app.push_screen(ValueScreen(row.label.strip(), _row_text(row)))

    async def do_copy(self) -> None:
        if (selected := self.selected_row) is None:
            return
        text = _row_text(selected[1])
        self.show_message(*await copy_with_message(text, self.app_context.write_to_terminal, text))

    def do_logs(self) -> None:
        container = self._view.container
        match self.cards.cursor_key:
            case (str() as card, _) if card.startswith("container."):
                container = card.removeprefix("container.")
        self.dismiss(PodResult("logs", self._view.name, container))

    def do_describe(self) -> None:
        from tui.screens.describe import DescribeScreen

        if (view := self.app_context.source.fleet.view(self._serving)) is not None:
            self.app.push_screen(DescribeScreen(view))

    def do_yaml(self) -> None:
        self.dismiss(PodResult("yaml", self._view.name))

    def do_close(self) -> None:
        self.dismiss(PodResult("", self._view.name))


def _row_text(row: CardRow) -> str:
    if row.time is not None:
        return f"{row.time:%Y-%m-%dT%H:%M:%SZ}"
    return "\n".join(filter(None, (row.value, row.note)))
