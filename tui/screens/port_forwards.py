"""The port-forwards that are active, to copy the URL of one or to stop it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.fleet.views import NamespacedName
from servedeck.forwarding.forwards import PortForwards
from servedeck.forwarding.port_forward import PortForward
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.text import format_size
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.screens.base import Overlay
from widgets.columns import AgeCell, Column, Row
from widgets.table import TICK_SECONDS, KeyedTable
from widgets.text_view import StatusLine

COLUMNS = (
    Column("url", "LOCAL ADDRESS", min_width=14, max_width=22, priority=0),
    Column("serving", "SERVING", min_width=12, max_width=30, priority=1),
    Column("pod", "POD", min_width=12, max_width=30, priority=2),
    Column("port", "PORT", min_width=4, max_width=5, priority=8, align_right=True),
    Column("open", "OPEN", min_width=4, max_width=5, priority=3, align_right=True),
    Column("total", "TOTAL", min_width=5, max_width=9, priority=6, align_right=True),
    Column("sent", "SENT", min_width=8, max_width=10, priority=5, align_right=True),
    Column("received", "RECEIVED", min_width=8, max_width=10, priority=5, align_right=True),
    Column("age", "AGE", min_width=3, max_width=6, priority=7, align_right=True),
    Column("error", "LAST ERROR", min_width=12, max_width=24, priority=4),
)


class PortForwardsScreen(Overlay[NamespacedName | None]):
    """The list, up to date while it is open. Its result is a serving to which another port-forward
    is to be started; None for none."""

    SCOPE = "forwards"
    BINDINGS: ClassVar[list[BindingType]] = bindings("forwards", "app")
    table = query_one(KeyedTable)

    def __init__(self, port_forwards: PortForwards, selected: PortForward | None = None) -> None:
        super().__init__()
        self._port_forwards = port_forwards
        self._initial = selected
        self._unsubscribe: Callable[[], None] = lambda: None

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), ("Port-forwards", "title")))
        yield title
        yield KeyedTable(COLUMNS, format_age=format_signed_duration, clock=self.app_context.clock)

    def on_mount(self) -> None:
        super().on_mount()
        self.table.focus()
        self.table.set_placeholder(
            (
                (("  No port is forwarded.", "muted"),),
                (
                    ("  ", ""),
                    (self.app_context.key_display_for("servings.forward"), "key"),
                    (" on a serving starts a port-forward.", "muted"),
                ),
            )
        )
        self._update()
        if self._initial is not None:
            self.table.select(id(self._initial))
        self._unsubscribe = self._port_forwards.subscribe(self._update)
        self.set_interval(TICK_SECONDS, self._update)

    async def on_unmount(self) -> None:
        self._unsubscribe()
        await super().on_unmount()

    def _update(self) -> None:
        if not self.is_attached or not self.is_mounted:
            return
        self.table.set_rows([self._row(one) for one in self._port_forwards.forwards])
        self.table.update_ages()
        self.update_footer()

    def _row(self, forward: PortForward) -> Row:
        pod, traffic = forward.pod, forward.traffic
        shown_pod = pod.name if pod is not None else (("no Ready Pod", "warning"),)
        return Row(
            id(forward),
            (
                forward.where,
                str(forward.key),
                shown_pod,
                str(forward.remote_port),
                str(traffic.open_connections),
                f"{traffic.connections:,}",
                format_size(traffic.sent_bytes),
                format_size(traffic.received_bytes),
                AgeCell(forward.started_at),
                ((self._error_text(forward), "warning"),),
            ),
        )

    def _error_text(self, forward: PortForward) -> str:
        if forward.last_error_at is None:
            return ""
        age = (self.app_context.clock() - forward.last_error_at).total_seconds()
        return f"{format_signed_duration(age)} ago: {forward.last_error}"

    @property
    def _selected(self) -> PortForward | None:
        key = self.table.cursor_key
        return next((one for one in self._port_forwards.forwards if id(one) == key), None)

    def on_keyed_table_highlighted(self) -> None:
        self.update_footer()

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name in ("copy", "stop", "new", "error") and self._selected is None:
            return "No port is forwarded."
        if action.name == "error" and (one := self._selected) is not None and not one.last_error:
            return "No connection has failed."
        return ""

    async def do_copy(self) -> None:
        if (forward := self._selected) is not None:
            view = self.app_context.source.fleet.view(forward.key)
            where = forward.address, forward.local_port
            url = view.endpoint.local_url(*where) if view is not None else forward.where
            self.show_message(
                *await copy_with_message(url, self.app_context.write_to_terminal, url)
            )

    async def do_stop(self) -> None:
        if (forward := self._selected) is not None:
            await self._port_forwards.stop(forward)
            self.show_message(f"{forward.where} is no longer forwarded to {forward.key}.")

    def do_error(self) -> None:
        from tui.screens.value import ValueScreen

        if (forward := self._selected) is not None:
            count = forward.failed_connections
            of_all = f"{count} of {forward.traffic.connections} connections failed"
            title = f"Last error of {forward.where} ({of_all})"
            self.app.push_screen(ValueScreen(title, forward.last_error))

    def do_new(self) -> None:
        if (forward := self._selected) is not None:
            self.dismiss(forward.key)

    def do_close(self) -> None:
        self.dismiss(None)
