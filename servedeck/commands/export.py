"""`servedeck export`: a serving of the cluster as a document for `servedeck apply`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from servedeck.changes.live_objects import (
    ServingNotFoundError,
    fetch_live_objects,
    find_other_kind,
)
from servedeck.changes.platform_settings import load_platform_settings
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
    split_serving_name,
)
from servedeck.commands.output import write_lines
from servedeck.serving.edit.secret_fields import find_secret_values, redact_secrets
from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.export_text import export_text
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.objects.unmanaged_fields import UnmanagedField
from servedeck.serving.text import MASK, format_count

_MAX_VALUE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class ExportedServing:
    yaml: str
    """The document, and as comments the fields of the objects that it does not have."""
    unmanaged_fields: tuple[UnmanagedField, ...]
    """Those fields."""
    created_objects: tuple[str, ...]
    """What applying the file would create beside the serving, although nothing was edited."""
    secret_values: tuple[str, ...] = ()
    """Paths of the values that look secret, "env.HF_TOKEN". The file has them in the clear, since
    it could not be applied otherwise, unless they are redacted."""
    is_redacted: bool = False
    """Whether the file has MASK in their place, with which it cannot be applied."""


async def export_serving(
    connection: Connection,
    namespace: str,
    name: str,
    platform: PlatformSettings | None = None,
    *,
    redact: bool = False,
) -> ExportedServing:
    """The document of an existing serving; with `redact`, without the values that look secret.
    Raises ServingNotFoundError and other ClusterErrors."""
    live = await fetch_live_objects(connection, namespace, name)
    if not live.objects:
        missing = f"There is no Deployment {name} in namespace {namespace}"
        if kind := await find_other_kind(connection, namespace, name):
            missing += f"; the {kind} of that name is read-only here and is not exported"
        raise ServingNotFoundError(f"{missing}.")
    read = live.import_serving()
    change = change_objects(read, read.spec, platform, live.related)
    created = change.changed[len(change.live) :]
    return ExportedServing(
        export_text(read, redact_secrets(read.spec) if redact else None),
        read.unmanaged_fields,
        tuple(str(ObjectRef.from_manifest(one)) for one in created),
        tuple(find_secret_values(read.spec)),
        redact,
    )


def describe_export(exported: ExportedServing, *, verbose: bool) -> Iterator[str]:
    """What the file has that nobody else should see, what it does not contain, and what applying it
    unchanged would do all the same."""
    found = exported.secret_values
    if found and exported.is_redacted:
        yield (
            f"note: {MASK} in the file stands for values that look secret: {', '.join(found)}. "
            "Write them, or take them from a Secret of the cluster, before you apply it."
        )
    elif found:
        yield (
            f"warning: These values in the file look secret: {', '.join(found)}. Take them from a "
            "Secret of the cluster before you store the file, or use --redact."
        )
    for created in exported.created_objects:
        yield f"warning: The serving has no {created}; applying the file creates it."
    fields = exported.unmanaged_fields
    if not fields:
        return
    count, more = format_count(len(fields), "field"), "" if verbose else ", or use -v"
    yield (
        f"note: Not in the file: {count} of the objects; see the comments at its end{more}. "
        "Applying the file does not change them; a new serving made from it lacks them or has "
        "other values."
    )
    if verbose:
        yield from (f"  {one.describe(_MAX_VALUE_LENGTH)}" for one in fields)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    args.namespace, name = split_serving_name(args.name, args.namespace)
    settings = load_settings(args)
    require_single_namespace(settings)

    async def export(target: ConnectionOptions) -> int:
        connection = await Connection.open(target)
        try:
            namespace = connection.namespace or "default"
            platform = await load_platform_settings(connection, settings)
            exported = await export_serving(
                connection, namespace, name, platform, redact=args.redact
            )
        finally:
            await connection.close()
        sys.stdout.write(exported.yaml)
        write_lines(sys.stderr, *describe_export(exported, verbose=args.verbose))
        return 0

    with connection_options(args, settings) as target:
        return asyncio.run(export(target))
