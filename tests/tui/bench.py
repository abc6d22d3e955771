"""A workbench made by hand: what the create form asks of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from servedeck.changes.draft_store import Shelf
from servedeck.changes.plan import Review
from servedeck.cluster.apply import (
    Action,
    Made,
    Outcome,
    Place,
    Preview,
    Refusal,
    Why,
)
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import Key
from servedeck.serving import pvcs
from servedeck.serving.capacity import Amounts, Fit, NodeRoom, Supply, fit, pod_requests, supplies
from servedeck.serving.objects import import_objects, manifests
from servedeck.serving.objects.diff import Difference
from servedeck.serving.objects.import_objects import Reading
from servedeck.serving.objects.routes import Platform
from servedeck.serving.pvcs import Claim
from servedeck.serving.spec import validation
from servedeck.serving.spec.issues import Problem
from servedeck.serving.spec.spec import ServingSpec

GPU = "nvidia.com/gpu"
PLATFORM = Platform(host="serve.example.com", gateway="gateways/main")


def room(name: str, free: int, total: int = 8, **others: int) -> NodeRoom:
    """A node with GPUs, `free` of them not in use."""
    common = {"cpu": Fraction(64), "memory": Fraction(512 * 2**30), "pods": Fraction(100)}
    amounts = common | {GPU: Fraction(total)} | {key: Fraction(n) for key, n in others.items()}
    return NodeRoom(name, amounts, amounts | {GPU: Fraction(free)}, "", ())


CLAIMS = (
    Claim("datasets", "500Gi", ("ReadWriteMany",), "Bound", "nfs", False, ("train-0", "train-1")),
    Claim("scratch", "50Gi", ("ReadWriteOnce",), "Pending", "ssd", False, ()),
    Claim("raw-disk", "1Ti", ("ReadWriteOnce",), "Bound", "local", True, ()),
)


class FakeAround:
    """Four nodes with GPUs, three claims, three projects."""

    def __init__(self) -> None:
        self.nodes: list[NodeRoom] | None = [
            room("gpu-node-1", 2),
            room("gpu-node-2", 0),
            room("gpu-node-3", 1),
            room("npu-node-1", 0, 0, **{"furiosa.ai/rngd": 4}),
        ]
        self.missing: tuple[str, ...] = ()
        self.known_claims: dict[str, dict[str, Claim]] | None = {
            "team-a": {one.name: one for one in CLAIMS}
        }
        self.names: list[str] | None = ["platform", "search", "team-a"]
        self.closed = False
        self.on_change: Callable[[], None] = lambda: None

    def start(self) -> None: ...

    async def close(self) -> None:
        self.closed = True

    def rooms(self) -> list[NodeRoom] | None:
        return self.nodes

    def supplies(self) -> list[Supply] | None:
        return None if self.nodes is None else supplies(self.nodes)

    def claims(self, project: str) -> Mapping[str, Claim] | None:
        return None if self.known_claims is None else self.known_claims.get(project, {})

    def projects(self) -> list[str] | None:
        return self.names

    def fit(
        self, asked: Amounts, replicas: int, tolerations: Sequence[Mapping[str, Any]] = ()
    ) -> Fit | None:
        return None if self.nodes is None else fit(asked, replicas, self.nodes, tolerations)


class FakeBench:
    """Answers what the test sets; remembers what was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.surroundings = FakeAround()
        self.ready = True
        self.platform = PLATFORM
        self.namespace = "team-a"
        self.reason = ""
        self.lost = ""
        """Why the API server cannot be reached; "" while it can."""
        self.found: list[Problem] = []
        """What a dry run finds besides our own rules."""
        self.admission: tuple[Difference, ...] = ()
        self.refuse: dict[str, str] = {}
        """Kind -> why it is refused when deployed."""
        self.stored: dict[Place, Mapping[str, Any]] = {}
        self.reviewed: list[ServingSpec] = []
        self.undone: list[Place] = []
        self.objects: dict[Key, list[Mapping[str, Any]]] = {}
        self.gate: asyncio.Event | None = None
        """A dry run waits for it."""

    @property
    def shelf(self) -> Shelf | None:
        return Shelf("https://127.0.0.1:6443", self.folder)

    def why_not(self, namespace: str) -> str:
        return self.reason

    async def learn_rights(self, namespace: str) -> None: ...

    def around(
        self, namespace: str, on_change: Callable[[], None], *, nodes_only: bool = False
    ) -> FakeAround:
        self.surroundings.on_change = on_change
        self.surroundings.closed = False
        return self.surroundings

    async def review(self, spec: ServingSpec, around: FakeAround, own: Sequence[Place]) -> Review:
        self.reviewed.append(spec)
        if self.gate is not None:
            await self.gate.wait()
        if self.lost:
            raise ClusterError(self.lost)
        built = manifests.build(spec, self.platform)
        found = [*validation.problems(spec), *self.found]
        found += pvcs.problems(spec, around.claims(spec.project) or {})
        asked, _ = pod_requests(built[0])
        capacity = around.fit(asked, spec.replicas)
        previews = []
        for one in built:
            place = Place.of(one)
            action = Action.CHANGE if place in own else Action.CREATE
            admission = self.admission if place.kind == "Deployment" else ()
            previews.append(Preview(place, action, admission=admission))
        return Review(
            spec,
            tuple(built),
            tuple(found),
            (),
            tuple(previews),
            capacity.sentence if capacity else "",
            (),
        )

    async def deploy(
        self,
        manifests: Sequence[Mapping[str, Any]],
        own: Sequence[Place],
        on_made: Callable[[Made], None],
    ) -> Outcome:
        made = []
        for one in manifests:
            place = Place.of(one)
            if place in own:
                self.stored[place] = one
                continue
            if reason := self.refuse.get(place.kind):
                return Outcome(tuple(made), Refusal(Why.SERVER, reason), place)
            self.stored[place] = one
            made.append(Made(place, f"uid-{place}", True))
            on_made(made[-1])
        return Outcome(tuple(made))

    async def undo(self, made: Sequence[Made]) -> Sequence[tuple[Place, Refusal]]:
        for one in made:
            self.undone.append(one.place)
            del self.stored[one.place]
        return ()

    async def read(self, key: Key) -> Reading:
        if self.lost:
            raise ClusterError(self.lost)
        return import_objects.read(self.objects[key])
