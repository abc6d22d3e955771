"""Probes and metrics of the controller: an ASGI application."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from servedeck.controller.metrics import CONTENT_TYPE, ControllerMetrics
from servedeck.gateway.asgi import JSON, Receive, Scope, Send, send_bytes

_TEXT = b"text/plain; charset=utf-8"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to /readyz."""

    ready: bool
    """Whether it acts, or could at once if the one that does ends."""
    leader: bool = False
    message: str = ""
    """Why it is not ready, or a warning, one sentence."""


class HealthApp:
    def __init__(self, metrics: ControllerMetrics, readiness: Callable[[], Readiness]) -> None:
        self._metrics = metrics
        self._readiness = readiness

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            answer = (405, b"only GET\n", _TEXT)
        elif scope["path"] == "/healthz":
            # The event loop runs; the process ends by itself if one of its parts fails.
            answer = (200, b"ok\n", _TEXT)
        elif scope["path"] == "/readyz":
            readiness = self._readiness()
            answer = (200 if readiness.ready else 503, msgspec.json.encode(readiness), JSON)
        elif scope["path"] == "/metrics":
            answer = (200, self._metrics.page(), CONTENT_TYPE.encode())
        else:
            answer = (404, b"not found; there are /healthz, /readyz and /metrics\n", _TEXT)
        await send_bytes(send, *answer)
