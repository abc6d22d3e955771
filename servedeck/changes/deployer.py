"""From a spec to its objects in the cluster: dry run, deploying, continuing after a rejection, and
deleting what was created. Knows neither a screen nor a form."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, TypeVar

from servedeck.changes.plan import ChangePlan
from servedeck.cluster.apply import AppliedObject, ApplyResult, ObjectRef
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.cluster.rejection import Rejection
from servedeck.serving.capacity import SchedulingResult
from servedeck.serving.spec.issues import Issue, errors
from servedeck.serving.spec.spec import ServingSpec

T = TypeVar("T")

MakePlan = Callable[[ServingSpec, Sequence[ObjectRef]], Awaitable[ChangePlan]]
"""Runs the dry run of a spec; the second argument are objects of a previous attempt."""

ApplyPlan = Callable[
    [ChangePlan, Sequence[ObjectRef], Callable[[AppliedObject], None]], Awaitable[ApplyResult]
]
"""Applies the objects of a plan, and calls the last argument for each object that it created; the
second argument are objects of a previous attempt."""

DeleteCreated = Callable[
    [Sequence[AppliedObject]], Awaitable[Sequence[tuple[ObjectRef, Rejection]]]
]
"""Deletes what was created; returns what could not be deleted."""


@dataclass(frozen=True)
class DryRunResult:
    """State of the dry run."""

    in_progress: bool = False
    error: str = ""
    """Why it could not run."""
    plan: ChangePlan | None = None
    scheduling: SchedulingResult | None = None
    """Whether the nodes could host it now."""


@dataclass(frozen=True)
class DeployState:
    """State of deploying."""

    running: bool = False
    deployed: bool = False
    """Whether all objects were applied."""
    created: tuple[AppliedObject, ...] = ()
    rejection: str = ""
    failed_object: str = ""
    """The object that was rejected."""


class DeployOutcome(Enum):
    """Result of a request to deploy."""

    DEPLOYED = auto()
    REJECTED = auto()
    """An object was rejected; `DeployState` says which, and what was created before."""
    BLOCKED = auto()
    """The spec has errors, or the dry run failed."""
    UNREAD_RESULT = auto()
    """The dry run ended after the request and has warnings that have not been shown yet."""
    STALE_OBJECT = auto()
    """An object of the previous attempt is not part of the plan: `Deployer.stale_object`."""
    SUPERSEDED = auto()
    """The spec changed while the dry run was in progress."""
    BUSY = auto()
    """Another write is in progress."""


class Deployer:
    """Deploys one serving. `on_change` is called after each change of the state."""

    def __init__(
        self,
        *,
        make_plan: MakePlan,
        apply_plan: ApplyPlan,
        delete_created: DeleteCreated,
        check_scheduling: Callable[[ChangePlan], SchedulingResult | None] = lambda _plan: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`check_scheduling` returns whether the nodes could host the Pods now, None if
        unknown."""
        self._make_plan = make_plan
        self._apply_plan = apply_plan
        self._delete_objects = delete_created
        self._check_scheduling = check_scheduling
        self._on_change = on_change
        self.spec: ServingSpec | None = None
        self.issues: Sequence[Issue] = ()
        """Errors and warnings that were found without the API server."""
        self.dry_run = DryRunResult()
        self.deploy_state = DeployState()
        self.pending_write = ""
        """What is being written to the cluster, "Deploying"; "" for nothing."""
        self._dry_run_task: asyncio.Task[None] | None = None
        self._write_task: asyncio.Future[Any] | None = None

    def set_spec(self, spec: ServingSpec | None, issues: Sequence[Issue]) -> None:
        """Replace what is to be deployed, None if it cannot be parsed; the dry run of another spec
        is discarded. Does not call `on_change`."""
        changed = spec != self.spec
        self.spec, self.issues = spec, issues
        if changed:
            self._discard_dry_run()

    @property
    def blocking_errors(self) -> list[Issue]:
        """Errors that prevent deploying, as far as known."""
        found = errors(self.issues)
        plan = self.dry_run.plan
        return plan.errors if not found and plan is not None else found

    def is_writing(self) -> bool:
        return bool(self.pending_write)

    # -- dry run --------------------------------------------------------------------------------

    def start_dry_run(self) -> None:
        """Start a dry run in the background, unless the spec has errors or something is being
        written; a previous one is canceled."""
        if self.pending_write:
            return
        self._discard_dry_run()
        if self.spec is not None and not errors(self.issues):
            self.dry_run = DryRunResult(in_progress=True)
            self._dry_run_task = asyncio.create_task(self._run_dry_run(self.spec, self.dry_run))
        self._on_change()

    def _discard_dry_run(self) -> None:
        self.dry_run = DryRunResult()
        if self._dry_run_task is not None:
            self._dry_run_task.cancel()
            self._dry_run_task = None

    async def _run_dry_run(self, spec: ServingSpec, pending: DryRunResult) -> None:
        try:
            plan = await self._make_plan(spec, self._created_refs())
            result = DryRunResult(plan=plan, scheduling=self._check_scheduling(plan))
        except Exception as error:  # any error: the operator must not wait forever
            result = DryRunResult(error=describe_error(error))
        if self.dry_run is pending:  # otherwise it was superseded
            self.dry_run = result
            self._on_change()

    def update_scheduling(self) -> None:
        """The nodes changed."""
        plan = self.dry_run.plan
        if plan is None:
            return
        scheduling = self._check_scheduling(plan)
        if scheduling != self.dry_run.scheduling:
            self.dry_run = replace(self.dry_run, scheduling=scheduling)
            self._on_change()

    # -- deploying ------------------------------------------------------------------------------

    async def deploy(self) -> DeployOutcome:
        """Apply the plan of the dry run. If there is none yet, it is waited for, and what it
        reports for the first time must be read before deploying."""
        if self.is_writing():
            return DeployOutcome.BUSY
        unread = self.dry_run.plan is None
        if unread and not await self._wait_for_dry_run():
            return DeployOutcome.SUPERSEDED
        plan = self.dry_run.plan
        if self.is_writing():  # since the dry run was waited for
            return DeployOutcome.BUSY
        if plan is None or self.blocking_errors:
            return DeployOutcome.BLOCKED
        if unread and self._has_new_warnings(plan):
            return DeployOutcome.UNREAD_RESULT
        if self.stale_object is not None:
            return DeployOutcome.STALE_OBJECT
        created = self.deploy_state.created
        self.deploy_state = DeployState(running=True, created=created)
        return await self._write("Deploying", self._apply(plan, created))

    async def _wait_for_dry_run(self) -> bool:
        """Wait for the dry run in progress, or for a new one; False if it was superseded."""
        if not self.dry_run.in_progress:
            self.start_dry_run()
        task = self._dry_run_task
        if task is not None:
            await asyncio.wait({task})
        return self._dry_run_task is task

    def _has_new_warnings(self, plan: ChangePlan) -> bool:
        scheduling = self.dry_run.scheduling
        return any(one not in self.issues for one in plan.issues) or (
            scheduling is not None and scheduling.schedulable_replicas < scheduling.replicas
        )

    def _created_refs(self) -> list[ObjectRef]:
        return [one.ref for one in self.deploy_state.created]

    @property
    def stale_object(self) -> ObjectRef | None:
        """An object that a previous attempt created and that is not part of the plan."""
        plan = self.dry_run.plan
        if plan is None:
            return None
        wanted = {ObjectRef.from_manifest(one) for one in plan.manifests}
        wanted |= {one.ref for one in plan.previews}
        return next((ref for ref in self._created_refs() if ref not in wanted), None)

    async def _write(self, label: str, work: Coroutine[Any, Any, T]) -> T:
        """Write to the cluster. Shielded: what was written is recorded even if the caller is
        canceled."""
        self.pending_write = label
        task = asyncio.ensure_future(work)
        self._write_task = task  # the event loop keeps only weak references
        return await asyncio.shield(task)

    async def _apply(self, plan: ChangePlan, before: Sequence[AppliedObject]) -> DeployOutcome:
        created = list(before)

        def on_created(one: AppliedObject) -> None:
            created.append(one)
            self.deploy_state = DeployState(running=True, created=tuple(created))
            self._on_change()

        self._on_change()
        try:
            result = await self._apply_plan(plan, [one.ref for one in before], on_created)
        except Exception as error:  # any error: what was created must be shown
            self._end_write(DeployState(created=tuple(created), rejection=describe_error(error)))
            return DeployOutcome.REJECTED
        applied = tuple(dict.fromkeys((*created, *result.applied)))
        if result.rejection is None:
            self._end_write(DeployState(deployed=True, created=applied))
            return DeployOutcome.DEPLOYED
        failed = str(result.failed_ref) if result.failed_ref else ""
        self._end_write(
            DeployState(created=applied, rejection=result.rejection.message, failed_object=failed)
        )
        return DeployOutcome.REJECTED

    async def delete_created(self) -> Sequence[tuple[ObjectRef, Rejection]]:
        """Delete what the unfinished attempt created; returns what could not be deleted. Raises
        ClusterError if nothing could be deleted."""
        if self.pending_write:
            raise ClusterError(f"{self.pending_write} is in progress.")
        return await self._write("Deleting the created objects", self._delete_created())

    async def _delete_created(self) -> Sequence[tuple[ObjectRef, Rejection]]:
        created = self.deploy_state.created
        try:
            remaining = await self._delete_objects(created)
        except BaseException:
            self._end_write(self.deploy_state)
            raise
        refs = {ref for ref, _ in remaining}
        self._end_write(DeployState(created=tuple(one for one in created if one.ref in refs)))
        return remaining

    def _end_write(self, state: DeployState) -> None:
        self.pending_write = ""
        self.deploy_state = state
        self._on_change()

    def close(self) -> None:
        """Cancel the dry run; something that is being written is finished."""
        self._discard_dry_run()
