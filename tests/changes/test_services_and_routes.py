"""Changing a serving whose Service or route is missing, belongs to others, or may not be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from servedeck.cluster.apply import apply
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.commands.apply import apply_all
from servedeck.commands.export import export_serving
from servedeck.demo.api.access import AccessRule, DemoUser
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.objects import manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml
from tests.changes.test_changes_on_demo import PLATFORM, make_full_spec, make_spec

READ = ("get", "list", "watch")
ALL = ("*",)
APPS = AccessRule(("get", "list", "watch", "create", "patch"), ALL, ("deployments", "pods"))
USERS = (
    DemoUser("deployer", (APPS,)),
    DemoUser("no-list", (APPS, AccessRule(("get", "patch", "create"), ALL, ("services",)))),
    DemoUser("reader", (APPS, AccessRule(READ, ALL, ALL))),
    DemoUser(
        "no-deployments",
        (
            AccessRule(("get", "patch"), ALL, ("deployments",)),
            AccessRule((*READ, "patch"), ALL, ("services", "httproutes")),
        ),
    ),
)
NO_ROUTE = PlatformSettings()
TRANSFORMER = {"image": "transformer:1", "port": 8081}


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False, more_users=USERS) as cluster:
        yield cluster


@pytest.fixture
async def connection(demo: DemoCluster) -> AsyncIterator[Connection]:
    async with open_as(demo, "") as opened:
        yield opened


@asynccontextmanager
async def open_as(demo: DemoCluster, user: str) -> AsyncIterator[Connection]:
    context = f"demo-{user}" if user else ""
    options = ConnectionOptions(kubeconfig=(demo.kubeconfig,), context=context)
    opened = await Connection.open(options)
    try:
        yield opened
    finally:
        await opened.close()


async def create(connection: Connection, *objects: dict[str, Any]) -> None:
    outcome = await apply(connection, objects)
    assert outcome.rejection is None, outcome


async def edit(
    connection: Connection,
    *,
    platform: PlatformSettings = PLATFORM,
    force: bool = False,
    dry_run: bool = False,
    name: str = "fresh",
    **changes: Any,
) -> tuple[bool, list[str], list[str]]:
    """Export the serving and apply it with `changes`."""
    spec = from_yaml((await export_serving(connection, "chat", name)).yaml)
    stdout: list[str] = []
    stderr: list[str] = []
    good = await apply_all(
        connection,
        [spec.replace(**changes)],
        platform,
        dry_run=dry_run,
        stdout=stdout.append,
        stderr=stderr.append,
        force=force,
    )
    return good, stdout, stderr


def path(plural: str, name: str = "fresh") -> str:
    groups = {"services": "/api/v1", "deployments": "/apis/apps/v1"}
    root = groups.get(plural, "/apis/gateway.networking.k8s.io/v1")
    return f"{root}/namespaces/chat/{plural}/{name}"


async def exists(connection: Connection, plural: str, name: str = "fresh") -> bool:
    try:
        await connection.get_json(path(plural, name))
    except ApiError as error:
        assert error.code == 404
        return False
    return True


async def target_of(connection: Connection, name: str = "fresh") -> Any:
    [port] = (await connection.get_json(path("services", name)))["spec"]["ports"]
    return port["targetPort"]


async def replicas_of(connection: Connection, name: str = "fresh") -> Any:
    return (await connection.get_json(path("deployments", name)))["spec"]["replicas"]


# -- a Service that was deleted -----------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"replicas": 3}])
async def test_a_service_that_is_created_again_leads_to_the_transformer(
    connection: Connection, changes: dict[str, Any]
) -> None:
    await create(connection, *manifests.build_manifests(make_full_spec("vllm"), PLATFORM))
    before = await connection.get_json(path("services"))
    await connection.request("DELETE", path("services"))
    good, stdout, stderr = await edit(connection, **changes)
    assert good, stderr
    assert "service/fresh created" in stdout
    after = await connection.get_json(path("services"))
    assert after["spec"]["ports"] == before["spec"]["ports"]
    assert after["spec"]["selector"] == before["spec"]["selector"]
    assert await target_of(connection) == "transformer"


# -- kinds that may not be read -----------------------------------------------------------------


@pytest.mark.parametrize("user", ["deployer", "no-list"])
@pytest.mark.parametrize("platform", [PLATFORM, NO_ROUTE])
async def test_who_may_not_list_services_changes_replicas_and_no_service(
    demo: DemoCluster, connection: Connection, user: str, platform: PlatformSettings
) -> None:
    await create(connection, *manifests.build_manifests(make_full_spec("vllm")))
    async with open_as(demo, user) as restricted:
        good, stdout, stderr = await edit(restricted, platform=platform, replicas=3)
    assert good, stderr
    assert stderr == []
    assert "deployment.apps/fresh configured" in stdout
    assert not any(line.endswith("created") for line in stdout), stdout
    assert await target_of(connection) == "transformer"
    assert not await exists(connection, "httproutes")
    assert await replicas_of(connection) == 3


@pytest.mark.parametrize("user", ["deployer", "no-list"])
@pytest.mark.parametrize(
    ("changes", "field"),
    [({"inference_port": 9000}, "inferencePort"), ({"transformer": TRANSFORMER}, "transformer")],
)
async def test_without_permission_to_list_services_a_changed_port_is_an_error(
    demo: DemoCluster, connection: Connection, user: str, changes: dict[str, Any], field: str
) -> None:
    await create(connection, *manifests.build_manifests(make_spec()))
    before = await connection.get_json(path("deployments"))
    async with open_as(demo, user) as restricted:
        good, stdout, stderr = await edit(restricted, **changes)
        assert not good
        assert stdout == []
        assert stderr[-2:] == [
            f"error: fresh: spec.{field}: Services may not be listed, so it is not known whether "
            "one targets port 8000; ask for the permission to list them.",
            "  To make the change anyway, use --force-conflicts.",
        ]
        assert (await connection.get_json(path("deployments")))["spec"] == before["spec"]
        good, _, stderr = await edit(restricted, force=True, **changes)
    assert good, stderr
    assert any(line.startswith("warning: ") and "may not be listed" in line for line in stderr)
    assert not any("--force-conflicts" in line for line in stderr)


@pytest.mark.parametrize(
    ("present", "wanted", "target"),
    [
        (None, {"image": "t:1"}, "port 8000"),
        ({"image": "t:1", "port": 8085}, None, "port 8085"),
        ({"image": "t:1", "port": None}, None, "the transformer"),
    ],
)
async def test_who_may_not_list_services_adds_and_removes_no_transformer(
    demo: DemoCluster, connection: Connection, present: Any, wanted: Any, target: str
) -> None:
    objects = manifests.build_manifests(make_spec(transformer=present))
    if present and present["port"] is None:
        container = objects[0]["spec"]["template"]["spec"]["containers"][-1]
        del container["ports"], container["readinessProbe"]
    await create(connection, *objects)
    async with open_as(demo, "deployer") as restricted:
        good, _, stderr = await edit(restricted, transformer=wanted)
    assert not good
    assert stderr[-2] == (
        "error: fresh: spec.transformer: Services may not be listed, so it is not known whether "
        f"one targets {target}; ask for the permission to list them."
    )


async def test_an_image_of_the_transformer_is_not_about_services(
    demo: DemoCluster, connection: Connection
) -> None:
    await create(connection, *manifests.build_manifests(make_full_spec("vllm")))
    transformer = {"image": "transformer:2", "port": 8081}
    async with open_as(demo, "deployer") as restricted:
        good, _, stderr = await edit(restricted, transformer=transformer)
    assert good
    assert stderr == []


async def test_a_missing_object_that_may_not_be_created_does_not_prevent_a_change(
    demo: DemoCluster, connection: Connection
) -> None:
    await create(connection, *manifests.build_manifests(make_spec()))
    async with open_as(demo, "reader") as restricted:
        good, stdout, stderr = await edit(restricted, replicas=3)
    assert good, stderr
    assert "deployment.apps/fresh configured" in stdout
    assert any(line.startswith("warning: fresh: HTTPRoute chat/fresh does not") for line in stderr)
    assert await replicas_of(connection) == 3


# -- Services and routes of other names ---------------------------------------------------------


def renamed(service_port: int, name: str) -> list[dict[str, Any]]:
    """A serving of servedeck whose Service and route have another name or port."""
    deployment, service, route = manifests.build_manifests(make_spec(name="mo"), PLATFORM)
    service["metadata"]["name"] = name
    service["spec"]["ports"][0]["port"] = service_port
    route["metadata"]["name"] = "mo-route"
    route["spec"]["rules"][0]["backendRefs"] = [{"name": name, "port": service_port}]
    return [deployment, service, route]


@pytest.mark.parametrize("name", ["mo-svc", "mo"])
async def test_no_route_is_created_beside_one_that_leads_there(
    connection: Connection, name: str
) -> None:
    await create(connection, *renamed(8000, name))
    good, stdout, stderr = await edit(connection, name="mo")
    assert good, stderr
    assert all(line.endswith(" unchanged") for line in stdout), stdout
    assert "httproute.gateway.networking.k8s.io/mo-route unchanged" in stdout
    assert not await exists(connection, "httproutes", "mo")


@pytest.mark.parametrize("name", ["mo-svc", "mo"])
async def test_a_new_route_leads_to_the_service_that_exists(
    connection: Connection, name: str
) -> None:
    await create(connection, *renamed(8000, name)[:2])
    good, _, stderr = await edit(connection, name="mo")
    assert good, stderr
    route = await connection.get_json(path("httproutes", "mo"))
    [rule] = route["spec"]["rules"]
    backends = [(one["name"], one["port"]) for one in rule["backendRefs"]]
    assert backends == [(name, 8000)]
    assert rule["matches"][0]["path"]["value"] == "/chat/mo"


# -- blue and green -----------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"replicas": 0}])
@pytest.mark.parametrize("force", [False, True])
async def test_a_service_that_was_switched_to_other_pods_is_left_alone(
    connection: Connection, changes: dict[str, Any], force: bool
) -> None:
    for name in ("blue", "green"):
        await create(connection, *manifests.build_manifests(make_spec(name=name), PLATFORM))
    await connection.request("DELETE", path("services", "green"))
    selector = {"servedeck.dev/serving": "green"}
    await connection.request(
        "PATCH",
        path("services", "blue"),
        params=[("fieldManager", "kubectl-patch")],
        body={"spec": {"selector": selector}},
        content_type="application/merge-patch+json",
    )
    good, stdout, stderr = await edit(connection, name="blue", force=force, **changes)
    assert good, stderr
    assert stdout[0] == f"deployment.apps/blue {'configured' if changes else 'unchanged'}"
    assert [line for line in stderr if line.startswith(("warning", "error"))] == [
        "warning: blue: Service blue selects other Pods, so it is not changed; change its selector "
        "if it should select the Pods of this serving."
    ]
    after = await connection.get_json(path("services", "blue"))
    assert after["spec"]["selector"] == selector


async def test_a_route_of_the_same_name_that_leads_elsewhere_is_left_alone(
    connection: Connection,
) -> None:
    await create(connection, *manifests.build_manifests(make_spec(), PLATFORM))
    await create(connection, *manifests.build_manifests(make_spec(name="green"), PLATFORM))
    rules = (await connection.get_json(path("httproutes")))["spec"]["rules"]
    rules[0]["backendRefs"][0]["name"] = "green"
    await connection.request(
        "PATCH",
        path("httproutes"),
        body={"spec": {"rules": rules}},
        content_type="application/merge-patch+json",
    )
    good, stdout, stderr = await edit(connection, replicas=2, force=True)
    assert good, stderr
    assert [line for line in stdout if "httproute" in line] == []
    assert any("HTTPRoute fresh routes to other Services" in line for line in stderr)
    after = await connection.get_json(path("httproutes"))
    assert after["spec"]["rules"][0]["backendRefs"][0]["name"] == "green"
