"""Where a serving is reached: endpoint URL, in-cluster address, paths and curl lines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    url: str = ""
    """https://<host>/<project>/<name>, or "" where no route leads to the serving."""
    source: str = ""
    """Object that the URL was read from: "HTTPRoute team-a/llama"."""
    problem: str = ""
    """Why the URL may not answer, in one sentence (no route, host unknown, route not accepted)."""
    address: str = ""
    """In-cluster address, "http://llama.team-a.svc:80", or "" without a Service."""
    service: str = ""
    port: int = 0
    """The Service's port, 0 without a Service."""
