"""`servedeck get servings`: the contents of the list, once or for each change, without the TUI."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TextIO

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.commands import printers
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.output import write_lines
from servedeck.commands.session import (
    command_options,
    wait_for_crash_logs,
    wait_until_loaded,
    write_warnings,
)
from servedeck.fleet import view_json
from servedeck.fleet.query import Query, QueryError, parse_selector_query, sort_views
from servedeck.fleet.session import ClusterSession, SessionChanges
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.logs.container_end import read_container_end

OutputFormat = Literal["table", "wide", "json", "name"]


@dataclass(frozen=True, slots=True)
class GetOptions:
    names: tuple[str, ...] = ()
    """Only these servings; all if empty."""
    format: OutputFormat = "table"
    selector: Query | None = None
    watch: bool = False
    show_headers: bool = True


async def run_get(
    session: ClusterSession,
    options: GetOptions,
    *,
    out: TextIO | None = None,
    err: TextIO | None = None,
    now: Callable[[], datetime] | None = None,
) -> int:
    """Print the servings of `session`; returns the exit code. Raises ServingsUnavailableError if
    they cannot be read. `now` is the time for ages, by default the API server's.
    """
    command = _GetCommand(
        session, options, out or sys.stdout, err or sys.stderr, now or session.server_now
    )
    try:
        return await command.run()
    finally:
        await session.close()


class _GetCommand:
    def __init__(
        self,
        session: ClusterSession,
        options: GetOptions,
        out: TextIO,
        err: TextIO,
        now: Callable[[], datetime],
    ) -> None:
        self._session = session
        self._options = options
        self._out = out
        self._err = err
        self._now = now
        self._changed = asyncio.Event()
        self._changed_keys: set[NamespacedName] = set()
        self._last_error = ""
        session.subscribe(self._on_changes)
        session.limit_crash_logs(
            lambda view: options.format != "name" and self._matches(view)  # names have no cause
        )

    def _on_changes(self, changes: SessionChanges) -> None:
        self._changed_keys |= changes.keys
        self._changed.set()

    async def run(self) -> int:
        await self._session.start()
        await wait_until_loaded(self._session, self._err)
        self._out.flush()
        write_warnings(self._session, self._err)
        if not self._options.watch:  # it prints the causes when they are known
            printed = filter(self._matches, self._session.fleet.views())
            await wait_for_crash_logs(self._session, printed, self._err)
        self._err.flush()
        self._changed_keys.clear()
        views = self._matching_views()
        self._table = printers.TablePrinter(
            wide=self._options.format == "wide",
            with_namespace=not self._session.namespace,
            with_kind=not all(view.key.is_deployment for view in views),
        )
        missing = [name for name in self._options.names if name not in {v.key.name for v in views}]
        if self._options.watch:
            self._print_initial(views)
        else:
            self._print_views(views)
        for name in missing:
            where = self._session.namespace
            self._write_error(f'servedeck: there is no serving "{name}" in namespace {where}.')
        if missing:
            return 1
        if not views:
            where = f" in {self._session.namespace} namespace" if self._session.namespace else ""
            self._write_error(f"No resources found{where}.")
        if self._options.watch:
            await self._print_changes(views)
        return 0

    def _matches(self, view: ServingView) -> bool:
        names, selector = self._options.names, self._options.selector
        return (not names or view.key.name in names) and (
            selector is None or selector.matches(view)
        )

    def _matching_views(self) -> list[ServingView]:
        views = filter(self._matches, self._session.fleet.views())
        if self._options.format in ("table", "wide"):
            return sort_views(views)
        return sorted(views, key=lambda view: view.key)

    # -- once -----------------------------------------------------------------------------------

    def _print_views(self, views: Sequence[ServingView]) -> None:
        match self._options.format:
            case "json":
                options = command_options(self._session)
                alone = len(self._options.names) == 1 and len(views) == 1
                whole = (
                    view_json.serving_json(views[0], options)
                    if alone
                    else view_json.serving_list_json(views, options)
                )
                self._write_line(json.dumps(whole, indent=2))
            case "name":
                for view in views:
                    self._write_line(printers.resource_name(view))
            case _ if views:
                self._print_rows(views, header=self._options.show_headers)

    def _print_rows(self, views: Sequence[ServingView], *, header: bool) -> None:
        now = self._now()
        rows = [self._table.row_cells(view, now) for view in views]
        for line in self._table.format_rows(rows, header=header):
            self._write_line(line)

    # -- for each change ------------------------------------------------------------------------

    def _print_initial(self, views: Sequence[ServingView]) -> None:
        if self._options.format == "json":
            for view in views:
                self._print_change("ADDED", view)
        else:
            self._print_views(views)
        self._out.flush()

    async def _print_changes(self, views: Sequence[ServingView]) -> None:
        shown = {view.key: view for view in views}
        while True:
            self._changed.clear()
            keys, self._changed_keys = self._changed_keys, set()
            for key in sorted(keys):
                view, before = self._session.fleet.view(key), shown.get(key)
                if view is not None and self._matches(view):
                    shown[key] = view
                    if before is None:
                        self._print_change("ADDED", view)
                    elif view != before:
                        self._print_change("MODIFIED", view)
                elif before is not None:
                    del shown[key]
                    self._print_change("DELETED", before)
            self._out.flush()
            self._report_failure()
            await self._changed.wait()

    def _print_change(self, change_type: str, view: ServingView) -> None:
        match self._options.format:
            case "json":
                change: dict[str, Any] = {
                    "type": change_type,
                    "object": view_json.serving_json(view, command_options(self._session)),
                }
                self._write_line(json.dumps(change, separators=(",", ":")))
            case "name":
                self._write_line(printers.resource_name(view))
            case _:
                self._print_rows([view], header=False)

    def _report_failure(self) -> None:
        """Report once why the rows may be stale; the watch continues."""
        state = self._session.state
        complaint = state.message if state.has_failed else ""
        if complaint and complaint != self._last_error:
            self._write_error(f"servedeck: {complaint} Retrying.")
        self._last_error = complaint

    def _write_line(self, line: str) -> None:
        self._out.write(line + "\n")

    def _write_error(self, line: str) -> None:
        self._out.flush()
        write_lines(self._err, line)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    settings = load_settings(args)
    if args.names:
        require_single_namespace(settings)
    try:
        selector = parse_selector_query(args.selector) if args.selector is not None else None
    except QueryError as error:
        raise CommandError(str(error), USAGE_ERROR) from error
    options = GetOptions(
        names=tuple(dict.fromkeys(args.names)),
        format=args.output,
        selector=selector,
        watch=args.watch,
        show_headers=not args.no_headers,
    )

    async def get(target: ConnectionOptions) -> int:
        session = ClusterSession(
            target,
            settings,
            namespace_fallback=False,
            tune_gc=args.watch,
            read_last_lines=read_container_end,
        )
        return await run_get(session, options)

    with connection_options(args, settings) as target:
        return asyncio.run(get(target))
