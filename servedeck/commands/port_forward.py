"""`servedeck port-forward NAME [[LOCAL:]REMOTE]`: a local port that follows a Ready Pod."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import TextIO

from servedeck.cluster.access import AccessChecker, websocket_permissions
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError, ConnectionLostError, ReadOnlyError
from servedeck.cluster.port_forward import connect_to_pod
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.output import write_lines
from servedeck.commands.session import find_serving, wait_until_loaded, write_warnings
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import NamespacedName
from servedeck.forwarding.gateway_forward import GatewayForward
from servedeck.forwarding.port_forward import PortForward
from servedeck.forwarding.ports import DEFAULT_ADDRESS, PortError, parse_ports
from servedeck.serving.objects.async_gateway import CALLER_PORT

RESOURCE = "pods/portforward"


async def run_port_forward(
    session: ClusterSession,
    name: str,
    ports: str,
    *,
    address: str = DEFAULT_ADDRESS,
    kind: str = "",
    stop: asyncio.Event,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Forward until `stop` is set; returns the exit code. `ports` as in `parse_ports`, `kind` as in
    `find_servings`. Raises ClusterError if the serving or the port cannot be forwarded."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        await session.start()
        await wait_until_loaded(session, err)
        write_warnings(session, err)
        view = find_serving(session, name, kind)
        session.prioritize(view.key)
        wanted = parse_ports(ports, view.endpoint.pod_port)

        def connection() -> Connection:
            if session.connection is None:
                raise ConnectionLostError("Not connected to the API server.")
            return session.connection

        await _check_permission(connection(), view.key.namespace)
        forward = PortForward(
            view.key,
            wanted.remote,
            lambda namespace, pod, port: connect_to_pod(connection(), namespace, pod, port),
            lambda: session.fleet.view(view.key),
            on_change=lambda: _write_target(out, forward),
            on_error=lambda text: write_lines(err, f"servedeck: {text}"),
        )
        await forward.start(address, wanted.local)
        unsubscribe = session.subscribe(lambda _changes: forward.update())
        try:
            _write_target(out, forward)
            await stop.wait()
        finally:
            unsubscribe()
            await forward.close()
    finally:
        await session.close()
    return 0


async def run_gateway_forward(
    connection: Connection,
    name: str,
    ports: str,
    *,
    address: str = DEFAULT_ADDRESS,
    stop: asyncio.Event,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Forward to the async gateway of a serving until `stop` is set; returns the exit code.
    `ports` as in `parse_ports`. Raises ClusterError if it cannot be forwarded."""
    out, err = out or sys.stdout, err or sys.stderr
    key = NamespacedName(connection.namespace, name)
    wanted = parse_ports(ports, CALLER_PORT)
    await _check_permission(connection, key.namespace)
    forward = GatewayForward(
        connection, key, wanted.remote, on_error=lambda text: write_lines(err, f"servedeck: {text}")
    )
    where = await forward.start(address, wanted.local)
    try:
        target = f"the async gateway of {key}, port {wanted.remote}"
        write_lines(out, f"Forwarding {where} → {target}")
        await stop.wait()
    finally:
        await forward.close()
    return 0


async def _check_permission(connection: Connection, namespace: str) -> None:
    """Raises ClusterError with the missing permission: without it every connection would fail."""
    if connection.readonly:
        raise ReadOnlyError
    access = AccessChecker(connection)
    for verb, resource in websocket_permissions(RESOURCE, await connection.server_version()):
        decision = await access.check(verb, resource, namespace)
        if not decision:
            raise ClusterError(decision.reason)


def _write_target(out: TextIO, forward: PortForward) -> None:
    pod = forward.pod
    target = f"Pod {pod.name}, port {forward.remote_port}" if pod is not None else "no Pod is Ready"
    write_lines(out, f"Forwarding {forward.where} → {forward.key}, {target}")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    args.namespace, name = split_serving_name(args.name, args.namespace)
    try:
        parse_ports(args.ports, server_port=1)
    except PortError as error:
        raise CommandError(str(error), USAGE_ERROR) from error
    settings = load_settings(args)
    require_single_namespace(settings)

    async def forward(target: ConnectionOptions) -> int:
        stop = asyncio.Event()
        # As with kubectl, ctrl+c is the regular end.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        if args.to_gateway:
            connection = await Connection.open(target)
            try:
                return await run_gateway_forward(
                    connection, name, args.ports, address=args.address, stop=stop
                )
            finally:
                await connection.close()
        session = ClusterSession(target, settings, namespace_fallback=False)
        return await run_port_forward(
            session, name, args.ports, address=args.address, kind=args.kind, stop=stop
        )

    with connection_options(args, settings) as target:
        try:
            return asyncio.run(forward(target))
        except ClusterError as error:
            raise CommandError(str(error)) from error
