"""The dry run and the deployment of a serving, without a cluster and without a screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from servedeck.changes.deployer import Deployer, DeployOutcome, DeployState
from servedeck.changes.draft import Draft
from servedeck.changes.plan import ChangePlan
from servedeck.cluster.apply import AppliedObject, ApplyResult, ObjectRef, Preview, PreviewAction
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.serving.capacity import SchedulingResult
from servedeck.serving.objects import manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.spec import ServingSpec
from tests.waiting import wait_until, with_timeout

PLATFORM = PlatformSettings(host="serve.example.com", gateway="gateways/main")
KINDS = ["Deployment", "Service", "HTTPRoute"]


class FakeDeployBackend:
    """Creates what it is asked for, except for the kinds in `rejections`."""

    def __init__(self) -> None:
        self.connection_error = ""
        self.dry_run_issues: tuple[Issue, ...] = ()
        self.rejections: dict[str, str] = {}
        """Why a kind is rejected."""
        self.undeletable: set[str] = set()
        """Kinds that cannot be deleted."""
        self.stored: list[ObjectRef] = []
        self.planned_names: list[str] = []
        self.own_objects: list[Sequence[ObjectRef]] = []
        """The second argument of each request."""
        self.dry_run_gate: asyncio.Event | None = None
        """A dry run waits for it, and ignores that it is canceled."""
        self.apply_gate: asyncio.Event | None = None
        self.apply_error: Exception | None = None
        """Raised after the Deployment was created."""

    async def make_plan(self, spec: ServingSpec, own_objects: Sequence[ObjectRef]) -> ChangePlan:
        self.planned_names.append(spec.name)
        self.own_objects.append(own_objects)
        if self.dry_run_gate is not None:
            gate = self.dry_run_gate
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    continue
        if self.connection_error:
            raise ClusterError(self.connection_error)
        built = manifests.build_manifests(spec, PLATFORM)
        previews = tuple(
            Preview(ObjectRef.from_manifest(one), PreviewAction.CREATE) for one in built
        )
        return ChangePlan(spec, tuple(built), self.dry_run_issues, (), previews, "", ())

    async def apply_plan(
        self,
        plan: ChangePlan,
        own_objects: Sequence[ObjectRef],
        on_created: Callable[[AppliedObject], None],
    ) -> ApplyResult:
        self.own_objects.append(own_objects)
        if self.apply_gate is not None:
            await self.apply_gate.wait()
        created: list[AppliedObject] = []
        for manifest in plan.manifests:
            ref = ObjectRef.from_manifest(manifest)
            if ref in own_objects:
                continue
            if reason := self.rejections.get(ref.kind):
                rejection = Rejection(RejectionReason.SERVER_ERROR, reason)
                return ApplyResult(tuple(created), rejection, ref)
            self.stored.append(ref)
            created.append(AppliedObject(ref, f"uid-{ref}", True))
            on_created(created[-1])
            if self.apply_error is not None:
                raise self.apply_error
        return ApplyResult(tuple(created))

    async def delete_created(
        self, created: Sequence[AppliedObject]
    ) -> Sequence[tuple[ObjectRef, Rejection]]:
        if self.connection_error:
            raise ClusterError(self.connection_error)
        remaining = []
        for one in created:
            if one.ref.kind in self.undeletable:
                remaining.append((one.ref, Rejection(RejectionReason.PERMISSION, "Not allowed.")))
            else:
                self.stored.remove(one.ref)
        return remaining


@pytest.fixture
def cluster() -> FakeDeployBackend:
    return FakeDeployBackend()


@pytest.fixture
def changes() -> list[str]:
    """One word for each call of `on_change`."""
    return []


@pytest.fixture
def deployer(cluster: FakeDeployBackend, changes: list[str]) -> Deployer:
    def on_change() -> None:
        if made.deploy_state.running:
            changes.append(f"deploying {len(made.deploy_state.created)}")
        elif made.deploy_state.deployed:
            changes.append("deployed")
        else:
            changes.append("dry run" if made.dry_run.in_progress else "result")

    made = Deployer(
        make_plan=cluster.make_plan,
        apply_plan=cluster.apply_plan,
        delete_created=cluster.delete_created,
        on_change=on_change,
    )
    made.set_spec(make_spec(), ())
    return made


def make_spec(name: str = "llama") -> ServingSpec:
    draft = Draft("vllm", "team-a")
    draft.texts |= {"name": name, "settings.model": "org/model"}
    spec, issues = draft.validate()
    assert spec is not None, issues
    return spec


async def dry_run(deployer: Deployer) -> None:
    deployer.start_dry_run()
    await wait_until(lambda: not deployer.dry_run.in_progress, "the dry run")


def kinds(refs: Sequence[ObjectRef]) -> list[str]:
    return [one.kind for one in refs]


def created_kinds(deployer: Deployer) -> list[str]:
    return kinds([one.ref for one in deployer.deploy_state.created])


# -- dry run ------------------------------------------------------------------------------------


async def test_an_accepted_dry_run_has_a_plan(deployer: Deployer, changes: list[str]) -> None:
    await dry_run(deployer)
    plan = deployer.dry_run.plan
    assert plan is not None
    assert plan.can_deploy
    assert not deployer.blocking_errors
    assert changes == ["dry run", "result"]


async def test_a_rejected_dry_run_blocks_deploying(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    cluster.dry_run_issues = (error("name", "The name is taken."),)
    await dry_run(deployer)
    assert [one.message for one in deployer.blocking_errors] == ["The name is taken."]
    assert await deployer.deploy() is DeployOutcome.BLOCKED
    assert cluster.stored == []


async def test_an_unreachable_api_server_is_reported_and_can_be_retried(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    cluster.connection_error = "The API server is unreachable."
    await dry_run(deployer)
    assert deployer.dry_run.error == "The API server is unreachable."
    assert await deployer.deploy() is DeployOutcome.BLOCKED
    cluster.connection_error = ""
    await dry_run(deployer)
    assert deployer.dry_run.plan is not None


async def test_a_spec_with_errors_is_not_sent(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    for spec in (None, make_spec()):
        deployer.set_spec(spec, [error("cpu", "It is not a quantity.")])
        deployer.start_dry_run()
        assert not deployer.dry_run.in_progress
        assert await deployer.deploy() is DeployOutcome.BLOCKED
    assert cluster.planned_names == []


async def test_the_result_of_a_superseded_dry_run_is_ignored(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    cluster.dry_run_gate = first = asyncio.Event()
    deployer.start_dry_run()
    await wait_until(lambda: cluster.planned_names == ["llama"], "the first request")
    cluster.dry_run_gate = second = asyncio.Event()
    deployer.set_spec(make_spec("qwen"), ())
    deployer.start_dry_run()
    await wait_until(lambda: cluster.planned_names == ["llama", "qwen"], "the second request")
    second.set()
    await wait_until(lambda: deployer.dry_run.plan is not None, "the second result")
    first.set()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
    assert deployer.dry_run.plan is not None
    assert deployer.dry_run.plan.spec.name == "qwen"


async def test_another_spec_discards_the_dry_run_and_the_same_one_keeps_it(
    deployer: Deployer,
) -> None:
    await dry_run(deployer)
    deployer.set_spec(make_spec(), ())
    assert deployer.dry_run.plan is not None
    deployer.set_spec(make_spec("qwen"), ())
    assert deployer.dry_run.plan is None


async def test_scheduling_follows_the_nodes(cluster: FakeDeployBackend) -> None:
    results = [SchedulingResult(2, 2, (), (), "2 fit"), SchedulingResult(2, 1, (), (), "1 fits")]
    changes: list[None] = []
    deployer = Deployer(
        make_plan=cluster.make_plan,
        apply_plan=cluster.apply_plan,
        delete_created=cluster.delete_created,
        check_scheduling=lambda _plan: results[0],
        on_change=lambda: changes.append(None),
    )
    deployer.update_scheduling()  # without a plan there is nothing to check
    deployer.set_spec(make_spec(), ())
    await dry_run(deployer)
    assert deployer.dry_run.scheduling == results[0]
    changes.clear()
    deployer.update_scheduling()
    assert changes == []
    results.pop(0)
    deployer.update_scheduling()
    assert deployer.dry_run.scheduling == results[0]
    assert len(changes) == 1


async def test_closing_cancels_the_dry_run(deployer: Deployer) -> None:
    deployer.start_dry_run()
    deployer.close()
    assert not deployer.dry_run.in_progress


# -- deploying ----------------------------------------------------------------------------------


async def test_all_objects_are_created_one_after_the_other(
    deployer: Deployer, cluster: FakeDeployBackend, changes: list[str]
) -> None:
    await dry_run(deployer)
    changes.clear()
    assert await deployer.deploy() is DeployOutcome.DEPLOYED
    assert kinds(cluster.stored) == created_kinds(deployer) == KINDS
    assert deployer.pending_write == ""
    assert changes == [*(f"deploying {count}" for count in range(4)), "deployed"]


async def test_deploying_waits_for_the_dry_run(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    cluster.dry_run_gate = asyncio.Event()
    deployer.start_dry_run()
    request = asyncio.create_task(deployer.deploy())
    again = asyncio.create_task(deployer.deploy())
    await wait_until(lambda: cluster.planned_names, "the dry run")
    assert cluster.stored == []
    cluster.dry_run_gate.set()
    outcomes = (await with_timeout(request), await with_timeout(again))
    assert outcomes == (DeployOutcome.DEPLOYED, DeployOutcome.BUSY)
    assert kinds(cluster.stored) == KINDS


async def test_deploying_runs_the_dry_run_if_there_is_none(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    assert await with_timeout(deployer.deploy()) is DeployOutcome.DEPLOYED
    assert cluster.planned_names == ["llama"]


async def test_a_warning_that_nobody_has_read_delays_deploying(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    known = warning("image", "The image has no tag.")
    deployer.set_spec(make_spec(), [known])
    cluster.dry_run_issues = (known, warning("", "The route is slow."))
    assert await with_timeout(deployer.deploy()) is DeployOutcome.UNREAD_RESULT
    assert cluster.stored == []
    assert await deployer.deploy() is DeployOutcome.DEPLOYED


async def test_a_changed_spec_cancels_a_request_to_deploy(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    cluster.dry_run_gate = asyncio.Event()
    request = asyncio.create_task(deployer.deploy())
    await wait_until(lambda: cluster.planned_names, "the dry run")
    deployer.set_spec(make_spec("qwen"), ())
    cluster.dry_run_gate.set()
    assert await with_timeout(request) is DeployOutcome.SUPERSEDED
    assert cluster.stored == []


async def test_a_partial_deploy_continues_with_what_is_missing(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    cluster.rejections = {"Service": "Rejected."}
    await dry_run(deployer)
    assert await deployer.deploy() is DeployOutcome.REJECTED
    assert deployer.deploy_state == DeployState(
        created=deployer.deploy_state.created,
        rejection="Rejected.",
        failed_object="Service team-a/llama",
    )
    assert created_kinds(deployer) == ["Deployment"]
    cluster.rejections = {}
    await dry_run(deployer)
    assert await deployer.deploy() is DeployOutcome.DEPLOYED
    assert kinds(cluster.stored) == created_kinds(deployer) == KINDS
    # what was created before is changed, in the dry run and when deploying
    assert [kinds(one) for one in cluster.own_objects] == [[], [], ["Deployment"], ["Deployment"]]


async def test_what_was_created_before_an_unexpected_error_is_known(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    cluster.apply_error = KeyError("metadata")
    await dry_run(deployer)
    assert await deployer.deploy() is DeployOutcome.REJECTED
    assert "metadata" in deployer.deploy_state.rejection
    assert created_kinds(deployer) == ["Deployment"]
    assert deployer.pending_write == ""


async def test_what_was_created_is_known_although_the_caller_was_canceled(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    cluster.apply_gate = asyncio.Event()
    await dry_run(deployer)
    request = asyncio.create_task(deployer.deploy())
    await wait_until(lambda: len(cluster.own_objects) == 2, "the request to apply")
    assert deployer.pending_write == "Deploying"
    assert await deployer.deploy() is DeployOutcome.BUSY
    with pytest.raises(ClusterError, match="Deploying is in progress"):
        await deployer.delete_created()
    deployer.start_dry_run()  # its result would replace the plan that is deployed
    assert not deployer.dry_run.in_progress
    request.cancel()
    cluster.apply_gate.set()
    await wait_until(lambda: deployer.deploy_state.deployed, "the end of deploying")
    assert created_kinds(deployer) == KINDS


async def test_another_name_requires_that_the_old_objects_are_deleted(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    cluster.rejections = {"Service": "Rejected."}
    await dry_run(deployer)
    await deployer.deploy()
    cluster.rejections = {}
    deployer.set_spec(make_spec("qwen"), ())
    assert deployer.stale_object is None  # unknown until the dry run
    await dry_run(deployer)
    assert await deployer.deploy() is DeployOutcome.STALE_OBJECT
    assert str(deployer.stale_object) == "Deployment team-a/llama"
    assert await deployer.delete_created() == []
    assert await deployer.deploy() is DeployOutcome.DEPLOYED
    assert {one.name for one in cluster.stored} == {"qwen"}


# -- deleting -----------------------------------------------------------------------------------


async def deploy_partially(deployer: Deployer, cluster: FakeDeployBackend) -> None:
    cluster.rejections = {"HTTPRoute": "Rejected."}
    await dry_run(deployer)
    assert await deployer.deploy() is DeployOutcome.REJECTED


async def test_what_was_created_is_deleted(deployer: Deployer, cluster: FakeDeployBackend) -> None:
    await deploy_partially(deployer, cluster)
    assert await deployer.delete_created() == []
    assert cluster.stored == []
    assert deployer.deploy_state == DeployState()


async def test_an_object_that_cannot_be_deleted_stays_known(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    await deploy_partially(deployer, cluster)
    cluster.undeletable = {"Service"}
    remaining = await deployer.delete_created()
    assert kinds([ref for ref, _ in remaining]) == created_kinds(deployer) == ["Service"]


async def test_nothing_is_forgotten_if_deleting_fails(
    deployer: Deployer, cluster: FakeDeployBackend
) -> None:
    await deploy_partially(deployer, cluster)
    before = deployer.deploy_state
    cluster.connection_error = "The API server is unreachable."
    with pytest.raises(ClusterError):
        await deployer.delete_created()
    assert deployer.deploy_state == before
    assert deployer.pending_write == ""
