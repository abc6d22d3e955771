"""`servedeck wait NAME --for=ready`: wait for a state of a serving, from watches."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
from dataclasses import dataclass
from typing import TextIO

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.resources import DEPLOYMENT
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.output import write_lines
from servedeck.commands.session import (
    wait_for_crash_logs,
    wait_until_loaded,
    write_warnings,
)
from servedeck.detail.object_watch import ObjectQuery, ObjectWatch
from servedeck.fleet.query import describe_ambiguous_name, find_servings
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import ServingView
from servedeck.logs.container_end import read_container_end
from servedeck.serving.duration import format_duration
from servedeck.serving.spec.fields import join_choices
from servedeck.serving.spec.mapping.json_values import JsonObject, as_int, as_mapping
from servedeck.serving.status.rollout_status import RolloutPhase, read_rollout_status
from servedeck.serving.status.status import Status

ROLLOUT, DELETED, STATUS = "rollout", "deleted", "status"
_SECOND_WATCH_SECONDS = 0.2
"""Until the list is checked again while it is behind the watch of the Deployment."""
_DURATION_PATTERN = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ms|s|m|h)")
_SECONDS_BY_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_SECONDS = 366 * 24 * 3600


@dataclass(frozen=True, slots=True)
class WaitCondition:
    """What is waited for."""

    kind: str
    """"rollout", "deleted" or "status"."""
    status: Status | None = None

    def __str__(self) -> str:
        if self.status is not None:
            return self.status.value
        return "rolled out" if self.kind == ROLLOUT else self.kind


def parse_condition(text: str) -> WaitCondition:
    """The condition of --for. Raises CommandError."""
    name, equals, value = text.strip().lower().partition("=")
    if name == "ready" and not equals:
        return WaitCondition(STATUS, Status.READY)
    if name in (ROLLOUT, DELETED) and not equals:
        return WaitCondition(name)
    if name == STATUS and equals:
        wanted = _letters(value)
        for status in Status:
            if _letters(status.value) == wanted:
                return WaitCondition(STATUS, status)
        choices = join_choices(tuple(one.value.lower().replace(" ", "-") for one in Status))
        raise CommandError(f"There is no status {value!r}; choose {choices}.", USAGE_ERROR)
    choices = join_choices(("ready", ROLLOUT, DELETED, "status=STATUS"))
    raise CommandError(f"{text!r} is nothing to wait for; choose {choices}.", USAGE_ERROR)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def parse_timeout(text: str) -> float:
    """Seconds of a duration as in kubectl, "90s", "5m", "1h30m"; "0" does not wait. Raises
    CommandError."""
    written = text.strip()
    if written == "0":
        return 0.0
    parts = _DURATION_PATTERN.findall(written)
    if not parts or "".join(parts) != written:
        raise CommandError(
            f"{text!r} is not a duration; enter one such as 90s, 5m or 1h30m.", USAGE_ERROR
        )
    seconds = 0.0
    for part in parts:
        number = part.rstrip("hms")
        seconds += float(number) * _SECONDS_BY_UNIT[part[len(number) :]]
    if seconds > _MAX_SECONDS:
        raise CommandError(f"{text!r} is longer than a year; choose less.", USAGE_ERROR)
    return seconds


async def run_wait(
    session: ClusterSession,
    name: str,
    condition: WaitCondition,
    seconds: float,
    *,
    kind: str = "",
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Wait until the serving meets the condition, at most `seconds`; returns the exit code. Changes
    of its status are written to `err`. `kind` as in `find_servings`. Raises ClusterError if the
    serving cannot be read or does not exist."""
    wait = _Wait(session, name, kind, condition, out or sys.stdout, err or sys.stderr)
    try:
        try:
            async with asyncio.timeout(seconds or None):
                return await wait.run(once=not seconds)
        except TimeoutError:
            return wait.report_timeout(seconds)
    finally:
        await session.close()


class _Wait:
    def __init__(
        self,
        session: ClusterSession,
        name: str,
        kind: str,
        condition: WaitCondition,
        out: TextIO,
        err: TextIO,
    ) -> None:
        self._session = session
        self._name, self._kind = name, kind
        self._condition = condition
        self._out, self._err = out, err
        self._changed = asyncio.Event()
        self._view: ServingView | None = None
        self._shown = ""
        self._error = ""
        self._is_behind = False
        """Whether the list is older than what the server had when the command began."""
        self._failure = ""
        """Why the serving will not meet the condition; "" while it may."""
        self._generation = 0
        """The Deployment's generation when the command began: what the watches had from before does
        not count."""

    async def run(self, *, once: bool) -> int:
        self._session.limit_crash_logs(lambda view: view.key.name == self._name)
        await self._session.start()
        await wait_until_loaded(self._session, self._err)
        write_warnings(self._session, self._err)
        self._session.subscribe(lambda _changes: self._changed.set())
        view = self._find()
        if view is None:
            return self._report_missing()
        self._session.prioritize(view.key)
        if not view.key.is_deployment:
            if self._condition.kind == ROLLOUT:
                raise ClusterError(
                    f"Only the rollout of a Deployment is waited for, not {view.key}."
                )
            return await self._wait(view, None, once=once)
        connection = self._session.connection
        if connection is None or not await self._read_generation(connection, view):
            return self._report_missing()
        # The list has a change only if it changes what is shown.
        query = ObjectQuery(DEPLOYMENT, view.key.namespace, view.key.name)
        watch = ObjectWatch(connection, query, self._changed.set)
        watch.start()
        try:
            return await self._wait(view, watch, once=once)
        finally:
            await watch.close()

    async def _wait(self, view: ServingView, watch: ObjectWatch | None, *, once: bool) -> int:
        is_cause_known = False
        while True:
            self._changed.clear()
            if watch is None or watch.is_settled:
                newest = watch.newest if watch is not None else None
                if (code := self._check(view, newest.value if newest else None)) is not None:
                    return code
                failure = self._failure or (f"is not {self._condition}" if once else "")
                if failure and is_cause_known:
                    return self._report(failure)
                is_cause_known = bool(failure)
                if failure:  # the serving may have changed meanwhile, so it is checked again
                    await wait_for_crash_logs(self._session, (view,), self._err)
                    continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SECOND_WATCH_SECONDS if self._is_behind else None):
                    await self._changed.wait()

    def _find(self) -> ServingView | None:
        found = find_servings(self._session.fleet.views(), self._name, kind=self._kind)
        if len(found) > 1:
            raise ClusterError(describe_ambiguous_name(found))
        return found[0] if found else None

    async def _read_generation(self, connection: Connection, view: ServingView) -> bool:
        """Read the Deployment once from the server, as the first lists may come from its cache;
        False if it does not exist."""
        try:
            found = await connection.get_json(DEPLOYMENT.object_path(*view.key[:2]))
        except ApiError as error:
            return error.code != 404
        self._generation = as_int(as_mapping(found, "metadata").get("generation")) or 0
        return True

    # -- checks ---------------------------------------------------------------------------------

    def _check(self, first: ServingView, deployment: JsonObject | None) -> int | None:
        """The exit code if the condition is met, or cannot be."""
        self._failure = ""
        self._report_state()
        view = self._session.fleet.view(first.key)
        if view is None or view.uid != first.uid:
            if self._condition.kind == DELETED:
                return self._report_reached(first)
            write_lines(self._err, f"servedeck: {first.key} was deleted.")
            return 1
        self._view = view
        self._show(view)
        listed = self._session.fleet.deployment(view.key)
        self._is_behind = listed is not None and listed.metadata.generation < self._generation
        if self._is_behind or _generation(deployment) < self._generation:
            return None  # older than what was there when the command began
        if self._condition.kind == ROLLOUT and deployment is not None:
            rollout = read_rollout_status(deployment, None)
            if rollout.phase is RolloutPhase.FAILED:
                self._failure = "exceeded its progress deadline"
                return None
            is_met = rollout.phase is RolloutPhase.COMPLETE and rollout.available >= rollout.updated
        else:
            is_met = view.status is self._condition.status
        return self._report_reached(view) if is_met else None

    # -- output ---------------------------------------------------------------------------------

    def _show(self, view: ServingView) -> None:
        """Write the status if it differs from the one written last."""
        rollout = f", {view.rollout}" if view.rollout else ""
        line = f"{view.key}: {view.status.value} {view.ready}/{view.desired}{rollout}"
        line += f": {_cause(view)}" if _cause(view) else ""
        if line != self._shown:
            self._shown = line
            write_lines(self._err, line)

    def _report_state(self) -> None:
        """Write once why the status may be stale; the watches are opened again."""
        state = self._session.state
        error = state.message if state.has_failed else ""
        if error and error != self._error:
            write_lines(self._err, f"servedeck: {error} Retrying.")
        self._error = error

    def _report_reached(self, view: ServingView) -> int:
        write_lines(self._out, f"{view.key} is {self._condition}")
        return 0

    def report_timeout(self, seconds: float) -> int:
        if self._view is None:
            why = self._session.state.message or "The servings were not listed."
            write_lines(self._err, f"servedeck: Waited {format_duration(seconds)}. {why}")
            return 1
        return self._report(f"is not {self._condition} after {format_duration(seconds)}")

    def _report(self, what: str) -> int:
        """Write what is not as wanted, and the cause."""
        assert self._view is not None
        stale = f" {self._error}" if self._error else ""
        cause = _cause(self._view) or self._view.status.value
        write_lines(self._err, f"servedeck: {self._view.key} {what}: {cause}{stale}")
        return 1

    def _report_missing(self) -> int:
        where = (
            f"namespace {self._session.namespace}" if self._session.namespace else "any namespace"
        )
        if self._condition.kind == DELETED:
            write_lines(self._out, f"{self._name} is deleted")
            return 0
        raise ClusterError(f"There is no {self._kind or 'serving'} {self._name} in {where}.")


def _cause(view: ServingView) -> str:
    """Why the serving is not as it should be, as the list says it; "" if nothing is known. A
    serving whose old Pods still serve is Ready: then the failing Pods of the rollout say why."""
    if view.rollout_message:
        return view.rollout_message
    if view.message or view.reason:
        return view.message or view.reason
    pod = next(iter(view.failing_pods), None)
    return (pod.message or pod.reason) if pod is not None else view.rollout


def _generation(deployment: JsonObject | None) -> int:
    return as_int(as_mapping(deployment, "metadata").get("generation")) or 0


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    args.namespace, name = split_serving_name(args.name, args.namespace)
    condition, seconds = parse_condition(args.condition), parse_timeout(args.timeout)
    settings = load_settings(args)
    require_single_namespace(settings)

    async def wait(target: ConnectionOptions) -> int:
        session = ClusterSession(
            target, settings, namespace_fallback=False, read_last_lines=read_container_end
        )
        return await run_wait(session, name, condition, seconds, kind=args.kind)

    with connection_options(args, settings) as target:
        try:
            return asyncio.run(wait(target))
        except ClusterError as error:
            raise CommandError(str(error)) from error
