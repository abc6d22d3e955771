"""`servedeck async-queue on`, `off` and `status`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from servedeck.changes.async_queue.execution import (
    AVAILABLE_SECONDS,
    look_again,
    plan_async_queue,
    run_async_queue,
)
from servedeck.changes.async_queue.plan import (
    AsyncQueueAction,
    AsyncQueueOptions,
    AsyncQueuePlan,
    AsyncQueueResult,
)
from servedeck.changes.async_queue.turn_on import AsyncQueueDefaults
from servedeck.changes.operations.operation import Outcome
from servedeck.changes.platform_settings import complete_settings
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadOnlyError
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.async_queue_text import (
    operation_json,
    plan_lines,
    read_report,
    report_json,
    report_lines,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.interruption import run_writing
from servedeck.commands.operations import (
    LOOK_AGAIN_INTERVAL,
    LOOK_AGAIN_TIMEOUT,
    LineWriter,
    Prompt,
)
from servedeck.commands.output import write_lines
from servedeck.commands.plan_text import is_conflict, write_conflicts
from servedeck.commands.prompt import TerminalPrompt
from servedeck.config import Settings
from servedeck.serving.async_limits import LIMITS
from servedeck.serving.duration import parse_duration
from servedeck.serving.text import format_count

Number = TypeVar("Number", int, float)

_CONFLICT_HINT = "  To overwrite them, use --force-conflicts."


class AsyncQueueRunner:
    """Plans, confirms and runs one change of an async queue."""

    def __init__(
        self,
        connection: Connection,
        defaults: AsyncQueueDefaults,
        prompt: Prompt,
        *,
        stderr: LineWriter,
        dry_run: bool = False,
        assume_yes: bool = False,
        may_cancel: bool = False,
        available_seconds: float = AVAILABLE_SECONDS,
    ) -> None:
        """`assume_yes` confirms everything but that tasks are cancelled, which `may_cancel`
        does."""
        self._connection = connection
        self._defaults = defaults
        self._prompt = prompt
        self._stderr = stderr
        self._dry_run = dry_run
        self._assume_yes = assume_yes
        self._may_cancel = may_cancel
        self._available_seconds = available_seconds

    async def run(self, options: AsyncQueueOptions) -> tuple[AsyncQueuePlan, str, str]:
        """The plan, the outcome ("planned" for a dry run, "refused" if it was not confirmed) and
        what happened, in a sentence. Raises ClusterError if no plan can be made."""
        plan = await plan_async_queue(self._connection, options, self._defaults)
        if plan.blocked:
            return plan, Outcome.REJECTED, plan.blocked
        if plan.unchanged:
            return plan, Outcome.UNCHANGED, plan.unchanged
        if self._dry_run:
            return plan, "planned", " ".join(plan.effects)
        if refusal := await self._confirm(plan):
            return plan, "refused", refusal
        result = await run_async_queue(
            self._connection,
            plan,
            # What was asked on the terminal was asked with the tasks that the plan names.
            may_cancel=self._may_cancel or plan.needs_cancellation,
            available_seconds=self._available_seconds,
            on_progress=self._stderr,
        )
        result = await self._look_again(result)
        return plan, result.outcome, result.message

    async def _confirm(self, plan: AsyncQueuePlan) -> str:
        """Why it is not confirmed, one sentence; "" if it is."""
        is_cancellation_given = self._may_cancel or not plan.needs_cancellation
        if self._assume_yes and is_cancellation_given:
            return ""
        action, target = plan.options.action, plan.options.target
        if not is_cancellation_given and (self._assume_yes or not self._prompt.is_terminal):
            if plan.unfinished is None:
                return (
                    "It is not known whether tasks wait, and -y does not confirm that they are "
                    "given up; add --cancel-tasks, or try again when the gateway can be reached."
                )
            return (
                f"{format_count(plan.unfinished, 'task')} would be cancelled, which -y does not "
                "confirm; add --cancel-tasks, or wait until all have ended."
            )
        if not self._prompt.is_terminal:
            return (
                f"There is no terminal to ask for a confirmation; add -y to turn it {action}, or "
                "--dry-run to see the plan."
            )
        for line in plan_lines(plan):
            self._stderr(line)
        question = f"Turn the async queue of {target} {action}"
        if plan.unfinished is None:
            question += ", and give up tasks that may wait"
        elif plan.unfinished:
            question += f", and cancel {format_count(plan.unfinished, 'task')}"
        answer = await self._prompt.ask(f"{question}? [y/N]")
        return "" if answer.lower() in ("y", "yes") else "Not confirmed; nothing was changed."

    async def _look_again(self, result: AsyncQueueResult) -> AsyncQueueResult:
        """The result, once it is known what became of a lost request, or the time is over."""
        if result.outcome is not Outcome.UNKNOWN:
            return result
        self._stderr(f"{result.message} Waiting up to {LOOK_AGAIN_TIMEOUT:.0f} s for an answer.")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOOK_AGAIN_TIMEOUT
        while result.outcome is Outcome.UNKNOWN and loop.time() < deadline:
            await asyncio.sleep(LOOK_AGAIN_INTERVAL)
            result = await look_again(self._connection, result, self._defaults)
        return result


# -- the command --------------------------------------------------------------------------------


def run_change(args: argparse.Namespace) -> int:
    """Turn it on or off; returns the exit code."""
    settings = load_settings(args)
    action = AsyncQueueAction(args.action)
    changes = _read_changes(args)
    if settings.readonly and not args.dry_run:
        raise ReadOnlyError
    seconds = _read(parse_duration, getattr(args, "timeout", "5m"), "--timeout")

    async def change(connection: Connection, namespace: str, name: str, known: Settings) -> int:
        options = AsyncQueueOptions(
            action, namespace, name, changes, getattr(args, "force_conflicts", False)
        )
        runner = AsyncQueueRunner(
            connection,
            AsyncQueueDefaults.from_settings(known),
            TerminalPrompt(),
            stderr=_write_error_line,
            dry_run=args.dry_run,
            assume_yes=args.yes,
            may_cancel=getattr(args, "cancel_tasks", False),
            available_seconds=seconds,
        )
        plan, outcome, message = await runner.run(options)
        if args.output == "json":
            text = json.dumps(operation_json(plan, outcome, message), indent=2)
            sys.stdout.write(f"{text}\n")
        else:
            print_outcome(plan, outcome, message, _write_line, _write_error_line)
        return 0 if outcome in (Outcome.DONE, Outcome.UNCHANGED, "planned") else 1

    return _with_serving(args, settings, change)


def print_outcome(
    plan: AsyncQueuePlan, outcome: str, message: str, stdout: LineWriter, stderr: LineWriter
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
        write_conflicts(target, one, stderr, source="the async queue needs", hint=hint)
    if not conflicting:
        stderr(f"error: {target}: {message}")


def run_status(args: argparse.Namespace) -> int:
    """Print the state; returns the exit code."""
    settings = load_settings(args)

    async def show(connection: Connection, namespace: str, name: str, known: Settings) -> int:
        report = await read_report(connection, namespace, name, known)
        if args.output == "json":
            sys.stdout.write(json.dumps(report_json(report), indent=2) + "\n")
        else:
            for line in report_lines(report):
                _write_line(line)
        return 0

    return _with_serving(args, settings, show)


Action = Callable[[Connection, str, str, Settings], Coroutine[Any, Any, int]]


def _with_serving(args: argparse.Namespace, settings: Settings, action: Action) -> int:
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


def _read_changes(args: argparse.Namespace) -> tuple[tuple[str, Any], ...]:
    """The settings that are given, by name. Raises CommandError."""
    found = []
    for one in LIMITS.values():
        text = getattr(args, one.name, None)
        if text is not None:
            found.append((one.name, _read(one.parse, text, one.option)))
    return tuple(found)


def _read(parse: Callable[[str], Number], text: str, option: str) -> Number:
    try:
        return parse(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}", USAGE_ERROR) from error


def _write_line(line: str) -> None:
    write_lines(sys.stdout, line)


def _write_error_line(line: str) -> None:
    write_lines(sys.stderr, line)
