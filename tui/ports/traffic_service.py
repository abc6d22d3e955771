"""What the screens need of the routes that divide requests; tests bring their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servedeck.changes.traffic_split.plan import TrafficOptions, TrafficPlan, TrafficResult
    from servedeck.changes.traffic_split.revisions import RevisionStart, Takeover
    from servedeck.changes.traffic_split.state import TrafficState
    from servedeck.fleet.views import NamespacedName


class TrafficService(Protocol):
    async def read(self, key: NamespacedName, other: str = "") -> TrafficState:
        """How the requests of a serving's endpoint are divided now; `other` is a serving that may
        get a share. Raises ClusterError."""

    async def plan(self, options: TrafficOptions) -> TrafficPlan:
        """What a change would do now. Raises ClusterError."""

    async def run(self, plan: TrafficPlan) -> TrafficResult:
        """Do what the plan says. Raises ClusterError if there is no connection to do it with."""

    async def start_revision(self, key: NamespacedName, number: int = 0) -> RevisionStart:
        """What a second revision of a serving is made of; `number` is the revision of the
        Deployment whose Pod template it gets, 0 for the current one. Raises RevisionError and other
        ClusterErrors."""

    async def find_takeover_obstacle(self, key: NamespacedName, other: str) -> str:
        """Why the settings of the second revision `other` must not be taken over any more, one
        sentence; "" if they still can be. Raises ClusterError."""

    async def start_takeover(self, key: NamespacedName) -> Takeover:
        """The edit that takes the settings of the second revision over. Raises RevisionError and
        other ClusterErrors."""
