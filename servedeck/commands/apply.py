"""`servedeck apply`: create or update the servings of a file, without the TUI."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.live_objects import fetch_live_objects
from servedeck.changes.object_writes import apply_writes
from servedeck.changes.plan import make_plan, new_issues
from servedeck.changes.platform_settings import load_platform_settings
from servedeck.cluster.apply import PreviewAction
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.write_log import expect_writes, settle_write
from servedeck.commands.arguments import (
    connection_options,
    file_description,
    load_settings,
    read_serving_documents,
)
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.interruption import run_writing
from servedeck.commands.output import write_lines
from servedeck.commands.plan_text import (
    OVERRIDE_HINT,
    LineWriter,
    action_text,
    conflicts_by_message,
    is_conflict,
    object_name,
    write_admission_changes,
    write_changes,
    write_conflicts,
    write_issue,
    write_rest,
)
from servedeck.serving.objects.change import resolve_open_fields
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.owners import OwnerKind, find_replicas_owner
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec import validation
from servedeck.serving.spec.document import document_path, validate_identities
from servedeck.serving.spec.document_issues import DocumentError
from servedeck.serving.spec.issues import Severity, errors
from servedeck.serving.spec.spec import ServingSpec


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
        if not dry_run:
            expect_writes(_serving_name(spec) for spec in specs)
        for spec in specs:
            succeeded &= await _apply_one(
                connection, spec, platform, inventory, dry_run, stdout, stderr, force
            )
            settle_write(_serving_name(spec))
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
            existing = live.import_serving()
            wanted = resolve_open_fields(existing, spec)
            found = new_issues(existing.spec, wanted, existing.mounts)
    if not errors(found):
        return True
    for one in found:
        write_issue(spec.name, one, one.severity, stderr)
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
    existing: ImportedServing | None = None
    if live.objects:
        existing = live.import_serving(platform.engines.prometheus_url)
        spec, note = _keep_scaled_replicas(existing, spec)
        if note:
            stderr(f"note: {spec.name}: {document_path('replicas')}: {note}")
    plan = await make_plan(
        connection,
        spec,
        platform,
        inventory,
        existing=existing,
        related=live.related,
        force=force,
    )
    # Errors of an unchanged serving are no reason to reject it.
    stays = bool(plan.previews) and all(
        one.action is PreviewAction.UNCHANGED for one in plan.previews
    )
    conflicts = conflicts_by_message(plan)
    hint = "" if force else _CONFLICT_HINT
    for problem in plan.issues:
        if problem.message in conflicts:
            preview = conflicts[problem.message]
            write_conflicts(spec.name, preview, stderr, source="the file says", hint=hint)
            continue
        severity = Severity.WARNING if stays else problem.severity
        write_issue(spec.name, problem, severity, stderr)
    if plan.overridable and not force:
        stderr(OVERRIDE_HINT)
    if not (plan.can_deploy or stays):
        return False
    if plan.scheduling_summary and any(one.action is PreviewAction.CREATE for one in plan.previews):
        stderr(f"note: {spec.name}: {plan.scheduling_summary}")
    if dry_run:
        for shown in plan.previews:
            stdout(f"{object_name(shown.ref)} {action_text(shown)} (server dry run)")
            write_changes(shown, stdout)
            write_admission_changes(shown, stderr)
        return True
    settle_write(_serving_name(spec))  # in place of it, its objects
    outcome = await apply_writes(connection, plan.writes, force=force)
    applied = {one.ref for one in outcome.applied}
    for shown in plan.previews:
        if shown.ref in applied or shown.action is PreviewAction.UNCHANGED:
            stdout(f"{object_name(shown.ref)} {action_text(shown)}")
            write_changes(shown, stdout)
            write_admission_changes(shown, stderr)
    if outcome.rejection:
        stderr(f"error: {outcome.failed_ref}: {outcome.rejection.message}")
        if outcome.rejection.fields and is_conflict(outcome.rejection) and not force:
            stderr(_CONFLICT_HINT)
        if any(one.kind == "Deployment" for one in applied):
            unwritten = [
                one.ref
                for one in plan.writes
                if one.live is not None and one.body is not None and one.ref not in applied
            ]
            write_rest(spec.name, unwritten, stderr)
    return outcome.rejection is None


def _serving_name(spec: ServingSpec) -> str:
    return f"serving {spec.namespace}/{spec.name}"


def _keep_scaled_replicas(existing: ImportedServing, spec: ServingSpec) -> tuple[ServingSpec, str]:
    """The spec with the replicas that an autoscaler has set since the file was written, and a
    sentence about it, "" for none. A HorizontalPodAutoscaler leaves a serving of 0 replicas
    alone."""
    owner = find_replicas_owner(existing.objects.deployment, existing.objects.scalers)
    now, wanted = existing.spec.replicas, spec.replicas
    if owner is None or now == wanted or (owner.kind is OwnerKind.HPA and not (now and wanted)):
        return spec, ""
    kept = spec.replace(replicas=now)
    if "replicas" not in spec.model_fields_set:
        return kept, ""
    return kept, f"{owner.name} sets the replicas, {now} now; the {wanted} here are not applied."


_CONFLICT_HINT = (
    "  To keep their values, export the serving again and edit that; to overwrite them, use "
    "--force-conflicts."
)


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
        return run_writing(apply_specs(target))
