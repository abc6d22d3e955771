"""Mutating admission on a real API server: what a plan says is what is stored, what the cluster
puts back is said, and it is nobody else's change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from servedeck.changes.edit import save as save_module
from servedeck.changes.edit.edit import Edit, EditPlan, begin_edit, plan_edit
from servedeck.changes.edit.guarded_writes import WriteOutcome, WriteState
from servedeck.changes.edit.save import (
    LostWrite,
    SaveResult,
    SaveState,
    resolve_unknown,
    save_edit,
)
from servedeck.changes.edit.undo import begin_undo
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import Operation, OperationKind, Outcome
from servedeck.changes.operations.planner import plan_operation
from servedeck.changes.traffic_split.plan import TrafficAction
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all
from servedeck.commands.set import SetOptions, set_fields
from servedeck.serving.edit.assignments import assign, parse_assignment
from servedeck.serving.objects.routes import PlatformSettings
from tests.control_plane import mutation
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.mutation import mutating, mutating_deployments
from tests.control_plane.test_create_wizard import running_app
from tests.control_plane.test_deploy import make_spec, open_connection
from tests.control_plane.test_edit_mode import (
    isolated_state_home,
    open_form,
    plan,
    retype,
    wait_for_texts,
)
from tests.control_plane.test_traffic_split import Endpoint, endpoint
from tests.waiting import wait_until, with_timeout

__all__ = ["endpoint", "isolated_state_home"]
Json = dict[str, Any]
IMAGE = ".spec.template.spec.containers[inference-server].image"
BY_CLUSTER = "an admission webhook or policy of the cluster sets it."


@dataclass
class Run:
    """The output of one command."""

    good: bool = False
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        return [one for one in self.err if one.startswith("note: admission")]


class Serving:
    """The serving llama, and changing it."""

    def __init__(self, plane: ControlPlane, namespace: str, connection: Connection) -> None:
        self.plane, self.namespace, self.connection = plane, namespace, connection

    @property
    def path(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/llama"

    @property
    def deployment(self) -> Json:
        found: Json = self.plane.request("GET", self.path)
        return found

    @property
    def containers(self) -> list[Json]:
        return list(self.deployment["spec"]["template"]["spec"]["containers"])

    @property
    def image(self) -> str:
        return str(self.containers[0]["image"])

    async def apply(self, *, dry_run: bool = False) -> Run:
        run = Run()
        run.good = await apply_all(
            self.connection,
            [make_spec(self.namespace)],
            PlatformSettings(),
            dry_run=dry_run,
            stdout=run.out.append,
            stderr=run.err.append,
        )
        return run

    async def set(self, *texts: str, **options: Any) -> Run:
        run = Run()
        run.good = await set_fields(
            self.connection,
            self.namespace,
            "llama",
            [parse_assignment(one) for one in texts],
            SetOptions(assume_yes=True, **options),
            stdout=run.out.append,
            stderr=run.err.append,
        )
        return run

    async def plan(self, edit: Edit | None, *texts: str) -> EditPlan:
        if edit is None:
            edit = await begin_edit(self.connection, self.namespace, "llama")
            wanted, issues = assign(edit.base.spec, [parse_assignment(one) for one in texts])
            assert wanted is not None, issues
            edit = replace(edit, wanted=wanted)
        inventory = ClusterInventory(self.connection, self.namespace)
        inventory.start()
        try:
            await inventory.wait_until_listed()
            return await plan_edit(self.connection, edit, inventory)
        finally:
            await inventory.close()

    async def save(self, plan: EditPlan) -> SaveResult:
        inventory = ClusterInventory(self.connection, self.namespace)
        inventory.start()
        try:
            await inventory.wait_until_listed()
            return await save_edit(self.connection, plan, inventory)
        finally:
            await inventory.close()


@pytest.fixture
async def serving(control_plane: ControlPlane, namespace: str) -> Any:
    async with open_connection(control_plane, namespace=namespace) as connection:
        yield Serving(control_plane, namespace, connection)


def dry_run_values(plan: EditPlan) -> dict[str, str]:
    return {
        change.path: change.new for one in plan.change_plan.previews for change in one.field_changes
    }


# -- a file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        mutation.SIDECAR,
        mutation.ADDITIONS,
        mutation.MIRROR,
        mutation.TWO_REPLICAS,
        mutation.PINNED_IMAGE,
        mutation.LITTLE_MEMORY,
    ],
)
async def test_a_file_is_stored_as_its_dry_run_says_and_changes_nothing_again(
    serving: Serving, policy: tuple[str, str]
) -> None:
    with mutating_deployments(serving.plane, serving.namespace, policy):
        planned = await serving.apply(dry_run=True)
        applied = await serving.apply()
        assert planned.good and applied.good, applied.err
        assert planned.notes, "the dry run says what admission does"
        assert applied.notes == planned.notes
        before = serving.deployment
        again = await serving.apply()
    assert again.good
    assert again.out[0] == "deployment.apps/llama unchanged"
    after = serving.deployment
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["spec"] == before["spec"]


# -- fields ---------------------------------------------------------------------------------------


async def test_a_field_that_is_changed_on_its_way_is_said_before_and_after(
    serving: Serving,
) -> None:
    await serving.apply()
    with mutating_deployments(serving.plane, serving.namespace, mutation.MIRROR):
        planned = await serving.plan(None, "image=server:2")
        message = f"Image becomes mirror.corp/server:2: {BY_CLUSTER}"
        assert [(one.field, one.message) for one in planned.issues] == [("image", message)]
        assert dry_run_values(planned)[IMAGE] == "mirror.corp/server:2"
        run = await serving.set("image=server:2")
        assert run.good
        assert f"warning: llama: image: {message}" in run.err
        assert run.notes == [f"note: admission sets {IMAGE} to 'mirror.corp/server:2'"]
        assert serving.image == "mirror.corp/server:2"
        again = await serving.set("image=server:2")
    assert again.good
    assert again.out == ["deployment.apps/llama unchanged"]
    assert again.err[0] == f"warning: llama: image: Image stays mirror.corp/server:2: {BY_CLUSTER}"


@pytest.mark.parametrize(
    ("policy", "assignment", "sentence"),
    [
        (mutation.TWO_REPLICAS, "replicas=3", "Replicas stays 2"),
        (mutation.PINNED_IMAGE, "image=server:2", "Image stays pinned:1"),
    ],
)
async def test_a_field_that_is_put_back_is_not_saved_and_said(
    serving: Serving, policy: tuple[str, str], assignment: str, sentence: str
) -> None:
    with mutating_deployments(serving.plane, serving.namespace, policy):
        await serving.apply()
        before = serving.deployment["spec"]
        planned = await serving.plan(None, assignment)
        assert planned.is_unchanged and not planned.can_save
        assert [one.message for one in planned.issues] == [f"{sentence}: {BY_CLUSTER}"]
        run = await serving.set(assignment)
        assert run.out == ["deployment.apps/llama unchanged"]
        assert f"{sentence}: {BY_CLUSTER}" in run.err[0]
        # With another field, the rest is saved.
        both = await serving.plan(None, assignment, "description=hello")
        assert both.can_save
        result = await serving.save(both)
    assert result.state is SaveState.SAVED
    assert result.message == f"The change was saved. {sentence}: {BY_CLUSTER}"
    deployment = serving.deployment
    assert deployment["metadata"]["annotations"]["servedeck.dev/description"] == "hello"
    assert deployment["spec"] == before


async def test_quantities_in_another_form_are_no_admission(serving: Serving) -> None:
    await serving.apply()
    with mutating_deployments(serving.plane, serving.namespace, mutation.MIRROR):
        result = await serving.save(await serving.plan(None, "image=server:2", "memory=2048Mi"))
    assert result.message.endswith(f"Image becomes mirror.corp/server:2: {BY_CLUSTER}")
    assert "Memory" not in result.message


async def test_a_policy_that_is_new_since_the_plan_is_in_the_result(serving: Serving) -> None:
    await serving.apply()
    planned = await serving.plan(None, "image=server:2")
    assert not planned.issues
    with mutating_deployments(serving.plane, serving.namespace, mutation.MIRROR):
        result = await serving.save(planned)
    assert result.state is SaveState.SAVED
    assert result.message == (
        f"The change was saved. Image becomes mirror.corp/server:2: {BY_CLUSTER}"
    )


async def test_a_lost_answer_to_a_change_that_admission_changed_is_found_out(
    serving: Serving,
) -> None:
    await serving.apply()
    with mutating_deployments(serving.plane, serving.namespace, mutation.MIRROR):
        planned = await serving.plan(None, "image=server:2")
        ref = planned.change_plan.writes[0].ref
        lost = LostWrite(ref, planned.change.live[0]["metadata"]["resourceVersion"])

        async def lose(*_arguments: Any, **_options: Any) -> WriteOutcome:
            return WriteOutcome(WriteState.UNKNOWN, error="The answer was lost.")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(save_module, "write_guarded", lose)
            unknown = await serving.save(planned)
        assert unknown.state is SaveState.UNKNOWN
        # The API server has executed it after all.
        await serving.save(await serving.plan(None, "image=server:2"))
        again = await serving.plan(unknown.plan.edit)
        assert again.conflicts == ()
        found = resolve_unknown(replace(unknown, lost=lost), again)
    assert found.state is SaveState.SAVED, found.message


async def test_a_description_that_lets_a_policy_change_the_pods_is_said_to_restart_them(
    serving: Serving,
) -> None:
    await serving.apply()
    with mutating_deployments(serving.plane, serving.namespace, mutation.MIRROR):
        planned = await serving.plan(None, "description=hello")
    assert planned.restarts_pods
    assert planned.forecast is not None
    assert planned.forecast.summary.startswith("1 Pod restarts ")


# -- undo -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [mutation.SIDECAR, mutation.ADDITIONS, mutation.MIRROR])
async def test_an_undo_takes_the_change_back_and_not_what_admission_added(
    serving: Serving, policy: tuple[str, str]
) -> None:
    await serving.apply()
    with mutating_deployments(serving.plane, serving.namespace, policy):
        first = await serving.save(await serving.plan(None, "image=server:1"))
        spec = serving.deployment["spec"]
        result = await serving.save(await serving.plan(None, "image=server:2"))
        assert first.undo is not None and result.undo is not None
        undone = await serving.save(
            await serving.plan(await begin_undo(serving.connection, result.undo))
        )
        assert undone.state is SaveState.SAVED, undone.message
        assert serving.deployment["spec"] == spec
        # What admission did first stays, whatever is taken back.
        await serving.set("description=hello")
        await serving.save(await serving.plan(None, "replicas=2"))
    assert serving.deployment["spec"]["template"] == spec["template"]


async def test_an_undo_of_another_field_leaves_what_the_policy_did_with_it(
    serving: Serving,
) -> None:
    await serving.apply()
    with mutating_deployments(serving.plane, serving.namespace, mutation.TWO_REPLICAS):
        result = await serving.save(await serving.plan(None, "image=server:2"))
        assert serving.deployment["spec"]["replicas"] == 2
        assert result.undo is not None
        undo = await serving.plan(await begin_undo(serving.connection, result.undo))
    assert [one.name for one in undo.fields] == ["image"]


# -- operations -----------------------------------------------------------------------------------


async def test_replicas_that_are_put_back_are_not_said_to_be_scaled(serving: Serving) -> None:
    await serving.apply()
    operation = Operation(OperationKind.SCALE, serving.namespace, "llama", 3)
    with mutating_deployments(serving.plane, serving.namespace, mutation.TWO_REPLICAS):
        planned = await plan_operation(serving.connection, operation)
        sentence = (
            "An admission webhook or policy of the cluster sets spec.replicas of Deployment "
            f"{serving.namespace}/llama to 2, not 3."
        )
        assert planned.is_possible and planned.warnings == (sentence,)
        result = await run_plan(serving.connection, planned)
        assert result.outcome is Outcome.DONE
        assert result.message == f"{operation.target} is scaled to 2 replicas."
        planned = await plan_operation(serving.connection, operation)
    assert planned.blocked == f"{sentence} So nothing would change."


async def test_a_restart_that_is_put_back_is_not_said_to_restart(serving: Serving) -> None:
    await serving.apply()
    operation = Operation(OperationKind.RESTART, serving.namespace, "llama")
    with mutating_deployments(serving.plane, serving.namespace, mutation.NO_RESTART):
        planned = await plan_operation(serving.connection, operation)
    assert "So nothing would change." in planned.blocked
    assert "removes spec.template.metadata.annotations from Deployment" in planned.blocked


async def test_a_roll_back_says_what_becomes_of_its_image(serving: Serving) -> None:
    await serving.apply()
    await serving.set("image=server:2")

    def has_revisions() -> bool:
        path = f"/apis/apps/v1/namespaces/{serving.namespace}/replicasets"
        return len(serving.plane.request("GET", path)["items"]) == 2

    await wait_until(has_revisions, "both revisions")
    operation = Operation(OperationKind.ROLLBACK, serving.namespace, "llama", revision=1)
    with mutating_deployments(serving.plane, serving.namespace, mutation.PINNED_IMAGE):
        planned = await plan_operation(serving.connection, operation)
    assert planned.is_possible
    assert any("to pinned:1, not " in one for one in planned.warnings)


# -- traffic --------------------------------------------------------------------------------------


async def test_a_weight_that_is_put_back_is_not_said_to_be_there_already(
    endpoint: Endpoint,
) -> None:
    await endpoint.create()
    await endpoint.do(await endpoint.plan_split(10))
    policy = (
        "size(object.spec.rules[0].backendRefs) == 2",
        '[JSONPatch{op: "replace", path: "/spec/rules/0/backendRefs/0/weight", value: 90},'
        'JSONPatch{op: "replace", path: "/spec/rules/0/backendRefs/1/weight", value: 10}]',
    )
    resource = ("gateway.networking.k8s.io", "v1", "httproutes")
    with mutating(endpoint.plane, endpoint.namespace, policy, resource=resource):

        async def wait() -> str:
            while not (found := (await endpoint.plan(TrafficAction.SPLIT, weight=50)).blocked):
                await asyncio.sleep(0.05)  # the API server reads a policy some time later
            return found

        blocked = await with_timeout(wait())
    assert blocked.endswith("So nothing would change.")
    assert f"of HTTPRoute {endpoint.namespace}/llama to 10, not 50." in blocked


# -- the form -------------------------------------------------------------------------------------


async def test_the_form_says_what_the_cluster_puts_back_and_keeps_what_was_typed(
    control_plane: ControlPlane, serving: Serving
) -> None:
    await serving.apply()
    with mutating_deployments(control_plane, serving.namespace, mutation.TWO_REPLICAS):
        await serving.set("description=hello")
        async with running_app(control_plane, serving.namespace, size=(120, 40)) as driver:
            form = await open_form(driver, serving.namespace, "llama")
            await retype(driver, "replicas", "3")
            await plan(driver)
            await wait_for_texts(driver, "Replicas stays 2: an admission", "Nothing would change.")
            await driver.pilot.press("n")
            await wait_until(lambda: driver.app.screen is form, "the form")
            assert form.form.get_text("replicas") == "3"
    assert serving.deployment["spec"]["replicas"] == 2
