"""A traffic split made by hand, for tests of its dialogs."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from textual.pilot import Pilot

from servedeck.changes.live_objects import LiveObjects
from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split.execution import done_sentence
from servedeck.changes.traffic_split.plan import (
    TrafficOptions,
    TrafficPlan,
    TrafficResult,
)
from servedeck.changes.traffic_split.revisions import RevisionStart, Takeover
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import RevisionState, TrafficState, find_rules
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.write_log import expect_writes, track_write
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.field_changes import FieldChange
from servedeck.serving.objects.traffic_split import SplitTarget
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.screens.serving import ServingScreen
from tui.screens.traffic_split import TrafficSplitScreen

KEY = NamespacedName("team-a", "llama-8b")
OTHER = "qwen-14b"
TITLE = f"Traffic of {KEY}"


def deployment(name: str, ready: int = 2) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": KEY.namespace},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": name}}}},
        "status": {"readyReplicas": ready},
    }


def service(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": KEY.namespace}
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def http_route(*weights: tuple[str, int]) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": "route"},
        "spec": {
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": f"/team-a/{KEY.name}"}}],
                    "backendRefs": [
                        {"name": name, "port": 80, "weight": weight} for name, weight in weights
                    ],
                }
            ]
        },
    }


def ref_text(path: str) -> str:
    """ "HTTPRoute team-a/llama-8b" of the path of an object."""
    *_, namespace, _, name = path.split("/")
    return f"HTTPRoute {namespace}/{name}"


class FakeTrafficService:
    """`tui.ports.traffic_service.TrafficService` on a route that tests set."""

    def __init__(self) -> None:
        self.routes: list[dict[str, Any]] = [http_route((KEY.name, 100))]
        self.sides = {OTHER: Side(OTHER, SplitTarget(OTHER, 80), deployment(OTHER))}
        self.error: ClusterError | None = None
        self.reads: list[str] = []
        """The other that each reading asked for."""
        self.gate = asyncio.Event()
        """A reading ends when it is set, with what there was when it began."""
        self.gate.set()
        self.canceled = 0
        """Readings that were canceled."""
        self.planned: list[TrafficOptions] = []
        self.changes: dict[str, Any] = {}
        """Of each plan."""
        self.results: list[TrafficResult] = []
        """Of the next changes; then they are done."""
        self.done: list[TrafficOptions] = []
        self.written: list[str] = []
        """Paths of the routes that a change writes, each after a step of `write_gate`."""
        self.write_gate = asyncio.Semaphore(0)
        self.revision: RevisionState | None = None
        self.start: RevisionStart | ClusterError | None = None
        """What a second revision is made of, or why it is not."""
        self.started: list[int] = []
        """The revision that each was asked for."""
        self.obstacle = ""
        """Why it must not be taken over any more."""
        self.obstacle_checks: list[str] = []
        self.takeover: Takeover | ClusterError | None = None

    def state(self, other: str = "") -> TrafficState:
        objects = [deployment(KEY.name), service(KEY.name), *copy.deepcopy(self.routes)]
        state = find_rules(KEY.namespace, KEY.name, LiveObjects(objects), None)
        name = other or next(iter(state.others), "")
        state = find_rules(KEY.namespace, KEY.name, LiveObjects(objects), self.sides.get(name))
        return replace(state, revision=self.revision)

    async def start_revision(self, key: NamespacedName, number: int = 0) -> RevisionStart:
        assert key == KEY and self.start is not None
        self.started.append(number)
        if isinstance(self.start, ClusterError):
            raise self.start
        return self.start

    async def find_takeover_obstacle(self, key: NamespacedName, other: str) -> str:
        assert key == KEY
        self.obstacle_checks.append(other)
        return self.obstacle

    async def start_takeover(self, key: NamespacedName) -> Takeover:
        assert key == KEY and self.takeover is not None
        if isinstance(self.takeover, ClusterError):
            raise self.takeover
        return self.takeover

    async def read(self, key: NamespacedName, other: str = "") -> TrafficState:
        assert key == KEY
        self.reads.append(other)
        if self.error is not None:
            raise self.error
        state = self.state(other)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.canceled += 1
            raise
        return state

    async def plan(self, options: TrafficOptions) -> TrafficPlan:
        self.planned.append(options)
        weight = options.wanted_weight
        change = FieldChange(
            "HTTPRoute llama-8b", "llama-8b 100 %", f"llama-8b {100 - weight} %, {OTHER} {weight} %"
        )
        plan = TrafficPlan(
            options,
            self.state(options.other),
            effects=("Restarts no Pods.",),
            differences=(change,),
        )
        return replace(plan, **self.changes)

    async def run(self, plan: TrafficPlan) -> TrafficResult:
        expect_writes(ref_text(one) for one in self.written)
        for path in self.written:
            with track_write("PATCH", path, None):
                await self.write_gate.acquire()
        if self.results:
            return self.results.pop(0)
        self.done.append(plan.options)
        weight = plan.options.wanted_weight
        backends = [(KEY.name, 100 - weight), (OTHER, weight)]
        if plan.options.action.value == "abort":
            backends = backends[:1]
        self.routes = [http_route(*backends)]
        return TrafficResult(plan.options, Outcome.DONE, done_sentence(plan))


class TrafficDriver:
    """The app on the page of the serving."""

    def __init__(self, pilot: Pilot[Any], service: FakeTrafficService) -> None:
        self.pilot, self.service = pilot, service

    @property
    def app(self) -> ServedeckApp:
        assert isinstance(self.pilot.app, ServedeckApp)
        return self.pilot.app

    @property
    def text(self) -> str:
        return screen_text(self.app)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def wait_for_text(self, *texts: str) -> str:
        return await wait_for_text(self.pilot, *texts)

    async def open(self, *texts: str) -> TrafficSplitScreen:
        await self.press("K")
        await self.wait_for_text(TITLE, *texts)
        assert isinstance(self.app.screen, TrafficSplitScreen)
        return self.app.screen

    async def wait_for_screen(self, kind: type[Any]) -> None:
        await wait_for(self.pilot, lambda: isinstance(self.app.screen, kind), kind.__name__)


@asynccontextmanager
async def run_traffic(
    size: tuple[int, int] = (100, 30), **options: Any
) -> AsyncIterator[TrafficDriver]:
    service = options.pop("service", None) or FakeTrafficService()
    more = options.pop("views", ())
    source = fakes.FakeSource().add_views(
        fakes.serving(KEY.name), fakes.serving(OTHER), fakes.serving("bge", "team-b"), *more
    )
    app = make_app(source, traffic_service=service, **options)
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, KEY.name)
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")
        page = app.screen
        assert isinstance(page, ServingScreen)
        driver = TrafficDriver(pilot, service)
        assert page.key == KEY
        yield driver
