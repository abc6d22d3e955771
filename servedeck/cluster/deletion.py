"""Deleting one object as it was read, and previewing that with a dry run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from servedeck.cluster.apply import ObjectRef, Preview, PreviewAction
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.rejection import rejection_from_api_error


async def delete_object(
    connection: Connection, ref: ObjectRef, live: Mapping[str, Any], *, dry_run: bool = False
) -> None:
    """Delete the object in the background, but only as it was read: of its uid and its
    resourceVersion. Raises ApiError with 404 if it is gone, with 409 if it is another one or was
    changed, and other ClusterErrors."""
    metadata = live.get("metadata") or {}
    preconditions = {key: metadata[key] for key in ("uid", "resourceVersion") if metadata.get(key)}
    body: dict[str, Any] = {"preconditions": preconditions, "propagationPolicy": "Background"}
    if dry_run:
        body["dryRun"] = ["All"]
    await connection.request(
        "DELETE", ref.path, body=json.dumps(body).encode(), content_type="application/json"
    )


async def preview_deletion(
    connection: Connection, ref: ObjectRef, live: Mapping[str, Any]
) -> Preview:
    """Dry-run the deletion. One that is gone already is deleted; that it changed is found when it
    is deleted. Raises ClusterError if the server cannot be reached."""
    try:
        await delete_object(connection, ref, live, dry_run=True)
    except ApiError as error:
        if error.code not in (404, 409):
            return Preview(ref, None, rejection_from_api_error(error))
    return Preview(ref, PreviewAction.DELETE)
