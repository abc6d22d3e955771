"""pods/portforward: WebSockets with channels for one port, and SPDY, as kubectl speaks it, over
HTTP or in a WebSocket. Sources: kubernetes pkg/registry/core/pod/rest/subresources.go,
staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go."""

from __future__ import annotations

import asyncio

from aiohttp import web

from servedeck.demo.api import channels, status
from servedeck.demo.api.kubelet_api import KubeletApi
from servedeck.demo.api.request import ApiRequest
from servedeck.demo.api.spdy import port_forward, upgrade
from servedeck.demo.resources import PODS
from servedeck.demo.store.objects import Json
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.port_number import parse_port_number

_DATA, _ERROR = 0, 1
_CHUNK_BYTES = 32 << 10
_TUNNEL = f"{upgrade.SPDY}+{port_forward.PROTOCOL}"
"""The WebSocket's protocol of kubectl from 1.30 on."""


async def forward_port(
    store: ObjectStore, kubelet: KubeletApi, call: ApiRequest, request: web.BaseRequest
) -> web.StreamResponse:
    """Forwards until the client closes the connection; one port with channels, as many as the
    client asks for with SPDY. StatusError before the upgrade."""
    pod = store.get(call.resource, call.namespace, call.name)
    channels.check_node(store, pod)
    if request.headers.get("Upgrade", "").lower() == upgrade.SPDY.lower():
        return await _serve_spdy(store, kubelet, pod, request)
    if channels.requests_protocol(request, _TUNNEL):
        return await _serve_tunnel(store, kubelet, pod, request)
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


async def _serve_spdy(
    store: ObjectStore, kubelet: KubeletApi, pod: Json, request: web.BaseRequest
) -> web.StreamResponse:
    """Raises ConnectionError at the end, as the connection is no HTTP server's any more."""
    asked = request.headers.getall("X-Stream-Protocol-Version", [])
    if asked and port_forward.PROTOCOL not in (
        one.strip() for each in asked for one in each.split(",")
    ):
        raise status.bad_request(
            f"unable to upgrade: the demo cluster supports {port_forward.PROTOCOL} only"
        )
    transport = request.transport
    if not isinstance(transport, asyncio.Transport):
        raise ConnectionResetError
    connection = upgrade.TakenConnection(transport, port_forward.PROTOCOL)
    try:
        await port_forward.serve(connection, _connector(store, kubelet, pod))
    finally:
        connection.close()
    raise ConnectionResetError


async def _serve_tunnel(
    store: ObjectStore, kubelet: KubeletApi, pod: Json, request: web.BaseRequest
) -> web.StreamResponse:
    websocket = await channels.open_channels(request, _TUNNEL)
    try:
        transport = upgrade.WebSocketTransport(websocket)
        await port_forward.serve(transport, _connector(store, kubelet, pod))
        await websocket.close()
    except ConnectionError:
        pass  # the client has disconnected
    return websocket


def _connector(store: ObjectStore, kubelet: KubeletApi, pod: Json) -> port_forward.Connect:
    """Connections to this Pod while it exists."""
    meta = pod["metadata"]

    async def connect(port: int) -> port_forward.Connection:
        found = store.find(PODS, meta["namespace"], meta["name"])
        if found is None or found["metadata"]["uid"] != meta["uid"]:
            raise ConnectionRefusedError(_gone(meta["name"], port))
        try:
            return await kubelet.connect(found, port)
        except ConnectionRefusedError:
            raise ConnectionRefusedError(_refused(meta["name"], port)) from None

    return connect


def _parse_port(given: list[str]) -> int:
    written = [one for each in given for one in each.split(",")]
    if not written:
        raise status.bad_request('query parameter "port" is required')
    if len(written) > 1:
        raise status.bad_request("the demo cluster forwards one port for each request")
    if port := parse_port_number(written[0]):
        return port
    raise status.bad_request(f'unable to parse "{written[0]}" as a port')


def _refused(pod: str, port: int) -> str:
    return (
        f"error forwarding port {port} to pod {pod}, uid : failed to execute portforward in "
        f'network namespace "/var/run/netns/cni-{pod}": failed to connect to localhost:{port}: '
        f"dial tcp4 127.0.0.1:{port}: connect: connection refused"
    )


def _gone(pod: str, port: int) -> str:
    return (
        f"error forwarding port {port} to pod {pod}, uid : failed to find sandbox "
        f'"{pod}" in store: not found'
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
