"""Creating servings on the demo cluster, as on a real one: accepted, rejected, rolled back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from servedeck.changes.draft import Draft
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.live_objects import fetch_live_objects
from servedeck.changes.plan import ChangePlan, make_plan
from servedeck.cluster.apply import apply, delete_created
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all
from servedeck.commands.export import export_serving
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.objects import import_objects
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.templates import TEMPLATES
from servedeck.serving.spec.types import EnvVar
from servedeck.serving.text import MASK

PLATFORM = PlatformSettings(host="ai.example.com", gateway="gateways/main")


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False) as cluster:
        yield cluster


@pytest.fixture
async def connection(demo: DemoCluster) -> AsyncIterator[Connection]:
    opened = await Connection.open(ConnectionOptions(kubeconfig=(demo.kubeconfig,)))
    yield opened
    await opened.close()


def make_spec(template: str = "vllm", namespace: str = "chat", **texts: str) -> ServingSpec:
    draft = Draft(template, namespace)
    draft.texts |= {"name": "fresh", "memory": "64Gi", "settings.model": "org/model"}
    draft.texts["image"] = draft.texts["image"] or "registry.example.com/server:1"
    draft.texts |= texts
    spec, problems = draft.validate()
    assert spec is not None, problems
    return spec


def as_created(spec: ServingSpec) -> ServingSpec:
    """The spec with the start-up time that a new serving with an endpoint gets."""
    has_endpoint = spec.effective_readiness_path or spec.effective_liveness_path
    return spec.replace(startup_seconds=1800) if has_endpoint else spec


def make_full_spec(template: str) -> ServingSpec:
    draft = Draft.from_spec(make_spec(template, description="for the chat", replicas="2"))
    draft.rows["env"] = [
        {
            "name": "LEVEL",
            "value": "debug \U0001f600",
            "source": "",
            "ref": "",
            "key": "",
            "optional": "",
        }
    ]
    draft.texts |= {"transformer.image": "transformer:1", "transformer.port": "8081"}
    spec, problems = draft.validate()
    assert spec is not None, problems
    return spec


async def plan_for(
    connection: Connection, spec: ServingSpec, platform: PlatformSettings = PLATFORM
) -> ChangePlan:
    inventory = ClusterInventory(connection, spec.namespace)
    inventory.start()
    try:
        await inventory.wait_until_listed()
        return await make_plan(connection, spec, platform, inventory)
    finally:
        await inventory.close()


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("made", [make_spec, make_full_spec])
async def test_each_template_is_created_and_read_back(
    connection: Connection, template: str, made: object
) -> None:
    spec = make_full_spec(template) if made is make_full_spec else make_spec(template)
    plan = await plan_for(connection, spec)
    assert plan.errors == []
    outcome = await apply(connection, plan.manifests, create=True)
    assert outcome.rejection is None
    live = await fetch_live_objects(connection, "chat", "fresh")
    read = import_objects.import_objects(live.objects)
    assert read.spec == as_created(spec)
    assert read.unmanaged_fields == ()


@pytest.mark.parametrize("gateway", ["", "main"])
async def test_without_a_usable_gateway_the_missing_route_is_reported(
    connection: Connection, gateway: str
) -> None:
    plan = await plan_for(
        connection, make_spec(), PlatformSettings(host="ai.example.com", gateway=gateway)
    )
    assert plan.can_deploy
    assert any("gets no HTTPRoute" in problem.message for problem in plan.issues)
    assert [one.ref.kind for one in plan.previews] == ["Deployment", "Service"]


async def test_a_taken_name_and_a_missing_namespace_are_rejected(connection: Connection) -> None:
    plan = await plan_for(connection, make_spec(name="llama-31-8b"))
    assert {problem.field for problem in plan.errors} == {"name"}
    plan = await plan_for(connection, make_spec(namespace="nowhere"))
    assert [problem.field for problem in plan.errors][:1] == ["namespace"]


async def test_quota_is_known_before_anything_is_made(connection: Connection) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus", "namespace": "chat"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "1"}},
    }
    await connection.request("POST", "/api/v1/namespaces/chat/resourcequotas", body=quota)
    many = {"accelerator_count": "2", "settings.tensor_parallel_size": "2"}
    plan = await plan_for(connection, make_spec(**many))
    [rejected] = plan.errors
    assert rejected.field == "replicas"
    assert rejected.message.startswith("Pods of fresh are rejected: exceeded quota")
    assert "preview" not in rejected.message


async def test_how_many_pods_of_a_new_serving_the_quota_allows_is_known(
    connection: Connection,
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "own", "namespace": "team-new"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "3"}},
    }
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-new"}}
    await connection.request("POST", "/api/v1/namespaces", body=body)
    await connection.request("POST", "/api/v1/namespaces/team-new/resourcequotas", body=quota)
    plan = await plan_for(connection, make_spec(namespace="team-new", replicas="5"))
    assert plan.can_deploy
    [found] = [one for one in plan.issues if "Quota" in one.message]
    assert found.field == "replicas"
    assert found.message.startswith(
        "Quota own allows 3 of 5 new Pods (requests.nvidia.com/gpu: 0 of 3 used, 1 for each Pod)"
    )


async def test_a_missing_claim_does_not_hide_that_the_name_is_taken(
    connection: Connection,
) -> None:
    draft = Draft.from_spec(make_spec(name="llama-31-8b"))
    draft.rows["volumes"] = [{"pvc": "nowhere", "mount_path": "/data", "read_only": "false"}]
    spec, problems = draft.validate()
    assert spec is not None, problems
    plan = await plan_for(connection, spec)
    assert {problem.field for problem in plan.errors} == {"name", "volumes.0.pvc"}


async def test_a_viewer_sees_what_is_missing(demo: DemoCluster) -> None:
    target = ConnectionOptions(kubeconfig=(demo.kubeconfig,), context="demo-viewer")
    viewer = await Connection.open(target)
    try:
        plan = await plan_for(viewer, make_spec())
        assert any("deployments" in problem.message for problem in plan.errors)
    finally:
        await viewer.close()


async def test_delete_created_deletes_what_was_created(connection: Connection) -> None:
    plan = await plan_for(connection, make_spec())
    outcome = await apply(connection, plan.manifests, create=True)
    assert await delete_created(connection, outcome.applied) == ()
    assert (await fetch_live_objects(connection, "chat", "fresh")).objects == []


async def test_export_of_an_applied_serving_is_that_serving(connection: Connection) -> None:
    lines: list[str] = []
    spec = make_full_spec("vllm")
    good = await apply_all(
        connection, [spec], PLATFORM, dry_run=False, stdout=lines.append, stderr=lines.append
    )
    assert good
    assert "deployment.apps/fresh created" in lines
    exported = await export_serving(connection, "chat", "fresh")
    assert from_yaml(exported.yaml) == as_created(spec)
    assert exported.unmanaged_fields == ()
    lines.clear()
    await apply_all(
        connection, [spec], PLATFORM, dry_run=True, stdout=lines.append, stderr=lines.append
    )
    assert lines[0] == "deployment.apps/fresh unchanged (server dry run)"


async def test_what_a_serving_has_already_is_not_reported_again(connection: Connection) -> None:
    exported = await export_serving(connection, "research", "mistral-7b")
    spec = from_yaml(exported.yaml)
    assert "gpuMemoryUtilization: null" in exported.yaml  # a warning in a new serving
    good, lines, complaints = await apply_and_capture(connection, spec, dry_run=True)
    assert good
    assert complaints == []
    assert all(line.endswith("unchanged (server dry run)") for line in lines)


async def test_an_error_that_a_serving_has_already_does_not_reject_it(
    connection: Connection,
) -> None:
    spec = make_spec()
    await apply_and_capture(connection, spec)
    container = {"name": "inference-server", "image": "A"}
    await connection.request(
        "PATCH",
        "/apis/apps/v1/namespaces/chat/deployments/fresh",
        body={"spec": {"template": {"spec": {"containers": [container]}}}},
        content_type="application/strategic-merge-patch+json",
    )
    spec = from_yaml((await export_serving(connection, "chat", "fresh")).yaml)
    assert spec.image == "A"
    good, lines, _ = await apply_and_capture(connection, spec.replace(description="new"))
    assert good
    assert "deployment.apps/fresh configured" in lines
    good, lines, complaints = await apply_and_capture(connection, spec.replace(image="B"))
    assert not good
    assert lines == []
    assert any("is not a reference" in one for one in complaints)


async def test_what_somebody_else_changed_is_not_overwritten(connection: Connection) -> None:
    spec = make_spec()
    lines: list[str] = []
    await apply_all(
        connection, [spec], PLATFORM, dry_run=False, stdout=lines.append, stderr=lines.append
    )
    path = "/apis/apps/v1/namespaces/chat/deployments/fresh"
    await connection.request(
        "PATCH",
        path,
        params=[("fieldManager", "kubectl")],
        body={"spec": {"replicas": 5}},
        content_type="application/merge-patch+json",
    )
    lines.clear()
    good = await apply_all(
        connection,
        [spec.replace(replicas=2)],
        PLATFORM,
        dry_run=False,
        stdout=lines.append,
        stderr=lines.append,
    )
    assert not good
    assert any("kubectl" in line for line in lines)
    [deployment, *_] = (await fetch_live_objects(connection, "chat", "fresh")).objects
    assert deployment["spec"]["replicas"] == 5


async def apply_and_capture(
    connection: Connection, spec: ServingSpec, *, dry_run: bool = False, force: bool = False
) -> tuple[bool, list[str], list[str]]:
    lines: list[str] = []
    complaints: list[str] = []
    good = await apply_all(
        connection,
        [spec],
        PLATFORM,
        dry_run=dry_run,
        stdout=lines.append,
        stderr=complaints.append,
        force=force,
    )
    return good, lines, complaints


async def test_a_probe_can_be_removed(connection: Connection) -> None:
    await apply_and_capture(connection, make_spec())
    [deployment, *_] = (await fetch_live_objects(connection, "chat", "fresh")).objects
    assert "livenessProbe" in deployment["spec"]["template"]["spec"]["containers"][0]
    good, _, complaints = await apply_and_capture(connection, make_spec().replace(liveness_path=""))
    assert good, complaints
    [deployment, *_] = (await fetch_live_objects(connection, "chat", "fresh")).objects
    assert "livenessProbe" not in deployment["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("dry_run", [True, False])
async def test_applying_says_what_changes_and_that_pods_restart(
    connection: Connection, dry_run: bool
) -> None:
    token = EnvVar(name="API_TOKEN", value="hunter2")
    spec = make_spec().replace(env=(token,))
    await apply_and_capture(connection, spec)
    changed = spec.replace(
        image="vllm/vllm-openai:v0.33.1",
        description="new",
        env=(token.model_copy(update={"value": "hunter3"}),),
    )
    good, lines, _ = await apply_and_capture(connection, changed, dry_run=dry_run)
    assert good
    container = ".spec.template.spec.containers[inference-server]"
    where = lines.index("deployment.apps/fresh configured" + " (server dry run)" * dry_run)
    assert lines[where + 1 : where + 5] == [
        "  .metadata.annotations.servedeck.dev/description: none -> new",
        f"  {container}.image: vllm/vllm-openai:v0.33.0 -> vllm/vllm-openai:v0.33.1",
        f"  {container}.env[API_TOKEN].value: {MASK} -> {MASK}",
        "  its Pods restart",
    ]
    assert "hunter" not in "".join(lines)


async def test_what_leaves_the_pods_alone_says_no_restart_and_long_lists_end(
    connection: Connection,
) -> None:
    await apply_and_capture(connection, make_spec())
    _, lines, _ = await apply_and_capture(connection, make_spec().replace(replicas=2), dry_run=True)
    assert "  .spec.replicas: 1 -> 2" in lines
    assert "  its Pods restart" not in lines
    many = " ".join(f"--lora-modules=m{n}={'x' * 80}" for n in range(30))
    _, lines, _ = await apply_and_capture(
        connection, make_spec(**{"settings.additional_arguments": many}), dry_run=True
    )
    assert "  … and 10 more" in lines
    assert all(len(line) < 180 for line in lines)


async def test_a_conflict_names_the_other_manager_both_values_and_what_to_do(
    connection: Connection,
) -> None:
    await apply_and_capture(connection, make_spec())
    image = {"name": "inference-server", "image": "mine:2"}
    await connection.request(
        "PATCH",
        "/apis/apps/v1/namespaces/chat/deployments/fresh",
        params=[("fieldManager", "kubectl-set")],
        body={"spec": {"template": {"spec": {"containers": [image]}}}},
        content_type="application/strategic-merge-patch+json",
    )
    for dry_run in (True, False):
        good, lines, complaints = await apply_and_capture(connection, make_spec(), dry_run=dry_run)
        assert not good
        assert lines == []
        first, field, ways = complaints[-3:]
        assert first == "error: fresh: deployment.apps/fresh has fields that another manager set:"
        assert field == (
            '  .spec.template.spec.containers[name="inference-server"].image:'
            " kubectl-set set mine:2, the file says vllm/vllm-openai:v0.33.0"
        )
        assert "export" in ways
        assert "--force-conflicts" in ways
    good, lines, _ = await apply_and_capture(connection, make_spec(), force=True)
    assert good
    assert lines[0] == "deployment.apps/fresh configured"
    [deployment, *_] = (await fetch_live_objects(connection, "chat", "fresh")).objects
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "vllm/vllm-openai:v0.33.0"
    good, lines, _ = await apply_and_capture(connection, make_spec(), dry_run=True)
    assert good
    assert lines[0] == "deployment.apps/fresh unchanged (server dry run)"
