"""`servedeck tasks NAME cancel` and `retry`: of some tasks, or of all that match."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from servedeck.async_queue.bulk import DONE_WORDS, SUITABLE_STATES, BulkRun
from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.tasks import MAX_READ, TaskAction, TaskState
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.operations import Prompt
from servedeck.commands.output import write_lines
from servedeck.commands.prompt import TerminalPrompt
from servedeck.commands.tasks_queue import read_query, with_queue
from servedeck.fleet.view_json import API_VERSION
from servedeck.serving.text import format_count

_COUNT_PAGE = 500
MAX_COUNTED = 10_000
"""Tasks that are counted one by one before a question; of more it says so."""
_PROGRESS_SECONDS = 1.0
_CREDENTIALS_HINT = "  To send them without credentials, use --no-credentials."


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    action: TaskAction
    targets: Sequence[str] | TaskQuery
    """Ids, or all that match."""
    is_bare: bool = False
    """A retry sends the tasks without credentials, even if they had some."""
    dry_run: bool = False
    assume_yes: bool = False
    as_json: bool = False


class ChangeRunner:
    """Confirms and runs one action on tasks."""

    def __init__(
        self, api: QueueApi, options: ChangeOptions, prompt: Prompt, out: TextIO, err: TextIO
    ) -> None:
        self._api = api
        self._options = options
        self._prompt = prompt
        self._out, self._err = out, err
        self._reported = 0.0

    async def run(self) -> int:
        """The exit code: 0 if it was done to all tasks that were named, or to all that matched and
        could be changed. Raises AsyncQueueError if they cannot be counted."""
        options = self._options
        counts, is_cut = await self._count()
        if options.dry_run:
            self._print_plan(counts, is_cut)
            return 0
        total = sum(counts.values())
        if not total and isinstance(options.targets, TaskQuery):
            done = DONE_WORDS[options.action]
            self._print_result(None, f"No task matches that can be {done}.", is_refused=False)
            return 0
        # Where it is possible for none, the answer to asking for it says why.
        if total and (refusal := await self._confirm(counts, is_cut)):
            self._print_result(None, refusal)
            return 1
        run = BulkRun(
            self._api,
            options.action,
            options.targets,
            is_bare=options.is_bare,
            count=None if is_cut else total,
        )
        run.on_progress = lambda: self._report(run)
        try:
            await run.run()
        except asyncio.CancelledError:
            write_lines(self._err, f"servedeck: {run.summary()}")
            raise
        self._print_result(run, run.summary())
        if "credentials" in run.refusal and not options.is_bare:
            write_lines(self._err, _CREDENTIALS_HINT)
        is_partial = not isinstance(options.targets, TaskQuery) and run.changed < (run.total or 0)
        return 1 if run.has_failed or not run.is_complete or is_partial else 0

    # -- before ---------------------------------------------------------------------------------

    async def _count(self) -> tuple[dict[TaskState, int], bool]:
        """The tasks that it can be done to, by state; whether there may be more."""
        suitable = SUITABLE_STATES[self._options.action]
        targets = self._options.targets
        counts = {one: 0 for one in TaskState if one in suitable}
        if not isinstance(targets, TaskQuery):
            for first in range(0, len(targets), MAX_READ):
                for task in (await self._api.read_tasks(targets[first : first + MAX_READ])).items:
                    if task.state in suitable:
                        counts[task.state] += 1
            return counts, False
        if not targets.text:
            found = (await self._api.queue_status()).counts
            for state in counts:
                if targets.state in (None, state):
                    counts[state] = getattr(found, state.value)
            return counts, False
        for state in counts:
            if targets.state not in (None, state):
                continue
            after = ""
            while True:
                query = TaskQuery(state, targets.text)
                page = await self._api.list_tasks(query, after=after, limit=_COUNT_PAGE)
                counts[state] += len(page.items)
                after = page.next
                if not after:
                    break
                if sum(counts.values()) >= MAX_COUNTED:
                    return counts, True
        return counts, False

    def _describe(self, counts: dict[TaskState, int], *, is_cut: bool) -> str:
        total = sum(counts.values())
        text = f"{'more than ' if is_cut else ''}{format_count(total, 'task')}"
        by_state = [f"{count:,} {state.value}" for state, count in counts.items() if count]
        return f"{text} ({', '.join(by_state)})" if len(by_state) > 1 else text

    async def _confirm(self, counts: dict[TaskState, int], is_cut: bool) -> str:
        """Why it is not confirmed, one sentence; "" if it is."""
        if self._options.assume_yes:
            return ""
        verb = self._options.action.value
        if not self._prompt.is_terminal:
            return (
                f"There is no terminal to ask for a confirmation; add -y to {verb} them, or"
                " --dry-run to see how many."
            )
        what = self._describe(counts, is_cut=is_cut)
        answer = await self._prompt.ask(f"{verb.capitalize()} {what}? [y/N]")
        return "" if answer.lower() in ("y", "yes") else "Not confirmed; nothing was changed."

    # -- output ---------------------------------------------------------------------------------

    def _report(self, run: BulkRun) -> None:
        """The progress, at most once in a second."""
        now = asyncio.get_running_loop().time()
        if not run.is_complete and now - self._reported >= _PROGRESS_SECONDS:
            self._reported = now
            write_lines(self._err, f"servedeck: {run.progress()}")

    def _print_plan(self, counts: dict[TaskState, int], is_cut: bool) -> None:
        what = self._describe(counts, is_cut=is_cut)
        text = f"{what} would be {DONE_WORDS[self._options.action]}."
        if not self._options.as_json:
            write_lines(self._out, text)
            return
        self._print_json(
            {
                "isDryRun": True,
                "wouldChange": {state.value: count for state, count in counts.items()},
                "mayBeMore": is_cut,
                "summary": text,
            }
        )

    def _print_result(self, run: BulkRun | None, summary: str, *, is_refused: bool = True) -> None:
        if self._options.as_json:
            self._print_json(
                {
                    "isDryRun": False,
                    "changed": run.changed if run else 0,
                    "others": {
                        state.value: count for state, count in (run.others if run else {}).items()
                    },
                    "missing": run.missing if run else 0,
                    "refused": run.refused if run else 0,
                    "isComplete": run.is_complete if run else not is_refused,
                    "summary": summary,
                }
            )
        elif run.has_failed if run else is_refused:
            write_lines(self._err, f"servedeck: {summary}")
        else:
            write_lines(self._out, summary)

    def _print_json(self, fields: dict[str, Any]) -> None:
        head = {
            "apiVersion": API_VERSION,
            "kind": "TaskActionResult",
            "action": self._options.action.value,
        }
        self._out.write(json.dumps(head | fields, indent=2) + "\n")
        self._out.flush()


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    action = TaskAction(args.action)
    options = ChangeOptions(
        action,
        _read_targets(args),
        getattr(args, "no_credentials", False),
        args.dry_run,
        args.yes,
        args.output == "json",
    )

    async def change(api: QueueApi, _: str) -> int:
        return await ChangeRunner(api, options, TerminalPrompt(), sys.stdout, sys.stderr).run()

    return with_queue(args, change, is_write=not args.dry_run)


def _read_targets(args: argparse.Namespace) -> Sequence[str] | TaskQuery:
    """The tasks that are chosen. Raises CommandError unless they are chosen in one way."""
    state = getattr(args, "state", "")
    is_query = bool(args.all or state or args.filter is not None)
    if args.ids and is_query:
        raise CommandError("Give ids of tasks, or choose all that match; not both.", USAGE_ERROR)
    if args.ids:
        return list(dict.fromkeys(args.ids))
    if not is_query:
        ways = "--failed or --filter" if args.action == "retry" else "--all, --state or --filter"
        raise CommandError(f"Give ids of tasks, or {ways}.", USAGE_ERROR)
    if args.filter == "":
        raise CommandError(
            "--filter is empty; leave it out, or write what is to match.", USAGE_ERROR
        )
    state = "failed" if args.action == "retry" else state
    return read_query(state, args.filter or "", is_complete=True)
