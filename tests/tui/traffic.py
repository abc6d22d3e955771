"""A traffic split made by hand, for tests of its dialogs."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from servedeck.changes.live_objects import LiveObjects
from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split.execution import done_sentence
from servedeck.changes.traffic_split.plan import (
    TrafficOptions,
    TrafficPlan,
    TrafficResult,
)
from servedeck.changes.traffic_split.state import Side, TrafficState, find_rules
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.field_changes import FieldChange
from servedeck.serving.objects.traffic_split import SplitTarget

KEY = NamespacedName("team-a", "llama-8b")
OTHER = "qwen-14b"


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


class FakeTrafficService:
    """`tui.ports.traffic_service.TrafficService` on a route that tests set."""

    def __init__(self) -> None:
        self.routes: list[dict[str, Any]] = [http_route((KEY.name, 100))]
        self.sides = {OTHER: Side(OTHER, SplitTarget(OTHER, 80), deployment(OTHER))}
        self.error: ClusterError | None = None
        self.reads: list[str] = []
        """The other that each reading asked for."""
        self.planned: list[TrafficOptions] = []
        self.changes: dict[str, Any] = {}
        """Of each plan."""
        self.results: list[TrafficResult] = []
        """Of the next changes; then they are done."""
        self.done: list[TrafficOptions] = []

    def state(self, other: str = "") -> TrafficState:
        objects = [deployment(KEY.name), service(KEY.name), *copy.deepcopy(self.routes)]
        state = find_rules(KEY.namespace, KEY.name, LiveObjects(objects), None)
        name = other or next(iter(state.others), "")
        found = self.sides.get(name)
        return find_rules(KEY.namespace, KEY.name, LiveObjects(objects), found)

    async def read(self, key: NamespacedName, other: str = "") -> TrafficState:
        assert key == KEY
        self.reads.append(other)
        if self.error is not None:
            raise self.error
        return self.state(other)

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
        if self.results:
            return self.results.pop(0)
        self.done.append(plan.options)
        weight = plan.options.wanted_weight
        backends = [(KEY.name, 100 - weight), (OTHER, weight)]
        if plan.options.action.value == "abort":
            backends = backends[:1]
        self.routes = [http_route(*backends)]
        return TrafficResult(plan.options, Outcome.DONE, done_sentence(plan))
