"""A controller process: its parts, from the first probe to the release of the Lease."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.lease import controller_lease_name
from servedeck.cluster.watch.reflector import ReflectorConfig
from servedeck.controller.condition_writer import ConditionWriter
from servedeck.controller.election import LeaderElection
from servedeck.controller.groups import PodGroups
from servedeck.controller.health import HealthApp, Readiness
from servedeck.controller.metrics import ControllerMetrics
from servedeck.controller.pod_events import EventRecorder
from servedeck.controller.settings import ControllerSettings, ControllerSettingsError
from servedeck.controller.temperature_control import TemperatureControl
from servedeck.controller.temperatures import Temperatures
from servedeck.gateway.http_server import bind, serve
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.prometheus import PrometheusClient
from servedeck.metrics.transports import PrometheusOptions, open_transport

_log = logging.getLogger(__name__)


class ControllerError(Exception):
    """The controller cannot start, or a part of it failed; str() is one sentence."""

    exit_code = 1


class Controller:
    """The parts of one process, made by `running_controller`."""

    def __init__(
        self,
        connection: Connection,
        client: PrometheusClient,
        settings: ControllerSettings,
        namespace: str | None,
        config: ReflectorConfig | None = None,
    ) -> None:
        self.metrics = ControllerMetrics()
        self.election = LeaderElection(
            connection,
            settings,
            controller_lease_name(namespace or ""),
            _make_identity(),
            config=config,
        )
        self.groups = PodGroups(connection, namespace, config=config)
        self.temperatures = Temperatures(client, settings.max_age, namespace)
        recorder = EventRecorder(connection, self.election.identity)
        self._control = TemperatureControl(
            connection,
            self.groups,
            self.temperatures,
            ConditionWriter(connection, recorder, self.metrics),
            self.metrics,
            lambda: self.election.is_leader,
            settings.interval,
        )

    def readiness(self) -> Readiness:
        problem, warning = self.groups.problem, self.temperatures.problem
        is_leader = self.election.is_leader
        if not problem and warning and is_leader:
            problem = f"warning: {warning}"
        return Readiness(ready=self.groups.is_synced, leader=is_leader, message=problem)

    async def run(self) -> None:
        """Act while it holds the Lease, until cancelled; then the Lease is released."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.groups.run())
            group.create_task(self.election.run(self._control.run))


@asynccontextmanager
async def running_controller(
    options: ConnectionOptions,
    prometheus: PrometheusOptions,
    settings: ControllerSettings,
    *,
    config: ReflectorConfig | None = None,
) -> AsyncIterator[tuple[Controller, int]]:
    """A controller, and the port on which probes are answered, in this process. Its `run` is the
    caller's to run. `config` is of its watches. Raises ControllerError, ControllerSettingsError and
    ClusterError if it cannot start."""
    if not prometheus.is_configured:
        raise ControllerSettingsError(
            "No Prometheus is named; give --prometheus-url, or set SERVEDECK_PROMETHEUS_URL or"
            " SERVEDECK_PROMETHEUS_SERVICE."
        )
    connection = await Connection.open(options)
    try:
        client = _open_client(connection, prometheus)
        try:
            namespace = None if options.all_namespaces else options.namespace
            controller = Controller(connection, client, settings, namespace, config)
            app = HealthApp(controller.metrics, controller.readiness)
            try:
                sock = bind(settings.host, settings.port)
            except OSError as error:
                where = f"{settings.host} port {settings.port}"
                reason = error.strerror or str(error)
                raise ControllerError(f"Cannot listen on {where}: {reason}.") from error
            async with serve(app, sock) as port:
                _log.info("Probes are answered on %s port %d.", settings.host, port)
                yield controller, port
        finally:
            await client.close()
    finally:
        await connection.close()


def _open_client(connection: Connection, prometheus: PrometheusOptions) -> PrometheusClient:
    try:
        return PrometheusClient(open_transport(connection, prometheus))
    except MetricsError as error:
        raise ControllerSettingsError(str(error)) from error


def _make_identity() -> str:
    """The name of the Pod, and what no other process has."""
    return f"{socket.gethostname()}_{secrets.token_hex(8)}"


def run_controller(
    options: ConnectionOptions, prometheus: PrometheusOptions, settings: ControllerSettings
) -> None:
    """Run a controller until SIGTERM or SIGINT; a second signal ends the process at once. Raises
    what `running_controller` does."""
    asyncio.run(_run_until_signal(options, prometheus, settings))


async def _run_until_signal(
    options: ConnectionOptions, prometheus: PrometheusOptions, settings: ControllerSettings
) -> None:
    async with running_controller(options, prometheus, settings) as (controller, _port):
        running = asyncio.ensure_future(controller.run())
        has_signal = False

        def on_signal(number: int) -> None:
            nonlocal has_signal
            if has_signal:
                os._exit(128 + number)  # the Lease ends by itself
            has_signal = True
            _log.info("%s: the controller shuts down.", signal.Signals(number).name)
            running.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        try:
            await running
        except asyncio.CancelledError:
            if not has_signal:
                raise
        except ExceptionGroup as error:
            _log.exception("A part of the controller failed.")
            name = type(error.exceptions[0]).__name__
            raise ControllerError(f"A part of the controller failed: {name}.") from error
    _log.info("The controller has ended.")
