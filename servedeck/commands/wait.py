"""`servedeck wait NAME --for=ready`: wait for a state of a serving, from watches."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from dataclasses import dataclass
from typing import TextIO

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
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
from servedeck.commands.session import wait_until_loaded, write_warnings
from servedeck.fleet.query import describe_ambiguous_name, find_servings
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import ServingView
from servedeck.serving.duration import format_duration
from servedeck.serving.objects.records import Deployment
from servedeck.serving.spec.fields import join_choices
from servedeck.serving.spec.mapping.json_values import as_int, as_mapping
from servedeck.serving.status.rollout import find_condition
from servedeck.serving.status.status import Status

READY, ROLLOUT, DELETED = "ready", "rollout", "deleted"
_CONDITIONS = (READY, ROLLOUT, DELETED)
_DURATION_PATTERN = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ms|s|m|h)")
_SECONDS_BY_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_SECONDS = 366 * 24 * 3600


@dataclass(frozen=True, slots=True)
class WaitCondition:
    """What is waited for."""

    kind: str
    """"ready", "rollout", "deleted" or "status"."""
    status: Status | None = None

    def __str__(self) -> str:
        match self.kind:
            case "rollout":
                return "rolled out"
            case "status":
                assert self.status is not None
                return self.status.value
            case "ready":
                return Status.READY.value
        return self.kind


def parse_condition(text: str) -> WaitCondition:
    """The condition of --for. Raises CommandError."""
    name, equals, value = text.strip().lower().partition("=")
    if name in _CONDITIONS and not equals:
        return WaitCondition(name)
    if name == "status" and equals:
        wanted = _letters(value)
        for status in Status:
            if _letters(status.value) == wanted:
                return WaitCondition("status", status)
        choices = join_choices(tuple(one.value.lower().replace(" ", "-") for one in Status))
        raise CommandError(f"There is no status {value!r}; choose {choices}.", USAGE_ERROR)
    choices = join_choices((*_CONDITIONS, "status=STATUS"))
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
            f"{text!r} is not a duration; write one such as 90s, 5m or 1h30m.", USAGE_ERROR
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
        self._generation = 0
        """The Deployment's generation when the command began: what the watches had from before does
        not count."""

    async def run(self, *, once: bool) -> int:
        await self._session.start()
        await wait_until_loaded(self._session, self._err)
        write_warnings(self._session, self._err)
        self._session.subscribe(lambda _changes: self._changed.set())
        view = self._find()
        if view is None:
            return self._report_missing()
        self._session.prioritize(view.key)
        if view.key.is_deployment:
            if not await self._read_generation(view):
                return self._report_missing()
        elif self._condition.kind == ROLLOUT:
            raise ClusterError(f"A rollout is waited for only of Deployments; {view.key} is none.")
        while True:
            self._changed.clear()
            if (code := self._check(view)) is not None:
                return code
            if once:
                return self._report(f"is not {self._condition}")
            await self._changed.wait()

    def _find(self) -> ServingView | None:
        found = find_servings(self._session.fleet.views(), self._name, kind=self._kind)
        if len(found) > 1:
            raise ClusterError(describe_ambiguous_name(found))
        return found[0] if found else None

    async def _read_generation(self, view: ServingView) -> bool:
        """Read the Deployment once from the server, as the first list may come from its cache;
        False if it does not exist."""
        connection = self._session.connection
        if connection is None:
            return True
        try:
            found = await connection.get_json(DEPLOYMENT.object_path(*view.key[:2]))
        except ApiError as error:
            return error.code != 404
        self._generation = as_int(as_mapping(found, "metadata").get("generation")) or 0
        return True

    # -- checks ---------------------------------------------------------------------------------

    def _check(self, first: ServingView) -> int | None:
        """The exit code if the waiting is over."""
        self._report_state()
        view = self._view = self._session.fleet.view(first.key)
        if view is None or view.uid != first.uid:
            if self._condition.kind == DELETED:
                return self._report_reached(first)
            self._view = first
            write_lines(self._err, f"servedeck: {_path(first)} was deleted.")
            return 1
        self._show(view)
        deployment = self._session.fleet.deployment(view.key)
        if deployment is not None and deployment.metadata.generation < self._generation:
            return None  # older than what was there when the command began
        if self._is_met(view, deployment):
            return self._report_reached(view)
        if self._condition.kind == ROLLOUT and deployment is not None and _has_failed(deployment):
            return self._report("exceeded its progress deadline")
        return None

    def _is_met(self, view: ServingView, deployment: Deployment | None) -> bool:
        match self._condition.kind:
            case "ready":
                return view.status is Status.READY
            case "status":
                return view.status is self._condition.status
            case "rollout":
                return deployment is not None and _is_rolled_out(deployment)
        return False

    # -- output ---------------------------------------------------------------------------------

    def _show(self, view: ServingView) -> None:
        """Write the status if it differs from the one written last."""
        rollout = f", {view.rollout}" if view.rollout else ""
        line = f"{_path(view)}: {view.status.value} {view.ready}/{view.desired}{rollout}"
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
        write_lines(self._out, f"{_path(view)} is {self._condition}")
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
        write_lines(self._err, f"servedeck: {_path(self._view)} {what}: {cause}{stale}")
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
    if view.message or view.reason:
        return view.message or view.reason
    pod = next(iter(view.failing_pods), None)
    return (pod.message or pod.reason) if pod is not None else view.rollout


def _path(view: ServingView) -> str:
    return str(view.key)


def _is_rolled_out(deployment: Deployment) -> bool:
    """Whether all replicas are updated and available, and no old ones are left (kubernetes kubectl
    pkg/polymorphichelpers/rollout_status.go)."""
    status, desired = deployment.status, deployment.spec.replicas
    return (
        _is_observed(deployment)
        and not _has_failed(deployment)
        and status.updated_replicas >= desired
        and status.replicas <= status.updated_replicas
        and status.available_replicas >= status.updated_replicas
    )


def _has_failed(deployment: Deployment) -> bool:
    progressing = find_condition(deployment, "Progressing")
    exceeded = progressing is not None and progressing.reason == "ProgressDeadlineExceeded"
    return exceeded and _is_observed(deployment)


def _is_observed(deployment: Deployment) -> bool:
    return deployment.metadata.generation <= deployment.status.observed_generation


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    args.namespace, name = split_serving_name(args.name, args.namespace)
    condition, seconds = parse_condition(args.condition), parse_timeout(args.timeout)
    settings = load_settings(args)
    require_single_namespace(settings)

    async def wait(target: ConnectionOptions) -> int:
        session = ClusterSession(target, settings, namespace_fallback=False)
        return await run_wait(session, name, condition, seconds, kind=args.kind)

    with connection_options(args, settings) as target:
        try:
            return asyncio.run(wait(target))
        except ClusterError as error:
            raise CommandError(str(error)) from error
