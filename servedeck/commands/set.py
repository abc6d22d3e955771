"""`servedeck set`: change fields of an existing serving, without the TUI."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from servedeck.changes.edit.edit import Edit, EditConflict, EditPlan, begin_edit, plan_edit
from servedeck.changes.edit.save import SaveResult, SaveState, save_edit
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.platform_settings import complete_settings
from servedeck.cluster.apply import ObjectRef, PreviewAction
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadOnlyError
from servedeck.cluster.prometheus_services import service_url
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.edit_json import PLANNED, edit_json
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.interruption import run_writing
from servedeck.commands.output import write_lines
from servedeck.commands.plan_text import (
    OVERRIDE_HINT,
    LineWriter,
    action_text,
    conflicts_by_message,
    object_name,
    shorten,
    write_admission_changes,
    write_conflicts,
    write_issue,
    write_rest,
)
from servedeck.commands.prompt import TerminalPrompt
from servedeck.commands.serving_load import CommandLoads, LoadSource, reading_load
from servedeck.config import Settings
from servedeck.metrics.load import ServingLoad
from servedeck.serving.edit.assignments import (
    Assignment,
    AssignmentError,
    assign,
    assignment_path,
    parse_assignment,
)

_CONFLICT_HINT = "  To overwrite them, use --force-conflicts."
FindObstacle = Callable[[], Awaitable[str]]
_MAX_ATTEMPTS = 5
"""Plans of one change while others change the serving."""


@dataclass(frozen=True, slots=True)
class SetOptions:
    dry_run: bool = False
    assume_yes: bool = False
    force: bool = False
    as_json: bool = False


async def set_fields(
    connection: Connection,
    namespace: str,
    name: str,
    assignments: Sequence[Assignment],
    options: SetOptions,
    *,
    stdout: LineWriter,
    stderr: LineWriter,
    loads: LoadSource | None = None,
    prometheus_url: str = "",
) -> bool:
    """Change fields of a serving, with the plan in lines; True if it was saved, or nothing is to be
    changed. `loads` reads the load of the serving before its Pods end, None for a plan without
    it; `prometheus_url` is where Pods reach Prometheus, "" to look for it. Raises CommandError if
    an assignment is wrong or it is not confirmed, and ClusterError if
    the serving cannot be read or the server not be reached."""
    edit = await begin_edit(connection, namespace, name, prometheus_url=prometheus_url)
    try:
        wanted, issues = assign(edit.base.spec, assignments)
    except AssignmentError as error:
        raise CommandError(str(error), USAGE_ERROR) from error
    if wanted is None:
        raise CommandError(
            "\n".join(
                f"{one.field}: {one.message}" if one.field else one.message for one in issues
            ),
            USAGE_ERROR,
        )
    return await save_change(
        connection,
        replace(edit, wanted=wanted),
        options,
        paths=[one.path for one in assignments],
        stdout=stdout,
        stderr=stderr,
        loads=loads,
    )


async def save_change(
    connection: Connection,
    edit: Edit,
    options: SetOptions,
    *,
    paths: Sequence[str] = (),
    stdout: LineWriter,
    stderr: LineWriter,
    loads: LoadSource | None = None,
    find_obstacle: FindObstacle | None = None,
) -> bool:
    """As `set_fields`, of an edit that says what is wanted. `paths` are those of the assignments
    that it was made of. `find_obstacle` is asked before anything is sent why it must not be, in a
    sentence, "" if it may."""
    return await _Set(connection, options, paths, stdout, stderr, loads, find_obstacle).run(edit)


class _Set:
    def __init__(
        self,
        connection: Connection,
        options: SetOptions,
        paths: Sequence[str],
        stdout: LineWriter,
        stderr: LineWriter,
        loads: LoadSource | None,
        find_obstacle: FindObstacle | None,
    ) -> None:
        """`paths` are those of the assignments."""
        self._connection = connection
        self._options = options
        self._paths = paths
        self._stdout, self._stderr = stdout, stderr
        self._loads = loads
        self._find_obstacle = find_obstacle

    async def run(self, edit: Edit) -> bool:
        inventory = ClusterInventory(self._connection, edit.wanted.namespace)
        inventory.start()
        try:
            await inventory.wait_until_listed()
            return await self._plan_and_save(edit, inventory)
        finally:
            await inventory.close()

    async def _plan_and_save(self, edit: Edit, inventory: ClusterInventory) -> bool:
        force = self._options.force
        wanted, load = edit.wanted, None
        async with reading_load(self._loads, wanted.namespace, wanted.name) as pending:
            plan = await plan_edit(self._connection, edit, inventory, force=force)
            if pending is not None and plan.can_save and plan.ends_pods:
                load = await pending.result()
        applied: tuple[ObjectRef, ...] = ()
        for _ in range(_MAX_ATTEMPTS):
            self._write_plan(plan, load)
            if plan.is_unchanged or self._options.dry_run or not plan.can_save:
                return self._finish(plan, applied, load)
            if not await self._confirm(plan):
                self._stderr(f"Not confirmed; {_saved_so_far(applied, 'changed')}.")
                return False
            if self._find_obstacle is not None and (problem := await self._find_obstacle()):
                done = _saved_so_far(applied, "saved")
                raise CommandError(f"{problem} {done[:1].upper()}{done[1:]}.")
            result = await save_edit(self._connection, plan, inventory, force=force)
            applied = tuple(dict.fromkeys((*applied, *result.applied)))
            result = replace(result, applied=applied)
            if result.state is not SaveState.REPLANNED:
                return self._finish_save(result)
            self._stderr(f"note: {result.message}")
            plan = result.plan
        raise CommandError(
            f"{_serving(plan)} is changed by others all the time, so "
            f"{_saved_so_far(applied, 'saved')}; try again."
        )

    async def _confirm(self, plan: EditPlan) -> bool:
        """Whether the operator agrees that Pods restart or end, and objects are deleted. Raises
        CommandError where nobody can be asked."""
        effect = _describe_effect(plan)
        if self._options.assume_yes or not effect:
            return True
        prompt = TerminalPrompt()
        if not prompt.is_terminal:
            raise CommandError(
                f"There is no terminal to ask for a confirmation; add -y to {effect}, or --dry-run "
                "to see the plan."
            )
        answer = await prompt.ask(f"{effect[:1].upper()}{effect[1:]}? [y/N]")
        return answer.lower() in ("y", "yes")

    # -- output ---------------------------------------------------------------------------------

    def _write_plan(self, plan: EditPlan, load: ServingLoad | None) -> None:
        if not self._options.as_json:
            write_plan(plan, self._stdout, load)
        write_problems(plan, self._stderr, self._paths, force=self._options.force)

    def _finish(
        self, plan: EditPlan, applied: tuple[ObjectRef, ...], load: ServingLoad | None
    ) -> bool:
        """Without another write: unchanged, a dry run, or blocked. `applied` was written before."""
        if self._options.as_json:
            result = PLANNED if plan.can_save else SaveState.BLOCKED
            result = SaveState.UNCHANGED if plan.is_unchanged else result
            answer = edit_json(plan, result, applied=applied, paths=self._paths, load=load)
            self._stdout(json.dumps(answer))
        elif applied and not plan.is_unchanged:
            self._stderr(f"error: {plan.spec.name}: {_saved_so_far(applied, 'saved')}.")
        elif plan.is_unchanged or plan.can_save:
            suffix = "" if plan.is_unchanged else " (server dry run)"
            for one in plan.change_plan.previews:
                if one.ref.kind == "Deployment" or one.action is not PreviewAction.UNCHANGED:
                    self._stdout(f"{object_name(one.ref)} {action_text(one)}{suffix}")
                    write_admission_changes(one, self._stderr)
        return plan.is_unchanged or plan.can_save

    def _finish_save(self, result: SaveResult) -> bool:
        saved = result.state in (SaveState.SAVED, SaveState.UNCHANGED)
        if self._options.as_json:
            text = edit_json(result.plan, result.state, result.message, result.applied, self._paths)
            self._stdout(json.dumps(text))
        else:
            done = {one.ref: one for one in result.plan.change_plan.previews}
            for ref in result.applied:
                shown = done.get(ref)
                self._stdout(f"{object_name(ref)} {action_text(shown) if shown else 'configured'}")
                if shown is not None:
                    write_admission_changes(shown, self._stderr)
            for one in result.issues:
                if one not in result.plan.issues:  # the dry run did not have it
                    write_issue(result.plan.spec.name, one, one.severity, self._stderr)
        if not saved:
            self._stderr(f"error: {result.plan.spec.name}: {result.message}")
        if result.applied:
            write_rest(result.plan.spec.name, result.unwritten, self._stderr)
        return saved


def _describe_effect(plan: EditPlan) -> str:
    """What is to be confirmed: "restart the Pods of chat/llama"; "" for nothing."""
    name, found = _serving(plan), []
    if plan.stops_serving:
        found.append(f"scale {name} to 0")
    elif plan.restarts_pods:
        found.append(f"restart the Pods of {name}")
    elif plan.replaces_pods:
        found.append(f"replace the old Pods of {name}")
    if plan.allows_zero:
        found.append(f"let the autoscaler scale {name} to 0")
    if deleted := plan.deleted_objects:
        found.append(f"delete {' and '.join(map(str, deleted))}")
    return " and ".join(found)


def write_plan(plan: EditPlan, stdout: LineWriter, load: ServingLoad | None = None) -> None:
    """The changed fields, what restarts, and what that means now. `load` is what the serving has to
    do at the moment."""
    if plan.is_unchanged:
        return
    stdout(f"{_serving(plan)}:")
    for one in plan.fields:
        restarts = " (restarts Pods)" if one.restarts and plan.marks_restarts else ""
        stdout(f"  {one.name}: {shorten(one.old)} -> {shorten(one.new)}{restarts}")
    if plan.forecast is not None:
        stdout(f"  {plan.forecast.summary}")
    elif plan.stops_serving:
        stdout("  All its Pods end.")
    elif any(one.restarts for one in plan.fields):
        stdout(f"  {plan.no_restart_sentence}")
    if load is not None and load.sentence and plan.ends_pods:
        stdout(f"  {load.sentence}")


def write_problems(
    plan: EditPlan, stderr: LineWriter, paths: Sequence[str] = (), *, force: bool
) -> None:
    """Conflicts, errors and warnings; `paths` are those of the assignments."""
    name = plan.spec.name
    for conflict in plan.conflicts:
        stderr(f"error: {name}: {_describe_conflict(conflict)}")
    if plan.edit.conflicts:
        stderr(_CONFLICT_HINT)
    elif plan.conflicts:
        stderr("  Run the command again to change the values as they are now.")
    owned = conflicts_by_message(plan.change_plan)
    hint = "" if force else _CONFLICT_HINT
    for one in plan.issues:
        if one.message in owned:
            preview = owned[one.message]
            write_conflicts(name, preview, stderr, source="this change says", hint=hint)
        else:
            path_of = partial(assignment_path, spec=plan.spec, paths=paths)
            write_issue(name, one, one.severity, stderr, path_of=path_of)
    if plan.change_plan.overridable and not force:
        stderr(OVERRIDE_HINT)
    for sentence in plan.change_plan.unchecked:
        stderr(f"note: {name}: {sentence}")


def _describe_conflict(conflict: EditConflict) -> str:
    who = ", ".join(one.name for one in conflict.changed_by) or "somebody else"
    base, theirs, mine = (shorten(one) for one in (conflict.base, conflict.theirs, conflict.mine))
    return f"{who} changed {conflict.name} meanwhile: {base} -> {theirs}, this change says {mine}."


def _saved_so_far(applied: tuple[ObjectRef, ...], verb: str) -> str:
    """What was written, in a clause."""
    if not applied:
        return f"nothing was {verb}"
    return f"only {' and '.join(map(str, applied))} was {verb}"


def _serving(plan: EditPlan) -> str:
    return f"{plan.spec.namespace}/{plan.spec.name}"


def make_loads(
    connection: Connection, settings: Settings, options: SetOptions
) -> LoadSource | None:
    """What reads the load of the serving; None where nobody is asked with the plan."""
    is_shown = options.dry_run or (not options.assume_yes and TerminalPrompt().is_terminal)
    return CommandLoads(connection, settings) if is_shown else None


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    args.namespace, name = split_serving_name(args.name, args.namespace)
    settings = load_settings(args)
    require_single_namespace(settings)
    try:
        assignments = [parse_assignment(one) for one in args.assignments]
    except AssignmentError as error:
        raise CommandError(str(error), USAGE_ERROR) from error
    options = SetOptions(
        args.dry_run, args.yes, args.force_conflicts, as_json=args.output == "json"
    )

    if settings.readonly and not args.dry_run:
        raise ReadOnlyError

    async def change(target: ConnectionOptions) -> int:
        connection = await Connection.open(target)
        try:
            known = await complete_settings(connection, settings)
            saved = await set_fields(
                connection,
                connection.namespace or "default",
                name,
                assignments,
                options,
                stdout=lambda line: write_lines(sys.stdout, line),
                stderr=lambda line: write_lines(sys.stderr, line),
                loads=make_loads(connection, settings, options),
                prometheus_url=service_url(known.prometheus_service),
            )
            return 0 if saved else 1
        finally:
            await connection.close()

    with connection_options(args, settings) as target:
        return run_writing(change(target))
