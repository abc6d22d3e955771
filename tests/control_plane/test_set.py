"""`servedeck set` on a real API server: each field, what really restarts, and other writers at any
moment."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from servedeck.changes.edit.edit import begin_edit
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import Operation, OperationKind, Outcome
from servedeck.changes.operations.planner import plan_operation
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ConnectionFailedError
from servedeck.commands import set as set_command
from servedeck.commands.apply import apply_all
from servedeck.commands.errors import USAGE_ERROR, CommandError
from servedeck.commands.set import SetOptions, set_fields
from servedeck.serving.edit.assignments import AssignmentError, parse_assignment
from servedeck.serving.objects.diff import find_differences, format_path
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.spec import ServingSpec
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.fixtures import MakePolicy
from tests.control_plane.test_deploy import open_connection
from tests.control_plane.test_foreign_servings import NAME, create, foreign_deployment
from tests.serving.edit.assignments_by_field import ASSIGNMENTS
from tests.serving.foreign_manifests import foreign_objects
from tests.waiting import wait_until_sync, with_timeout

Json = dict[str, Any]
APPLY = "application/apply-patch+yaml"
REVISION = "deployment.kubernetes.io/revision"


class SetRun:
    """The output of one `servedeck set`."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.saved = False

    @property
    def result(self) -> Json:
        found: Json = json.loads(self.out[-1])
        return found


async def run_set(
    connection: Connection, namespace: str, *texts: str, as_json: bool = False, **options: Any
) -> SetRun:
    run = SetRun()
    run.saved = await set_fields(
        connection,
        namespace,
        NAME,
        [parse_assignment(one) for one in texts],
        SetOptions(assume_yes=True, as_json=as_json, **options),
        stdout=run.out.append,
        stderr=run.err.append,
    )
    return run


def path_of(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}"


def revision(plane: ControlPlane, namespace: str) -> str:
    """The Deployment's revision, once its Pod template has a ReplicaSet: it is another one if and
    only if a ReplicaSet of another template is the current one, a new or an old one.

    The observed generation does not say that: with strategy Recreate the controller observes a
    change, deletes the old Pods, and creates the new ReplicaSet only when they are gone.
    """

    def current() -> str | None:
        deployment: Json = plane.request("GET", path_of(namespace))
        status = deployment.get("status", {})
        if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
            return None
        found: str | None = deployment["metadata"]["annotations"].get(REVISION)
        sets = plane.request("GET", f"/apis/apps/v1/namespaces/{namespace}/replicasets")["items"]
        owned = [one for one in sets if is_controlled_by(one, deployment)]
        same = [one for one in owned if template_of(one) == template_of(deployment)]
        return (
            found
            if any(one["metadata"]["annotations"][REVISION] == found for one in same)
            else None
        )

    found = wait_until_sync(current, "the ReplicaSet of the Pod template")
    assert found is not None
    return found


def is_controlled_by(replica_set: Json, deployment: Json) -> bool:
    owners = replica_set["metadata"].get("ownerReferences", [])
    return deployment["metadata"]["uid"] in [one["uid"] for one in owners]


def template_of(workload: Json) -> Json:
    """Its Pod template without the hash that the controller adds."""
    template: Json = copy.deepcopy(workload["spec"]["template"])
    template["metadata"].get("labels", {}).pop("pod-template-hash", None)
    return template


async def create_own(connection: Connection, namespace: str, **fields: Any) -> None:
    spec = ServingSpec.model_validate(
        {
            "name": NAME,
            "namespace": namespace,
            "template": "vllm",
            "image": "vllm/vllm-openai:v0.33.0",
            "cpu": "1",
            "memory": "16Gi",
            "accelerator": "nvidia.com/gpu",
            "settings": {"model": "org/m"},
            "inference_port": 8000,
            "env": [{"name": "A", "value": "1"}],
            **fields,
        }
    )
    lines: list[str] = []
    assert await apply_all(
        connection,
        [spec],
        PlatformSettings(),
        dry_run=False,
        stdout=lines.append,
        stderr=lines.append,
    ), lines


def create_claim(plane: ControlPlane, namespace: str) -> None:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    plane.create(
        f"/api/v1/namespaces/{namespace}/persistentvolumeclaims",
        {"metadata": {"name": "pvc-new"}, "spec": spec},
    )
    secret = {"metadata": {"name": "hf"}, "stringData": {"token": "x"}}
    plane.create(f"/api/v1/namespaces/{namespace}/secrets", secret)


def create_pod_objects(plane: ControlPlane, namespace: str) -> None:
    """What the assignments of the settings of the Pods name."""
    plane.create(
        f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "models"}}
    )
    request = {"name": "one", "exactly": {"deviceClassName": "gpu.example.com"}}
    template = {
        "metadata": {"name": "h100"},
        "spec": {"spec": {"devices": {"requests": [request]}}},
    }
    path = f"/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaimtemplates"
    plane.create(path, template)
    classes = "/apis/node.k8s.io/v1/runtimeclasses"  # of the whole cluster
    known = plane.request("GET", classes)["items"]
    if not any(one["metadata"]["name"] == "nvidia" for one in known):
        plane.create(classes, {"metadata": {"name": "nvidia"}, "handler": "nvidia"})


# -- replicas and the Pod template at once -------------------------------------------------------


async def test_a_deployment_is_scaled_with_its_old_pod_template_before_pods_are_replaced(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace)
        revision(control_plane, namespace)
        base = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
        [old] = control_plane.request("GET", base)["items"]
        run = await run_set(connection, namespace, "replicas=3", "cpu=2")
        plan = "\n".join(run.out)
        assert "2 Pods start with the old Pod template first; then 3 Pods restart" in plan
        events = f"/api/v1/namespaces/{namespace}/events?fieldSelector=reason=ScalingReplicaSet"

        def scaled_old() -> bool:
            messages = [one["message"] for one in control_plane.request("GET", events)["items"]]
            name = old["metadata"]["name"]
            return any(f"up replica set {name} from 1 to 3" in one for one in messages)

        wait_until_sync(scaled_old, "the old ReplicaSet scaled up")


async def test_a_quota_allows_as_many_new_pods_as_the_plan_says(
    control_plane: ControlPlane, namespace: str
) -> None:
    limits = {"type": "Container", "defaultRequest": {"ephemeral-storage": "2Gi"}}
    control_plane.create(
        f"/api/v1/namespaces/{namespace}/limitranges",
        {"metadata": {"name": "default"}, "spec": {"limits": [limits]}},
    )
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    hard = {"pods": "9", "requests.ephemeral-storage": "7Gi"}
    control_plane.create(path, {"metadata": {"name": "disk"}, "spec": {"hard": hard}})

    def used() -> str:
        status = control_plane.request("GET", f"{path}/disk").get("status", {})
        return str(status.get("used", {}).get("requests.ephemeral-storage", ""))

    wait_until_sync(lambda: used() == "0", "the quota")
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace)
        wait_until_sync(lambda: used() == "2Gi", "the first Pod")
        run = await run_set(connection, namespace, "replicas=6")
    assert (
        "Quota disk allows 2 of 5 new Pods (requests.ephemeral-storage: 2Gi of 7Gi used, 2Gi for "
        "each Pod)" in "\n".join(run.err)
    )
    wait_until_sync(lambda: used() == "6Gi", "the Pods that it allows")


# -- each field ---------------------------------------------------------------------------------

OWN_CHANGES = [
    *(
        one
        for one, _ in ASSIGNMENTS
        # With Recreate, a new revision waits until the old Pods have ended.
        if not one.startswith(("accelerator=", "command=", "rollout=recreate"))
    ),
    "env.NEW-",
    "transformer.env.A=1",
    "transformer-",
    "volumes./new-",
    "memoryLimit=",
    "memory=",
    "settings.maxModelLen=",
    "command=python3 -m other",
]


async def test_each_field_of_our_serving_is_set_and_restarts_what_it_says(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_claim(control_plane, namespace)
    create_pod_objects(control_plane, namespace)
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace)
        before = await asyncio.to_thread(revision, control_plane, namespace)
        for text in OWN_CHANGES:
            if text == "settings.tensorParallelSize=4":
                continue  # needs as many accelerators, which come before it
            live = control_plane.request("GET", path_of(namespace))
            run = await run_set(connection, namespace, text, as_json=True)
            assert run.saved, (text, run.err)
            assert run.result["result"] == "saved", text
            assert run.result["fields"], text
            after = await asyncio.to_thread(revision, control_plane, namespace)
            template = control_plane.request("GET", path_of(namespace))["spec"]["template"]
            assert run.result["restartsPods"] == (live["spec"]["template"] != template), text
            assert run.result["restartsPods"] == (after != before), text
            before = after
            if not text.endswith("-"):
                again = await run_set(connection, namespace, text, as_json=True)
                assert again.result["result"] == "unchanged", text


def written_fields(deployment: Json) -> tuple[Json, Json]:
    """Where the fields of a serving are kept: the spec, and annotations for those that a Deployment
    has no field for. The controller writes its own annotations beside them."""
    annotations = deployment["metadata"].get("annotations", {})
    own = {key: value for key, value in annotations.items() if key.startswith("servedeck.dev/")}
    return deployment["spec"], own


@settings(  # several requests for each example, in a shared namespace
    max_examples=25,
    suppress_health_check=[
        *settings.default.suppress_health_check,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(foreign_objects(), st.sampled_from([one for one, _ in ASSIGNMENTS]))
def test_a_field_of_a_foreign_serving_is_set_and_restarts_what_it_says(
    control_plane: ControlPlane, namespace: str, objects: list[Json], text: str
) -> None:
    create_claim(control_plane, namespace)
    paths: list[str] = []
    try:
        for one in objects:
            paths += create(control_plane, namespace, "helm", [one])
    except RequestError as error:
        assume(error.status != 422)  # not valid for this release
        raise
    else:
        [deployment] = [one for one in paths if "/deployments/" in one]
        before = revision(control_plane, namespace)
        live = control_plane.request("GET", deployment)

        async def change() -> SetRun:
            async with open_connection(control_plane) as connection:
                return await run_set(connection, namespace, text, as_json=True, force=True)

        try:
            run = asyncio.run(change())
        except AssignmentError:
            return
        except CommandError as error:
            assert error.exit_code == USAGE_ERROR, error
            assert control_plane.request("GET", deployment)["spec"] == live["spec"]
            return
        now = control_plane.request("GET", deployment)
        if not run.saved:
            assert now["spec"] == live["spec"]
            return
        after = revision(control_plane, namespace)
        has_pods = live["spec"]["replicas"] > 0
        assert (live["spec"]["template"] != now["spec"]["template"]) == (after != before)
        assert run.result["restartsPods"] == (after != before and has_pods)
        assert bool(run.result["fields"]) == (written_fields(live) != written_fields(now))
    finally:
        for path in paths:
            control_plane.request("DELETE", path)
        wait_until_sync(
            lambda: (
                not control_plane.request(
                    "GET", f"/apis/apps/v1/namespaces/{namespace}/replicasets"
                )["items"]
            ),
            "the ReplicaSets to be deleted",
        )


# -- two editors at once ------------------------------------------------------------------------

Writer = Callable[[ControlPlane, str], None]


def container(image: str = "", memory: str = "") -> Json:
    found: Json = {"name": "vllm"}
    if image:
        found["image"] = image
    if memory:
        found["resources"] = {"limits": {"memory": memory}}
    return found


def apply_image(plane: ControlPlane, path: str) -> None:
    """kubectl apply --server-side --force-conflicts, as GitOps controllers do."""
    spec = {"template": {"spec": {"containers": [container("theirs:1")]}}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": spec,
    }
    plane.request("PATCH", f"{path}?fieldManager=gitops&force=true", body, content_type=APPLY)


def apply_image_as_servedeck(plane: ControlPlane, path: str) -> None:
    """Another servedeck: the field manager is the same, so that server-side apply alone reports no
    conflict."""
    spec = {"template": {"spec": {"containers": [container("theirs:1")]}}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": spec,
    }
    plane.request("PATCH", f"{path}?fieldManager=servedeck&force=true", body, content_type=APPLY)


def edit_image(plane: ControlPlane, path: str) -> None:
    """kubectl edit: an update of the object as it was read."""
    while True:
        live = plane.request("GET", path)
        [server] = [
            one for one in live["spec"]["template"]["spec"]["containers"] if one["name"] == "vllm"
        ]
        server["image"] = "theirs:1"
        try:
            plane.request("PUT", f"{path}?fieldManager=kubectl-edit", live)
        except RequestError as error:
            if error.status != 409:
                raise
        else:
            return


def patch_image(plane: ControlPlane, path: str) -> None:
    """kubectl set image"""
    spec = {"template": {"spec": {"containers": [container("theirs:1")]}}}
    plane.request(
        "PATCH",
        f"{path}?fieldManager=kubectl-set",
        {"spec": spec},
        content_type="application/strategic-merge-patch+json",
    )


def scale(plane: ControlPlane, path: str) -> None:
    """kubectl scale, or a HorizontalPodAutoscaler."""
    plane.request("PATCH", f"{path}/scale?fieldManager=autoscaler", {"spec": {"replicas": 5}})


def image_of(deployment: Json) -> str:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return str(next(one["image"] for one in containers if one["name"] == "vllm"))


class Interruption:
    """Calls a writer before the request number `at` about the Deployment of one command."""

    def __init__(self, connection: Connection, at: int, write: Callable[[], None]) -> None:
        self.happened = False
        self.is_written = False
        """Whether the command had sent its write before the other writer came."""
        self.methods: list[str] = []
        request = connection.request

        async def interrupted(method: str, path: str, **options: Any) -> Any:
            if "/deployments/" in path:
                if len(self.methods) == at:
                    self.happened = True
                    await asyncio.to_thread(write)
                self.methods.append(method)
                is_write = method != "GET" and ("dryRun", "All") not in options.get("params", ())
                self.is_written |= is_write and not self.happened
            return await request(method, path, **options)

        connection.request = interrupted  # type: ignore[method-assign, assignment]


async def run_interrupted(
    plane: ControlPlane, namespace: str, write: Writer, *texts: str, force: bool
) -> list[tuple[SetRun, Json, bool]]:
    """One run for each moment at which another writer may come between: the run, the Deployment
    after it, and whether the command had sent its write before."""
    found = []
    path = path_of(namespace)
    for at in range(100):
        create(plane, namespace, "kubectl-create", [foreign_deployment()])
        try:
            async with open_connection(plane) as connection:
                interruption = Interruption(connection, at, lambda: write(plane, path))
                run = await run_set(connection, namespace, *texts, force=force)
            if not interruption.happened:
                return found
            found.append(
                (run, await asyncio.to_thread(plane.request, "GET", path), interruption.is_written)
            )
        finally:
            plane.request("DELETE", path)
    raise AssertionError("the command does not end")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("write", [apply_image, apply_image_as_servedeck, edit_image, patch_image])
async def test_the_same_field_is_never_overwritten_unseen(
    control_plane: ControlPlane, namespace: str, write: Writer, force: bool
) -> None:
    runs = await run_interrupted(control_plane, namespace, write, "image=mine:1", force=force)
    assert len(runs) > (4 if force else 2)
    for run, deployment, is_written in runs:
        shown = any("theirs:1 -> mine:1" in line for line in run.out)
        if image_of(deployment) == "mine:1":
            assert run.saved
            assert shown, (run.out, run.err)
        else:
            assert image_of(deployment) == "theirs:1"
            assert is_written or not run.saved, (run.out, run.err)
        if not run.saved:
            assert run.err, run.out


@pytest.mark.parametrize("write", [apply_image, edit_image, patch_image, scale])
async def test_another_field_keeps_the_value_that_others_gave_it(
    control_plane: ControlPlane, namespace: str, write: Writer
) -> None:
    runs = await run_interrupted(control_plane, namespace, write, "memory=64Gi", force=True)
    for run, deployment, _ in runs:
        assert run.saved, run.err
        [server] = [
            one
            for one in deployment["spec"]["template"]["spec"]["containers"]
            if one["name"] == "vllm"
        ]
        assert server["resources"]["limits"]["memory"] == "64Gi"
        if write is scale:
            assert deployment["spec"]["replicas"] == 5
        else:
            assert image_of(deployment) == "theirs:1"


async def test_a_deleted_deployment_is_not_created_again(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = path_of(namespace)
    for at in range(100):
        create(control_plane, namespace, "kubectl-create", [foreign_deployment()])
        async with open_connection(control_plane) as connection:
            interruption = Interruption(
                connection, at, lambda: control_plane.request("DELETE", path)
            )
            error = ""
            try:
                run = await run_set(connection, namespace, "image=mine:1", force=True)
                assert not run.saved or not interruption.happened
            except Exception as failure:
                error = str(failure)
        if not interruption.happened:
            assert at > 4
            control_plane.request("DELETE", path)
            return
        with pytest.raises(RequestError, match="404"):
            control_plane.request("GET", path)
        assert "Unexpected" not in error
    raise AssertionError("the command does not end")


def write_only(connection: Connection, write: Callable[[], None]) -> list[str]:
    """Calls a writer right before the first write of the Deployment arrives, after all reads;
    returns the methods of the writes."""
    methods: list[str] = []
    request = connection.request

    async def interrupted(method: str, path: str, **options: Any) -> Any:
        if "/deployments/" in path and method != "GET" and "dryRun" not in str(options["params"]):
            if not methods:
                await asyncio.to_thread(write)
            methods.append(method)
        return await request(method, path, **options)

    connection.request = interrupted  # type: ignore[method-assign, assignment]
    return methods


async def test_a_serving_of_ours_that_is_deleted_before_the_write_is_not_created_again(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = path_of(namespace)
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace)
        methods = write_only(connection, lambda: control_plane.request("DELETE", path))
        run = await run_set(connection, namespace, "replicas=2")
    assert methods == ["PATCH"]
    assert not run.saved
    assert any("was deleted by somebody else meanwhile" in line for line in run.err), run.err
    with pytest.raises(RequestError, match="404"):
        control_plane.request("GET", path)


@pytest.mark.parametrize("deletes", [True, False])
async def test_a_document_is_not_applied_to_a_serving_that_is_not_as_it_was_read(
    control_plane: ControlPlane, namespace: str, deletes: bool
) -> None:
    path = path_of(namespace)

    async def set_replicas() -> None:  # as another servedeck: the field manager is the same
        async with open_connection(control_plane) as other:
            assert (await run_set(other, namespace, "replicas=7")).saved

    def write() -> None:
        if deletes:
            control_plane.request("DELETE", path)
        else:
            asyncio.run(set_replicas())

    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace)
        spec = (await begin_edit(connection, namespace, NAME)).base.spec
        methods = write_only(connection, write)
        lines: list[str] = []
        applied = await apply_all(
            connection,
            [spec.replace(replicas=3)],
            PlatformSettings(),
            dry_run=False,
            stdout=lines.append,
            stderr=lines.append,
        )
    assert methods == ["PATCH"]
    assert not applied, lines
    if deletes:
        with pytest.raises(RequestError, match="404"):
            control_plane.request("GET", path)
    else:
        assert any("changed by somebody else at the same time" in one for one in lines), lines
        assert control_plane.request("GET", path)["spec"]["replicas"] == 7


def change_service_before_its_write(
    plane: ControlPlane, connection: Connection, namespace: str, *, stops: bool
) -> None:
    """Another client changes the Service, which names the port by its number, between the writes
    of the Deployment and the Service; with `stops`, the API server cannot be reached afterwards."""
    service_path = f"/api/v1/namespaces/{namespace}/services/{NAME}"
    service = plane.request("GET", service_path)
    for port in service["spec"]["ports"]:
        port["targetPort"] = 8000
    plane.request("PUT", service_path, service)
    request, is_changed = connection.request, False

    async def interrupted(method: str, path: str, **options: Any) -> Any:
        nonlocal is_changed
        is_write = method != "GET" and "dryRun" not in str(options.get("params", ()))
        if is_write and "/services/" in path and not is_changed:
            is_changed = True
            body = {"metadata": {"annotations": {"owner": "them"}}}
            await asyncio.to_thread(plane.request, "PATCH", path, body)
        elif is_changed and stops and path.endswith(f"/deployments/{NAME}"):
            raise ConnectionFailedError("Connection refused.")
        return await request(method, path, **options)

    connection.request = interrupted  # type: ignore[method-assign, assignment]


async def test_what_was_saved_before_the_attempts_ended_is_named(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_command, "_MAX_ATTEMPTS", 1)
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace)
        change_service_before_its_write(control_plane, connection, namespace, stops=False)
        expected = f"so only Deployment {namespace}/{NAME} was saved; try again"
        with pytest.raises(CommandError, match=expected):
            await run_set(connection, namespace, "inferencePort=9000", force=True)


async def test_what_was_saved_before_the_connection_failed_is_named(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace)
        change_service_before_its_write(control_plane, connection, namespace, stops=True)
        run = await run_set(connection, namespace, "inferencePort=9000", force=True)
    assert not run.saved
    expected = f"Deployment {namespace}/{NAME} was saved before; the rest of the change was not."
    assert any(expected in line for line in run.err), run.err
    assert f"deployment.apps/{NAME} configured" in run.out


# -- owners -------------------------------------------------------------------------------------


def create_autoscaler(control_plane: ControlPlane, namespace: str) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    control_plane.create(
        f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
        {
            "metadata": {"name": "llm-hpa"},
            "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3},
        },
    )


async def test_the_autoscaler_is_named_that_sets_the_replicas(
    control_plane: ControlPlane, namespace: str
) -> None:
    create(control_plane, namespace, "helm", [foreign_deployment()])
    create_autoscaler(control_plane, namespace)
    before = control_plane.request("GET", path_of(namespace))
    async with open_connection(control_plane) as connection:
        run = await run_set(connection, namespace, "replicas=2", force=True)
        assert not run.saved
        assert any("HorizontalPodAutoscaler llm-hpa sets the replicas" in one for one in run.err)
        other = await run_set(connection, namespace, "env.NEW=1")
        assert other.saved, other.err
    after = control_plane.request("GET", path_of(namespace))
    paths = [format_path(one.path) for one in find_differences(before["spec"], after["spec"])]
    assert paths == ["template.spec.containers[vllm].env[NEW]"]


async def test_an_autoscaler_does_not_prevent_a_stop_and_a_start(
    control_plane: ControlPlane, namespace: str
) -> None:
    """It leaves a Deployment of 0 replicas alone, as the operations stop and start say."""
    create(control_plane, namespace, "helm", [foreign_deployment()])
    create_autoscaler(control_plane, namespace)
    async with open_connection(control_plane) as connection:
        for text, warning in (
            ("replicas=0", "HorizontalPodAutoscaler llm-hpa is off while the serving has 0"),
            ("replicas=2", "HorizontalPodAutoscaler llm-hpa sets the replicas from then on."),
        ):
            run = await run_set(connection, namespace, text, force=True)
            assert run.saved, run.err
            assert any(warning in line for line in run.err), run.err


NOTE = "servedeck.dev/replicas-before-stop"


async def test_a_start_brings_back_the_replicas_from_before_any_stop(
    control_plane: ControlPlane, namespace: str
) -> None:
    """However the serving came to 0 and away from it."""
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace, replicas=5)

        async def operate(kind: OperationKind) -> Json:
            operation = Operation(kind, namespace, NAME)
            plan = await plan_operation(connection, operation)
            result = await run_plan(connection, plan)
            assert result.outcome is Outcome.DONE, result.message
            found: Json = control_plane.request("GET", path_of(namespace))
            return found

        await operate(OperationKind.STOP)
        assert (await run_set(connection, namespace, "replicas=2", force=True)).saved
        stored = control_plane.request("GET", path_of(namespace))
        assert NOTE not in stored["metadata"]["annotations"]
        assert (await run_set(connection, namespace, "replicas=0")).saved
        assert (await operate(OperationKind.START))["spec"]["replicas"] == 2
        assert (await run_set(connection, namespace, "replicas=6")).saved
        assert (await run_set(connection, namespace, "replicas=0")).saved
        assert (await operate(OperationKind.START))["spec"]["replicas"] == 6


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"labels": {"argocd.argoproj.io/instance": "chat"}}, "Argo CD application chat"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "llm"}}, "Flux Kustomization llm"),
        ({}, "Helm"),
    ],
)
async def test_a_change_that_its_owner_would_take_back_says_so(
    control_plane: ControlPlane, namespace: str, metadata: Json, owner: str
) -> None:
    deployment = foreign_deployment()
    deployment["metadata"] |= metadata
    create(control_plane, namespace, "helm", [deployment])
    async with open_connection(control_plane) as connection:
        run = await run_set(connection, namespace, "env.NEW=1")
        assert run.saved, run.err
        unchanged = await run_set(connection, namespace, "env.NEW=1")
    warnings = [one for one in run.err if one.startswith(f"warning: {NAME}: {owner}")]
    assert len(warnings) == 1
    assert "revert" in warnings[0]
    assert not any(owner in one for one in unchanged.err)


async def test_a_field_of_another_manager_is_a_conflict_until_it_is_forced(
    control_plane: ControlPlane, namespace: str
) -> None:
    create(control_plane, namespace, "helm", [foreign_deployment()])
    async with open_connection(control_plane) as connection:
        run = await run_set(connection, namespace, "image=mine:1")
        assert not run.saved
        assert any(
            "helm set vllm/vllm-openai:v0.9.2, this change says mine:1" in one for one in run.err
        )
        assert (await run_set(connection, namespace, "image=mine:1", force=True)).saved
    assert image_of(control_plane.request("GET", path_of(namespace))) == "mine:1"


async def test_a_plan_is_not_made_stale_by_the_status_alone(
    control_plane: ControlPlane, namespace: str
) -> None:
    """During a rollout the controller writes the status several times a second."""
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace, accelerator="", replicas=3)
        path = path_of(namespace)

        def write_status() -> None:
            conditions = [{"type": "Test", "status": "True", "message": str(len(methods))}]
            control_plane.request(
                "PATCH",
                f"{path}/status?fieldManager=test",
                {"status": {"conditions": conditions}},
            )

        methods: list[str] = []
        request = connection.request

        async def with_status(method: str, target: str, **options: Any) -> Any:
            if target == path:
                methods.append(method)
                await asyncio.to_thread(write_status)
            return await request(method, target, **options)

        connection.request = with_status  # type: ignore[method-assign, assignment]
        edit = await begin_edit(connection, namespace, NAME)
        assert edit.wanted == edit.base.spec
        # Every write meets another version; the attempts are limited.
        run = await run_set(connection, namespace, "description=x")
    assert run.saved or "modified" in " ".join(run.err)
    assert not any("made again" in one for one in run.err)


# -- admission ----------------------------------------------------------------------------------


async def wait_until_applied(connection: Connection, namespace: str, name: str) -> None:
    """Wait until the API server applies the policy: it reads it some time after it was created."""
    operation = Operation(OperationKind.SCALE, namespace, name, 9)

    async def wait() -> None:
        while True:
            plan = await plan_operation(connection, operation)
            if plan.blocked or plan.warnings:
                break
            await asyncio.sleep(0.05)

    await with_timeout(wait())


async def test_a_policy_that_denies_a_change_is_an_error(
    control_plane: ControlPlane, namespace: str, policy: MakePolicy
) -> None:
    create(control_plane, namespace, "kubectl", [foreign_deployment()])
    policy("object.spec.replicas <= 5", "Deny")
    async with open_connection(control_plane) as connection:
        await wait_until_applied(connection, namespace, NAME)
        run = await run_set(connection, namespace, "replicas=9", force=True)
        assert not run.saved
        assert any(one.startswith("error: ") and "at most 5" in one for one in run.err)
        assert (await run_set(connection, namespace, "replicas=4", force=True)).saved
    assert control_plane.request("GET", path_of(namespace))["spec"]["replicas"] == 4


async def test_a_policy_that_warns_is_shown_before_the_change(
    control_plane: ControlPlane, namespace: str, policy: MakePolicy
) -> None:
    create(control_plane, namespace, "kubectl", [foreign_deployment()])
    policy("object.spec.replicas <= 5", "Warn")
    async with open_connection(control_plane) as connection:
        await wait_until_applied(connection, namespace, NAME)
        run = await run_set(connection, namespace, "replicas=9", force=True)
        assert run.saved
        assert [one.partition(": ")[0] for one in run.err if "at most 5" in one] == ["warning"]
    assert control_plane.request("GET", path_of(namespace))["spec"]["replicas"] == 9
