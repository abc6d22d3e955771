"""How to reach a serving: endpoint, in-cluster address, paths and curl lines, each copied with one
key, and a test request."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.cluster.command_options import CommandOptions
from servedeck.fleet.views import ServingView
from servedeck.serving.client_examples import (
    api_paths,
    async_forward_command,
    curl_command,
    primary_api_path,
    proxy_request_command,
    result_command,
    streaming_api_path,
)
from servedeck.serving.endpoint import Endpoint
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.forwarded_urls import forwarded_urls
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
    note: str = ""
    """What must be known before it is used, in sentences."""


_GRPC_REASON = "The inference server accepts gRPC only; curl cannot send requests to it."

_GRPC_REASON_OF_REQUEST = "The inference server accepts gRPC only; no test request is sent to it."


def request_url(endpoint: Endpoint) -> str:
    """Where requests are sent: the endpoint, or without a route its port-forward; "" if there is
    neither, or it accepts no HTTP requests."""
    if endpoint.is_grpc:
        return ""
    forward = endpoint.port_forward_command
    if endpoint.url or not forward:
        return endpoint.url
    scheme = "https" if endpoint.cluster_url.startswith("https://") else "http"
    return f"{scheme}://localhost:{forward.rpartition(' ')[2].partition(':')[0]}"


def connect_items(
    view: ServingView, options: CommandOptions, forwarded_urls: Sequence[str] = ()
) -> list[ConnectItem]:
    """Everything that can be copied for a serving, in the order of the overlay. `options` name the
    cluster; `forwarded_urls` are those of the serving's port-forwards."""
    endpoint = view.endpoint
    no_route_reason = endpoint.issue or "No route to the serving."
    forward = options.add_to(endpoint.port_forward_command)
    base = request_url(endpoint)
    model = endpoint.model or view.model
    path = primary_api_path(view.template, view.model)
    no_service_reason = "No Service: it has no address in the cluster."
    no_request_reason = _GRPC_REASON if endpoint.is_grpc else no_service_reason
    return [
        ConnectItem("url", "u", "Endpoint", endpoint.url, "" if endpoint.url else no_route_reason),
        ConnectItem(
            "address",
            "a",
            "In-cluster address",
            endpoint.cluster_url,
            "" if endpoint.cluster_url else no_service_reason,
        ),
        ConnectItem(
            "curl",
            "s",
            "Request",
            curl_command(base, path, model) if base else "",
            no_request_reason,
        ),
        _streaming_item(view, base, model, no_request_reason),
        ConnectItem("port_forward", "f", "Port-forward", forward, no_service_reason),
        _forwarded_item(view, forwarded_urls, path, model),
        ConnectItem(
            "proxy",
            "p",
            "Request through the API server, where the kubeconfig is all there is",
            proxy_request_command(
                endpoint.proxy_path,
                path,
                model,
                kubectl=shlex.join(("kubectl", *options.shown_words)),
            )
            if endpoint.proxy_path
            else "",
            no_request_reason,
        ),
        *_async_items(view, options, base, path, no_request_reason),
    ]


def _streaming_item(
    view: ServingView, base: str, model: str, no_request_reason: str
) -> ConnectItem:
    """A request whose answer comes token by token."""
    path = streaming_api_path(view.template, view.model)
    text = curl_command(base, path, model, streams=True) if base and path else ""
    no_stream = "No path of this inference server is known to stream its answer."
    return ConnectItem(
        "stream",
        "t",
        "Request with a streamed answer",
        text,
        no_stream if base else no_request_reason,
    )


def _forwarded_item(view: ServingView, urls: Sequence[str], path: str, model: str) -> ConnectItem:
    """A request to a port-forward that runs here."""
    if view.endpoint.is_grpc:
        text, reason = "", _GRPC_REASON
    else:
        text = curl_command(urls[0], path, model) if urls else ""
        reason = "No port-forward to it runs here; F in the list or on the page starts one."
    return ConnectItem("forwarded", "w", "Request through the port-forward", text, reason)


def _async_items(
    view: ServingView, options: CommandOptions, base: str, path: str, no_request_reason: str
) -> list[ConnectItem]:
    """The asynchronous request, and its result. `base` is where other requests go."""
    request = ("curl_async", "x", "Asynchronous request (X-Async)")
    result = ("result", "r", "Its result, waited for up to 30 seconds; <id> is in the answer")
    model = view.endpoint.model or view.model
    if not base:
        return [ConnectItem(*one, "", no_request_reason) for one in (request, result)]
    if not view.has_async_queue:
        if not view.key.is_deployment:
            off = "Only a Deployment can have an async queue."
            return [ConnectItem(*one, "", off) for one in (request, result)]
        note = (
            "The async queue is off, so this request is answered at once; the tab Async Queue of "
            "the serving turns it on."
        )
        text = curl_command(base, path, model, True)
        off = "The async queue is off: there are no results to fetch."
        return [ConnectItem(*request, text, note=note), ConnectItem(*result, "", off)]
    note = ""
    if not view.endpoint.url:
        # The Service of the serving, which `base` leads to, knows nothing of the gateway.
        base = "http://localhost:8080"
        forward = async_forward_command(view.key.namespace, view.key.name)
        note = f"Through: {options.add_to(forward)}"
    return [
        ConnectItem(*request, curl_command(base, path, model, True), note=note),
        ConnectItem(*result, result_command(base)),
    ]


def build_paragraphs(
    view: ServingView, options: CommandOptions, forwarded_urls: Sequence[str] = ()
) -> list[Paragraph]:
    """The overlay as text; for the arguments see `connect_items`."""
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
        not_ready_message = (
            "No Pod is ready: requests fail until one is."
            if view.desired
            else "It is scaled to 0: requests fail until there are replicas."
        )
        result.append(Paragraph((("! ", "warning"), (not_ready_message, "warning")), indent=2))
    if not endpoint.is_grpc:
        sends = "sends a test request and shows the answer, and how fast it comes."
        result.append(Paragraph((("enter ", "key"), (sends, "muted")), indent=6))
    for item in connect_items(view, options, forwarded_urls):
        result += [Paragraph(), Paragraph(((f"{item.key} ", "key"), (item.title, "muted")))]
        if item.note:
            result.append(Paragraph((("  ", ""), (item.note, "muted")), indent=2))
        if item.text:
            result += [
                Paragraph((("  ", ""), (line, "strong")), indent=6)
                for line in _split_lines(item.text)
            ]
        else:
            result.append(Paragraph((("  ", ""), (item.unavailable_reason, "muted")), indent=2))
        if item.name == "port_forward":
            result += [
                Paragraph((("  ", ""), (f"Forwarded here now: {url}", "accent")), indent=2)
                for url in forwarded_urls
            ]
    if endpoint.is_grpc:
        return result
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
        self._update_text()
        self.text_view.focus()

    @property
    def _forwarded_urls(self) -> list[str]:
        return forwarded_urls(self.app_context, self._view)

    @property
    def _items(self) -> list[ConnectItem]:
        return connect_items(self._view, self.app_context.command_options, self._forwarded_urls)

    def _update_text(self) -> None:
        options = self.app_context.command_options
        self.text_view.set_paragraphs(build_paragraphs(self._view, options, self._forwarded_urls))

    def on_changes(self, changes: SourceChanges) -> None:
        """The serving may have changed."""
        view = self.app_context.source.fleet.view(self._view.key)
        if view is not None and view is not self._view:
            self._view = view
            self._update_text()
            self.update_footer()

    def disabled_reason(self, action: Action) -> str:
        if action.name == "request":
            return _GRPC_REASON_OF_REQUEST if self._view.endpoint.is_grpc else ""
        item = next((item for item in self._items if item.name == action.name), None)
        return item.unavailable_reason if item is not None and not item.text else ""

    def do_request(self) -> None:
        # Its modules are not needed before.
        from tui.screens.inference_request import InferenceRequestScreen

        self.app.push_screen(InferenceRequestScreen(self._view))

    async def _copy_item(self, name: str) -> None:
        item = next(item for item in self._items if item.name == name)
        write = self.app_context.write_to_terminal
        message, style_name = await copy_with_message(item.text, write, item.text)
        self.show_message(message, style_name, 20)

    async def do_url(self) -> None:
        await self._copy_item("url")

    async def do_address(self) -> None:
        await self._copy_item("address")

    async def do_curl(self) -> None:
        await self._copy_item("curl")

    async def do_curl_async(self) -> None:
        await self._copy_item("curl_async")

    async def do_result(self) -> None:
        await self._copy_item("result")

    async def do_stream(self) -> None:
        await self._copy_item("stream")

    async def do_port_forward(self) -> None:
        await self._copy_item("port_forward")

    async def do_forwarded(self) -> None:
        await self._copy_item("forwarded")

    async def do_proxy(self) -> None:
        await self._copy_item("proxy")

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)

    def do_close(self) -> None:
        self.dismiss(None)
