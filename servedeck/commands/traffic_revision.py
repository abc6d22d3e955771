"""`servedeck traffic NAME canary` and `finish`: a second revision of a serving begins, and its
settings are taken over into the first one."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.object_writes import apply_writes
from servedeck.changes.operations.operation import Outcome
from servedeck.changes.plan import ChangePlan, make_plan
from servedeck.changes.platform_settings import load_platform_settings
from servedeck.changes.traffic_split.revisions import (
    RevisionStart,
    find_takeover_obstacle,
    start_revision,
    start_takeover,
)
from servedeck.changes.traffic_split.sentences import model_warnings
from servedeck.changes.traffic_split.side import Side
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadOnlyError
from servedeck.cluster.prometheus_services import service_url
from servedeck.cluster.write_log import set_rest
from servedeck.commands.arguments import load_settings
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.operations import LineWriter, Prompt
from servedeck.commands.output import write_error_line, write_line
from servedeck.commands.plan_text import object_name, shorten
from servedeck.commands.prompt import TerminalPrompt
from servedeck.commands.set import SetOptions, make_loads, save_change
from servedeck.commands.traffic import with_serving
from servedeck.config import Settings
from servedeck.fleet.view_json import API_VERSION
from servedeck.serving.edit.assignments import (
    Assignment,
    AssignmentError,
    assign,
    parse_assignment,
)
from servedeck.serving.edit.differences import FieldDifference, find_field_differences
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import document_path
from servedeck.serving.spec.issues import Issue, Severity
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import format_count, one_line, sanitize

_MAX_UNMANAGED_LENGTH = 60
_OWN_FIELDS = ("name", "revision_of")
"""Fields of a second revision that always differ."""


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What became of a second revision. Sentences are sanitized."""

    start: RevisionStart
    spec: ServingSpec
    number: int
    """The revision whose Pod template it has, 0 for the current one."""
    plan: ChangePlan
    outcome: str
    """That of an operation, "planned" for a dry run, "refused" if it was not confirmed."""
    message: str
    created: tuple[str, ...] = ()
    """The objects, as kubectl names them."""

    @property
    def target(self) -> str:
        return one_line(sanitize(f"{self.start.main.namespace}/{self.start.main.name}"))

    @property
    def name(self) -> str:
        return one_line(sanitize(self.spec.name))

    @property
    def differences(self) -> list[FieldDifference]:
        found = find_field_differences(self.start.main, self.spec)
        return [one for one in found if one.field not in _OWN_FIELDS]

    @property
    def effects(self) -> list[str]:
        replicas = format_count(self.spec.replicas, "replica")
        kinds = ", ".join(one.ref.kind for one in self.plan.previews)
        found = [f"{self.name} is created with {replicas} ({kinds})."]
        if self.number:
            found.append(f"It has the Pod template of revision {self.number}, changed as above.")
        found.append(
            "It has no endpoint of its own, and gets no requests until it is sent a share."
        )
        if self.plan.scheduling_summary:
            found.append(self.plan.scheduling_summary)
        return found

    @property
    def warnings(self) -> list[str]:
        model = Side("", None, self.plan.manifests[0]).model if self.plan.manifests else ""
        main = self.start.main.name
        return [
            *(_issue_text(one) for one in self.plan.issues if not one.is_error),
            *model_warnings(self.name, model, main, self.start.model),
            *self.start.others,
            *(
                f"It does not have {one.describe(_MAX_UNMANAGED_LENGTH)}"
                for one in self.start.unmanaged_fields
            ),
            *self.plan.unchecked,
        ]

    def lines(self) -> Iterator[str]:
        """The plan."""
        yield f"new revision {self.spec.namespace}/{self.name} of {self.target}"
        for one in self.differences:
            yield f"  {one.name}: {shorten(one.old)} -> {shorten(one.new)}"
        for sentence in self.effects:
            yield f"  {sentence}"
        for warning in self.warnings:
            yield f"  warning: {warning}"

    def to_json(self) -> dict[str, Any]:
        """As a change of the weights is printed."""
        return {
            "apiVersion": API_VERSION,
            "kind": "TrafficOperation",
            "operation": "canary",
            "namespace": self.spec.namespace,
            "name": one_line(sanitize(self.start.main.name)),
            "other": self.name,
            "weight": 0,
            "outcome": str(self.outcome),
            "message": self.message,
            "effects": self.effects,
            "warnings": self.warnings,
            "differences": [
                {"path": one.name, "old": one.old, "new": one.new} for one in self.differences
            ],
            "conflicts": [],
        }


def _issue_text(issue: Issue) -> str:
    field = f"{document_path(issue.field)}: " if issue.field else ""
    return f"{field}{issue.message}"


class CanaryRunner:
    """Plans, confirms and creates a second revision."""

    def __init__(
        self,
        connection: Connection,
        platform: PlatformSettings,
        prompt: Prompt,
        *,
        stderr: LineWriter,
        dry_run: bool = False,
        assume_yes: bool = False,
    ) -> None:
        self._connection = connection
        self._platform = platform
        self._prompt = prompt
        self._stderr = stderr
        self._dry_run = dry_run
        self._assume_yes = assume_yes

    async def run(
        self,
        namespace: str,
        serving: str,
        assignments: Sequence[Assignment] = (),
        *,
        name: str = "",
        number: int = 0,
    ) -> CanaryResult:
        """`name` and `number` as for `start_revision`. Raises CommandError if an assignment is
        wrong, and ClusterError if there can be no second revision."""
        start = await start_revision(self._connection, namespace, serving, name=name, number=number)
        spec = _assign(start, assignments)
        inventory = ClusterInventory(self._connection, namespace)
        inventory.start()
        try:
            await inventory.wait_until_listed()
            plan = await make_plan(
                self._connection, spec, self._platform, inventory, revision_base=start.base
            )
        finally:
            await inventory.close()
        planned = CanaryResult(start, spec, number, plan, "planned", "")
        if plan.errors:
            message = " ".join(_issue_text(one) for one in plan.errors)
            return _with_outcome(planned, Outcome.REJECTED, message)
        if self._dry_run:
            return _with_outcome(planned, "planned", " ".join(planned.effects))
        if refusal := await self._confirm(planned):
            return _with_outcome(planned, "refused", refusal)
        return await self._create(planned)

    async def _confirm(self, planned: CanaryResult) -> str:
        """Why it is not confirmed, one sentence; "" if it is."""
        if self._assume_yes:
            return ""
        if not self._prompt.is_terminal:
            return (
                "There is no terminal to ask for a confirmation; add -y to do it, or --dry-run to "
                "see the plan."
            )
        for line in planned.lines():
            self._stderr(line)
        answer = await self._prompt.ask(f"Create {planned.spec.namespace}/{planned.name}? [y/N]")
        return "" if answer.lower() in ("y", "yes") else "Not confirmed; nothing was created."

    async def _create(self, planned: CanaryResult) -> CanaryResult:
        set_rest(f"To begin again, delete it first: {_delete_command(planned)}")
        result = await apply_writes(self._connection, planned.plan.writes, force=False)
        created = tuple(object_name(one.ref) for one in result.applied)
        if result.rejection is not None:
            message = f"{result.failed_ref} was not created: {result.rejection.message}"
            if created:
                message += f" Created before: {', '.join(created)}."
                message += f" To begin again, delete it first: {_delete_command(planned)}"
            return _with_outcome(planned, Outcome.REJECTED, message, created)
        next_command = f"servedeck traffic {planned.target} split {planned.name} --weight 1"
        return _with_outcome(
            planned,
            Outcome.DONE,
            f"{planned.name} is a revision of {planned.target} now and gets no requests yet. When "
            f"it is Ready, send it a share: {next_command}",
            created,
        )


def _delete_command(planned: CanaryResult) -> str:
    return f"servedeck delete {planned.spec.namespace}/{planned.spec.name}"


def _with_outcome(
    planned: CanaryResult, outcome: str, message: str, created: tuple[str, ...] = ()
) -> CanaryResult:
    text = one_line(sanitize(message))
    return replace(planned, outcome=outcome, message=text, created=created)


def _assign(start: RevisionStart, assignments: Sequence[Assignment]) -> ServingSpec:
    """The second revision with the assigned fields. Raises CommandError."""
    try:
        spec, issues = assign(start.spec, assignments)
    except AssignmentError as error:
        raise CommandError(str(error), USAGE_ERROR) from error
    if spec is None:
        raise CommandError("\n".join(map(_issue_text, issues)), USAGE_ERROR)
    if spec.revision_of != start.main.name:
        raise CommandError(
            f"It is a revision of {start.main.name}; leave revisionOf out.", USAGE_ERROR
        )
    return spec


# -- the commands -------------------------------------------------------------------------------


def run_canary(args: argparse.Namespace) -> int:
    """Create a second revision; returns the exit code."""
    settings = load_settings(args)
    try:
        assignments = [parse_assignment(one) for one in args.assignments]
    except AssignmentError as error:
        raise CommandError(str(error), USAGE_ERROR) from error
    if args.revision is not None and args.revision < 1:
        raise CommandError(
            "--revision: Revisions count from 1; servedeck describe lists them.", USAGE_ERROR
        )
    if settings.readonly and not args.dry_run:
        raise ReadOnlyError

    async def create(connection: Connection, namespace: str, name: str, known: Settings) -> int:
        runner = CanaryRunner(
            connection,
            await load_platform_settings(connection, known),
            TerminalPrompt(),
            stderr=write_error_line,
            dry_run=args.dry_run,
            assume_yes=args.yes,
        )
        result = await runner.run(
            namespace, name, assignments, name=args.new_name, number=args.revision or 0
        )
        if args.output == "json":
            sys.stdout.write(f"{json.dumps(result.to_json(), indent=2)}\n")
        else:
            print_canary(result, write_line, write_error_line)
        return 0 if result.outcome in (Outcome.DONE, "planned") else 1

    return with_serving(args, settings, create)


def print_canary(result: CanaryResult, stdout: LineWriter, stderr: LineWriter) -> None:
    """Print the outcome as text."""
    if result.outcome == "planned":
        header, *rest = result.lines()
        for line in (f"{header} (server dry run)", *rest):
            stdout(line)
        return
    for one in result.created:
        stdout(f"{one} created")
    if result.outcome == Outcome.DONE:
        for warning in result.warnings:
            stderr(f"{Severity.WARNING}: {result.name}: {warning}")
        stdout(result.message)
    else:
        stderr(f"error: {result.target}: {result.message}")


def run_finish(args: argparse.Namespace) -> int:
    """Take the settings of the second revision over; returns the exit code."""
    settings = load_settings(args)
    if settings.readonly and not args.dry_run:
        raise ReadOnlyError
    options = SetOptions(
        args.dry_run, args.yes, args.force_conflicts, as_json=args.output == "json"
    )

    async def finish(connection: Connection, namespace: str, name: str, known: Settings) -> int:
        url = service_url(known.prometheus_service)
        takeover = await start_takeover(
            connection, namespace, name, prometheus_url=url, force=options.force
        )
        target = one_line(sanitize(f"{namespace}/{name}"))
        if takeover.differences:
            write_error_line(f"note: {target}: {takeover.safe_sentence}")
        if takeover.base_warning:
            write_error_line(f"{Severity.WARNING}: {target}: {takeover.base_warning}")

        async def find_obstacle() -> str:
            return await find_takeover_obstacle(connection, namespace, name, takeover.other)

        saved = await save_change(
            connection,
            takeover.edit,
            options,
            stdout=write_line,
            stderr=write_error_line,
            loads=make_loads(connection, known, options),
            find_obstacle=find_obstacle,
        )
        if saved and not args.dry_run and args.output != "json":
            write_line(
                f"{target} has the settings of {takeover.other}. When its rollout is complete "
                f"(servedeck wait {target} --for=rollout), give it the requests back: servedeck "
                f"traffic {target} abort"
            )
        return 0 if saved else 1

    return with_serving(args, settings, finish)
