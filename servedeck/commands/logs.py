"""`servedeck logs NAME`: the logs of a serving's Pods, merged by time, resumed after a lost
connection."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TextIO

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ClusterError, ConnectionLostError
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
from servedeck.fleet.views import PodView, ServingView
from servedeck.logs.instances import LogSelection
from servedeck.logs.levels import Level, level_of
from servedeck.logs.lines import NOTICE_SOURCE, LineBatch, LogSource
from servedeck.logs.query import LineQuery, QueryError
from servedeck.logs.records import RecordTracker
from servedeck.logs.streams import LogSince, LogStreams
from servedeck.logs.text import plain_text
from servedeck.serving.duration import parse_duration

MAX_HELD_LINES = 1000
"""Lines of a record that are held until one of them matches; a longer one is printed in part."""


@dataclass(frozen=True)
class LogOptions:
    """What is printed, and how."""

    follow: bool = False
    pods: frozenset[str] | None = None
    containers: frozenset[str] | None = None
    """None for that of the inference server."""
    all_containers: bool = False
    previous: bool = False
    since: LogSince = field(default_factory=LogSince)
    query: LineQuery | None = None
    level: Level | None = None
    """Only lines of this and higher levels."""
    as_json: bool = False


class _Record:
    """The last record of a source, which may go on."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=MAX_HELD_LINES)
        """Those that are not printed yet."""
        self.has_match = self.has_level = False


class LinePrinter:
    """Prints the records that match: a line with those that continue it. A record is printed as
    soon as its lines so far match, the rest of it as it arrives."""

    def __init__(
        self,
        options: LogOptions,
        sources: Callable[[], list[LogSource]],
        out: TextIO,
        err: TextIO,
    ) -> None:
        self._options, self._sources = options, sources
        self._out, self._err = out, err
        self._names_pods = options.pods is None or len(options.pods) > 1
        self._names_containers = options.all_containers or len(options.containers or ()) > 1
        self._is_filtered = options.query is not None or options.level is not None
        self._trackers: dict[int, RecordTracker] = {}
        self._records: dict[int, _Record] = {}
        """By the number of the source."""

    def print(self, batch: LineBatch) -> None:
        """Print a batch. Raises BrokenPipeError when the output was closed."""
        printed: list[str] = []
        for stamp, raw, number in zip(batch.stamps, batch.texts, batch.sources, strict=True):
            text = plain_text(raw)
            if number == NOTICE_SOURCE:
                write_lines(self._err, f"servedeck: {text}")
                continue
            line = self._line(stamp, text, self._sources()[number])
            printed += self._matching(number, text, line) if self._is_filtered else (line,)
        if printed:
            self._out.write("".join([f"{line}\n" for line in printed]))
            self._out.flush()

    def _matching(self, source: int, text: str, line: str) -> Iterable[str]:
        """What can be printed now that the next line of a source is known."""
        query, level = self._options.query, self._options.level
        if self._trackers.setdefault(source, RecordTracker()).starts_record(text):
            self._records[source] = _Record()
        record = self._records[source]
        record.lines.append(line)
        record.has_match = record.has_match or query is None or query.matches(text)
        record.has_level = record.has_level or level is None or level_of(text) >= level
        if not (record.has_match and record.has_level):
            return ()
        lines, record.lines = record.lines, deque(maxlen=MAX_HELD_LINES)
        return lines

    def _line(self, stamp: bytes, text: str, source: LogSource) -> str:
        if self._options.as_json:
            level = level_of(text)
            record = {
                "time": stamp.decode("ascii"),
                "namespace": source.namespace,
                "pod": source.pod,
                "container": source.container,
                "restarts": source.restart_count,
                "level": level.name.lower() if level is not Level.UNKNOWN else None,
                "text": text,
            }
            return json.dumps(record, ensure_ascii=False)
        names = [source.pod] if self._names_pods else []
        names += [source.container] if self._names_containers else []
        return f"{'/'.join(names)} {text}" if names else text


async def print_logs(
    session: ClusterSession,
    name: str,
    options: LogOptions,
    *,
    kind: str = "",
    stop: asyncio.Event,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Print until all is read, or with `follow` until `stop` is set; returns the exit code. `kind`
    as in `find_servings`. Raises ClusterError if the logs cannot be read."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        await session.start()
        await wait_until_loaded(session, err)
        write_warnings(session, err)
        view = find_serving(session, name, kind)
        session.prioritize(view.key)
        if session.connection is None:
            raise ConnectionLostError("Not connected to the API server.")
        _check_choice(view, options)
        printer = LinePrinter(options, lambda: streams.sources, out, err)
        changed = asyncio.Event()

        async def take(batch: LineBatch) -> None:
            printer.print(batch)

        streams = LogStreams(
            session.connection,
            since=options.since,
            follow=options.follow,
            on_batch=take,
            on_change=changed.set,
        )

        def is_known() -> bool:
            return session.fleet.view(view.key) is not None

        def update() -> None:
            current = session.fleet.view(view.key)
            streams.update(current.pods if current else (), _selection(view, options))
            changed.set()

        unsubscribe = session.subscribe(lambda _changes: update())
        try:
            update()
            return await _wait(streams, changed, stop, options, is_known)
        finally:
            unsubscribe()
            await streams.close()
    finally:
        await session.close()


def _selection(view: ServingView, options: LogOptions) -> LogSelection:
    containers = options.containers
    if containers is None and not options.all_containers and view.server_container:
        containers = frozenset((view.server_container,))
    return LogSelection(options.pods, containers, options.previous)


def _check_choice(view: ServingView, options: LogOptions) -> None:
    """Raises CommandError for a Pod or container that the serving does not have."""
    pods = {pod.name: pod for pod in view.pods}
    for name in sorted(options.pods or ()):
        if name not in pods:
            raise CommandError(f"{view.key} has no Pod {name}; it has {_names(pods)}.")
    known = {one.name for pod in view.pods for one in pod.containers}
    for name in sorted(options.containers or ()):
        if known and name not in known:
            raise CommandError(f"{view.key} has no container {name}; it has {_names(known)}.")
    if not view.pods and not options.follow:
        raise CommandError(f"{view.key}: {view.no_pods_text}")


def _names(names: dict[str, PodView] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


async def _wait(
    streams: LogStreams,
    changed: asyncio.Event,
    stop: asyncio.Event,
    options: LogOptions,
    is_known: Callable[[], bool],
) -> int:
    """Wait until everything is printed, with `follow` until the serving is deleted; the exit
    code. Refusals are among the notices of the streams."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while True:
            changed.clear()
            if streams.error is not None:  # the output was closed
                raise streams.error
            state = streams.state
            if state.finished and (not options.follow or state.refusals or not is_known()):
                return 1 if state.refusals else 0
            waiting = asyncio.ensure_future(changed.wait())
            await asyncio.wait((waiting, stopped), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if stop.is_set():
                return 0
    finally:
        stopped.cancel()


def make_options(args: argparse.Namespace) -> LogOptions:
    """The options of the command. Raises CommandError."""
    try:
        query = LineQuery.parse(args.grep) if args.grep is not None else None
    except QueryError as error:
        raise CommandError(f"--grep: {error}", USAGE_ERROR) from error
    since = LogSince(tail=args.tail)
    if args.all:
        since = LogSince(tail=None)
    elif args.since is not None:
        try:
            since = LogSince(tail=None, seconds=parse_duration(args.since))
        except ValueError as error:
            raise CommandError(f"--since: {error}", USAGE_ERROR) from error
    return LogOptions(
        follow=args.follow,
        pods=frozenset(args.pod) if args.pod else None,
        containers=frozenset(args.container) if args.container else None,
        all_containers=args.all_containers,
        previous=args.previous,
        since=since,
        query=query,
        level=Level[args.level.upper()] if args.level else None,
        as_json=args.output == "json",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    args.namespace, name = split_serving_name(args.name, args.namespace)
    options = make_options(args)
    settings = load_settings(args)
    require_single_namespace(settings)

    async def read(target: ConnectionOptions) -> int:
        stop = asyncio.Event()
        # As with kubectl, ctrl+c is the regular end.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        session = ClusterSession(target, settings, namespace_fallback=False)
        return await print_logs(session, name, options, kind=args.kind, stop=stop)

    with connection_options(args, settings) as target:
        try:
            return asyncio.run(read(target))
        except ClusterError as error:
            raise CommandError(str(error)) from error
