"""`servedeck traffic`: how the requests of an endpoint are divided, and dividing them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from servedeck.changes.operations.operation import Outcome
from servedeck.changes.platform_settings import complete_settings
from servedeck.changes.traffic_split.execution import describe_action, run_traffic
from servedeck.changes.traffic_split.plan import (
    TrafficAction,
    TrafficOptions,
    TrafficPlan,
    weight_problem,
)
from servedeck.changes.traffic_split.planning import describe_missing, plan_traffic
from servedeck.changes.traffic_split.state import read_state
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadOnlyError
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.interruption import run_writing
from servedeck.commands.operations import LineWriter, Prompt
from servedeck.commands.output import write_error_line, write_line
from servedeck.commands.plan_text import is_conflict, write_conflicts
from servedeck.commands.prompt import TerminalPrompt
from servedeck.commands.traffic_figures import read_figures
from servedeck.commands.traffic_text import (
    operation_json,
    plan_lines,
    sides,
    state_json,
    state_lines,
)
from servedeck.config import Settings

_CONFLICT_HINT = "  To overwrite them, use --force-conflicts."


class TrafficRunner:
    """Plans, confirms and runs one change of a traffic split."""

    def __init__(
        self,
        connection: Connection,
        prompt: Prompt,
        *,
        stderr: LineWriter,
        dry_run: bool = False,
        assume_yes: bool = False,
    ) -> None:
        self._connection = connection
        self._prompt = prompt
        self._stderr = stderr
        self._dry_run = dry_run
        self._assume_yes = assume_yes

    async def run(self, options: TrafficOptions) -> tuple[TrafficPlan, str, str]:
        """The plan, the outcome ("planned" for a dry run, "refused" if it was not confirmed) and
        what happened, in a sentence. Raises ClusterError if no plan can be made."""
        plan = await plan_traffic(self._connection, options)
        if plan.blocked:
            return plan, Outcome.REJECTED, plan.blocked
        if plan.unchanged:
            return plan, Outcome.UNCHANGED, plan.unchanged
        if self._dry_run:
            return plan, "planned", " ".join(plan.effects)
        if refusal := await self._confirm(plan):
            return plan, "refused", refusal
        result = await run_traffic(self._connection, plan)
        return plan, result.outcome, result.message

    async def _confirm(self, plan: TrafficPlan) -> str:
        """Why it is not confirmed, one sentence; "" if it is."""
        if self._assume_yes:
            return ""
        if not self._prompt.is_terminal:
            return (
                "There is no terminal to ask for a confirmation; add -y to do it, or --dry-run to "
                "see the plan."
            )
        for line in plan_lines(plan):
            self._stderr(line)
        question = describe_action(plan.options, plan.other_name)
        answer = await self._prompt.ask(f"{question}? [y/N]")
        return "" if answer.lower() in ("y", "yes") else "Not confirmed; nothing was changed."


# -- the commands -------------------------------------------------------------------------------


def run_change(args: argparse.Namespace) -> int:
    """Split, promote or abort; returns the exit code."""
    settings = load_settings(args)
    action = TrafficAction(args.action)
    weight: int | None = getattr(args, "weight", None)
    if action is TrafficAction.SPLIT and (problem := weight_problem(weight)):
        raise CommandError(f"--weight: {problem}", USAGE_ERROR)
    if settings.readonly and not args.dry_run:
        raise ReadOnlyError

    async def change(connection: Connection, namespace: str, name: str, known: Settings) -> int:
        options = TrafficOptions(
            action, namespace, name, getattr(args, "other", ""), weight, args.force_conflicts
        )
        runner = TrafficRunner(
            connection,
            TerminalPrompt(),
            stderr=write_error_line,
            dry_run=args.dry_run,
            assume_yes=args.yes,
        )
        plan, outcome, message = await runner.run(options)
        if args.output == "json":
            text = json.dumps(operation_json(plan, outcome, message), indent=2)
            sys.stdout.write(f"{text}\n")
        else:
            print_outcome(plan, outcome, message, write_line, write_error_line)
        return 0 if outcome in (Outcome.DONE, Outcome.UNCHANGED, "planned") else 1

    return with_serving(args, settings, change)


def print_outcome(
    plan: TrafficPlan, outcome: str, message: str, stdout: LineWriter, stderr: LineWriter
) -> None:
    """Print the outcome as text."""
    target = plan.options.target
    if outcome == "planned":
        header, *rest = plan_lines(plan)
        for line in (f"{header} (server dry run)", *rest):
            stdout(line)
        return
    if outcome == Outcome.DONE:
        for warning in plan.warnings:
            stderr(f"warning: {target}: {warning}")
        stdout(message)
        return
    if outcome == Outcome.UNCHANGED:
        stdout(f"{target} unchanged: {message}")
        return
    conflicting = [one for one in plan.rejections if is_conflict(one.rejection)]
    hint = "" if plan.options.force else _CONFLICT_HINT
    for one in conflicting:
        write_conflicts(target, one, stderr, source="the weight needs", hint=hint)
    if not conflicting:
        stderr(f"error: {target}: {message}")


def run_show(args: argparse.Namespace) -> int:
    """Print how the requests are divided; returns the exit code."""
    settings = load_settings(args)

    async def show(connection: Connection, namespace: str, name: str, known: Settings) -> int:
        state = await read_state(connection, namespace, name)
        if not state.live.objects:
            raise CommandError(await describe_missing(connection, namespace, name))
        names = [one.name for one in sides(state) if one.is_serving] if state.is_split else []
        figures = await read_figures(connection, known, namespace, names)
        if args.output == "json":
            sys.stdout.write(json.dumps(state_json(state, figures), indent=2) + "\n")
        else:
            for line in state_lines(state, figures):
                write_line(line)
        return 0

    return with_serving(args, settings, show)


Action = Callable[[Connection, str, str, Settings], Coroutine[Any, Any, int]]


def with_serving(args: argparse.Namespace, settings: Settings, action: Action) -> int:
    """Call the action with a connection, namespace and name of the serving, and the settings with
    those of the cluster."""
    where, name = split_serving_name(args.name, args.namespace)
    if where is None:
        require_single_namespace(settings)

    async def run(target: ConnectionOptions) -> int:
        connection = await Connection.open(target)
        try:
            known = await complete_settings(connection, settings)
            return await action(connection, where or connection.namespace or "default", name, known)
        finally:
            await connection.close()

    with connection_options(args, settings) as target:
        return run_writing(run(target))
