"""`servedeck top`: requests per second, P95 and waiting requests of servings, once or again and
again."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TextIO

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.session import wait_until_loaded, write_warnings
from servedeck.commands.top_output import (
    TopRow,
    TopTable,
    describe_unknown,
    format_time,
    reading_json,
)
from servedeck.commands.wait import parse_timeout
from servedeck.fleet.query import sort_views_by_value
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import ServingView
from servedeck.metrics.cluster_metrics import ClusterMetrics
from servedeck.metrics.fleet_metrics import FleetKey, ServingFigures
from servedeck.metrics.fleet_reader import (
    MAX_SERVINGS,
    REFRESH_SECONDS,
    FleetReader,
    FleetReading,
)
from servedeck.metrics.live_fleet import FIRST_INTERVAL
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.target import MetricsTarget, TargetPod, make_target
from servedeck.serving.text import one_line
from servedeck.terminal import shows_unicode

SortKey = Literal["rps", "p95", "waiting", "name"]
LEAST_INTERVAL = 1.0
"""Seconds between two readings; Pods are read less often in any case."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TopOptions:
    names: frozenset[FleetKey] = frozenset()
    """Namespaces and names of the only servings; the namespace "" is that of the context. All if
    empty."""
    sort: SortKey = "name"
    format: Literal["text", "wide", "json"] = "text"
    watch: bool = False
    interval: float = REFRESH_SECONDS
    """Seconds between two readings."""
    show_headers: bool = True


async def run_top(
    session: ClusterSession,
    options: TopOptions,
    *,
    out: TextIO | None = None,
    err: TextIO | None = None,
    sleep: Sleep = asyncio.sleep,
) -> int:
    """Print the figures of the servings of `session`; returns the exit code: 1 if a serving that is
    named does not exist. Raises ClusterError if the servings cannot be read."""
    command = _TopCommand(session, options, out or sys.stdout, err or sys.stderr, sleep)
    try:
        return await command.run()
    finally:
        await command.close()
        await session.close()


class _TopCommand:
    def __init__(
        self,
        session: ClusterSession,
        options: TopOptions,
        out: TextIO,
        err: TextIO,
        sleep: Sleep,
    ) -> None:
        self._session = session
        self._options = options
        self._out, self._err = out, err
        self._sleep = sleep
        self._opened: tuple[Connection, ClusterMetrics, FleetReader] | None = None
        self._written: set[str] = set()
        """What was written to `err` of the last reading."""

    async def run(self) -> int:
        await self._session.start()
        await wait_until_loaded(self._session, self._err)
        write_warnings(self._session, self._err)
        self._err.flush()
        table = TopTable(
            with_namespace=not self._session.namespace,
            wide=self._options.format == "wide",
            is_utf8=shows_unicode(),
        )
        missing = self._missing()
        while True:
            views = self._views()
            reading = await self._read(views)
            self._print(table, views, reading)
            if not self._options.watch:
                break
            await self._sleep(self._options.interval)
        for name in missing:
            self._write_error(f"There is no serving {name}.")
        return 1 if missing else 0

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened[1].close()

    # -- which servings -------------------------------------------------------------------------

    @property
    def _names(self) -> frozenset[FleetKey]:
        default = self._session.namespace or ""
        return frozenset((where or default, name) for where, name in self._options.names)

    def _views(self) -> list[ServingView]:
        """At most MAX_SERVINGS; those with a Ready Pod, which have figures, before others."""
        names = self._names
        views = [one for one in self._session.fleet.views() if not names or one.key[:2] in names]
        views.sort(key=lambda view: (not view.ready, view.key))
        if len(views) > MAX_SERVINGS:
            self._write_once(
                f"Only {MAX_SERVINGS} of {len(views):,} servings are shown; name fewer, or a"
                " namespace with -n."
            )
        return sorted(views[:MAX_SERVINGS], key=lambda view: view.key)

    def _missing(self) -> list[str]:
        known = {view.key[:2] for view in self._session.fleet.views()}
        return ["/".join(filter(None, one)) for one in sorted(self._names - known)]

    def _target(self, view: ServingView) -> MetricsTarget | None:
        deployment = self._session.fleet.deployment(view.key)
        if deployment is None:
            return None
        pods = [TargetPod(one.name, one.is_ready) for one in view.pods]
        return make_target(deployment, pods, metric_names=self._session.settings.metric_names)

    # -- their figures --------------------------------------------------------------------------

    async def _read(self, views: Sequence[ServingView]) -> FleetReading:
        targets = [target for view in views if (target := self._target(view)) is not None]
        with_recent = self._options.format != "text"
        reading = await self._reader().read(targets, with_recent=with_recent)
        if reading.next_in == FIRST_INTERVAL:  # a rate needs two readings
            await self._sleep(reading.next_in)
            reading = await self._reader().read(targets, with_recent=with_recent)
        return reading

    def _reader(self) -> FleetReader:
        """That of the current connection."""
        connection = self._session.connection
        if connection is None:
            raise ClusterError("There is no connection to the cluster.")
        if self._opened is None or self._opened[0] is not connection:
            metrics = ClusterMetrics(connection, self._session.settings, SampleRing())
            self._opened = connection, metrics, metrics.fleet_reader()
        return self._opened[2]

    # -- output ---------------------------------------------------------------------------------

    def _print(self, table: TopTable, views: Sequence[ServingView], reading: FleetReading) -> None:
        rows = [
            TopRow(
                view,
                reading.figures.get(view.key[:2], ServingFigures())
                if view.key.is_deployment
                else ServingFigures(),
                one_line(reading.reasons.get(view.key[:2], ""))
                if view.key.is_deployment
                else "Metrics are those of Deployments only.",
            )
            for view in self._sorted(views, reading)
        ]
        options = self._options
        if options.format == "json":
            whole = reading_json(rows, reading)
            compact = (",", ":") if options.watch else None
            self._write_line(
                json.dumps(whole, indent=None if options.watch else 2, separators=compact)
            )
        else:
            if options.watch:
                self._write_line(format_time(reading.time))
            for line in table.lines(rows, header=options.show_headers) if rows else ():
                self._write_line(line)
        self._out.flush()
        state = self._session.state
        stale = f"{state.message} Retrying." if state.has_failed else ""
        problems = [stale, one_line(reading.problem), *describe_unknown(rows, reading.problem)]
        if not rows and not options.names:
            where = f" in {self._session.namespace} namespace" if self._session.namespace else ""
            problems.append(f"No servings found{where}.")
        self._write_new([one for one in problems if one])

    def _sorted(self, views: Sequence[ServingView], reading: FleetReading) -> Sequence[ServingView]:
        """The largest first; by name as they are."""
        if self._options.sort == "name":
            return views

        def find_value(view: ServingView) -> float | None:
            figures = reading.figures.get(view.key[:2]) if view.key.is_deployment else None
            if figures is None:
                return None
            values = {"rps": figures.rate, "p95": figures.p95, "waiting": figures.waiting}
            return values[self._options.sort]

        return sort_views_by_value(views, find_value, reverse=True)

    def _write_line(self, line: str) -> None:
        self._out.write(line + "\n")

    def _write_new(self, problems: Iterable[str]) -> None:
        """Report what was not true of the reading before."""
        now = list(dict.fromkeys(problems))
        for one in now:
            if one not in self._written:
                self._write_error(one)
        self._written = set(now)

    def _write_once(self, problem: str) -> None:
        if not self._has_said_bound:
            self._has_said_bound = True
            self._write_error(problem)

    _has_said_bound = False

    def _write_error(self, problem: str) -> None:
        self._err.write(f"servedeck: {problem}\n")
        self._err.flush()


def make_options(args: argparse.Namespace) -> tuple[TopOptions, str | None]:
    """The options of the command, and the namespace to read: None for that of the settings, "" for
    all. Raises CommandError."""
    names = [split_serving_name(one, args.namespace) for one in args.names]
    interval = parse_timeout(args.interval)
    if interval < LEAST_INTERVAL:
        raise CommandError(f"--interval is {LEAST_INTERVAL:.0f}s at least.", USAGE_ERROR)
    namespaces = {where for where, _ in names}
    if len(namespaces) > 1 and None in namespaces:
        raise CommandError(
            "Name the namespace of each serving, NAMESPACE/NAME, or give one with -n.", USAGE_ERROR
        )
    options = TopOptions(
        frozenset((where or "", name) for where, name in names),
        args.sort,
        args.output,
        args.watch,
        interval,
        not args.no_headers,
    )
    if not names:
        return options, None
    return options, "" if len(namespaces) > 1 else next(iter(namespaces))


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    options, namespace = make_options(args)
    settings = load_settings(args)
    if options.names and namespace is None:
        require_single_namespace(settings)

    async def top(target: ConnectionOptions) -> int:
        if namespace is not None:
            target = replace(target, namespace=namespace or None, all_namespaces=not namespace)
        session = ClusterSession(target, settings, namespace_fallback=False, tune_gc=options.watch)
        return await run_top(session, options)

    with connection_options(args, settings) as target:
        return asyncio.run(top(target))
