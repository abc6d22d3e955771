"""How to reach a serving: endpoint, in-cluster address, paths and curl lines, each copied with one
key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.fleet.views import ServingView
from servedeck.serving.client_examples import api_paths, curl_command, primary_api_path
from tui.actions import Action, bindings
from tui.clipboard import CopyError, copy_text
from tui.ports.serving_source import SourceChanges
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll_by_key
from widgets.text_view import Paragraph, TextView


@dataclass(frozen=True)
class ConnectItem:
    """Something to copy: its label, its text, or the reason why there is none."""

    name: str
    key: str
    title: str
    text: str
    unavailable_reason: str = ""


def connect_items(view: ServingView) -> list[ConnectItem]:
    """Everything that can be copied for a serving, in the order of the overlay."""
    endpoint = view.endpoint
    nowhere = endpoint.issue or "No route to the serving."
    forward = endpoint.port_forward_command
    base = endpoint.url
    if not base and forward:
        base = f"http://localhost:{forward.rpartition(' ')[2].partition(':')[0]}"
    model = endpoint.model or view.model
    path = primary_api_path(view.template, view.model)
    none = "No Service: it has no address in the cluster."
    return [
        ConnectItem("url", "u", "Endpoint", endpoint.url, "" if endpoint.url else nowhere),
        ConnectItem(
            "address",
            "a",
            "In the cluster",
            endpoint.cluster_url,
            "" if endpoint.cluster_url else none,
        ),
        ConnectItem(
            "curl", "s", "Request", curl_command(base, path, model, False) if base else "", none
        ),
        ConnectItem(
            "curl_async",
            "x",
            "Asynchronous request, if the queue is enabled",
            curl_command(base, path, model, True) if base else "",
            none,
        ),
        ConnectItem("forward", "f", "Port-forward", forward, none),
    ]


def build_paragraphs(view: ServingView) -> list[Paragraph]:
    """The overlay as text."""
    endpoint = view.endpoint
    result = [
        Paragraph(((f"Connect to {view.key}", "title"),)),
    ]
    if endpoint.source:
        result.append(Paragraph(((f"The endpoint is read from {endpoint.source}.", "muted"),)))
    if endpoint.issue:
        result.append(Paragraph((("! ", "warning"), (endpoint.issue, "warning")), indent=2))
    if not endpoint.url and endpoint.port_forward_command:
        result.append(
            Paragraph(
                (("→ ", "accent"), ("From outside, use the port-forward below.", "accent")),
                indent=2,
            )
        )
    if not view.ready:
        silent = (
            "No Pod is ready: requests fail until one is."
            if view.desired
            else "It is scaled to 0: requests fail until there are replicas."
        )
        result.append(Paragraph((("! ", "warning"), (silent, "warning")), indent=2))
    for way in connect_items(view):
        result += [Paragraph(), Paragraph(((f"{way.key} ", "key"), (way.title, "muted")))]
        if way.text:
            result += [
                Paragraph((("  ", ""), (line, "strong")), indent=6)
                for line in _split_lines(way.text)
            ]
        else:
            result.append(Paragraph((("  ", ""), (way.unavailable_reason, "muted")), indent=2))
    served = api_paths(view.template, view.endpoint.model or view.model)
    result += [Paragraph(), Paragraph((("Paths of the inference server", "muted"),))]
    result += [Paragraph((("  ", ""), (path, "")), indent=2) for path in served] or [
        Paragraph((("  ", ""), ("Unknown for this template.", "muted")))
    ]
    return result


def _split_lines(text: str) -> Sequence[str]:
    return text.splitlines()


class ConnectScreen(Overlay[None]):
    """The overlay, kept up to date while it is open."""

    SCOPE = "connect"
    BINDINGS: ClassVar[list[BindingType]] = bindings("connect", "app")
    text_view = query_one(TextView)

    def __init__(self, view: ServingView) -> None:
        super().__init__()
        self._view = view

    def compose_body(self) -> ComposeResult:
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        self.text_view.set_paragraphs(build_paragraphs(self._view))
        self.text_view.focus()

    def on_changes(self, changes: SourceChanges) -> None:
        """The serving may have changed."""
        view = self.app_context.source.fleet.view(self._view.key)
        if view is not None and view is not self._view:
            self._view = view
            self.text_view.set_paragraphs(build_paragraphs(view))
            self.update_footer()

    def disabled_reason(self, action: Action) -> str:
        way = next((way for way in connect_items(self._view) if way.name == action.name), None)
        return way.unavailable_reason if way is not None and not way.text else ""

    async def _copy_item(self, name: str) -> None:
        way = next(way for way in connect_items(self._view) if way.name == name)
        try:
            how = await copy_text(way.text, self.app_context.write_to_terminal)
        except CopyError as error:
            self.show_message(f"{error} Select it with shift and the mouse.", "warning")
            return
        shown = " ".join(way.text.split())
        self.show_message(f"Copied {how}: {shown}", "ready", 20)

    async def do_url(self) -> None:
        await self._copy_item("url")

    async def do_address(self) -> None:
        await self._copy_item("address")

    async def do_curl(self) -> None:
        await self._copy_item("curl")

    async def do_curl_async(self) -> None:
        await self._copy_item("curl_async")

    async def do_forward(self) -> None:
        await self._copy_item("forward")

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)

    def do_close(self) -> None:
        self.dismiss(None)
