"""`servedeck export`: a serving of the cluster as a document for `servedeck apply`."""

from __future__ import annotations

import argparse
import asyncio
import shlex
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
from servedeck.serving.edit.differences import format_path
from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.export_text import export_text
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.objects.unmanaged_fields import UnmanagedField
from servedeck.serving.spec.env_file import contains_secret, looks_secret
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import format_count

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
    """Paths of the values in the file that look secret, "env.HF_TOKEN": it has them in the clear,
    since it could not be applied otherwise."""


async def export_serving(
    connection: Connection, namespace: str, name: str, platform: PlatformSettings | None = None
) -> ExportedServing:
    """The document of an existing serving. Raises ServingNotFoundError and other ClusterErrors."""
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
        export_text(read),
        read.unmanaged_fields,
        tuple(str(ObjectRef.from_manifest(one)) for one in created),
        tuple(find_secret_values(read.spec)),
    )


def find_secret_values(spec: ServingSpec) -> Iterator[str]:
    """Paths, as `servedeck set` takes them, of the values that look secret."""
    parts = [("", spec.env, spec.command)]
    if spec.transformer is not None:
        parts.append(("transformer.", spec.transformer.env, spec.transformer.command))
    for prefix, variables, command in parts:
        for one in variables:
            if one.value and looks_secret(one.name, one.value):
                yield f"{prefix}env.{one.name}"
        if contains_secret(shlex.join(command)):
            yield f"{prefix}command"
    for name, value in spec.settings.items():
        text = shlex.join(value) if isinstance(value, tuple) else str(value)
        if contains_secret(text) or looks_secret(name, text):
            yield format_path(("settings", name))


def describe_export(exported: ExportedServing, *, verbose: bool) -> Iterator[str]:
    """What the file has that nobody else should see, what it does not contain, and what applying it
    unchanged would do all the same."""
    if found := exported.secret_values:
        yield (
            f"warning: These values in the file look secret: {', '.join(found)}. Take them from a "
            "Secret of the cluster before you store the file."
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
            exported = await export_serving(connection, namespace, name, platform)
        finally:
            await connection.close()
        sys.stdout.write(exported.yaml)
        write_lines(sys.stderr, *describe_export(exported, verbose=args.verbose))
        return 0

    with connection_options(args, settings) as target:
        return asyncio.run(export(target))
