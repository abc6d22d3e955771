"""`servedeck apply`: create or update the servings of a file, without the TUI."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence

from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.live_objects import fetch_live_objects
from servedeck.changes.object_writes import apply_writes
from servedeck.changes.plan import make_plan, new_issues
from servedeck.changes.platform_settings import load_platform_settings
from servedeck.cluster.apply import Preview, PreviewAction
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.commands.arguments import (
    connection_options,
    file_description,
    load_settings,
    read_serving_documents,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.output import write_lines
from servedeck.serving.objects import import_objects
from servedeck.serving.objects.change import resolve_ports
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec import validation
from servedeck.serving.spec.document import document_path, validate_identities
from servedeck.serving.spec.document_issues import DocumentError
from servedeck.serving.spec.issues import Issue, Severity, errors
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import truncate

LineWriter = Callable[[str], None]


async def apply_all(
    connection: Connection,
    specs: Sequence[ServingSpec],
    platform: PlatformSettings,
    *,
    dry_run: bool,
    stdout: LineWriter,
    stderr: LineWriter,
    force: bool = False,
) -> bool:
    """Apply servings one by one, with a line for each object and each change in it; True if all
    were accepted. If a field of one of them is invalid, none is applied; a serving that the cluster
    rejects is not applied, the others are. With `force`, fields of other managers are overwritten;
    without, they are an error. Raises ClusterError if the server cannot be reached.
    """
    # All are checked, so that all errors are printed.
    valid = [await _validate_one(connection, spec, stderr) for spec in specs]
    if not all(valid):
        if len(specs) > 1:
            stderr("error: No serving of the file was applied; correct the errors first.")
        return False
    namespaces = {spec.namespace for spec in specs}
    inventory = ClusterInventory(connection, namespaces.pop() if len(namespaces) == 1 else "")
    inventory.start()
    try:
        await inventory.wait_until_listed()
        succeeded = True
        for spec in specs:
            succeeded &= await _apply_one(
                connection, spec, platform, inventory, dry_run, stdout, stderr, force
            )
        return succeeded
    finally:
        await inventory.close()


async def _validate_one(connection: Connection, spec: ServingSpec, stderr: LineWriter) -> bool:
    """Whether its fields are valid, or as invalid as those of the existing serving, which is no
    reason to reject it. Prints what is wrong. Only an invalid serving needs the cluster, and one
    with a transformer that leaves a port open: the existing serving says which."""
    found = validation.validate(spec)
    if errors(found) or _leaves_port_open(spec):
        live = await fetch_live_objects(connection, spec.namespace, spec.name)
        if live.objects:
            existing = import_objects.import_objects(live.objects)
            found = new_issues(existing.spec, resolve_ports(existing, spec))
    if not errors(found):
        return True
    for one in found:
        _print_issue(spec, one, one.severity, stderr)
    return False


def _leaves_port_open(spec: ServingSpec) -> bool:
    """Whether the ports of server and transformer cannot be compared in the document alone."""
    transformer = spec.transformer
    return transformer is not None and None in (spec.inference_port, transformer.port)


async def _apply_one(
    connection: Connection,
    spec: ServingSpec,
    platform: PlatformSettings,
    inventory: ClusterInventory,
    dry_run: bool,
    stdout: LineWriter,
    stderr: LineWriter,
    force: bool,
) -> bool:
    live = await fetch_live_objects(connection, spec.namespace, spec.name)
    plan = await make_plan(
        connection,
        spec,
        platform,
        inventory,
        existing=import_objects.import_objects(live.objects) if live.objects else None,
        related=live.related,
        force=force,
    )
    # Errors of an unchanged serving are no reason to reject it.
    stays = bool(plan.previews) and all(
        one.action is PreviewAction.UNCHANGED for one in plan.previews
    )
    conflicts = {
        one.rejection.message: one
        for one in plan.previews
        if one.rejection is not None and _is_conflict(one.rejection)
    }
    for problem in plan.issues:
        if problem.message in conflicts:
            _print_conflicts(spec, conflicts[problem.message], stderr, force)
            continue
        _print_issue(spec, problem, Severity.WARNING if stays else problem.severity, stderr)
    if plan.overridable and not force:
        stderr(_OVERRIDE_HINT)
    if not (plan.can_deploy or stays):
        return False
    if plan.scheduling_summary and any(one.action is PreviewAction.CREATE for one in plan.previews):
        stderr(f"note: {spec.name}: {plan.scheduling_summary}")
    if dry_run:
        for shown in plan.previews:
            stdout(f"{_object_name(shown)} {_action_text(shown)} (server dry run)")
            _print_changes(shown, stdout)
            for change in shown.admission_changes:
                stderr(f"note: admission sets {change.path} to {change.admitted!r}")
        return True
    outcome = await apply_writes(connection, plan.writes, force=force)
    applied = {one.ref for one in outcome.applied}
    for shown in plan.previews:
        if shown.ref in applied or shown.action is PreviewAction.UNCHANGED:
            stdout(f"{_object_name(shown)} {_action_text(shown)}")
            _print_changes(shown, stdout)
    if outcome.rejection:
        stderr(f"error: {outcome.failed_ref}: {outcome.rejection.message}")
        if outcome.rejection.fields and _is_conflict(outcome.rejection) and not force:
            stderr(_CONFLICT_HINT)
    return outcome.rejection is None


def _print_issue(spec: ServingSpec, issue: Issue, severity: Severity, stderr: LineWriter) -> None:
    field = f"{document_path(issue.field)}: " if issue.field else ""
    stderr(f"{severity}: {spec.name}: {field}{issue.message}")


_MAX_CHANGES = 20
_MAX_VALUE_LENGTH = 60
_CONFLICT_HINT = (
    "  To keep their values, export the serving again and edit that; to overwrite them, use "
    "--force-conflicts."
)
_OVERRIDE_HINT = "  To make the change anyway, use --force-conflicts."


def _print_changes(preview: Preview, stdout: LineWriter) -> None:
    for change in preview.field_changes[:_MAX_CHANGES]:
        old, new = truncate(change.old, _MAX_VALUE_LENGTH), truncate(change.new, _MAX_VALUE_LENGTH)
        stdout(f"  {change.path}: {old} -> {new}")
    if len(preview.field_changes) > _MAX_CHANGES:
        stdout(f"  … and {len(preview.field_changes) - _MAX_CHANGES} more")
    if preview.restarts_pods:
        stdout("  its Pods restart")


def _is_conflict(rejection: Rejection | None) -> bool:
    return rejection is not None and rejection.reason is RejectionReason.CONFLICT


def _print_conflicts(spec: ServingSpec, preview: Preview, stderr: LineWriter, force: bool) -> None:
    """Print which fields conflict with other managers, and what to do."""
    assert preview.rejection is not None
    found = preview.rejection.conflicts
    if not found:
        stderr(f"error: {spec.name}: {preview.rejection.message}")
    else:
        stderr(f"error: {spec.name}: {_object_name(preview)} has fields that another manager set:")
    for one in found[:_MAX_CHANGES]:
        theirs, ours = (
            truncate(one.current, _MAX_VALUE_LENGTH),
            truncate(one.desired, _MAX_VALUE_LENGTH),
        )
        stderr(f"  {one.path}: {one.manager} set {theirs}, the file says {ours}")
    if len(found) > _MAX_CHANGES:
        stderr(f"  … and {len(found) - _MAX_CHANGES} more")
    if found and not force:
        stderr(_CONFLICT_HINT)


def _object_name(preview: Preview) -> str:
    group = preview.ref.api_version.partition("/")[0] if "/" in preview.ref.api_version else ""
    kind = preview.ref.kind.lower() + (f".{group}" if group else "")
    return f"{kind}/{preview.ref.name}"


def _action_text(preview: Preview) -> str:
    words = {
        PreviewAction.CREATE: "created",
        PreviewAction.CHANGE: "configured",
        PreviewAction.UNCHANGED: "unchanged",
    }
    return words[preview.action or PreviewAction.UNCHANGED]


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    if args.all_namespaces:
        raise CommandError(
            "A serving cannot be applied in all namespaces; give its namespace with -n or in"
            " the file.",
            USAGE_ERROR,
        )
    settings = load_settings(args)
    documents = read_serving_documents(args.filename)

    async def apply_specs(target: ConnectionOptions) -> int:
        connection = await Connection.open(target)
        try:
            namespace = connection.namespace or "default"
            if problems := validate_identities(documents, namespace):
                place = file_description(args.filename)
                raise CommandError(f"{place}: {DocumentError(problems)}")
            named = [
                one.spec if one.spec.namespace else one.spec.replace(namespace=namespace)
                for one in documents
            ]
            succeeded = await apply_all(
                connection,
                named,
                await load_platform_settings(connection, settings),
                dry_run=args.dry_run,
                stdout=lambda line: write_lines(sys.stdout, line),
                stderr=lambda line: write_lines(sys.stderr, line),
                force=args.force_conflicts,
            )
            return 0 if succeeded else 1
        finally:
            await connection.close()

    with connection_options(args, settings) as target:
        return asyncio.run(apply_specs(target))
