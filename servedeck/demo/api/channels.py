"""WebSockets with channels, the protocol of pods/exec and pods/portforward: each message begins
with the number of its channel. Source: kubernetes
staging/src/k8s.io/apimachinery/pkg/util/httpstream/wsstream/conn.go."""

from __future__ import annotations

from typing import Any

from aiohttp import WSMsgType, web

from servedeck.demo.api import status
from servedeck.demo.resources import NODES
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
_CLOSE_CHANNEL = 255
"""v5: the client sends no more on the channel that follows."""


def requests_protocol(request: web.BaseRequest, *protocols: str) -> bool:
    """Whether it asks for a WebSocket with one of the protocols."""
    asked = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    return any(one.strip() in protocols for one in asked)


async def open_channels(request: web.BaseRequest, *protocols: str) -> web.WebSocketResponse:
    """Answer the request for a WebSocket. StatusError 400 if it is none, or asks for another
    protocol."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise status.bad_request("Upgrade request required")
    if not requests_protocol(request, *protocols):
        raise status.bad_request(
            f"unable to upgrade: the demo cluster supports {', '.join(protocols)} only"
        )
    websocket = web.WebSocketResponse(protocols=protocols, compress=False)
    await websocket.prepare(request)
    return websocket


async def receive(websocket: web.WebSocketResponse) -> tuple[int, bytes] | None:
    """Channel and bytes of the next message; None at the end of the connection."""
    while True:
        message = await websocket.receive()
        if message.type is WSMsgType.BINARY and message.data:
            if message.data[0] != _CLOSE_CHANNEL:
                return message.data[0], message.data[1:]
        elif message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            return None


async def send(websocket: web.WebSocketResponse, channel: int, data: bytes) -> None:
    await websocket.send_bytes(bytes((channel,)) + data)


def check_node(store: ObjectStore, pod: Json) -> None:
    """StatusError if the Pod is on no node that could be asked."""
    name, node = pod["metadata"]["name"], (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise status.bad_request(f"pod {name} does not have a host assigned")
    if store.find(NODES, "", node) is None:
        raise status.not_found("", "pods", node)  # the real server says "pods" here, too
