"""The demo cluster: API server, controllers and scenario on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from servedeck.demo.api import access
from servedeck.demo.api.access import DemoUser
from servedeck.demo.api.server import ApiServer
from servedeck.demo.api.validation.custom_types import check_custom_types
from servedeck.demo.async_gateways.gateways import AsyncGateways
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import ControllerManager
from servedeck.demo.errors import DemoError
from servedeck.demo.faults import FaultIsolation
from servedeck.demo.prometheus.api import PrometheusApi
from servedeck.demo.resources import CONFIGMAPS, Resource
from servedeck.demo.route_gateway.publishing import LIVE_HOST, publish
from servedeck.demo.route_gateway.server import RouteGateway
from servedeck.demo.runtime_files import RuntimeDirectory, StateLock
from servedeck.demo.scenario.async_gateways import CALLED_SERVINGS, viewer_rules
from servedeck.demo.scenario.cluster_objects import GATEWAY, PROMETHEUS_SERVICE
from servedeck.demo.scenario.scenario import Scenario
from servedeck.demo.store.objects import Json, key_of
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.temperature_controller import TemperatureControllerProcess
from servedeck.demo.workloads.runtime import NodeRuntime
from servedeck.serving.text import one_line

_SAVE_PERIOD_SECONDS = 0.5
"""Between two checks whether there is something to save; a save takes about 5 ms."""
_CATCH_UP_SECONDS = 3600.0
"""At most so much of the time since a state was saved is simulated when it is resumed."""
_SAVE_INFO = ("kube-system", "servedeck-demo")
"""ConfigMap in which a saved state keeps the demo's own time and seed."""


class DemoCluster:
    """A running demo cluster: `async with DemoCluster() as demo:`.

    `kubeconfig` is a file that only the user can read, in a directory that is removed at the end.
    `port` 0 takes a free port. `state`: a file from which the cluster is resumed, if it exists, and
    to which it is saved when it changes; it is locked meanwhile. `live=False`: the clock is
    stopped, and neither incidents nor requests to the async gateways happen, and no temperature
    controller runs. `serves_endpoints`: the endpoints of the servings lead to a gateway on this
    machine; by default if the demo is `live`. `more_users` are added to those of the kubeconfig.
    Raises DemoError where it cannot start, and at the end where the state cannot be saved.
    """

    store: ObjectStore
    clock: Clock
    controllers: ControllerManager
    scenario: Scenario
    _gateways: AsyncGateways

    def __init__(
        self,
        *,
        seed: int = 0,
        speed: float = 1.0,
        port: int = 0,
        state: Path | None = None,
        live: bool = True,
        serves_endpoints: bool | None = None,
        more_users: Sequence[DemoUser] = (),
    ) -> None:
        self._seed = seed
        self._speed = speed
        self._port = port
        self._state = state
        self._live = live
        self._serves_endpoints = live if serves_endpoints is None else serves_endpoints
        self._route_gateway: RouteGateway | None = None
        self._more_users = more_users
        self._saved_version = 0
        self._server: ApiServer | None = None
        self._saver: asyncio.Task[None] | None = None
        self._temperature_controller: TemperatureControllerProcess | None = None
        self._directory: RuntimeDirectory | None = None
        self._lock: StateLock | None = None
        self.url = ""

    @property
    def endpoints_url(self) -> str:
        """Where the paths of the endpoints begin; "" if they lead nowhere."""
        gateway = self._route_gateway
        return f"http://{LIVE_HOST}:{gateway.port}" if gateway is not None else ""

    @property
    def kubeconfig(self) -> Path:
        assert self._directory is not None, "the demo has not started"
        return self._directory.path / "kubeconfig"

    async def __aenter__(self) -> Self:
        if self._state is not None:
            self._lock = StateLock(self._state)
        try:
            await self._start()
        except BaseException:
            self._release_lock()
            raise
        return self

    def _gateway_folder(self) -> Path:
        assert self._directory is not None, "the demo has not started"
        return self._directory.path / "async-gateways"

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    async def _start(self) -> None:
        now = time.time()
        isolation = FaultIsolation()
        self.clock = Clock(Scenario.start_time(now), speed=self._speed, isolation=isolation)
        self.store = ObjectStore(self.clock, seed=self._seed, isolation=isolation)
        self.controllers = ControllerManager(
            self.store, self.clock, self._seed, isolation=isolation
        )
        self.scenario = Scenario(self.store, self.clock, self.controllers, self._seed)
        prometheus = PrometheusApi(self.controllers.query_engine)
        runtime = NodeRuntime(self.controllers.kubelet, self.clock, prometheus)
        self.controllers.metric_sources.proxy = runtime.proxy
        viewer = access.viewer(more_rules=viewer_rules())
        users = [access.admin(), viewer, access.namespace_admin("chat"), *self._more_users]
        callers = CALLED_SERVINGS if self._live else {}
        self._gateways = AsyncGateways(self.store, runtime, self._gateway_folder, callers)
        runtime.async_gateways = self._gateways
        self._server = ApiServer(self.store, runtime, users, port=self._port)
        if self._state is not None and self._state.exists():
            self._resume(self._state, now)
        else:
            self.scenario.create_initial_state(now)
        if self._serves_endpoints:
            await self._start_route_gateway(runtime)
        if self._live:
            self.scenario.start_incidents()
            self.clock.start()
        try:
            self.url = await self._server.start()
        except OSError as error:
            self.clock.stop()
            await self._stop_route_gateway()
            raise DemoError(
                f"Cannot listen on port {self._port} ({error.strerror or error}); choose another "
                "with --port."
            ) from error
        self._directory = RuntimeDirectory()
        # every JSON text is also YAML
        self._directory.write("kubeconfig", json.dumps(self._server.kubeconfig(), indent=2))
        if self._live:
            self.scenario.leave_temperatures_to_controller()
            self._temperature_controller = TemperatureControllerProcess(
                self.kubeconfig, PROMETHEUS_SERVICE
            )
        if self._state is not None:
            self._saver = asyncio.create_task(self._save_periodically())

    async def _start_route_gateway(self, runtime: NodeRuntime) -> None:
        gateway = RouteGateway(self.store, runtime, GATEWAY)
        try:
            publish(self.store, await gateway.start())
        except OSError as error:
            await gateway.close()
            raise DemoError(
                f"The demo's gateway cannot listen: {error.strerror or error}."
            ) from error
        self._route_gateway = gateway

    async def _stop_route_gateway(self) -> None:
        if self._route_gateway is not None:
            await self._route_gateway.close()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clock.stop()
        try:
            if self._saver is not None:
                self._saver.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._saver
            if self._temperature_controller is not None:
                await self._temperature_controller.close()
            await self._stop_route_gateway()
            if self._server is not None:
                await self._server.stop()
            await self.controllers.metric_sources.close()
            await self._gateways.close()
            self.save()
        except OSError as failure:
            raise DemoError(self._save_error(failure)) from failure
        finally:
            if self._directory is not None:
                self._directory.remove()
            self._release_lock()

    def save(self) -> None:
        """Writes the state file, if there is one and something has changed. Raises OSError."""
        if self._state is None or self.store.version == self._saved_version:
            return
        data = {"time": str(self.clock.time()), "seed": str(self._seed)}
        meta = {"namespace": _SAVE_INFO[0], "name": _SAVE_INFO[1]}
        if self.store.find(CONFIGMAPS, *_SAVE_INFO) is None:
            self.store.create(CONFIGMAPS, {"metadata": meta, "data": data})
        else:
            self.store.update(CONFIGMAPS, {"metadata": meta, "data": data})
        self.store.dump(self._state)
        self._saved_version = self.store.version

    def _resume(self, state: Path, now: float) -> None:
        try:
            self.store.load(state, _is_valid)
            info = self.store.find(CONFIGMAPS, *_SAVE_INFO) or {"data": {"time": now}}
            saved = float(info["data"]["time"])
        except (OSError, ValueError, KeyError) as error:
            raise DemoError(f"Cannot read the demo's state: {error}.") from error
        resumed_at = max(saved, now - _CATCH_UP_SECONDS)
        self.clock.run_until(resumed_at)
        self.controllers.resync()
        self.clock.run_until(max(resumed_at, now))

    async def _save_periodically(self) -> None:
        reported = False
        while True:
            await asyncio.sleep(_SAVE_PERIOD_SECONDS)
            try:
                self.save()
                reported = False
            except OSError as error:
                # reported once, and tried again: directories come back, disks get space
                if not reported:
                    sys.stderr.write(f"servedeck: {self._save_error(error)}\n")
                reported = True

    def _save_error(self, error: OSError) -> str:
        reason = error.strerror or error
        return f"Cannot save the demo's state to {self._state}: {reason}."


def _is_valid(resource: Resource, obj: Json) -> bool:
    """Whether spec and status of an object of a saved state fit their types. An object of which one
    does not is left out, and named on standard error: an older demo accepted some that no
    controller can read."""
    causes = (check_custom_types(resource, obj, part=part) for part in ("spec", "status"))
    cause = next(chain.from_iterable(causes), None)
    if cause is not None:
        name = one_line("/".join(key_of(obj)))
        message = one_line(f"{cause.field}: {cause.message}")
        sys.stderr.write(f"servedeck: {resource.kind} {name} is left out of the state: {message}\n")
    return cause is None
