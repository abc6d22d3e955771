"""Which node of a cluster is asked. A serving is on one node, whichever the settings name, and may
move to another by a failover or when slots are moved."""

from __future__ import annotations

import re
from typing import NamedTuple

from redis.exceptions import MovedError

MIN_SECONDS = 1.0
"""Between two moves: nodes that do not agree may send a client to and fro."""


class Node(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"Valkey at {host}:{self.port}"


def named_node(error: MovedError, asked: Node) -> Node | None:
    """The node that has the serving, as the one that was asked named it; None if that is no
    address."""
    # the host is left out where it is the one that was asked
    node = Node(error.host or asked.host, error.port)
    is_host = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,253}[A-Za-z0-9])?|::1", node.host)
    return node if is_host and 0 < node.port < 65536 and node != asked else None
