"""What the gateway needs to know of the replicas of the inference server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


class Upstreams(Protocol):
    @property
    def ready(self) -> Mapping[str, str]:
        """URLs (http://10.0.0.7:8000, no slash at the end) of the Ready Pods by their names."""

    @property
    def problem(self) -> str:
        """Why there is none, or why what is known may be old, one sentence; "" else."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call it after each change of `ready`."""

    async def run(self) -> None:
        """Keep it up to date until it is cancelled."""


class FixedUpstreams:
    """URLs from the settings: they count as ready, as nothing says that they are not. The name of
    each is its host and port."""

    problem = ""

    def __init__(self, urls: Sequence[str]) -> None:
        self.ready: Mapping[str, str] = {
            one.partition("://")[2].rstrip("/"): one.rstrip("/") for one in urls
        }

    def on_change(self, listener: Callable[[], None]) -> None:
        """There is none."""

    async def run(self) -> None:
        """Returns at once: there is nothing to watch."""
