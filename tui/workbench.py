"""What the create form asks of a cluster: `tui.change_service.ClusterWorkbench` answers, tests
bring their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from servedeck.changes.draft_store import Shelf
from servedeck.changes.plan import Review
from servedeck.cluster.apply import Made, Outcome, Place, Refusal
from servedeck.fleet.views import Key
from servedeck.serving.capacity import Amounts, Fit, NodeRoom, Supply
from servedeck.serving.objects.import_objects import Reading
from servedeck.serving.objects.routes import Platform
from servedeck.serving.pvcs import Claim
from servedeck.serving.spec.spec import ServingSpec


class Around(Protocol):
    """What surrounds a new serving, watched while the form is open."""

    @property
    def missing(self) -> Sequence[str]: ...

    def start(self) -> None: ...

    async def close(self) -> None: ...

    def rooms(self) -> Sequence[NodeRoom] | None:
        """What is free on each node; None where that is not known."""

    def supplies(self) -> Sequence[Supply] | None: ...

    def claims(self, project: str) -> Mapping[str, Claim] | None: ...

    def projects(self) -> Sequence[str] | None: ...

    def fit(
        self, asked: Amounts, replicas: int, tolerations: Sequence[Mapping[str, Any]] = ()
    ) -> Fit | None: ...


class Workbench(Protocol):
    """Everything between the form and the cluster. What is asked of the cluster raises
    ClusterError."""

    @property
    def ready(self) -> bool:
        """Whether there is a connection to ask."""

    @property
    def platform(self) -> Platform:
        """The platform as far as it is known without asking."""

    @property
    def shelf(self) -> Shelf | None:
        """Where drafts lie; None while there is no connection."""

    @property
    def namespace(self) -> str:
        """The connection's own namespace, proposed as project."""

    def why_not(self, namespace: str) -> str:
        """Why no serving can be created there, in a sentence; "" where it can, as far as known."""

    async def learn_rights(self, namespace: str) -> None:
        """Ask for what `why_not` says."""

    def around(
        self, namespace: str, on_change: Callable[[], None], *, nodes_only: bool = False
    ) -> Around | None:
        """Begin to watch the surroundings, or only nodes and what is in use of them; None while
        there is no connection."""

    async def review(self, spec: ServingSpec, around: Around, own: Sequence[Place]) -> Review: ...

    async def deploy(
        self,
        manifests: Sequence[Mapping[str, Any]],
        own: Sequence[Place],
        on_made: Callable[[Made], None],
    ) -> Outcome:
        """Apply the objects: those at `own` as changes of ours, the others only where none is."""

    async def undo(self, made: Sequence[Made]) -> Sequence[tuple[Place, Refusal]]: ...

    async def read(self, key: Key) -> Reading:
        """A serving as its objects say it."""
