"""What the screens need of the metrics of servings; tests bring their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servedeck.fleet.views import NamespacedName
    from servedeck.metrics.cluster_metrics import OpenMetrics
    from servedeck.metrics.fleet_reader import FleetReading
    from servedeck.metrics.load import ServingLoad
    from servedeck.metrics.target import MetricsTarget
    from servedeck.serving.objectives import Objectives


class MetricsService(Protocol):
    """Reads metrics; what fails is in the result."""

    def read_load(self, key: NamespacedName) -> AsyncIterator[ServingLoad]:
        """The load of a serving at the moment: after seconds, and then more precisely."""

    def read_pod_load(self, namespace: str, pod: str) -> AsyncIterator[ServingLoad]:
        """The same for one Pod of a serving."""

    def target(self, key: NamespacedName) -> MetricsTarget | None:
        """A serving with its Pods of the moment; None for a deleted one."""

    def objectives(self, key: NamespacedName) -> Objectives:
        """The objectives of a serving; none for a deleted one."""

    async def open_metrics(self, key: NamespacedName, on_read: Callable[[], None]) -> OpenMetrics:
        """The metrics of a serving, to be closed; `on_read` is called when its Pods were read,
        where there is no Prometheus. Raises MetricsError if there is no source."""

    async def list_metrics(
        self, keys: Sequence[NamespacedName], *, with_recent: bool
    ) -> FleetReading:
        """The figures of servings, those of Deployments only; `with_recent` is whether the recent
        rates are asked for, too. Raises MetricsError without a connection."""

    async def close(self) -> None:
        """Close the connection to the source; the next reading opens another one."""

    def grafana_link(self, key: NamespacedName, start: float, end: float) -> str:
        """URL of a dashboard of the serving, with a time in seconds since the epoch; "" if the
        settings name none."""
