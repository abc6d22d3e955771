"""What the screens need of the metrics of servings; tests bring their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servedeck.fleet.views import NamespacedName
    from servedeck.metrics.load import ServingLoad


class MetricsService(Protocol):
    """Reads metrics; what fails is in the result."""

    def read_load(self, key: NamespacedName) -> AsyncIterator[ServingLoad]:
        """The load of a serving at the moment: after seconds, and then more precisely."""

    def read_pod_load(self, namespace: str, pod: str) -> AsyncIterator[ServingLoad]:
        """The same for one Pod of a serving."""
