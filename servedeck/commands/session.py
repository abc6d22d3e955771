"""Waits for the servings of a session, for commands that print them once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TextIO

from servedeck.cluster.command_options import CommandOptions
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.query import describe_ambiguous_name, find_servings
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import ServingView

OPTIONAL_LISTS_TIMEOUT = 5.0
"""Seconds to wait for Events, Services and routes after the servings are known."""

CRASH_LOGS_TIMEOUT = 5.0
"""Seconds to wait for the logs of crashed containers after the servings are known."""


class ServingsUnavailableError(ClusterError):
    """The servings cannot be read."""


async def wait_until_loaded(session: ClusterSession, err: TextIO) -> None:
    """Wait for all lists of a started session; only the servings are required, the rest may time
    out, which is written to `err`. Raises ServingsUnavailableError if they cannot be read."""
    changed = asyncio.Event()
    unsubscribe = session.subscribe(lambda _changes: changed.set())
    deadline: float | None = None
    loop = asyncio.get_running_loop()
    try:
        while not (state := session.state).settled:
            if state.has_failed:
                raise ServingsUnavailableError(state.message)
            if state.phase.name == "LIVE":
                deadline = deadline or loop.time() + OPTIONAL_LISTS_TIMEOUT
                if loop.time() >= deadline:
                    err.write("servedeck: the server is slow; Events or routes may be missing.\n")
                    break
            changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                continue
    finally:
        unsubscribe()
    if (state := session.state).has_failed:
        raise ServingsUnavailableError(state.message)


async def wait_for_crash_logs(
    session: ClusterSession, views: Iterable[ServingView], err: TextIO
) -> None:
    """Wait until the views of these servings say what the logs of their crashed containers tell;
    what takes too long is left out, which is written to `err`."""
    try:
        async with asyncio.timeout(CRASH_LOGS_TIMEOUT):
            await session.wait_for_crash_logs(view.key for view in views)
    except TimeoutError:
        err.write("servedeck: the server is slow; a cause in the log of a crash may be missing.\n")


def write_warnings(session: ClusterSession, err: TextIO) -> None:
    """Write what is missing or doubtful to `err`."""
    state = session.state
    if missing := state.missing_permissions:
        err.write(
            f"servedeck: not allowed to {', '.join(missing)}; data that needs it is not shown.\n"
        )
    if state.clock_warning:
        err.write(f"servedeck: {state.clock_warning}\n")


def command_options(session: ClusterSession) -> CommandOptions:
    """What names the session's cluster in a command that is shown."""
    return CommandOptions.of(session.context, session.connection_options.kubeconfig)


def find_serving(session: ClusterSession, name: str, kind: str) -> ServingView:
    """The serving of that name; `kind` as in `find_servings`. Raises ClusterError if there is none,
    or several."""
    found = find_servings(session.fleet.views(), name, kind=kind)
    if not found:
        where = f"namespace {session.namespace}" if session.namespace else "any namespace"
        raise ClusterError(f"There is no {kind or 'serving'} {name} in {where}.")
    if len(found) > 1:
        raise ClusterError(describe_ambiguous_name(found))
    return found[0]
