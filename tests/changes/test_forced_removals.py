"""Removing what others set, with an update of the whole object."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.conventions import MODEL_CACHE_PATH
from servedeck.serving.objects import manifests
from servedeck.serving.spec.mapping.system_volumes import cache_env
from tests.changes.test_changes_on_demo import make_spec
from tests.changes.test_services_and_routes import create, edit, open_as, path, replicas_of


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with DemoCluster(live=False) as demo, open_as(demo, "") as opened:
        yield opened


async def test_a_forced_removal_succeeds_while_a_controller_writes_the_status(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_with_foreign_variable(connection)
    seen = [{"metadata": {"annotations": {"seen": number}}} for number in ("1", "2", "3")]
    write_before_updates(connection, monkeypatch, seen)
    good, stdout, stderr = await edit(connection, env=(), force=True)
    assert good, stderr
    assert "deployment.apps/fresh configured" in stdout
    after = await connection.get_json(path("deployments"))
    [container] = after["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in container["env"]] == list(cache_env(MODEL_CACHE_PATH))
    assert after["metadata"]["annotations"]["seen"] == "3"


async def test_the_dry_run_of_a_forced_removal_notes_only_what_admission_sets(
    connection: Connection,
) -> None:
    await create_with_foreign_variable(connection)
    good, stdout, stderr = await edit(connection, env=(), force=True, dry_run=True)
    assert good, stderr
    assert "deployment.apps/fresh configured (server dry run)" in stdout
    assert not any("admission" in line for line in stderr), stderr


async def test_a_forced_removal_does_not_revert_what_somebody_else_changes(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_with_foreign_variable(connection)
    write_before_updates(connection, monkeypatch, [{"spec": {"replicas": 7}}])
    good, _, stderr = await edit(connection, env=(), force=True)
    assert not good
    assert stderr[-1] == (
        "error: fresh: Deployment chat/fresh was changed by somebody else at the same time "
        "(spec.replicas); apply the file again."
    )
    assert not any("--force-conflicts" in line for line in stderr)
    assert await replicas_of(connection) == 7


async def create_with_foreign_variable(connection: Connection) -> None:
    await create(connection, *manifests.build_manifests(make_spec()))
    variable = {"name": "LEVEL", "value": "debug"}
    pod = {"containers": [{"name": "inference-server", "env": [variable]}]}
    await connection.request(
        "PATCH",
        path("deployments"),
        params=[("fieldManager", "kubectl-set")],
        body={"spec": {"template": {"spec": pod}}},
        content_type="application/strategic-merge-patch+json",
    )


def write_before_updates(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, changes: list[dict[str, Any]]
) -> None:
    """Make the changes to the Deployment, one before each update arrives."""
    request = connection.request

    async def intercepted(method: str, *args: Any, **options: Any) -> Any:
        if method == "PUT" and changes:
            await request(
                "PATCH",
                path("deployments"),
                params=[("fieldManager", "autoscaler")],
                body=changes.pop(0),
                content_type="application/merge-patch+json",
            )
        return await request(method, *args, **options)

    monkeypatch.setattr(connection, "request", intercepted)
