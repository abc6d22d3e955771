"""`servedeck export`: a serving of the cluster as a document for `servedeck apply`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass

from servedeck.changes.live_objects import (
    ServingNotFoundError,
    fetch_live_objects,
    find_other_kind,
)
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.commands.arguments import (
    connection_options,
    load_settings,
    require_single_namespace,
)
from servedeck.commands.output import write_lines
from servedeck.serving.objects import import_objects
from servedeck.serving.objects.unmanaged_fields import UnmanagedField
from servedeck.serving.spec.document import to_yaml
from servedeck.serving.text import one_line, sanitize


@dataclass(frozen=True, slots=True)
class ExportedServing:
    yaml: str
    unmanaged_fields: tuple[str, ...]
    """A sentence for each field of the objects that the document does not have."""


async def export_serving(connection: Connection, namespace: str, name: str) -> ExportedServing:
    """The document of an existing serving. Raises ServingNotFoundError and other ClusterErrors."""
    objects = (await fetch_live_objects(connection, namespace, name)).objects
    if not objects:
        missing = f"There is no Deployment {name} in namespace {namespace}"
        if kind := await find_other_kind(connection, namespace, name):
            missing += f"; the {kind} of that name is read-only here and is not exported"
        raise ServingNotFoundError(f"{missing}.")
    read = import_objects.import_objects(objects)
    return ExportedServing(
        to_yaml(read.spec), tuple(map(describe_unmanaged_field, read.unmanaged_fields))
    )


def describe_unmanaged_field(field: UnmanagedField) -> str:
    """One sentence about a field that the document does not have."""
    where = one_line(sanitize(f"{field.object} {field.path}".strip()))
    if field.built is not None:
        return (
            f"{where} stays as it is here; a new serving created from the file has another value."
        )
    return (
        f"{where} is not exported: it stays as it is here; a new serving created from the file "
        "does not have it."
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    settings = load_settings(args)
    require_single_namespace(settings)

    async def export(target: ConnectionOptions) -> int:
        connection = await Connection.open(target)
        try:
            namespace = connection.namespace or "default"
            exported = await export_serving(connection, namespace, args.name)
        finally:
            await connection.close()
        sys.stdout.write(exported.yaml)
        write_lines(sys.stderr, *(f"note: {leftover}" for leftover in exported.unmanaged_fields))
        return 0

    with connection_options(args, settings) as target:
        return asyncio.run(export(target))
