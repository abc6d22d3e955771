"""Services that also select the Pods of other Deployments: a change must not cut these off."""

from __future__ import annotations

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.objects import manifests
from tests.changes.test_changes_on_demo import PLATFORM, make_spec
from tests.changes.test_services_and_routes import (
    TRANSFORMER,
    connection,
    create,
    demo,
    edit,
    open_as,
    path,
    target_of,
)

__all__ = ["connection", "demo"]


async def create_canary(connection: Connection) -> None:
    """Serving "red" and a copy of its Deployment whose Pods its Service selects as well."""
    spec = make_spec(name="red")
    await create(connection, *manifests.build_manifests(spec, PLATFORM))
    [canary, *_] = manifests.build_manifests(spec)
    canary["metadata"]["name"] = "red-canary"
    labels = canary["spec"]["template"]["metadata"]["labels"]
    labels["track"] = canary["spec"]["selector"]["matchLabels"]["track"] = "canary"
    await create(connection, canary)


async def test_a_service_of_another_deployment_is_not_changed_until_it_is_forced(
    connection: Connection,
) -> None:
    await create_canary(connection)
    good, stdout, stderr = await edit(connection, name="red-canary", transformer={"image": "t"})
    assert not good
    assert stdout == []
    assert stderr[-2:] == [
        "error: red-canary: spec.transformer: Service red also selects the Pods of Deployment red, "
        "which do not have port transformer; give each Deployment its own Service.",
        "  To make the change anyway, use --force-conflicts.",
    ]
    assert await target_of(connection, "red") == "http"
    good, _, stderr = await edit(connection, name="red-canary", transformer=TRANSFORMER, force=True)
    assert good, stderr
    assert any(
        line.startswith("warning: red-canary: spec.transformer: Service red") for line in stderr
    )
    assert await target_of(connection, "red") == "transformer"
    # The first Deployment has the port now: the Service stays as it is.
    good, _, stderr = await edit(connection, name="red", transformer=TRANSFORMER)
    assert good, stderr
    assert not any("also selects" in line for line in stderr), stderr


@pytest.mark.parametrize(("replicas", "flag"), [(0, None), (1, "9000"), (1, "8000")])
async def test_only_pods_that_do_not_have_the_port_prevent_a_change(
    connection: Connection, replicas: int, flag: str | None
) -> None:
    await create(connection, *manifests.build_manifests(make_spec(name="red"), PLATFORM))
    canary = manifests.build_manifests(make_spec(name="red"))[0]
    canary["metadata"]["name"] = "red-canary"
    canary["spec"]["replicas"] = replicas
    labels = canary["spec"]["template"]["metadata"]["labels"]
    labels["track"] = canary["spec"]["selector"]["matchLabels"]["track"] = "canary"
    container = canary["spec"]["template"]["spec"]["containers"][0]
    container["ports"] = []
    container.pop("readinessProbe", None)
    if flag is not None:
        container["args"] = ["--port", flag]
    await create(connection, canary)
    service = await connection.get_json(path("services", "red"))
    service["spec"]["ports"][0]["targetPort"] = 8000
    await connection.request("PUT", path("services", "red"), body=service)
    good, _, stderr = await edit(connection, name="red", inference_port=9000)
    assert good == (flag != "8000"), stderr
    severity = {None: None, "9000": "warning", "8000": "error"}[flag]
    found = [line.partition(":")[0] for line in stderr if "also selects" in line]
    assert found == ([severity] if severity else [])


async def test_a_change_that_leaves_the_services_alone_does_not_look_for_other_deployments(
    demo: DemoCluster, connection: Connection
) -> None:
    await create_canary(connection)
    async with open_as(demo, "no-deployments") as restricted:
        good, _, stderr = await edit(restricted, name="red-canary", replicas=2)
        assert good
        assert stderr == []
        good, _, stderr = await edit(restricted, name="red", transformer=TRANSFORMER)
    assert good
    assert any("not known whether others use Service red" in line for line in stderr), stderr
