"""Planning and running the operations of a dialog."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from servedeck.changes.operations.adoption import Adoption
from servedeck.changes.operations.operation import (
    Operation,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.changes.operations.room_check import room_warnings
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.cluster.write_log import WriteLog
from tui.operation_targets import OperationTarget
from tui.ports.change_service import ChangeService, Inventory
from tui.ports.serving_source import ServingViews, SourceChanges

CONCURRENT_PLANS = 4
"""Plans of several targets that are made at the same time."""


class OperationRun:
    """The targets of a dialog: plans them, and runs them one after the other."""

    def __init__(
        self,
        operations: Sequence[Operation],
        change_service: ChangeService,
        *,
        undone: Sequence[OperationResult] = (),
        on_update: Callable[[], None],
    ) -> None:
        """`on_update` is called when something of a target has changed."""
        self.targets = [OperationTarget(one) for one in operations]
        for target, one in zip(self.targets, undone, strict=False):
            target.undone = one
        self._change_service = change_service
        self._on_update = on_update
        self.is_writing = False
        self.write_log = WriteLog("Do it again for the rest.")
        """Of the operation that is run, or was."""
        self._is_stopping = False

    @property
    def is_single(self) -> bool:
        return len(self.targets) == 1

    @property
    def is_planning(self) -> bool:
        return any(one.is_planning for one in self.targets)

    @property
    def is_impossible(self) -> bool:
        """Whether none of the operations can be run."""
        return all(one.impossible_reason for one in self.targets)

    @property
    def impossible_reason(self) -> str:
        """Why none of them can be run, one sentence."""
        return self.targets[0].impossible_reason if self.is_single else "None of them can be done."

    @property
    def results(self) -> tuple[OperationResult, ...]:
        """Results of all operations, in their order; () if none was run."""
        if not any(one.result for one in self.targets):
            return ()
        return tuple(
            one.result or OperationResult(one.operation, Outcome.UNCHANGED, one.impossible_reason)
            for one in self.targets
        )

    @property
    def has_failed(self) -> bool:
        """Whether one of the operations that were run was not done."""
        return any(one.result and not one.is_done for one in self.targets)

    @property
    def has_error(self) -> bool:
        """Whether one of the plans could not be made."""
        return any(one.error for one in self.targets)

    @property
    def asks_first(self) -> bool:
        """Whether the plan of one of the targets must not be confirmed by enter alone."""
        return any(
            one.plan is not None and one.is_possible and one.plan.needs_confirmation
            for one in self.targets
        )

    @property
    def commands(self) -> list[str]:
        """The equivalent commands of kubectl."""
        return [one.plan.command for one in self.targets if one.plan and one.is_possible]

    def set_replicas(self, replicas: int | None) -> bool:
        """Set the wanted replicas, None for none; returns whether that is another number."""
        if all(one.operation.replicas == replicas for one in self.targets):
            return False
        for one in self.targets:
            one.operation = replace(one.operation, replicas=replicas)
            one.result = None
            one.forget_plan()
        return True

    def set_adoption(self, *, service: bool, route: bool) -> None:
        """What the adoptions create."""
        for one in self.targets:
            if isinstance(one.operation, Adoption):
                one.operation = replace(one.operation, service=service, route=route)
                one.result = None
                one.forget_plan()

    def is_outdated(self, changes: SourceChanges, fleet: ServingViews) -> bool:
        """Whether a plan is not what it would be now, as far as the watch shows it."""
        return any(one.is_outdated(changes, fleet) for one in self.targets)

    def begin_plans(self, fleet: ServingViews) -> None:
        """The plans no longer count; `make_plans` makes others."""
        for one in self.targets:
            one.begin_plan(fleet)

    async def make_plans(self) -> None:
        slots = asyncio.Semaphore(CONCURRENT_PLANS)

        async def make_plan(target: OperationTarget) -> None:
            async with slots:
                try:
                    if await self._is_done_after_all(target):
                        target.forget_plan()
                        return
                    target.set_plan(await self._change_service.plan_operation(target.operation))
                except Exception as error:  # any error: a plan that is not made is not waited for
                    target.set_error(describe_error(error))
                self._on_update()

        await asyncio.gather(*(make_plan(one) for one in self.targets))

    async def _is_done_after_all(self, target: OperationTarget) -> bool:
        """Look again for an operation whose response was lost; returns whether it was done."""
        if target.result is not None and target.result.outcome is Outcome.UNKNOWN:
            target.result = await self._change_service.look_again(target.result)
        return target.is_done

    def find_room(self, inventory: Inventory | None) -> None:
        """Find out what the nodes have no room for, for each target by itself."""
        for target in self.targets:
            nodes = inventory.node_capacities() if target.plan and inventory else None
            target.room_warnings = room_warnings(target.plan, nodes) if target.plan else ()

    def find_loads(self, find: Callable[[OperationPlan | None], str]) -> None:
        """Set the load of the servings at the moment, as far as `find` knows it by the plan."""
        for target in self.targets:
            target.load = find(target.plan)

    async def run(self) -> None:
        """Run what can be done, one after the other, until `stop` is called."""
        for target in self.targets:
            if target.is_possible and not self._is_stopping:
                await self._run_one(target)
        self.is_writing = False

    def stop(self) -> None:
        """Leave the operations that were not sent yet."""
        self._is_stopping = True

    async def _run_one(self, target: OperationTarget) -> None:
        assert target.plan is not None
        target.is_running = True
        self.write_log = WriteLog("Do it again for the rest.")
        self.write_log.begin()
        self._on_update()
        try:
            target.result = await self._change_service.run_operation(target.plan)
        except ClusterError as error:  # there was no connection to send it with
            target.result = OperationResult(target.operation, Outcome.REJECTED, str(error))
        except Exception as error:  # any error: it must be known what was done
            target.result = OperationResult(
                target.operation, Outcome.UNKNOWN, describe_error(error)
            )
        target.is_running = False
        self._on_update()
