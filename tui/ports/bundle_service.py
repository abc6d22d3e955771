"""What saving an incident bundle needs of the cluster; tests bring their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servedeck.bundle.bundle import BundleProgress, BundleResult
    from servedeck.fleet.views import ServingView


class BundleService(Protocol):
    """Makes incident bundles."""

    def estimate(self, view: ServingView) -> str:
        """What is read, and what it takes at most, in one sentence."""

    def file_name(self, view: ServingView) -> str:
        """The proposed name of the file."""

    async def save(
        self, view: ServingView, path: Path, on_progress: Callable[[BundleProgress], None]
    ) -> BundleResult:
        """Make a bundle in a file; it replaces one that exists. There is none if the task is
        canceled. Raises OSError and ClusterError."""
