"""A serving of the demo cluster, whose auto scaling is turned on and off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from servedeck.changes.edit.edit import Edit, EditPlan, begin_edit, plan_edit
from servedeck.changes.edit.save import (
    SaveResult,
    SaveState,
    save_edit,
)
from servedeck.changes.inventory import ClusterInventory
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionFailedError,
)
from servedeck.demo.cluster import DemoCluster

NAME = "llama-33-70b"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/chat/scaledobjects"
PATH = f"{SCALED_OBJECTS}/{NAME}"
DEPLOYMENT = f"/apis/apps/v1/namespaces/chat/deployments/{NAME}"
REF = f"ScaledObject chat/{NAME}"
ON = {"auto_scaling": "response-time", "max_replicas": 4}
REFUSED = ConnectionFailedError("Connection refused by https://demo.")


@asynccontextmanager
async def open_demo() -> AsyncIterator[Connection]:
    """A connection to a demo cluster of its own, in which nothing happens by itself."""
    async with DemoCluster(live=False) as cluster:
        opened = await Connection.open(ConnectionOptions(kubeconfig=(cluster.kubeconfig,)))
        yield opened
        await opened.close()


@asynccontextmanager
async def open_inventory(connection: Connection) -> AsyncIterator[ClusterInventory]:
    made = ClusterInventory(connection, "chat")
    made.start()
    await made.wait_until_listed()
    yield made
    await made.close()


async def begin(connection: Connection, **fields: Any) -> Edit:
    edit = await begin_edit(connection, "chat", NAME)
    return replace(edit, wanted=edit.wanted.replace(**fields))


async def plan_of(
    connection: Connection, inventory: ClusterInventory, *, force: bool = False, **fields: Any
) -> EditPlan:
    edit = await begin(connection, **fields)
    plan = await plan_edit(connection, edit, inventory, force=force)
    assert plan.can_save, plan.issues
    return plan


async def save(
    connection: Connection, inventory: ClusterInventory, *, force: bool = False, **fields: Any
) -> SaveResult:
    plan = await plan_of(connection, inventory, force=force, **fields)
    return await save_edit(connection, plan, inventory, force=force)


async def turn_on(connection: Connection, inventory: ClusterInventory) -> None:
    assert (await save(connection, inventory, **ON)).state is SaveState.SAVED


async def read_spec(connection: Connection) -> Any:
    return (await begin_edit(connection, "chat", NAME)).base.spec


async def scaled_object(connection: Connection) -> Any:
    """The ScaledObject as it is; None if there is none."""
    try:
        return await connection.get_json(PATH)
    except ApiError as error:
        assert error.code == 404
        return None


async def patch(connection: Connection, body: Any, path: str = PATH) -> None:
    await connection.request(
        "PATCH",
        path,
        params=[("fieldManager", "kubectl-edit")],
        body=body,
        content_type="application/merge-patch+json",
    )


def foreign_scaled_object(target: str) -> Any:
    trigger = {"type": "cron", "metadata": {"timezone": "UTC", "desiredReplicas": "3"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": NAME, "namespace": "chat"},
        "spec": {"scaleTargetRef": {"name": target}, "triggers": [trigger]},
    }


class Hook:
    """Does something with the first write of one method on the ScaledObject."""

    def __init__(
        self,
        connection: Connection,
        method: str,
        *,
        error: ClusterError | None = None,
        executed: bool = False,
        before: Callable[[], Awaitable[None]] | None = None,
        reads_fail: bool = False,
    ) -> None:
        self._connection = connection
        self.bodies: list[Any] = []
        """Of all such writes that were no dry runs."""
        self._late: tuple[tuple[str, str], dict[str, Any]] | None = None
        request: Callable[..., Awaitable[Any]] = connection.request
        self._request = request

        async def hooked(verb: str, path: str, **options: Any) -> Any:
            body = options.get("body", b"")
            is_dry_run = ("dryRun", "All") in options.get("params", ()) or "dryRun" in str(body)
            if verb == "GET" and reads_fail and self.bodies:
                raise REFUSED
            if verb != method or path != PATH or is_dry_run:
                return await request(verb, path, **options)
            self.bodies.append(json.loads(body))
            if len(self.bodies) == 1:
                if before is not None:
                    await before()
                if error is not None:
                    if executed:
                        await request(verb, path, **options)
                    self._late = ((verb, path), options)
                    raise error
            return await request(verb, path, **options)

        connection.request = hooked  # type: ignore[method-assign, assignment]

    def end(self) -> None:
        del self._connection.request

    async def arrive(self) -> None:
        """The API server executes the write that it was not heard of."""
        assert self._late is not None
        place, options = self._late
        await self._request(*place, **options)
