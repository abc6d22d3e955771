"""Where the port-forwards of a serving are reached."""

from __future__ import annotations

from servedeck.fleet.views import ServingView
from tui.ports.app_context import AppContext


def forwarded_urls(context: AppContext, view: ServingView) -> list[str]:
    """URLs of the port-forwards to the serving that run here."""
    known = context.port_forwards
    return [
        view.endpoint.local_url(one.address, one.local_port)
        for one in (known.of(view.key) if known is not None else ())
    ]
