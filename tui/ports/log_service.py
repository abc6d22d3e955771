"""What the screens need to show logs; tests bring their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servedeck.fleet.views import PodView
    from servedeck.logs.instances import LogSelection
    from servedeck.logs.lines import LineBatch, LogSource
    from servedeck.logs.streams import LogSince, StreamsState


class LogStreamsPort(Protocol):
    """The streams of the containers that are chosen."""

    @property
    def sources(self) -> Sequence[LogSource]:
        """What the lines are from, by number."""

    @property
    def state(self) -> StreamsState:
        """Whether new lines arrive, and if not, why."""

    def update(self, pods: Sequence[PodView], selection: LogSelection) -> None:
        """The Pods of the serving have changed, or others are chosen."""

    async def close(self) -> None:
        """End all streams."""


class LogService(Protocol):
    """What the screens need of the cluster besides the list."""

    async def list_namespaces(self) -> list[str]:
        """Names of all namespaces, or of those that the user may see. Raises ClusterError."""

    def open_streams(
        self,
        since: LogSince,
        on_batch: Callable[[LineBatch], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> LogStreamsPort:
        """Streams that call `on_batch` with lines in the order of their times, and `on_change` when
        their state has changed. Raises ClusterError without a connection."""

    async def read_last_lines(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> list[str]:
        """The last lines. Raises ClusterError if they cannot be read."""
