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
from servedeck.serving.client_examples import curl, example_path, paths
from tui.actions import Action, bindings
from tui.clipboard import CopyError, copy
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll
from tui.source import Changes
from widgets.text_view import Lines, Paragraph


@dataclass(frozen=True)
class Way:
    """Something to copy: what it is, its text, or why there is none."""

    name: str
    key: str
    title: str
    text: str
    problem: str = ""


def ways(view: ServingView) -> list[Way]:
    """Everything that can be copied for a serving, in the order of the overlay."""
    endpoint = view.endpoint
    nowhere = endpoint.problem or "No route leads to the serving."
    forward = endpoint.forward
    base = endpoint.url
    if not base and forward:
        base = f"http://localhost:{forward.rpartition(' ')[2].partition(':')[0]}"
    model = endpoint.model or view.model
    path = example_path(view.template, view.model)
    none = "It has no Service, so nothing in the cluster leads to it."
    return [
        Way("url", "u", "Endpoint", endpoint.url, "" if endpoint.url else nowhere),
        Way("address", "a", "In the cluster", endpoint.address, "" if endpoint.address else none),
        Way("curl", "s", "Request", curl(base, path, model, False) if base else "", none),
        Way(
            "curl_async",
            "x",
            "Request through the async queue, where it is on",
            curl(base, path, model, True) if base else "",
            none,
        ),
        Way("forward", "f", "Port-forward", forward, none),
    ]


def paragraphs(view: ServingView) -> list[Paragraph]:
    """The overlay as text."""
    endpoint = view.endpoint
    result = [
        Paragraph(((f"Connect to {view.key}", "title"),)),
    ]
    if endpoint.source:
        result.append(Paragraph(((f"The endpoint is read from {endpoint.source}.", "muted"),)))
    if endpoint.problem:
        result.append(Paragraph((("! ", "warning"), (endpoint.problem, "warning")), hanging=2))
    if not endpoint.url and endpoint.forward:
        result.append(
            Paragraph(
                (("→ ", "accent"), ("From outside, use the port-forward below.", "accent")),
                hanging=2,
            )
        )
    if not view.ready:
        silent = (
            "No Pod is ready: requests fail until one is."
            if view.desired
            else "It is scaled to 0: requests fail until there are replicas."
        )
        result.append(Paragraph((("! ", "warning"), (silent, "warning")), hanging=2))
    for way in ways(view):
        result += [Paragraph(), Paragraph(((f"{way.key} ", "key"), (way.title, "muted")))]
        if way.text:
            result += [
                Paragraph((("  ", ""), (line, "strong")), hanging=6) for line in _lines(way.text)
            ]
        else:
            result.append(Paragraph((("  ", ""), (way.problem, "muted")), hanging=2))
    served = paths(view.template, view.endpoint.model or view.model)
    result += [Paragraph(), Paragraph((("Paths of the inference server", "muted"),))]
    result += [Paragraph((("  ", ""), (path, "")), hanging=2) for path in served] or [
        Paragraph((("  ", ""), ("They are not known for this template.", "muted")))
    ]
    return result


def _lines(text: str) -> Sequence[str]:
    return text.splitlines()


class ConnectScreen(Overlay[None]):
    """The overlay; true for as long as it is open."""

    SCOPE = "connect"
    BINDINGS: ClassVar[list[BindingType]] = bindings("connect", "app")
    text = query_one(Lines)

    def __init__(self, view: ServingView) -> None:
        super().__init__()
        self._view = view

    def compose_body(self) -> ComposeResult:
        yield Lines()

    def on_mount(self) -> None:
        super().on_mount()
        self.text.set_paragraphs(paragraphs(self._view))
        self.text.focus()

    def on_changes(self, changes: Changes) -> None:
        """The serving may be another by now."""
        view = self.servedeck.source.fleet.view(self._view.key)
        if view is not None and view is not self._view:
            self._view = view
            self.text.set_paragraphs(paragraphs(view))
            self.show_hints()

    def why_not(self, action: Action) -> str:
        way = next((way for way in ways(self._view) if way.name == action.name), None)
        return way.problem if way is not None and not way.text else ""

    async def _copy(self, name: str) -> None:
        way = next(way for way in ways(self._view) if way.name == name)
        try:
            how = await copy(way.text, self.servedeck.write_to_terminal)
        except CopyError as error:
            self.say(f"{error} Select it with shift and the mouse.", "warning")
            return
        shown = " ".join(way.text.split())
        self.say(f"Copied {how}: {shown}", "ready", 20)

    async def do_url(self) -> None:
        await self._copy("url")

    async def do_address(self) -> None:
        await self._copy("address")

    async def do_curl(self) -> None:
        await self._copy("curl")

    async def do_curl_async(self) -> None:
        await self._copy("curl_async")

    async def do_forward(self) -> None:
        await self._copy("forward")

    def do_scroll(self, key: str) -> None:
        scroll(self.text, key)

    def do_close(self) -> None:
        self.dismiss(None)
