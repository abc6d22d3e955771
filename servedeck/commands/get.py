"""`servedeck get servings`: what the list shows, once or for each change, without a screen."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from servedeck.cluster.http.errors import ClusterError
from servedeck.commands import printers
from servedeck.fleet.query import Query, sort
from servedeck.fleet.session import Changes, Live
from servedeck.fleet.views import Key, ServingView

PATIENCE = 5.0
"""Seconds that Events, Services and routes may be late after the servings are known."""

Format = Literal["table", "wide", "json", "name"]


class NotShownError(ClusterError):
    """The servings cannot be read."""


@dataclass(frozen=True, slots=True)
class Options:
    names: tuple[str, ...] = ()
    """Only these servings; all where empty."""
    format: Format = "table"
    selector: Query | None = None
    watch: bool = False
    headers: bool = True


async def run(
    live: Live,
    options: Options,
    *,
    out: TextIO | None = None,
    err: TextIO | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """Print the servings that `live` brings; returns the exit code.

    Raises NotShownError where they cannot be read.
    """
    command = _Get(live, options, out or sys.stdout, err or sys.stderr, now)
    try:
        return await command.run()
    finally:
        await live.close()


class _Get:
    def __init__(
        self,
        live: Live,
        options: Options,
        out: TextIO,
        err: TextIO,
        now: Callable[[], datetime],
    ) -> None:
        self._live = live
        self._options = options
        self._out = out
        self._err = err
        self._now = now
        self._news = asyncio.Event()
        self._keys: set[Key] = set()
        self._complaint = ""
        live.subscribe(self._hear)

    def _hear(self, changes: Changes) -> None:
        self._keys |= changes.keys
        self._news.set()

    async def run(self) -> int:
        await self._live.start()
        await self._until_known()
        self._warn()
        self._table = printers.Table(
            wide=self._options.format == "wide", namespaces=not self._live.namespace
        )
        self._keys.clear()
        views = self._chosen()
        missing = [name for name in self._options.names if name not in {v.key.name for v in views}]
        if self._options.watch:
            self._begin(views)
        else:
            self._print(views)
        for name in missing:
            where = self._live.namespace
            self._say(f'servedeck: there is no serving "{name}" in namespace {where}.')
        if missing:
            return 1
        if not views:
            where = f" in {self._live.namespace} namespace" if self._live.namespace else ""
            self._say(f"No resources found{where}.")
        if self._options.watch:
            await self._follow(views)
        return 0

    async def _until_known(self) -> None:
        """Wait for all lists; the servings themselves decide, the rest may be late."""
        patience: float | None = None
        loop = asyncio.get_running_loop()
        while not (state := self._live.state).settled:
            if state.failed:
                raise NotShownError(state.sentence)
            if state.phase.name == "LIVE":
                patience = patience or loop.time() + PATIENCE
                if loop.time() >= patience:
                    self._say("servedeck: the server is slow; Events or routes may be missing.")
                    break
            self._news.clear()
            try:
                async with asyncio.timeout_at(patience):
                    await self._news.wait()
            except TimeoutError:
                continue
        if (state := self._live.state).failed:
            raise NotShownError(state.sentence)

    def _warn(self) -> None:
        if missing := self._live.state.missing:
            self._say(
                f"servedeck: not allowed to {', '.join(missing)}; what hangs on it is left out."
            )

    def _is_chosen(self, view: ServingView) -> bool:
        names, selector = self._options.names, self._options.selector
        return (not names or view.key.name in names) and (
            selector is None or selector.matches(view)
        )

    def _chosen(self) -> list[ServingView]:
        views = filter(self._is_chosen, self._live.fleet.views())
        if self._options.format in ("table", "wide"):
            return sort(views)
        return sorted(views, key=lambda view: view.key)

    # -- once -----------------------------------------------------------------------------------

    def _print(self, views: Sequence[ServingView]) -> None:
        match self._options.format:
            case "json":
                alone = len(self._options.names) == 1 and len(views) == 1
                whole = printers.serving(views[0]) if alone else printers.serving_list(views)
                self._write(json.dumps(whole, indent=2))
            case "name":
                for view in views:
                    self._write(printers.name(view))
            case _ if views:
                self._rows(views, header=self._options.headers)

    def _rows(self, views: Sequence[ServingView], *, header: bool) -> None:
        now = self._now()
        rows = [self._table.row(view, now) for view in views]
        for line in self._table.lines(rows, header=header):
            self._write(line)

    # -- for each change ------------------------------------------------------------------------

    def _begin(self, views: Sequence[ServingView]) -> None:
        if self._options.format == "json":
            for view in views:
                self._change("ADDED", view)
        else:
            self._print(views)
        self._out.flush()

    async def _follow(self, views: Sequence[ServingView]) -> None:
        shown = {view.key: view for view in views}
        while True:
            self._news.clear()
            keys, self._keys = self._keys, set()
            for key in sorted(keys):
                view, before = self._live.fleet.view(key), shown.get(key)
                if view is not None and self._is_chosen(view):
                    shown[key] = view
                    if before is None:
                        self._change("ADDED", view)
                    elif view != before:
                        self._change("MODIFIED", view)
                elif before is not None:
                    del shown[key]
                    self._change("DELETED", before)
            self._out.flush()
            self._complain()
            await self._news.wait()

    def _change(self, what: str, view: ServingView) -> None:
        match self._options.format:
            case "json":
                change: dict[str, Any] = {"type": what, "object": printers.serving(view)}
                self._write(json.dumps(change, separators=(",", ":")))
            case "name":
                self._write(printers.name(view))
            case _:
                self._rows([view], header=False)

    def _complain(self) -> None:
        """Say once what keeps the rows from being true; it goes on by itself."""
        state = self._live.state
        complaint = state.sentence if state.failed else ""
        if complaint and complaint != self._complaint:
            self._say(f"servedeck: {complaint} Trying again.")
        self._complaint = complaint

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")

    def _say(self, line: str) -> None:
        self._out.flush()
        self._err.write(line + "\n")
        self._err.flush()
