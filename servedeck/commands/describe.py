"""`servedeck describe NAME`: everything that the page of a serving shows, as text or JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ClusterError
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    split_serving_name,
)
from servedeck.commands.errors import CommandError
from servedeck.commands.session import (
    command_options,
    find_serving,
    wait_for_crash_logs,
    wait_until_loaded,
    write_warnings,
)
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.detail.description import (
    DescriptionWatch,
    description_json,
    format_description,
)
from servedeck.fleet import view_json
from servedeck.fleet.history import ServingHistory
from servedeck.fleet.session import ClusterSession
from servedeck.logs.container_end import read_container_end

LISTS_TIMEOUT = 10.0
"""Seconds to wait for what is read besides the list: Deployment, ReplicaSets and Events."""


async def run_describe(
    session: ClusterSession,
    name: str,
    *,
    kind: str = "",
    as_json: bool,
    out: TextIO | None = None,
    err: TextIO | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """Print the serving of that name in the session's namespace, or the only one of that name in
    all of them; `kind` as in `find_servings`. Returns the exit code. Raises ClusterError if it
    cannot be read."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        session.limit_crash_logs(lambda view: view.key.name == name)
        await session.start()
        await wait_until_loaded(session, err)
        write_warnings(session, err)
        view = find_serving(session, name, kind)
        changed = asyncio.Event()
        service = ClusterDetailService(lambda: session.connection)
        watch = DescriptionWatch(service, view.key, changed.set)
        try:
            async with asyncio.timeout(LISTS_TIMEOUT):
                while not watch.is_settled:
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            err.write("servedeck: the server is slow; the description is not complete.\n")
        await wait_for_crash_logs(session, (view,), err)
        view = session.fleet.view(view.key) or view
        history = ServingHistory()
        history.record((view.key,), session.fleet, now())
        description = watch.describe(view, session.fleet, now(), history.timeline.entries(view.uid))
        await watch.close()
        if as_json:
            whole = {
                **view_json.serving_json(view, command_options(session)),
                **description_json(description),
            }
            out.write(json.dumps(whole, indent=2) + "\n")
        else:
            out.write("\n".join(format_description(description, now())) + "\n")
        return 0
    finally:
        await session.close()


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    args.namespace, name = split_serving_name(args.name, args.namespace)
    settings = load_settings(args)

    async def describe(target: ConnectionOptions) -> int:
        session = ClusterSession(target, settings, read_last_lines=read_container_end)
        return await run_describe(session, name, kind=args.kind, as_json=args.output == "json")

    with connection_options(args, settings) as target:
        try:
            return asyncio.run(describe(target))
        except ClusterError as error:
            raise CommandError(str(error)) from error
