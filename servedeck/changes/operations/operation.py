"""What can be done with an existing serving, a Pod or a node; the plan and the result of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from servedeck.changes.operations.merge_patch import apply_merge_patch
from servedeck.cluster.resources import DEPLOYMENT, NODE, POD, Resource
from servedeck.serving.text import one_line, sanitize

if TYPE_CHECKING:
    from servedeck.cluster.apply import ObjectRef
    from servedeck.serving.objects.field_changes import FieldChange
    from servedeck.serving.spec.mapping.json_values import JsonObject


class OperationKind(StrEnum):
    """The value is the verb in sentences and the name of the command."""

    SCALE = "scale"
    RESTART = "restart"
    STOP = "stop"
    """Scale to 0, and note the number of replicas for START."""
    START = "start"
    """Scale back to the number of replicas before STOP."""
    PAUSE = "pause"
    RESUME = "resume"
    ROLLBACK = "rollback"
    DELETE = "delete"
    DELETE_POD = "delete-pod"
    CORDON = "cordon"
    UNCORDON = "uncordon"
    ADOPT = "adopt"
    """Make the Deployment of another tool a serving of servedeck: an `Adoption`."""
    RELEASE = "release"
    """Take an adoption back: a `Release`."""
    EDIT = "edit"
    """Change any field of an object: an `ObjectEdit`."""
    EXEC = "exec"
    """Run a shell in a container. It has no plan: kubectl runs it."""
    RUN = "run"
    """Run one command in a container, over a WebSocket. It has no plan."""
    PORT_FORWARD = "port-forward"
    """Forward a local port to Pods, over WebSockets. It has no plan."""


_RESOURCES = {
    OperationKind.DELETE_POD: POD,
    OperationKind.EXEC: POD,
    OperationKind.RUN: POD,
    OperationKind.PORT_FORWARD: POD,
    OperationKind.CORDON: NODE,
    OperationKind.UNCORDON: NODE,
}

WEBSOCKET_KINDS = frozenset({OperationKind.RUN, OperationKind.PORT_FORWARD})
"""Operations that need what `servedeck.cluster.access.websocket_permissions` says."""

DISRUPTIVE_KINDS = frozenset(
    {
        OperationKind.RESTART,
        OperationKind.STOP,
        OperationKind.ROLLBACK,
        OperationKind.DELETE,
        OperationKind.DELETE_POD,
    }
)
"""Operations that always restart Pods or delete something."""


POD_KEEPING_KINDS = frozenset(
    {
        OperationKind.START,
        OperationKind.PAUSE,
        OperationKind.CORDON,
        OperationKind.UNCORDON,
        OperationKind.ADOPT,
        OperationKind.RELEASE,
    }
)
"""Operations that end no Pod."""


@dataclass(frozen=True, slots=True)
class Operation:
    kind: OperationKind
    namespace: str
    """"" for a node."""
    name: str
    """Of the Deployment, the Pod or the node."""
    replicas: int | None = None
    """Wanted replicas: required for SCALE; of START, in place of the number before the stop."""
    revision: int = 0
    """Of ROLLBACK: the number of the wanted revision; 0 for the one before the current one."""

    @property
    def resource(self) -> Resource:
        """The kind of the object."""
        return _RESOURCES.get(self.kind, DEPLOYMENT)

    @property
    def path(self) -> str:
        return self.resource.object_path(self.namespace or None, self.name)

    @property
    def target(self) -> str:
        """ "Deployment chat/llama", "Node gpu-1"; sanitized."""
        where = f"{self.namespace}/" if self.namespace else ""
        return one_line(sanitize(f"{self.resource.kind} {where}{self.name}"))

    @property
    def required_permission(self) -> tuple[str, str]:
        """Verb and resource, ("patch", "deployments.apps")."""
        if self.kind in (OperationKind.EXEC, OperationKind.RUN):
            return "create", "pods/exec"
        if self.kind is OperationKind.PORT_FORWARD:
            return "create", "pods/portforward"
        deletes = self.kind in (OperationKind.DELETE, OperationKind.DELETE_POD)
        return "delete" if deletes else "patch", self.resource.resource_name


@dataclass(frozen=True, slots=True)
class ObjectPatch:
    """A change of one object, as a JSON merge patch (RFC 7386)."""

    path: str
    live: JsonObject
    """The object that the patch was made from."""
    patch: JsonObject
    dry_run: JsonObject | None = None
    """The patched `live` as the API server would store it, with its defaults and what admission
    webhooks change; None without a dry run."""

    @property
    def expected(self) -> JsonObject:
        """The patched object, as far as it is known."""
        return self.dry_run or self.patched

    @property
    def patched(self) -> JsonObject:
        """The patched object, without what the API server makes of it."""
        found: JsonObject = apply_merge_patch(self.live, self.patch)
        return found


@dataclass(frozen=True, slots=True)
class ObjectDeletion:
    """The deletion of one object, if it still has the uid."""

    ref: ObjectRef
    target: str
    """ "Service llama"."""
    uid: str
    live: JsonObject | None = None
    """The object, if it is deleted only as it is; None if it may have changed."""

    @property
    def path(self) -> str:
        return self.ref.path


@dataclass(frozen=True, slots=True)
class ObjectCreation:
    """The creation of one object."""

    path: str
    """Of the object, not of its collection."""
    target: str
    """ "Service chat/llama"."""
    manifest: JsonObject


@dataclass(frozen=True, slots=True)
class OperationPlan:
    """What an operation would do now. All sentences are sanitized."""

    operation: Operation
    blocked: str = ""
    """Why it is not possible, one sentence; nothing is sent then."""
    unchanged: str = ""
    """Why there is nothing to do, one sentence."""
    patch: ObjectPatch | None = None
    deletions: tuple[ObjectDeletion, ...] = ()
    """In the order in which they are sent."""
    creations: tuple[ObjectCreation, ...] = ()
    """In the order in which they are sent, after the patch."""
    effects: tuple[str, ...] = ()
    """What happens, in sentences."""
    kept: tuple[str, ...] = ()
    """What a deletion keeps, "PersistentVolumeClaim models"."""
    warnings: tuple[str, ...] = ()
    differences: tuple[FieldChange, ...] = ()
    """Of ROLLBACK, and of RESUME after a change: the fields of the Pod template that change; of
    EDIT, ADOPT and RELEASE: those of the object."""
    command: str = ""
    """The equivalent command of kubectl; "" if there is nothing to do."""
    needs_confirmation: bool = True
    """Whether it replaces Pods, deletes something or scales to 0, or is one whose difference is
    shown first. Fewer replicas than before are what was asked for, as with kubectl."""
    new_pods: int = 0
    """Pods that must find room on the nodes beside those that run now."""
    needs_room: bool = False
    """Whether no old Pod is stopped before a new one is ready: without room, nothing happens."""
    starts_pods: bool = False
    """Whether it starts new Pods, beside the old ones or after them."""
    wanted: JsonObject | None = None
    """The Deployment as it would be; None for other operations."""
    replicas: int = 0
    """Replicas that the Deployment is to have now, before the operation."""
    undo: Operation | None = None
    """The operation that puts back what this one changes; None if none does."""
    queue_counted: bool | None = None
    """Of DELETE: whether the tasks of its async queue are known; it is closed and they are counted
    again before anything is deleted. None if it has no gateway."""

    @property
    def is_possible(self) -> bool:
        return not self.blocked and not self.unchanged

    @property
    def ends_pods(self) -> bool:
        """Whether Pods that may run now are restarted, deleted or scaled away."""
        kind = self.operation.kind
        if kind is OperationKind.DELETE_POD:
            return self.is_possible
        if not (self.is_possible and self.replicas) or kind in POD_KEEPING_KINDS:
            return False
        if self.needs_confirmation or self.wanted is None:
            return self.needs_confirmation
        # It imports the spec, which the first frame does not need.
        from servedeck.serving.status.rollout_status import desired_replicas

        return desired_replicas(self.wanted) < self.replicas


class Outcome(StrEnum):
    DONE = "done"
    UNCHANGED = "unchanged"
    """There was nothing to do."""
    REJECTED = "rejected"
    """The API server rejected it, or it was not sent."""
    OUTDATED = "outdated"
    """The object has changed since the plan was made: it was not changed, and the plan must be made
    again."""
    UNKNOWN = "unknown"
    """The response was lost, and the object cannot be read, or has not changed so far: the request
    may still be on its way. `look_again` finds out later."""


@dataclass(frozen=True, slots=True)
class LostWrite:
    """A request that was sent, and whose response was lost."""

    plan: OperationPlan
    path: str
    """Of the object."""
    version: str
    """resourceVersion that the object must have for the request to be executed; "" for a
    deletion and a creation."""
    error: str
    """How the response was lost, one sentence."""
    created: tuple[JsonObject, ...] = ()
    """What the operation created before, as the API server returned it."""


@dataclass(frozen=True, slots=True)
class OperationResult:
    operation: Operation
    outcome: Outcome
    message: str
    """What happened, one sentence."""
    undo: Operation | None = None
    """The operation that puts back what was changed, while the object has `generation`."""
    generation: int | None = None
    """metadata.generation of the object as the operation left it."""
    warnings: tuple[str, ...] = ()
    """Warnings of the API server and its admission webhooks."""
    lost: LostWrite | None = None
    """Of UNKNOWN: what `look_again` looks for."""
