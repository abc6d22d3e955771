"""The dialog that starts a port-forward: its ports."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import REPORTED_KINDS, NamespacedName, PodView, ServingView
from servedeck.forwarding.forwards import PortForwards
from servedeck.forwarding.pods import usable_pods
from servedeck.forwarding.port_forward import PortForward
from servedeck.forwarding.ports import (
    DEFAULT_ADDRESS,
    ForwardPorts,
    parse_ports,
    suggest_local_port,
)
from servedeck.serving.client_examples import port_forward_command
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.ports.serving_source import SourceChanges
from tui.screens.base import Overlay
from widgets.line_input import LineInput
from widgets.text_view import Paragraph, StatusLine, TextView


class PortForwardDialog(Overlay[PortForward | None]):
    """Asks for the ports; its result is the port-forward that was started."""

    SCOPE = "forward"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("forward")
    line_input = query_one(LineInput)
    text_view = query_one(TextView)

    def __init__(
        self, port_forwards: PortForwards, view: ServingView, pod: PodView | None = None
    ) -> None:
        """`pod` is the one to begin with; None for the best one."""
        super().__init__()
        self._port_forwards = port_forwards
        self._view = view
        self._first_pod = pod

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (f"Port-forward to {self._view.key}", "title")))
        yield title
        yield LineInput(">", "LOCAL:REMOTE")
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows, to scroll
        yield text_view

    def on_mount(self) -> None:
        super().on_mount()
        self.line_input.input.focus()
        if remote := self._view.endpoint.pod_port:
            self.start_worker(self._suggest(remote), "ports", busy_label="Looking for a free port")
        self._update_text()

    async def _suggest(self, remote: int) -> None:
        try:
            local = await asyncio.to_thread(suggest_local_port, DEFAULT_ADDRESS, remote)
        except ClusterError as error:
            self.line_input.show_error(str(error))
        else:
            self.line_input.input.value = f"{local}:{remote}"
            self.line_input.input.cursor_position = len(str(local))

    def on_changes(self, changes: SourceChanges) -> None:
        view = self.app_context.source.fleet.view(self._view.key)
        if view is not None and view is not self._view:
            self._view = view
            self._update_text()

    def on_input_changed(self) -> None:
        self.line_input.show_error("")
        self._update_text()

    def _ports(self) -> ForwardPorts:
        """The ports as typed. Raises PortError."""
        return parse_ports(self.line_input.text, self._view.endpoint.pod_port)

    @property
    def _command(self) -> str:
        """The equivalent command of kubectl; "" if the ports are wrong."""
        try:
            ports = self._ports()
        except ClusterError:
            return ""
        if self._view.kind in _CUSTOM_KINDS:  # kubectl forwards to a Service of it
            return self.app_context.command_options.add_to(self._view.endpoint.port_forward_command)
        local = ports.remote if ports.local is None else ports.local
        command = _kubectl_command(self._view.key, f"{local or ''}:{ports.remote}")
        return self.app_context.command_options.add_to(command)

    def _update_text(self) -> None:
        if not self.is_attached:
            return
        pods = usable_pods(self._view)
        found = [
            Paragraph((("  The local port, and the port of the Pods.", "muted"),), 2),
            Paragraph(),
        ]
        if pods:
            first = next((one for one in pods if one is self._first_pod), pods[0])
            text = (
                f"New connections go to Pod {first.name} while it is Ready, then to another Ready"
                " Pod of the serving."
            )
            found.append(Paragraph((("  ", ""), (text, "")), 2))
        else:
            text = "No Pod is Ready: connections wait for one for a short time, then they fail."
            if not self._view.pods_known:
                text = self._view.no_pods_text
            found.append(Paragraph((("  ! ", "warning"), (text, "warning")), 4))
        if self.app_context.is_production:
            text = f"{self.app_context.source.context} is a production context."
            found.append(Paragraph((("  ! ", "warning"), (text, "warning")), 4))
        if command := self._command:
            found += [
                Paragraph(),
                Paragraph((("  The same with kubectl, for one Pod until it ends:", "muted"),), 2),
                Paragraph((("  ", ""), (command, "strong")), 4),
            ]
        self.text_view.set_paragraphs(found)

    async def on_input_submitted(self) -> None:
        await self.do_start()

    async def do_start(self) -> None:
        uid = self._first_pod.uid if self._first_pod is not None else ""
        try:
            forward = await self._port_forwards.start(
                self._view.key, self._ports(), first_pod_uid=uid
            )
        except ClusterError as error:
            self.line_input.show_error(str(error))
        else:
            self.dismiss(forward)

    async def do_copy(self) -> None:
        if command := self._command:
            write = self.app_context.write_to_terminal
            self.show_message(*await copy_with_message(command, write, command))
        else:
            self.show_message("Enter the ports first.", "warning")

    def do_close(self) -> None:
        self.dismiss(None)


_CUSTOM_KINDS = REPORTED_KINDS - {"DaemonSet"}


def _kubectl_command(key: NamespacedName, ports: str) -> str:
    kind, name = key.kind.lower(), key.name
    if key.kind == "LeaderWorkerSet":  # kubectl does not forward to it; its leaders serve
        kind, name = "pod", f"{name}-0"
    command = port_forward_command((key.namespace, name), 1, kind=kind)
    return f"{command.rpartition(' ')[0]} {ports}"
