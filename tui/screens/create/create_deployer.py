"""The `Deployer` of a new serving: what it asks of the change service."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servedeck.changes.deployer import Deployer
from servedeck.changes.plan import ChangePlan
from servedeck.cluster.apply import AppliedObject, ApplyResult, ObjectRef
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.rejection import Rejection
from servedeck.serving.capacity import SchedulingResult
from servedeck.serving.spec.spec import ServingSpec
from tui.ports.change_service import ChangeService
from tui.screens.create.inventory_watch import InventoryWatch


def make_create_deployer(
    change_service: ChangeService,
    inventory_watch: InventoryWatch,
    on_change: Callable[[], None],
    revision_base: str = "",
) -> Deployer:
    """A deployer whose objects must not exist yet. `revision_base` is what a second revision begins
    from."""

    async def make_plan(spec: ServingSpec, own_objects: Sequence[ObjectRef]) -> ChangePlan:
        if inventory_watch.inventory is None:
            inventory_watch.start(spec.namespace)
        if (inventory := inventory_watch.inventory) is None:
            raise ClusterError("Not connected to the API server yet.")
        return await change_service.make_plan(spec, inventory, own_objects, revision_base)

    async def apply_plan(
        plan: ChangePlan,
        own_objects: Sequence[ObjectRef],
        on_created: Callable[[AppliedObject], None],
    ) -> ApplyResult:
        return await change_service.deploy(plan.manifests, own_objects, on_created)

    async def delete_created(
        created: Sequence[AppliedObject],
    ) -> Sequence[tuple[ObjectRef, Rejection]]:
        return await change_service.delete_created(created)

    def check_scheduling(plan: ChangePlan) -> SchedulingResult | None:
        inventory = inventory_watch.inventory
        if inventory is None or not plan.manifests:
            return None
        return inventory.check_scheduling(plan.manifests[0], plan.spec.replicas)

    return Deployer(
        make_plan=make_plan,
        apply_plan=apply_plan,
        delete_created=delete_created,
        check_scheduling=check_scheduling,
        on_change=on_change,
    )
