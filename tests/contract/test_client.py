"""servedeck's own client code, unchanged, against both servers: the purpose of the demo."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from servedeck.changes.draft import Draft
from servedeck.cluster.access import AccessChecker
from servedeck.cluster.apply import PreviewAction, apply, delete_created, preview
from servedeck.cluster.auth.kubeconfig import ConnectionOptions as Aim
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.rejection import RejectionReason
from servedeck.cluster.watch.kinds import DEPLOYMENTS
from servedeck.cluster.watch.reflector import RecordChange, Reflector
from servedeck.serving.objects import manifests
from tests.contract.target import Target, scaled_down_deployment
from tests.waiting import wait_until

Open = Callable[[str], Awaitable[Connection]]


@pytest.fixture
async def connect(target: Target, ns: str, tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[Connection] = []

    async def connection(user: str = "admin") -> Connection:
        file = tmp_path / user
        file.write_text(json.dumps(target.backend.kubeconfig(user)))
        found = await Connection.open(Aim(kubeconfig=(file,), namespace=ns))
        opened.append(found)
        return found

    yield connection
    for one in opened:
        await one.close()


async def test_a_reflector_keeps_up(target: Target, connect: Open, ns: str) -> None:
    path = f"/apis/apps/v1/namespaces/{ns}/deployments"
    for name in ("a", "b"):
        target.ok("POST", path, scaled_down_deployment(name))
    received: list[RecordChange] = []
    reflector = Reflector(await connect("admin"), DEPLOYMENTS, ns, received.append, lambda _: None)
    task = asyncio.create_task(reflector.run())

    def names() -> list[str]:
        return sorted(record.metadata.name for record in reflector.records.values())

    try:
        await wait_until(lambda: reflector.synced, "the first list")
        assert names() == ["a", "b"]
        await asyncio.to_thread(target.ok, "POST", path, scaled_down_deployment("c"))
        await asyncio.to_thread(target.ok, "DELETE", f"{path}/a")
        await wait_until(lambda: names() == ["b", "c"], "the changes")
        await asyncio.to_thread(target.patch, f"{path}/b", {"spec": {"paused": True}})
        await wait_until(
            lambda: any(r.spec.paused for r in reflector.records.values()), "the changed spec"
        )
        assert [c.type for c in received if c.type in ("ADDED", "DELETED")].count("DELETED") == 1
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_serving_is_previewed_deployed_and_deleted(
    target: Target, connect: Open, ns: str
) -> None:
    draft = Draft("vllm", ns)
    draft.texts |= {"name": "llama", "settings.model": "meta-llama/Llama-3.1-8B-Instruct"}
    spec, problems = draft.validate()
    assert spec is not None, problems
    wanted = manifests.build_manifests(spec)
    connection = await connect("admin")
    plan = await preview(connection, wanted)
    assert [one.action for one in plan] == [PreviewAction.CREATE] * 2
    # the server would store exactly what was requested
    assert [one.admission_changes for one in plan] == [(), ()]
    outcome = await apply(connection, wanted, create=True)
    assert outcome.rejection is None and [one.created for one in outcome.applied] == [True, True]
    again = await preview(connection, wanted)
    assert [one.action for one in again] == [PreviewAction.UNCHANGED] * 2
    assert await delete_created(connection, outcome.applied) == ()
    status = target.rejected(404, "GET", f"/apis/apps/v1/namespaces/{ns}/deployments/llama")
    assert status["reason"] == "NotFound"


async def test_permissions_are_known(connect: Open, ns: str) -> None:
    admin = await AccessChecker.load(await connect("admin"), ns)
    nobody = await AccessChecker.load(await connect("nobody"), ns)
    assert admin.cached_decision("delete", "deployments.apps", ns).allowed
    assert not nobody.cached_decision("delete", "deployments.apps", ns).allowed
    assert (await admin.check("get", "pods", ns, "log")).allowed
    assert not (await nobody.check("get", "pods", ns, "log")).allowed


async def test_a_rejection_carries_its_status(connect: Open, ns: str) -> None:
    connection = await connect("admin")
    with pytest.raises(ApiError) as caught:
        await connection.get(f"/apis/apps/v1/namespaces/{ns}/deployments/nope")
    assert (caught.value.code, caught.value.reason) == (404, "NotFound")
    with pytest.raises(ApiError) as caught:
        await (await connect("nobody")).get(f"/api/v1/namespaces/{ns}/pods")
    assert (caught.value.code, caught.value.reason) == (403, "Forbidden")
    assert await connection.server_version() == (1, 36)


class RacedConnection:
    """Passes requests on; before the first write, somebody else creates the object."""

    def __init__(self, connection: Connection, manifest: dict[str, Any]) -> None:
        self._connection = connection
        self._theirs: dict[str, Any] | None = manifest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def request(self, method: str, path: str, **options: Any) -> Any:
        if method == "PATCH" and self._theirs is not None:
            theirs, self._theirs = self._theirs, None
            collection = path.rpartition("/")[0]
            await self._connection.request("POST", collection, body=theirs)
        return await self._connection.request(method, path, **options)


@pytest.mark.parametrize("create", [True, False])
async def test_what_somebody_else_creates_at_the_same_time_is_not_changed(
    connect: Open, ns: str, create: bool
) -> None:
    connection = await connect("admin")
    metadata = {"name": "raced", "namespace": ns}
    mine, theirs = (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"by": text}}
        for text in ("me", "them")
    )
    raced = cast("Connection", RacedConnection(connection, theirs))
    outcome = await apply(raced, [mine], create=create)
    assert outcome.applied == ()
    assert outcome.rejection is not None
    assert outcome.rejection.reason is RejectionReason.ALREADY_EXISTS
    path = f"/api/v1/namespaces/{ns}/configmaps/raced"
    assert (await connection.get_json(path))["data"] == {"by": "them"}
    # One that is there before is another matter: `create` alone refuses it.
    again = await apply(connection, [{**mine, "data": {"more": "1"}}], create=create)
    assert (again.rejection is not None) == create


async def test_what_is_missing_is_created(connect: Open, ns: str) -> None:
    connection = await connect("admin")
    metadata = {"name": "fresh", "namespace": ns}
    outcome = await apply(
        connection, [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}]
    )
    assert outcome.rejection is None
    assert [one.created for one in outcome.applied] == [True]
