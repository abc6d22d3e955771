"""The targets of an operation's dialog, and whether their plans are still those of the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.fleet.views import NamespacedName
from servedeck.serving.spec.mapping.json_values import as_int, as_mapping, as_str

if TYPE_CHECKING:
    from tui.ports.serving_source import ServingViews, SourceChanges


class ObjectVersion(NamedTuple):
    """Which object it is, and how often its spec was changed."""

    uid: str
    generation: int
    """0 for a Pod."""

    def is_outdated(self, now: ObjectVersion) -> bool:
        """Whether `now` is another object, or has another spec. One that is older is what the watch
        has seen so far."""
        return self.uid != now.uid or now.generation > self.generation


@dataclass
class OperationTarget:
    """One target of a dialog."""

    operation: Operation
    undone: OperationResult | None = None
    """The result that the operation puts back; None for an operation of its own."""
    plan: OperationPlan | None = None
    """None while it is made, and while the number of replicas is not entered."""
    is_planning: bool = False
    error: str = ""
    """Why there is no plan, one sentence."""
    room_warnings: tuple[str, ...] = ()
    """What the nodes have no room for now, in sentences."""
    load: str = ""
    """The load of the serving or Pod that it ends at the moment, in a sentence; "" if it is not
    known."""
    result: OperationResult | None = None
    is_running: bool = False
    _planned_version: ObjectVersion | None = field(default=None, init=False)
    """The object that the plan was made for; None if it is not known."""
    _serving: NamespacedName | None = field(default=None, init=False)
    """The serving of the Pod that is deleted, as soon as it is known."""

    @property
    def is_possible(self) -> bool:
        """Whether it can be run."""
        return self.plan is not None and self.plan.is_possible and not self.error

    @property
    def is_done(self) -> bool:
        return self.result is not None and self.result.outcome is Outcome.DONE

    @property
    def impossible_reason(self) -> str:
        """Why it cannot be run, one sentence; "" if it can, and while it is not known."""
        if self.error:
            return self.error
        return self.plan.blocked or self.plan.unchanged if self.plan is not None else ""

    def begin_plan(self, fleet: ServingViews) -> None:
        """The plan that there is no longer counts; another one is being made."""
        self.forget_plan()
        self.is_planning = True
        self._planned_version = self._find_version(fleet)

    def forget_plan(self) -> None:
        self.plan, self.error, self.room_warnings, self.is_planning = None, "", (), False

    def set_plan(self, plan: OperationPlan) -> None:
        self.is_planning = False
        self.plan = self._checked_undo(plan)
        if plan.patch is not None and plan.operation.resource.kind == "Deployment":
            metadata = as_mapping(plan.patch.live, "metadata")
            self._planned_version = ObjectVersion(
                as_str(metadata.get("uid")), as_int(metadata.get("generation")) or 0
            )

    def set_error(self, message: str) -> None:
        self.is_planning = False
        self.error = message

    def _checked_undo(self, plan: OperationPlan) -> OperationPlan:
        """The plan, blocked if it would put back what somebody else has changed since."""
        if self.undone is None or self.undone.generation is None or plan.patch is None:
            return plan
        generation = as_int(as_mapping(plan.patch.live, "metadata").get("generation")) or 0
        if generation == self.undone.generation:
            return plan
        return replace(plan, blocked=changed_since_text(plan.operation), patch=None)

    def is_outdated(self, changes: SourceChanges, fleet: ServingViews) -> bool:
        """Whether the plan is not what it would be now, as far as the watch shows it."""
        if self.error and changes.state_changed:
            return True  # the connection may be back
        key = self._serving if self._is_pod else self._key
        if self.plan is None or key is None or key not in changes.keys:
            return False
        now = self._find_version(fleet)
        if now is None or self._planned_version is None:
            return now is not self._planned_version
        return self._planned_version.is_outdated(now)

    @property
    def _is_pod(self) -> bool:
        return self.operation.kind is OperationKind.DELETE_POD

    @property
    def _key(self) -> NamespacedName:
        return NamespacedName(self.operation.namespace, self.operation.name)

    def _find_version(self, fleet: ServingViews) -> ObjectVersion | None:
        """The object as the watch shows it; None if it does not."""
        if self._is_pod:
            return self._find_pod(fleet)
        if self.operation.resource.kind != "Deployment":
            return None
        found = fleet.deployment(self._key)
        if found is None:
            return None
        return ObjectVersion(found.metadata.uid, found.metadata.generation)

    def _find_pod(self, fleet: ServingViews) -> ObjectVersion | None:
        if self._serving is not None:
            view = fleet.view(self._serving)
            views = [view] if view is not None else []
        else:
            views = [one for one in fleet.views() if one.key.namespace == self.operation.namespace]
        for view in views:
            for pod in view.pods:
                if pod.name == self.operation.name and pod.namespace == self.operation.namespace:
                    self._serving = view.key
                    return ObjectVersion(pod.uid, 0)
        return None


def changed_since_text(operation: Operation) -> str:
    """Why an operation cannot be undone."""
    return f"{operation.target} has changed since; it is not put back."
