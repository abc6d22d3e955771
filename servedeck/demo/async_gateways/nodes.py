"""What the gateways of the demo need of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

HOST = "127.0.0.1"
"""Where a gateway, and what it asks, listens: the addresses of Pods lead nowhere."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[dict[str, Any], int], Awaitable[Connection]]
"""See `KubeletApi.connect`."""


class Nodes(Protocol):
    @property
    def connect(self) -> Connect: ...

    def gateway_instances(self, namespace: str, serving: str) -> frozenset[str]:
        """The instances of the serving's gateway containers that run now, by their keys."""
