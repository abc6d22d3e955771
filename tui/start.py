"""Runs the app on a cluster."""

from __future__ import annotations

from servedeck.cluster.kubeconfig import Target
from servedeck.config import Settings
from servedeck.fleet.live import Live
from tui.app import ServedeckApp
from tui.cluster import ConnectedCluster


def run(target: Target, settings: Settings, *, widen: bool = False) -> int:
    """Show the servings until the operator leaves; returns the exit code.

    `widen`: show all namespaces where neither the target nor its context names one.
    """
    live = Live(target, settings, widen=widen)
    app = ServedeckApp(
        live,
        ConnectedCluster(lambda: live.connection),
        favourites=settings.favourites,
        keys=settings.keymap,
        theme=settings.theme,
        readonly=target.readonly or settings.readonly,
        wide=settings.wide,
        columns=settings.columns,
    )
    app.run()
    return app.return_code or 0
