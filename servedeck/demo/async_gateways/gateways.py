"""The async gateways of the demo, which start when something first asks them."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import aiohttp

from servedeck.demo.api.kubelet_api import ProxyRequest, ProxyResponse
from servedeck.demo.async_gateways.nodes import HOST, Nodes
from servedeck.demo.store.objects import Json, Key
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.conventions import ASYNC_LABEL

if TYPE_CHECKING:
    from servedeck.demo.async_gateways.process import GatewayProcess

_CLOSE_SECONDS = 3.0
"""The demo ends within five; the tasks end with it anyway."""
_AUTOMATIC_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_FORWARDED_ALREADY = ("content-length", "transfer-encoding", "connection", "host")

_log = logging.getLogger(__name__)


class AsyncGateways:
    """A gateway for each serving whose gateway has Pods in the store.

    `folder` is where their files are; it must be removed with the demo. Nothing is imported or
    started before the first request. `callers`: the servings whose gateways get requests of the
    demo's own once they have started, and whether more come later.
    """

    def __init__(
        self,
        store: ObjectStore,
        nodes: Nodes,
        folder: Callable[[], Path],
        callers: Mapping[Key, bool] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._callers = callers
        self._nodes = nodes
        self._folder = folder
        self._processes: dict[Key, GatewayProcess] = {}
        self._session: aiohttp.ClientSession | None = None

    async def local_port(self, pod: Json, port: int) -> int:
        """The port of 127.0.0.1 that is behind a port of a gateway's Pod. Starts the gateway.
        Raises ConnectionRefusedError where it cannot run, or does not listen on that port."""
        meta = pod["metadata"]
        key = meta["namespace"], (meta.get("labels") or {}).get(ASYNC_LABEL, "")
        if key not in self._processes:
            # In a thread: the imports take longer than other requests should wait.
            name = "servedeck.demo.async_gateways.process"
            module = await asyncio.to_thread(importlib.import_module, name)
            if key not in self._processes:
                self._processes[key] = module.GatewayProcess(
                    self._store,
                    self._nodes,
                    key,
                    self._folder() / f"{key[0]}.{key[1]}",
                    has_waves=self._callers.get(key),
                )
        ports = await self._processes[key].ports()
        if port not in ports:
            raise ConnectionRefusedError(f"nothing listens on port {port}")
        return ports[port]

    async def proxy(self, pod: Json, port: int, request: ProxyRequest) -> ProxyResponse:
        """The gateway's response; its body is forwarded as it comes, unless its length is known."""
        local = await self.local_port(pod, port)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_AUTOMATIC_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _FORWARDED_ALREADY}
        try:
            answer = await self._session.request(
                request.method,
                f"http://{HOST}:{local}{request.path}",
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
            )
            if answer.content_length is not None:
                async with answer:
                    body = await answer.read()
                return ProxyResponse(answer.status, answer.headers, body)
        except aiohttp.ClientError as error:
            raise ConnectionRefusedError(str(error)) from error
        return ProxyResponse(answer.status, answer.headers, _parts(answer))

    async def close(self) -> None:
        """End them all."""
        if self._session is not None:
            await self._session.close()
        if not self._processes:
            return
        ends = [asyncio.create_task(one.close()) for one in self._processes.values()]
        _, late = await asyncio.wait(ends, timeout=_CLOSE_SECONDS)
        for end in late:
            _log.warning("An async gateway did not end in time.")
            end.cancel()


async def _parts(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with answer:
        try:
            async for part in answer.content.iter_any():
                yield part
        except aiohttp.ClientError as error:
            raise ConnectionResetError(str(error)) from error
