"""GET pods/portforward. Sources: kubernetes pkg/registry/core/pod/rest/subresources.go,
staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go."""

from __future__ import annotations

import asyncio

from aiohttp import web

from servedeck.demo.api import channels, status
from servedeck.demo.api.kubelet_api import KubeletApi
from servedeck.demo.api.request import ApiRequest
from servedeck.demo.store.store import ObjectStore

_DATA, _ERROR = 0, 1
_CHUNK_BYTES = 32 << 10


async def forward_port(
    store: ObjectStore, kubelet: KubeletApi, call: ApiRequest, request: web.BaseRequest
) -> web.StreamResponse:
    """Forwards one port until the client or the Pod closes the connection."""
    pod = store.get(call.resource, call.namespace, call.name)
    channels.check_node(store, pod)
    _check_client(request)
    port = _parse_port(request.query.getall("ports", []))
    websocket = await channels.open_channels(request, channels.V4)
    number = port.to_bytes(2, "little")
    try:
        await channels.send(websocket, _DATA, number)
        await channels.send(websocket, _ERROR, number)
        try:
            reader, writer = await kubelet.connect(pod, port)
        except ConnectionRefusedError:
            await channels.send(websocket, _ERROR, _refused(call.name, port).encode())
        else:
            try:
                await _relay(websocket, reader, writer)
            finally:
                writer.transport.abort()
        await websocket.close()
    except ConnectionError:
        pass  # the client has disconnected
    return websocket


def _check_client(request: web.BaseRequest) -> None:
    """StatusError 400 for kubectl, which names no port in its request but speaks SPDY: over a
    WebSocket, then over HTTP."""
    headers = request.headers
    asked = headers.get("Sec-WebSocket-Protocol", "") + headers.get("Upgrade", "")
    if "SPDY/" in asked:
        raise status.bad_request(
            "the demo cluster does not know the protocol of kubectl port-forward; use "
            "`servedeck port-forward`"
        )


def _parse_port(given: list[str]) -> int:
    written = [one for each in given for one in each.split(",")]
    if not written:
        raise status.bad_request('query parameter "port" is required')
    if len(written) > 1:
        raise status.bad_request("the demo cluster forwards one port for each request")
    if not written[0].isdecimal() or not 0 < int(written[0][:6]) < 65536:
        raise status.bad_request(f'unable to parse "{written[0]}" as a port')
    return int(written[0])


def _refused(pod: str, port: int) -> str:
    return (
        f"error forwarding port {port} to pod {pod}, uid : failed to execute portforward in "
        f'network namespace "/var/run/netns/cni-{pod}": failed to connect to localhost:{port}: '
        f"dial tcp4 127.0.0.1:{port}: connect: connection refused"
    )


async def _relay(
    websocket: web.WebSocketResponse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    async def upload() -> None:
        while (message := await channels.receive(websocket)) is not None:
            channel, data = message
            if channel == _DATA:
                writer.write(data)
                await writer.drain()

    async def download() -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await channels.send(websocket, _DATA, data)

    tasks = (asyncio.create_task(upload()), asyncio.create_task(download()))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
