"""One async gateway of the demo, in place of the processes in its Pods."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from servedeck.demo.async_gateways.callers import Callers
from servedeck.demo.async_gateways.nodes import HOST, Nodes
from servedeck.demo.async_gateways.upstreams import StoreUpstreams
from servedeck.demo.resources import CONFIGMAPS, SECRETS
from servedeck.demo.store.objects import Key
from servedeck.demo.store.store import ObjectStore
from servedeck.gateway.process import Gateway, running_gateway
from servedeck.gateway.settings import GatewaySettings, GatewaySettingsError, load_settings
from servedeck.serving.objects.async_gateway import (
    ADMIN_PORT,
    CALLER_PORT,
    DELIVER_PORT,
    SECRET_KEYS,
    SETTINGS_KEY,
)
from servedeck.serving.objects.async_routes import async_gateway_name

_CHECK_SECONDS = 0.5
"""How often it looks whether its Pods still run."""
_RETRY_SECONDS = 1.0
_OPEN_SECONDS = 5.0
"""For its store to be opened."""

_log = logging.getLogger(__name__)


class GatewayProcess:
    """The gateway of the serving `key`, which runs while any of its Pods does, and starts anew when
    the instances that it was started for have ended, as with other settings. Its tasks stay in
    `folder`."""

    def __init__(
        self,
        store: ObjectStore,
        nodes: Nodes,
        key: Key,
        folder: Path,
        *,
        has_waves: bool | None = None,
    ) -> None:
        """`has_waves`: see Callers; None for no callers of the demo's own."""
        self._callers = None if has_waves is None else Callers(key[1], has_waves=has_waves)
        self._store = store
        self._nodes = nodes
        self._namespace, self._serving = key
        self._folder = folder
        self._ports: Mapping[int, int] = MappingProxyType({})
        self._problem = ""
        """Why it could not start."""
        self._decided = asyncio.Event()
        """Set while there are `_ports` or a `_problem`."""
        self._served_for: frozenset[str] = frozenset()
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def ports(self) -> Mapping[int, int]:
        """The ports of 127.0.0.1 by those of the Pods, once it can be used. Raises
        ConnectionRefusedError."""
        while (instances := self._instances()) and not self._task.done():
            if not self._ports or not self._served_for & instances:
                # It has not started, or its Pods have been replaced, since it last looked.
                self._set_ports({})
                self._wake.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._decided.wait()
            if self._ports:
                return self._ports
            if self._problem:
                raise ConnectionRefusedError(self._problem)
        raise ConnectionRefusedError("No Pod of the gateway runs.")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _set_ports(self, ports: Mapping[int, int]) -> None:
        self._ports = ports
        if ports or self._problem:
            self._decided.set()
        else:
            self._decided.clear()

    async def _run(self) -> None:
        told = ""
        while True:
            if instances := self._instances():
                try:
                    await self._serve(instances)
                    continue
                except Exception as error:  # as when a process ends, and is started again
                    self._problem = str(error) or type(error).__name__
                self._set_ports({})
                if told != self._problem:
                    told = self._problem
                    _log.warning("The gateway of %s cannot run: %s", self._serving, told)
                await asyncio.sleep(_RETRY_SECONDS)
                self._problem = ""
                self._set_ports({})
            else:
                await self._sleep()

    def _instances(self) -> frozenset[str]:
        return self._nodes.gateway_instances(self._namespace, self._serving)

    async def _sleep(self) -> None:
        """Until there may be something to do."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._wake.wait()

    async def _serve(self, instances: frozenset[str]) -> None:
        """Run it until all of these instances have ended."""
        settings = await asyncio.to_thread(self._load_settings)
        upstreams = StoreUpstreams(self._store, self._nodes.connect, settings.service)
        async with running_gateway(settings, upstreams) as gateway:
            with contextlib.suppress(TimeoutError):  # it answers with 503 until then
                async with asyncio.timeout(_OPEN_SECONDS):
                    await gateway.wait_until_open()
            assert gateway.public_port is not None
            self._served_for = instances
            self._set_ports(
                {
                    CALLER_PORT: gateway.public_port,
                    ADMIN_PORT: gateway.admin_port,
                    DELIVER_PORT: gateway.admin_port,
                }
            )
            url = f"http://{HOST}:{gateway.public_port}"
            callers = asyncio.create_task(self._callers.call(url)) if self._callers else None
            try:
                await self._wait_for_end(gateway)
            finally:
                self._set_ports({})
                if callers is not None:
                    callers.cancel()
                    await asyncio.gather(callers, return_exceptions=True)

    async def _wait_for_end(self, gateway: Gateway) -> None:
        """Raises GatewayError if a part of it fails."""
        failure = asyncio.create_task(gateway.wait())
        failure.add_done_callback(lambda _: self._wake.set())
        try:
            while self._served_for & self._instances() and not failure.done():
                await self._sleep()
            if failure.done():
                failure.result()
        finally:
            failure.cancel()
            await asyncio.gather(failure, return_exceptions=True)

    def _load_settings(self) -> GatewaySettings:
        """The settings that its Pods mount, but for the store, and the ports, which are free ones
        of this machine. Raises GatewaySettingsError and OSError."""
        name = async_gateway_name(self._serving)
        config = self._store.find(CONFIGMAPS, self._namespace, name) or {}
        secret = self._store.find(SECRETS, self._namespace, name) or {}
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / SETTINGS_KEY
        file.write_text((config.get("data") or {}).get(SETTINGS_KEY) or "", encoding="utf-8")
        for key in SECRET_KEYS:
            try:
                value = base64.b64decode((secret.get("data") or {})[key])
            except (KeyError, binascii.Error):
                raise GatewaySettingsError(f"The Secret {name} has no usable {key}.") from None
            (self._folder / key).write_bytes(value)
        own: dict[str, object] = {
            "store": f"sqlite:{self._folder / 'tasks.db'}",
            "store_password_file": None,
            "store_ca_file": None,
            "store_certificate_file": None,
            "store_key_file": None,
            "role": "all",
            "host": HOST,
            "port": 0,
            "admin_host": HOST,
            "admin_port": 0,
            "secret_file": self._folder / "secret",
            "admin_key_file": self._folder / "admin-key",
            "view_key_file": self._folder / "view-key",
        }
        return load_settings(file, own)
