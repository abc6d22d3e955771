"""Creating servings on the demo cluster, as on a real one: accepted, refused, undone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from servedeck.changes.draft import Draft
from servedeck.changes.inventory import Surroundings
from servedeck.changes.live_objects import stored
from servedeck.changes.plan import Review, review
from servedeck.cluster.apply import apply, undo
from servedeck.cluster.auth.kubeconfig import Target
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all, export
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.objects import import_objects
from servedeck.serving.objects.diff import MASK
from servedeck.serving.objects.routes import Platform
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.spec import EnvVar, ServingSpec
from servedeck.serving.spec.templates import TEMPLATES

PLATFORM = Platform(host="ai.example.com", gateway="gateways/main")


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False) as cluster:
        yield cluster


@pytest.fixture
async def connection(demo: DemoCluster) -> AsyncIterator[Connection]:
    opened = await Connection.open(Target(kubeconfig=(demo.kubeconfig,)))
    yield opened
    await opened.close()


def spec_of(template: str = "vllm", project: str = "chat", **texts: str) -> ServingSpec:
    draft = Draft(template, project)
    draft.texts |= {"name": "fresh", "memory": "64Gi", "settings.model": "org/model"}
    draft.texts["image"] = draft.texts["image"] or "registry.example.com/server:1"
    draft.texts |= texts
    spec, problems = draft.check()
    assert spec is not None, problems
    return spec


def whole(template: str) -> ServingSpec:
    draft = Draft.of(spec_of(template, description="for the chat", replicas="2"))
    draft.rows["env"] = [
        {"name": "LEVEL", "value": "debug \U0001f600", "source": "", "ref": "", "key": ""}
    ]
    draft.texts |= {"transformer.image": "transformer:1", "transformer.port": "8081"}
    spec, problems = draft.check()
    assert spec is not None, problems
    return spec


async def reviewed(
    connection: Connection, spec: ServingSpec, platform: Platform = PLATFORM
) -> Review:
    surroundings = Surroundings(connection, spec.project)
    surroundings.start()
    try:
        await surroundings.known()
        return await review(connection, spec, platform, surroundings)
    finally:
        await surroundings.close()


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("made", [spec_of, whole])
async def test_each_template_is_created_and_read_back(
    connection: Connection, template: str, made: object
) -> None:
    spec = whole(template) if made is whole else spec_of(template)
    told = await reviewed(connection, spec)
    assert told.errors == []
    outcome = await apply(connection, told.manifests, create=True)
    assert outcome.refusal is None
    read = import_objects.read(await stored(connection, "chat", "fresh"))
    assert read.spec == spec
    assert read.leftovers == ()


@pytest.mark.parametrize("gateway", ["", "main"])
async def test_without_a_usable_gateway_all_but_the_route_is_made_and_it_is_said(
    connection: Connection, gateway: str
) -> None:
    told = await reviewed(connection, spec_of(), Platform(host="ai.example.com", gateway=gateway))
    assert told.can_deploy
    assert any("gets no HTTPRoute" in problem.message for problem in told.problems)
    assert [one.place.kind for one in told.previews] == ["Deployment", "Service"]


async def test_a_taken_name_and_a_missing_project_are_refused(connection: Connection) -> None:
    told = await reviewed(connection, spec_of(name="llama-31-8b"))
    assert {problem.field for problem in told.errors} == {"name"}
    told = await reviewed(connection, spec_of(project="nowhere"))
    assert [problem.field for problem in told.errors][:1] == ["project"]


async def test_quota_is_known_before_anything_is_made(connection: Connection) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus", "namespace": "chat"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "1"}},
    }
    await connection.request("POST", "/api/v1/namespaces/chat/resourcequotas", body=quota)
    many = {"accelerator_count": "2", "settings.tensor_parallel_size": "2"}
    told = await reviewed(connection, spec_of(**many))
    [refused] = told.errors
    assert refused.field == "replicas"
    assert refused.message.startswith("Pods of fresh are refused: exceeded quota")
    assert "preview" not in refused.message


async def test_a_missing_claim_does_not_hide_that_the_name_is_taken(
    connection: Connection,
) -> None:
    draft = Draft.of(spec_of(name="llama-31-8b"))
    draft.rows["volumes"] = [{"claim": "nowhere", "mount_path": "/data", "read_only": "false"}]
    spec, problems = draft.check()
    assert spec is not None, problems
    told = await reviewed(connection, spec)
    assert {problem.field for problem in told.errors} == {"name", "volumes.0.claim"}


async def test_who_may_only_look_is_told_what_is_missing(demo: DemoCluster) -> None:
    target = Target(kubeconfig=(demo.kubeconfig,), context="demo-viewer")
    viewer = await Connection.open(target)
    try:
        told = await reviewed(viewer, spec_of())
        assert any("deployments" in problem.message for problem in told.errors)
    finally:
        await viewer.close()


async def test_undo_removes_what_was_made(connection: Connection) -> None:
    told = await reviewed(connection, spec_of())
    outcome = await apply(connection, told.manifests, create=True)
    assert await undo(connection, outcome.made) == ()
    assert await stored(connection, "chat", "fresh") == []


async def test_export_of_an_applied_serving_is_that_serving(connection: Connection) -> None:
    said: list[str] = []
    spec = whole("vllm")
    good = await apply_all(
        connection, [spec], PLATFORM, dry_run=False, say=said.append, complain=said.append
    )
    assert good
    assert "deployment.apps/fresh created" in said
    exported = await export(connection, "chat", "fresh")
    assert from_yaml(exported.yaml) == spec
    assert exported.leftovers == ()
    said.clear()
    await apply_all(
        connection, [spec], PLATFORM, dry_run=True, say=said.append, complain=said.append
    )
    assert said[0] == "deployment.apps/fresh unchanged (server dry run)"


async def test_what_somebody_else_changed_is_not_overwritten(connection: Connection) -> None:
    spec = spec_of()
    said: list[str] = []
    await apply_all(
        connection, [spec], PLATFORM, dry_run=False, say=said.append, complain=said.append
    )
    path = "/apis/apps/v1/namespaces/chat/deployments/fresh"
    await connection.request(
        "PATCH",
        path,
        params=[("fieldManager", "kubectl")],
        body={"spec": {"replicas": 5}},
        content_type="application/merge-patch+json",
    )
    said.clear()
    good = await apply_all(
        connection,
        [spec.replace(replicas=2)],
        PLATFORM,
        dry_run=False,
        say=said.append,
        complain=said.append,
    )
    assert not good
    assert any("kubectl" in line for line in said)
    [deployment, *_] = await stored(connection, "chat", "fresh")
    assert deployment["spec"]["replicas"] == 5


async def applied(
    connection: Connection, spec: ServingSpec, *, dry_run: bool = False, force: bool = False
) -> tuple[bool, list[str], list[str]]:
    said: list[str] = []
    complained: list[str] = []
    good = await apply_all(
        connection,
        [spec],
        PLATFORM,
        dry_run=dry_run,
        say=said.append,
        complain=complained.append,
        force=force,
    )
    return good, said, complained


@pytest.mark.parametrize("dry_run", [True, False])
async def test_applying_says_what_changes_and_that_pods_restart(
    connection: Connection, dry_run: bool
) -> None:
    token = EnvVar(name="API_TOKEN", value="hunter2")
    spec = spec_of().replace(env=(token,))
    await applied(connection, spec)
    changed = spec.replace(
        image="vllm/vllm-openai:v0.33.1",
        description="new",
        env=(token.model_copy(update={"value": "hunter3"}),),
    )
    good, said, _ = await applied(connection, changed, dry_run=dry_run)
    assert good
    container = ".spec.template.spec.containers[inference-server]"
    where = said.index("deployment.apps/fresh configured" + " (server dry run)" * dry_run)
    assert said[where + 1 : where + 5] == [
        "  .metadata.annotations.servedeck.dev/description: none -> new",
        f"  {container}.image: vllm/vllm-openai:v0.33.0 -> vllm/vllm-openai:v0.33.1",
        f"  {container}.env[API_TOKEN].value: {MASK} -> {MASK}",
        "  its Pods restart",
    ]
    assert "hunter" not in "".join(said)


async def test_what_leaves_the_pods_alone_says_no_restart_and_long_lists_end(
    connection: Connection,
) -> None:
    await applied(connection, spec_of())
    _, said, _ = await applied(connection, spec_of().replace(replicas=2), dry_run=True)
    assert "  .spec.replicas: 1 -> 2" in said
    assert "  its Pods restart" not in said
    many = " ".join(f"--lora-modules=m{n}={'x' * 80}" for n in range(30))
    _, said, _ = await applied(
        connection, spec_of(**{"settings.additional_arguments": many}), dry_run=True
    )
    assert "  … and 10 more" in said
    assert all(len(line) < 180 for line in said)


async def test_a_conflict_names_the_other_hand_both_values_and_the_ways_out(
    connection: Connection,
) -> None:
    await applied(connection, spec_of())
    image = {"name": "inference-server", "image": "mine:2"}
    await connection.request(
        "PATCH",
        "/apis/apps/v1/namespaces/chat/deployments/fresh",
        params=[("fieldManager", "kubectl-set")],
        body={"spec": {"template": {"spec": {"containers": [image]}}}},
        content_type="application/strategic-merge-patch+json",
    )
    for dry_run in (True, False):
        good, said, complained = await applied(connection, spec_of(), dry_run=dry_run)
        assert not good
        assert said == []
        first, field, ways = complained[-3:]
        assert first == "error: fresh: deployment.apps/fresh has fields that somebody else set:"
        assert field == (
            '  .spec.template.spec.containers[name="inference-server"].image:'
            " kubectl-set set mine:2, the file says vllm/vllm-openai:v0.33.0"
        )
        assert "export" in ways
        assert "--force-conflicts" in ways
    good, said, _ = await applied(connection, spec_of(), force=True)
    assert good
    assert said[0] == "deployment.apps/fresh configured"
    [deployment, *_] = await stored(connection, "chat", "fresh")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "vllm/vllm-openai:v0.33.0"
    good, said, _ = await applied(connection, spec_of(), dry_run=True)
    assert good
    assert said[0] == "deployment.apps/fresh unchanged (server dry run)"
