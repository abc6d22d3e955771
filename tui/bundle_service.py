"""Incident bundles through the current connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ConnectionLostError

if TYPE_CHECKING:
    from servedeck.bundle.bundle import BundleProgress, BundleResult
    from servedeck.cluster.http.connection import Connection
    from servedeck.fleet.session import ClusterSession
    from servedeck.fleet.views import ServingView
    from servedeck.serving.status.timeline import TimelineEntry


class ClusterBundleService:
    """The `tui.ports.bundle_service.BundleService` of a cluster."""

    def __init__(
        self,
        session: Callable[[], ClusterSession | None],
        timeline: Callable[[str], Sequence[TimelineEntry]],
        now: Callable[[], datetime],
    ) -> None:
        """`session` returns the current one; `timeline` what was recorded of the serving with a
        uid; `now` the API server's time."""
        self._session = session
        self._timeline = timeline
        self._now = now

    def estimate(self, view: ServingView) -> str:
        from servedeck.bundle.options import BundleOptions, describe_estimate

        return describe_estimate(view, BundleOptions())

    def file_name(self, view: ServingView) -> str:
        from servedeck.bundle.bundle import directory_name

        return f"{directory_name(view, self._now())}.tar.gz"

    async def save(
        self, view: ServingView, path: Path, on_progress: Callable[[BundleProgress], None]
    ) -> BundleResult:
        from servedeck.bundle.bundle import BundleSource, save_bundle
        from servedeck.bundle.options import BundleOptions

        session = self._session()
        connection: Connection | None = session.connection if session is not None else None
        if session is None or connection is None:
            raise ConnectionLostError("Not connected to the API server yet; retrying.")
        source = BundleSource(
            connection, session.fleet, view, self._timeline(view.uid), self._now()
        )
        # The dialog for the path has asked before it overwrites a file.
        return await save_bundle(source, path, BundleOptions(), on_progress, overwrite=True)
