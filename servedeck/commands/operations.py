"""`servedeck scale`, `restart`, `stop`, `start`, `pause`, `resume`, `rollback`, `delete` and
`adopt`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from servedeck.changes.operations.adoption import Adoption
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.lost_writes import look_again
from servedeck.changes.operations.operation import (
    POD_KEEPING_KINDS,
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.changes.operations.planner import plan_operation
from servedeck.changes.operations.replica_plans import MAX_REPLICAS
from servedeck.changes.operations.room_check import with_room_warnings
from servedeck.changes.platform_settings import load_platform_settings
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError, ReadOnlyError
from servedeck.cluster.write_log import expect_writes, set_rest, settle_write
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.interruption import run_writing
from servedeck.commands.operation_text import (
    OperationReport,
    plan_lines,
    reports_json,
    short_name,
    verb,
)
from servedeck.commands.output import write_lines
from servedeck.commands.prompt import TerminalPrompt
from servedeck.commands.serving_load import CommandLoads, LoadSource, reading_load
from servedeck.metrics.load import ServingLoad
from servedeck.serving.objects.routes import PlatformSettings

LOOK_AGAIN_TIMEOUT = 30.0
"""Seconds for which an object is looked at after the response to a change was lost."""
LOOK_AGAIN_INTERVAL = 2.0
"""Seconds between two looks."""
_REPEATED_KINDS = (OperationKind.RESTART, OperationKind.ROLLBACK)
"""Operations that do something again to a serving that they were done to."""

LineWriter = Callable[[str], None]


class Prompt(Protocol):
    """See TerminalPrompt."""

    @property
    def is_terminal(self) -> bool: ...

    async def ask(self, question: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What counts as confirmed without a question."""

    assume_yes: bool = False
    """-y: everything but a deletion in a production context."""
    names: frozenset[str] = frozenset()
    """--confirm-name: servings whose deletion is confirmed, as NAMESPACE/NAME."""
    production_context: str = ""
    """Name of the context if it is a production context, in which the name of a serving is typed
    before it is deleted."""

    def covers(self, plan: OperationPlan) -> bool:
        """Whether nothing is left to be asked."""
        return not plan.needs_confirmation or self.is_given_for(plan.operation)

    def needs_name(self, operation: Operation) -> bool:
        """Whether the name is typed."""
        return bool(self.production_context) and operation.kind is OperationKind.DELETE

    def is_given_for(self, operation: Operation) -> bool:
        """Whether the command line confirms the operation, whatever its plan is."""
        if short_name(operation) in self.names:
            return True
        return self.assume_yes and not self.needs_name(operation)


class OperationRunner:
    """Plans, confirms and runs operations one after another."""

    def __init__(
        self,
        connection: Connection,
        confirmation: Confirmation,
        prompt: Prompt,
        *,
        stderr: LineWriter,
        dry_run: bool = False,
        platform: PlatformSettings | None = None,
        loads: LoadSource | None = None,
    ) -> None:
        """`platform` is for the route of an adoption; `loads` reads the load of a serving before
        its Pods end, None for a plan without it."""
        self._connection = connection
        self._confirmation = confirmation
        self._prompt = prompt
        self._stderr = stderr
        self._dry_run = dry_run
        self._platform = platform
        self._loads = loads

    async def run(self, operation: Operation) -> OperationReport:
        """Run one operation. A plan that is outdated after its confirmation is made again and asked
        for again, or reported where nobody can be asked. Never raises ClusterError."""
        is_outdated = False
        # Where nobody reads the plan, nothing waits for the load.
        is_shown = self._dry_run or self._asks(operation)
        loads = self._loads if is_shown else None
        while True:
            async with reading_load(loads, operation.namespace, operation.name) as pending:
                try:
                    plan = await plan_operation(
                        self._connection, operation, platform=self._platform
                    )
                    plan = await with_room_warnings(self._connection, plan)
                except ClusterError as error:
                    return OperationReport(operation, Outcome.REJECTED, str(error))
                if not plan.is_possible:
                    outcome = Outcome.REJECTED if plan.blocked else Outcome.UNCHANGED
                    return OperationReport(operation, outcome, plan.blocked or plan.unchanged, plan)
                is_read = self._dry_run or is_outdated or not self._confirmation.covers(plan)
                load = None
                if pending is not None and is_read and plan.ends_pods:
                    load = await pending.result()
            if self._dry_run:
                effects = " ".join(plan.effects)
                return OperationReport(operation, "planned", effects, plan, load=load)
            if refusal := await self._confirm(plan, load, is_outdated):
                return OperationReport(operation, "refused", refusal, plan, load=load)
            result = await self._look_again(await run_plan(self._connection, plan))
            message = result.message
            if result.outcome is Outcome.OUTDATED:
                if self._asks(operation):
                    self._stderr(f"{message} This is the plan for it as it is now:")
                    is_outdated = True
                    continue
                message += " Run the command again."
            return OperationReport(operation, result.outcome, message, plan, result, load)

    def _asks(self, operation: Operation) -> bool:
        """Whether a plan that needs a confirmation is shown and asked for."""
        return self._prompt.is_terminal and not self._confirmation.is_given_for(operation)

    async def _confirm(
        self, plan: OperationPlan, load: ServingLoad | None, is_outdated: bool
    ) -> str:
        """Why it is not confirmed, one sentence; "" if it is."""
        confirmation, operation = self._confirmation, plan.operation
        if confirmation.covers(plan) and not is_outdated:
            return ""
        needs_name = confirmation.needs_name(operation)
        production = f"{confirmation.production_context} is a production context"
        if needs_name and confirmation.assume_yes:
            return (
                f"{production}, where -y does not confirm a deletion; add --confirm-name "
                f"{short_name(operation)} to delete it."
            )
        if not self._prompt.is_terminal and needs_name:
            return (
                f"{production}, and there is no terminal to ask for the name; add --confirm-name "
                f"{short_name(operation)} to delete it."
            )
        if not self._prompt.is_terminal:
            return (
                f"There is no terminal to ask for a confirmation; add -y to {verb(operation.kind)} "
                "it, or --dry-run to see the plan."
            )
        for line in plan_lines(plan, load):
            self._stderr(line)
        if needs_name:
            answer = await self._prompt.ask(f"{production}. Type {operation.name} to delete it:")
            if answer == operation.name:
                return ""
            return f"The typed name is not {operation.name}; nothing was changed."
        answer = await self._prompt.ask(
            f"{verb(operation.kind).capitalize()} {operation.target}? [y/N]"
        )
        return "" if answer.lower() in ("y", "yes") else "Not confirmed; nothing was changed."

    async def _look_again(self, result: OperationResult) -> OperationResult:
        """The result, once it is known what became of a lost request, or the time is over."""
        if result.outcome is not Outcome.UNKNOWN:
            return result
        self._stderr(f"{result.message} Waiting up to {LOOK_AGAIN_TIMEOUT:.0f} s for an answer.")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOOK_AGAIN_TIMEOUT
        while result.outcome is Outcome.UNKNOWN and loop.time() < deadline:
            await asyncio.sleep(LOOK_AGAIN_INTERVAL)
            result = await look_again(self._connection, result)
        return result


def print_report(report: OperationReport, stdout: LineWriter, stderr: LineWriter) -> None:
    """Print the outcome as text."""
    name = short_name(report.operation)
    if report.outcome == "planned" and report.plan is not None:
        header, *rest = plan_lines(report.plan, report.load)
        for line in (f"{header} (server dry run)", *rest):
            stdout(line)
        return
    if report.outcome == Outcome.DONE:
        for warning in report.warnings:
            stderr(f"warning: {name}: {warning}")
        stdout(report.message)
    elif report.outcome == Outcome.UNCHANGED:
        stdout(f"{report.operation.target} unchanged: {report.message}")
    else:
        stderr(f"error: {name}: {report.message}")


# -- the command --------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    settings = load_settings(args)
    kind = OperationKind(args.operation)
    replicas, revision = getattr(args, "replicas", None), getattr(args, "to_revision", 0)
    least = 1 if kind is OperationKind.START else 0
    if replicas is not None and not least <= replicas <= MAX_REPLICAS:
        raise CommandError(
            f"--replicas must be a number from {least} to {MAX_REPLICAS:,}.", USAGE_ERROR
        )
    if revision < 0:
        raise CommandError(
            "--to-revision must be the number of a revision, or 0 for the one before.", USAGE_ERROR
        )
    targets = [split_serving_name(one, args.namespace) for one in args.names]
    if any(namespace is None for namespace, _ in targets):
        require_single_namespace(settings)
    confirmed = getattr(args, "confirm_names", ())
    if settings.readonly and not args.dry_run:
        raise ReadOnlyError

    async def run_all(target: ConnectionOptions) -> Sequence[OperationReport]:
        connection = await Connection.open(target)
        try:
            context = connection.context_name
            platform = None
            if getattr(args, "route", False):
                platform = await load_platform_settings(connection, settings)
            default = connection.namespace or "default"
            operations = [
                _make_operation(kind, where or default, name, args) for where, name in targets
            ]
            runner = OperationRunner(
                connection,
                Confirmation(
                    args.yes,
                    find_confirmed(confirmed, operations),
                    context if settings.is_production(context) else "",
                ),
                TerminalPrompt(),
                stderr=_write_error_line,
                dry_run=args.dry_run,
                platform=platform,
                loads=None if kind in POD_KEEPING_KINDS else CommandLoads(connection, settings),
            )
            reports = []
            if not args.dry_run:
                expect_writes(one.target for one in operations)
                if kind in _REPEATED_KINDS and len(operations) > 1:
                    set_rest("Run the command again for those alone.")
            for operation in dict.fromkeys(operations):
                reports.append(await runner.run(operation))
                settle_write(operation.target)
                if args.output == "text":
                    print_report(reports[-1], _write_line, _write_error_line)
            return reports
        finally:
            await connection.close()

    with connection_options(args, settings) as target:
        reports = run_writing(run_all(target))
    if args.output == "json":
        sys.stdout.write(json.dumps(reports_json(reports), indent=2) + "\n")
    return 0 if all(one.succeeded for one in reports) else 1


def _make_operation(
    kind: OperationKind, namespace: str, name: str, args: argparse.Namespace
) -> Operation:
    if kind is OperationKind.ADOPT:
        return Adoption.make(namespace, name, service=not args.no_service, route=args.route)
    replicas, revision = getattr(args, "replicas", None), getattr(args, "to_revision", 0)
    return Operation(kind, namespace, name, replicas, revision)


def _write_line(line: str) -> None:
    write_lines(sys.stdout, line)


def _write_error_line(line: str) -> None:
    write_lines(sys.stderr, line)


def find_confirmed(confirmed: Iterable[str], operations: Iterable[Operation]) -> frozenset[str]:
    """The servings that --confirm-name confirms, each NAME or NAMESPACE/NAME, as NAMESPACE/NAME.
    Raises CommandError for one that is none of the servings, and for a NAME that several have."""
    known = {short_name(one): one.name for one in operations}
    found = set()
    for one in confirmed:
        matching = [full for full, name in known.items() if one in (full, name)]
        if not matching:
            raise CommandError(
                f"--confirm-name {one} is none of the servings to delete; correct it.", USAGE_ERROR
            )
        if len(matching) > 1:
            raise CommandError(
                f"--confirm-name {one} is the name of {len(matching)} of the servings to delete; "
                f"use NAMESPACE/NAME, such as {matching[0]}.",
                USAGE_ERROR,
            )
        found.add(matching[0])
    return frozenset(found)
